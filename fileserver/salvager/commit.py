"""Make a group on the disk what its plan says.

The order is what makes a kill harmless: volumes are marked as needing a salvage first and unmarked last, with all of
it on the disk; new content is written before the record that names it; a file goes, or is moved aside, when no record
on the disk names it any more, or never did. Another salvage goes on from anywhere in between.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from errno import ENOSPC

from fileserver.interfaces import VolumeHeader
from fileserver.partitions.label import write_atomically
from fileserver.salvager.indexes import INDEXES, Member
from fileserver.salvager.links import link_table
from fileserver.salvager.plan import Plan
from fileserver.salvager.quarantine import Quarantine
from fileserver.salvager.tree import is_directory
from fileserver.store.descriptors import Descriptor
from fileserver.store.formats import FORMAT_VERSION, STAMP, VNODE, pack_header, pack_vnode
from fileserver.store.group import RECORD_SIZES, STAMPS, index_of, record_offset
from fileserver.store.inodes import (
    Special,
    data_inode,
    inode_path,
    special_inode,
    tag_of,
)
from fileserver.store.link_table import MAX_TAGS
from fileserver.store.locks import HEADER_BYTE, HEADER_LOCKS, ByteLocks
from fileserver.store.metadata import SIDECAR_SUFFIX, Metadata
from fileserver.store.syscalls import sync_file_system
from fileserver.store.volume_file import volume_file_name

NEEDS_SALVAGED = 47
"""Offset of the flag in the info file."""
PAGE = 4096
"""An index is written in pieces of this size where it changes."""


class Commit:
    """One plan's way to the disk. `run` does it all."""

    def __init__(self, plan: Plan, metadata: Metadata, quarantine: Quarantine) -> None:
        self._plan = plan
        self._metadata = metadata
        self._quarantine = quarantine

    def run(self, repaired: set[int]) -> None:
        """`repaired` are the volumes of which clients may hold what is no longer so. Raises OSError."""
        self._mark()
        self._move()
        self._make_specials()
        for member in self._plan.group.members:  # one by one, for a vnode has few versions at a time
            old = self._write_directories(member)
            self._write_indexes(member)
            for inode in old:
                if self._plan.group.named[inode] <= 0:
                    self._drop(inode, inode in self._plan.group.broken)
        self._write_links()
        self._remove()
        self._write_headers()
        self._sync()
        for member in self._plan.group.members:
            self._write_info(member, member.id in repaired)

    def _path(self, inode: int) -> str:
        return self._plan.inventory.path(inode)

    def _mark(self) -> None:
        for member in self._plan.group.members:
            if self._plan.infos[member.id].original is not None:
                path = self._plan.inventory.source(special_inode(member.id, Special.INFO))
                _write(path, b"\1", NEEDS_SALVAGED)

    def _move(self) -> None:
        """Copies first: what is copied from may be what is moved."""
        inventory = self._plan.inventory
        for inode, name, why in self._plan.keep:
            with open(inventory.source(inode), "rb") as file:
                self._quarantine.keep(file.read(), name, why)
        for path, name, why in self._plan.aside:
            self._quarantine.move(path, name, why)
        for inode, path in inventory.misplaced.items():
            if os.path.lexists(path):  # else it has just been moved aside
                os.makedirs(os.path.dirname(self._path(inode)), 0o700, exist_ok=True)
                if os.path.islink(path + SIDECAR_SUFFIX):
                    os.rename(path + SIDECAR_SUFFIX, self._path(inode) + SIDECAR_SUFFIX)
                os.rename(path, self._path(inode))

    def _make_specials(self) -> None:
        """Every special file exists and has its own values; what is in it comes later, the stamps of indexes now."""
        if not self._plan.group.members:
            return
        group = self._plan.inventory.group
        for member in self._plan.group.members:
            for kind in (Special.INFO, *INDEXES):
                self._make_special(member.id, kind)
        self._make_special(group, Special.LINK_TABLE)
        for inode, version in self._plan.group.reassign.items():
            self._metadata.assign(self._path(inode), version, tag_of(inode))

    def _make_special(self, volume_id: int, kind: Special) -> None:
        inode = special_inode(volume_id, kind)
        path = self._path(inode)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            os.close(self._metadata.create(path, volume_id, kind))
        elif self._metadata.read(path) != (volume_id, int(kind)):
            self._metadata.assign(path, volume_id, kind)

    def _write_directories(self, member: Member) -> list[int]:
        """The versions that new ones take the place of."""
        replaced = []
        for number, content in self._plan.directories[member.id].items():
            inode = self._new_version(number, member.vnodes[number].uniquifier)
            fd = self._metadata.create(self._path(inode), member.vnodes[number].data_version, tag_of(inode))
            with open(fd, "wb") as file:
                file.write(content)
            old = member.inodes.get(number)
            if old is not None:
                self._plan.group.named[old] -= 1
                replaced.append(old)
            member.inodes[number] = inode
            member.cloned.discard(number)
            self._plan.group.named[inode] += 1
        return replaced

    def _new_version(self, number: int, unique: int) -> int:
        used = {tag_of(member.inodes[number]) for member in self._plan.group.members if number in member.inodes}
        for tag in range(MAX_TAGS):
            inode = data_inode(number, tag, unique)
            if tag not in used and not os.path.lexists(self._path(inode)):
                os.makedirs(os.path.dirname(self._path(inode)), 0o700, exist_ok=True)
                return inode
        raise OSError(ENOSPC, f"directory {number} has {MAX_TAGS} versions in its volume group already")

    def _write_indexes(self, member: Member) -> None:
        for kind in INDEXES:
            size = RECORD_SIZES[kind]
            numbers = [number for number in member.vnodes if index_of(number) is kind]
            records = max(len(member.raw[kind]) // size, max(numbers, default=0) // 2 + 2, 1)
            new = bytearray(records * size)
            new[:size] = (STAMP.pack(magic=STAMPS[kind], version=FORMAT_VERSION)).ljust(size, b"\0")
            for number in numbers:
                start = record_offset(number)
                new[start : start + size] = self._record(member, number)
            _leave_as_it_is(new, member.raw[kind], size)
            _write_changes(self._path(special_inode(member.id, kind)), bytes(new), exact=True)

    def _record(self, member: Member, number: int) -> bytes:
        inode = member.inodes[number]
        shared = member.writable and is_directory(number) and self._plan.group.named[inode] > 1
        return pack_vnode(member.vnodes[number], inode, cloned=shared or number in member.cloned)

    def _write_links(self) -> None:
        if not self._plan.group.members:
            return
        path = self._path(special_inode(self._plan.inventory.group, Special.LINK_TABLE))
        table = link_table(len(self._plan.group.members), +self._plan.group.named)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            _write_changes(path, table)
        finally:
            os.close(fd)

    def _remove(self) -> None:
        """All that a destroyed volume had alone."""
        for member in self._plan.destroyed:
            for inode in member.inodes.values():
                if self._plan.group.named[inode] <= 0:
                    self._drop(inode, False)
            for kind in INDEXES:
                self._drop(special_inode(member.id, kind), False)
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self._plan.partition, volume_file_name(member.id)))
            self._drop(special_inode(member.id, Special.INFO), False)
        if self._plan.destroyed and not self._plan.group.members:
            self._drop(special_inode(self._plan.inventory.group, Special.LINK_TABLE), False)

    def _drop(self, inode: int, aside: bool) -> None:
        path = self._path(inode)
        if aside and os.path.exists(path):
            self._quarantine.move(path, inode_path(inode), "a directory as it was")
        else:
            with suppress(FileNotFoundError):
                self._metadata.unlink(path)

    def _write_headers(self) -> None:
        if not self._plan.headers:
            return
        locks = ByteLocks(os.path.join(self._plan.partition, HEADER_LOCKS))
        try:
            for volume_id, content in self._plan.headers.items():
                path = os.path.join(self._plan.partition, volume_file_name(volume_id))
                with suppress(FileNotFoundError), open(path, "rb") as file:
                    self._quarantine.keep(file.read(), os.path.basename(path), f"volume {volume_id}: its header file")
                with locks.shared(HEADER_BYTE):
                    write_atomically(path, content, 0o644, durable=False)
        finally:
            locks.close()

    def _sync(self) -> None:
        sync_file_system(Descriptor(os.open(self._plan.partition, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)))

    def _write_info(self, member: Member, repaired: bool) -> None:
        info = self._plan.infos[member.id]
        if repaired:
            info.header.needs_callback = True
            if member.writable:
                info.header.update_date = int(time.time())
        if repaired or _differs(info.header, info.original):
            path = self._path(special_inode(member.id, Special.INFO))
            _write_changes(path, pack_header(info.header))
        else:
            _write(self._path(special_inode(member.id, Special.INFO)), b"\0", NEEDS_SALVAGED)


def _differs(header: VolumeHeader, original: VolumeHeader | None) -> bool:
    return original is None or header != original


def _leave_as_it_is(new: bytearray, old: bytes, size: int) -> None:
    """Free records that hold something nobody reads are no damage."""
    free = bytes(size)
    for start in range(size, min(len(old), len(new)) - size + 1, size):
        if not old[start] & 7 and new[start : start + size] == free:
            new[start : start + size] = old[start : start + size]
    assert len(new) % VNODE.size == 0


def _write(path: str, data: bytes, offset: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, data, offset)
    finally:
        os.close(fd)


def _write_changes(path: str, new: bytes, exact: bool = False) -> None:
    """Make the file these bytes, writing the pages that are others; it is durable then. A file that goes on with zeros
    may stay longer, unless its length must be `exact`.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        old = os.pread(fd, size, 0)
        changed = False
        for start in range(0, len(new), PAGE):
            piece = new[start : start + PAGE]
            if old[start : start + PAGE][: len(piece)] != piece:
                os.pwrite(fd, piece, start)
                changed = True
        if any(old[len(new) :]) or (exact and size > len(new)):
            os.ftruncate(fd, len(new))
            changed = True
        if changed:
            os.fsync(fd)
    finally:
        os.close(fd)
