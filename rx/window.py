"""Congestion control of one call: how many packets may be unacknowledged at a time. Pure arithmetic."""

from __future__ import annotations

from rx.limits import CONGESTION_START

LEAST_THRESHOLD = 2
"""Slow start never ends below two packets (rx.c halves no less than four)."""


NOISE = 0.02
"""Part of the packets on the way that may be lost for other reasons than congestion (BBRv3's loss threshold)."""

NOISE_STEP = 8
"""For noise the window closes by an eighth, and opens again as in slow start."""


class CongestionWindow:
    """Slow start, congestion avoidance, one halving per round of losses but for noise (RFC 5681, in packets)."""

    __slots__ = ("_credit", "maximum", "size", "threshold")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.size = min(CONGESTION_START, maximum)
        self.threshold = maximum
        self._credit = 0

    def acknowledged(self, count: int) -> None:
        """`count` more packets have reached the peer."""
        if self.size < self.threshold:
            self.size = min(self.size + count, self.threshold)
            return
        if self.size >= self.maximum:
            return
        self._credit += count
        if self._credit >= self.size:
            self._credit -= self.size
            self.size += 1

    def lost(self, outstanding: int, count: int, queueing: bool) -> None:
        """The first `count` losses of a round are known.

        A full queue loses many packets, after it has made every packet wait. A few losses without that are noise, for
        which one does not give way: halving for each, a path that loses one packet in a thousand is never filled.
        """
        if queueing or count > 1 + outstanding * NOISE:
            self._halve(outstanding)
            return
        self.threshold = max(self.threshold, self.size)
        self.size = min(max(LEAST_THRESHOLD, self.size - self.size // NOISE_STEP), self.maximum)

    def _halve(self, outstanding: int) -> None:
        self.threshold = min(max(LEAST_THRESHOLD, min(outstanding, self.size) // 2), self.maximum)
        self.size = self.threshold
        self._credit = 0

    def timed_out(self, outstanding: int) -> None:
        """Nothing came back for a whole retransmission time: begin again with one packet."""
        self._halve(outstanding)
        self.size = 1
