"""Servers with one rule broken, to show that the simulation would find it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from twisted.internet.defer import ensureDeferred

from afs.types import AFSFid
from fileserver import locks
from fileserver.breaks import Breaks
from fileserver.callbacks import Callbacks
from fileserver.interfaces import Vnode
from fileserver.partitions.inherited import Inherited
from fileserver.partitions.tell import Told
from fileserver.procedures import files
from fileserver.status import data_stored
from fileserver.volume.holding import Holder, Holds
from fileserver.volume.locks import ReadWriteLock
from fileserver.volume.vn import Vn
from fileserver.volume.volume import Volume

LATE_SECONDS = 0.05

WRITE, TAKE_FID, COUNT, LEAVE = Vn.write, Callbacks.take, Holds._count, Volume.leave


def take_nothing(callbacks: Any, fid: Any, *, spare: Any = None) -> list[Any]:
    """A change breaks no promise."""
    return []


def spare_everybody(breaks: Breaks, fid: AFSFid, host: Any) -> None:
    """A message that did not arrive is not kept."""


async def write_later(vn: Vn, offset: int, data: bytes) -> None:
    """Answer before the data is written."""
    clock = vn.volume.surroundings.clock
    assert clock is not None
    written = bytes(data)
    clock.callLater(LATE_SECONDS, lambda: ensureDeferred(WRITE(vn, offset, written)))


def never_fits(holds: Holds, holder: Holder) -> bool:
    """No call is held."""
    return False


def count_up(holds: Holds, holder: Holder, by: int) -> None:
    """A call that was held stays counted."""
    COUNT(holds, holder, max(by, 0))


def lock_anyway(vnode: Vnode, kind: Any, now: float) -> None:
    """Who asks for a lock gets it."""
    vnode.lock_count, vnode.lock_time = -1, int(now) + locks.LEASE_SECONDS


def share_anyway(lock: ReadWriteLock) -> bool:
    """Readers do not wait for a writer."""
    lock.readers += 1
    return True


async def tell_nobody(told: Told) -> list[Any]:
    """Clients are not told that volumes are elsewhere."""
    return []


async def inherit_silently(inherited: Inherited, source: Any, move: Any) -> None:
    """Nor by whoever takes them over."""
    inherited.untold = False


def restore_nothing(callbacks: Any, *promise: Any) -> bool:
    """A server that starts again does not know what it has promised."""
    return True


def keep_version(disk: Vnode, *how: Any) -> None:
    """A store leaves the data version as it was."""
    before = disk.data_version
    data_stored(disk, *how)
    disk.data_version = before


def leave_later(volume: Volume, holder: Holder | None = None) -> None:
    """A call is not forgotten when it ends."""
    if holder is not None:
        volume.holders[Holder()] = None
    LEAVE(volume, holder)


def patched(target: Any, name: str, stand: Any) -> Callable[[], AbstractContextManager[Any]]:
    """One rule broken."""
    return lambda: mock.patch.object(target, name, stand)


MUTANTS: dict[str, tuple[tuple[str, ...], Callable[[], AbstractContextManager[Any]]]] = {
    "a store breaks no promise": (("damage",), patched(Callbacks, "take", take_nothing)),
    "a break that was not heard is forgotten": (("cut",), patched(Breaks, "_owe", spare_everybody)),
    "answered before it is written": (("damage",), patched(Vn, "write", write_later)),
    "no call is held": (("damage",), patched(Holds, "_fits", never_fits)),
    "a held call stays counted": (("damage",), patched(Holds, "_count", count_up)),
    "locks are ignored": (("damage",), patched(locks, "set_lock", lock_anyway)),
    "readers do not wait": (("stall",), patched(ReadWriteLock, "take_shared", share_anyway)),
    "nobody is told at an unmount": (("hand_over",), patched(Told, "everybody", tell_nobody)),
    "nobody is told at a takeover": (("take_over",), patched(Inherited, "_tell", inherit_silently)),
    "promises are lost in a restart": (("restart",), patched(Callbacks, "restore", restore_nothing)),
    "versions do not rise": (("damage",), patched(files, "data_stored", keep_version)),
    "a call stays known": (("damage",), patched(Volume, "leave", leave_later)),
}
"""By what rule is broken: the kinds of trouble in which it shows soonest, and how to break it."""
