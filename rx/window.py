"""Congestion control of one call: how many packets may be unacknowledged at a time. Pure arithmetic."""

from __future__ import annotations

from rx.limits import CONGESTION_START

LEAST_THRESHOLD = 2
"""Slow start never ends below two packets (rx.c halves no less than four)."""


class CongestionWindow:
    """Slow start, congestion avoidance, one halving per round of losses (RFC 5681, counted in packets)."""

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

    def lost(self, outstanding: int) -> None:
        """The first loss of a round: halve what was outstanding."""
        self.threshold = min(max(LEAST_THRESHOLD, min(outstanding, self.size) // 2), self.maximum)
        self.size = self.threshold
        self._credit = 0

    def timed_out(self, outstanding: int) -> None:
        """Nothing came back for a whole retransmission time: begin again with one packet."""
        self.lost(outstanding)
        self.size = 1
