"""Syncs: wanted by many at a time, failing, and left for later."""

from __future__ import annotations

import errno
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from fileserver.interfaces import IPartition
from fileserver.store.memory import MemoryPartition
from fileserver.volume.durability import Durability, Sync
from fileserver.volume.volume import Volume


class Files:
    """Syncs when it is told to."""

    def __init__(self) -> None:
        self.syncs: list[Deferred[None]] = []

    async def sync(self) -> None:
        self.syncs.append(Deferred())
        await self.syncs[-1]


class Written:
    """As much of a volume as matters here."""

    def __init__(self, partition: IPartition) -> None:
        self.partition = partition
        self.files = Files()
        self.users = 0


class Syncs(SynchronousTestCase):
    def setUp(self) -> None:
        self.partition: Any = MemoryPartition()

    def volume(self, partition: Any = None) -> Any:
        return cast(Volume, Written(partition or self.partition))

    def test_shared(self) -> None:
        """Those who want one while one runs share the next, on whatever volume of the partition they are."""
        durability = Durability(Sync.EVERY)
        volumes = [self.volume() for _ in range(5)]
        waits = [ensureDeferred(durability.answering(volume)) for volume in volumes]
        self.assertEqual([len(volume.files.syncs) for volume in volumes], [1, 0, 0, 0, 0])
        volumes[0].files.syncs[0].callback(None)
        self.successResultOf(waits[0])
        self.assertNoResult(waits[1])  # it was written to when the first had begun
        self.assertEqual([len(volume.files.syncs) for volume in volumes], [1, 1, 0, 0, 0])
        volumes[1].files.syncs[0].callback(None)
        for wait in waits[1:]:
            self.successResultOf(wait)

    def test_given_up(self) -> None:
        """Whoever does not wait any longer, be it the one who began, keeps the others from nothing."""
        durability = Durability(Sync.EVERY)
        volume = self.volume()
        first, second = [ensureDeferred(durability.answering(volume)) for _ in range(2)]
        first.cancel()
        self.failureResultOf(first, CancelledError)
        volume.files.syncs[0].callback(None)
        volume.files.syncs[1].callback(None)
        self.successResultOf(second)

    def test_partitions(self) -> None:
        """Partitions sync beside one another."""
        durability = Durability(Sync.EVERY)
        first, second = self.volume(), self.volume(MemoryPartition(1, "/vicepb"))
        waits = [ensureDeferred(durability.answering(volume)) for volume in (first, second)]
        second.files.syncs[0].callback(None)
        self.successResultOf(waits[1])
        self.assertNoResult(waits[0])
        first.files.syncs[0].callback(None)

    def test_failing(self) -> None:
        """All who waited for a sync that failed are told so; the next is another matter."""
        durability = Durability(Sync.EVERY)
        volume = self.volume()
        first = ensureDeferred(durability.answering(volume))
        others = [ensureDeferred(durability.answering(volume)) for _ in range(2)]
        volume.files.syncs[0].callback(None)
        self.successResultOf(first)
        volume.files.syncs[1].errback(OSError(errno.EIO, "bad disk"))
        for each in others:
            self.failureResultOf(each, OSError)
        again = ensureDeferred(durability.answering(volume))
        volume.files.syncs[2].callback(None)
        self.successResultOf(again)

    def test_left_for_later(self) -> None:
        """What was asked for goes with the next turn, once for a partition; after a failure, with the one after it."""
        durability = Durability(Sync.DELAYED)
        volumes = [self.volume(), self.volume()]
        for volume in volumes:
            self.successResultOf(ensureDeferred(durability.asked(volume)))
        turn = ensureDeferred(durability.pass_on())
        (running,) = [sync for volume in volumes for sync in volume.files.syncs]
        running.errback(OSError(errno.EIO, "bad disk"))
        self.successResultOf(turn)
        for expected in (2, 2):
            turn = ensureDeferred(durability.pass_on())
            syncs = [sync for volume in volumes for sync in volume.files.syncs]
            self.assertEqual(len(syncs), expected)
            if not syncs[-1].called or not syncs[0].called:
                next(sync for sync in syncs if not sync.called).callback(None)
            self.successResultOf(turn)

    def test_closed_cleanly(self) -> None:
        """A volume is synced on its way out if it was written to since its last sync, and in no use then."""
        for mode, syncs in ((Sync.EVERY, 1), (Sync.ALWAYS, 1), (Sync.DELAYED, 1), (Sync.ONCLOSE, 1), (Sync.NEVER, 0)):
            durability = Durability(mode)
            volume = self.volume()
            self.successResultOf(ensureDeferred(durability.closing(volume)))
            durability.wrote(volume)
            for _ in range(2):
                closing = ensureDeferred(durability.closing(volume))
                for sync in volume.files.syncs:
                    if not sync.called:
                        sync.callback(None)
                self.successResultOf(closing)
            self.assertEqual(len(volume.files.syncs), syncs, mode)

    def test_written_to_meanwhile(self) -> None:
        """A volume that somebody uses may be written to after the sync of another's call: it is synced again."""
        durability = Durability(Sync.ALWAYS)
        volume = self.volume()
        volume.users = 2
        durability.wrote(volume)
        asked = ensureDeferred(durability.asked(volume))
        volume.files.syncs[0].callback(None)
        self.successResultOf(asked)
        volume.users = 0
        closing = ensureDeferred(durability.closing(volume))
        self.assertEqual(len(volume.files.syncs), 2)
        volume.files.syncs[1].callback(None)
        self.successResultOf(closing)
