"""Promises by the numbers of OpenAFS's callback.c, and the table that holds them."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from fileserver.callbacks import (
    BUCKET_SECONDS,
    PROMISE_EXCESS,
    SERVER_BIAS,
    VOLUME_SECONDS,
    Callbacks,
    Fid,
    Kind,
    lifetime,
)
from tests.support.budget import budget

NOW = 1_700_000_000.0
FILE: Fid = (100, 2, 3)
OTHER: Fid = (100, 4, 5)


class Grant(SynchronousTestCase):
    def test_lifetimes(self) -> None:
        """The more hosts share a file, the shorter the promise."""
        table = {0: 14400, 7: 14400, 8: 3600, 15: 3600, 16: 1800, 23: 1800, 24: 900, 39: 900, 40: 600, 63: 600, 64: 420}
        self.assertEqual({holders: lifetime(holders) for holders in table}, table)
        self.assertEqual(lifetime(10_000), 420)

    def test_rounding(self) -> None:
        """The server keeps a promise to a multiple of 128 s, and 180 s longer than it says."""
        for offset in range(300):
            callbacks: Callbacks[str] = Callbacks()
            now = NOW + offset
            seconds = callbacks.grant(FILE, "a", Kind.NORMAL, now)
            end = now + seconds + SERVER_BIAS
            self.assertEqual(end % BUCKET_SECONDS, 0)
            self.assertTrue(14400 <= seconds < 14400 + BUCKET_SECONDS)

    def test_holders_count(self) -> None:
        """The lifetime is looked up with the holders there are, the caller's own old promise among them."""
        callbacks: Callbacks[int] = Callbacks()
        granted = [callbacks.grant(FILE, host, Kind.NORMAL, NOW) for host in range(70)]
        for holders, seconds in enumerate(granted):
            self.assertTrue(lifetime(holders) <= seconds < lifetime(holders) + BUCKET_SECONDS)
        self.assertTrue(420 <= callbacks.grant(FILE, 0, Kind.NORMAL, NOW) < 420 + BUCKET_SECONDS)

    def test_bulk_and_volume(self) -> None:
        """A bulk status counts 22 holders more; a read-only volume's promise lasts two hours."""
        callbacks: Callbacks[str] = Callbacks()
        self.assertTrue(1800 <= callbacks.grant(FILE, "a", Kind.BULK, NOW) < 1800 + BUCKET_SECONDS)
        callbacks.grant(FILE, "b", Kind.BULK, NOW)
        self.assertTrue(900 <= callbacks.grant(FILE, "c", Kind.BULK, NOW) < 900 + BUCKET_SECONDS)
        seconds = callbacks.grant((101, 0, 0), "a", Kind.VOLUME, NOW)
        self.assertTrue(VOLUME_SECONDS <= seconds < VOLUME_SECONDS + BUCKET_SECONDS)

    def test_renewal_only_lengthens(self) -> None:
        """A shorter promise later does not take away a longer one."""
        callbacks: Callbacks[str] = Callbacks()
        callbacks.grant(FILE, "a", Kind.NORMAL, NOW)
        callbacks.grant(FILE, "a", Kind.BULK, NOW)
        self.assertEqual(callbacks.count, 1)
        callbacks.expire(NOW + 3 * 3600)
        self.assertEqual(callbacks.count, 1)
        callbacks.expire(NOW + 14400 + SERVER_BIAS + BUCKET_SECONDS)
        self.assertEqual(callbacks.count, 0)
        self.assertEqual(callbacks.counters.callbacks_timed_out, 1)

    def test_a_full_table(self) -> None:
        """Above the limit it is crowded; above the excess nothing new is promised, but old promises are renewed."""
        callbacks: Callbacks[str] = Callbacks(limit=10, excess=5)
        for number in range(10):
            self.assertTrue(callbacks.grant((100, number, 1), "a", Kind.NORMAL, NOW))
            self.assertFalse(callbacks.crowded)
        for number in range(10, 15):
            self.assertTrue(callbacks.grant((100, number, 1), "a", Kind.NORMAL, NOW))
            self.assertTrue(callbacks.crowded)
        self.assertEqual(callbacks.grant((100, 15, 1), "a", Kind.NORMAL, NOW), 0)
        self.assertTrue(callbacks.grant((100, 3, 1), "a", Kind.NORMAL, NOW))
        self.assertEqual(callbacks.count, 15)
        self.assertGreater(PROMISE_EXCESS, 50)


