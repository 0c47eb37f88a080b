"""A volume copied to another place, under another name or as a shadow of itself (vsprocs.c UV_CopyVolume2)."""

from __future__ import annotations

import shlex

from twisted.internet.defer import CancelledError

from afs.location import BACKUP, RO, RW
from afs.names import VOLUME_NAME_MAX
from afs.rpc.vl import VLF_ROEXISTS, VLF_RWEXISTS, VLSF_ROVOL, VLSF_RWVOL, nvldbentry
from afs.rpc.volser import ITOffline, VTOutOfService, restoreCookie
from rx.errors import Abort
from vos.errors import OperationFailed
from vos.operations import entries
from vos.operations.clones import READ_ONLY, READ_WRITE
from vos.operations.copies import allocate, before, create_target, end, make_clone, open_clone, open_source, send
from vos.operations.deletion import Replaced, delete_volume
from vos.operations.locations import Location
from vos.operations.steps import doing, nobody_listens, step
from vos.operations.transactions import Transaction, begin
from vos.output import vice_name
from vos.undo import Undo

CLONE_NAME = b"copy-clone-temp"


async def copy_volume(
    volume: int,
    source: Location,
    target: Location,
    name: bytes,
    *,
    copy: int = 0,
    readonly: bool = False,
    offline: bool = False,
    live: bool = False,
    incremental: bool = False,
    listed: bool = True,
) -> int:
    """Copy a volume; the copy's id, which is `copy` or else a new one. Raises OperationFailed.

    What has the id at the target is replaced, or brought up to date if `incremental`. With `live` no clone is made
    first, which takes less room, but nobody can write meanwhile. `listed`: an entry is made in the VLDB.
    """
    work = _Copy(volume, source, target, name, copy, readonly, offline, live, incremental, listed)
    output = source.session.output
    try:
        async with Undo(output) as undo:
            try:
                return await work.run(undo)
            except (OperationFailed, CancelledError, OSError) as problem:
                if isinstance(problem, OSError):
                    nobody_listens(source.session)
                work.break_off()
                raise
    except (OperationFailed, CancelledError, OSError):
        if work.begun:
            source.session.output.say("cleanup complete - user verify desired result")
        raise


