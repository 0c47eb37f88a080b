"""Which attached volumes are idle: OpenAFS's VLRU (dafs.md section 5), five queues and the passes over them.

Pure: told the time, it says which volumes to detach softly; who detaches is aging.py. An access only stamps
`last_get`, so the queues are put right by the passes. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from heapq import nsmallest
from itertools import chain, islice
from typing import Generic, Protocol, TypeVar

THRESHOLD_SECONDS = 7200
"""`--vlruthresh`: idle for this long, a volume is a candidate."""

INTERVAL_SECONDS = 120
"""`--vlruinterval`: how often candidates are looked at."""

MOST_DETACHED = 8
"""`--vlrumax`: volumes detached in one pass over the candidates."""

FIRST_SCAN_SECONDS = 60
"""The first pass comes this long after the first volume can have become idle."""

ROOM = 4096
"""`--max-attached`: some 5 KiB of memory and two file descriptors (of which few stay open) for each."""


class Queue(IntEnum):
    """Where a volume is, numbered as in OpenAFS; INVALID is on none of them."""

    NEW = 0
    MID = 1
    OLD = 2
    CANDIDATE = 3
    HELD = 4
    INVALID = 5


@dataclass(frozen=True, slots=True)
class VlruSettings:
    """What the options say. Nothing is detached for being idle when not `enabled`; `room` holds all the same."""

    threshold: int = THRESHOLD_SECONDS
    interval: int = INTERVAL_SECONDS
    most: int = MOST_DETACHED
    enabled: bool = True
    room: int = ROOM

    def promotion(self, queue: Queue) -> int:
        """Seconds after which a volume leaves NEW for MID, MID for OLD, and between the passes that see to it."""
        return self.threshold * (2 << queue)

    def scan(self, queue: Queue) -> int:
        """Seconds between passes over NEW, which finds candidates, and over CANDIDATE, which detaches them."""
        if queue is Queue.CANDIDATE:
            return self.interval
        return self.threshold // 8 if self.threshold > 16 * self.interval else 2 * self.interval


class Aging(Protocol):
    """What is kept of a volume outside: when it was last used."""

    last_get: int


V = TypeVar("V", bound=Aging)


class Vlru(Generic[V]):
    """Every attached volume, each on one queue with the time it got into the generations."""

    def __init__(self, settings: VlruSettings | None = None, now: float = 0) -> None:
        self.settings = settings or VlruSettings()
        self._queues: tuple[dict[V, int], ...] = tuple({} for _ in range(Queue.INVALID))
        self._where: dict[V, Queue] = {}
        self.begin(now)

    def begin(self, now: float) -> None:
        """The server starts: everything is due from now on."""
        settings = self.settings
        first = int(now) + settings.threshold + FIRST_SCAN_SECONDS
        self._promotions = {queue: int(now) + settings.promotion(queue) for queue in (Queue.NEW, Queue.MID)}
        self._scans = {queue: first + settings.scan(queue) for queue in (Queue.NEW, Queue.CANDIDATE)}

    def __len__(self) -> int:
        return len(self._where)

    def __iter__(self) -> Iterator[V]:
        return iter(list(self._where))

    def queue(self, volume: V) -> Queue:
        return self._where.get(volume, Queue.INVALID)

    def lengths(self) -> list[int]:
        """How many volumes are on each queue, in the order of `Queue`."""
        return [len(queue) for queue in self._queues]

    def add(self, volume: V, now: float) -> None:
        """It was attached."""
        assert volume not in self._where, volume
        self._link(volume, Queue.NEW, int(now))

    def remove(self, volume: V) -> None:
        """It is not attached any more. Harmless when it never was."""
        where = self._where.pop(volume, None)
        if where is not None:
            del self._queues[where][volume]

    def hold(self, volume: V) -> None:
        """It is being detached: no pass looks at it."""
        self._move(volume, Queue.HELD)

    def release(self, volume: V, now: float) -> None:
        """It was not detached after all."""
        if self.queue(volume) is Queue.HELD:
            self.remove(volume)
            self._link(volume, Queue.NEW, int(now))

    def turn(self, now: float, free: Callable[[V], bool]) -> list[V]:
        """Make the passes that are due. Returns whom to detach now: idle ones that are `free`, at most
        `settings.most`.
        """
        moment = int(now)
        for queue, due in self._promotions.items():
            if due <= moment:
                self._promote(queue, moment)
                self._demote(Queue(queue + 1), moment)
                self._promotions[queue] = moment + self.settings.promotion(queue)
        if self._scans[Queue.NEW] <= moment:
            self._scans[Queue.NEW] = moment + self.settings.scan(Queue.NEW)
            self._find_candidates(moment)
        if self._scans[Queue.CANDIDATE] <= moment:
            self._scans[Queue.CANDIDATE] = moment + self.settings.scan(Queue.CANDIDATE)
            return self._choose(moment, free)
        return []

    def oldest(self, count: int, free: Callable[[V], bool]) -> list[V]:
        """Up to `count` volumes that are `free`, those first that were not used for longest: there is no room."""
        queues = (self._queues[queue] for queue in (Queue.CANDIDATE, Queue.NEW, Queue.MID, Queue.OLD))
        return nsmallest(count, filter(free, chain.from_iterable(queues)), key=lambda volume: volume.last_get)

    def _promote(self, queue: Queue, now: int) -> None:
        """What was used since it came goes up a generation."""
        age = self.settings.promotion(queue)
        for volume, since in list(self._queues[queue].items()):
            if since + age <= now and volume.last_get >= since:
                self._move(volume, Queue(queue + 1))

    def _demote(self, queue: Queue, now: int) -> None:
        """What was not used for long goes down again."""
        age = self.settings.promotion(Queue(queue - 1))
        for volume, since in list(self._queues[queue].items()):
            if since + age <= now and volume.last_get < now - age:
                self._move(volume, Queue(queue - 1))

    def _find_candidates(self, now: int) -> None:
        idle = now - self.settings.threshold
        for volume in [volume for volume in self._queues[Queue.NEW] if volume.last_get <= idle]:
            self._move(volume, Queue.CANDIDATE)

    def _choose(self, now: int, free: Callable[[V], bool]) -> list[V]:
        idle = now - self.settings.threshold
        candidates = self._queues[Queue.CANDIDATE]
        for volume in [volume for volume in candidates if volume.last_get > idle]:
            self.remove(volume)  # used meanwhile: it begins anew
            self._link(volume, Queue.NEW, now)
        return list(islice(filter(free, candidates), self.settings.most)) if self.settings.enabled else []

    def _link(self, volume: V, queue: Queue, since: int) -> None:
        self._where[volume] = queue
        self._queues[queue][volume] = since

    def _move(self, volume: V, queue: Queue) -> None:
        since = self._queues[self._where[volume]].pop(volume)
        self._link(volume, queue, since)
