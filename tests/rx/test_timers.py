"""The table of deadlines."""

from __future__ import annotations

from math import inf
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rx.timers import STALE_DEADLINES, Deadlines
from tests.support.budget import budget


class Sleeper:
    """Wakes at the times it was given, and notes when it did."""

    def __init__(self) -> None:
        self.wake_at = inf
        self.wanted: list[float] = []
        self.woken: list[float] = []

    def wake(self, now: float) -> float:
        self.woken.append(now)
        self.wanted = [when for when in self.wanted if when > now]
        return min(self.wanted, default=inf)


class DeadlinesTests(SynchronousTestCase):
    """Deadlines."""

    def test_earlier_wins(self) -> None:
        """Armed twice, a sleeper wakes at the earlier time, once."""
        table, sleeper = Deadlines(), Sleeper()
        table.arm(sleeper, 5.0)
        table.arm(sleeper, 3.0)
        table.arm(sleeper, 4.0)
        self.assertEqual(table.next(), 3.0)
        table.run(3.0)
        self.assertEqual(sleeper.woken, [3.0])
        self.assertIsNone(table.next())
        table.run(10.0)
        self.assertEqual(sleeper.woken, [3.0])

    def test_forgotten(self) -> None:
        """A forgotten sleeper is not woken and leaves no deadline."""
        table, sleeper = Deadlines(), Sleeper()
        table.arm(sleeper, 1.0)
        table.forget(sleeper)
        self.assertIsNone(table.next())
        table.run(2.0)
        self.assertEqual(sleeper.woken, [])

    def test_no_spin(self) -> None:
        """A sleeper that asks for the present is woken a little later, not for ever."""
        table, sleeper = Deadlines(), Sleeper()
        sleeper.wake = lambda now: now  # type: ignore[method-assign]
        table.arm(sleeper, 1.0)
        table.run(1.0)
        following = table.next()
        assert following is not None
        self.assertGreater(following, 1.0)

    def test_nothing_piles_up(self) -> None:
        """Deadlines that were overtaken, or whose sleeper is forgotten, are not kept until they would have been due."""
        table, busy, quiet = Deadlines(), Sleeper(), Sleeper()
        table.arm(quiet, 500.0)
        for second in range(400):
            table.arm(busy, second + 700.0)
            table.arm(busy, second + 0.5)
            table.run(second + 0.5)
            passing = Sleeper()
            table.arm(passing, second + 800.0)
            table.forget(passing)
        self.assertLess(len(table), STALE_DEADLINES + 8)
        table.run(500.0)
        self.assertEqual((len(busy.woken), quiet.woken), (400, [500.0]))

    def test_random(self) -> None:
        """However deadlines are set, every one is met by a wake-up at its time or, when time jumps, at the next run."""
        spent = budget("rx.deadlines", full=5000, least=50)
        random = Random(spent.seed)
        for _ in range(spent.count):
            table, sleepers, now = Deadlines(), [Sleeper() for _ in range(5)], 0.0
            for _ in range(40):
                sleeper = random.choice(sleepers)
                when = now + random.choice((0.01, 0.5, 1.0, 7.0))
                sleeper.wanted.append(when)
                table.arm(sleeper, when)
                if random.random() < 0.4:
                    now += random.choice((0.01, 0.3, 2.0))
                    table.run(now)
                    self.assertTrue(all(when > now for each in sleepers for when in each.wanted))
                    following = table.next()
                    wanted = [when for each in sleepers for when in each.wanted]
                    self.assertEqual(following is None, not wanted)
                    if following is not None:
                        self.assertLessEqual(following, max(min(wanted), now + 0.001))
