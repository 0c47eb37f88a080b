"""vos listvol"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from typing import Annotated, Any

from afs.names import partition_name
from afs.rpc.volser import volintInfo, volintXInfo
from vos.command import CommandError, Hidden, command
from vos.session import Session
from vos.volservers import FAILED, failing, list_partitions, need_partition, partition_named, server_named
from vos.volumes import (
    VOK,
    Info,
    Totals,
    brief_line,
    extended_machine_lines,
    full_lines,
    machine_lines,
    volume_data,
)

_NO_LIST = "Could not fetch the list of volumes from the server"


@command
async def listvol(
    session: Session,
    server: Annotated[str, "machine name"],
    partition: Annotated[str | None, "partition name"] = None,
    fast: Annotated[bool, "minimal listing"] = False,
    long: Annotated[bool, "list all normal volume fields"] = False,
    quiet: Annotated[bool, "generate minimal information"] = False,
    extended: Annotated[bool, "list extended volume fields"] = False,
    format: Annotated[bool, "machine readable format"] = False,  # noqa: A002  # a switch
    json: Annotated[bool, Hidden(), "list as JSON"] = False,
) -> None:
    """list volumes on server (bypass VLDB)"""
    if extended and fast:
        raise CommandError("vos: Can't use the -fast and -extended flags together\n", FAILED)
    if partition is not None:
        partition_named(partition)
    address = server_named(session, server)
    if partition is None:
        numbers = await list_partitions(session, address, "listvol")
    else:
        numbers = [await need_partition(session, address, partition)]
    data: list[dict[str, Any]] = []
    for number in numbers:
        infos = await _volumes(session, address, number, extended, fast)
        if json:
            data += [volume_data(session, info, address, number) for info in infos]
            continue
        if not quiet:
            name = partition_name(number)
            session.output.say(f"Total number of volumes on server {server} partition {name}: {len(infos)} ")
        if format and extended:
            session.output.lines(_extended_machine(session, infos, address, number, quiet))
        elif format:
            session.output.lines(_machine(session, infos, address, number))
        else:
            session.output.lines(_plain(session, infos, address, number, fast, long or extended, quiet))
    if json:
        session.output.json(data)


async def _volumes(session: Session, server: IPv4Address, number: int, extended: bool, fast: bool) -> Sequence[Info]:
    """Sorted as stock does: by name, of a fast listing by id."""
    volser = session.volser(server)
    text = "[UV_XListVolumes] Couldn't fetch volume list" if extended else _NO_LIST
    with failing(f"{text}\n", "listvol"):
        infos: Sequence[Info]
        if extended:
            infos = await volser.XListVolumes(number, 1)
        else:
            infos = await volser.ListVolumes(number, 0 if fast else 1)
    if fast:
        return sorted(infos, key=lambda info: info.volid)
    return sorted(infos, key=lambda info: info.name)


def _plain(
    session: Session, infos: Sequence[Info], server: IPv4Address, number: int, fast: bool, long: bool, quiet: bool
) -> Iterator[str]:
    totals = Totals()
    for info in infos:
        if fast:
            yield f"{info.volid:<10}"
            continue
        totals.count(info)
        if info.status == VOK:
            yield from full_lines(session, info, server, number) if long else (brief_line(info),)
        if long:
            yield ""
    yield from totals.problems()
    if not quiet:
        yield ""
        if not fast:
            yield from (_total(totals, extended=any(isinstance(info, volintXInfo) for info in infos)), "")


def _total(totals: Totals, extended: bool) -> str:
    online, offline, busy = totals.online, totals.offline + len(totals.unattachable), len(totals.busy)
    if extended:
        return f"Total volumes: {online} on-line, {offline} off-line, {busy}  busyd"
    return f"Total volumes onLine {online} ; Total volumes offLine {offline} ; Total busy {busy}"


def _machine(session: Session, infos: Sequence[Info], server: IPv4Address, number: int) -> Iterator[str]:
    for info in infos:
        assert isinstance(info, volintInfo)
        yield "BEGIN_OF_ENTRY"
        yield from machine_lines(session, info, server, number)
        yield from ("END_OF_ENTRY", "")


def _extended_machine(
    session: Session, infos: Sequence[Info], server: IPv4Address, number: int, quiet: bool
) -> Iterator[str]:
    totals = Totals()
    for info in infos:
        assert isinstance(info, volintXInfo)
        totals.count(info)
        yield "BEGIN_OF_ENTRY"
        if info.status == VOK:
            yield from extended_machine_lines(session, info, server, number)
        yield "END_OF_ENTRY"
    yield from (f"BUSY_VOL\t{volid}" for volid in reversed(totals.busy))
    yield from (f"COULD_NOT_ATTACH\t{volid}" for volid in reversed(totals.unattachable))
    if not quiet:  # stock counts none that it could look at, in this form
        yield from ("", "VOLUMES_ONLINE\t0", f"VOLUMES_OFFLINE\t{len(totals.unattachable)}")
        yield f"VOLUMES_BUSY\t{len(totals.busy)}"
