"""From a path to a file: directories searched, mount points crossed and links followed, as a cache manager does."""

import errno
from dataclasses import dataclass
from typing import Protocol

from afs.location import RO, Locator
from afs.types import SYMLINK, AFSFetchStatus, AFSFid
from rx.errors import Abort

MAX_LINKS = 40
"""Symbolic links and mount points on the way to one file, as in Linux: more are a loop."""

AFS_ROOT = "/afs"
ROOT_VNODE = ROOT_UNIQUE = 1
"""The root directory of every volume."""

_EXECUTE_BITS = 0o111


@dataclass(frozen=True, slots=True)
class MountPoint:
    """What a mount point says. Where the volume has a read-only clone, `readwrite` asks for the volume itself."""

    volume: bytes
    readwrite: bool = False
    cell: bytes = b""

    @classmethod
    def parse(cls, content: bytes, mode: int) -> "MountPoint | None":
        """The mount point that a symbolic link with this content and mode is; None for an ordinary link."""
        if mode & _EXECUTE_BITS or content[:1] not in (b"#", b"%") or len(content) < 3:
            return None
        cell, _, volume = content[1:-1].rpartition(b":")
        return cls(volume, content[:1] == b"%", cell)

    def content(self) -> bytes:
        """The content of the link; its last byte is filler that a cache manager cuts off."""
        prefix = b"%" if self.readwrite else b"#"
        return prefix + (self.cell + b":" if self.cell else b"") + self.volume + b"."


class Files(Protocol):
    """What walking needs of a client."""

    locator: Locator

    async def status(self, place: AFSFid) -> AFSFetchStatus: ...
    async def read_file(self, place: AFSFid) -> bytes: ...
    async def list_directory(self, place: AFSFid) -> dict[bytes, tuple[int, int]]: ...


class Walker:
    """Walks the tree below a root volume. Nothing is remembered: every directory on the way is fetched."""

    def __init__(self, files: Files, root_volume: bytes) -> None:
        self._files = files
        self._root_volume = root_volume

    async def resolve(self, path: str, follow: bool) -> AFSFid:
        """The file a path leads to. Without `follow` a link or mount point at its end is itself the answer.

        Abort with ENOENT, ENOTDIR, ELOOP or what the servers answer.
        """
        links = 0
        names = components(path)
        way = [await self._root(self._root_volume, readonly=True)]
        while names:
            name = names.pop(0)
            if name == b"..":
                del way[max(1, len(way) - 1) :]
                continue
            found = await self._lookup(way[-1], name)
            if is_directory(found):
                way.append(found)
                continue
            status = await self._files.status(found)
            if status.FileType != SYMLINK or (not names and not follow):
                if names:
                    raise Abort(errno.ENOTDIR, f"{name!r} is not a directory")
                return found
            links += 1
            if links > MAX_LINKS:
                raise Abort(errno.ELOOP, path)
            content = await self._files.read_file(found)
            mount_point = MountPoint.parse(content, status.UnixModeBits)
            if mount_point is not None:
                way.append(await self._cross(way[-1], mount_point))
                continue
            if content.startswith(b"/"):
                del way[1:]
            names = components(content.decode("utf-8", "surrogateescape")) + names
        return way[-1]

    async def _lookup(self, directory: AFSFid, name: bytes) -> AFSFid:
        entry = (await self._files.list_directory(directory)).get(name)
        if entry is None:
            raise Abort(errno.ENOENT, name.decode(errors="replace"))
        return AFSFid(directory.Volume, *entry)

    async def _cross(self, directory: AFSFid, mount_point: MountPoint) -> AFSFid:
        """The root of the mounted volume; inside a read-only clone that of its clone, unless a mount point forbids."""
        if mount_point.cell:
            raise Abort(errno.ENODEV, f"a mount point of another cell, {mount_point.cell.decode(errors='replace')}")
        here = await self._files.locator.by_id(directory.Volume)
        readonly = here.kind(directory.Volume) == RO and not mount_point.readwrite
        return await self._root(mount_point.volume, readonly)

    async def _root(self, volume: bytes, readonly: bool) -> AFSFid:
        return AFSFid(await self._files.locator.volume_id(volume, readonly), ROOT_VNODE, ROOT_UNIQUE)


def components(path: str) -> list[bytes]:
    """The names in a path, without the leading /afs, and without those that lead nowhere ("" and ".")."""
    if path == AFS_ROOT or path.startswith(AFS_ROOT + "/"):
        path = path.removeprefix(AFS_ROOT)
    return [name.encode("utf-8", "surrogateescape") for name in path.split("/") if name not in ("", ".")]


def split_parent(path: str) -> tuple[str, bytes]:
    """(path of the directory, name in it). Abort(EINVAL) for a path without a last name."""
    parent, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise Abort(errno.EINVAL, f"{path!r} names no entry of a directory")
    return parent, name.encode("utf-8", "surrogateescape")


def is_directory(fid: AFSFid) -> bool:
    """Directories have odd vnode numbers, files and links even ones (volume-format.md section 4)."""
    return fid.Vnode % 2 == 1
