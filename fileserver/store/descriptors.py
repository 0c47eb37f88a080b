"""Open files, kept for the next use: what makes a read or a write one system call."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

MAX_DESCRIPTORS = 256
"""Per partition: a process may hold 1024 unless someone raised it, and sockets and databases want theirs."""


Guard = Callable[[], None]
"""Asked immediately before every write to a partition, in whichever thread writes: raises Fenced when it may not be."""


def unguarded() -> None:
    """The guard of a partition that no other server can take."""


class Descriptor:
    """An open file, closed when the last reference goes.

    Whoever is using it holds a reference, be it the cache, a coroutine or a job in a thread; so it cannot be closed,
    and its number given to another file, in the middle of an operation.
    """

    __slots__ = ("_guard", "fd")

    def __init__(self, fd: int, guard: Guard = unguarded) -> None:
        self.fd = fd
        self._guard = guard

    def to_write(self) -> int:
        """The number, for the one system call that changes the file now. Raises Fenced."""
        self._guard()
        return self.fd

    def __del__(self) -> None:
        os.close(self.fd)


Key = tuple[int, int]
"""(group's parent id, inode number)"""


class Descriptors:
    """The last used open files of a partition. Any thread may call."""

    def __init__(self, guard: Guard = unguarded, limit: int = MAX_DESCRIPTORS) -> None:
        self.guard = guard
        self._limit = limit
        self._lock = Lock()
        self._open: OrderedDict[Key, Descriptor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def get(self, key: Key, opener: Callable[[], int]) -> Descriptor:
        """The open file of that key; `opener` makes a descriptor where there is none. Raises what `opener` raises."""
        return self.find(key) or self.put(key, opener())

    def find(self, key: Key) -> Descriptor | None:
        """The open file of that key, if it is kept."""
        with self._lock:
            found = self._open.get(key)
            if found is not None:
                self._open.move_to_end(key)
            return found

    def put(self, key: Key, fd: int) -> Descriptor:
        """Keep a freshly opened descriptor."""
        opened = Descriptor(fd, self.guard)
        with self._lock:
            self._open[key] = opened
            self._open.move_to_end(key)
            dropped = self._open.popitem(last=False) if len(self._open) > self._limit else None
        del dropped  # closes outside the lock
        return opened

    def forget(self, key: Key) -> None:
        """The file of that key is gone, or about to go."""
        with self._lock:
            self._open.pop(key, None)

    def forget_group(self, parent: int) -> None:
        """The same for every file of a volume group."""
        with self._lock:
            for key in [key for key in self._open if key[0] == parent]:
                del self._open[key]

    def clear(self) -> None:
        """Close everything that is not in use this moment."""
        with self._lock:
            self._open.clear()
