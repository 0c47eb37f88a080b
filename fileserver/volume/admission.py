"""How a call gets its volume: attached on demand, waited for where that is worth it, and only while its partition is
this server's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from errno import EINVAL

from twisted.internet.defer import Deferred

from afs.errors import VolumeError
from fileserver.interfaces import Damaged, Fenced, IPartition
from fileserver.volume.aging import Room
from fileserver.volume.attach import attach
from fileserver.volume.catalogue import Catalogue
from fileserver.volume.checkout import Checkout, Mode, UnderSalvage, check_out
from fileserver.volume.fsa import VolumeState
from fileserver.volume.gate import Gate
from fileserver.volume.holding import SERVER, Holder, Holds
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.offline import condemn
from fileserver.volume.salvaging import Salvages
from fileserver.volume.volume import Volume
from rx.errors import Abort


def nobody_asks(volume: Volume, host: Hashable) -> None:
    """Of first meetings."""


class Repaired(Abort):
    """A call met damage; the volume was salvaged meanwhile. What the call did is undone: it may be made again."""


class Admission(Catalogue):
    """See the module."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__()
        self.surroundings = surroundings
        self.room = Room(surroundings)
        self.holds = Holds(surroundings)
        self.salvages: Salvages | None = None
        self.met: Callable[[Volume, Hashable], Deferred[bool] | None] = nobody_asks
        """Called when a host uses a volume for the first time, which begins when what it returns has fired; with False
        that was in vain, because the partition is not surely ours, and is tried again when it is.
        """
        self._stopping = False

    @asynccontextmanager
    async def use(self, volume_id: int, holder: Holder = SERVER, *, reader: str = "client") -> AsyncIterator[Volume]:
        """The volume, attached, for as long as the context lasts. `reader` names who wants it, for the log; `holder`
        is whose call waits where the volume is busy or under salvage.

        Raises Abort VNOVOL, VOFFLINE, VBUSY, VMOVED, VSALVAGE (dafs.md section 2), VRESTARTING; EINVAL for id 0. A
        StoreError Damaged in the context takes the volume out of service; when it is back that is Repaired, and Abort
        VSALVAGE if there is no hope.
        """
        volume = self._ready(volume_id) or await self._admitted(volume_id, holder)
        while holder.host is not None and not volume.knows(holder.host):
            noted = self.met(volume, holder.host)
            if noted is None or await noted:
                volume.meet(holder.host)
            volume = self._ready(volume_id) or await self._admitted(volume_id, holder)
        volume.enter(holder)
        damaged = False  # the exception itself would keep this frame, and what the call has open, until a collection
        try:
            yield volume
        except (Damaged, Fenced) as damage:
            damaged = True
            condemn(volume, f"{reader}: {damage}")
        finally:
            volume.leave(holder)
        await self._answerable(volume)
        if damaged:
            if not (self._leaving(volume.partition) or self.surroundings.salvages.expects(volume)):
                raise Abort(VolumeError.VSALVAGE)
            await self._admitted(volume_id, holder)
            raise Repaired(VolumeError.VBUSY, "the volume was repaired meanwhile")

    def glance(self, volume_id: int, host: Hashable) -> Volume | None:
        """Fast path beside `use`: the volume if it is attached and `host` has used it before, for work that does not
        await. None: ask `use`.
        """
        volume = self._ready(volume_id)
        return volume if volume is not None and volume.knows(host) else None

    def _ready(self, volume_id: int) -> Volume | None:
        """Fast path beside `_admitted`: the volume, if nothing has to be waited for."""
        volume = self.find(volume_id)
        if volume is None or volume.state is not VolumeState.ATTACHED or self._stopping:
            return None
        if self._volumes[volume.partition.number].gate.frozen:
            return None
        try:
            volume.partition.ownership.check()
        except Fenced:
            return None
        return volume

    async def _admitted(self, volume_id: int, holder: Holder) -> Volume:
        """The volume, attached, on a partition that takes calls and is surely ours. Raises Abort, see `use`."""
        deadline: float | None = None
        while True:
            if self._stopping:
                raise Abort(VolumeError.VRESTARTING)
            volume = self.find(volume_id)
            gate = self._gate(volume_id) if volume is None else self._volumes[volume.partition.number].gate
            if gate is None:
                raise Abort(VolumeError.VNOVOL if volume_id else EINVAL)
            if gate.frozen:
                deadline = deadline or self.holds.deadline()
                await self.holds.wait(gate.changed, deadline, holder, Abort(VolumeError.VBUSY))
                if self.find(volume_id) is None:  # else another partition has it, too
                    await gate.check(holder)
            elif volume is not None and volume.state is not VolumeState.ATTACHED:
                deadline = deadline or self.holds.deadline()
                await self._attach(volume, gate, holder, deadline)
            elif volume is not None:
                await self._answerable(volume)
                if volume.state is VolumeState.ATTACHED:
                    return volume

    def _leaving(self, partition: IPartition) -> bool:
        """Whether the volumes of a partition are not to be had here for now: who has it next sees to them."""
        known = self._volumes.get(partition.number)
        return known is None or known.partition is not partition or known.gate.frozen

    async def _answerable(self, volume: Volume) -> None:
        """Waits while it is not known whether the partition is ours. Raises Abort VNOVOL when it is not."""
        ownership = volume.partition.ownership
        while True:
            try:
                ownership.check()
            except Fenced as unsure:
                if not await ownership.settled():
                    raise Abort(VolumeError.VNOVOL, str(unsure)) from unsure
            else:
                return

    async def _attach(self, volume: Volume, gate: Gate, holder: Holder, deadline: float) -> None:
        """One step towards ATTACHED, or until something else has happened. Raises Abort, see `use`."""
        state = await volume.settled()
        if state is VolumeState.ATTACHED or gate.frozen or self._stopping:
            return
        if state is VolumeState.PREATTACHED and not volume.special_status:
            await self._answerable(volume)  # nothing can be attached before
            async with self.room.one_more(volume.partition):
                if volume.state is VolumeState.PREATTACHED and not gate.frozen:
                    await attach(volume)
            return
        await self._hold(volume, deadline, holder)

    async def _hold(self, volume: Volume, deadline: float, holder: Holder) -> None:
        """Wait until something happens to a volume that is busy or under salvage. Raises Abort where it is not, and
        VBUSY when that takes too long.
        """
        refusal = volume.refusal()
        if volume.state in (VolumeState.SALVAGING, VolumeState.SALVAGE_REQ):
            if self.salvages is None:
                raise refusal
            self.salvages.demanded(volume)
            refusal = Abort(self.salvages.refusal(volume))
        elif not volume.borrowed or volume.special_status != VolumeError.VBUSY:
            raise refusal
        await self.holds.wait(volume.changed, deadline, holder, refusal)

    async def check_out(self, volume_id: int, partition: int, mode: Mode) -> Checkout:
        """Lend a volume to the volume server, after its salvage if it is under one. Raises Abort VNOVOL, VSALVAGE,
        VOFFLINE.
        """
        volume = self.find(volume_id, partition)
        if volume is None:
            raise Abort(VolumeError.VNOVOL)
        deadline = self.holds.deadline()
        while True:
            try:
                return await check_out(volume, mode)
            except UnderSalvage:
                if volume.state in (VolumeState.SALVAGING, VolumeState.SALVAGE_REQ, VolumeState.SALVSYNC_REQ):
                    refusal = Abort(VolumeError.VSALVAGE)
                    await self.holds.wait(volume.changed, deadline, SERVER, refusal)
