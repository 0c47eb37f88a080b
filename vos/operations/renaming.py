"""Another name for a volume, its clones and their copies. What broke off is finished by the same command again."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from afs.errors import VLError, VolserError
from afs.location import BACKUP, RO, RW
from afs.names import BACKUP_SUFFIX, READONLY_SUFFIX, VOLUME_NAME_MAX
from afs.rpc.vl import VLF_BACKEXISTS, VLF_ROEXISTS, VLF_RWEXISTS, VLSF_ROVOL, nvldbentry
from afs.rpc.volser import ITOffline
from rx.errors import Abort
from vos.entries import LOCKED, text
from vos.operations.entries import lock, readwrite_site, sites, write
from vos.operations.sites import VLOP_ADDSITE
from vos.operations.steps import explained, refuse, step
from vos.operations.subject import Subject
from vos.operations.transactions import begin
from vos.session import Session
from vos.undo import Undo


async def rename(self: Subject, entry: nvldbentry | str, name: str) -> None:
    """Rename the volumes of an entry, which must still be as it was when it was fetched. Raises OperationFailed."""
    session = self.session
    if isinstance(entry, str):
        entry = await session.vl.GetEntryByNameN(entry.encode("utf-8", "surrogateescape"))
    volume, old = entry.volumeId[RW], text(entry.name)
    new = name.encode("utf-8", "surrogateescape")
    with explained(session):
        async with Undo(session.output) as undo:
            unreleased = f"Could not unlock the VLDB entry for the volume {name} {volume}"
            with step(session, f" Could not lock the VLDB entry for the  volume {volume} "):
                await lock(session, undo, volume, RW, VLOP_ADDSITE, unreleased=unreleased)
            entry = replace(entry, flags=entry.flags & ~LOCKED | VLOP_ADDSITE)
            with step(session, f"Could not obtain the VLDB entry for the volume {volume}"):
                now = await session.vl.GetEntryByIDN(volume, RW)
            if now != entry:
                said = f"VLDB entry for volume {volume} has changed; please reissue the command."
                raise refuse(session, said, VLError.VL_BADENTRY)
            entry = replace(entry, name=new)
            told = undo.note(left=f"volume {old} renamed in part", remedy=f"vos rename {name} {name}")
            with step(session, f"Could not update VLDB entry for {volume}"):
                try:
                    await write(session, volume, RW, entry, 0)
                except Abort:
                    undo.forget(told)
                    raise
            session.output.detail(f"Recorded the new name {name} in VLDB")
            await _rename_volumes(session, entry, old)


async def _rename_volumes(session: Session, entry: nvldbentry, old: str) -> None:
    """Those that the entry says there are."""
    readwrite, readonly, backup = entry.volumeId
    name, detail = text(entry.name), session.output.detail
    if entry.flags & VLF_RWEXISTS:
        server, partition = _readwrite(session, entry, f"VLDB entry for volume {readwrite}")
        ids = (readwrite, readonly, backup)
        titles = (f"rw volume {readwrite}", f"volume {name} {readwrite}", f"volume {name} {readwrite}")
        await _rename(session, server, partition, readwrite, RW, entry.name, ids, titles)
        detail(f"Renamed rw volume {old} to {name}")
    if entry.flags & VLF_BACKEXISTS:
        server, partition = _readwrite(session, entry, f"the VLDB entry for the backup volume {backup}")
        titles = (f"backup volume  {backup}", f"the backup volume {backup}", f"the backup volume {backup}")
        clone = entry.name + BACKUP_SUFFIX
        await _rename(session, server, partition, backup, BACKUP, clone, (readwrite, 0, 0), titles)
        detail(f"Renamed backup volume to {text(clone)} ")
    if entry.flags & VLF_ROEXISTS:
        titles = (f"ro volume {readonly}", f"the ro volume {readonly}", f"volume {readonly}")
        clone = entry.name + READONLY_SUFFIX
        for server, partition, flags in sites(entry):
            if flags & VLSF_ROVOL:
                await _rename(session, server, partition, readonly, RO, clone, (readwrite, 0, 0), titles)
                detail(f"Renamed RO volume {text(clone)} on host {session.name(server)}")


async def _rename(
    session: Session,
    server: IPv4Address,
    partition: int,
    volume: int,
    kind: int,
    name: bytes,
    ids: tuple[int, int, int],
    titles: tuple[str, str, str],
) -> None:
    """One volume. `ids` are of its group, `titles` what it is called when it cannot be opened, set and closed."""
    opened, kept, closed = titles
    parent, clone, backup = ids
    async with Undo(session.output) as undo:
        with step(session, f"Could not start transaction on the {opened}"):
            transaction = await begin(
                session, undo, server, partition, volume, ITOffline, unended="Failed to end transaction on a volume "
            )
        if len(name) > VOLUME_NAME_MAX:
            said = f"Volume name {text(name)} exceeds the limit of {VOLUME_NAME_MAX + 1} characters"
            raise refuse(session, said, 0)
        with step(session, f"Could not  set parameters on {kept}"):
            await session.volser(server).SetIdsTypes(transaction.id, name, kind, parent, clone, backup)
        with step(session, f"Could not  end transaction on {closed}"):
            await transaction.end()


def _readwrite(session: Session, entry: nvldbentry, what: str) -> tuple[IPv4Address, int]:
    """Where the read-write volume is. Raises OperationFailed."""
    site = readwrite_site(entry)
    if site is None:
        said = f"There is a serious discrepancy in {what}\ntry building VLDB from scratch"
        raise refuse(session, said, VolserError.VOLSERVLDB_ERROR)
    return site[0], site[1]
