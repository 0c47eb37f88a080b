"""The files of one volume group: special files, versions of vnode content, and how many volumes share each version.

The indexes of the group's volumes say who uses what; the link table repeats it for whoever wants to know in one read.
So counts are not added to and subtracted from: `settle` computes what the indexes say and stores that. Whatever a
kill left half done in a clone or a removal is then put right by doing it again. An inode that no index names is free.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from errno import ENOSPC
from threading import Lock, RLock

from fileserver.interfaces import Damaged
from fileserver.store.at_hand import open_at_hand
from fileserver.store.descriptors import Descriptor, Descriptors
from fileserver.store.formats import (
    FORMAT_VERSION,
    LARGE_INDEX_MAGIC,
    LARGE_RECORD_SIZE,
    LINK_TABLE_MAGIC,
    SMALL_INDEX_MAGIC,
    SMALL_RECORD_SIZE,
    STAMP,
    VNODE,
    VOLUME_INFO_MAGIC,
)
from fileserver.store.inodes import (
    SPECIAL_DIRECTORY,
    UNIQUE_SHIFT,
    VNODE_MASK,
    Special,
    data_inode,
    decode,
    encode,
    group_directory,
    inode_path,
    special_inode,
    tag_of,
    vnode_of,
)
from fileserver.store.link_table import MAX_TAGS, LinkTable, links_in
from fileserver.store.metadata import Metadata

STAMPS = {
    Special.INFO: VOLUME_INFO_MAGIC,
    Special.SMALL_INDEX: SMALL_INDEX_MAGIC,
    Special.LARGE_INDEX: LARGE_INDEX_MAGIC,
    Special.LINK_TABLE: LINK_TABLE_MAGIC,
}

RECORD_SIZES = {Special.SMALL_INDEX: SMALL_RECORD_SIZE, Special.LARGE_INDEX: LARGE_RECORD_SIZE}


def index_of(vnode: int) -> Special:
    """Which index a vnode number belongs in: odd numbers are directories."""
    return Special.LARGE_INDEX if vnode & 1 else Special.SMALL_INDEX


def record_offset(vnode: int) -> int:
    """Where in its index the record is."""
    return (((vnode - 1) >> 1) + 1) * RECORD_SIZES[index_of(vnode)]


class Group:
    """One group on one partition. Any thread may call."""

    def __init__(self, partition: str, parent: int, metadata: Metadata, descriptors: Descriptors) -> None:
        self.parent = parent
        self.users = 0
        self.lock = RLock()
        """Held while a record and the counts it decides change together."""
        self.membership = Lock()
        """Held by whatever adds to or takes away from the volumes that share content: one such at a time, for long."""
        self.directory = os.path.join(partition, group_directory(parent))
        self._metadata = metadata
        self._descriptors = descriptors
        self._members: list[int] | None = None
        self._rows: dict[int, int] = {}  # of the link table: nobody else writes it while the group is open

    def open(self, inode: int) -> Descriptor:
        """The inode's file, from the cache or opened. Raises FileNotFoundError."""
        key = self.parent, inode
        found = self._descriptors.find(key)
        if found is not None:
            return found
        return self._descriptors.put(key, os.open(self.path(inode), os.O_RDWR | os.O_CLOEXEC))

    def at_hand(self, inode: int) -> Descriptor | None:
        """The same, None where a disk may have to be waited for."""
        return self._descriptors.find((self.parent, inode)) or self._opened_at_hand(inode)

    def _opened_at_hand(self, inode: int) -> Descriptor | None:
        fd = open_at_hand(self.path(inode))
        return None if fd is None else self._descriptors.put((self.parent, inode), fd)

    def open_special(self, volume_id: int, kind: Special) -> Descriptor:
        """A volume's special file. Raises Damaged when it is missing."""
        inode = special_inode(self.parent if kind is Special.LINK_TABLE else volume_id, kind)
        try:
            return self.open(inode)
        except FileNotFoundError:
            raise Damaged(f"volume {volume_id} lacks its {kind.name} file {self.path(inode)}") from None

    def path(self, inode: int) -> str:
        """Absolute path of the inode's file."""
        return f"{self.directory}/{inode_path(inode)}"

    def members(self) -> list[int]:
        """Ids of the volumes that have an index here, with or without a header file."""
        if self._members is None:
            self._members = self._find_members()
        return self._members

    def create_special(self, volume_id: int, kind: Special, content: bytes = b"") -> None:
        """A new special file with its stamp, in place of one that a create cut short left behind."""
        inode = special_inode(volume_id, kind)
        self.discard(inode)
        file = self._create(inode, volume_id)
        self._members = None
        self._rows.clear()
        write_all(file, content or STAMP.pack(magic=STAMPS[kind], version=FORMAT_VERSION), 0)

    def count_members(self) -> None:
        """Note in the link table how many volumes use it, making it for the first one."""
        inode = special_inode(self.parent, Special.LINK_TABLE)
        with self.lock:
            if not os.path.exists(self.path(inode)):
                self.create_special(self.parent, Special.LINK_TABLE)
            self.links().set(0, 0, len(self.members()))

    def links(self) -> LinkTable:
        """The link table. Raises Damaged when it is missing."""
        return LinkTable(self.open_special(self.parent, Special.LINK_TABLE), self._rows)

    def create_data(self, vnode: int, unique: int, version: int) -> tuple[int, Descriptor]:
        """(inode, its open empty file) of a new version of a vnode's content. Raises OSError ENOSPC when 5 are in
        use.
        """
        links = self.links()
        with self.lock:
            while True:
                tag = self._claim(links, vnode)
                inode = data_inode(vnode, tag, unique)
                try:
                    return inode, self._create(inode, version)
                except FileExistsError:
                    # The link table says nobody has it: what a kill left between two steps, or a wrong count.
                    self.settle(inode)
                except OSError:
                    links.set(vnode, tag, 0)
                    raise

    def references(self, inode: int, without: int = 0) -> int:
        """How many volumes name the inode in their index, `without` not counted."""
        vnode = vnode_of(inode)
        return sum(self.inode_in(volume_id, vnode) == inode for volume_id in self.members() if volume_id != without)

    def inode_in(self, volume_id: int, vnode: int) -> int:
        """The inode a volume's index names for a vnode; 0 when the record is free or there is no such index."""
        try:
            index = self.index(volume_id, vnode)
        except FileNotFoundError:
            return 0
        data = os.pread(index.fd, VNODE.size, record_offset(vnode))
        if len(data) < VNODE.size:
            return 0
        record = VNODE.unpack(data)
        return record.inode_lo | record.inode_hi << 32 if record.word & 7 else 0

    def index(self, volume_id: int, vnode: int) -> Descriptor:
        """The index of a volume in which a vnode has its record. Raises FileNotFoundError."""
        return self.open(special_inode(volume_id, index_of(vnode)))

    def known_count(self, inode: int) -> int | None:
        """How many volumes share the inode, None where the link table has to be read."""
        row = self._rows.get(vnode_of(inode))
        return None if row is None else links_in(row, tag_of(inode))

    def count(self, inode: int) -> int:
        """The same, as the link table has it."""
        with self.lock:
            return self.links().count(vnode_of(inode), tag_of(inode))

    def share(self, inode: int) -> None:
        """Count one volume more than now name the inode: the next to do so is about to. Raises OSError EMLINK."""
        with self.lock:
            self.links().set(vnode_of(inode), tag_of(inode), self.references(inode) + 1)

    def settle(self, inode: int, without: int = 0) -> None:
        """Store the inode's number of references, and remove its file when there are none."""
        with self.lock:
            count = self.references(inode, without)
            if count == 0:
                self.discard(inode)
            self.links().set(vnode_of(inode), tag_of(inode), count)

    def unlink(self, inode: int) -> None:
        """Remove an inode's file. Raises FileNotFoundError."""
        self._descriptors.forget((self.parent, inode))
        self._descriptors.guard()
        self._metadata.unlink(self.path(inode))
        if vnode_of(inode) == VNODE_MASK:
            self._members = None

    def discard(self, inode: int) -> None:
        """Remove an inode's file if there is one."""
        with suppress(FileNotFoundError):
            self.unlink(inode)

    def remove(self) -> None:
        """Remove everything: the last volume of the group is gone."""
        with self.lock:
            self._descriptors.forget_group(self.parent)
            self._members = None
            self._rows.clear()
            self._descriptors.guard()
            with suppress(FileNotFoundError):
                shutil.rmtree(self.directory)

    def _find_members(self) -> list[int]:
        try:
            names = os.listdir(os.path.join(self.directory, SPECIAL_DIRECTORY))
        except FileNotFoundError:
            return []
        inodes = [inode for name in names if (inode := decode(name)) is not None and vnode_of(inode) == VNODE_MASK]
        return sorted({inode >> UNIQUE_SHIFT for inode in inodes if tag_of(inode) in RECORD_SIZES})

    def create_in(self, directory: int, inode: int, parameter: int) -> Descriptor:
        """The inode's new, empty file in the open directory it belongs in, not kept open. Raises FileExistsError,
        OSError.
        """
        self._descriptors.guard()
        fd = self._metadata.create(encode(inode), parameter, tag_of(inode), directory)
        return Descriptor(fd, self._descriptors.guard)

    def open_directory(self, inode: int, *, make: bool = False) -> int:
        """A descriptor, the caller's, of the directory that the inode's file belongs in. Raises OSError."""
        path = os.path.dirname(self.path(inode))
        if make:
            self._descriptors.guard()
            _make_directories(path)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _create(self, inode: int, parameter: int) -> Descriptor:
        path = self.path(inode)
        self._descriptors.guard()
        try:
            fd = self._metadata.create(path, parameter, tag_of(inode))
        except FileNotFoundError:
            _make_directories(os.path.dirname(path))
            fd = self._metadata.create(path, parameter, tag_of(inode))
        return self._descriptors.put((self.parent, inode), fd)

    def _claim(self, links: LinkTable, vnode: int) -> int:
        try:
            return links.claim(vnode)
        except OSError as error:
            if error.errno != ENOSPC:
                raise
        self._reclaim(links, vnode)
        return links.claim(vnode)

    def _reclaim(self, links: LinkTable, vnode: int) -> None:
        """Free the versions of a vnode that no index names: what kills left behind."""
        used = {self.inode_in(volume_id, vnode) for volume_id in self.members()}
        directory = os.path.dirname(self.path(data_inode(vnode, 0, 0)))
        for name in os.listdir(directory):
            inode = decode(name)
            if inode is not None and vnode_of(inode) == vnode and inode not in used:
                self.unlink(inode)
        for tag in set(range(MAX_TAGS)) - {tag_of(inode) for inode in used if inode}:
            links.set(vnode, tag, 0)


def _make_directories(path: str) -> None:
    """Like makedirs, but every new directory is for the server alone."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_directories(os.path.dirname(path))
        os.mkdir(path, 0o700)


def write_all(file: Descriptor, data: bytes, offset: int) -> None:
    """Write it all; what does not fit leaves the file as long as it was. Raises OSError, Fenced."""
    before = file.size()
    written = 0
    try:
        written = os.pwrite(file.to_write(), data, offset)
        while written < len(data):
            written += os.pwrite(file.to_write(), memoryview(data)[written:], offset + written)
    except OSError:
        if written and offset + written > before:
            os.ftruncate(file.to_write(), before)
        raise


def write_unit(file: Descriptor, data: bytes, offset: int) -> None:
    """Write what the file has whole or not at all: a record at a multiple of its size. Raises OSError, Fenced.

    Fast path beside `write_all`: how long the file was need not be known before.
    """
    if os.pwrite(file.to_write(), data, offset) == len(data):
        return
    if file.size() < offset + len(data):
        os.ftruncate(file.to_write(), offset)
    raise OSError(ENOSPC, os.strerror(ENOSPC))
