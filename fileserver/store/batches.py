"""Many small vnodes at a time, as dumps read and restores make them. For threads.

Fast paths beside VolumeFiles.read_vnode with read, and create_vnode: an index and the link table are read and written
once for all of them, and their files are opened past the cache of open files, which they would only flush.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Self

from fileserver.interfaces import Damaged, NoSuchVnode, Vnode
from fileserver.store.formats import pack_vnode, unpack_vnode
from fileserver.store.group import RECORD_SIZES, Group, index_of, record_offset, write_all, write_unit
from fileserver.store.inodes import data_inode, encode, same_directory

MAX_SPREAD = 8
"""Records between the first and the last of those wanted, for each of them, up to which all are read in one."""

Made = tuple[int, Vnode, bytes]
"""Number, record and content of a new vnode."""


def read_batch(
    group: Group,
    volume_id: int,
    numbers: Sequence[int],
    limit: int,
    wants: Callable[[Vnode], bool],
    check: Callable[[int, bytes], bytes],
) -> list[tuple[Vnode, bytes | None]]:
    """Records, each checked, with the contents of those wanted whose length is `limit` at most. Content may have
    another length than its record says: one byte more is asked for.
    """
    found: list[tuple[Vnode, bytes | None]] = []
    with _Directories(group) as directories:
        for number, data in _records(group, volume_id, numbers):
            vnode, inode, _ = unpack_vnode(check(number, data))
            content = None
            if vnode.length <= limit and wants(vnode):
                content = directories.read(inode, vnode.length + 1)
                if content is None:
                    raise Damaged(f"volume {volume_id}: the content of vnode {number} is gone: {group.path(inode)}")
            found.append((vnode, content))
    return found


def create_batch(group: Group, volume_id: int, made: Sequence[Made]) -> bool:
    """New vnodes, all or none, their contents before their records. False, and nothing done, where one of them has to
    be made by itself: it has as many versions as there can be, or a file that nobody counts.
    """
    with group.lock:
        tags = group.links().claim_all([number for number, _, _ in made])
        if tags is None:
            return False
        begun = [
            (data_inode(number, tag, vnode.uniquifier), (number, vnode, content))
            for tag, (number, vnode, content) in zip(tags, made, strict=True)
        ]
        try:
            with _Directories(group, make=True) as directories:
                for inode, (_, vnode, content) in begun:
                    directories.create(inode, vnode.data_version, content)
            _write_records(group, volume_id, begun)
        except OSError as problem:
            for inode, _ in begun:
                group.settle(inode)
            if isinstance(problem, FileExistsError):
                return False
            raise
    return True


def _records(group: Group, volume_id: int, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    for kind, some in groupby(numbers, index_of):
        wanted = list(some)
        size = RECORD_SIZES[kind]
        index = group.index(volume_id, wanted[0])
        first = record_offset(min(wanted))
        span = record_offset(max(wanted)) + size - first
        whole = os.pread(index.fd, span, first) if span <= MAX_SPREAD * size * len(wanted) else None
        for number in wanted:
            at = record_offset(number)
            data = os.pread(index.fd, size, at) if whole is None else whole[at - first : at - first + size]
            if not data:
                raise NoSuchVnode(f"no vnode {number} in volume {volume_id}")
            yield number, data


class _Directories:
    """The directories of a group that are open for a while: a file is found faster in one."""

    def __init__(self, group: Group, *, make: bool = False) -> None:
        self._group = group
        self._make = make
        self._open: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open.values():
            os.close(fd)

    def read(self, inode: int, size: int) -> bytes | None:
        """Up to `size` bytes of an inode's file, None when it is gone."""
        try:
            fd = os.open(encode(inode), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._of(inode))
        except FileNotFoundError:
            return None
        try:
            return os.read(fd, size)
        finally:
            os.close(fd)

    def create(self, inode: int, version: int, content: bytes) -> None:
        """A new file. Raises OSError: FileExistsError where there is one."""
        file = self._group.create_in(self._of(inode), inode, version)
        if content:
            write_unit(file, content, 0)

    def _of(self, inode: int) -> int:
        key = same_directory(inode)
        fd = self._open.get(key)
        if fd is None:
            fd = self._open[key] = self._group.open_directory(inode, make=self._make)
        return fd


def _write_records(group: Group, volume_id: int, begun: list[tuple[int, Made]]) -> None:
    """Those beside each other in one."""
    for kind, some in groupby(sorted(begun, key=_place), lambda each: index_of(each[1][0])):
        size = RECORD_SIZES[kind]
        runs: list[tuple[int, list[bytes]]] = []
        for inode, (number, vnode, _) in some:
            at = record_offset(number)
            if not runs or at != runs[-1][0] + size * len(runs[-1][1]):
                runs.append((at, []))
                index = group.index(volume_id, number)
            runs[-1][1].append(pack_vnode(vnode, inode))
        for at, records in runs:
            write_all(index, b"".join(records), at)


def _place(each: tuple[int, Made]) -> tuple[int, int]:
    return each[1][0] & 1, each[1][0]
