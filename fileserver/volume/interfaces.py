"""What volumes need from those around them, and what a volume is given at birth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from fileserver.volume.durability import Durability
from fileserver.volume.fsa import Event, Watcher, ignore
from fileserver.volume.vlru import Vlru
from fileserver.volume.vn import VnodeCache

if TYPE_CHECKING:
    from fileserver.volume.volume import Volume


HOLD_LIMIT = 150.0
"""`--hold-limit`: seconds a call waits at most. A salvage of an ordinary volume takes seconds; beyond minutes a client
does better to look at other replicas.
"""

HELD_CALLS = 1024
"""In all: an eighth of the calls Rx lets in (rx.limits)."""

HELD_CALLS_OF_HOST = 128
"""Of one host: what some dozens of its processes can have under way."""

HELD_BYTES = 64 << 20
"""In all: a quarter of what Rx buffers at most (rx.limits)."""

HELD_BYTES_OF_HOST = 16 << 20
"""Of one host: 46 stores with their windows full."""


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """The bounds of calls held for a volume (holding.py)."""

    seconds: float = HOLD_LIMIT
    calls: int = HELD_CALLS
    calls_of_host: int = HELD_CALLS_OF_HOST
    bytes: int = HELD_BYTES
    bytes_of_host: int = HELD_BYTES_OF_HOST
    offline_seconds: float | None = None
    """How long a volume on its way offline waits for the calls on it; None: as long as they take."""


class VolumeCallbacks(Protocol):
    """Who keeps the callback promises (fileserver/procedures)."""

    def break_volume(self, volume_id: int) -> None:
        """Void every promise for the volume and tell the holders, in the background: the caller does not wait for any
        client.
        """
        ...


class Damages(Protocol):
    """Who is told of damage (salvaging.py)."""

    def take(self, volume: Volume, event: Event, reason: str) -> bool:
        """A volume is damaged, and nobody uses it: `event` (DAMAGED, CONDEMNED) makes it SALVAGING, else it is ERROR.
        Returns which.
        """
        ...

    def expects(self, volume: Volume) -> bool:
        """Whether damage of the volume would be repaired, so that it is worth waiting for."""
        ...

    def busy(self, volume: Volume) -> bool:
        """Whether the volume's group is under salvage now: nobody else may have its files open."""
        ...

    def join(self, volume: Volume) -> None:
        """A volume of such a group, SALVAGING since just now, comes back with the others."""
        ...


class NoSalvager:
    """Damage is for an operator."""

    def take(self, volume: Volume, event: Event, reason: str) -> bool:
        volume.send(Event.FAILED)
        return False

    def expects(self, volume: Volume) -> bool:
        return False

    def busy(self, volume: Volume) -> bool:
        return False

    def join(self, volume: Volume) -> None:
        raise AssertionError(f"{volume} has no salvage to wait for")


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
    vlru: Vlru[Volume] = field(default_factory=Vlru)
    holds: HoldLimits = field(default_factory=HoldLimits)
    salvages: Damages = field(default_factory=NoSalvager)
    durability: Durability = field(default_factory=Durability)

    def seconds(self) -> int:
        return int(self.now())

    async def breathe(self) -> None:
        """Let other calls have the reactor, in the middle of long work on a store that answers without waiting."""
        if self.clock is not None:
            await deferLater(self.clock, 0)
