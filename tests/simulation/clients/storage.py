"""What lies on one partition that several servers reach, and what may be wrong with it: it is slow, it stalls, it is
full, it fails, or it says what cannot be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred

from fileserver.interfaces import Damaged, Fenced, Ownership
from fileserver.store.memory import Disk, MemoryPartition
from tests.simulation.clients.network import Reactor
from tests.simulation.ownership.world import World

WRITES = frozenset(
    (
        *("create_volume", "destroy_volume", "save_note", "write_header", "write_vnode", "create_vnode"),
        *("remove_vnode", "write", "truncate", "clone_to", "sync"),
    )
)
"""Operations before which an owner makes sure that it still is one."""

FILLS = frozenset(("write", "create_vnode", "truncate"))
"""Those that need room."""

AT_ONCE = 0.6
"""The part of operations that meet a cache."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An operation failed, or took long."""

    when: float
    volume: int
    kind: str


@dataclass(eq=False)
class Storage:
    """One partition's. Rates are probabilities for each operation."""

    world: World
    uuid: UUID
    path: str
    seconds: float = 0.001
    """Mean of what an operation takes that meets no cache."""
    stalled_until: float = 0.0
    failing: float = 0.0
    full: float = 0.0
    damages: dict[int, int] = field(default_factory=dict)
    """Volume: how many of its next reads find that it contradicts itself."""
    faults: list[Fault] = field(default_factory=list)
    writing: int = 0

    def __post_init__(self) -> None:
        self._disk = Disk(uuid=self.uuid)

    def open(self, number: int, name: str, ownership: Ownership, reactor: Reactor) -> MemoryPartition:
        """As one server sees it, for as long as it lives and owns it."""
        view = _View(self, ownership, reactor)
        disk = Disk(uuid=self.uuid, fault=view.before, volumes=self._disk.volumes, notes=self._disk.notes)
        return MemoryPartition(number, name, disk, ownership)

    def quietly(self) -> MemoryPartition:
        """As it lies there."""
        return MemoryPartition(0, self.path, self._disk)

    def cure(self) -> None:
        """From now on all is well with it."""
        self.stalled_until = self.failing = self.full = 0.0
        self.damages.clear()

    def met(self, since: float, volume: int, *kinds: str) -> Iterator[Fault]:
        """The faults of these kinds that operations on a volume, 0 for any, have met since then."""
        for fault in reversed(self.faults):
            if fault.when < since:
                return
            if (not volume or fault.volume in (volume, 0)) and fault.kind in kinds:
                yield fault

    def note(self, volume: int, kind: str) -> None:
        """Something is wrong with an operation."""
        self.faults.append(Fault(self.world.now, volume, kind))


class _View:
    """The storage as one process reaches it."""

    def __init__(self, storage: Storage, ownership: Ownership, reactor: Reactor) -> None:
        self._storage = storage
        self._ownership = ownership
        self._reactor = reactor

    async def before(self, operation: str, volume: int, number: int) -> None:
        """See `fileserver.store.memory.Fault`."""
        storage, random = self._storage, self._storage.world.random
        if storage.seconds and random.random() >= AT_ONCE:
            await self._pause(random.expovariate(1 / storage.seconds))
        while storage.stalled_until > storage.world.now:
            storage.note(volume, "stall")
            await self._pause(storage.stalled_until - storage.world.now)
        if operation in WRITES:
            try:
                self._ownership.check()
            except Fenced:
                storage.note(volume, "fence")
                raise
        if storage.failing and volume and random.random() < storage.failing:
            storage.note(volume, "EIO")
            raise OSError(5, os.strerror(5))
        if storage.full and operation in FILLS and random.random() < storage.full:
            storage.note(volume, "ENOSPC")
            raise OSError(28, os.strerror(28))
        if storage.damages.get(volume) and operation in ("read", "read_vnode", "read_header"):
            storage.damages[volume] -= 1
            storage.note(volume, "damage")
            raise Damaged(f"{operation} of {volume} finds what cannot be")

    def _pause(self, seconds: float) -> Deferred[Any]:
        waiter: Deferred[None] = Deferred()
        self._reactor.callLater(seconds, waiter.callback, None)
        return waiter
