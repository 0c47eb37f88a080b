"""Volumes that go: with their entry, or from a server alone."""

from __future__ import annotations

from dataclasses import replace

from afs.errors import VLError, VolserError, VolumeError
from afs.location import BACKUP, RO, RW
from afs.rpc.vl import (
    VLF_BACKEXISTS,
    VLF_ROEXISTS,
    VLF_RWEXISTS,
    VLOP_DELETE,
    VLSF_ROVOL,
    nvldbentry,
)
from rx.errors import Abort
from vos.entries import named_entry_lines
from vos.errors import OperationFailed, error_text
from vos.operations.deletion import delete_volume
from vos.operations.entries import (
    ANY,
    find_readonly_site,
    is_readwrite_site,
    lock,
    readwrite_site,
    sites,
    with_sites,
    write,
)
from vos.operations.locations import Location
from vos.operations.steps import explained, step
from vos.operations.subject import Partition, Server, Subject, Volume
from vos.operations.unhurried import unhurried
from vos.session import Session
from vos.undo import Step, Undo


async def remove(self: Subject, server: Server, partition: Partition, volume: Volume) -> None:
    """Delete a volume, with a read-write one its backup, and take it out of its entry; the last one's entry goes too.

    What is there already done is no failure, unless nothing is to do. Raises OperationFailed.
    """
    session = self.session
    at, volid = Location(session, self.server(server), self.partition(partition)), await self.volume(volume)
    async with Undo(session.output) as undo:
        try:
            entry, locked = await _locked(session, undo, volid)
            left = undo.note(left=f"volume {volid}, on its server or in the VLDB", remedy=f"vos remove {at} {volid}")
            try:
                on_disk = await delete_volume(at, volid, "the") is not None
            except OperationFailed:
                undo.forget(left)
                raise
            listed = entry is not None and await _unlisted(undo, entry, locked, at, volid)
        except OperationFailed as failure:
            session.output.complain(f"\n\n   {error_text(failure.code)}")
            raise
        undo.keep()
        where = "" if entry is None else "on server and partition"
        if not on_disk and not listed:
            text = f"Volume {volid} does not exist {where}"
            session.output.complain(f"\n{text}\n   {error_text(VolserError.VOLSERNOVOL)}")
            raise OperationFailed(VolserError.VOLSERNOVOL, text)
        if not on_disk:
            session.output.complain(f"WARNING: Volume {volid} did not exist on the partition")
        elif not listed:
            session.output.complain(f"WARNING: Volume {volid} does not exist in VLDB {where}")


async def zap(self: Subject, server: Server, partition: Partition, volume: Volume) -> None:
    """Delete a volume, and leave the VLDB as it is. Raises OperationFailed."""
    address, number, volid = self.server(server), self.partition(partition), await self.volume(volume)
    with explained(self.session):
        if await delete_volume(Location(self.session, address, number), volid, "the") is None:
            with step(self.session, f"Failed to start transaction on {volid}", explained=True):
                raise Abort(VolumeError.VNOVOL)


async def nuke(self: Subject, server: Server, partition: Partition, volume: Volume) -> None:
    """Delete every trace of a volume that cannot be attached. Raises RxError."""
    volid = await self.volume(volume)
    await self.session.volser(self.server(server)).NukeVolume(self.partition(partition), volid)


async def _locked(session: Session, undo: Undo, volume: int) -> tuple[nvldbentry | None, Step | None]:
    """Its entry, if there is one, locked; and what releases the lock."""
    with step(session, f"Could not lock VLDB entry for the volume {volume}", explained=True):
        try:
            released = f"\nCould not release the lock on the VLDB entry for the volume {volume} "
            locked = await lock(session, undo, volume, ANY, VLOP_DELETE, unreleased=released)
        except Abort as refusal:
            if refusal.code != VLError.VL_NOENT:
                raise
            return None, None
    with step(session, f"Could not fetch VLDB entry for volume {volume}", explained=True):
        entry = await session.vl.GetEntryByIDN(volume, ANY)
    if session.output.verbose:
        session.output.lines(named_entry_lines(session, entry, locks=False))
    return entry, locked


async def _unlisted(undo: Undo, entry: nvldbentry, locked: Step | None, at: Location, volume: int) -> bool:
    """Take a volume out of its entry, which may go with it; False where it is not there by the entry."""
    session = at.session
    changed, kind = await _without(entry, at, volume)
    if changed is None:
        return False

    def done(_: None) -> None:
        undo.keep()
        if locked is not None:
            undo.forget(locked)

    if changed.nServers <= 0 or not changed.flags & (VLF_ROEXISTS | VLF_RWEXISTS):
        session.output.detail(f"Last reference to the VLDB entry for {volume} - deleting entry")
        with step(session, f"Could not delete the VLDB entry for the volume {volume} ", explained=True):
            await unhurried(session.vl.DeleteEntry(volume, kind), done)
    else:
        with step(session, f"Could not update the VLDB entry for the volume {volume} ", explained=True):
            await unhurried(write(session, volume, kind, changed), done)
    return True


async def _without(entry: nvldbentry, at: Location, volume: int) -> tuple[nvldbentry | None, int]:
    """The entry without the volume, and of what kind the volume is."""
    session, output = at.session, at.session.output
    if volume == entry.volumeId[BACKUP]:
        if not entry.flags & VLF_BACKEXISTS or not await is_readwrite_site(session, entry, at.server, at.partition):
            return None, BACKUP
        output.detail(f"Marking the backup volume {volume} deleted in the VLDB")
        return replace(entry, flags=entry.flags & ~VLF_BACKEXISTS), BACKUP
    if volume == entry.volumeId[RO]:
        index = await find_readonly_site(session, entry, at.server, at.partition)
        if index is None:
            return None, RO
        output.detail(f"Marking the readonly volume {volume} deleted in the VLDB")
        return without_readonly(entry, index), RO
    if volume != entry.volumeId[RW]:
        return None, RW
    if not entry.flags & VLF_RWEXISTS or not await is_readwrite_site(session, entry, at.server, at.partition):
        return None, RW
    if entry.volumeId[BACKUP]:
        await delete_volume(at, entry.volumeId[BACKUP], "the backup")
    backup = ", and its backup volume," if entry.flags & VLF_BACKEXISTS else ""
    output.detail(f"Marking the readwrite volume {volume}{backup} deleted in the VLDB")
    if entry.flags & VLF_ROEXISTS:
        output.complain("WARNING: ReadOnly copy(s) may still exist")
    return without_readwrite(entry), RW


def without_readonly(entry: nvldbentry, index: int) -> nvldbentry:
    """An entry without one of its read-only sites. The last one that goes takes the volume with it."""
    left = sites(entry)
    del left[index]
    last = not any(flags & VLSF_ROVOL for _, _, flags in left)
    return replace(with_sites(entry, left), flags=entry.flags & ~VLF_ROEXISTS if last else entry.flags)


def without_readwrite(entry: nvldbentry) -> nvldbentry:
    """An entry without its read-write site, and so without backup volume."""
    gone = readwrite_site(entry)
    left = sites(entry)
    if gone is not None:
        left.remove(gone)
    return replace(with_sites(entry, left), flags=entry.flags & ~(VLF_BACKEXISTS | VLF_RWEXISTS))