class _Copy:
    """How far it is: `begun` once a server is about to be asked for something."""

    def __init__(
        self,
        volume: int,
        source: Location,
        target: Location,
        name: bytes,
        copy: int,
        readonly: bool,
        offline: bool,
        live: bool,
        incremental: bool,
        listed: bool,
    ) -> None:
        self.begun = False
        self._session = source.session
        self._volume = volume
        self._source = source
        self._target = target
        self._name = name
        self._copy = copy
        self._kind = READ_ONLY if readonly else READ_WRITE
        self._offline = offline
        self._live = live
        self._incremental = incremental
        self._listed = listed

    async def run(self, undo: Undo) -> int:
        session, volume, source, target = self._session, self._volume, self._source, self._target
        with step(session, f"Could not fetch the entry for the volume  {volume} from the VLDB ", explained=True):
            await session.vl.GetEntryByIDN(volume, entries.ANY)
        self.begun = True
        clone = await self._make_clone(undo)
        copy = self._copy
        since = clone_since = 0
        if clone:
            clone_trans, since = await open_clone(undo, source, clone)
        to, found = await self._open_target(undo)
        if found:
            clone_since = found
            since = since if clone else found
        cookie = restoreCookie(name=self._name[:VOLUME_NAME_MAX], type=self._kind, parent=0, clone=0)
        if clone:
            text = f"Dumping from clone {clone} on source to volume {copy or self._copy} on destination ..."
            with doing(session, text, f"Failed to move data for the volume {self._copy}"):
                await send(source, clone_trans, clone_since, target, to, cookie)
            failed = f"Failed to end the transaction on the cloned volume {clone}"
            await end(source, clone_trans, f"Ending transaction on cloned volume {clone}", failed)
        trans = await open_source(undo, source, volume, f"Failed to create a transaction on the source volume {volume}")
        how = " incremental" if clone else ""
        failed = f"Failed to do the{how} dump from old site to new site"
        with doing(session, f"Doing the{how} dump from source to destination for volume {volume} ... ", failed):
            await send(source, trans, since, target, to, cookie)
        await self._release(trans, to)
        if clone:
            await delete_volume(source, clone, "cloned")
        if self._listed:
            await self._list(undo)
        return self._copy

    def break_off(self) -> None:
        """What was begun is about to be taken back."""
        if self.begun:
            self._session.output.say(
                "vos copy: operation interrupted, cleanup in progress...\nclear transaction contexts"
            )

    async def _make_clone(self, undo: Undo) -> int:
        """The clone to send from first; 0 for none. The copy has its id afterwards, too."""
        volume, source = self._volume, self._source
        if self._live:
            await self._need_id()
            return 0
        trans = await open_source(undo, source, volume, f"Failed to create transaction on the volume {volume}")
        clone = await allocate(source, volume, "clone")
        await self._need_id()
        await make_clone(undo, source, trans, volume, clone, CLONE_NAME)
        failed = f"Failed to end the transaction on the source volume {volume}"
        await end(source, trans, f"Ending the transaction on the source volume {volume}", failed)
        return clone

    async def _need_id(self) -> None:
        if not self._copy:
            self._copy = await allocate(self._source, self._volume, "copy")

    async def _open_target(self, undo: Undo) -> tuple[Transaction, int]:
        """A transaction on the copy, and the date since when it lacks changes; 0 for a new one."""
        session, target, copy = self._session, self._target, self._copy
        try:
            old = await begin(session, undo, target.server, target.partition, copy, ITOffline)
        except Abort:  # there is none, or none that can be used: making one will tell
            return await create_target(undo, target, copy, self._name, self._kind), 0
        if self._incremental:
            failed = f"Failed to get the status of the pre-existing volume {copy}"
            with doing(session, f"Getting status of pre-existing volume {copy} ...", failed):
                status = await target.volser.GetStatus(old.id)
            return old, before(status.updateDate)
        failed = f"Could not delete the pre-existing volume {copy} on destination"
        with doing(session, f"Deleting pre-existing volume {copy} on destination ...", failed):
            await Replaced(undo, self._again()).delete(target, old.id, copy)
        failed = f"Could not end the transaction on pre-existing volume {copy} on destination"
        await end(target, old, f"Ending transaction on pre-existing volume {copy} on destination", failed)
        return await create_target(undo, target, copy, self._name, self._kind), 0

    async def _release(self, trans: Transaction, to: Transaction) -> None:
        """The copy is complete."""
        session, volume, copy = self._session, self._volume, self._copy
        failed = "Failed to set the flags to make destination volume online"
        with doing(session, f"Setting volume flags on destination volume {copy} ...", failed):
            await self._target.volser.SetFlags(to.id, VTOutOfService if self._offline else 0)
        failed = f"Failed to end the transaction on the destination volume {copy}"
        await end(self._target, to, f"Ending transaction on destination volume {copy}", failed)
        failed = f"Failed to end the transaction on the source volume {volume}"
        await end(self._source, trans, f"Ending transaction on source volume {volume}", failed)

    async def _list(self, undo: Undo) -> None:
        session, copy = self._session, self._copy
        name = self._name.decode(errors="surrogateescape")
        readonly = self._kind == READ_ONLY
        entry = nvldbentry(
            name=self._name,
            volumeId=tuple({RW: copy, RO: copy if readonly else 0, BACKUP: 0}[kind] for kind in entries.KINDS),
            flags=VLF_ROEXISTS if readonly else VLF_RWEXISTS,
        )
        site = (self._target.server, self._target.partition, VLSF_ROVOL if readonly else VLSF_RWVOL)
        with step(session, f"Could not create a VLDB entry for the volume {name} {copy}"):
            await entries.create(session, undo, entries.with_sites(entry, [site]))
        session.output.detail(f"Created the VLDB entry for the volume {name} {copy}")

    def _again(self) -> str:
        """The command that does the same once more."""
        places = [word for at in (self._source, self._target) for word in (at.host, vice_name(at.partition))]
        name = self._name.decode(errors="surrogateescape")
        words = ["vos", "copy", str(self._volume), *places[:2], name, *places[2:]]
        if not self._listed:
            words = ["vos", "shadow", str(self._volume), *places, "-toname", name, "-toid", str(self._copy)]
        flags = {"-offline": self._offline, "-readonly": self._kind == READ_ONLY, "-live": self._live}
        return shlex.join([*words, *(flag for flag, given in flags.items() if given)])
