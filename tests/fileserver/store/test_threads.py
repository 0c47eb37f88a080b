"""What is done in which thread, and when whoever gives it up goes on."""

from __future__ import annotations

from threading import Event, get_ident
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from fileserver.interfaces import PROMPT_SECONDS, Fenced
from fileserver.store.threads import Threads

POLL_SECONDS = 0.005


class Owner:
    """Of storage that answers, or not."""

    answers = True

    def check(self) -> None:
        """It is ours."""

    def settled(self) -> Deferred[bool]:
        return succeed(True)

    def prompt(self) -> bool:
        return self.answers


class ThreadsCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.owner = Owner()
        self.threads = Threads(reactor, "test", self.owner)
        self.goes_on = Event()
        self.done: list[str] = []
        self.stopped: Deferred[None] | None = None
        self.addCleanup(self.stop)
        self.addCleanup(self.goes_on.set)

    def stop(self) -> Deferred[None]:
        """Once."""
        if self.stopped is None:
            self.stopped = self.threads.stop()
        return self.stopped

    def work(self, name: str) -> int:
        """Something that takes until it may go on; the thread it is done in."""
        assert self.goes_on.wait(30)
        self.done.append(name)
        return get_ident()

    def fail_at_last(self) -> None:
        self.work("failed")
        raise OSError(5, "test")

    async def test_where(self) -> None:
        """What is brief is done here while the disk answers, else in a thread; what is long always in one."""
        self.goes_on.set()
        here = get_ident()
        self.assertEqual(await self.threads.briefly(self.work, ""), here)
        self.assertNotEqual(await self.threads.run(self.work, ""), here)
        self.assertNotEqual(await self.threads.read(self.work, ""), here)
        self.owner.answers = False
        self.assertNotEqual(await self.threads.briefly(self.work, ""), here)
        self.owner.answers = True
        self.assertEqual(await self.threads.briefly(self.work, ""), here)

    async def test_a_slow_read(self) -> None:
        """A read that takes long shows that the disk is slow, until it is over; something long does not."""
        changing = ensureDeferred(self.threads.run(self.work, "changed"))
        await deferLater(reactor, 2 * PROMPT_SECONDS)
        self.assertTrue(self.threads.prompt())
        reading = ensureDeferred(self.threads.read(self.work, "read"))
        while self.threads.prompt():
            await deferLater(reactor, POLL_SECONDS)
        self.goes_on.set()
        await reading
        await changing
        self.assertTrue(self.threads.prompt())

    async def test_given_up(self) -> None:
        """A change that is given up, even twice, ends before anybody goes on; a read does not keep who gave it up."""
        changing, failing = (ensureDeferred(job) for job in self.jobs())
        reading = ensureDeferred(self.threads.read(self.work, "read"))
        for _ in range(2):
            changing.cancel()
            failing.cancel()
        reading.cancel()
        await self.assertFailure(reading, CancelledError)
        await deferLater(reactor, POLL_SECONDS)
        changing.addErrback(self.note_end, "changed")
        failing.addErrback(self.note_end, "failed")
        self.assertEqual(self.done, [])
        self.goes_on.set()
        await changing
        await failing
        self.assertEqual(len(self.done), 5)
        for name in ("changed", "failed"):
            self.assertLess(self.done.index(name), self.done.index(f"{name} is over"))

    def jobs(self) -> list[Any]:
        return [self.threads.run(self.work, "changed"), self.threads.run(self.fail_at_last)]

    def note_end(self, failure: Any, name: str) -> None:
        failure.trap(CancelledError)
        self.done.append(f"{name} is over")

    async def test_errors(self) -> None:
        """What fails in a thread is raised as it was."""
        self.goes_on.set()
        await self.assertFailure(ensureDeferred(self.threads.run(self.fail_at_last)), OSError)
        await self.assertFailure(ensureDeferred(self.threads.read(self.fail_at_last)), OSError)

    async def test_stopping(self) -> None:
        """Stopping waits for what was begun, and keeps nobody else waiting."""
        running = ensureDeferred(self.threads.run(self.work, "changed"))
        stopped = self.stop()
        await deferLater(reactor, POLL_SECONDS)
        self.assertFalse(stopped.called)
        self.goes_on.set()
        await stopped
        self.assertEqual(self.done, ["changed"])
        await running

    async def test_stopped(self) -> None:
        """What comes too late fails at once, while the threads end and afterwards, instead of waiting for ever."""
        running = ensureDeferred(self.threads.run(self.work, "changed"))
        stopped = self.stop()
        self.too_late()
        self.goes_on.set()
        await stopped
        await running
        self.too_late()
        self.assertEqual(self.done, ["changed"])

    def too_late(self) -> None:
        for late in (self.threads.run(self.work, "late"), self.threads.read(self.work, "late")):
            problem = self.failureResultOf(ensureDeferred(late), Fenced).getErrorMessage()
            self.assertEqual(problem, "test: the partition is closed")
