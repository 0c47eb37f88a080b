"""The round-trip estimator (rx.c rxi_ComputeRoundTripTime, in seconds rather than scaled milliseconds)."""

from __future__ import annotations

from math import inf

INITIAL_SECONDS = 1.0
"""Assumed before the first sample (RFC 6298). Stock assumes 2 s, which makes every early loss cost as much."""

FLOOR_SECONDS = 0.020
"""The estimate never falls below this (rx_minPeerTimeout): clocks and schedulers are no finer."""

ACK_ALLOWANCE_SECONDS = 0.200
"""Added to the estimate because peers delay acknowledgements by 100 ms, or by 400 ms for the last packet of a reply."""

MAXIMUM_SECONDS = 60.0
"""Retransmission waits no longer than this however often it backed off; a longer sample is a mistake and ignored."""

LEAST_SAMPLE_SECONDS = 0.000_125
"""One unit of stock's estimator; a sample of zero would make the deviation meaningless."""


QUEUEING_FACTOR = 1.25
"""A path whose round trips are longer than this by its shortest has a queue (BBR's pacing gain probes for as much)."""

QUEUEING_SECONDS = 0.005
"""And this much more, for what the scheduling of both machines adds."""


TELLING_SECONDS = 0.010
"""On a shorter path a queue cannot be told from that scheduling; nor does it matter there how fast a window grows."""


class RoundTrip:
    """What is known of the round trip to one peer."""

    __slots__ = ("deviation", "least", "retransmit_seconds", "samples", "smoothed")

    def __init__(self) -> None:
        self.smoothed = 0.0
        self.deviation = 0.0
        self.samples = 0
        self.least = inf
        self.retransmit_seconds = INITIAL_SECONDS + ACK_ALLOWANCE_SECONDS

    def sample(self, seconds: float) -> None:
        """Take one measured round trip into account."""
        if seconds > MAXIMUM_SECONDS:
            return
        seconds = max(seconds, LEAST_SAMPLE_SECONDS)
        if self.samples:
            error = seconds - self.smoothed
            self.smoothed += error / 8
            self.deviation += (abs(error) - self.deviation) / 4
        else:
            self.smoothed = seconds
            self.deviation = seconds / 2
        self.samples += 1
        if seconds < self.least:
            self.least = seconds
        self.retransmit_seconds = max(self.smoothed + 4 * self.deviation, FLOOR_SECONDS) + ACK_ALLOWANCE_SECONDS

    @property
    def queueing(self) -> bool:
        """Whether packets may be waiting on the way: round trips have become longer than the shortest there was, or are
        too short to tell.
        """
        return self.least < TELLING_SECONDS or self.smoothed > self.least * QUEUEING_FACTOR + QUEUEING_SECONDS

    def allowance(self) -> float:
        """Added to dead and idle times for a slow path: the round trip and eight deviations (rxi_CheckCall)."""
        return self.smoothed + 8 * self.deviation
