"""Take a volume offline: wait for its users, write its header as cleanly closed, close its files."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from fileserver.interfaces import StoreError
from fileserver.volume.fsa import Event, VolumeState
from fileserver.volume.volume import Volume

log = Logger(namespace="fileserver.volume")


async def take_offline(volume: Volume, event: Event = Event.OFFLINE) -> None:
    """From any settled state; UNATTACHED afterwards, or ERROR when it turned out damaged. `event` is OFFLINE or
    SHUTDOWN.
    """
    state = await volume.settled()
    if state == VolumeState.ATTACHED:
        volume.send(event)
        await _close(volume)
    elif state == VolumeState.PREATTACHED:
        volume.send(event)
    else:
        while volume.state in (VolumeState.GOING_OFFLINE, VolumeState.SHUTTING_DOWN, VolumeState.SALVAGE_REQ):
            await volume.changed()
        await volume.settled()


def condemn(volume: Volume, reason: str) -> None:
    """What is on disk contradicts itself: nobody new gets it; once its users have left it is closed and in ERROR."""
    volume.condemned = True
    if volume.state != VolumeState.ATTACHED:
        return  # already on its way out
    log.critical("{volume} taken out of service: {reason}", volume=volume, reason=reason)
    volume.send(Event.DAMAGED)
    ensureDeferred(_close(volume)).addErrback(lambda failure: log.failure("closing {volume}", failure, volume=volume))


async def _close(volume: Volume) -> None:
    await volume.drained()
    volume.send(Event.DRAINED)
    try:
        await _put_away(volume)
    except (OSError, StoreError) as problem:
        log.error("{volume} was not closed cleanly: {problem}", volume=volume, problem=problem)
        volume.condemned = True
    if volume.condemned:
        volume.send(Event.FAILED)
    else:
        volume.send(Event.OFFLINE_OK)


async def _put_away(volume: Volume) -> None:
    header = volume.header
    header.in_use = 0
    header.needs_salvaged |= volume.condemned
    try:
        if volume.writable or volume.marked or volume.condemned:
            volume.send(Event.WRITE_HEADER)
            try:
                await volume.write_header()
            finally:
                volume.send(Event.RESUME_OFFLINE)
    finally:
        files = volume.closed()
        if files is not None:
            await files.close()
