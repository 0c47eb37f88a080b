"""What the tests of the file back ends share: openers, injected disk errors, and an auditor of what is on the disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from errno import ENOSPC
from typing import Any
from unittest import SkipTest

from twisted.internet import reactor

from fileserver.store.descriptors import Descriptors
from fileserver.store.group import RECORD_SIZES, Group
from fileserver.store.inodes import VNODE_MASK, Special, decode, special_inode, tag_of, vnode_of
from fileserver.store.link_table import MAX_TAGS
from fileserver.store.metadata import InodeMetadata
from fileserver.store.namei import NameiPartition, open_namei
from fileserver.store.namei_user import open_namei_user


def _namei(path: str) -> NameiPartition:
    return open_namei(path, 0, reactor)


def _xattr(path: str) -> NameiPartition:
    return open_namei_user(path, 0, reactor, "xattr")


def _sidecar(path: str) -> NameiPartition:
    return open_namei_user(path, 0, reactor, "sidecar")


OPENERS: dict[str, Callable[[str], NameiPartition]] = {"namei": _namei, "xattr": _xattr, "sidecar": _sidecar}


def need_root() -> None:
    """Raises SkipTest unless files can be given to other owners."""
    if os.geteuid():
        raise SkipTest("namei needs root to give files other owners")


class FullDisk:
    """Makes calls that need room fail with ENOSPC once `left` of them have succeeded; a failing write first writes
    half.
    """

    def __init__(self, case: Any) -> None:
        self.left: int | None = None
        self._half_written = False
        self._write = os.pwrite
        case.patch(os, "pwrite", self._pwrite)
        for name in ("posix_fallocate", "copy_file_range", "symlink", "mkdir", "setxattr"):
            case.patch(os, name, self._failing(getattr(os, name)))

    def _spend(self) -> None:
        if self.left == 0:
            raise OSError(ENOSPC, "No space left on device")
        if self.left is not None:
            self.left -= 1

    def _pwrite(self, fd: int, data: bytes, offset: int) -> int:
        if offset + len(data) <= os.fstat(fd).st_size:
            return self._write(fd, data, offset)  # what has its room can be written
        if self.left == 0 and len(data) > 1 and not self._half_written:
            self._half_written = True
            return self._write(fd, bytes(data[: len(data) // 2]), offset)
        self._half_written = False
        self._spend()
        return self._write(fd, data, offset)

    def _failing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._spend()
            return function(*args, **kwargs)

        return call


def audit(path: str, parent: int, after_kill: bool = False) -> list[str]:
    """What is wrong with a closed group: files no index names, counts that are not what the indexes say, lost files.

    After a kill files nobody names and counts that are too high are as they may be.
    """
    group = Group(path, parent, InodeMetadata(), Descriptors())
    named: Counter[int] = Counter()
    for volume_id in group.members():
        for kind, size in RECORD_SIZES.items():
            records = os.fstat(group.open(special_inode(volume_id, kind)).fd).st_size // size
            first = 1 if kind is Special.LARGE_INDEX else 2
            named.update(group.inode_in(volume_id, first + 2 * each) for each in range(max(records - 1, 0)))
    del named[0]
    problems = []
    files = {inode for _, _, names in os.walk(group.directory) for name in names if (inode := decode(name)) is not None}
    files = {inode for inode in files if vnode_of(inode) != VNODE_MASK}
    if not after_kill:
        problems += [f"no index names {inode:#x}" for inode in files - set(named)]
    problems += [f"{inode:#x} is lost" for inode in set(named) - files]
    if not group.members():
        return problems
    links = group.links()
    for vnode in {vnode_of(inode) for inode in files | set(named)}:
        for tag in range(MAX_TAGS):
            wanted = sum(n for inode, n in named.items() if (vnode_of(inode), tag_of(inode)) == (vnode, tag))
            count = links.count(vnode, tag)
            if count < wanted or (count > wanted and not after_kill):
                problems.append(f"vnode {vnode} tag {tag} counts {count}, not {wanted}")
    if links.count(0, 0) != len(group.members()) and not after_kill:
        problems.append(f"the link table counts {links.count(0, 0)} volumes of {len(group.members())}")
    return problems
