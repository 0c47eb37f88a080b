"""One volume's files in the namei layout: header, vnode indexes, content and clones.

Small operations are a few system calls on the page cache and run where they are called; what moves much data goes to a
thread, and so does every read that the cache cannot answer, also one that a small write would begin with (at_hand.py).
Small writes only fill the cache: they wait for a disk when the system has too much to write back already, which it
cannot be asked before; so while the disk is slow to answer they go to a thread too (threads.py). The order of steps is
what makes a kill harmless: content before the record that names it, a record before the content it let go of.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

from zope.interface import implementer

from fileserver.interfaces import Damaged, IVolumeFiles, NoSuchVnode, Tally, Vnode, VolumeHeader, blocks
from fileserver.store.at_hand import pages_at_hand, read_at_hand
from fileserver.store.batches import Made, create_batch, read_batch
from fileserver.store.descriptors import Descriptor
from fileserver.store.formats import (
    CLONED,
    DIRECTORY_TYPE,
    FORMAT_VERSION,
    LARGE_VNODE_MAGIC,
    SMALL_VNODE_MAGIC,
    STAMP,
    VNODE,
    VOLUME_INFO,
    pack_header,
    pack_vnode,
    unpack_header,
    unpack_vnode,
)
from fileserver.store.group import RECORD_SIZES, STAMPS, Group, index_of, record_offset, write_all, write_unit
from fileserver.store.inodes import MAX_VNODE, Special, special_inode
from fileserver.store.syscalls import copy_sparse, cut, reserve, sync_file_system
from fileserver.store.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")

INLINE_SIZE = 256 * 1024
"""Transfers up to this size run in the reactor's thread. Measured (tests/bench/bench_store.py): handing one to a thread
and back costs 55 to 80 us, a read of this size from the page cache 4 us and a write 90 us; 1 MiB 20 us and 350 us.
"""

MAX_PLACES = 4096
"""Vnodes whose content's place is kept for the next look, some 200 bytes each: one change of a file asks five times."""

_MAGIC = {Special.SMALL_INDEX: SMALL_VNODE_MAGIC, Special.LARGE_INDEX: LARGE_VNODE_MAGIC}
_TYPES = {Special.SMALL_INDEX: (1, 3), Special.LARGE_INDEX: (DIRECTORY_TYPE,)}
_INDEXES = (Special.LARGE_INDEX, Special.SMALL_INDEX)


class Place(NamedTuple):
    """What a vnode's record says that nobody above the store knows: its content, and that a clone shares its pages."""

    inode: int
    cloned: bool


