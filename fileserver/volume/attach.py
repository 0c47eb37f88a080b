"""Attach a volume at its first use: open it, read its header, recover what was not closed cleanly, mark it in use.

Each disk step is a state of its own; other volumes never wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import Logger

from afs.errors import VolumeError
from fileserver.interfaces import Damaged, IVolumeFiles, NoSuchVolume, VolumeHeader
from fileserver.volume.fsa import Event
from fileserver.volume.vn import blocks
from fileserver.volume.volume import FILE_SERVER, UNIQUIFIER_AHEAD, Volume
from rx.errors import Abort

log = Logger(namespace="fileserver.volume")


async def attach(volume: Volume) -> None:
    """From PREATTACHED to ATTACHED. Raises Abort with what the client that wanted it is told (dafs.md sections 1 and
    2).
    """
    volume.send(Event.DEMAND)
    files = None
    try:
        with _step(volume, Event.READ_HEADER_FILE):
            files = await volume.partition.open_volume(volume.id)
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
                await recover(files, header)
        await _begin_service(volume, files, header)
    except (Damaged, NoSuchVolume) as problem:
        log.error("{volume} cannot be attached: {problem}", volume=volume, problem=problem)
        await _abandon(files)
        volume.send(Event.FAILED)
        raise Abort(VolumeError.VSALVAGE) from problem
    except OSError as problem:
        log.error("{volume} cannot be attached now: {problem}", volume=volume, problem=problem)
        await _abandon(files)
        volume.closed()
        volume.send(Event.NOT_BLESSED)
        raise Abort(VolumeError.VOFFLINE) from problem
    volume.send(Event.ATTACH_OK)


async def recover(files: IVolumeFiles, header: VolumeHeader) -> None:
    """Make a volume true again whose last user did not close it: lengths from the contents, counts from the index,
    the
    uniquifier beyond all that were given out.

    Raises Damaged when the index cannot be read.
    """
    file_count = disk_used = highest = 0
    for number, unique in await files.vnodes():
        vnode = await files.read_vnode(number)
        length = await files.content_length(number)
        if length != vnode.length:  # a store was cut off between the content and the record
            log.warn(
                "volume {id} vnode {number}: {old} bytes were {new}",
                id=header.id,
                number=number,
                old=vnode.length,
                new=length,
            )
            vnode.length = length
            vnode.data_version += 1
            await files.write_vnode(number, vnode)
        file_count += 1
        disk_used += blocks(vnode.length)
        highest = max(highest, unique)
    log.warn(
        "volume {id} was not closed cleanly: {old} files and {used} blocks were {count} and {blocks}",
        id=header.id,
        old=header.file_count,
        used=header.disk_used,
        count=file_count,
        blocks=disk_used,
    )
    header.file_count = file_count
    header.disk_used = disk_used
    if highest >= header.uniquifier:
        header.uniquifier = highest + 1 + UNIQUIFIER_AHEAD


async def _begin_service(volume: Volume, files: IVolumeFiles, header: VolumeHeader) -> None:
    breaks = header.needs_callback
    header.needs_callback = False
    header.in_use = FILE_SERVER
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


async def _abandon(files: IVolumeFiles | None) -> None:
    if files is not None:
        await files.close()
