"""The round-trip estimator and the congestion window: arithmetic."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rx.limits import CONGESTION_START
from rx.rtt import RoundTrip
from rx.window import CongestionWindow


class RoundTripTests(SynchronousTestCase):
    """RoundTrip."""

    def test_before_any_sample(self) -> None:
        """The first retransmission waits a second and the peer's acknowledgement delay."""
        self.assertAlmostEqual(RoundTrip().retransmit_seconds, 1.2)

    def test_steady_path(self) -> None:
        """On a steady 50 ms path the wait settles at the round trip plus 200 ms."""
        estimate = RoundTrip()
        for _ in range(100):
            estimate.sample(0.050)
        self.assertAlmostEqual(estimate.smoothed, 0.050)
        self.assertAlmostEqual(estimate.retransmit_seconds, 0.250, places=3)

    def test_floor(self) -> None:
        """On a path of no length the wait is 220 ms, never less; a sample of zero does no harm."""
        estimate = RoundTrip()
        for _ in range(50):
            estimate.sample(0.0)
        self.assertAlmostEqual(estimate.retransmit_seconds, 0.220)

    def test_jitter_widens(self) -> None:
        """A path that varies is given more time than one that does not."""
        steady, shaky = RoundTrip(), RoundTrip()
        for turn in range(100):
            steady.sample(0.100)
            shaky.sample(0.050 if turn % 2 else 0.150)
        self.assertGreater(shaky.retransmit_seconds, steady.retransmit_seconds + 0.1)

    def test_queueing(self) -> None:
        """A queue is round trips that grew; a path that is only long, or shaky by a few milliseconds, has none."""
        estimate = RoundTrip()
        for _ in range(20):
            estimate.sample(0.050)
            self.assertFalse(estimate.queueing)
        for _ in range(20):
            estimate.sample(0.054)
        self.assertFalse(estimate.queueing)
        for _ in range(20):
            estimate.sample(0.080)
        self.assertTrue(estimate.queueing)

    def test_too_short_to_tell(self) -> None:
        """On a short path losses always count as congestion."""
        estimate = RoundTrip()
        for _ in range(20):
            estimate.sample(0.002)
        self.assertTrue(estimate.queueing)

    def test_absurd_sample(self) -> None:
        """A sample longer than a minute is no sample."""
        estimate = RoundTrip()
        estimate.sample(61.0)
        self.assertEqual(estimate.samples, 0)


class CongestionWindowTests(SynchronousTestCase):
    """CongestionWindow."""

    def test_slow_start(self) -> None:
        """Every acknowledged packet opens the window by one, up to the maximum."""
        window = CongestionWindow(255)
        self.assertEqual(window.size, CONGESTION_START)
        window.acknowledged(16)
        self.assertEqual(window.size, 32)
        window.acknowledged(1000)
        self.assertEqual(window.size, 255)

    def test_loss_halves_then_grows_slowly(self) -> None:
        """A loss halves the window; then a whole window of acknowledgements opens it by one."""
        window = CongestionWindow(255)
        window.acknowledged(48)
        window.lost(64, 1, queueing=True)
        self.assertEqual(window.size, 32)
        window.acknowledged(31)
        self.assertEqual(window.size, 32)
        window.acknowledged(1)
        self.assertEqual(window.size, 33)

    def test_noise(self) -> None:
        """A few losses without a queue cost an eighth, which slow start regains; more than that are congestion."""
        window = CongestionWindow(255)
        window.acknowledged(1000)
        window.lost(255, 6, queueing=False)
        self.assertEqual(window.size, 224)
        window.acknowledged(31)
        self.assertEqual(window.size, 255)
        window.lost(255, 7, queueing=False)
        self.assertEqual(window.size, 127)

    def test_timeout_starts_again(self) -> None:
        """A timeout leaves one packet, and slow start up to half of what was."""
        window = CongestionWindow(255)
        window.acknowledged(48)
        window.timed_out(64)
        self.assertEqual(window.size, 1)
        window.acknowledged(100)
        self.assertEqual(window.size, 32)

    def test_never_nothing(self) -> None:
        """However often it loses, at least two packets stay; and a maximum of one is kept to."""
        window = CongestionWindow(255)
        for _ in range(20):
            window.lost(window.size, 1, queueing=True)
        self.assertEqual(window.size, 2)
        narrow = CongestionWindow(1)
        narrow.lost(1, 1, queueing=False)
        narrow.acknowledged(100)
        self.assertEqual(narrow.size, 1)
