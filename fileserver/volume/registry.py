"""Every volume of this server, by partition and id. Demand attach starts here, and the last things at shutdown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from errno import EINVAL
from uuid import UUID

from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError, ensureDeferred, gatherResults  # noqa: A004
from twisted.logger import Logger

from afs.errors import VolumeError
from fileserver.interfaces import Damaged, Fenced, IPartition, ISalvager, StoreError, VolumeExists, VolumeHeader
from fileserver.volume.aging import Room
from fileserver.volume.attach import attach
from fileserver.volume.checkout import Checkout, Mode, UnderSalvage, check_out
from fileserver.volume.fsa import Event, VolumeState
from fileserver.volume.gate import Gate, Refusal, no_volume
from fileserver.volume.holding import SERVER, Holder, Holds
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.known import Known
from fileserver.volume.offline import condemn, take_offline
from fileserver.volume.salvaging import Salvages
from fileserver.volume.volume import Volume
from rx.errors import Abort

log = Logger(namespace="fileserver.volume")

OFFLINE_PARALLEL = 32
"""Volumes closed at the same time at shutdown: each is a few disk writes in the back end's threads, more would only
queue there.
"""

THIN_PARALLEL = 4
"""The same while clients are served, who wait behind these."""

RECENT_SECONDS = 1
"""What was used within this time will be used again at once."""

GONE = (VolumeState.UNATTACHED, VolumeState.ERROR, VolumeState.DELETED, VolumeState.FREED)
"""States in which shutdown finds nothing left to do."""


def nobody_asks(volume: Volume, host: Hashable) -> None:
    """Of first meetings."""


class Repaired(Abort):
    """A call met damage; the volume was salvaged meanwhile. What the call did is undone: it may be made again."""


class Registry:
    """See the module."""

    def __init__(self, surroundings: Surroundings, salvager: ISalvager | None = None) -> None:
        self.surroundings = surroundings
        self.room = Room(surroundings)
        self.holds = Holds(surroundings)
        self.salvages: Salvages | None = None
        if salvager is not None:
            self.salvages = surroundings.salvages = Salvages(
                surroundings, salvager, self._members, self._appeared, self._lost
            )
        self.arriving: Callable[[IPartition], Awaitable[None]] | None = None
        """Awaited for a partition before any volume of it can be used."""
        self.parting: Callable[[IPartition], Awaitable[None]] | None = None
        """Awaited for a partition whose volumes are all offline, before it is closed."""
        self._partitions: dict[int, IPartition] = {}
        self._volumes: dict[int, Known] = {}  # by partition number
        self._vacated: list[Known] = []
        self.met: Callable[[Volume, Hashable], Deferred[None] | None] = nobody_asks
        """Called when a host uses a volume for the first time, which begins when what it returns has fired."""
        self._stopping = False

    async def add_partition(self, partition: IPartition, ids: Sequence[int] | None = None) -> None:
        """Serve a partition: its volumes are known by `ids`, or from a scan of names; none is opened."""
        assert partition.number not in self._partitions, partition.name
        known = Known(partition, self.surroundings, await partition.volume_ids() if ids is None else ids)
        for others in self._volumes.values():
            for volume_id in filter(others.__contains__, known):
                await self._meets_another(known, volume_id, others.partition)
        if self.arriving is not None:
            await self.arriving(partition)
        self._partitions[partition.number] = partition
        self._volumes[partition.number] = known
        if self.salvages is not None:
            self.salvages.enter(partition)

    async def _meets_another(self, known: Known, volume_id: int, other: IPartition) -> None:
        """A partition comes with a volume that another has already: one of them serves."""
        here = known.partition
        if await _is_clone(here, volume_id) and await _is_clone(other, volume_id):
            log.info(
                "volume {id} is on {here}, too; that of {other} serves", id=volume_id, here=here.name, other=other.name
            )
            return
        known.hidden.add(volume_id)
        log.error(
            "read-write volume {id} is on {here}, too: that of {other} serves, and this one only if the volume server "
            "removes the other",
            id=volume_id,
            here=here.name,
            other=other.name,
        )

    def freeze(self, number: int) -> Gate:
        """Hold the calls that come for a partition's volumes, until it is removed or the gate is thawed."""
        gate = self._volumes[number].gate
        gate.freeze()
        return gate

    async def thin(self, number: int) -> None:
        """Close what nobody has used for a moment, a few volumes at a time, and sync the others, while the partition is
        served: little is left to be done when it is frozen. Raises OSError.
        """
        before = self.surroundings.seconds() - RECENT_SECONDS
        await _in_parallel(lambda volume: self.room.detach_idle(volume, before), self.used(number), THIN_PARALLEL)
        attached = [volume for volume in self.used(number) if volume.state is VolumeState.ATTACHED]
        await self.surroundings.durability.ahead(attached)

    async def drained(self, number: int, seconds: float, force: bool = False) -> bool:
        """Wait until no call uses a frozen partition's volumes, and the volume server none. Whether that came about
        within so many seconds; with `force` calls that are left then are cut off.
        """
        assert self._volumes[number].gate.frozen, "more would come"
        used = [volume for volume in self._volumes[number].used() if volume.users or volume.borrowed]
        waiting = ensureDeferred(_all_let_go(used))
        clock = self.surroundings.clock
        if clock is not None:
            waiting.addTimeout(seconds, clock)
        try:
            await waiting
        except TimeoutError:
            if not force:
                return False
            for volume in used:
                for holder in list(volume.holders):
                    log.warn("{volume}: a call of {host} is cut off", volume=volume, host=holder.host)
                    holder.interrupt(VolumeError.VNOVOL)
        return True

    async def remove_partition(self, number: int) -> None:
        """Take its volumes offline, in parallel, and close it. Calls that were held for it are told that there is no
        such volume.
        """
        self.dismiss(await self.vacate(number))

    async def vacate(self, number: int) -> Known:
        """As `remove_partition`, but calls for its volumes wait until `dismiss`, or `readmit` if it comes back."""
        partition, known = self._partitions[number], self._volumes[number]
        known.gate.freeze()
        if self.salvages is not None:
            await self.salvages.leave(partition)
        for volume in known.used():
            if volume.state in (VolumeState.PREATTACHED, VolumeState.SALVAGING):
                volume.send(Event.SHUTDOWN)
        await _in_parallel(_shut_down, (volume for volume in known.used() if volume.state not in GONE))
        if self.parting is not None:
            await self.parting(partition)
        del self._volumes[number], self._partitions[number]
        self._vacated.append(known)
        await partition.close()
        return known

    def dismiss(self, known: Known, refusal: Refusal = no_volume) -> None:
        """What becomes of a vacated partition is decided: it is not served here."""
        self._vacated.remove(known)
        known.gate.shut(refusal)

    def readmit(self, known: Known) -> None:
        """The partition was added again: calls that were held go on."""
        self._vacated.remove(known)
        known.gate.thaw()

    async def shutdown(self) -> None:
        """Take everything offline and close every partition. From now on clients are told VRESTARTING."""
        self._stopping = True
        await gatherResults([ensureDeferred(self.remove_partition(number)) for number in list(self._partitions)])

    def partitions(self) -> list[IPartition]:
        """In the order of their numbers."""
        return [self._partitions[number] for number in sorted(self._partitions)]

    def partition(self, number: int) -> IPartition | None:
        return self._partitions.get(number)

    def volumes(self, partition: IPartition | None = None) -> Iterator[Volume]:
        """All volumes, or those of one partition. For whoever wants to know of each: those nobody used cost memory from
        then on.
        """
        for number in sorted(self._volumes) if partition is None else [partition.number]:
            known = self._volumes[number]
            for volume_id in list(known):
                if (volume := known.get(volume_id)) is not None:
                    yield volume

    def has(self, number: int, volume_id: int) -> bool:
        """Whether a partition has a volume; the volume itself stays untouched."""
        return volume_id in self._volumes[number]

    def used(self, number: int) -> list[Volume]:
        """The volumes of a partition that were asked for since it was mounted."""
        return self._volumes[number].used()

    def count(self, number: int) -> int:
        """How many volumes a partition has."""
        return len(self._volumes[number])

    def ids(self, partition: IPartition) -> list[int]:
        """The ids of a partition's volumes, ascending."""
        return sorted(self._volumes[partition.number])

    def where(self, volume_id: int) -> UUID | None:
        """The partition that has it, the volume itself untouched."""
        for known in self._volumes.values():
            if volume_id in known:
                return known.partition.uuid
        return None

    def find(self, volume_id: int, partition: int | None = None) -> Volume | None:
        """By id, on the partition of that number, or the one that clients get: where several partitions have it, that
        of the first.
        """
        if partition is not None:
            known = self._volumes.get(partition)
            return None if known is None else known.get(volume_id)
        for known in self._volumes.values():
            if (volume := known.get(volume_id)) is not None and volume_id not in known.hidden:
                return volume
        return None

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
            if noted is not None:
                await noted
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

    def _gate(self, volume_id: int) -> Gate | None:
        """That of a vacated partition with such a volume."""
        return next((known.gate for known in self._vacated if volume_id in known), None)

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
            async with self.room.one_more():
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

    async def create(self, partition: IPartition, header: VolumeHeader) -> Checkout:
        """A new empty volume, in the hands of its creator. Raises VolumeExists, OSError.

        Another partition may have one of that id, if it is of the same kind: the same clone, or the same read-write
        volume on its way from there to here.
        """
        known = self._volumes[partition.number]
        others = [other.partition for other in self._volumes.values() if header.id in other]
        is_clone = header.id != header.parent
        for other in others:
            if other is partition or await _is_clone(other, header.id) != is_clone:
                raise VolumeExists(f"volume {header.id} exists on {other.name}")
        async with nullcontext() if self.salvages is None else self.salvages.making(partition, header.parent):
            files = await partition.create_volume(header)
            volume = known.add(header.id, VolumeState.UNATTACHED)
            volume.parent = header.parent
            volume.borrowed = True
            if others and not is_clone:
                known.hidden.add(header.id)
        return Checkout(volume, Mode.SECRETLY, header, files, online=False)

    def forget(self, volume: Volume) -> None:
        """A destroyed volume: its clients find out at their next call. Where another partition has it, that serves."""
        self._lost(volume)
        if self.find(volume.id) is None:
            other = next((known for known in self._volumes.values() if volume.id in known.hidden), None)
            if other is not None:
                other.hidden.discard(volume.id)

    def _lost(self, volume: Volume) -> None:
        if volume.state == VolumeState.DELETED and self.find(volume.id, volume.partition.number) is volume:
            del self._volumes[volume.partition.number][volume.id]
            volume.send(Event.FREE)
            self.surroundings.callbacks.break_volume(volume.id)

    def destroyed(self, volume_id: int, partition: IPartition) -> None:
        """A volume nobody could attach was removed from its partition all the same."""
        volume = self.find(volume_id, partition.number)
        if volume is not None:
            volume.send(Event.DESTROY)
            self.forget(volume)

    async def flush(self) -> None:
        """Write the headers that changed since they were last written: dates and counts, so that little is lost in a
        crash.
        """
        for volume in self.surroundings.vlru:
            if volume.dirty and volume.state == VolumeState.ATTACHED and volume.writable:
                volume.enter()
                try:
                    await volume.write_header()
                except (OSError, StoreError) as problem:
                    log.error("header of {volume} not written: {problem}", volume=volume, problem=problem)
                finally:
                    volume.leave()

    def _members(self, partition: IPartition, group: int) -> list[Volume]:
        return [volume for volume in self._volumes[partition.number].used() if volume.parent == group]

    def _appeared(self, partition: IPartition, volume_id: int) -> None:
        """A salvage put a volume together that nobody knew."""
        known = self._volumes[partition.number]
        if volume_id not in known:
            known.add(volume_id, VolumeState.PREATTACHED)


async def _is_clone(partition: IPartition, volume_id: int) -> bool:
    """Whether it is surely a read-only or backup volume."""
    try:
        ids = await partition.ids(volume_id)
    except (StoreError, OSError):
        return False
    return ids.parent != volume_id


async def _all_let_go(volumes: Iterable[Volume]) -> None:
    for volume in volumes:
        await volume.drained()
        while volume.borrowed:
            await volume.changed()


async def _shut_down(volume: Volume) -> None:
    await take_offline(volume, Event.SHUTDOWN)


async def _in_parallel(
    act: Callable[[Volume], Awaitable[None]], volumes: Iterable[Volume], count: int = OFFLINE_PARALLEL
) -> None:
    slots = DeferredSemaphore(count)

    async def one(volume: Volume) -> None:
        async with slots:
            await act(volume)

    await gatherResults([ensureDeferred(one(volume)) for volume in list(volumes)])
