"""Rows as a vldb.DB0 that a stock vlserver serves: what of them that file can hold."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO

from vlserver.interfaces import ITransaction, StoreError
from vlserver.legacy.layout import (
    BLOCK_HEADER,
    BLOCK_RECORDS,
    BLOCK_SIZE,
    BLOCKS,
    END_LIMIT,
    ENTRY,
    FREE,
    HASH_SIZE,
    HEADER,
    INITIAL_VERSION,
    MULTIHOMED_VERSION,
    NAME_AT,
    NEXT_NAME_AT,
    NO_SERVER,
    POINTER,
    RECORD,
    UBIK,
    UBIK_SIZE,
    Label,
    id_hash,
    name_hash,
)
from vlserver.operations.entries import max_volume_id
from vlserver.operations.places import PlacedSite, Places
from vlserver.operations.servers import RECORDS_PER_BLOCK, uniquifiers
from vlserver.schema import SERVER_ADDRESSES, SERVER_SLOTS, VOLUME_SITES, Server, Volume
from xdr.codec import XdrError

ROWS_AT_ONCE = 1000
"""Entries read together."""

SEEN_BITS = 1 << 27
"""Of the map that finds names used twice: 16 MB, and one in a hundred of a million names is looked at again."""

UNHASHABLE = 0x80000000
"""The id that a stock server puts in no bucket: it has no absolute value in 32 bits."""

Progress = Callable[[int, int], None]
Noticed = Callable[[Volume, Sequence[PlacedSite]], None]


class StockWriter:
    """Writes the rows of one transaction to a file; `noticed` is told each entry and its sites as written.

    Raises StoreError for what the format cannot hold and no projection can express.
    """

    def __init__(self, transaction: ITransaction, file: BinaryIO, progress: Progress, noticed: Noticed) -> None:
        self._transaction = transaction
        self._file = file
        self._progress = progress
        self._noticed = noticed
        self._servers = transaction.servers()
        self._last_key = transaction.last_key()
        self._uniquifiers = uniquifiers(transaction)
        self._blocks = -(-(max(self._uniquifiers, default=-1) + 1) // RECORDS_PER_BLOCK)
        self._start = HEADER.size + self._blocks * BLOCK_SIZE
        self._names = [0] * HASH_SIZE
        self._ids = [[0] * HASH_SIZE for _ in range(3)]
        self._seen = bytearray(SEEN_BITS // 8)
        self._repeated: set[bytes] = set()

    def write(self, label: Label) -> None:
        """All of the file, under this ubik version."""
        end = self._offset(self._last_key + 1)
        if end >= END_LIMIT:
            raise StoreError(f"{self._last_key} entries are more than a file of 2 GiB holds")
        self._file.write(bytes(UBIK_SIZE + HEADER.size))
        for block in range(self._blocks):
            self._write_block(block)
        free = self._write_entries()
        self._reorder_names()
        self._file.seek(0)
        self._file.write(UBIK.pack(epoch=label.epoch, counter=label.counter))
        self._file.write(
            HEADER.pack(
                version=MULTIHOMED_VERSION if self._blocks else INITIAL_VERSION,
                header_size=HEADER.size,
                free=free,
                end=end,
                allocations=0,
                frees=0,
                max_volume_id=max_volume_id(self._transaction),
                totals=(0, 0, 0),
                servers=self._server_words(),
                names=self._names,
                ids=self._ids,
                blocks=HEADER.size if self._blocks else 0,
            )
        )

    def _offset(self, key: int) -> int:
        return self._start + ENTRY.size * (key - 1)

    def _server_words(self) -> list[int]:
        words = [0] * SERVER_SLOTS
        for server in self._servers:
            if server.record is not None:
                block, index = divmod(server.record, RECORDS_PER_BLOCK)
                words[server.slot] = POINTER | block << 16 | index + 1
            elif server.uuid is None and len(server.addresses) == 1:
                words[server.slot] = server.addresses[0]
            else:
                raise StoreError(f"{server} is neither a single address nor a registered server")
        return words

    def _write_block(self, block: int) -> None:
        offsets = [HEADER.size + each * BLOCK_SIZE if each < self._blocks else 0 for each in range(BLOCKS)]
        self._file.write(BLOCK_HEADER.pack(blocks=offsets if block == 0 else [0] * BLOCKS))
        by_record = {server.record: server for server in self._servers}
        for index in range(BLOCK_RECORDS - 1):
            number = block * RECORDS_PER_BLOCK + index
            self._file.write(self._record(number, by_record.get(number)))

    def _record(self, number: int, server: Server | None) -> bytes:
        if server is None:
            retired = self._uniquifiers.get(number, 0)
            return RECORD.pack(uuid=bytes(16), uniquifier=retired, addresses=(0,) * SERVER_ADDRESSES, flags=0)
        if server.uuid is None:
            raise StoreError(f"{server} has a record and no UUID")
        addresses = (*server.addresses, *(0,) * (SERVER_ADDRESSES - len(server.addresses)))
        return RECORD.pack(uuid=server.uuid.bytes, uniquifier=server.uniquifier, addresses=addresses, flags=0)

    def _write_entries(self) -> int:
        """Entries and, where keys are not in use, free ones; returns the head of their chain."""
        removed = self._transaction.removed_keys()
        links = {key: self._offset(before) for before, key in pairwise(removed)}
        links |= {removed[0]: 0} if removed else {}
        places = Places(self._transaction)
        expected = 1
        for volume in volumes_of(self._transaction):
            self._write_free(range(expected, volume.key), links)
            self._write_entry(volume, places.entry(volume).sites)
            expected = volume.key + 1
            if expected % ROWS_AT_ONCE == 0:
                self._progress(expected, self._last_key)
        self._write_free(range(expected, self._last_key + 1), links)
        return self._offset(removed[-1]) if removed else 0

    def _write_free(self, keys: range, links: dict[int, int]) -> None:
        for key in keys:
            if key not in links:
                raise StoreError(f"the key {key} is neither in use nor removed: see `vldb check`")
            self._file.write(_FREE_ENTRY.pack(FREE, links[key]))

    def _write_entry(self, volume: Volume, sites: Sequence[PlacedSite]) -> None:
        offset = self._offset(volume.key)
        if UNHASHABLE in volume.ids:
            raise StoreError(f"{volume.name!r} has the id {UNHASHABLE}, which no stock vlserver can find")
        nothing = bytes((NO_SERVER,)) * (VOLUME_SITES - len(sites))
        name_bucket = name_hash(volume.name)
        next_id = []
        for kind, volume_id in enumerate(volume.ids):
            if volume_id or kind == 0:
                bucket = id_hash(volume_id)
                next_id.append(self._ids[kind][bucket])
                self._ids[kind][bucket] = offset
            else:
                next_id.append(0)
        try:
            data = ENTRY.pack(
                ids=volume.ids,
                flags=volume.flags,
                lock_afs_id=volume.lock_afs_id,
                lock_timestamp=volume.lock_timestamp,
                clone_id=volume.clone_id,
                next_id=next_id,
                next_name=self._names[name_bucket],
                name=volume.name.ljust(_NAME_SIZE, b"\0"),
                servers=bytes(site.server.slot for site in sites) + nothing,
                partitions=bytes(site.number for site in sites) + nothing,
                site_flags=bytes(site.flags for site in sites) + nothing,
            )
        except (XdrError, ValueError) as problem:
            raise StoreError(f"{volume!r} does not fit into a stock entry: {problem}") from problem
        self._names[name_bucket] = offset
        self._file.write(data)
        self._remember(volume.name)
        self._noticed(volume, sites)

    def _remember(self, name: bytes) -> None:
        """Note a name that may have been written before; surely, if it was."""
        byte, bit = divmod(hash(name) % SEEN_BITS, 8)
        if self._seen[byte] >> bit & 1:
            self._repeated.add(name)
        self._seen[byte] |= 1 << bit

    def _reorder_names(self) -> None:
        """Of several entries with one name the one named last is first on its chain: the one that is found."""
        if not self._repeated:
            return
        groups: dict[bytes, list[Volume]] = {}
        for volume in volumes_of(self._transaction):
            if volume.name in self._repeated:
                groups.setdefault(volume.name, []).append(volume)
        for name, group in groups.items():
            wanted = sorted(group, key=lambda volume: (-volume.name_order, -volume.key))
            if len(group) > 1 and wanted != group[::-1]:
                self._reorder(name_hash(name), [self._offset(volume.key) for volume in wanted])

    def _reorder(self, bucket: int, wanted: list[int]) -> None:
        """Put these entries of a chain, where they are now, into this order among themselves."""
        chain, offset = [], self._names[bucket]
        while offset:
            chain.append(offset)
            self._file.seek(UBIK_SIZE + offset + NEXT_NAME_AT)
            (offset,) = _LINK.unpack(self._file.read(_LINK.size))
        members, order = set(wanted), iter(wanted)
        chain = [next(order) if each in members else each for each in chain]
        for each, following in zip(chain, (*chain[1:], 0), strict=True):
            self._file.seek(UBIK_SIZE + each + NEXT_NAME_AT)
            self._file.write(_LINK.pack(following))
        self._names[bucket] = chain[0]


def volumes_of(transaction: ITransaction) -> Iterator[Volume]:
    """All entries by key."""
    after = 0
    while rows := transaction.volumes(after, ROWS_AT_ONCE):
        yield from rows
        after = rows[-1].key


_LINK = struct.Struct(">I")
_NAME_SIZE = 65
_FREE_ENTRY = struct.Struct(f">12xI12xI{ENTRY.size - 32}x")

assert NEXT_NAME_AT + _LINK.size == NAME_AT
