"""Every timer of the engine, and the table of deadlines that wakes connections.

A call keeps its deadlines in a plain list indexed by `Timer`; setting one is a list assignment. The heap holds
connections, not timers: one entry each, pushed only when a deadline falls before the connection's present wake-up. A
wake-up that finds nothing due just asks for the next.
"""

from __future__ import annotations

from enum import IntEnum
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import NamedTuple, Protocol


class Timer(IntEnum):
    """A call's timers."""

    RESEND = 0
    """The oldest unacknowledged packet has had its round trip and the peer's delay: it is lost."""

    ACK = 1
    """Data came that nobody asked to acknowledge at once: tell the peer before it retransmits."""

    KEEPALIVE = 2
    """Nothing was sent for a sixth of the dead time: ping, so that each end knows the other lives."""

    LIFE = 3
    """The peer was silent for the dead time, or sent only pings for the idle time: give the call up."""

    HARD = 4
    """The call as a whole may take no longer, whatever the peer says."""

    REACH = 5
    """The client has not yet shown that our packets reach it: ping again (RX_CHECKREACH)."""


NO_DEADLINES = [inf] * len(Timer)

SOFT_ACK_SECONDS = 0.100
"""Delay of an acknowledgement that nobody asked for (rx_softAckDelay)."""

PINGS_PER_DEAD_TIME = 6
"""A peer is declared dead after this many pings went unanswered (rx_SetConnSecondsUntilNatPing's neighbours in rx.c).
"""

PINGS_IN_SILENCE = 3
"""Pings leave this many times as often once an interval has passed in silence: six tries are few on a bad network."""

REACH_PING_SECONDS = 2.0
"""Interval of check-reach pings (RX_CHECKREACH_PING ... 2 s)."""

REACH_VALID_SECONDS = 60.0
"""How long a peer that answered a ping counts as reachable (RX_CHECKREACHTTL)."""

ABORT_DELAY_SECONDS = 3.0
"""How long the next of too many equal aborts waits (rxi_callAbortDelay, rxi_connAbortDelay)."""

NAT_KEEPALIVE_SECONDS = 20.0
"""What the cache manager uses (afs_conn.c): translators forget a silent flow of UDP after 30 s (RFC 4787 4.3 at worst).
"""

CHALLENGE_SECONDS = 2.0
"""A challenge is repeated after this long without response (rxi_ChallengeEvent)."""

CHALLENGE_TRIES = 50
"""Then the client is taken not to want to authenticate."""

DEAD_SECONDS = 12.0
"""RX_DEFAULT_DEAD_TIME."""

LEAST_DEAD_SECONDS = 6.0
"""rx.c allows no shorter dead time: a ping a second is the most it will send."""

IDLE_SECONDS = 60.0
"""RX_IDLE_DEAD_TIME, of services."""

BUSY_PATIENCE_SECONDS = 60.0
"""A peer that answers BUSY counts as alive this long; then the call is lost, rather than tried for ever."""


BEGINNING_SECONDS = 8.0
"""How long a call may go on arriving without its first packet: four retransmissions, which even a network that loses
one packet in ten does not all lose. Then its beginning went to a server that was here before, and the peer, which was
told so, does not have it any more.
"""


class Patience(NamedTuple):
    """How long the calls of a connection may take, in seconds. `idle` and `hard` may be inf: no such limit."""

    dead: float = DEAD_SECONDS
    idle: float = IDLE_SECONDS
    hard: float = inf


class Sleeper(Protocol):
    """What the table wakes."""

    wake_at: float

    def wake(self, now: float) -> float:
        """Do what is due; return the next deadline, or inf."""


class Deadlines:
    """Who wants to be woken when.

    An entry of the heap is stale once its sleeper is to wake at another time. Stale ones are swept out before they
    outnumber the others, so that a connection's calls, and connections that are forgotten, leave nothing behind.
    """

    __slots__ = ("_armed", "_heap", "_tick")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Sleeper]] = []
        self._armed = 0  # sleepers that are to wake at all
        self._tick = count()

    def arm(self, sleeper: Sleeper, when: float) -> None:
        """Wake at `when`, unless it wakes earlier anyway."""
        if when < sleeper.wake_at:
            if sleeper.wake_at == inf:
                self._armed += 1
            sleeper.wake_at = when
            heap = self._heap
            heappush(heap, (when, next(self._tick), sleeper))
            if len(heap) > 2 * self._armed + STALE_DEADLINES:
                heap[:] = [entry for entry in heap if entry[2].wake_at == entry[0]]
                heapify(heap)

    def next(self) -> float | None:
        """The earliest wake-up. It may be one that finds nothing to do."""
        heap = self._heap
        while heap and heap[0][2].wake_at != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def run(self, now: float) -> None:
        """Wake everyone who is due."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, sleeper = heappop(heap)
            if when != sleeper.wake_at:
                continue
            self.forget(sleeper)
            following = sleeper.wake(now)
            if following < inf:
                self.arm(sleeper, max(following, now + LEAST_SLEEP_SECONDS))

    def forget(self, sleeper: Sleeper) -> None:
        """Wake it no more."""
        if sleeper.wake_at < inf:
            self._armed -= 1
            sleeper.wake_at = inf

    def __len__(self) -> int:
        """Entries kept, stale ones too."""
        return len(self._heap)


LEAST_SLEEP_SECONDS = 0.001
"""A wake-up re-arms no nearer than this, so that rounding cannot make it spin."""

STALE_DEADLINES = 64
"""Entries that may be stale besides as many as are not: sweeping then costs each push next to nothing."""
