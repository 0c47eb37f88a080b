"""The thread that writes: takes what is queued, runs it as one batch, answers when that is durable. No SQL here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from vlserver.interfaces import StoreError

T = TypeVar("T")

BATCH_LIMIT = 64
"""Writes that share one commit: enough to hide the fsync, few enough that the first is not kept waiting."""


@dataclass(slots=True)
class _Job:
    work: Callable[[], Any]
    answer: Deferred[Any]
    outcome: Any = None

    def run(self) -> None:
        """Keep the result, or the exception as a Failure: the answer is given later and in another thread."""
        execute(self.work).addBoth(self._keep)

    def _keep(self, outcome: object) -> None:
        self.outcome = outcome


class Writer:
    """Runs submitted work in order in its thread. `commit(steps)` runs there too and returns the revision reached."""

    def __init__(
        self,
        reactor: IReactorFromThreads,
        commit: Callable[[Sequence[Callable[[], None]]], int],
        published: Callable[[int], None],
    ) -> None:
        self._reactor = reactor
        self._commit = commit
        self._published = published
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._ended: Deferred[None] = Deferred()
        self._stopping = False
        self._thread = Thread(target=self._run, name="vldb writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T]) -> Deferred[T]:
        """Fires with the result of `work` after the commit, or with what it or the commit raised."""
        answer: Deferred[T] = Deferred()
        if self._stopping:
            answer.errback(StoreError("the database is being closed"))
        else:
            self._queue.put(_Job(work, answer))
        return answer

    def stop(self) -> Deferred[None]:
        """Fires when everything submitted has been answered and the thread has ended."""
        if not self._stopping:
            self._stopping = True
            self._queue.put(None)
        return self._ended

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._next_batch()
            if batch:
                reached = execute(self._commit, [job.run for job in batch])
                self._reactor.callFromThread(reached.addBoth, self._answer, batch)
        self._reactor.callFromThread(self._ended.callback, None)

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take those behind it; False when the last has been taken."""
        job = self._queue.get()
        batch: list[_Job] = []
        while job is not None:
            batch.append(job)
            if len(batch) >= BATCH_LIMIT:
                return batch, True
            try:
                job = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _answer(self, reached: int | Failure, batch: Sequence[_Job]) -> None:
        """In the reactor's thread: the new revision first, so that no answer precedes what it changed."""
        if isinstance(reached, Failure):
            for job in batch:
                job.answer.errback(reached)
            return
        self._published(reached)
        for job in batch:
            job.answer.callback(job.outcome)
