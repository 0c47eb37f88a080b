"""rx.pace: when it pays to look for the next datagram."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rx.pace import LOOK_SECONDS, Pace


class Gaps(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.pace = Pace(self.clock.seconds)

    def follow(self, *gaps: float) -> bool:
        """Datagrams after each of these gaps; whether the next is expected soon."""
        for gap in gaps:
            self.pace.rest()
            self.clock.advance(gap)
            self.pace.came()
        return self.pace.rest()

    def test_an_idle_port_sleeps(self) -> None:
        """Nothing is expected soon of a port that hears little, however long it has been silent."""
        self.assertFalse(self.pace.rest())
        self.assertFalse(self.follow(*[LOOK_SECONDS * 2] * 50))
        self.assertFalse(self.follow(3600.0))

    def test_a_row_of_calls(self) -> None:
        """After some short gaps the next datagram is expected soon, for as long as one is worth looking for."""
        self.assertFalse(self.follow(*[LOOK_SECONDS / 4] * 3))
        self.assertTrue(self.follow(*[LOOK_SECONDS / 4] * 10))
        self.assertTrue(self.pace.looking())
        self.clock.advance(LOOK_SECONDS)
        self.assertFalse(self.pace.looking())

    def test_one_miss_ends_it(self) -> None:
        """One look in vain, or one long gap, and the port sleeps until gaps have been short again."""
        for end in (self.pace.missed, lambda: self.follow(1.0)):
            self.assertTrue(self.follow(*[LOOK_SECONDS / 4] * 20))
            end()
            self.assertFalse(self.follow(LOOK_SECONDS / 4))
