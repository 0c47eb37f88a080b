"""vldb.DB0 read and judged: everything a stock vlserver would find in it, or the first thing that is wrong with it.

Nothing is repaired here: that is what the stock `vldb_check -fix` is for. The file is mapped, not read into memory;
beside it there are a few bytes for each entry.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from afs.names import is_volume_name
from vlserver.legacy.layout import (
    BLOCK_SIZE,
    CONTINUATION,
    ENTRY,
    FLAGS_AT,
    FREE,
    HEADER,
    IDS_AT,
    INITIAL_VERSION,
    MULTIHOMED_VERSION,
    NAME_AT,
    NAMES_AT,
    NEXT_ID_AT,
    NEXT_NAME_AT,
    NO_SERVER,
    UBIK,
    UBIK_SIZE,
    Label,
    id_hash,
    name_hash,
)
from vlserver.legacy.servers import DamagedFile, StoredServers
from vlserver.schema import MAX_VOLUME_ID, VOLUME_SITES
from xdr.codec import XdrError

REPORTED = 20_000
"""Entries between two reports of progress."""

_word = struct.Struct(">I").unpack_from
_kinds = ("read-write", "read-only", "backup")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class StoredVolume:
    """An entry of the file. `sites` are (server slot, partition number, flags); `key` is its place among the entries,
    from 1; `name_order` is 0, or less for one that another entry of its name hides.
    """

    key: int
    name: bytes
    ids: tuple[int, int, int]
    sites: tuple[tuple[int, int, int], ...]
    clone_id: int
    flags: int
    lock_timestamp: int
    lock_afs_id: int
    name_order: int


class StoredVldb:
    """A sound vldb.DB0. Making one checks all of the file; raises DamagedFile, OSError."""

    def __init__(self, path: str, progress: Progress = lambda done, total: None) -> None:
        self._progress = progress
        with open(path, "rb") as file:
            self._size = os.fstat(file.fileno()).st_size
            if self._size < UBIK_SIZE + HEADER.size:
                raise DamagedFile(self._size, f"the file ends inside its header of {UBIK_SIZE + HEADER.size} bytes")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._data = memoryview(self._map)
        try:
            self._check(path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._data.release()
        self._map.close()

    def _check(self, path: str) -> None:
        self.label = self._label()
        self._header = HEADER.unpack(self._data, UBIK_SIZE)
        self._check_header()
        _refuse_unfinished(path)
        servers = StoredServers(self._data, self._header)
        self._blocks = servers.blocks
        self.servers = servers.servers
        self.settings = {MAX_VOLUME_ID: int(self._header.max_volume_id)} | servers.settings
        self._offsets = self._scan()
        self.places = self._check_entries()
        self._on_chain = bytearray(len(self._offsets) + 1)
        self._hidden: dict[int, int] = {}
        self.removed_keys = self._free_chain()
        self._name_chains()
        for kind in range(3):
            self._id_chains(kind)
        self._check_chained()

    @property
    def count(self) -> int:
        """Entries in use."""
        return len(self._offsets) - len(self.removed_keys)

    def volumes(self) -> Iterator[StoredVolume]:
        """The entries in the order of the file."""
        for key, _, entry in self._entries():
            yield StoredVolume(
                key,
                _name(entry.name),
                entry.ids,
                tuple(_sites(entry)),
                entry.clone_id,
                entry.flags,
                entry.lock_timestamp,
                entry.lock_afs_id,
                self._hidden.get(key, 0),
            )

    def _label(self) -> Label:
        try:
            ubik = UBIK.unpack(self._data)
        except XdrError as problem:
            raise DamagedFile(0, f"not the header of a ubik database: {problem}") from problem
        if ubik.epoch == 0:
            raise DamagedFile(8, "a transfer of the database from another server was not finished here (version 0)")
        return Label(ubik.epoch, ubik.counter)

    def _check_header(self) -> None:
        header = self._header
        if header.version not in (INITIAL_VERSION, MULTIHOMED_VERSION):
            raise DamagedFile(UBIK_SIZE, f"VLDB version {header.version}; versions 3 and 4 can be read")
        if header.header_size != HEADER.size:
            raise DamagedFile(UBIK_SIZE + 4, f"a header of {header.header_size} bytes, not {HEADER.size}")
        if not HEADER.size <= header.end <= self._size - UBIK_SIZE:
            there = f"{self._size - UBIK_SIZE} bytes are there"
            raise DamagedFile(
                UBIK_SIZE + 12, f"the entries would end at {header.end}, {there}: half written or cut off"
            )

    def _scan(self) -> array[int]:
        """The offset of each entry, in use or free."""
        offsets = array("I")
        blocks = set(self._blocks)
        offset, end = HEADER.size, self._header.end
        while offset < end:
            if offset in blocks:
                blocks.discard(offset)
                offset += BLOCK_SIZE
                continue
            if offset + ENTRY.size > end:
                raise DamagedFile(offset + UBIK_SIZE, f"an entry would go beyond the end at {end}")
            if _word(self._data, offset + UBIK_SIZE + FLAGS_AT)[0] == CONTINUATION:
                raise DamagedFile(offset + UBIK_SIZE, "an extension block that the first one does not list")
            offsets.append(offset)
            offset += ENTRY.size
        if offset != end:
            raise DamagedFile(UBIK_SIZE + 12, f"the last extension block goes to {offset}, beyond the end at {end}")
        if blocks:
            raise DamagedFile(min(blocks) + UBIK_SIZE, "an extension block that begins inside an entry")
        return offsets

    def _entries(self) -> Iterator[tuple[int, int, Any]]:
        """(key, offset in the database, record) of each entry in use, in the order of the file."""
        for key, offset in enumerate(self._offsets, 1):
            if key % REPORTED == 0:
                self._progress(key, len(self._offsets))
            entry = ENTRY.unpack(self._data, offset + UBIK_SIZE)
            if entry.flags == FREE:
                continue
            yield key, offset, entry

    def _check_entries(self) -> list[tuple[int, int]]:
        """Each entry's fields by themselves; returns the (server, partition number) they name."""
        slots = {server.slot for server in self.servers}
        places: set[tuple[int, int]] = set()
        for _, offset, entry in self._entries():
            name = _name(entry.name)
            if len(name) == len(entry.name) or (name and not is_volume_name(name)):
                raise DamagedFile(offset + UBIK_SIZE + NAME_AT, f"{name!r} is no volume's name")
            for slot, number, _ in _sites(entry):
                if slot not in slots:
                    raise DamagedFile(offset + UBIK_SIZE, f"{name!r} has a site on server {slot}, which is not there")
                places.add((slot, number))
        return sorted(places)

    def _key(self, offset: int, from_: int) -> int:
        """Which entry is at this offset, that a link at byte `from_` gives."""
        at = bisect_left(self._offsets, offset)
        if at >= len(self._offsets) or self._offsets[at] != offset:
            raise DamagedFile(from_, f"a link to {offset}, where no entry begins")
        return at + 1

    def _free_chain(self) -> list[int]:
        """The free entries, the one to be used next last."""
        keys: list[int] = []
        offset, from_ = self._header.free, UBIK_SIZE + 8
        while offset:
            key = self._key(offset, from_)
            at = offset + UBIK_SIZE
            if _word(self._data, at + FLAGS_AT)[0] != FREE:
                raise DamagedFile(from_, f"the chain of free entries leads to {offset}, which is in use")
            if self._on_chain[key]:
                raise DamagedFile(from_, f"the chain of free entries leads back to {offset}")
            self._on_chain[key] = 1
            keys.append(key)
            from_ = at + NEXT_ID_AT
            offset = _word(self._data, from_)[0]
        keys.reverse()
        return keys

    def _name_chains(self) -> None:
        named = struct.Struct(f">{NEXT_NAME_AT}xI65s").unpack_from
        for bucket, offset in enumerate(self._header.names):
            from_ = UBIK_SIZE + NAMES_AT + 4 * bucket
            seen: dict[bytes, int] = {}
            while offset:
                key = self._join(offset, from_, 1)
                at = offset + UBIK_SIZE
                offset, stored = named(self._data, at)
                name = _name(stored)
                if name_hash(name) != bucket:
                    raise DamagedFile(from_, f"{name!r} is on the chain {bucket} of names, not on {name_hash(name)}")
                if name in seen:
                    self._hidden[key] = -seen[name]
                seen[name] = seen.get(name, 0) + 1
                from_ = at + NEXT_NAME_AT

    def _id_chains(self, kind: int) -> None:
        numbered = struct.Struct(f">{4 * kind}xI{NEXT_ID_AT - 4}xI").unpack_from
        for bucket, offset in enumerate(self._header.ids[kind]):
            from_ = UBIK_SIZE + IDS_AT + 4 * (kind * len(self._header.names) + bucket)
            seen: set[int] = set()
            while offset:
                self._join(offset, from_, 2 << kind)
                at = offset + UBIK_SIZE
                volume_id, offset = numbered(self._data, at)
                if id_hash(volume_id) != bucket:
                    raise DamagedFile(from_, f"the {_kinds[kind]} id {volume_id} is on the wrong chain {bucket}")
                if volume_id in seen:
                    raise DamagedFile(at, f"two entries have the {_kinds[kind]} id {volume_id}")
                seen.add(volume_id)
                from_ = at + NEXT_ID_AT + 4 * kind

    def _join(self, offset: int, from_: int, bit: int) -> int:
        """Note that the entry at `offset` is on a chain; its key."""
        key = self._key(offset, from_)
        if _word(self._data, offset + UBIK_SIZE + FLAGS_AT)[0] == FREE:
            raise DamagedFile(from_, f"a chain leads to {offset}, which is a free entry")
        if self._on_chain[key] & bit:
            raise DamagedFile(from_, f"a chain leads to {offset} a second time")
        self._on_chain[key] |= bit
        return key

    def _check_chained(self) -> None:
        """Every entry is on the chains where it is looked for."""
        head = struct.Struct(">4I").unpack_from
        without_id = 0
        for key, offset in enumerate(self._offsets, 1):
            *ids, flags = head(self._data, offset + UBIK_SIZE)
            chains = self._on_chain[key]
            if flags == FREE:
                if not chains:
                    raise DamagedFile(offset + UBIK_SIZE, "a free entry that is not on the chain of free entries")
                continue
            if not chains & 1:
                raise DamagedFile(offset + UBIK_SIZE, "an entry that is not on the chain of its name")
            for kind, volume_id in enumerate(ids):
                if volume_id and not chains & 2 << kind:
                    raise DamagedFile(
                        offset + UBIK_SIZE, f"an entry not on the chain of its {_kinds[kind]} id {volume_id}"
                    )
            without_id += not ids[0]
            if without_id > 1:
                raise DamagedFile(offset + UBIK_SIZE, "a second entry without a read-write id")


def _refuse_unfinished(path: str) -> None:
    """Ubik's log beside the file: a transaction there may be half in the file."""
    if not path.endswith(".DB0"):
        return
    log = f"{path.removesuffix('.DB0')}.DBSYS1"
    if os.path.exists(log) and os.path.getsize(log) > UBIK_SIZE:
        raise DamagedFile(
            os.path.getsize(path),
            f"{log} holds a transaction that may be half in this file: start and stop the stock vlserver once",
        )


def _name(stored: bytes) -> bytes:
    return stored.partition(b"\0")[0]


def _sites(entry: Any) -> Iterator[tuple[int, int, int]]:
    """Up to the first place that is empty: what is behind it no server looks at."""
    for position in range(VOLUME_SITES):
        if entry.servers[position] == NO_SERVER:
            return
        yield entry.servers[position], entry.partitions[position], entry.site_flags[position]
