"""Every volume of this server, by partition and id. Demand attach starts here, and the last things at shutdown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from errno import EINVAL

from twisted.internet.defer import DeferredSemaphore, TimeoutError, ensureDeferred, gatherResults  # noqa: A004
from twisted.logger import Logger

from afs.errors import VolumeError
from fileserver.interfaces import Damaged, IPartition, StoreError, VolumeExists, VolumeHeader
from fileserver.volume.attach import attach
from fileserver.volume.checkout import Checkout, Mode, check_out
from fileserver.volume.fsa import Event, VolumeState
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.offline import condemn, take_offline
from fileserver.volume.volume import Volume
from rx.errors import Abort

log = Logger(namespace="fileserver.volume")

OFFLINE_PARALLEL = 32
"""Volumes closed at the same time at shutdown: each is a few disk writes in the back end's threads, more would only
queue there.
"""

GONE = (VolumeState.UNATTACHED, VolumeState.ERROR, VolumeState.DELETED, VolumeState.FREED)
"""States in which shutdown finds nothing left to do."""

HOLD_SECONDS = 15
"""How long a call waits for a volume that is busy with a clone or a dump: told VBUSY, a client would sleep that long.
"""

MAX_HELD = 256
"""Calls held at a time, whichever volumes they wait for: a quarter of the calls a server runs (rx.quota)."""


class Registry:
    """See the module."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self._partitions: dict[int, IPartition] = {}
        self._volumes: dict[int, dict[int, Volume]] = {}  # partition number -> volume id -> volume
        self._held = 0
        self._stopping = False

    async def add_partition(self, partition: IPartition) -> None:
        """Serve a partition: its volumes are known from a scan of names, none is opened."""
        assert partition.number not in self._partitions, partition.name
        volumes = {
            found.id: Volume(found.id, found.parent, partition, self.surroundings, VolumeState.PREATTACHED)
            for found in await partition.volumes()
        }
        for volume_id in volumes:
            if other := self.find(volume_id):
                log.warn("volume {id} is on {here} too; {other} serves", id=volume_id, here=partition.name, other=other)
        self._partitions[partition.number] = partition
        self._volumes[partition.number] = volumes

    async def remove_partition(self, number: int) -> None:
        """Take its volumes offline, in parallel, and close it."""
        volumes = self._volumes[number].values()
        for volume in volumes:
            if volume.state is VolumeState.PREATTACHED:
                volume.send(Event.SHUTDOWN)
        await _in_parallel(_shut_down, (volume for volume in volumes if volume.state not in GONE))
        del self._volumes[number]
        await self._partitions.pop(number).close()

    async def shutdown(self) -> None:
        """Take everything offline and close every partition. From now on clients are told VRESTARTING."""
        self._stopping = True
        await gatherResults([ensureDeferred(self.remove_partition(number)) for number in list(self._partitions)])

    def partitions(self) -> list[IPartition]:
        """In the order of their numbers."""
        return [self._partitions[number] for number in sorted(self._partitions)]

    def partition(self, number: int) -> IPartition | None:
        return self._partitions.get(number)

    def volumes(self, partition: IPartition | None = None) -> list[Volume]:
        """All volumes, or those of one partition."""
        numbers = sorted(self._volumes) if partition is None else [partition.number]
        return [volume for number in numbers for volume in self._volumes[number].values()]

    def find(self, volume_id: int, partition: int | None = None) -> Volume | None:
        """By id, on any partition or on the one of that number."""
        if partition is not None:
            return self._volumes.get(partition, {}).get(volume_id)
        for volumes in self._volumes.values():
            if (volume := volumes.get(volume_id)) is not None:
                return volume
        return None

    @asynccontextmanager
    async def use(self, volume_id: int, *, reader: str = "client") -> AsyncIterator[Volume]:
        """The volume, attached, for as long as the context lasts. `reader` names who wants it, for the log.

        Raises Abort VNOVOL, VOFFLINE, VBUSY, VMOVED, VSALVAGE (dafs.md section 2), VRESTARTING; EINVAL for id 0. A
        StoreError Damaged in the context takes the volume out of service and becomes Abort VSALVAGE.
        """
        if self._stopping:
            raise Abort(VolumeError.VRESTARTING)
        volume = self.find(volume_id)
        if volume is None:
            raise Abort(VolumeError.VNOVOL if volume_id else EINVAL)
        if volume.state is not VolumeState.ATTACHED:
            await self._attach(volume)
        volume.enter()
        try:
            yield volume
        except Damaged as damage:
            condemn(volume, f"{reader}: {damage}")
            raise Abort(VolumeError.VSALVAGE) from damage
        finally:
            volume.leave()

    def glance(self, volume_id: int) -> Volume | None:
        """Fast path beside `use`: the volume if it is attached, for work that does not await. None: ask `use`."""
        volume = self.find(volume_id)
        if volume is None or volume.state is not VolumeState.ATTACHED or self._stopping:
            return None
        return volume

    async def _attach(self, volume: Volume) -> None:
        deadline = None
        while (state := await volume.settled()) is not VolumeState.ATTACHED:
            if self._stopping:
                raise Abort(VolumeError.VRESTARTING)
            if state is VolumeState.PREATTACHED and not volume.special_status:
                await attach(volume)
                continue
            if not volume.borrowed or volume.special_status != VolumeError.VBUSY:
                raise volume.refusal()
            deadline = deadline or self.surroundings.now() + HOLD_SECONDS
            await self._hold(volume, deadline)

    async def _hold(self, volume: Volume, deadline: float) -> None:
        """Wait until something happens to a busy volume. Raises Abort VBUSY when that takes too long."""
        clock = self.surroundings.clock
        seconds = deadline - self.surroundings.now()
        if clock is None or seconds <= 0 or self._held >= MAX_HELD:
            raise volume.refusal()
        self._held += 1
        try:
            await volume.changed().addTimeout(seconds, clock)
        except TimeoutError:
            raise volume.refusal() from None
        finally:
            self._held -= 1

    async def check_out(self, volume_id: int, partition: int, mode: Mode) -> Checkout:
        """Lend a volume to the volume server. Raises Abort VNOVOL, VSALVAGE, VOFFLINE."""
        volume = self.find(volume_id, partition)
        if volume is None:
            raise Abort(VolumeError.VNOVOL)
        return await check_out(volume, mode)

    async def create(self, partition: IPartition, header: VolumeHeader) -> Checkout:
        """A new empty volume, in the hands of its creator. Raises VolumeExists, OSError."""
        other = self.find(header.id)
        if other is not None and (other.partition is partition or header.id == header.parent):
            raise VolumeExists(f"volume {header.id} exists on {other.partition.name}")
        files = await partition.create_volume(header)
        volume = Volume(header.id, header.parent, partition, self.surroundings)
        volume.borrowed = True
        self._volumes[partition.number][header.id] = volume
        return Checkout(volume, Mode.SECRETLY, header, files, online=False)

    def forget(self, volume: Volume) -> None:
        """A destroyed volume: its clients find out at their next call."""
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
        for volume in self.volumes():
            if volume.dirty and volume.state == VolumeState.ATTACHED and volume.writable:
                volume.enter()
                try:
                    await volume.write_header()
                except (OSError, StoreError) as problem:
                    log.error("header of {volume} not written: {problem}", volume=volume, problem=problem)
                finally:
                    volume.leave()


async def _shut_down(volume: Volume) -> None:
    await take_offline(volume, Event.SHUTDOWN)


async def _in_parallel(act: Callable[[Volume], Awaitable[None]], volumes: Iterable[Volume]) -> None:
    slots = DeferredSemaphore(OFFLINE_PARALLEL)

    async def one(volume: Volume) -> None:
        async with slots:
            await act(volume)

    await gatherResults([ensureDeferred(one(volume)) for volume in list(volumes)])
