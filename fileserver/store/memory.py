"""The memory back end: a partition in this process, with faults a test can inject.

A `Disk` outlives the partition objects opened on it, so that closing and opening again means what it means for a real
one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from errno import ENOSPC
from uuid import UUID, uuid4

from zope.interface import implementer

from fileserver.interfaces import (
    OURS_ALONE,
    IPartition,
    IVolumeFiles,
    NoSuchVnode,
    NoSuchVolume,
    Ownership,
    Space,
    Tally,
    Vnode,
    VolumeExists,
    VolumeHeader,
    VolumeIds,
    blocks,
)

CHUNK_SIZE = 65536
"""Content is kept in pieces of this size: an offset of 5 GiB costs one piece, and a large file a few thousand."""

Fault = Callable[[str, int, int], Awaitable[None]]
"""Called with (method name, volume id, vnode number or 0) before the method: awaits for latency, raises OSError for a
bad disk."""


class Content:
    """The bytes of one vnode, sparse; shared by the clones that count in `links`."""

    __slots__ = ("_chunks", "_disk", "length", "links")

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._chunks: dict[int, bytearray] = {}
        self.length = 0
        self.links = 1

    def read(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self.length)
        pieces = []
        while offset < end:
            index, start = divmod(offset, CHUNK_SIZE)
            stop = min(CHUNK_SIZE, start + end - offset)
            chunk = self._chunks.get(index)
            pieces.append(bytes(stop - start) if chunk is None else bytes(memoryview(chunk)[start:stop]))
            offset += stop - start
        return b"".join(pieces)

    def write(self, offset: int, data: bytes) -> None:
        """All or nothing: raises ENOSPC before a byte is changed."""
        end = offset + len(data)
        touched = range(offset // CHUNK_SIZE, -(-end // CHUNK_SIZE)) if data else range(0)
        self._disk.take(sum(index not in self._chunks for index in touched))
        view = memoryview(data)
        for index in touched:
            chunk = self._chunks.setdefault(index, bytearray(CHUNK_SIZE))
            start = max(offset - index * CHUNK_SIZE, 0)
            stop = min(end - index * CHUNK_SIZE, CHUNK_SIZE)
            first = index * CHUNK_SIZE + start - offset
            chunk[start:stop] = view[first : first + stop - start]
        if data:
            self.length = max(self.length, end)

    def truncate(self, length: int) -> None:
        for index in [index for index in self._chunks if index * CHUNK_SIZE >= length]:
            self._disk.give(1)
            del self._chunks[index]
        last, start = divmod(length, CHUNK_SIZE)
        if last in self._chunks:
            self._chunks[last][start:] = bytes(CHUNK_SIZE - start)
        self.length = length

    def copy(self) -> Content:
        self._disk.take(len(self._chunks))
        twin = Content(self._disk)
        twin._chunks = {index: bytearray(chunk) for index, chunk in self._chunks.items()}
        twin.length = self.length
        return twin

    def drop(self) -> None:
        self.links -= 1
        if self.links == 0:
            self._disk.give(len(self._chunks))
            self._chunks.clear()


@dataclass(slots=True)
class _Volume:
    header: VolumeHeader
    vnodes: dict[int, Vnode] = field(default_factory=dict)
    contents: dict[int, Content] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Disk:
    """What stays when a partition is closed. `capacity` is in bytes and may be changed at any time."""

    capacity: int = 1 << 40
    uuid: UUID = field(default_factory=uuid4)
    fault: Fault | None = None
    used: int = 0
    volumes: dict[int, _Volume] = field(default_factory=dict)
    notes: dict[str, bytes] = field(default_factory=dict)

    def take(self, chunks: int) -> None:
        if chunks and self.used + chunks * CHUNK_SIZE > self.capacity:
            raise OSError(ENOSPC, "No space left on device")
        self.used += chunks * CHUNK_SIZE

    def give(self, chunks: int) -> None:
        self.used -= chunks * CHUNK_SIZE

    async def before(self, operation: str, volume_id: int, number: int = 0) -> None:
        if self.fault is not None:
            await self.fault(operation, volume_id, number)


@implementer(IPartition)
class MemoryPartition:
    """A partition on a `Disk`, its own or one it shares with an earlier, closed partition object."""

    backend = "memory"

    def __init__(
        self,
        number: int = 0,
        name: str = "/vicepa",
        disk: Disk | None = None,
        ownership: Ownership = OURS_ALONE,
    ) -> None:
        self.number = number
        self.name = name
        self.disk = disk or Disk()
        self.uuid = self.disk.uuid
        self.ownership = ownership

    async def volumes(self) -> Sequence[VolumeIds]:
        await self.disk.before("volumes", 0)
        return [VolumeIds(volume_id, volume.header.parent) for volume_id, volume in sorted(self.disk.volumes.items())]

    async def volume_ids(self) -> Sequence[int]:
        await self.disk.before("volumes", 0)
        return list(self.disk.volumes)

    async def ids(self, volume_id: int) -> VolumeIds:
        await self.disk.before("ids", volume_id)
        try:
            return VolumeIds(volume_id, self.disk.volumes[volume_id].header.parent)
        except KeyError:
            raise NoSuchVolume(f"no volume {volume_id} on {self.name}") from None

    async def create_volume(self, header: VolumeHeader) -> IVolumeFiles:
        await self.disk.before("create_volume", header.id)
        if header.id in self.disk.volumes:
            raise VolumeExists(f"volume {header.id} exists on {self.name}")
        volume = self.disk.volumes[header.id] = _Volume(replace(header))
        return MemoryVolumeFiles(self.disk, volume)

    async def open_volume(self, volume_id: int) -> IVolumeFiles:
        await self.disk.before("open_volume", volume_id)
        try:
            return MemoryVolumeFiles(self.disk, self.disk.volumes[volume_id])
        except KeyError:
            raise NoSuchVolume(f"no volume {volume_id} on {self.name}") from None

    async def destroy_volume(self, volume_id: int) -> None:
        await self.disk.before("destroy_volume", volume_id)
        try:
            volume = self.disk.volumes.pop(volume_id)
        except KeyError:
            raise NoSuchVolume(f"no volume {volume_id} on {self.name}") from None
        for content in volume.contents.values():
            content.drop()

    async def save_note(self, name: str, data: bytes) -> None:
        await self.disk.before("save_note", 0)
        self.disk.notes[name] = data

    async def take_note(self, name: str) -> bytes | None:
        await self.disk.before("take_note", 0)
        return self.disk.notes.pop(name, None)

    def space(self) -> Space:
        return Space(self.disk.capacity // 1024, max(self.disk.capacity - self.disk.used, 0) // 1024)

    async def close(self) -> None:
        return None


@implementer(IVolumeFiles)
class MemoryVolumeFiles:
    """One volume of a MemoryPartition."""

    def __init__(self, disk: Disk, volume: _Volume) -> None:
        self.id = volume.header.id
        self.parent = volume.header.parent
        self._disk = disk
        self._volume = volume

    async def read_header(self) -> VolumeHeader:
        await self._disk.before("read_header", self.id)
        return replace(self._volume.header)

    async def write_header(self, header: VolumeHeader) -> None:
        await self._disk.before("write_header", self.id)
        self._volume.header = replace(header)

    async def vnodes(self) -> Sequence[tuple[int, int]]:
        await self._disk.before("vnodes", self.id)
        return [(number, vnode.uniquifier) for number, vnode in sorted(self._volume.vnodes.items())]

    async def tally(self) -> Tally:
        await self._disk.before("vnodes", self.id)
        vnodes = self._volume.vnodes.values()
        used = sum(blocks(vnode.length) for vnode in vnodes)
        return Tally(len(vnodes), used, max((vnode.uniquifier for vnode in vnodes), default=0))

    async def read_vnode(self, number: int) -> Vnode:
        await self._disk.before("read_vnode", self.id, number)
        return replace(self._find(number))

    async def read_vnodes(
        self, numbers: Sequence[int], limit: int, wants: Callable[[Vnode], bool]
    ) -> Sequence[tuple[Vnode, bytes | None]]:
        found: list[tuple[Vnode, bytes | None]] = []
        for number in numbers:
            vnode = await self.read_vnode(number)
            wanted = vnode.length <= limit and wants(vnode)
            found.append((vnode, await self.read(number, 0, vnode.length + 1) if wanted else None))
        return found

    async def create_vnodes(self, made: Sequence[tuple[int, Vnode, bytes]]) -> None:
        for number, vnode, content in made:
            await self.create_vnode(number, vnode, content)

    async def write_vnode(self, number: int, vnode: Vnode) -> None:
        await self._disk.before("write_vnode", self.id, number)
        self._find(number)
        self._volume.vnodes[number] = replace(vnode)

    async def create_vnode(self, number: int, vnode: Vnode, content: bytes = b"") -> None:
        await self._disk.before("create_vnode", self.id, number)
        assert number not in self._volume.vnodes, f"vnode {number} of volume {self.id} is in use"
        new = Content(self._disk)
        new.write(0, content)
        self._volume.contents[number] = new
        self._volume.vnodes[number] = replace(vnode)

    async def remove_vnode(self, number: int) -> None:
        await self._disk.before("remove_vnode", self.id, number)
        self._find(number)
        del self._volume.vnodes[number]
        self._volume.contents.pop(number).drop()

    async def read(self, number: int, offset: int, size: int) -> bytes:
        await self._disk.before("read", self.id, number)
        self._find(number)
        return self._volume.contents[number].read(offset, size)

    async def write(self, number: int, offset: int, data: bytes) -> None:
        await self._disk.before("write", self.id, number)
        self._own(number).write(offset, data)

    async def truncate(self, number: int, length: int) -> None:
        await self._disk.before("truncate", self.id, number)
        self._own(number).truncate(length)

    async def content_length(self, number: int) -> int:
        await self._disk.before("content_length", self.id, number)
        self._find(number)
        return self._volume.contents[number].length

    async def clone_to(self, target: IVolumeFiles) -> None:
        await self._disk.before("clone_to", self.id)
        assert isinstance(target, MemoryVolumeFiles) and target.parent == self.parent, "a clone stays in its group"
        old = list(target._volume.contents.values())
        for content in self._volume.contents.values():
            content.links += 1
        target._volume.contents = dict(self._volume.contents)
        target._volume.vnodes = {number: replace(vnode) for number, vnode in self._volume.vnodes.items()}
        for content in old:
            content.drop()

    async def sync(self) -> None:
        await self._disk.before("sync", self.id)

    async def close(self) -> None:
        return None

    def _find(self, number: int) -> Vnode:
        try:
            return self._volume.vnodes[number]
        except KeyError:
            raise NoSuchVnode(f"no vnode {number} in volume {self.id}") from None

    def _own(self, number: int) -> Content:
        """The vnode's content, copied first when a clone shares it."""
        self._find(number)
        content = self._volume.contents[number]
        if content.links > 1:
            content = content.copy()
            self._volume.contents[number].drop()
            self._volume.contents[number] = content
        return content
