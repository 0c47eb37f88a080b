"""The salvage of a whole partition: of one that is served, group by group, or of all of it before it is served.

Served, a group's volumes are away only while that group is looked at, and the calls for them are held meanwhile. A
group that the volume server has in hand comes last. Between two groups the partition can be given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.logger import Logger

from afs.rpc.volpartitions import VCOUNT, VSTEP
from fileserver.interfaces import IPartition, ISalvageSession, SalvageFailed, SalvageReport
from fileserver.partitions.means import Means, Mounted
from fileserver.partitions.operations import Operation
from fileserver.partitions.take import Refused
from fileserver.volume.registry import Registry
from fileserver.volume.salvaging import Salvages
from fileserver.volume.volume import Volume

log = Logger(namespace="fileserver.partitions")


async def salvage(means: Means, mounted: Mounted, operation: Operation) -> None:
    """Look through all volumes of a mounted partition, and whatever else is on it.

    Raises Refused, Fenced, OSError; SalvageFailed when some groups could not be salvaged: the others are.
    """
    salvages = means.registry.salvages
    if salvages is None:
        raise Refused("this server has no salvager")
    partition = mounted.partition
    session = salvages.salvager.session(partition)
    try:
        await session.begin()
        work = _Work(means.registry, salvages, mounted, operation, session)
        await work.run(await _groups(means.registry, salvages, partition))
        if not work.failures:
            await session.tidy(_said(partition))
    finally:
        await session.end()
    operation.step(VSTEP.SALVAGED)
    if work.failures:
        raise SalvageFailed(f"{len(work.failures)} of {operation.total} groups were not salvaged: {work.failures[0]}")


async def salvage_first(means: Means, partition: IPartition, operation: Operation) -> None:
    """If a mark on the partition asks for that, salvage it before it is served. Groups that cannot be salvaged do not
    keep the others out of service. Raises SalvageFailed.
    """
    salvages = means.registry.salvages
    if salvages is None or not await means.in_thread(salvages.salvager.wanted, partition):
        return
    log.warn("{name} is salvaged before it is served", name=partition.name)
    operation.long = True
    reports = await salvages.salvager.salvage_partition(partition, _said(partition), operation.progress)
    for report in reports:
        _count(operation, report)
    operation.step(VSTEP.SALVAGED)


class _Work:
    """The groups of one partition, and how far they have come."""

    def __init__(
        self, registry: Registry, salvages: Salvages, mounted: Mounted, operation: Operation, session: ISalvageSession
    ) -> None:
        self.failures: list[str] = []
        self._registry = registry
        self._salvages = salvages
        self._mounted = mounted
        self._operation = operation
        self._session = session

    async def run(self, groups: dict[int, tuple[int, ...]]) -> None:
        """Salvage them; those nobody has in hand first."""
        todo, later = deque(groups.items()), deque[tuple[int, tuple[int, ...]]]()
        self._operation.progress(0, len(groups))
        while todo or later:
            self._check()
            group, ids = (todo or later).popleft()
            members = self._members(group, ids)
            if todo and self._salvages.in_hand(self._mounted.partition, group, members):
                later.append((group, ids))
                continue
            await self._sweep(group, members)
            self._operation.progress(self._operation.done + 1, len(groups))

    async def _sweep(self, group: int, members: list[Volume]) -> None:
        try:
            report = await self._salvages.sweep(self._mounted.partition, group, members, self._session)
        except SalvageFailed as failure:
            log.error("{name}: {why}", name=self._mounted.partition.name, why=failure)
            self.failures.append(str(failure))
        else:
            _count(self._operation, report)

    def _check(self) -> None:
        """Raises Refused, Fenced where there is no use in going on."""
        self._mounted.partition.ownership.check()
        tenure = self._mounted.tenure
        if tenure is not None and tenure.unwanted:
            raise Refused(tenure.unwanted)
        if self._operation.cancelled:
            raise Refused(f"given up after {self._operation.done} groups")

    def _members(self, group: int, ids: tuple[int, ...]) -> list[Volume]:
        """The group's volumes, less those destroyed meanwhile."""
        found = [self._registry.find(each, self._mounted.partition.number) for each in ids]
        members = [volume for volume in found if volume is not None]
        for volume in members:
            volume.parent = volume.parent or group
        return members


async def _groups(registry: Registry, salvages: Salvages, partition: IPartition) -> dict[int, tuple[int, ...]]:
    """What is on the disk, and the volumes that are known by a name alone: they are taken to be groups of their own."""
    groups = await salvages.salvager.groups(partition)
    placed = {volume_id for ids in groups.values() for volume_id in ids}
    for volume_id in registry.ids(partition):
        if volume_id not in placed:
            groups[volume_id] = (*groups.get(volume_id, ()), volume_id)
    return groups


def _count(operation: Operation, report: SalvageReport) -> None:
    operation.count(VCOUNT.SALVAGED, len(report.volumes))
    if report.messages:
        operation.count(VCOUNT.REPAIRED, len(report.volumes))
    if report.lost:
        operation.count(VCOUNT.LOST, len(report.lost))


def _said(partition: IPartition) -> Callable[[str], None]:
    def tell(message: str) -> None:
        log.warn("salvage of {name}: {message}", name=partition.name, message=message)

    return tell
