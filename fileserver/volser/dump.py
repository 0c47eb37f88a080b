"""Writing a volume as a dump stream: all of it, or what changed since a date (dumpstuff.c, volume-format.md section 9).

Every directory comes before any file. A vnode that did not change is there with its number alone, which tells
whoever restores that it exists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from afs.acl import AccessList, BadAccessList
from afs.errors import VolserError
from fileserver.interfaces import IVolumeFiles, Vnode, VolumeHeader
from fileserver.volser.cloning import BACKUP, READ_ONLY
from fileserver.volser.dump_format import (
    ACCESS_LIST,
    BEGIN,
    BEGIN_MAGIC,
    DATE_COUNT,
    DATES,
    DUMP_VERSION,
    DUMPED,
    END,
    END_MAGIC,
    LONG_LENGTH,
    MESSAGE,
    MOTTO,
    NAME,
    SHORT_LENGTH,
    VNODE_BEGIN,
    VNODE_FIRST,
    VNODE_GROUP,
    VNODE_LAST,
    VOLUME_FIRST,
    VOLUME_HEADER,
    VOLUME_LAST,
    VOLUME_MIDDLE,
    VOLUME_VERSION,
    VOLUME_WEEK,
    WEEK,
)
from fileserver.volser.vnode_records import MAX_CONTENT, packed
from fileserver.volume.vn import DIRECTORY
from rx.errors import Abort
from rx.streams import Sink

log = Logger(namespace="fileserver.volser")

PIECE_SIZE = 1 << 20
"""Content is read in pieces of this size, in a thread of the store, one while the one before is sent."""

BATCH_SIZE = 64 * 1024
"""Smaller things are collected up to this size, and sent together."""

COUNT = 512
"""Vnodes read at a time, with their contents up to MAX_CONTENT each, in a thread, while those before are sent: few
enough to be held twice, many enough that handing them over costs nothing, on a busy machine too.
"""

BREATH = 256
"""Vnodes after which other calls have the reactor."""

WORD = 0xFFFFFFFF
"""Dates are signed on the wire, and compared and dumped unsigned."""


@dataclass(frozen=True, slots=True)
class Dump:
    """What is dumped of a volume: all its vnodes with `since` 0, otherwise those changed at that time or later.

    `every_directory`: directories are there in full, changed or not.
    """

    header: VolumeHeader
    files: IVolumeFiles
    since: int = 0
    every_directory: bool = True

    async def write(self, sink: Sink, breathe: Callable[[], Awaitable[None]]) -> None:
        """All of the stream. Raises Abort VOLSERREAD_DUMPERROR for a vnode that is not as long as its record says."""
        batch = _Batch(sink)
        batch.add(_dump_header(self.header, self.since & WORD))
        batch.add(_volume_header(self.header))
        numbers = await self._numbers()
        ahead = ensureDeferred(self._read(numbers[:COUNT]))
        try:
            for start in range(0, len(numbers), COUNT):
                found = await ahead
                ahead = ensureDeferred(self._read(numbers[start + COUNT : start + 2 * COUNT]))
                await breathe()
                for number, (vnode, content) in zip(numbers[start : start + COUNT], found, strict=True):
                    await self._vnode(number, vnode, content, batch)
                    await batch.send_if_full()
        finally:
            ahead.addErrback(_forget)
        batch.add(END.pack(magic=END_MAGIC))
        await batch.send()

    async def _read(self, numbers: Sequence[int]) -> Sequence[tuple[Vnode, bytes | None]]:
        return await self.files.read_vnodes(numbers, MAX_CONTENT, self._wants) if numbers else ()

    async def _vnode(self, number: int, vnode: Vnode, content: bytes | None, batch: _Batch) -> None:
        if content is not None and len(content) != vnode.length:
            raise self._damaged(number, f"has another length than its record says, {vnode.length} bytes")
        if content is not None and vnode.type != DIRECTORY:
            batch.add(packed(number, vnode))
            batch.add(content)
            return
        batch.add(VNODE_BEGIN.pack(number=number, uniquifier=vnode.uniquifier))
        if self._wants(vnode):
            batch.add(_vnode_fields(self.header.id, number, vnode))
            if content is not None:
                batch.add(content)
            else:
                await self._content(number, vnode.length, batch)

    async def size(self) -> int:
        """Bytes `write` would write."""
        size = len(_dump_header(self.header, 0)) + len(_volume_header(self.header)) + END.size
        numbers = await self._numbers()
        for start in range(0, len(numbers), COUNT):
            some = numbers[start : start + COUNT]
            for number, (vnode, _) in zip(some, await self.files.read_vnodes(some, -1, self._wants), strict=True):
                size += VNODE_BEGIN.size
                if self._wants(vnode):
                    size += len(_vnode_fields(self.header.id, number, vnode)) + vnode.length
        return size

    async def _numbers(self) -> list[int]:
        """Directories, then files."""
        numbers = [number for number, _ in await self.files.vnodes()]
        return [number for number in numbers if number & 1] + [number for number in numbers if not number & 1]

    def _wants(self, vnode: Vnode) -> bool:
        return vnode.server_modify_time >= self.since & WORD or (self.every_directory and vnode.type == DIRECTORY)

    async def _content(self, number: int, length: int, batch: _Batch) -> None:
        found = await self.files.content_length(number)
        if found != length:
            raise self._damaged(number, f"has {found} bytes where its record says {length}")
        if not length:
            return
        piece = await self._piece(number, 0, min(length, PIECE_SIZE))
        offset = len(piece)
        while offset < length:
            following = ensureDeferred(self._piece(number, offset, min(length - offset, PIECE_SIZE)))
            try:
                batch.add(piece)
                await batch.send()
            except BaseException:
                following.addErrback(_forget)
                following.cancel()
                raise
            piece = await following
            offset += len(piece)
        batch.add(piece)

    async def _piece(self, number: int, offset: int, size: int) -> bytes:
        piece = await self.files.read(number, offset, size)
        if len(piece) != size:
            raise self._damaged(number, f"ends at {offset + len(piece)}")
        return piece

    def _damaged(self, number: int, what: str) -> Abort:
        message = f"volume {self.header.id}: vnode {number} {what}"
        log.error("{message}; not dumped", message=message)
        return Abort(VolserError.VOLSERREAD_DUMPERROR, message)


class _Batch:
    """What is to be sent next. A piece of content goes as it is, without being copied together."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    async def send_if_full(self) -> None:
        if self._size >= BATCH_SIZE:
            await self.send()

    async def send(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        small: list[bytes] = []
        for part in parts:
            if len(part) < BATCH_SIZE:
                small.append(part)
                continue
            if small:
                await self._sink.write(b"".join(small))
                small.clear()
            await self._sink.write(part)
        if small:
            await self._sink.write(b"".join(small))


def _dump_header(header: VolumeHeader, since: int) -> bytes:
    begin = BEGIN.pack(magic=BEGIN_MAGIC, version=DUMP_VERSION)
    dates = DATES.pack(count=DATE_COUNT, since=since, until=_until(header))
    return begin + DUMPED.pack(volume=header.id) + _string(NAME, header.name) + dates


def _until(header: VolumeHeader) -> int:
    """The time at which the volume was as it is dumped."""
    if header.type == READ_ONLY:
        return header.creation_date
    if header.type == BACKUP:
        return header.backup_date or header.creation_date
    return header.update_date


def _volume_header(header: VolumeHeader) -> bytes:
    """Without the usage statistics that stock keeps in place of the motto."""
    parts = (
        bytes((VOLUME_HEADER,)),
        VOLUME_FIRST.pack(id=header.id, version=VOLUME_VERSION),
        _string(NAME, header.name),
        VOLUME_MIDDLE.pack(header),
        _string(MESSAGE, header.offline_message),
        _string(MOTTO, b""),
        VOLUME_WEEK.pack(count=WEEK, counts=header.week_use),
        VOLUME_LAST.pack(header),
    )
    return b"".join(parts)


def _vnode_fields(volume_id: int, number: int, vnode: Vnode) -> bytes:
    """All but the number and the content itself."""
    parts = [VNODE_FIRST.pack(vnode)]
    if vnode.group:
        parts.append(VNODE_GROUP.pack(vnode))
    parts.append(VNODE_LAST.pack(vnode))
    if vnode.type == DIRECTORY:
        try:
            access = AccessList.from_bytes(vnode.acl)
        except BadAccessList as problem:
            log.error("volume {id}: directory {number}: {problem}", id=volume_id, number=number, problem=problem)
        else:
            parts.append(b"%c%b" % (ACCESS_LIST, access.to_bytes("big")))
    length = LONG_LENGTH if vnode.length >> 32 else SHORT_LENGTH
    parts.append(length.pack(length=vnode.length))
    return b"".join(parts)


def _string(tag: int, text: bytes) -> bytes:
    return b"%c%b\0" % (tag, text)


def _forget(_: object) -> None:
    """A piece read ahead is not wanted any more, nor why it could not be read."""
