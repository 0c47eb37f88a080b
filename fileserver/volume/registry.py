"""Every volume of this server: partitions come and go, volumes are made and lost, and at shutdown all is closed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError, ensureDeferred, gatherResults  # noqa: A004
from twisted.logger import Logger

from afs.errors import VolumeError
from fileserver.interfaces import IPartition, ISalvager, StoreError, VolumeExists, VolumeHeader
from fileserver.volume.admission import Admission
from fileserver.volume.checkout import Checkout, Mode
from fileserver.volume.fsa import Event, VolumeState
from fileserver.volume.gate import Gate, Refusal, no_volume
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.known import Known
from fileserver.volume.offline import take_offline
from fileserver.volume.salvaging import Salvages
from fileserver.volume.volume import Volume

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


class Registry(Admission):
    """See the module."""

    def __init__(self, surroundings: Surroundings, salvager: ISalvager | None = None) -> None:
        super().__init__(surroundings)
        if salvager is not None:
            self.salvages = surroundings.salvages = Salvages(
                surroundings, salvager, self._members, self._appeared, self._lost
            )
        self.arriving: Callable[[IPartition], Awaitable[None]] | None = None
        """Awaited for a partition before any volume of it can be used."""
        self.parting: Callable[[IPartition], Awaitable[None]] | None = None
        """Awaited for a partition whose volumes are all offline, before it is closed."""

    async def add_partition(self, partition: IPartition, ids: Sequence[int] | None = None) -> None:
        """Serve a partition: its volumes are known by `ids`, or from a scan of names; none is opened."""
        assert partition.number not in self._partitions, partition.name
        known = Known(partition, self.surroundings, await partition.volume_ids() if ids is None else ids)
        for others in list(self._volumes.values()):  # more may come while a disk is looked at
            for volume_id in [each for each in known if each in others]:
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
        try:
            await partition.close()
        except BaseException:
            self.dismiss(known)
            raise
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


def _to_its_end(work: Deferred[None]) -> Deferred[None]:
    """Fires when the work has ended. Who ceases to wait does not stop it: a volume is not left half closed."""
    waiter: Deferred[None] = Deferred()
    work.addBoth(lambda result: result if waiter.called else waiter.callback(result))
    return waiter


async def _in_parallel(
    act: Callable[[Volume], Coroutine[Any, Any, None]], volumes: Iterable[Volume], count: int = OFFLINE_PARALLEL
) -> None:
    slots = DeferredSemaphore(count)

    async def one(volume: Volume) -> None:
        async with slots:
            await _to_its_end(ensureDeferred(act(volume)))

    await gatherResults([ensureDeferred(one(volume)) for volume in list(volumes)], consumeErrors=True)
