"""Calls held until a volume is back: answered VBUSY, a client would sleep for 15 s.

How long, how many and how much memory is bounded, for each host and for all, so that one damaged volume never takes
the server's calls away from the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004

from fileserver.volume.interfaces import Surroundings
from rx.constants import MAX_ACKS
from rx.errors import Abort

CALL_BYTES = 4096
"""What a held call without data is taken to cost."""

WINDOW_BYTES = MAX_ACKS * 1444
"""What a held store keeps of its data: nobody reads it, so its receive window fills and closes. Larger packets than the
ordinary ones make it more; Rx bounds that over all calls (rx.limits).
"""


def leave_alone(code: int) -> None:
    """Of a call that nobody cuts off."""


@dataclass(slots=True, eq=False)
class Holder:
    """Whose call it is, and the bytes it keeps while it is held. `interrupt` ends the call with a code. Not changed
    once made; each call makes one, and frozen they cost three times as much.
    """

    host: Hashable = None
    size: int = CALL_BYTES
    interrupt: Callable[[int], None] = leave_alone


SERVER = Holder()
"""This server's own."""


class Holds:
    """All held calls of a server. Without a clock nothing is held."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self.limits = surroundings.holds
        self.calls = 0
        self.bytes = 0
        self.held = 0
        """Since the start."""
        self.refused = 0
        """Since the start: there was no room, or no time left."""
        self._calls_of: Counter[Hashable] = Counter()
        self._bytes_of: Counter[Hashable] = Counter()

    def deadline(self) -> float:
        """When a call that comes now is not held any longer, on the clock."""
        clock = self._surroundings.clock
        return clock.seconds() + self.limits.seconds if clock is not None else 0.0

    async def wait(self, change: Callable[[], Deferred[None]], deadline: float, holder: Holder, refusal: Abort) -> None:
        """Until `change` fires. Raises `refusal` when there is no room for one more, or the deadline comes first."""
        clock = self._surroundings.clock
        if clock is None or clock.seconds() >= deadline or not self._fits(holder):
            self.refused += 1
            raise refusal
        self._count(holder, 1)
        self.held += 1
        try:
            await change().addTimeout(deadline - clock.seconds(), clock)
        except TimeoutError:
            self.refused += 1
            raise refusal from None
        finally:
            self._count(holder, -1)

    def _fits(self, holder: Holder) -> bool:
        limits = self.limits
        if self.calls >= limits.calls or self.bytes + holder.size > limits.bytes:
            return False
        return holder.host is None or (
            self._calls_of[holder.host] < limits.calls_of_host
            and self._bytes_of[holder.host] + holder.size <= limits.bytes_of_host
        )

    def _count(self, holder: Holder, by: int) -> None:
        self.calls += by
        self.bytes += by * holder.size
        if holder.host is None:
            return
        self._calls_of[holder.host] += by
        self._bytes_of[holder.host] += by * holder.size
        if not self._calls_of[holder.host]:
            del self._calls_of[holder.host], self._bytes_of[holder.host]
