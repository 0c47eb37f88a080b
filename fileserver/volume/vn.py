"""One vnode in memory: its record, its directory object, its lock; and the bounded cache of those nobody is using.

`Volume` decides who gets which vnode; this file only knows how one is loaded, changed and saved.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from afs.types import AFSFid
from fileserver.directory import Directory
from fileserver.interfaces import Vnode, blocks
from fileserver.volume.locks import ReadWriteLock

if TYPE_CHECKING:
    from fileserver.volume.volume import Volume

FILE, DIRECTORY, SYMLINK = 1, 2, 3
"""Vnode types (volume.h VnodeType)."""

CACHE_BYTES = 64 * 1024 * 1024
"""Memory for vnodes nobody is using, all volumes together: enough for every directory of a busy day, little beside the
process.
"""

VNODE_BYTES = 1024
"""What a cached vnode without a directory is taken to cost."""

DIRECTORY_FACTOR = 4
"""A directory costs its pages and about three times that in its dict of names."""


class Vn:
    """A vnode. What a procedure may touch depends on the lock it came with: `shared` to read, `exclusive` to change
    `disk`.

    Changes are in memory until `save`; leaving the context with an exception forgets them, so that memory never says
    what disk does not.
    """

    __slots__ = ("_directory", "_disk", "context", "fresh", "holders", "lock", "number", "removed", "volume")

    def __init__(self, volume: Volume, number: int) -> None:
        self.volume = volume
        self.number = number
        self.lock = ReadWriteLock()
        self.holders = 0  # those who have it or wait for it
        self.context: dict[int, Vn] | None = None  # what the one who has it exclusively has
        self.fresh = False  # created in this context, and no saved directory may name it yet
        self.removed = False
        self._disk: Vnode | None = None
        self._directory: Directory | None = None

    def __repr__(self) -> str:
        return f"<Vn {self.volume.id}.{self.number}>"

    @property
    def disk(self) -> Vnode:
        """The record, to read and, under the exclusive lock, to change."""
        assert self._disk is not None, f"{self!r} is not loaded"
        return self._disk

    @property
    def loaded(self) -> bool:
        return self._disk is not None

    @property
    def fid(self) -> AFSFid:
        return AFSFid(Volume=self.volume.id, Vnode=self.number, Unique=self.disk.uniquifier)

    @property
    def memory(self) -> int:
        """Bytes it is taken to cost in the cache."""
        return VNODE_BYTES if self._directory is None else VNODE_BYTES + DIRECTORY_FACTOR * self._directory.length

    async def load(self) -> None:
        """Read the record. Raises NoSuchVnode, Damaged."""
        if self._disk is None:
            self._disk = await self.volume.files.read_vnode(self.number)

    def born(self, disk: Vnode) -> None:
        """Take the record of a vnode that was just created."""
        self._disk = disk
        self._directory = None
        self.removed = False
        self.fresh = True

    def forget(self) -> None:
        """Drop what is in memory: the next user reads the disk."""
        self._disk = None
        self._directory = None

    async def read(self, offset: int, size: int) -> bytes:
        return await self.volume.files.read(self.number, offset, size)

    async def write(self, offset: int, data: bytes) -> None:
        """Raises OSError (ENOSPC, EDQUOT, EIO)."""
        await self.volume.files.write(self.number, offset, data)

    async def truncate(self, length: int) -> None:
        await self.volume.files.truncate(self.number, length)

    @property
    def has_directory(self) -> bool:
        """Whether `directory` has it in memory, and does not wait."""
        return self._directory is not None

    async def directory(self) -> Directory:
        """The directory object, read at first use. Only for type DIRECTORY. Raises Damaged."""
        if self._directory is None:
            assert self.disk.type == DIRECTORY, f"{self!r} is not a directory"
            directory = Directory.parse(await self.volume.files.read(self.number, 0, self.disk.length))
            if self._directory is None:
                self._directory = directory
        return self._directory

    async def save(self) -> None:
        """Write what changed: the directory's pages, then the record. Growth of a directory is charged here, unchecked
        as in OpenAFS.
        """
        assert self.context is not None, f"{self!r} saved without its lock"
        disk = self.disk
        if self._directory is not None:
            # The page that says which others there are comes last: on a full disk a new page fails before it counts.
            for offset, page in reversed(self._directory.dirty_pages()):
                await self.volume.files.write(self.number, offset, page)
                for companion in self.context.values():
                    companion.fresh = False
            self.volume.adjust(blocks(self._directory.length) - blocks(disk.length))
            disk.length = self._directory.length
        await self.volume.files.write_vnode(self.number, disk)


class VnodeCache:
    """Vnodes nobody holds, least recently used first, within CACHE_BYTES."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._idle: OrderedDict[Vn, int] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._idle)

    def keep(self, vn: Vn) -> None:
        """Nobody holds it any more: keep it, at the cost of the oldest."""
        cost = vn.memory
        self._idle[vn] = cost
        self.size += cost
        while self.size > self._limit:
            oldest, cost = self._idle.popitem(last=False)
            self.size -= cost
            oldest.volume.vnodes.evict(oldest)

    def take(self, vn: Vn) -> None:
        """Somebody holds it again, or it is to be forgotten."""
        self.size -= self._idle.pop(vn, 0)

    def used(self, vn: Vn) -> None:
        """Somebody looked at one that nobody holds."""
        self._idle.move_to_end(vn)

    def drop(self, vns: Iterable[Vn]) -> None:
        for vn in vns:
            self.take(vn)
