"""What volumes need from those around them, and what a volume is given at birth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from fileserver.volume.fsa import Watcher, ignore
from fileserver.volume.vn import VnodeCache


class VolumeCallbacks(Protocol):
    """Who keeps the callback promises (fileserver/procedures)."""

    def break_volume(self, volume_id: int) -> None:
        """Void every promise for the volume and tell the holders, in the background: the caller does not wait for any
        client.
        """
        ...


class NoCallbacks:
    """For those who serve no clients."""

    def break_volume(self, volume_id: int) -> None:
        """Nobody holds a promise."""


@dataclass(slots=True)
class Surroundings:
    """Shared by all volumes of a server. `now` is Unix time; `callbacks` may be set once the procedures exist.

    Without a `clock` no call is held: a busy volume is refused at once.
    """

    now: Callable[[], float]
    callbacks: VolumeCallbacks = field(default_factory=NoCallbacks)
    vnodes: VnodeCache = field(default_factory=VnodeCache)
    watch: Watcher = ignore
    clock: IReactorTime | None = None

    def seconds(self) -> int:
        return int(self.now())

    async def breathe(self) -> None:
        """Let other calls have the reactor, in the middle of long work on a store that answers without waiting."""
        if self.clock is not None:
            await deferLater(self.clock, 0)
