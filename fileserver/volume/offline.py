"""Take a volume offline: wait for its users, write its header as cleanly closed, close its files."""

from __future__ import annotations

from twisted.internet.defer import TimeoutError, ensureDeferred  # noqa: A004
from twisted.logger import Logger

from afs.errors import VolumeError
from fileserver.interfaces import StoreError
from fileserver.volume.fsa import EXCLUSIVE, GOING_AWAY, Event, VolumeState
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


async def soft_detach(volume: Volume) -> None:
    """From ATTACHED without users to PREATTACHED; whoever wants it meanwhile waits, and sees no state in between."""
    assert volume.state is VolumeState.ATTACHED and not volume.users, volume
    volume.send(Event.OFFLINE, Event.DRAINED)
    if await _closed(volume):
        volume.send(Event.OFFLINE_OK, Event.PREATTACH)


def in_hand(volume: Volume) -> bool:
    """Whether a flow or the volume server has it, so that a `withdraw` would wait for that."""
    return volume.borrowed or volume.state in EXCLUSIVE or volume.state in GOING_AWAY


async def withdraw(volume: Volume) -> bool:
    """Close it, sound as it may be, for the salvage of its group. Whether it is now SALVAGING; else it is out of
    service anyway.
    """
    while True:
        state = await volume.settled()
        away = state is VolumeState.UNATTACHED and volume.borrowed  # until it is given back
        if away or state in GOING_AWAY or state is VolumeState.SALVAGE_REQ:
            await volume.changed()
        elif state in (VolumeState.PREATTACHED, VolumeState.UNATTACHED):
            volume.send(Event.DAMAGED)
        elif state is VolumeState.ATTACHED:
            volume.send(Event.DAMAGED)
            await volume.drained()
            volume.send(Event.DRAINED)
            if await _closed(volume):
                volume.send(Event.CONDEMNED)
        else:
            return state is VolumeState.SALVAGING


def condemn(volume: Volume, reason: str) -> None:
    """What is on disk contradicts itself: nobody new gets it; once its users have left it is closed and to be salvaged,
    or in ERROR.
    """
    if volume.condemned or volume.state != VolumeState.ATTACHED:
        volume.condemned = True
        return  # already on its way out
    volume.condemned = True
    log.critical("{volume} taken out of service: {reason}", volume=volume, reason=reason)
    volume.send(Event.DAMAGED)
    ensureDeferred(_close(volume, reason)).addErrback(
        lambda failure: log.failure("closing {volume}", failure, volume=volume)
    )


async def _close(volume: Volume, reason: str = "damaged") -> None:
    await _let_go(volume)
    volume.send(Event.DRAINED)
    if await _closed(volume, reason):
        volume.send(Event.OFFLINE_OK)


async def _let_go(volume: Volume) -> None:
    """Until nobody uses it. After the time that calls have for that, they are ended as if they came too late."""
    seconds, clock = volume.surroundings.holds.offline_seconds, volume.surroundings.clock
    if seconds is not None and clock is not None and volume.users:
        waiting = ensureDeferred(volume.drained())
        waiting.addTimeout(seconds, clock)
        try:
            await waiting
        except TimeoutError:
            for holder in list(volume.holders):
                log.warn("{volume}: a call of {host} is cut off", volume=volume, host=holder.host)
                holder.interrupt(VolumeError.VOFFLINE)
    await volume.drained()


async def _closed(volume: Volume, reason: str = "damaged") -> bool:
    """Put an OFFLINING volume away. False when damage was found, and its state says so."""
    try:
        await _put_away(volume)
    except StoreError as problem:
        volume.condemned, reason = True, str(problem)
    except OSError as problem:
        # Its header still says that it is in use: the next attach recovers what that may mean.
        log.error("{volume} was not closed cleanly: {problem}", volume=volume, problem=problem)
    if not volume.condemned:
        return True
    volume.condemned = False
    volume.surroundings.salvages.take(volume, Event.CONDEMNED, reason)
    return False


async def _put_away(volume: Volume) -> None:
    header = volume.header
    if not volume.uncertain:
        header.in_use = 0  # else the next attach makes it true again, as after a crash
    header.needs_salvaged |= volume.condemned
    try:
        if volume.writable or volume.marked or volume.condemned:
            volume.send(Event.WRITE_HEADER)
            try:
                await volume.surroundings.durability.closing(volume)
                await volume.write_header()
            finally:
                volume.send(Event.RESUME_OFFLINE)
    finally:
        files = volume.closed()
        if files is not None:
            await files.close()
