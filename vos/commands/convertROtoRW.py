"""vos convertROtoRW"""

from __future__ import annotations

from typing import Annotated

from afs.location import RO
from afs.names import partition_name
from afs.rpc.vl import VLSF_RWVOL, nvldbentry
from rx.errors import RxError
from vos.command import CommandError, command
from vos.errors import OperationFailed, error_text
from vos.operations.converting import convert_volume, readonly_index
from vos.operations.deletion import network_order
from vos.operations.entries import ANY, sites
from vos.operations.locations import Location
from vos.prompt import answer
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import need_partition, server_named
from vos.words import need_volume


@command
async def convertROtoRW(  # noqa: N802  # its name
    session: Session,
    server: Annotated[str, "machine name"],
    partition: Annotated[str, "partition name"],
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
    force: Annotated[bool, "don't ask"] = False,
) -> None:
    """convert a RO volume into a RW volume (after loss of old RW volume)"""
    address = server_named(session, server, "host", USAGE_STATUS)
    at = Location(session, address, await need_partition(session, address, partition, USAGE_STATUS))
    volume = await need_volume(session, id, f"Unknown volume ID or name '{id}'")
    try:
        entry = await session.vl.GetEntryByIDN(volume, ANY)
    except RxError as problem:
        why = error_text(problem.code)
        text = f"Could not fetch the entry for volume {volume} from VLDB\nconvertROtoRW {why}\n"
        raise CommandError(text) from problem
    await _warn(at, entry, force)
    try:
        await convert_volume(entry.volumeId[RO], at, entry)
    except OperationFailed:
        raise CommandError("") from None


async def _warn(at: Location, entry: nvldbentry, force: bool) -> None:
    """Say what the VLDB does not expect, and ask if a read-write volume is to be given up. Raises CommandError."""
    session = at.session
    readonly = await _readonly(at, entry)
    if readonly is None:
        session.output.complain("Warning: RO volume didn't exist in vldb!")
    elif readonly != at.partition:
        where = f"partition {readonly} instead of {at.partition} (vldb)"
        session.output.complain(f"Warning: RO volume should be in {where}")
    readwrite = next((site for site in reversed(sites(entry)) if site[2] & VLSF_RWVOL), None)
    if readwrite is None:
        return
    host, name = session.resolved(readwrite[0]), partition_name(readwrite[1])
    session.output.complain(f"VLDB indicates that a RW volume exists already on {host} in partition {name}.")
    if force:
        return
    session.output.complain("Overwrite this VLDB entry? [y|n] (n)")
    if not answer().startswith(("y", "Y")):
        raise CommandError("aborted.\n")


async def _readonly(at: Location, entry: nvldbentry) -> int | None:
    """The partition of the read-only site at the place, else of the first on the server."""
    known = sites(entry)
    try:
        index = await readonly_index(at, known)
    except RxError as problem:
        address = network_order(at.server)
        text = f"Failed to get info about server's {address} address(es) from vlserver (err={problem.code})"
        raise CommandError(f"{text}; aborting call!\n") from problem
    return None if index is None else known[index][1]
