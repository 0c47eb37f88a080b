"""Attach a volume at its first use: open it, read its header, recover what was not closed cleanly, mark it in use.

Each disk step is a state of its own; other volumes never wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import Logger

from afs.errors import VolumeError
from fileserver.interfaces import Damaged, Fenced, IVolumeFiles, NoSuchVolume, VolumeHeader
from fileserver.volume.fsa import Event
from fileserver.volume.recovery import recover
from fileserver.volume.volume import FILE_SERVER, Volume
from rx.errors import Abort

log = Logger(namespace="fileserver.volume")


async def attach(volume: Volume) -> None:
    """From PREATTACHED to ATTACHED, or SALVAGING when that is needed first; PREATTACHED still where it is not known
    whether the partition is ours. Raises Abort with what the client that wanted it is told (dafs.md sections 1 and 2).
    """
    volume.send(Event.DEMAND)
    files = None
    try:
        with _step(volume, Event.READ_HEADER_FILE):
            files = await volume.partition.open_volume(volume.id)
            volume.parent = files.parent
        if volume.surroundings.salvages.busy(volume):
            await files.close()
            volume.send(Event.DAMAGED)
            volume.surroundings.salvages.join(volume)
            return
        with _step(volume, Event.READ_HEADER):
            header = await files.read_header()
        if header.destroy_me or not header.blessed:
            await files.close()
            volume.send(Event.NOT_BLESSED)
            raise Abort(VolumeError.VNOVOL)
        if not header.in_service:
            await files.close()
            volume.send(Event.NOT_IN_SERVICE)
            raise Abort(VolumeError.VOFFLINE)
        if header.needs_salvaged:
            raise Damaged("marked as needing a salvage")
        if header.in_use and header.type == 0:
            with _step(volume, Event.READ_BITMAP):
                await recover(files, header, volume.surroundings.breathe)
        await _begin_service(volume, files, header)
    except (Damaged, NoSuchVolume) as problem:
        log.error("{volume} cannot be attached: {problem}", volume=volume, problem=problem)
        await _abandon(volume, files)
        if volume.surroundings.salvages.take(volume, Event.DAMAGED, str(problem)):
            return
        raise Abort(VolumeError.VSALVAGE) from problem
    except Fenced as unsure:
        log.warn("{volume} is not attached: {unsure}", volume=volume, unsure=unsure)
        await _abandon(volume, files)
        volume.send(Event.NOT_BLESSED)
        return
    except OSError as problem:
        log.error("{volume} cannot be attached now: {problem}", volume=volume, problem=problem)
        await _abandon(volume, files)
        volume.send(Event.NOT_BLESSED)
        raise Abort(VolumeError.VOFFLINE) from problem
    volume.send(Event.ATTACH_OK)


async def _begin_service(volume: Volume, files: IVolumeFiles, header: VolumeHeader) -> None:
    breaks = header.needs_callback
    header.needs_callback = False
    header.in_use = FILE_SERVER
    header.offline_message = b""  # says why it was offline, which it is no more (volume.c attach2)
    volume.opened(files, header)
    if volume.writable or breaks:
        with _step(volume, Event.WRITE_HEADER):
            await volume.write_header()
    if breaks:
        volume.surroundings.callbacks.break_volume(volume.id)


@contextmanager
def _step(volume: Volume, event: Event) -> Iterator[None]:
    volume.send(event)
    try:
        yield
    finally:
        volume.send(Event.RESUME_ATTACH)


async def _abandon(volume: Volume, files: IVolumeFiles | None) -> None:
    volume.closed()
    if files is not None:
        await files.close()