@implementer(IVolumeFiles)
class VolumeFiles:
    """A volume in a group. `release` is called once, when it is closed."""

    def __init__(self, volume_id: int, group: Group, threads: Threads, release: Callable[[], Awaitable[None]]) -> None:
        self.id = volume_id
        self.parent = group.parent
        self.group = group
        self._threads = threads
        self._release: Callable[[], Awaitable[None]] | None = release
        self._places: dict[int, Place] = {}  # of this volume only its own object writes records, but for `clone_to`
        self._info = special_inode(volume_id, Special.INFO)
        self._inodes = {kind: special_inode(volume_id, kind) for kind in _INDEXES}

    def check(self) -> None:
        """Raises Damaged when a special file is missing or has another's stamp."""
        for kind, magic in STAMPS.items():
            file = self.group.open_special(self.id, kind)
            data = os.pread(file.fd, STAMP.size, 0)
            if data != STAMP.pack(magic=magic, version=FORMAT_VERSION):
                raise Damaged(f"volume {self.id}: the {kind.name} file has stamp {data.hex()}")

    async def read_header(self) -> VolumeHeader:
        data = self._at_hand_in(self._info, VOLUME_INFO.size, 0)
        if data is None:
            data = await self._threads.read(self._read_info)
        header = unpack_header(data)
        if (header.id, header.parent) != (self.id, self.parent):
            raise Damaged(f"volume {self.id} of {self.parent}: its info says {header.id} of {header.parent}")
        return header

    async def write_header(self, header: VolumeHeader) -> None:
        assert (header.id, header.parent) == (self.id, self.parent), f"the header of another volume: {header.id}"
        data = pack_header(header)
        known = self._at_hand_in(self._info, 1, 0) is not None
        await self._changed(known, len(data), self._write_info, data)

    async def vnodes(self) -> Sequence[tuple[int, int]]:
        return sorted(await self._threads.run(self._scan))

    async def tally(self) -> Tally:
        return await self._threads.run(self._tally)

    async def read_vnode(self, number: int) -> Vnode:
        data = self._record_at_hand(number)
        if data is None:
            data = await self._threads.read(self._record, number)
        vnode, inode, cloned = unpack_vnode(data)
        self._keep(number, inode, cloned)
        return vnode

    async def read_vnodes(
        self, numbers: Sequence[int], limit: int, wants: Callable[[Vnode], bool]
    ) -> Sequence[tuple[Vnode, bytes | None]]:
        return await self._threads.run(read_batch, self.group, self.id, numbers, limit, wants, self._checked)

    async def create_vnodes(self, made: Sequence[Made]) -> None:
        if not await self._threads.run(create_batch, self.group, self.id, made):
            for number, vnode, content in made:
                await self.create_vnode(number, vnode, content)

    async def write_vnode(self, number: int, vnode: Vnode) -> None:
        await self._changed(number in self._places, 0, self._write_vnode, number, vnode)

    async def create_vnode(self, number: int, vnode: Vnode, content: bytes = b"") -> None:
        kind = index_of(number)
        assert 0 < number <= MAX_VNODE and vnode.type in _TYPES[kind], f"vnode {number} cannot have type {vnode.type}"
        slot = self._slot_at_hand(number)
        assert not slot or not slot[0] & 7, f"vnode {number} of volume {self.id} is in use"
        await self._changed(slot is not None, len(content), self._create, number, vnode, content)

    async def remove_vnode(self, number: int) -> None:
        file = self._at_hand(number)
        known = file is not None and self._slot_at_hand(number) is not None
        size = file.size() if file is not None and known else 0
        del file  # its space is given back by whoever closes it last
        await self._changed(known, size, self._remove, number)

    async def read(self, number: int, offset: int, size: int) -> bytes:
        file = self._at_hand(number) or await self._fetched(number)
        found = read_at_hand(file, size, offset, self._threads.prompt) if size <= INLINE_SIZE else None
        return found if found is not None else await self._threads.read(_read, file, offset, size)

    async def write(self, number: int, offset: int, data: bytes) -> None:
        file = await self._own(number)
        known = bool(number & 1) or pages_at_hand(file, offset, len(data))  # a directory was read to be changed
        await self._changed(known, len(data), write_all, file, data, offset)

    async def truncate(self, number: int, length: int) -> None:
        file = await self._own(number, length)
        await self._changed(pages_at_hand(file, length, 0), file.size() - length, cut, file, length)

    async def content_length(self, number: int) -> int:
        file = self._at_hand(number) or await self._fetched(number)
        return file.size()

    async def clone_to(self, target: IVolumeFiles) -> None:
        assert isinstance(target, VolumeFiles) and target.group is self.group, "a clone stays in its group"
        try:
            await self._threads.run(self._clone, target)
        finally:
            self._places.clear()
            target._places.clear()

    async def sync(self) -> None:
        await self._threads.run(self._sync)

    async def close(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            await release()

    def drop_content(self) -> None:
        """Let go of all content, as the first half of destroying the volume: records stay, so that it can be done
        again.
        """
        for kind in _INDEXES:
            try:
                index = _read_index(self._special(kind), kind)
            except Damaged:  # this one is gone already
                continue
            for offset in range(0, len(index) - VNODE.size + 1, RECORD_SIZES[kind]):
                if inode := _inode_at(index, offset):
                    self.group.settle(inode, without=self.id)

    async def _changed(self, known: bool, size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Change so many bytes. `known`: no disk has to be read first."""
        if not known or size > INLINE_SIZE:
            return await self._threads.run(function, *args, **kwargs)
        if self._threads.prompt():  # as `briefly` has it, sooner
            return function(*args, **kwargs)
        return await self._threads.briefly(function, *args, **kwargs)

    def _read_info(self) -> bytes:
        return os.pread(self._special(Special.INFO).fd, VOLUME_INFO.size, 0)

    def _write_info(self, data: bytes) -> None:
        write_unit(self._special(Special.INFO), data, 0)

    def _sync(self) -> None:
        sync_file_system(self._special(Special.INFO))

    def _special(self, kind: Special) -> Descriptor:
        return self.group.open_special(self.id, kind)

    def _record(self, number: int) -> bytes:
        """The checked bytes of a record in use."""
        kind = index_of(number)
        size = RECORD_SIZES[kind]
        data = os.pread(self._special(kind).fd, size, record_offset(number)) if 0 < number <= MAX_VNODE else b""
        return self._checked(number, data)

    def _record_at_hand(self, number: int) -> bytes | None:
        """The same, None where a disk would have to be waited for."""
        if not 0 < number <= MAX_VNODE:
            return None
        kind = index_of(number)
        data = self._at_hand_in(self._inodes[kind], RECORD_SIZES[kind], record_offset(number))
        return self._checked(number, data) if data is not None else None

    def _slot_at_hand(self, number: int) -> bytes | None:
        """The first byte of a record, none after the end of the index; None where a disk is read to change it."""
        return self._at_hand_in(self._inodes[index_of(number)], 1, record_offset(number))

    def _at_hand_in(self, inode: int, size: int, offset: int) -> bytes | None:
        """What is there in a special file; None where a disk would have to be waited for, or there is no such file,
        which whoever asks a thread then is told.
        """
        try:
            file = self.group.at_hand(inode)
        except FileNotFoundError:
            return None
        return None if file is None else read_at_hand(file, size, offset, self._threads.prompt)

    def _checked(self, number: int, data: bytes) -> bytes:
        """Raises NoSuchVnode, Damaged."""
        kind = index_of(number)
        if data and len(data) < RECORD_SIZES[kind]:
            raise Damaged(f"volume {self.id}: the {kind.name} ends inside the record of vnode {number}")
        if not data or not data[0] & 7:
            raise NoSuchVnode(f"no vnode {number} in volume {self.id}")
        record = VNODE.unpack(data)
        if record.magic != _MAGIC[kind] or record.word & 7 not in _TYPES[kind]:
            raise Damaged(f"volume {self.id}: vnode {number} has magic {record.magic:#x} and type {record.word & 7}")
        return data

    def _write_vnode(self, number: int, vnode: Vnode) -> None:
        self._write_record(number, vnode, *self._place(number))

    def _write_record(self, number: int, vnode: Vnode, inode: int, cloned: bool = False) -> None:
        write_unit(self._index(number), pack_vnode(vnode, inode, cloned=cloned), record_offset(number))
        self._keep(number, inode, cloned)

    def _place(self, number: int) -> Place:
        known = self._places.get(number)
        if known is not None:
            return known
        _, inode, cloned = unpack_vnode(self._record(number))
        return self._keep(number, inode, cloned)

    def _keep(self, number: int, inode: int, cloned: bool) -> Place:
        if len(self._places) >= MAX_PLACES:
            self._places.clear()
        place = self._places[number] = Place(inode, cloned)
        return place

    def _index(self, number: int) -> Descriptor:
        """The index in which a vnode has its record."""
        kind = index_of(number)
        try:
            return self.group.open(self._inodes[kind])
        except FileNotFoundError:
            return self._special(kind)  # which says what is missing

    def _content(self, number: int) -> Descriptor:
        return self._open(number, self._place(number).inode)

    def _at_hand(self, number: int) -> Descriptor | None:
        """The vnode's content, open, if no disk has to be waited for."""
        place = self._places.get(number)
        if place is None:
            data = self._record_at_hand(number)
            if data is None:
                return None
            place = self._keep(number, *unpack_vnode(data)[1:])
        try:
            return self.group.at_hand(place.inode)
        except FileNotFoundError:
            return None  # `_content` says what is wrong

    async def _fetched(self, number: int) -> Descriptor:
        """The same, from a disk that may take its time."""
        return await self._threads.read(self._content, number)

    def _open(self, number: int, inode: int) -> Descriptor:
        try:
            return self.group.open(inode)
        except FileNotFoundError:
            raise Damaged(
                f"volume {self.id}: the content of vnode {number} is gone: {self.group.path(inode)}"
            ) from None

    def _scan(self) -> list[tuple[int, int]]:
        return [(number, record.uniquifier) for number, record in self._records()]

    def _tally(self) -> Tally:
        count = used = highest = 0
        for _, record in self._records():
            count += 1
            used += blocks(record.length_lo | record.length_hi << 32)
            highest = max(highest, record.uniquifier)
        return Tally(count, used, highest)

    def _records(self) -> Iterator[tuple[int, Any]]:
        """Number and record of every vnode in use, directories first. Raises Damaged."""
        for kind in _INDEXES:
            size = RECORD_SIZES[kind]
            data = _read_index(self._special(kind), kind)
            if len(data) % size:
                raise Damaged(f"volume {self.id}: the {kind.name} ends inside a record")
            for offset in range(0, len(data), size):
                if data[offset] & 7:
                    record = VNODE.unpack(data, offset)
                    number = 2 * (offset // size) + (1 if kind is Special.LARGE_INDEX else 2)
                    if record.magic != _MAGIC[kind]:
                        raise Damaged(f"volume {self.id}: vnode {number} has magic {record.magic:#x}")
                    yield number, record

    def _create(self, number: int, vnode: Vnode, content: bytes) -> None:
        inode, file = self.group.create_data(number, vnode.uniquifier, vnode.data_version)
        try:
            if content:
                write_all(file, content, 0)
            self._write_record(number, vnode, inode)
        except OSError:
            self.group.settle(inode)
            raise

    def _remove(self, number: int) -> None:
        inode = self._place(number).inode
        with self.group.lock:
            self._places.pop(number, None)
            write_unit(self._index(number), bytes(RECORD_SIZES[index_of(number)]), record_offset(number))
            self.group.settle(inode)

    async def _own(self, number: int, keep: int | None = None) -> Descriptor:
        """The vnode's content, open; copied first (up to `keep` bytes) when other volumes share it."""
        file = self._at_hand(number) or await self._fetched(number)
        if await self._alone(number):
            return file
        length = file.size() if keep is None else min(file.size(), keep)
        return await self._threads.run(self._copy, number, file, length)

    async def _alone(self, number: int) -> bool:
        """Whether no other volume shares the content."""
        place = self._places.get(number)
        count = None if place is None else self.group.known_count(place.inode)
        return (count if count is not None else await self._threads.run(self._count, number)) == 1

    def _count(self, number: int) -> int:
        return self.group.count(self._place(number).inode)

    def _copy(self, number: int, source: Descriptor, length: int) -> Descriptor:
        vnode, old, _ = unpack_vnode(self._record(number))
        inode, file = self.group.create_data(number, vnode.uniquifier, vnode.data_version)
        try:
            copy_sparse(source, file, length)
            with self.group.lock:
                self._write_record(number, vnode, inode)
                self.group.settle(old)
        except OSError:
            self.group.settle(inode)
            raise
        return file

    def _clone(self, target: VolumeFiles) -> None:
        with self.group.membership:
            for kind in _INDEXES:
                reserve(target._special(kind), self._special(kind).size())
            for kind in _INDEXES:
                self._clone_index(target, kind)

    def _clone_index(self, target: VolumeFiles, kind: Special) -> None:
        """Raise the counts, then write the clone's records, then lower the counts of what it let go of.

        Counts come from the indexes, so whatever a kill interrupts is finished by cloning again.
        """
        size = RECORD_SIZES[kind]
        source_file, target_file = self._special(kind), target._special(kind)
        source, old = _read_index(source_file, kind), _read_index(target_file, kind)
        dropped = []
        for offset in range(0, max(len(source), len(old)), size):
            new_inode, old_inode = _inode_at(source, offset), _inode_at(old, offset)
            if new_inode == old_inode:
                continue
            if new_inode:
                self.group.share(new_inode)
            if old_inode:
                dropped.append(old_inode)
        if kind is Special.LARGE_INDEX:
            write_all(source_file, _with_cloned_bit(source, True), size)
            source = _with_cloned_bit(source, False)
        write_all(target_file, source, size)
        cut(target_file, size + len(source))
        for inode in dropped:
            self.group.settle(inode)


def _read(file: Descriptor, offset: int, size: int) -> bytes:
    return os.pread(file.fd, size, offset)


def _read_index(file: Descriptor, kind: Special) -> bytes:
    """The whole index less its first record, the stamp."""
    size = RECORD_SIZES[kind]
    return os.pread(file.fd, max(file.size() - size, 0), size)


def _inode_at(index: bytes, offset: int) -> int:
    if offset >= len(index) or not index[offset] & 7:
        return 0
    record = VNODE.unpack(index, offset)
    inode: int = record.inode_lo | record.inode_hi << 32
    return inode


def _with_cloned_bit(index: bytes, cloned: bool) -> bytes:
    data = bytearray(index)
    for offset in range(0, len(data), RECORD_SIZES[Special.LARGE_INDEX]):
        if data[offset] & 7:
            data[offset] = data[offset] & ~CLONED | CLONED * cloned
    return bytes(data)
