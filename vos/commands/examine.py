"""vos examine"""

from __future__ import annotations

from collections.abc import Iterator
from errno import ENODEV
from ipaddress import IPv4Address
from typing import Annotated

from afs.location import BACKUP, RW
from afs.rpc.vl import VLF_BACKEXISTS, VLSF_ROVOL, VLSF_RWVOL, nvldbentry
from afs.rpc.volser import volintInfo
from rx.errors import RxError
from vos.command import CommandError, Hidden, command
from vos.entries import entry_data, entry_lines, named_entry_lines, sites_of, text, volume_id
from vos.errors import diagnostics, error_text
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import failing
from vos.volumes import Info, machine_lines, shown_lines, volume_data


@command(aliases=("e", "volinfo"))
async def examine(
    session: Session,
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
    extended: Annotated[bool, "list extended volume fields"] = False,
    format: Annotated[bool, "machine readable format"] = False,  # noqa: A002  # a switch
    json: Annotated[bool, Hidden(), "list as JSON"] = False,
) -> None:
    """everything about the volume"""
    with failing("", status=USAGE_STATUS):
        volid = await volume_id(session, id)
    if not volid:
        raise CommandError(f"Unknown volume ID or name '{id}'\n")
    entry = await _entry(session, volid)
    found: list[tuple[Info, IPv4Address, int]] = []
    wrong = False
    orphan = entry.volumeId[BACKUP] == volid and not entry.flags & VLF_BACKEXISTS
    sites = list(_sites(entry, volid))
    for server, partition in sites:
        info = await _info(session, volid, server, partition, extended, id if orphan else "")
        if info is not None:
            found.append((info, server, partition))
            if orphan:
                session.output.complain(f"Volume {id} does not exist in VLDB")
        elif not json:
            session.output.say()
        wrong = wrong or info is None or orphan
        if info is not None and not json:
            _show(session, entry, info, server, partition, format)
    if not sites:
        session.output.complain(f"Volume {id} does not exist in VLDB\n")
    if json:
        volumes = [volume_data(session, *each) for each in found]
        session.output.json({"entry": entry_data(session, entry), "volumes": volumes})
    else:
        if not found:
            session.output.complain("Dump only information from VLDB\n")
            session.output.say(f"{text(entry.name)} ")
        if not (found and format and not extended):
            session.output.lines(entry_lines(session, entry))
    if wrong or not sites:
        raise CommandError("")


async def _entry(session: Session, volid: int) -> nvldbentry:
    try:
        entry = await session.vl.GetEntryByIDN(volid, -1)
    except RxError:
        raise CommandError(f"Could not fetch the entry for volume number {volid} from VLDB \n") from None
    session.output.detail(f"Fetching VLDB entry for {volid} .. done")
    return entry


def _sites(entry: nvldbentry, volid: int) -> Iterator[tuple[IPv4Address, int]]:
    """Where the volume is: a read-only one at several places, a backup beside its read-write volume."""
    readonly = volid not in (entry.volumeId[RW], entry.volumeId[BACKUP])
    wanted = VLSF_ROVOL if readonly else VLSF_RWVOL
    sites = [(server, partition) for server, partition, flags in sites_of(entry) if flags & wanted]
    yield from sites if readonly else sites[:1]


async def _info(
    session: Session, volid: int, server: IPv4Address, partition: int, extended: bool, orphan: str
) -> Info | None:
    """What the server says of it; None after saying why not. `orphan` names a backup that the VLDB does not have."""
    volser = session.volser(server)
    name = session.resolved(server)
    listed = volser.XListOneVolume if extended else volser.ListOneVolume
    try:
        infos = await listed(partition, volid)
        session.output.detail(f"Getting volume listing from the server {name} .. done")
        return infos[0]
    except RxError as problem:
        what = f"Could not fetch the information about volume {volid} from the server"
        if extended:
            what = "[UV_XListOneVolume] Couldn't fetch the volume information"
        session.output.complain(f"{what}\n{error_text(problem.code)}")
        if problem.code != ENODEV:
            session.output.complain(diagnostics("examine", problem.code).removesuffix("\n"))
        elif orphan:
            session.output.complain(f"Volume {orphan} does not exist")
        else:
            session.output.complain(f"Volume does not exist on server {name} as indicated by the VLDB")
        return None


def _show(session: Session, entry: nvldbentry, info: Info, server: IPv4Address, partition: int, machine: bool) -> None:
    if machine and isinstance(info, volintInfo):
        session.output.lines(machine_lines(session, info, server, partition))
        session.output.lines(named_entry_lines(session, entry, locks=False))
    else:
        session.output.lines(shown_lines(session, info, server, partition))
