"""Advisory file locks: a counter and an end of lease in the vnode's record (`viced/afsfileprocs.c`, HandleLocking).

Pure, given now in Unix seconds. No owner is recorded: anybody may extend or release, as in every AFS fileserver. Who
may set one is `rights.py`.
"""

from __future__ import annotations

import errno
from enum import IntEnum

from fileserver.interfaces import Vnode
from rx.errors import Abort

LEASE_SECONDS = 300
"""AFS_LOCKWAIT: how long a lock lasts after it was last set or extended."""

WRITE_LOCKED = -1
"""`lock_count` of a write lock; a positive count is that many readers."""


class LockType(IntEnum):
    """ViceLockType as a client may send it."""

    READ = 0
    WRITE = 1


def lock_type(number: int) -> LockType:
    """The type a client named; Abort(EINVAL) for others (2 and 3 are internal to OpenAFS)."""
    try:
        return LockType(number)
    except ValueError:
        raise Abort(errno.EINVAL) from None


def held(vnode: Vnode, now: float) -> int:
    """The lock count as a client sees it: 0 once the lease is over."""
    return 0 if int(now) > vnode.lock_time else vnode.lock_count


def set_lock(vnode: Vnode, kind: LockType, now: float) -> None:
    """Take the lock; a lease that is over is forgotten first. Abort(EAGAIN) when it conflicts."""
    count = held(vnode, now)
    if kind is LockType.READ:
        if count < 0:
            raise Abort(errno.EAGAIN)
        vnode.lock_count = count + 1
    else:
        if count != 0:
            raise Abort(errno.EAGAIN)
        vnode.lock_count = WRITE_LOCKED
    vnode.lock_time = int(now) + LEASE_SECONDS


def extend_lock(vnode: Vnode, now: float) -> None:
    """Begin a new lease, even where the old one ran out unnoticed. Abort(EINVAL) without a lock."""
    if vnode.lock_count == 0:
        raise Abort(errno.EINVAL)
    vnode.lock_time = int(now) + LEASE_SECONDS


def release_lock(vnode: Vnode) -> bool:
    """Give one lock back; True when none is left and those waiting should be told. Without a lock it succeeds as
    well.
    """
    vnode.lock_count -= 1
    if vnode.lock_count > 0:
        return False
    vnode.lock_count = 0
    vnode.lock_time = 0
    return True
