"""Calls that wait for the database to change."""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from afs.errors import VLError
from rx.errors import Abort

WAITING = 128
"""Calls waiting at a time: an eighth of those a server runs (rx.turns), so that they never keep others from running."""

WAITING_PER_HOST = 16
"""Of one host, for the same reason; a server needs one."""

WAIT_SECONDS = 60.0
"""The longest wait. A watcher asks again; one that has gone away is forgotten by then."""


class Watchers:
    """Waits until `wake` or a deadline."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[Deferred[None], str] = {}
        self._of_host: Counter[str] = Counter()
        self.closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, host: str, seconds: float) -> None:
        """Until the next `wake`, `seconds` at most. Raises VL_NOMEM when too many wait already."""
        if self.closed or seconds <= 0:
            return
        if len(self._waiting) >= WAITING or self._of_host[host] >= WAITING_PER_HOST:
            raise Abort(VLError.VL_NOMEM, "too many calls wait for changes")
        woken: Deferred[None] = Deferred()
        timer = self._clock.callLater(min(seconds, WAIT_SECONDS), self._end, woken)
        self._waiting[woken] = host
        self._of_host[host] += 1
        try:
            await woken
        finally:
            self._forget(woken)
            if timer.active():
                timer.cancel()

    def seconds(self) -> float:
        """What the clock says."""
        return self._clock.seconds()

    def wake(self) -> None:
        """Something has changed."""
        for woken in list(self._waiting):
            self._end(woken)

    def close(self) -> None:
        """Nobody waits any more."""
        self.closed = True
        self.wake()

    def _end(self, woken: Deferred[None]) -> None:
        self._forget(woken)
        woken.callback(None)

    def _forget(self, woken: Deferred[None]) -> None:
        host = self._waiting.pop(woken, None)
        if host is None:
            return
        self._of_host[host] -= 1
        if not self._of_host[host]:
            del self._of_host[host]
