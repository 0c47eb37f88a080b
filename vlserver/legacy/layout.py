"""vldb.DB0 as it is on disk (docs/protocol/vldb.md; ubik.p.h, vlserver.p.h), all of it big-endian, and its hashes.

The file is a 64-byte ubik header, the VLDB's header, and then entries of 148 bytes among which lie up to four extension
blocks of 8192. Links are offsets from the end of the ubik header, 0 for none.
"""

from __future__ import annotations

from dataclasses import dataclass

from construct import Array, Bytes, Const, Int16ub, Int32ub, Padding, Struct

from vlserver.schema import SERVER_ADDRESSES, SERVER_SLOTS, VOLUME_SITES
from xdr.layout import fast

HASH_SIZE = 8191
"""Buckets of each of the four hash tables."""

UBIK_SIZE = 64
"""The file's first bytes, before offset 0 of the links."""

UBIK_MAGIC = 0x00354545
INITIAL_VERSION, MULTIHOMED_VERSION = 3, 4
"""What the first word of the header says; 4 once a server has registered a UUID."""

FREE, CONTINUATION = 0x1, 0x8
"""Flag words, compared whole, of a free entry and of an extension block."""

NO_SERVER = 255
"""The server number that ends an entry's sites."""

POINTER = 0xFF000000
"""A server word of this top byte points to a record: block in the next byte, index in the lower two."""

BLOCKS, BLOCK_RECORDS, RECORD_SIZE = 4, 64, 128
BLOCK_SIZE = BLOCK_RECORDS * RECORD_SIZE
"""An extension block: a header and 63 servers' records of the same size."""

END_LIMIT = 0x7FFFFFFF
"""Links are signed: a stock server refuses to grow the file to here."""

UBIK = fast(
    Struct(
        "magic" / Const(UBIK_MAGIC, Int32ub),
        Padding(2),
        "size" / Const(UBIK_SIZE, Int16ub),
        "epoch" / Int32ub,
        "counter" / Int32ub,
        Padding(48),
    ),
    "Ubik",
)

HEADER = fast(
    Struct(
        "version" / Int32ub,
        "header_size" / Int32ub,
        "free" / Int32ub,
        "end" / Int32ub,
        "allocations" / Int32ub,
        "frees" / Int32ub,
        "max_volume_id" / Int32ub,
        "totals" / Array(3, Int32ub),
        "servers" / Array(SERVER_SLOTS, Int32ub),
        "names" / Array(HASH_SIZE, Int32ub),
        "ids" / Array(3, Array(HASH_SIZE, Int32ub)),
        "blocks" / Int32ub,
    ),
    "Header",
)

ENTRY = fast(
    Struct(
        "ids" / Array(3, Int32ub),
        "flags" / Int32ub,
        "lock_afs_id" / Int32ub,
        "lock_timestamp" / Int32ub,
        "clone_id" / Int32ub,
        "next_id" / Array(3, Int32ub),
        "next_name" / Int32ub,
        "name" / Bytes(65),
        "servers" / Bytes(VOLUME_SITES),
        "partitions" / Bytes(VOLUME_SITES),
        "site_flags" / Bytes(VOLUME_SITES),
    ),
    "StoredEntry",
)

BLOCK_HEADER = fast(
    Struct(
        Padding(12),
        "flags" / Const(CONTINUATION, Int32ub),
        "blocks" / Array(BLOCKS, Int32ub),
        Padding(96),
    ),
    "BlockHeader",
)

RECORD = fast(
    Struct(
        "uuid" / Bytes(16),
        "uniquifier" / Int32ub,
        "addresses" / Array(SERVER_ADDRESSES, Int32ub),
        "flags" / Int32ub,
        Padding(44),
    ),
    "ServerRecord",
)

FLAGS_AT, NEXT_ID_AT, NEXT_NAME_AT, NAME_AT = 12, 28, 40, 44
"""Where in an entry its flags, its links and its name are: what is followed without unpacking all of it."""

NAMES_AT, IDS_AT, SERVERS_AT = 1060, 33824, 40
"""Where in the header the tables are, for messages."""


@dataclass(frozen=True, slots=True)
class Label:
    """A ubik version: which state of the database a file holds."""

    epoch: int
    counter: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.counter}"


def name_hash(name: bytes) -> int:
    """The bucket of a name."""
    value = 0
    for byte in reversed(name):
        value = (value * 63 + byte - 63) & 0xFFFFFFFF
    return value % HASH_SIZE


def id_hash(volume_id: int) -> int:
    """The bucket of an id: ids from 2^31 are taken for negative, and their absolute value counts."""
    return (volume_id if volume_id < 0x80000000 else 0x100000000 - volume_id) % HASH_SIZE