class Break(SynchronousTestCase):
    def setUp(self) -> None:
        self.callbacks: Callbacks[str] = Callbacks()
        for host in ("a", "b", "c"):
            self.callbacks.grant(FILE, host, Kind.NORMAL, NOW)
            self.callbacks.grant(OTHER, host, Kind.NORMAL, NOW)

    def test_others(self) -> None:
        """Everybody but the caller is told, once, and the caller keeps its promise."""
        self.assertEqual(self.callbacks.take(FILE, spare="b"), ["a", "c"])
        self.assertEqual(self.callbacks.take(FILE, spare="b"), [])
        self.assertEqual(self.callbacks.take(FILE), ["b"])
        self.assertEqual(self.callbacks.count, 3)

    def test_delayed(self) -> None:
        """What could not be said stays owed through renewals, is not taken again, and is handed out once."""
        self.callbacks.take(FILE)
        self.callbacks.delay(FILE, "a", NOW)
        self.callbacks.delay(OTHER, "a", NOW)
        self.callbacks.grant(FILE, "a", Kind.NORMAL, NOW)
        self.assertEqual(self.callbacks.take(FILE), [])
        self.assertEqual(sorted(self.callbacks.take_delayed("a", 50)), [FILE, OTHER])
        self.assertEqual(self.callbacks.take_delayed("a", 50), [])

    def test_delayed_in_portions(self) -> None:
        """No more fids at once than a message holds."""
        for number in range(120):
            self.callbacks.delay((7, number, 1), "z", NOW)
        portions = [len(self.callbacks.take_delayed("z", 50)) for _ in range(4)]
        self.assertEqual(portions, [50, 50, 20, 0])

    def test_a_volume(self) -> None:
        """All of a volume is owed to all its holders; one who hears of the volume is owed nothing of it."""
        self.callbacks.grant((200, 1, 1), "a", Kind.NORMAL, NOW)
        self.assertEqual(self.callbacks.delay_volume(100), ["a", "b", "c"])
        self.callbacks.take_volume(100, "a")
        self.assertEqual([promise.fid for promise in self.callbacks.promises("a")], [(200, 1, 1)])
        self.assertEqual(sorted(self.callbacks.take_delayed("b", 50)), [FILE, OTHER])
        self.assertEqual(self.callbacks.delay_volume(300), [])

    def test_giving_up(self) -> None:
        """A host may give one up, or all; a file that is gone takes all of its own along."""
        self.callbacks.give_up(FILE, "a")
        self.callbacks.give_up(FILE, "a")
        self.assertEqual(self.callbacks.take(FILE), ["b", "c"])
        self.callbacks.forget_host("b")
        self.assertEqual(self.callbacks.held_by("b"), 0)
        self.callbacks.forget_file(OTHER)
        self.assertEqual((self.callbacks.count, self.callbacks.files), (0, 0))

    def test_forgetting_up_to_a_point(self) -> None:
        """Promises made or renewed after the mark stay: they were given after the host had been told."""
        mark = self.callbacks.mark()
        self.callbacks.grant(FILE, "a", Kind.NORMAL, NOW)
        self.callbacks.grant((9, 9, 9), "a", Kind.NORMAL, NOW)
        self.callbacks.forget_host("a", until=mark)
        self.assertEqual(sorted(promise.fid for promise in self.callbacks.promises("a")), [(9, 9, 9), FILE])


class Against(SynchronousTestCase):
    def test_a_plain_model(self) -> None:
        """Random operations leave exactly the promises that a dictionary would have, and nothing in its indexes."""
        spent = budget("fileserver.callbacks", full=500, least=10)
        for run in range(spent.count):
            self._compare(Random(spent.seed + run))

    def _compare(self, random: Random) -> None:
        callbacks: Callbacks[int] = Callbacks()
        model: dict[tuple[Fid, int], bool] = {}
        fids: list[Fid] = [(volume, vnode, 1) for volume in (1, 2) for vnode in range(6)]
        for _ in range(400):
            fid, host = random.choice(fids), random.randrange(5)
            match random.randrange(8):
                case 0 | 1 | 2:
                    callbacks.grant(fid, host, Kind.NORMAL, NOW)
                    model.setdefault((fid, host), False)
                case 3:
                    told = callbacks.take(fid, spare=host)
                    expected = [h for (f, h), owed in model.items() if f == fid and h != host and not owed]
                    self.assertEqual(sorted(told), sorted(expected))
                    for holder in told:
                        del model[fid, holder]
                case 4:
                    callbacks.delay(fid, host, NOW)
                    model[fid, host] = True
                case 5:
                    owed = [f for (f, h), late in model.items() if h == host and late]
                    self.assertEqual(sorted(callbacks.take_delayed(host, 50)), sorted(owed))
                    for each in owed:
                        del model[each, host]
                case 6:
                    callbacks.give_up(fid, host)
                    model.pop((fid, host), None)
                case 7:
                    callbacks.forget_file(fid)
                    model = {pair: late for pair, late in model.items() if pair[0] != fid}
        self.assertEqual(sorted((p.fid, p.host) for p in callbacks.promises()), sorted(model))
        self.assertEqual(callbacks.count, len(model))
        callbacks.expire(NOW + 1e6)
        self.assertEqual((callbacks.count, callbacks._volumes, callbacks._hosts, callbacks._buckets), (0, {}, {}, {}))
