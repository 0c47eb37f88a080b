"""A lock many readers may share or one writer may have, fair in order of arrival, for one event loop."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred, succeed


class ReadWriteLock:
    """Each acquire method returns a Deferred that fires when the caller has the lock, at once if nobody is before it.

    Nobody overtakes: a reader that comes after a waiting writer waits too, so writers are not starved. Cancelling the
    Deferred leaves the queue.
    """

    __slots__ = ("_queue", "readers", "writer")

    def __init__(self) -> None:
        self.readers = 0
        self.writer = False
        self._queue: deque[tuple[bool, Deferred[None]]] | None = None

    @property
    def free(self) -> bool:
        """Nobody holds it and nobody waits."""
        return not self.readers and not self.writer and not self._queue

    @property
    def shareable(self) -> bool:
        """A reader would have it at once."""
        return not self.writer and not self._queue

    def take_shared(self) -> bool:
        """Fast path beside `acquire_shared`: have it now, or not at all."""
        if self.writer or self._queue:
            return False
        self.readers += 1
        return True

    def take_exclusive(self) -> bool:
        """Fast path beside `acquire_exclusive`: have it now, or not at all."""
        if not self.free:
            return False
        self.writer = True
        return True

    def acquire_shared(self) -> Deferred[None]:
        return self._acquire(exclusive=False)

    def acquire_exclusive(self) -> Deferred[None]:
        return self._acquire(exclusive=True)

    def release_shared(self) -> None:
        assert self.readers > 0, "released a lock nobody shares"
        self.readers -= 1
        self._grant()

    def release_exclusive(self) -> None:
        assert self.writer, "released a lock nobody has"
        self.writer = False
        self._grant()

    def downgrade(self) -> None:
        """From the writer to one of the readers, without letting go."""
        assert self.writer, "downgraded a lock nobody has"
        self.writer = False
        self.readers += 1
        self._grant()

    def _acquire(self, exclusive: bool) -> Deferred[None]:
        if self.take_exclusive() if exclusive else self.take_shared():
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._leave)
        if self._queue is None:
            self._queue = deque()
        self._queue.append((exclusive, waiter))
        return waiter

    def _grant(self) -> None:
        queue = self._queue
        while queue:
            exclusive, waiter = queue[0]
            if self.writer or (exclusive and self.readers):
                return
            queue.popleft()
            if exclusive:
                self.writer = True
            else:
                self.readers += 1
            waiter.callback(None)
        if not self._queue:  # whoever was granted may have let go already, and others may have come
            self._queue = None

    def _leave(self, waiter: Deferred[None]) -> None:
        if self._queue is None:
            return
        self._queue = deque(entry for entry in self._queue if entry[1] is not waiter)
        self._grant()
