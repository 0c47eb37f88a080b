"""How many calls a server runs at a time, and which is next when one ends. Pure: it starts nothing itself.

A call over a limit waits its turn, as it would for a thread of a stock server; Rx keeps it alive meanwhile. How many
may wait is the engine's bound (`rx.limits`), which answers BUSY beyond.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

RUNNING = 1024
"""Calls running in one server: eight times a stock fileserver's usual threads (128), each a coroutine of a few KB."""

RUNNING_PER_HOST = 256
"""Of one host: a quarter, so that a client with many users never waits alone and never starves the others."""


class Turns(Generic[T]):
    """Counts the running by host, and queues the rest: hosts take turns, each host's own calls keep their order."""

    def __init__(self, total: int = RUNNING, per_host: int = RUNNING_PER_HOST) -> None:
        self._total = total
        self._per_host = per_host
        self.running = 0
        self.waited = 0  # how many ever were queued
        self._running_of: dict[Hashable, int] = {}
        self._waiting_of: dict[Hashable, deque[T]] = {}
        self._turns: deque[Hashable] = deque()
        """Hosts that have calls waiting and are below their own limit."""

    def enter(self, host: Hashable, call: T) -> bool:
        """Whether `call` may run now; if not it is queued."""
        if self.running < self._total and self._running_of.get(host, 0) < self._per_host:
            self._start(host)
            return True
        queue = self._waiting_of.setdefault(host, deque())
        queue.append(call)
        self.waited += 1
        if len(queue) == 1 and self._running_of.get(host, 0) < self._per_host:
            self._turns.append(host)
        return False

    def leave(self, host: Hashable) -> T | None:
        """One call of `host` has ended: the call that may run instead, counted as running already."""
        self.running -= 1
        left = self._running_of[host] - 1
        if left:
            self._running_of[host] = left
        else:
            del self._running_of[host]
        if host in self._waiting_of and left == self._per_host - 1:
            self._turns.append(host)
        return self._next()

    def withdraw(self, host: Hashable, call: T) -> bool:
        """Forget a queued call that is over already; False when it was not queued."""
        queue = self._waiting_of.get(host)
        if queue is None or call not in queue:
            return False
        queue.remove(call)
        if not queue:
            del self._waiting_of[host]
            if host in self._turns:
                self._turns.remove(host)
        return True

    @property
    def idle(self) -> int:
        """How many more could run now."""
        return self._total - self.running

    @property
    def waiting(self) -> int:
        """How many are queued."""
        return sum(len(queue) for queue in self._waiting_of.values())

    def _start(self, host: Hashable) -> None:
        self.running += 1
        self._running_of[host] = self._running_of.get(host, 0) + 1

    def _next(self) -> T | None:
        if not self._turns or self.running >= self._total:
            return None
        host = self._turns.popleft()
        queue = self._waiting_of[host]
        call = queue.popleft()
        self._start(host)
        if not queue:
            del self._waiting_of[host]
        elif self._running_of[host] < self._per_host:
            self._turns.append(host)
        return call
