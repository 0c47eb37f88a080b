"""vos remove"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated

from afs.location import BACKUP, RO, RW
from afs.names import partition_name
from afs.rpc.vl import VLF_BACKEXISTS, VLF_ROEXISTS, VLF_RWEXISTS, VLSF_ROVOL, VLSF_RWVOL, nvldbentry
from rx.errors import RxError
from vos.command import CommandError, command
from vos.entries import sites_of, volume_id
from vos.errors import error_text
from vos.operations.entries import ANY
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import need_partition, partition_named, server_named


@command
async def remove(
    session: Session,
    server: Annotated[str | None, "machine name"] = None,
    partition: Annotated[str | None, "partition name"] = None,
    *,
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
) -> None:
    """delete a volume"""
    address = None if server is None else server_named(session, server, status=USAGE_STATUS)
    number = None
    if partition is not None:
        number = partition_named(partition, USAGE_STATUS)
        if address is not None:
            await need_partition(session, address, partition, USAGE_STATUS)
    volume = await _volume(session, id)
    if address is None or number is None:
        address, number = await _place(session, id, volume, address, number)
    await session.cell.volumes.remove(address, number, volume)
    name, host = partition_name(number), session.resolved(address)
    session.output.say(f"Volume {volume} on partition {name} server {host} deleted")


async def _volume(session: Session, word: str) -> int:
    missing = f"Can't find volume name '{word}' in VLDB\n"
    try:
        volume = await volume_id(session, word)
    except RxError as problem:
        raise CommandError(f"{missing}{error_text(problem.code)}\n") from problem
    if not volume:
        raise CommandError(missing)
    return volume


async def _place(
    session: Session, word: str, volume: int, server: IPv4Address | None, partition: int | None
) -> tuple[IPv4Address, int]:
    """Where the VLDB says that it is, which must be one place."""
    try:
        entry = await session.vl.GetEntryByIDN(volume, ANY)
    except RxError as problem:
        text = f"Could not fetch the entry for volume {volume} from VLDB\n{error_text(problem.code)}\n"
        raise CommandError(text) from problem
    found = [(at, number) for at, number, flags in sites_of(entry) if flags & _wanted(entry, volume)]
    if _wanted(entry, volume) == VLSF_RWVOL:
        found = found[:1]
    found = [(at, number) for at, number in found if server in (None, at) and partition in (None, number)]
    if len(found) > 1:
        raise CommandError(f"VLDB: Volume '{word}' matches more than one RO\n")
    if not found:
        raise CommandError(f"VLDB: Volume '{word}' no match\n")
    return found[0]


def _wanted(entry: nvldbentry, volume: int) -> int:
    """The flag of the sites it is at; 0 if there is no such volume by the entry."""
    for kind, exists, wanted in (
        (RW, VLF_RWEXISTS, VLSF_RWVOL),
        (BACKUP, VLF_BACKEXISTS, VLSF_RWVOL),
        (RO, VLF_ROEXISTS, VLSF_ROVOL),
    ):
        if volume == entry.volumeId[kind] and entry.flags & exists:
            return wanted
    return 0
