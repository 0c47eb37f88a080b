"""The way in to a partition's volumes: open, or frozen while the partition is handed over or put away.

Frozen, calls wait; when it is decided what becomes of the partition they go on, or are refused as the decision says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred

from afs.errors import VolumeError
from fileserver.volume.holding import Holder
from rx.errors import Abort

Refusal = Callable[[Holder], Awaitable[Abort]]
"""What a caller is told who waited in vain, as soon as that caller may be told."""


async def no_volume(holder: Holder) -> Abort:
    """To look for the volume anew."""
    return Abort(VolumeError.VNOVOL)


class Gate:
    """One partition's."""

    def __init__(self) -> None:
        self.frozen = False
        self.held = 0
        """Calls that ever waited."""
        self._refusal: Refusal | None = None
        self._waiting: list[Deferred[None]] = []

    def freeze(self) -> None:
        """From now on who comes waits."""
        self.frozen = True

    def thaw(self) -> None:
        """Those who wait go on."""
        self.frozen = False
        self._tell()

    def shut(self, refusal: Refusal = no_volume) -> None:
        """Those who wait are refused, and so is everybody who comes to this gate."""
        self._refusal = refusal
        self._tell()

    async def check(self, holder: Holder) -> None:
        """Raises Abort when it was shut."""
        if self._refusal is not None:
            raise await self._refusal(holder)

    def changed(self) -> Deferred[None]:
        """Fires when it is thawed or shut. Cancel it to stop waiting."""
        waiter: Deferred[None] = Deferred(lambda waiter: self._waiting.remove(waiter))
        self.held += 1
        self._waiting.append(waiter)
        return waiter

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)
