"""A read-only volume made the read-write volume, when that is lost (vsprocs.c UV_ConvertRO)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from afs.errors import VolserError
from afs.location import RW
from afs.rpc.vl import (
    VLF_BACKEXISTS,
    VLF_ROEXISTS,
    VLF_RWEXISTS,
    VLOP_MOVE,
    VLSF_DONTUSE,
    VLSF_NEWREPSITE,
    VLSF_ROVOL,
    VLSF_RWVOL,
    nvldbentry,
)
from rx.errors import Abort, RxError
from vos.entries import LOCKED
from vos.errors import OperationFailed, error_text
from vos.operations import entries
from vos.operations.locations import Location
from vos.operations.locks import unlock
from vos.operations.steps import refuse
from vos.operations.subject import Subject
from vos.operations.unhurried import unhurried
from vos.output import vice_name
from vos.session import Session
from vos.undo import Undo


async def convert_volume(volume: int, at: Location, entry: nvldbentry) -> None:
    """Make the read-only volume at a place the read-write one, there and in the VLDB, which still has the `entry` that
    the caller has read. Raises OperationFailed.
    """
    session, readwrite = at.session, entry.volumeId[RW]

    async with Undo(session.output) as undo:

        def locked(_: None) -> None:
            undo.finally_(
                partial(unlock, Subject(session), readwrite),
                left=f"the lock on the VLDB entry of volume {readwrite}",
                remedy=f"vos unlock {readwrite}",
            )

        with _coded(session, f"Unable to lock volume {readwrite}, code {{}}"):
            await unhurried(session.vl.SetLock(readwrite, RW, VLOP_MOVE), locked)
        with _coded(session, f"Could not fetch the entry for volume {volume} from VLDB", "convertROtoRW "):
            current = await session.vl.GetEntryByIDN(volume, entries.ANY)
        entry = replace(entry, flags=entry.flags & ~LOCKED | VLOP_MOVE)
        if entries.plain(current) != entries.plain(entry):
            text = f"VLDB entry for volume {volume} has changed; please reissue the command."
            raise refuse(session, text, VolserError.VOLSERVLDB_ERROR)
        changed = await _converted(at, entry)
        failed = f"Converting RO volume {volume} to RW volume failed with code {{}}"
        told = undo.note(
            left=f"volume {readwrite} at {at}, perhaps the read-write volume now, and perhaps not in the VLDB",
            remedy=f"vos syncvldb {at.host} {vice_name(at.partition)} {readwrite}",
        )
        with _coded(session, failed, "convertROtoRW "):
            try:
                await at.volser.ConvertROtoRWvolume(at.partition, volume)
            except Abort:
                undo.forget(told)
                raise
        try:
            await entries.write(session, readwrite, RW, changed)
        except RxError as problem:
            text = f"Warning: volume converted, but vldb update failed with code {problem.code}!"
            raise refuse(session, text, problem.code) from problem


async def _converted(at: Location, entry: nvldbentry) -> nvldbentry:
    """The entry with the read-write volume at the place, and nowhere else."""
    sites = entries.sites(entry)
    old = next((index for index, site in enumerate(sites) if site[2] & VLSF_RWVOL), None)
    new = await readonly_index(at, sites)
    if new is None:
        sites.append((at.server, at.partition, VLSF_RWVOL))
    else:
        sites[new] = (*sites[new][:2], VLSF_RWVOL)
    if old is not None:
        last = sites.pop()
        if old < len(sites):
            sites[old] = last
    flags = entry.flags & ~VLF_BACKEXISTS & ~VLF_ROEXISTS | VLF_RWEXISTS
    if any(each & VLSF_ROVOL and not each & (VLSF_DONTUSE | VLSF_NEWREPSITE) for _, _, each in sites):
        flags |= VLF_ROEXISTS
    return replace(entries.with_sites(entry, sites), flags=flags)


async def readonly_index(at: Location, sites: list[entries.Site]) -> int | None:
    """The read-only site at the place, else the first on the server: stock does not look at the partition. Raises
    RxError.
    """
    found: int | None = None
    for index, (server, partition, flags) in enumerate(sites):
        if flags & VLSF_ROVOL and not flags & VLSF_RWVOL and await entries.same_server(at.session, at.server, server):
            if partition == at.partition:
                return index
            found = index if found is None else found
    return found


@contextmanager
def _coded(session: Session, text: str, prefix: str = "") -> Iterator[None]:
    """An error in here fails the operation; the text has a place for its code."""
    try:
        yield
    except RxError as problem:
        session.output.complain(f"{text.format(problem.code)}\n{prefix}{error_text(problem.code)}")
        raise OperationFailed(problem.code, text.format(problem.code)) from problem
