"""A read-write volume moved to another partition or server (vsprocs.c UV_MoveVolume2).

The entry in the VLDB decides: until it has changed, a move that breaks off is taken back; from then on it is finished.
Where that cannot be found out nothing is deleted.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from twisted.internet.defer import CancelledError

from afs.errors import VolserError, VolumeError
from afs.location import BACKUP, RW
from afs.names import VOLUME_NAME_MAX
from afs.rpc.vl import VLF_BACKEXISTS, VLF_ROEXISTS, VLOP_MOVE, VLSF_RWVOL, nvldbentry
from afs.rpc.volser import ITBusy, VTOutOfService, restoreCookie
from rx.errors import RxError
from vos.errors import OperationFailed, error_text
from vos.operations import entries
from vos.operations.copies import allocate, create_target, end, make_clone, open_clone, open_source, send
from vos.operations.deletion import delete_volume, network_order
from vos.operations.locations import Location
from vos.operations.steps import doing, nobody_listens, refuse, step
from vos.operations.transactions import Transaction, begin
from vos.output import vice_name
from vos.undo import Step, Undo

CLONE_NAME = b"move-clone-temp"


class NotThere(OperationFailed):
    """The volume is neither where it is to be moved from nor where it is to be moved to; where it is, has been said."""


async def move_volume(volume: int, source: Location, target: Location, *, live: bool = False) -> None:
    """Move a read-write volume with its entry in the VLDB. Its backup volume is deleted.

    With `live` no clone is made first, which takes less room, but nobody can write meanwhile. Raises OperationFailed;
    also after what an earlier move had left behind was cleared away, as stock does.
    """
    move = _Move(volume, source, target, live)
    output = source.session.output
    try:
        async with Undo(output) as afterwards, Undo(output) as undo:
            try:
                await move.run(undo)
            except (OperationFailed, CancelledError, OSError) as problem:
                if isinstance(problem, OSError):
                    nobody_listens(source.session)
                await move.break_off(undo, afterwards)
                raise
    except (OperationFailed, CancelledError, OSError):
        if move.begun:
            source.session.output.say("cleanup complete - user verify desired result")
        raise


class _Move:
    """How far it is: `begun` once a server has been asked for something, `replacing` once the VLDB has."""

    def __init__(self, volume: int, source: Location, target: Location, live: bool) -> None:
        self.begun = self.replacing = False
        self._session = source.session
        self._volume = volume
        self._source = source
        self._target = target
        self._live = live
        self._backup = self._clone = 0

    async def run(self, undo: Undo) -> None:
        entry, lock = await self._lock(undo)
        if not await entries.is_readwrite_site(self._session, entry, self._source.server, self._source.partition):
            await self._elsewhere(entry)
        await self._need_another()
        self.begun = True
        trans = await self._send(undo)
        await self._replace(undo, entry, lock)
        await self._clear(undo, trans)
        if entry.flags & VLF_ROEXISTS:
            self._session.output.complain("WARNING : readOnly copies still exist ")

    async def break_off(self, undo: Undo, afterwards: Undo) -> None:
        """What is to be taken back, or to be done instead. Called while the transactions are still open."""
        if not self.begun:
            return
        session, volume = self._session, self._volume
        session.output.say("vos move: operation interrupted, cleanup in progress...\nclear transaction contexts")
        try:
            moved = self.replacing and not await self._is_at(self._source)
        except (RxError, CancelledError) as problem:
            undo.keep()
            session.output.say("FATAL: VLDB access error: abort cleanup")
            switches = session.output.switches
            session.output.complain(
                f"vos: left as it is: volume {volume} at {self._source}, out of service, and at {self._target}; "
                "the VLDB says which is the volume\n"
                f"vos: go on with: vos online {self._words(self._source)} {volume}{switches}, should it be that one\n"
                f"vos: go on with: {self._again()}{switches}"
            )
            if self._clone:
                session.output.left(f"clone {self._clone} of volume {volume}", self._source.zap(self._clone))
            if isinstance(problem, CancelledError):
                raise
            return
        if not moved:
            session.output.say("move incomplete - attempt cleanup of target partition - no guarantee")
            return
        undo.keep()
        session.output.say("move complete - attempt cleanup of source partition - no guarantee")
        self._finish(afterwards)

    def _finish(self, afterwards: Undo) -> None:
        """Delete what is left at the source: the backup volume, the volume, the clone."""
        source, volume, again = self._source, self._volume, self._again()
        if self._clone:
            left, remedy = f"clone {self._clone} of volume {volume} at {source}", source.zap(self._clone)
            afterwards.add(partial(self._delete_left, self._clone, "clone"), left=left, remedy=remedy)
        left = f"the old volume {volume} at {source}"
        afterwards.add(partial(self._delete_left, volume, "source", ""), left=left, remedy=again)
        left = f"the old backup volume at {source}"
        afterwards.add(partial(self._delete_left, self._backup, "backup"), left=left, remedy=again)

    async def _delete_left(self, volume: int, what: str, prefix: str = "Recovery:") -> None:
        source = self._source
        elsewhere = self._target.server if volume == self._volume and self._target.server != source.server else None
        if await delete_volume(source, volume, what, prefix=prefix, moved_to=elsewhere) is None:
            text = f"\n{prefix}{' ' * bool(prefix)}Failed to start transaction on {volume}"
            self._session.output.complain(f"{text}\n   {error_text(VolumeError.VNOVOL)}")

    async def _lock(self, undo: Undo) -> tuple[nvldbentry, Step]:
        session, volume = self._session, self._volume
        unknown = f"Could not fetch the entry for the volume  {volume} from the VLDB "
        with step(session, unknown, explained=True):
            entry = await session.vl.GetEntryByIDN(volume, entries.ANY)
        if entry.volumeId[RW] != volume:
            raise refuse(session, "Only RW volume can be moved", VolserError.VOLSERBADOP)
        with step(session, f"Could not lock entry for volume {volume} ", explained=True):
            lock = await entries.lock(session, undo, volume, RW, VLOP_MOVE, unreleased="")
        with step(session, unknown, explained=True):
            entry = await session.vl.GetEntryByIDN(volume, RW)
        self._backup = entry.volumeId[BACKUP]
        return entry, lock

    async def _elsewhere(self, entry: nvldbentry) -> None:
        """The volume is not at the source: it has been moved, or somebody is wrong. Always raises."""
        session, volume = self._session, self._volume
        if not await entries.is_readwrite_site(session, entry, self._target.server, self._target.partition):
            sites = [site for site in entries.sites(entry) if site[2] == VLSF_RWVOL]
            named = "".join(f" server {session.name(at)} partition {vice_name(number)} \n" for at, number, _ in sites)
            text = f"The volume {volume} is not on the specified site. \nThe current site is :{named}"
            session.output.complain(text, end="")
            raise NotThere(VolserError.VOLSERVOLMOVED, text)
        self.begun = self.replacing = True
        await delete_volume(self._source, volume, "leftover")
        await delete_volume(self._source, self._backup, "leftover backup")
        raise OperationFailed(VolserError.VOLSERVOLMOVED, f"volume {volume} had been moved to {self._target} before")

    async def _need_another(self) -> None:
        if self._source.partition != self._target.partition:
            return
        session, server = self._session, self._source.server
        with step(
            session, f"Failed to get info about server's {int(server)} address(es) from vlserver", explained=True
        ):
            same = await entries.same_server(session, server, self._target.server)
        if same:
            text = (
                f"\nWarning: Moving volume {self._volume} to its home partition ignored!\n   VOLSER: volume has moved"
            )
            raise refuse(session, text, VolserError.VOLSERVOLMOVED)

    async def _send(self, undo: Undo) -> Transaction:
        """The target is complete and online when this returns, the source out of service, its transaction open."""
        session, volume, source, target = self._session, self._volume, self._source, self._target
        trans = await open_source(undo, source, volume, f"Failed to create transaction on the volume {volume}")
        if not self._live:
            self._clone = await allocate(source, volume, "clone")
            await make_clone(undo, source, trans, volume, self._clone, CLONE_NAME)
        with step(session, f"Failed to get the name of the volume {volume}", explained=True):
            name = (await source.volser.GetName(trans.id))[:VOLUME_NAME_MAX]
        text = f"Ending the transaction on the source volume {volume}"
        await end(source, trans, text, f"Failed to end the transaction on the source volume {volume}")
        since = 0
        if not self._live:
            clone, since = await open_clone(undo, source, self._clone)
        await delete_volume(target, volume, "pre-existing destination")
        to = await create_target(undo, target, volume, name)
        cookie = restoreCookie(name=name, type=RW, parent=volume, clone=0)
        if not self._live:
            text = f"Dumping from clone {self._clone} on source to volume {volume} on destination ..."
            with doing(session, text, f"Failed to move data for the volume {volume}"):
                await send(source, clone, 0, target, to, cookie)
            text = f"Ending transaction on cloned volume {self._clone}"
            await end(source, clone, text, f"Failed to end the transaction on the cloned volume {self._clone}")
        self._add_online(undo)
        trans = await open_source(undo, source, volume, f"Failed to create a transaction on the source volume {volume}")
        how = "" if self._live else " incremental"
        failed = f"Failed to do the{how} dump from rw volume on old site to rw volume on newsite"
        with doing(session, f"Doing the{how} dump from source to destination for volume {volume} ... ", failed):
            await send(source, trans, since, target, to, cookie)
        failed = "Failed to set the flags to make old source volume offline"
        with doing(session, f"Setting volume flags on old source volume {volume} ...", failed):
            await source.volser.SetFlags(trans.id, VTOutOfService)
        failed = "Failed to set the flags to make new source volume online"
        with doing(session, f"Setting volume flags on new source volume {volume} ...", failed):
            await target.volser.SetFlags(to.id, 0)
        text = f"Ending transaction on destination volume {volume}"
        await end(target, to, text, f"Failed to end the transaction on the volume {volume} on the new site")
        return trans

    def _add_online(self, undo: Undo) -> None:
        """The source may be put out of service from here on."""
        source, volume = self._source, self._volume
        left = f"volume {volume} at {source}, out of service"
        undo.add(self._put_online, left=left, remedy=f"vos online {self._words(source)} {volume}")

    async def _put_online(self) -> None:
        source = self._source
        async with Undo(self._session.output) as undo:
            trans = await begin(self._session, undo, source.server, source.partition, self._volume, ITBusy)
            await source.volser.SetFlags(trans.id, 0)
            await trans.end()

    async def _replace(self, undo: Undo, entry: nvldbentry, lock: Step) -> None:
        session, volume, target = self._session, self._volume, self._target
        changed = []
        for server, partition, flags in entries.sites(entry):
            here = bool(flags & VLSF_RWVOL) and (server, partition) == self._where(entry)
            changed.append((target.server, target.partition, flags) if here else (server, partition, flags))
        moved = replace(entries.with_sites(entry, changed), flags=entry.flags & ~VLF_BACKEXISTS)
        name = entry.name.decode(errors="replace")
        failed = f" Could not release the lock on the VLDB entry for the volume {name} {volume} "
        self.replacing = True
        with doing(session, f"Releasing lock on VLDB entry for volume {volume} ...", failed, explained=False):
            await entries.write(session, volume, entries.ANY, moved)
            undo.forget(lock)
            undo.keep()  # before anything is said, which may fail

    async def _clear(self, undo: Undo, trans: Transaction) -> None:
        """The volume is where it shall be; nothing of it stays where it was."""
        session, volume, source = self._session, self._volume, self._source
        if self._target.server != source.server:
            failed = f"Failed to set the forwarding pointer for the volume {volume}"
            with doing(session, f"Setting forwarding pointer for volume {volume} ...", failed):
                await source.volser.SetForwarding(trans.id, network_order(self._target.server))
        failed = f"Failed to delete the old volume {volume} on source"
        with doing(session, f"Deleting old volume {volume} on source ...", failed):
            await source.volser.DeleteVolume(trans.id)
        text = f"Ending transaction on old volume {volume} on the source"
        await end(source, trans, text, f"Failed to end the transaction on the old volume {volume} on the source")
        await delete_volume(source, self._backup, "source backup")
        if not self._live:
            await delete_volume(source, self._clone, "cloned")

    async def _is_at(self, place: Location) -> bool:
        entry = await self._session.vl.GetEntryByIDN(self._volume, entries.ANY)
        return await entries.is_readwrite_site(self._session, entry, place.server, place.partition)

    def _again(self) -> str:
        return f"vos move {self._volume} {self._words(self._source)} {self._words(self._target)}"

    @staticmethod
    def _where(entry: nvldbentry) -> tuple[object, int] | None:
        site = entries.readwrite_site(entry)
        return site[:2] if site else None

    @staticmethod
    def _words(place: Location) -> str:
        return f"{place.host} {vice_name(place.partition)}"
