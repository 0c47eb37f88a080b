"""The threads of a back end: where long reads and writes and everything that waits for a disk is done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS = 8
"""Per partition. Transfers of large pieces overlap; more would only queue at one disk."""


class Threads:
    """A pool that hands results back to the reactor's thread."""

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, MAX_THREADS, name)
        # A process that ends without closing its partitions, after some failure, shall not wait for these threads.
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        self._pool.start()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function` in a thread. Cancelling gives up the result, not the work."""
        result: T = await deferToThreadPool(self._reactor, self._pool, function, *args, **kwargs)
        return result

    def stop(self) -> None:
        """Finish what was begun, then end the threads."""
        self._pool.stop()
