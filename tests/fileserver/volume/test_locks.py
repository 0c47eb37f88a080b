"""The read-write lock of a vnode."""

from random import Random

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from fileserver.volume.locks import ReadWriteLock
from tests.support.budget import budget


class Locks(SynchronousTestCase):
    def setUp(self) -> None:
        self.lock = ReadWriteLock()

    def test_readers_share(self) -> None:
        """Any number of readers have it at once."""
        self.successResultOf(self.lock.acquire_shared())
        self.successResultOf(self.lock.acquire_shared())
        self.assertEqual(self.lock.readers, 2)

    def test_a_writer_is_alone(self) -> None:
        """A writer waits for readers, and they for it."""
        self.successResultOf(self.lock.acquire_shared())
        writer = self.lock.acquire_exclusive()
        self.assertNoResult(writer)
        self.lock.release_shared()
        self.successResultOf(writer)
        reader = self.lock.acquire_shared()
        self.assertNoResult(reader)
        self.lock.release_exclusive()
        self.successResultOf(reader)

    def test_nobody_overtakes(self) -> None:
        """A reader that comes after a waiting writer waits too."""
        self.successResultOf(self.lock.acquire_shared())
        writer, reader = self.lock.acquire_exclusive(), self.lock.acquire_shared()
        self.assertNoResult(reader)
        self.lock.release_shared()
        self.successResultOf(writer)
        self.assertNoResult(reader)

    def test_downgrade_lets_readers_in(self) -> None:
        """A writer that becomes a reader never lets a writer in between."""
        self.successResultOf(self.lock.acquire_exclusive())
        reader, writer = self.lock.acquire_shared(), self.lock.acquire_exclusive()
        self.lock.downgrade()
        self.successResultOf(reader)
        self.assertNoResult(writer)

    def test_cancel_leaves_the_queue(self) -> None:
        """A writer that gives up no longer holds up the readers behind it."""
        self.successResultOf(self.lock.acquire_shared())
        writer, reader = self.lock.acquire_exclusive(), self.lock.acquire_shared()
        writer.cancel()
        self.failureResultOf(writer)
        self.successResultOf(reader)
        self.lock.release_shared()
        self.lock.release_shared()
        self.assertTrue(self.lock.free)

    def test_letting_go_while_it_is_granted(self) -> None:
        """Whoever gets it, lets go at once and asks again, inside the grant, takes nobody out of the queue."""
        self.successResultOf(self.lock.acquire_exclusive())
        waiting: list[Deferred[None]] = []

        def again(_: None) -> None:
            self.lock.release_exclusive()
            self.successResultOf(self.lock.acquire_exclusive())
            waiting.append(self.lock.acquire_exclusive())

        self.lock.acquire_exclusive().addCallback(again)
        self.lock.release_exclusive()
        self.assertNoResult(waiting[0])
        self.lock.release_exclusive()
        self.successResultOf(waiting[0])
        self.lock.release_exclusive()
        self.assertTrue(self.lock.free)

    def test_random_use(self) -> None:
        """Never a writer beside anybody, and everyone gets it in the end."""
        share = budget("fileserver.locks", full=2000)
        for run in range(share.count):
            self._play(Random(share.seed + run))

    def _play(self, random: Random) -> None:
        lock = ReadWriteLock()
        holders: list[bool] = []
        waiting: list[Deferred[None]] = []

        def got(_: None, exclusive: bool) -> None:
            self.assertFalse(holders and (exclusive or True in holders))
            holders.append(exclusive)

        for _ in range(40):
            if holders and random.random() < 0.5:
                exclusive = holders.pop(random.randrange(len(holders)))
                (lock.release_exclusive if exclusive else lock.release_shared)()
            else:
                exclusive = random.random() < 0.4
                waiting.append((lock.acquire_exclusive if exclusive else lock.acquire_shared)())
                waiting[-1].addCallback(got, exclusive)
        while holders:
            exclusive = holders.pop()
            (lock.release_exclusive if exclusive else lock.release_shared)()
        for each in waiting:
            self.successResultOf(each)
        self.assertTrue(lock.free)
