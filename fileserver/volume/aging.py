"""Room for attached volumes: idle ones are detached softly, now and then and when there are too many.

A volume detached softly is PREATTACHED again before anybody can look at it: a call that comes meanwhile waits the few
milliseconds and attaches it anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from fileserver.interfaces import IPartition
from fileserver.volume.fsa import VolumeState
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.offline import soft_detach
from fileserver.volume.volume import Volume

log = Logger(namespace="fileserver.volume")

SPARE = 16
"""When there is no room, this part of it is made free at once, so that looking for the longest idle stays rare."""

TURN_SECONDS = 10
"""How often the VLRU is asked what is due, at most: its shortest interval is one of these."""


class Room:
    """How many volumes are attached, and whose turn it is to go."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._vlru = surroundings.vlru
        self._vlru.begin(surroundings.now())
        self._coming = 0
        self.detached = 0

    @property
    def period(self) -> float:
        """Seconds between calls of `age`."""
        return float(min(self._vlru.settings.interval, TURN_SECONDS))

    @asynccontextmanager
    async def one_more(self, partition: IPartition) -> AsyncIterator[None]:
        """Around attaching a volume of a partition: others make room for it. Where all are in use there is one too many
        for a while: no client is refused for that, nor waits for the disk of another partition.
        """
        self._coming += 1
        try:
            room = self._vlru.settings.room
            excess = len(self._vlru) + self._coming - self._leaving - room
            if excess > 0:
                oldest = self._vlru.oldest(excess + room // SPARE, _free)
                away = self._detach([volume for volume in oldest if volume.partition is not partition])
                ensureDeferred(away).addErrback(_failed)
                await self._detach([volume for volume in oldest if volume.partition is partition])
            yield
        finally:
            self._coming -= 1

    async def age(self) -> None:
        """Make the passes that are due."""
        await self._detach(self._vlru.turn(self._surroundings.now(), _free))

    @property
    def _leaving(self) -> int:
        return self._vlru.lengths()[4]

    async def _detach(self, volumes: Iterable[Volume]) -> None:
        await gatherResults([ensureDeferred(self._soft_detach(volume)) for volume in volumes])

    async def detach_idle(self, volume: Volume, before: float) -> None:
        """Detach a volume that was used last before that time, if nobody has it now."""
        if _free(volume) and volume.last_get < before:
            await self._soft_detach(volume)

    async def _soft_detach(self, volume: Volume) -> None:
        self._vlru.hold(volume)
        await soft_detach(volume)
        self.detached += 1


def _failed(failure: Failure) -> None:
    """Nobody waits for it: a defect."""
    log.failure("volumes were not detached", failure)


def _free(volume: Volume) -> bool:
    return not volume.users and not volume.borrowed and volume.state is VolumeState.ATTACHED
