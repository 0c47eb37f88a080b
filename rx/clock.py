"""Time as a port sees it: a steady clock for the engine, so that setting the machine's clock ends no call, and Unix
time for security classes, whose tickets are dated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.base import ReactorBase


class Clock(NamedTuple):
    """Two readings, in seconds. They differ by more than a constant only when somebody sets the machine's clock."""

    steady: Callable[[], float]
    unix: Callable[[], float]


def clock_of(reactor: Any) -> Clock:
    """The machine's clocks for a reactor that waits in real time. A reactor of tests tells both times itself."""
    if isinstance(reactor, ReactorBase):
        return Clock(time.monotonic, time.time)
    return Clock(reactor.seconds, reactor.seconds)


def run_steadily(reactor: Any) -> None:
    """Let the delayed calls of a real reactor, those pending included, follow the steady clock too.

    Twisted's follow the machine's clock, and wait an hour longer when that is set back by one. For programs: a library
    leaves the reactor of others as it is. An `RxPort` checks its times itself, so it never acts early on either.
    """
    if not isinstance(reactor, ReactorBase) or reactor.seconds is time.monotonic:
        return
    before = reactor.seconds()
    reactor.seconds = time.monotonic
    for delayed in reactor.getDelayedCalls():
        left = delayed.getTime() - before
        delayed.seconds = time.monotonic  # type: ignore[attr-defined]
        delayed.reset(max(0.0, left))
