"""Open files, kept for the next use: what makes a read or a write one system call."""

from __future__ import annotations

import os
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

    __slots__ = ("_guard", "fd", "tells", "used")

    def __init__(self, fd: int, guard: Guard = unguarded) -> None:
        self.fd = fd
        self.used = False
        """Since the cache last looked for one to let go of."""
        self.tells = True
        """Its file system says what is in memory (at_hand.py)."""
        self._guard = guard

    def to_write(self) -> int:
        """The number, for the one system call that changes the file now. Raises Fenced."""
        self._guard()
        return self.fd

    def size(self) -> int:
        """The file's length in bytes; cheaper than its whole status. Nothing here depends on the file position."""
        return os.lseek(self.fd, 0, os.SEEK_END)

    def __del__(self) -> None:
        os.close(self.fd)


Key = tuple[int, int]
"""(group's parent id, inode number)"""


class Descriptors:
    """The open files of a partition, of which those used lately stay. Any thread may call.

    Each is given a second chance before it goes, rather than moved at every use: to find one takes no lock.
    """

    def __init__(self, guard: Guard = unguarded, limit: int = MAX_DESCRIPTORS) -> None:
        self.guard = guard
        self._limit = limit
        self._lock = Lock()
        self._open: dict[Key, Descriptor] = {}

    def __len__(self) -> int:
        return len(self._open)

    def find(self, key: Key) -> Descriptor | None:
        """The open file of that key, if it is open."""
        found = self._open.get(key)
        if found is not None:
            found.used = True
        return found

    def put(self, key: Key, fd: int) -> Descriptor:
        """Keep a freshly opened descriptor."""
        opened = Descriptor(fd, self.guard)
        with self._lock:
            replaced = self._open.pop(key, None)
            self._open[key] = opened
            dropped = self._make_room() if len(self._open) > self._limit else None
        del replaced, dropped  # closes outside the lock
        return opened

    def forget(self, key: Key) -> None:
        """The file of that key is gone, or about to go."""
        with self._lock:
            self._open.pop(key, None)

    def forget_group(self, parent: int) -> list[Descriptor]:
        """The same for every file of a volume group; they are closed when the list goes, if nobody uses them."""
        with self._lock:
            return [self._open.pop(key) for key in list(self._open) if key[0] == parent]

    def _make_room(self) -> Descriptor:
        """Take out the oldest that was not used since it was last looked at."""
        while True:
            key = next(iter(self._open))
            oldest = self._open.pop(key)
            if not oldest.used:
                return oldest
            oldest.used = False
            self._open[key] = oldest

    def clear(self) -> None:
        """Close everything that is not in use this moment."""
        with self._lock:
            self._open.clear()
