"""The threads of a back end: where long reads and writes, and everything that waits for a disk, is done.

What is brief is done where it is called, which is twice as fast (docs/decisions/0005-latency.md), as long as the disk
answers: the label's owner asks it once a second, and so does every read that no cache could answer. While it is slow to
answer everything goes through threads, and who works on other partitions notices nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from fileserver.interfaces import OURS_ALONE, PROMPT_SECONDS, Fenced, Ownership

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS = 8
"""Per partition. Transfers of large pieces overlap; more would only queue at one disk."""

MAX_BRIEF_THREADS = 4
"""For what is brief, while the disk is slow: not behind large pieces."""

log = Logger(namespace="fileserver.store")


class Threads:
    """Pools that hand results back to the reactor's thread."""

    def __init__(self, reactor: Any, name: str, ownership: Ownership = OURS_ALONE) -> None:
        self._reactor = reactor
        self._name = name
        self._answers = ownership.prompt
        self._pools = [_pool(MAX_THREADS, name), _pool(MAX_BRIEF_THREADS, f"{name} brief")]
        self._reading: dict[object, float] = {}
        """When the reads began that are under way. Threads change it."""
        self._was_prompt = True
        self._stopped = False

    def prompt(self) -> bool:
        """Whether nothing says that the disk would keep somebody waiting."""
        prompt = self._answers() and not (self._reading and self._reads_slowly())
        if prompt is not self._was_prompt:
            self._changed(prompt)
        return prompt or self._stopped  # when nobody is left to be kept waiting

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function`, which a disk is asked by, in a thread. Cancelling gives up the result, not the work."""
        return await self._begin(0, partial(self._read, partial(function, *args, **kwargs)))

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function`, which takes its time on any disk, in a thread. When this returns it has ended, also if it was
        cancelled: nobody else gets what it changes before.
        """
        return await _ended(self._begin(0, partial(function, *args, **kwargs)))

    async def briefly(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function`, which takes no time if the disk answers: at once while it does, else as by `run`."""
        if self.prompt():
            return function(*args, **kwargs)
        return await _ended(self._begin(1, partial(function, *args, **kwargs)))

    def stop(self) -> Deferred[None]:
        """Finish what was begun, then end the threads. Fires when that is so, however long the disk takes. Whoever
        wants more of them fails with Fenced.
        """
        self._stopped = True
        stopped: Deferred[None] = Deferred()
        Thread(target=self._stop, args=(stopped,), daemon=True).start()
        return stopped

    def _begin(self, pool: int, work: Callable[[], T]) -> Deferred[T]:
        if self._stopped:  # nobody would ever do it
            return fail(Fenced(f"{self._name}: the partition is closed"))
        return deferToThreadPool(self._reactor, self._pools[pool], work)

    def _read(self, work: Callable[[], T]) -> T:
        """In a thread."""
        reading = object()
        self._reading[reading] = time.monotonic()
        try:
            return work()
        finally:
            del self._reading[reading]

    def _reads_slowly(self) -> bool:
        oldest = min(list(self._reading.values()), default=float("inf"))
        return time.monotonic() - oldest > PROMPT_SECONDS

    def _changed(self, prompt: bool) -> None:
        self._was_prompt = prompt
        if prompt:
            log.info("{name}: the disk answers again", name=self._name)
        else:
            log.warn("{name}: the disk is slow to answer", name=self._name)

    def _stop(self, stopped: Deferred[None]) -> None:
        for pool in self._pools:
            pool.stop()
        self._reactor.callFromThread(stopped.callback, None)


def _pool(size: int, name: str) -> ThreadPool:
    """Begun. A process that ends without closing its partitions, after some failure, shall not wait for its threads."""
    pool = ThreadPool(0, size, name)
    pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
    pool.start()
    return pool


async def _ended(job: Deferred[T]) -> T:
    """Its result. Cancelled meanwhile, CancelledError once it has ended."""
    outcome: list[T | Failure] = []
    waiter: Deferred[None] = Deferred()

    def end(result: T | Failure) -> None:
        outcome.append(result)
        waiter.callback(None)

    given_up: CancelledError | None = None
    job.addBoth(end)
    while not outcome:
        try:
            await waiter
        except CancelledError as cancelled:
            given_up, waiter = cancelled, Deferred()
    [result] = outcome
    if given_up is not None:
        if isinstance(result, Failure):
            log.info("given up meanwhile: {problem}", problem=result.getErrorMessage())
        raise given_up
    if isinstance(result, Failure):
        result.raiseException()
    return result
