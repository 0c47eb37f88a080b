"""The way in to a partition's volumes: open, or frozen while the partition is handed over or put away.

Frozen, calls wait; when it is decided what becomes of the partition they go on, or are refused as the decision says.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from fileserver.volume.holding import Holder
from rx.errors import Abort

Refusal = Callable[[Holder], Abort]
"""What a caller is told who waited in vain."""


class Gate:
    """One partition's."""

    def __init__(self) -> None:
        self.frozen = False
        self._refusal: Refusal | None = None
        self._waiting: list[Deferred[None]] = []

    def freeze(self) -> None:
        """From now on who comes waits."""
        self.frozen = True

    def thaw(self) -> None:
        """Those who wait go on."""
        self.frozen = False
        self._tell()

    def shut(self, refusal: Refusal) -> None:
        """Those who wait are refused, and so is everybody who comes to this gate."""
        self._refusal = refusal
        self._tell()

    def check(self, holder: Holder) -> None:
        """Raises what `shut` was given."""
        if self._refusal is not None:
            raise self._refusal(holder)

    def changed(self) -> Deferred[None]:
        """Fires when it is thawed or shut. Cancel it to stop waiting."""
        waiter: Deferred[None] = Deferred(lambda waiter: self._waiting.remove(waiter))
        self._waiting.append(waiter)
        return waiter

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)
