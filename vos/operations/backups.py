"""Backup volumes: the one clone of a volume that its entry knows besides the read-only one."""

from __future__ import annotations

from dataclasses import replace

from afs.errors import VolserError
from afs.location import BACKUP, RW
from afs.names import BACKUP_SUFFIX, READWRITE_NAME_MAX
from afs.rpc.vl import VLF_BACKEXISTS, VLOP_BACKUP, nvldbentry
from afs.rpc.volser import ITOffline
from vos.entries import LOCKED, text
from vos.operations.clones import Clone, bring_up_to_date
from vos.operations.entries import RELEASE, with_id, write
from vos.operations.locations import Location
from vos.operations.steps import explained, refuse, step
from vos.operations.subject import Partition, Server, Subject, Volume
from vos.operations.transactions import begin
from vos.operations.unhurried import unhurried
from vos.session import Session
from vos.undo import Undo


async def backup(self: Subject, volume: Volume, server: Server, partition: Partition) -> int:
    """Make or renew the backup volume of the read-write volume that is there; its id. Raises OperationFailed."""
    session = self.session
    at, volid = Location(session, self.server(server), self.partition(partition)), await self.volume(volume)
    with explained(session):
        entry = await _entry(session, volid)
        async with Undo(session.output) as undo:
            listing = _Listing(session, volid, entry)
            if not entry.flags & VLF_BACKEXISTS or entry.flags & LOCKED or not entry.volumeId[BACKUP]:
                with step(session, f"Could not lock the VLDB entry for the volume {volid}"):
                    await unhurried(session.vl.SetLock(volid, RW, VLOP_BACKUP), lambda _: listing.close_at_end(undo))
                listing.entry = await _entry(session, volid)
            name = listing.entry.name
            if len(name) > READWRITE_NAME_MAX:
                said = f"Name of the volume {text(name)} exceeds the size limit"
                raise refuse(session, said, VolserError.VOLSERBADNAME)
            if not listing.entry.volumeId[BACKUP]:
                with step(session, f"Could not allocate ID for the backup volume of  {volid} from the VLDB"):
                    listing.change(with_id(listing.entry, BACKUP, await session.vl.GetNewVolumeId(1)))
            clone = listing.entry.volumeId[BACKUP]
            await bring_up_to_date(at, volid, Clone(clone, BACKUP, name + BACKUP_SUFFIX, "backup"), undo)
            await _bring_online(at, clone)
            undo.keep()
            if not listing.entry.flags & VLF_BACKEXISTS:
                listing.change(replace(listing.entry, flags=listing.entry.flags | VLF_BACKEXISTS))
    return clone


async def _bring_online(at: Location, clone: int) -> None:
    session = at.session
    async with Undo(session.output) as undo:
        with step(session, f"Failed to start a transaction on the backup volume {clone}"):
            ended = f"Could not end transaction the backup volume {clone}"
            transaction = await begin(session, undo, at.server, at.partition, clone, ITOffline, unended=ended)
        with step(session, f"Could not mark the backup volume {clone} on line "):
            await at.volser.SetFlags(transaction.id, 0)
        with step(session, f"Failed to end the transaction on the backup volume {clone}"):
            await transaction.end()


async def _entry(session: Session, volume: int) -> nvldbentry:
    with step(session, f"Could not fetch the entry for the volume {volume} from the VLDB "):
        return await session.vl.GetEntryByIDN(volume, RW)


class _Listing:
    """A locked entry, written back at the end if it has changed, also when making the clone has failed: an id that
    was taken for it is not to be lost.
    """

    def __init__(self, session: Session, volume: int, entry: nvldbentry) -> None:
        self.entry = entry
        self._session = session
        self._volume = volume
        self._changed = False

    def change(self, entry: nvldbentry) -> None:
        """To this."""
        self.entry = entry
        self._changed = True

    def close_at_end(self, undo: Undo) -> None:
        """Of what the `undo` is for."""
        volume = self._volume
        undo.finally_(self._close, left=f"the lock on the VLDB entry of volume {volume}", remedy=f"vos unlock {volume}")

    async def _close(self) -> None:
        """Write it, or release its lock alone. Raises OperationFailed."""
        if self._changed:
            with step(self._session, f"Could not update the VLDB entry for the volume {self._volume} "):
                await write(self._session, self._volume, RW, self.entry)
        else:
            with step(self._session, f"Could not unlock the VLDB entry for the volume {self._volume} "):
                await self._session.vl.ReleaseLock(self._volume, RW, RELEASE)
