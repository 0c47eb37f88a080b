"""Damaged volumes go to the salvager: which group next, how many at a time, how often before an operator must look.

A group (a read-write volume and its clones) is salvaged as one, its files closed. Groups somebody waits for come
first, and partitions take turns. Calls that wait are held by the registry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from afs.errors import VolumeError
from fileserver.interfaces import IPartition, ISalvager, ISalvageSession, SalvageFailed, SalvageReport, StoreError
from fileserver.volume.fsa import Event, VolumeState
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.salvage_groups import IN_NEED, Salvage, SalvageGroups, ended, failed
from fileserver.volume.volume import Volume

log = Logger(namespace="fileserver.salvage")

SALVAGE_BUDGET = 16
"""Salvages of one volume before it is left to an operator (OpenAFS's SALVAGE_COUNT_MAX); a restart begins anew."""

SALVAGE_PARALLEL = 4
"""`--salvage-parallel`: groups under salvage at a time (salvageserver's default)."""

SWEEP_ATTEMPTS = 3
"""For a group of a partition under salvage, of which new volumes may turn up meanwhile."""

SALVAGE_BUSY_SECONDS = 600
"""A volume whose salvage was begun this long ago is VRESTARTING, no more VBUSY (dafs.md section 2): OpenAFS clients
give up after so many VBUSY, and ask for ever after VRESTARTING.
"""

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
"""Before a salvage that failed is tried again: soon at first, then doubling."""


class Salvages(SalvageGroups):
    """See the module. `members` finds the volumes of a group that are known; `appeared` and `lost` are told of volumes
    that a salvage found or gave up.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        salvager: ISalvager,
        members: Callable[[IPartition, int], Iterable[Volume]],
        appeared: Callable[[IPartition, int], None],
        lost: Callable[[Volume], None],
        parallel: int = SALVAGE_PARALLEL,
    ) -> None:
        super().__init__()
        self._surroundings = surroundings
        self.salvager = salvager
        self._members = members
        self._appeared = appeared
        self._lost = lost
        self._parallel = parallel
        self._counts: Counter[int] = Counter()
        self._closed: set[int] = set()
        self.done = 0
        self.failed = 0

    def take(self, volume: Volume, event: Event, reason: str) -> bool:
        """See `Damages`."""
        if not self.expects(volume):
            log.critical("{volume} is out of service for good: {reason}", volume=volume, reason=reason)
            volume.send(Event.FAILED)
            return False
        log.warn("{volume} is to be salvaged: {reason}", volume=volume, reason=reason)
        volume.send(event)
        self._start(self._enqueue(volume))
        return True

    def expects(self, volume: Volume) -> bool:
        """See `Damages`."""
        return self._counts[volume.id] < SALVAGE_BUDGET and volume.partition.number not in self._closed

    def demanded(self, volume: Volume) -> None:
        """Somebody waits for the volume."""
        for salvage in self._groups.values():
            if volume.id in salvage.volumes and salvage.partition is volume.partition:
                salvage.priority += 1

    def refusal(self, volume: Volume) -> VolumeError:
        """What a client is told that has waited for the volume long enough."""
        salvages = [each for each in self._groups.values() if each.volumes.get(volume.id) is volume]
        began = max((each.began for each in salvages), default=self._surroundings.seconds())
        late = self._surroundings.seconds() - began > SALVAGE_BUSY_SECONDS
        return VolumeError.VRESTARTING if late else VolumeError.VBUSY

    async def leave(self, partition: IPartition) -> None:
        """The partition is about to be closed: its salvages end where they are, its volumes stay SALVAGING."""
        self._closed.add(partition.number)
        for salvage in self:
            if salvage.partition is partition:
                self._forget(salvage)
                for task in salvage.tasks:
                    task.cancel()
                    await ended(task)

    def enter(self, partition: IPartition) -> None:
        """The partition is open."""
        self._closed.discard(partition.number)

    async def sweep(
        self, partition: IPartition, group: int, members: Iterable[Volume], session: ISalvageSession
    ) -> SalvageReport:
        """Salvage a group that nobody found damaged, as part of a salvage of the partition. `members` are its volumes
        as far as they are known. Raises SalvageFailed: its volumes are as before.
        """
        while (partition.number, group) in self._groups:
            await self._news()
        salvage = Salvage(partition, group, self._surroundings.seconds(), waiting=False, running=True, wanted=True)
        self._groups[partition.number, group] = salvage
        found = list(members)
        for attempt in range(SWEEP_ATTEMPTS):
            try:
                await self._close(salvage, partial(list, found))
                report: SalvageReport = await session.salvage(group, partial(self._tell, salvage))
            except SalvageFailed:
                salvage.closed = False
                # Somebody may have one open of whom we did not know when this began.
                found = list({*found, *self._members(partition, group)})
                if attempt + 1 == SWEEP_ATTEMPTS or not any(each.id not in salvage.volumes for each in found):
                    self.failed += 1
                    self._let_go(salvage)
                    raise
            except BaseException:
                self._let_go(salvage)
                raise
            else:
                break
        self.done += 1
        for volume_id in report.volumes:
            del self._counts[volume_id]
        self._finish(salvage, report)
        return report

    async def _enqueue(self, volume: Volume) -> None:
        partition = volume.partition
        if not volume.parent:
            try:
                volume.parent = (await partition.ids(volume.id)).parent
            except (StoreError, OSError) as problem:
                log.warn("the group of {volume} is taken to be its own: {problem}", volume=volume, problem=problem)
                volume.parent = volume.id
        if partition.number in self._closed:
            return
        key = partition.number, volume.parent
        salvage = self._groups.get(key)
        if salvage is None:
            salvage = self._groups[key] = Salvage(partition, volume.parent, self._surroundings.seconds())
        salvage.volumes[volume.id] = volume
        salvage.damaged.add(volume.id)
        self._start_more()

    def _start_more(self) -> None:
        """The group somebody waits for most, on the partition with the fewest salvages under way."""
        while True:
            running = Counter(
                salvage.partition.number for salvage in self._groups.values() if salvage.running and not salvage.wanted
            )
            waiting = [salvage for salvage in self._groups.values() if salvage.waiting]
            if not waiting or running.total() >= self._parallel:
                return
            chosen = min(waiting, key=lambda one: (running[one.partition.number], -one.priority))
            chosen.waiting, chosen.running = False, True
            self._start(self._salvage(chosen), chosen)

    async def _salvage(self, salvage: Salvage) -> None:
        """Until it is repaired, lost, or out of budget."""
        try:
            await self._close(salvage, partial(self._members, salvage.partition, salvage.group))
            salvage.attempts += 1
            salvage.began = self._surroundings.seconds()
            self._counts.update(salvage.damaged)
            report = await self.salvager.salvage(salvage.partition, salvage.group, partial(self._tell, salvage))
        except SalvageFailed as failure:
            self.failed += 1
            self._retry(salvage, failure)
        else:
            self.done += 1
            self._finish(salvage, report)
        self._start_more()

    def _retry(self, salvage: Salvage, failure: SalvageFailed) -> None:
        """Those that are not damaged go back; the others are tried again, or left to an operator."""
        group = salvage.group
        salvage.running = salvage.closed = False
        log.error("salvage of group {group} failed: {problem}", group=group, problem=failure)
        for volume_id in salvage.volumes.keys() - salvage.damaged:
            self._give_back(salvage.volumes.pop(volume_id))
        for volume_id, volume in list(salvage.volumes.items()):
            if volume.state is not VolumeState.SALVAGING:
                del salvage.volumes[volume_id]  # destroyed meanwhile
            elif not self.expects(volume):
                log.critical("{volume} could not be repaired: it is left to an operator", volume=volume)
                volume.send(Event.FAILED)
                del salvage.volumes[volume_id]
        if not salvage.volumes:
            self._forget(salvage)
            return
        salvage.damaged &= salvage.volumes.keys()
        delay = min(FIRST_RETRY_SECONDS * 2 ** (salvage.attempts - 1), LONGEST_RETRY_SECONDS)
        self._start(self._again(salvage, delay), salvage)

    async def _again(self, salvage: Salvage, delay: float) -> None:
        if self._surroundings.clock is not None:
            await deferLater(self._surroundings.clock, delay)
        salvage.waiting = True
        self._start_more()

    def _finish(self, salvage: Salvage, report: SalvageReport) -> None:
        partition = salvage.partition
        self._forget(salvage)
        if salvage.damaged or report.messages:
            log.warn(
                "group {group} on {partition} is salvaged: {sound} are sound, {lost} lost",
                group=salvage.group,
                partition=partition.name,
                sound=list(report.volumes),
                lost=list(report.lost),
            )
        for volume_id, volume in salvage.volumes.items():
            if volume.state in IN_NEED and volume_id in report.lost:
                volume.send(Event.DESTROY)
                self._lost(volume)
            else:
                self._give_back(volume)
                if salvage.damaged or report.messages:
                    self._surroundings.callbacks.break_volume(volume_id)
        for volume_id in report.volumes:
            if volume_id not in salvage.volumes:
                self._appeared(partition, volume_id)

    def _tell(self, salvage: Salvage, message: str) -> None:
        salvage.messages += 1
        log.warn("salvage of group {group}: {message}", group=salvage.group, message=message)

    def _start(self, work: Coroutine[Any, Any, None], salvage: Salvage | None = None) -> None:
        task = ensureDeferred(work).addErrback(failed)
        if salvage is not None:
            salvage.tasks = [one for one in [*salvage.tasks, task] if not one.called]
