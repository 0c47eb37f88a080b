"""How soon datagrams follow one another, and so whether it pays to look for the next one before sleeping.

A client's acknowledgement comes some 20 us after the answer and its next call some 70 us after that; to fall asleep and
be woken by another processor costs both ends 20 to 50 us each time (docs/decisions/0005). Pure but for its clock.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

LOOK_SECONDS = 300e-6
"""How long to look for the next datagram: the longest gap in a file system client's row of small calls, the 200 to 250
us before it stores what it has just created, and a little.
"""

LONGEST_SECONDS = 2.5e-3
"""A longer gap counts as this: one ends the looking, and half a dozen short ones begin it again."""

SMOOTHING = 4
"""The newest gap counts for one part in so many."""


class Pace:
    """The gap between the end of a turn and the datagrams of the next, smoothed. It begins long."""

    __slots__ = ("_clock", "_expected", "_since")

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._since = clock()
        self._expected = LONGEST_SECONDS

    def rest(self) -> bool:
        """A turn is over. Whether the next datagrams are expected within LOOK_SECONDS."""
        self._since = self._clock()
        return self._expected < LOOK_SECONDS

    def looking(self) -> bool:
        """Whether LOOK_SECONDS are not over yet."""
        return self._clock() - self._since < LOOK_SECONDS

    def came(self) -> None:
        """Datagrams are here."""
        self._learn(min(self._clock() - self._since, LONGEST_SECONDS))

    def missed(self) -> None:
        """None came while they were looked for."""
        self._learn(LONGEST_SECONDS)

    def _learn(self, gap: float) -> None:
        self._expected += (gap - self._expected) / SMOOTHING
