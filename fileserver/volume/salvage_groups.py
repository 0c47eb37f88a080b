"""The volume groups under salvage, and how a group is closed for it: nobody has its files open, nor gets any."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from fileserver.interfaces import IPartition
from fileserver.volume.fsa import Event, VolumeState
from fileserver.volume.offline import in_hand, withdraw
from fileserver.volume.volume import Volume

log = Logger(namespace="fileserver.salvage")

IN_NEED = (VolumeState.SALVAGING, VolumeState.ERROR)
"""States that a salvage takes a volume out of."""


@dataclass(slots=True, eq=False)
class Salvage:
    """One group's salvage, wanted or under way. `volumes` are SALVAGING until it is over."""

    partition: IPartition
    group: int
    began: int
    """When it was last tried, or wanted if it was not yet; Unix seconds."""
    volumes: dict[int, Volume] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)
    priority: int = 0
    attempts: int = 0
    waiting: bool = True
    running: bool = False
    closed: bool = False
    """Nobody has files of the group open, nor gets any."""
    wanted: bool = False
    """An operator asked for it: also of volumes that are in no need, or beyond hope."""
    tasks: list[Deferred[None]] = field(default_factory=list)
    messages: int = 0


class SalvageGroups:
    """See the module. Whoever closes a group gives its volumes back, or lets go of it."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, int], Salvage] = {}
        self._making: Counter[tuple[int, int]] = Counter()
        self._waiting: list[Deferred[None]] = []

    def __iter__(self) -> Iterator[Salvage]:
        """Those wanted and under way."""
        return iter(list(self._groups.values()))

    def busy(self, volume: Volume) -> bool:
        """See `Damages`."""
        salvage = self._groups.get((volume.partition.number, volume.parent))
        return salvage is not None and salvage.closed

    def join(self, volume: Volume) -> None:
        """See `Damages`."""
        self._groups[volume.partition.number, volume.parent].volumes[volume.id] = volume

    def in_hand(self, partition: IPartition, group: int, members: Iterable[Volume]) -> bool:
        """Whether `sweep` would have to wait: the volume server has one of these volumes, or makes one of the group, or
        it is under salvage.
        """
        key = partition.number, group
        return key in self._groups or self._making[key] > 0 or any(map(in_hand, members))

    @asynccontextmanager
    async def making(self, partition: IPartition, group: int) -> AsyncIterator[None]:
        """While a volume of the group is made, which nobody knows yet. Waits for the end of a salvage."""
        key = partition.number, group
        while (salvage := self._groups.get(key)) is not None and salvage.closed:
            await self._news()
        self._making[key] += 1
        try:
            yield
        finally:
            self._making[key] -= 1
            if not self._making[key]:
                del self._making[key]
            self._tell_news()

    async def _close(self, salvage: Salvage, members: Callable[[], Iterable[Volume]]) -> None:
        """Have all volumes of the group SALVAGING, and nobody their files, as soon as nobody has one in hand: who has
        one may want another.
        """
        key = salvage.partition.number, salvage.group
        while not salvage.closed:
            if self._making[key]:
                await self._news()
            elif (busy := next(filter(in_hand, members()), None)) is not None:
                await busy.changed()
            else:
                salvage.closed = True
        withdrawn = [ensureDeferred(self._withdraw(salvage, member)).addErrback(failed) for member in members()]
        for each in withdrawn:
            await ended(each)
        for volume in salvage.volumes.values():
            if volume.state is VolumeState.SALVAGING:
                volume.send(Event.SCHEDULE, Event.SCHEDULED)

    async def _withdraw(self, salvage: Salvage, member: Volume) -> None:
        """Goes on when nobody waits for it any more: a volume is not left half withdrawn."""
        if not await withdraw(member) and not (salvage.wanted and member.state is VolumeState.ERROR):
            return
        if self._groups.get((salvage.partition.number, salvage.group)) is salvage:
            salvage.volumes[member.id] = member
        else:
            self._give_back(member)

    def _let_go(self, salvage: Salvage) -> None:
        """It is over before its end."""
        self._forget(salvage)
        for volume in salvage.volumes.values():
            if volume.state is VolumeState.SALVAGING:
                volume.send(Event.PREATTACH)

    def _forget(self, salvage: Salvage) -> None:
        if self._groups.get((salvage.partition.number, salvage.group)) is salvage:
            del self._groups[salvage.partition.number, salvage.group]
        self._tell_news()

    def _news(self) -> Deferred[None]:
        """Fires when a salvage is over, or a volume made."""
        waiter: Deferred[None] = Deferred(lambda waiter: self._waiting.remove(waiter))
        self._waiting.append(waiter)
        return waiter

    def _tell_news(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def _give_back(self, volume: Volume) -> None:
        if volume.state in IN_NEED:  # else destroyed meanwhile
            volume.send(Event.PREATTACH)


def failed(failure: Failure) -> None:
    """A salvage that was cancelled, or a defect: its volumes stay as they are."""
    if not failure.check(CancelledError):
        log.failure("a salvage failed", failure)


async def ended(task: Deferred[None]) -> None:
    waiter: Deferred[None] = Deferred()
    task.addBoth(lambda _: waiter.callback(None))
    await waiter
