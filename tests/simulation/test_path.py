"""One call over a long path: how much of it is used, and how much is sent in vain."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.bench_path import SIZE, transfer
from tests.support.pair import Network

MB = 1e6


class PathTests(SynchronousTestCase):
    """Seeded, so the numbers are the same each time."""

    def test_long_and_lossy(self) -> None:
        """50 ms and one packet lost in a thousand: at least 5 times what a window of 32 packets carries."""
        network = Network(latency=0.025, loss=0.001)
        for seed in range(3):
            narrow, wide = (transfer(network, window, seed).seconds for window in (32, 255))
            self.assertGreater(narrow / wide, 5.0, f"seed {seed}")

    def test_bottleneck(self) -> None:
        """A router with a queue: the path is filled, and few packets in a hundred are sent in vain."""
        for latency, rate, queue in ((0.025, 1.25 * MB, 65536), (0.010, 2.5 * MB, 65536), (0.025, 0.5 * MB, 30_000)):
            result = transfer(Network(latency=latency, rate=rate, queue=queue), 255, 1)
            self.assertGreater(SIZE / result.seconds, 0.9 * rate)
            self.assertLess(result.resent, 0.03)

    def test_shallow_queue(self) -> None:
        """A router that can hold six packets is not flooded, though it loses without ever making packets wait."""
        result = transfer(Network(latency=0.025, rate=2.5 * MB, queue=8000), 255, 1)
        self.assertGreater(SIZE / result.seconds, 1.25 * MB)
        self.assertLess(result.resent, 0.05)
