"""The directory that all servers reach: files with descriptors, locks and names, as the label and the claim use them.

What docs/protocol/fencing.md assumes holds: a rename is seen by whoever opens the name afterwards, a lock is exclusive
and goes with the process. A call on the storage may take as long as it likes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EAGAIN, EEXIST, ENOENT
from types import SimpleNamespace
from typing import Any, Self

from tests.simulation.ownership.world import World

NAMES = 5.0
"""Changes of names are what others see: how much more often than elsewhere a process is stopped before one."""


class Inode:
    """A file, with or without names. `lock` is the descriptor that has it locked."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lock: Descriptor | None = None


class Descriptor:
    """An open file."""

    def __init__(self, inode: Inode) -> None:
        self.inode = inode

    def close(self) -> None:
        if self.inode.lock is self:
            self.inode.lock = None


class Storage:
    """The names in the directory."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: dict[str, Inode] = {}
        self._descriptors = 100

    def lookup(self, path: str) -> Inode:
        inode = self.names.get(path)
        if inode is None:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)
        return inode

    def opened(self, path: str, flags: int) -> Descriptor:
        """As open(2)."""
        if flags & os.O_DIRECTORY:
            return Descriptor(Inode())
        if flags & os.O_CREAT and path not in self.names:
            self.names[path] = Inode()
        inode = self.lookup(path)
        if flags & os.O_TRUNC:
            inode.data.clear()
        return Descriptor(inode)

    def rename(self, old: str, new: str) -> None:
        inode = self.lookup(old)
        del self.names[old]
        self.names[new] = inode

    def link(self, old: str, new: str) -> None:
        if new in self.names:
            raise FileExistsError(EEXIST, os.strerror(EEXIST), new)
        self.names[new] = self.lookup(old)

    def unlink(self, path: str) -> None:
        self.lookup(path)
        del self.names[path]

    def add(self, descriptor: Descriptor) -> int:
        """Its number in the process that runs."""
        self._descriptors += 1
        self.world.process.descriptors[self._descriptors] = descriptor
        return self._descriptors


class File:
    """What `open` returns."""

    def __init__(self, system: Os, fd: int) -> None:
        self._os = system
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def read(self) -> bytes:
        return self._os.pread(self._fd, 1 << 20, 0)

    def write(self, data: bytes) -> None:
        self._os.pwrite(self._fd, data, 0)

    def flush(self) -> None:
        """There is no buffer."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._os.close(self._fd)


class Os:
    """The module `os`, `fcntl` and `open` for one storage, in the process that runs."""

    O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_TRUNC = os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC
    O_DIRECTORY, O_CLOEXEC, O_EXCL, O_APPEND = os.O_DIRECTORY, os.O_CLOEXEC, os.O_EXCL, os.O_APPEND
    F_OFD_SETLK = 37
    path = SimpleNamespace(join=os.path.join, dirname=os.path.dirname, isdir=lambda _: True)

    def __init__(self, storage: Callable[[], Storage]) -> None:
        self._storage = storage

    def _call(self, effect: Callable[[], Any], weight: float = 1.0) -> Any:
        return self._storage().world.system_call(effect, weight=weight)

    def _inode(self, fd: int) -> Inode:
        inode: Inode = self._storage().world.process.descriptors[fd].inode
        return inode

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        storage = self._storage()
        return storage.add(self._call(lambda: storage.opened(path, flags)))

    def close(self, fd: int) -> None:
        process = self._storage().world.process
        if process.alive:
            process.descriptors.pop(fd).close()

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        inode = self._inode(fd)
        return bytes(self._call(lambda: bytes(inode.data[offset : offset + size])))

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        inode = self._inode(fd)

        def write() -> int:
            inode.data.extend(bytes(max(0, offset - len(inode.data))))
            inode.data[offset : offset + len(data)] = data
            return len(data)

        return int(self._call(write))

    def fstat(self, fd: int) -> SimpleNamespace:
        inode = self._inode(fd)
        return SimpleNamespace(st_dev=1, st_ino=id(inode), st_size=len(inode.data))

    def fsync(self, fd: int) -> None:
        """A write is on the storage when it returns."""

    fdatasync = fsync

    def rename(self, old: str, new: str) -> None:
        self._call(lambda: self._storage().rename(old, new), NAMES)

    def link(self, old: str, new: str) -> None:
        self._call(lambda: self._storage().link(old, new), NAMES)

    def unlink(self, path: str) -> None:
        self._call(lambda: self._storage().unlink(path))

    def fcntl(self, fd: int, command: int, lock: bytes) -> None:
        descriptor = self._storage().world.process.descriptors[fd]

        def acquire() -> None:
            if descriptor.inode.lock not in (None, descriptor):
                raise OSError(EAGAIN, os.strerror(EAGAIN))
            descriptor.inode.lock = descriptor

        self._call(acquire)

    def open_file(self, path: str | int, mode: str = "rb") -> File:
        """The function `open`."""
        if isinstance(path, int):
            return File(self, path)
        return File(self, self.open(path, os.O_RDONLY))

    def path_class(self) -> Callable[[str], SimpleNamespace]:
        """`pathlib.Path`, of which only `read_bytes` is used."""

        def read_bytes(path: str) -> bytes:
            with self.open_file(path) as file:
                return file.read()

        return lambda path: SimpleNamespace(read_bytes=lambda: read_bytes(path))
