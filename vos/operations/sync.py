"""The VLDB put in accord with what is on servers: for a volume, for what a server has, for what it should have."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from errno import ENODEV
from ipaddress import IPv4Address

from afs.errors import VLError, VolserError
from afs.location import BACKUP, RO, RW
from afs.rpc.vl import VldbListByAttributes, nvldbentry
from afs.rpc.volser import volintInfo
from rx.errors import Abort, RxError
from vos.entries import list_entries, text
from vos.errors import OperationFailed, error_text
from vos.operations.checks import RULE, Checks
from vos.operations.entries import KINDS
from vos.operations.findings import Finding
from vos.operations.listings import selector
from vos.operations.steps import explained, refuse, step
from vos.operations.subject import Partition, Server, Subject
from vos.output import Output, vice_name
from vos.session import Session
from vos.volservers import list_partitions

_ORDER = {RW: 0, BACKUP: 1, RO: 2}
_NUMBER = re.compile(r"\s*(\d+)")


@dataclass(slots=True)
class Counts:
    """What a synchronisation has met: entries or volumes, those of them it could not do, and those that were wrong."""

    total: int = 0
    failed: int = 0
    changed: int = 0

    def tell(self, output: Output, dryrun: bool) -> None:
        """With -verbose."""
        changed = "Would change" if dryrun else "Changed"
        output.detail(f"Total entries: {self.total}, Failed to process {self.failed}, {changed} {self.changed}")


async def sync_server(
    self: Subject, server: Server, partition: Partition | None = None, *, dryrun: bool = False
) -> Counts:
    """Look for what the VLDB says is on a server, and take out of it what is not there.

    Raises OperationFailed, when every entry has been looked at and some could not be put right (VOLSERFAILEDOP).
    """
    session, counts = self.session, Counts()
    output = replace(session.output, verbose=True) if dryrun else session.output
    checks = Checks(session, output, dryrun)
    output.part("Processing VLDB entries ...\n")
    wanted = selector(self, self.server(server), partition, locked=False)
    async for number, entry in _numbered(session, wanted):
        output.part(f"Processing VLDB entry {number} ...\n")
        counts.total += 1
        try:
            _, wrong = await checks.check_entry(entry)
            counts.changed += wrong
            output.part(f"...done entry {number}\n\n")
        except OperationFailed as failure:
            session.output.complain(error_text(failure.code))
            session.output.complain(f"Could not process VLDB entry for volume {text(entry.name)}")
            counts.failed += 1
            output.part("...error encountered\n\n")
    counts.tell(output, dryrun)
    if counts.failed:
        raise OperationFailed(VolserError.VOLSERFAILEDOP, f"{counts.failed} entries could not be processed")
    return counts


async def sync_vldb(
    self: Subject, server: Server, partition: Partition | None = None, *, dryrun: bool = False
) -> Counts:
    """Put every volume that is on a server into the VLDB. What cannot be is counted. Raises OperationFailed."""
    session, address, counts = self.session, self.server(server), Counts()
    checks, newest = Checks(session, session.output, dryrun), _Newest(session, dryrun)
    with explained(session):
        numbers = await _partitions(session, address, None if partition is None else self.partition(partition))
        session.output.detail("Processing volume entries ...")
        try:
            for number in numbers:
                await _sync_partition(checks, newest, counts, address, number)
            counts.tell(session.output, dryrun)
        finally:
            await newest.raise_vldb()
    return counts


async def _sync_partition(checks: Checks, newest: _Newest, counts: Counts, server: IPv4Address, number: int) -> None:
    session, output = checks.session, checks.output
    where, failed = f"{session.name(server)} {vice_name(number)}", counts.failed
    with step(session, "Could not fetch the list of volumes from the server"):
        infos = await session.volser(server).ListVolumes(number, 1)
    for index, info in enumerate(sorted(infos, key=_by_group), 1):
        if not info.status:
            continue
        counts.total += 1
        output.part(f"Processing volume entry {index}: {text(info.name)} ({info.volid}) on server {where}...\n")
        finding = Finding(checks, info, server, number)
        try:
            await finding.put_in()
            newest.met(finding)
            counts.changed += finding.wrong
            output.part(f"...done entry {index}\n\n")
        except OperationFailed as failure:
            session.output.complain(error_text(failure.code))
            counts.failed += 1
            output.part("...error encountered\n\n")
    if counts.failed > failed:
        host = session.name(server)
        session.output.complain(f"Could not process entries on server {host} partition {vice_name(number)}")


def _by_group(info: volintInfo) -> tuple[int, int, int]:
    """Volumes of a group together, the newest group first, in it the read-write volume, and then newer ones first."""
    readwrite = info.volid if info.type == RW else info.parentID
    return -readwrite, _ORDER.get(info.type, len(_ORDER)), -info.volid


async def sync_volume(
    self: Subject, name: str, server: Server | None = None, partition: Partition | None = None, *, dryrun: bool = False
) -> None:
    """Put the entry of a volume, given by name or number, right: take out of it what is not there, and put in what is
    on that server. Raises OperationFailed.
    """
    session = self.session
    output = replace(session.output, verbose=session.output.verbose or dryrun)
    checks, newest = Checks(session, replace(output, verbose=False), dryrun), _Newest(session, dryrun)
    with explained(session):
        try:
            await _sync_volume(self, checks, output, newest, name, server, partition)
        except OperationFailed:
            output.part("...error encountered")
            raise
        finally:
            await newest.raise_vldb()
    output.part("...done entry\n")


async def _sync_volume(
    self: Subject,
    checks: Checks,
    output: Output,
    newest: _Newest,
    name: str,
    server: Server | None,
    partition: Partition | None,
) -> None:
    session, told = checks.session, replace(checks, output=output)
    before = await _entry(session, name)
    output.part(f"Processing VLDB entry {name} ...\n")
    told.tell_before(before)
    entry, wrong = before, False
    if before is not None:
        try:
            entry, wrong = await checks.check_entry(before)
        except OperationFailed as failure:
            said = f"Could not process VLDB entry for volume {text(before.name)}"
            raise refuse(session, said, failure.code) from None
    deleted = entry is None and before is not None
    now = entry or replace(before or nvldbentry(), nServers=0, flags=0)
    if server is not None:
        address = self.server(server)
        numbers = await _partitions(session, address, None if partition is None else self.partition(partition))
        places = [(address, number) for number in numbers]
        digits = _NUMBER.match(name)
        if digits:
            now, found = await _sync_found(checks, newest, places, now, int(digits[1]))
            wrong = wrong or found
        for kind in KINDS:
            now, found = await _sync_found(checks, newest, places, now, now.volumeId[kind])
            wrong = wrong or found
    told.tell_after(None if deleted else now, wrong)
    output.part(f"\n{RULE}\n")


async def _sync_found(
    checks: Checks, newest: _Newest, places: list[tuple[IPv4Address, int]], entry: nvldbentry, volume: int
) -> tuple[nvldbentry, bool]:
    """Put a volume into its entry where it is found; the entry then, and whether it was wrong."""
    wrong = False
    for server, partition in places if volume else ():
        info = await _info(checks.session, server, partition, volume)
        if info is not None:
            finding = Finding(checks, info, server, partition, entry)
            await finding.put_in()
            newest.met(finding)
            entry, wrong = finding.entry or entry, wrong or finding.wrong
    return entry, wrong


async def _entry(session: Session, name: str) -> nvldbentry | None:
    try:
        return await session.vl.GetEntryByNameN(name.encode("utf-8", "surrogateescape"))
    except RxError as problem:
        if isinstance(problem, Abort) and problem.code == VLError.VL_NOENT:
            return None
        raise refuse(session, f"Could not access the VLDB for volume {name}", problem.code) from problem


async def _info(session: Session, server: IPv4Address, partition: int, volume: int) -> volintInfo | None:
    """What the server says of a volume, if it is there."""
    with step(session, "Could not query server"):
        try:
            (info,) = await session.volser(server).ListOneVolume(partition, volume)
        except Abort as refusal:
            if refusal.code != ENODEV:
                raise
            return None
    return info


async def _partitions(session: Session, server: IPv4Address, partition: int | None) -> list[int]:
    return [partition] if partition is not None else await list_partitions(session, server, "")


async def _numbered(session: Session, wanted: VldbListByAttributes) -> AsyncIterator[tuple[int, nvldbentry]]:
    """Entries with their number in the page they came in."""
    with step(session, "Could not access the VLDB for attributes"):
        async for page in list_entries(session, wanted):
            for number, entry in enumerate(page, 1):
                yield number, entry


class _Newest:
    """The highest volume id met: the VLDB is not to give it to another volume."""

    def __init__(self, session: Session, dryrun: bool) -> None:
        self._session = session
        self._dryrun = dryrun
        self._highest = 0

    def met(self, finding: Finding) -> None:
        """The ids of a volume's group."""
        if finding.entry is not None:
            self._highest = max(self._highest, *finding.entry.volumeId)

    async def raise_vldb(self) -> None:
        """Have the VLDB go on behind the highest. Raises OperationFailed."""
        if not self._highest or self._dryrun:
            return
        vl = self._session.vl
        with step(self._session, "Could not get the highest allocated volume id from the VLDB"):
            known = await vl.GetNewVolumeId(0)
        if self._highest > known:
            with step(self._session, "Error in increasing highest allocated volume id in VLDB"):
                await vl.GetNewVolumeId(self._highest - known + 1)
