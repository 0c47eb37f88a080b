"""The on-disk layouts of a vice partition and of AFS directories, declared in construct (volume-format.md sections 2
to 7).

Beside each declaration stands the fast layout derived from it and, where the interface has a value for it, the
translation. Numbers are in the machine's own order, as OpenAFS writes them, which is little-endian on every platform
supported here; directory objects alone are big-endian.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from construct import Array, Bytes, Int8ub, Int8ul, Int16ub, Int32sl, Int32ub, Int32ul, Padding, Struct

from fileserver.interfaces import Damaged, Vnode, VolumeHeader
from xdr.layout import fast

FORMAT_VERSION = 1
"""Every stamp's version (volume.h VOLUMEHEADERVERSION and its fellows)."""

VOLUME_HEADER_MAGIC = 0x88A1BB3C
VOLUME_INFO_MAGIC = 0x78A1B2C5
SMALL_INDEX_MAGIC = 0x99776655
LARGE_INDEX_MAGIC = 0x88664433
LINK_TABLE_MAGIC = 0x99877712
SMALL_VNODE_MAGIC = 0xDA8C041F
LARGE_VNODE_MAGIC = 0xAD8765FE

DESTROY_ME = 0xD3
DONT_SALVAGE = 0xE5

ACL_SIZE = 192
SMALL_RECORD_SIZE = 64
LARGE_RECORD_SIZE = SMALL_RECORD_SIZE + ACL_SIZE

DIRECTORY_TYPE = 2

DIRECTORY_TAG = 1234
DIRECTORY_PAGE = fast(
    Struct(
        "pgcount" / Int16ub,  # of the whole object, in page 0 alone
        "tag" / Int16ub,
        "freecount" / Int8ub,
        "freebitmap" / Bytes(8),
        Padding(19),
    )
)
DIRECTORY_ENTRY = fast(
    Struct(
        "flag" / Int8ub,
        "length" / Int8ub,  # unused
        "next" / Int16ub,
        "vnode" / Int32ub,
        "unique" / Int32ub,
    )
)
"""An entry up to its NUL-terminated name."""

STAMP = fast(Struct("magic" / Int32ul, "version" / Int32ul))
"""What each special file starts with (volume.h versionStamp)."""

VOLUME_FILE = fast(
    Struct(
        "magic" / Int32ul,
        "version" / Int32ul,
        "id" / Int32ul,
        "parent" / Int32ul,
        "volume_info_lo" / Int32ul,
        "small_index_lo" / Int32ul,
        "large_index_lo" / Int32ul,
        "acl_lo" / Int32ul,
        "mount_table_lo" / Int32ul,
        "volume_info_hi" / Int32ul,
        "small_index_hi" / Int32ul,
        "large_index_hi" / Int32ul,
        "acl_hi" / Int32ul,
        "mount_table_hi" / Int32ul,
        "link_table_lo" / Int32ul,
        "link_table_hi" / Int32ul,
        Padding(12),
    )
)
"""The file `V<id>.vol` (VolumeDiskHeader)."""

VOLUME_INFO = fast(
    Struct(
        "magic" / Int32ul,
        "version" / Int32ul,
        "id" / Int32ul,
        "name" / Bytes(32),
        "in_use" / Int8ul,
        "in_service" / Int8ul,
        "blessed" / Int8ul,
        "needs_salvaged" / Int8ul,
        "uniquifier" / Int32ul,
        "type" / Int32sl,
        "parent" / Int32ul,
        "clone_id" / Int32ul,
        "backup_id" / Int32ul,
        "restored_from_id" / Int32ul,
        "needs_callback" / Int8ul,
        "destroy_me" / Int8ul,
        "dont_salvage" / Int8ul,
        Padding(1),
        Padding(24),
        "max_quota" / Int32sl,
        "min_quota" / Int32sl,
        "max_files" / Int32sl,
        "account_number" / Int32ul,
        "owner" / Int32sl,
        Padding(32),
        "file_count" / Int32sl,
        "disk_used" / Int32sl,
        "day_use" / Int32sl,
        "week_use" / Array(7, Int32sl),
        "day_use_date" / Int32ul,
        "update_counter" / Int32ul,
        Padding(40),
        "creation_date" / Int32ul,
        "access_date" / Int32ul,
        "update_date" / Int32ul,
        "expiration_date" / Int32ul,
        "backup_date" / Int32ul,
        "copy_date" / Int32ul,
        "stat_initialized" / Int32ul,
        Padding(28),
        "offline_message" / Bytes(128),
        "stat_reads" / Array(4, Int32ul),
        "stat_writes" / Array(4, Int32ul),
        "file_same_author" / Array(6, Int32ul),
        "file_diff_author" / Array(6, Int32ul),
        "dir_same_author" / Array(6, Int32ul),
        "dir_diff_author" / Array(6, Int32ul),
    )
)
"""The volume info file (VolumeDiskData)."""

VNODE = fast(
    Struct(
        "word" / Int32ul,  # type:3, cloned:1, mode:12, link count:16
        "length_lo" / Int32ul,
        "uniquifier" / Int32ul,
        "data_version" / Int32ul,
        "inode_lo" / Int32ul,
        "modify_time" / Int32ul,
        "author" / Int32sl,  # protection ids: groups are negative
        "owner" / Int32sl,
        "parent" / Int32ul,
        "magic" / Int32ul,
        "lock_count" / Int32sl,
        "lock_time" / Int32ul,
        "server_modify_time" / Int32ul,
        "group" / Int32sl,
        "inode_hi" / Int32ul,
        "length_hi" / Int32ul,
    )
)
"""One record of a vnode index (VnodeDiskObject); the ACL of a directory follows it."""

CLONED = 8
"""The bit of a directory's record that says: copy before the next change."""

_INFO_FIELDS = [field.name for field in fields(VolumeHeader)]
_MAGIC_BYTES = {"destroy_me": DESTROY_ME, "dont_salvage": DONT_SALVAGE}
_BOOLS = ("in_service", "blessed", "needs_salvaged", "needs_callback")


def pack_header(header: VolumeHeader) -> bytes:
    """The whole volume info file. A name or message too long for its field is a ValueError."""
    values: dict[str, Any] = {name: getattr(header, name) for name in _INFO_FIELDS}
    for name, magic in _MAGIC_BYTES.items():
        values[name] = magic if values[name] else 0
    values |= {
        "name": _string(header.name, 32),
        "offline_message": _string(header.offline_message, 128),
        "magic": VOLUME_INFO_MAGIC,
        "version": FORMAT_VERSION,
        "stat_initialized": 1,
    }
    packed: bytes = VOLUME_INFO.pack(**values)
    return packed


def unpack_header(data: bytes) -> VolumeHeader:
    """Raises Damaged when `data` is not a volume info file."""
    if len(data) < VOLUME_INFO.size:
        raise Damaged(f"volume info of {len(data)} bytes is cut short")
    record = VOLUME_INFO.unpack(data)
    if (record.magic, record.version) != (VOLUME_INFO_MAGIC, FORMAT_VERSION):
        raise Damaged(f"volume info has stamp {record.magic:#x} version {record.version}")
    values: dict[str, Any] = {name: getattr(record, name) for name in _INFO_FIELDS}
    for name, value in values.items():
        if name in _MAGIC_BYTES:
            values[name] = value == _MAGIC_BYTES[name]
        elif name in _BOOLS:
            values[name] = bool(value)
        elif isinstance(value, bytes):
            values[name] = value.partition(b"\0")[0]
        elif not isinstance(value, int):
            values[name] = tuple(value)
    return VolumeHeader(**values)


def pack_vnode(vnode: Vnode, inode: int, *, cloned: bool = False) -> bytes:
    """One index record; the size says which index it is for."""
    large = vnode.type == DIRECTORY_TYPE
    word = vnode.type | CLONED * cloned | (vnode.mode & 0xFFF) << 4 | (vnode.link_count & 0xFFFF) << 16
    record: bytes = VNODE.pack(
        VNODE.record(
            word,
            vnode.length & 0xFFFFFFFF,
            vnode.uniquifier,
            vnode.data_version,
            inode & 0xFFFFFFFF,
            vnode.modify_time,
            vnode.author,
            vnode.owner,
            vnode.parent,
            LARGE_VNODE_MAGIC if large else SMALL_VNODE_MAGIC,
            vnode.lock_count,
            vnode.lock_time,
            vnode.server_modify_time,
            vnode.group,
            inode >> 32,
            vnode.length >> 32,
        )
    )
    return record + vnode.acl.ljust(ACL_SIZE, b"\0") if large else record


def unpack_vnode(data: bytes) -> tuple[Vnode, int, bool]:
    """(vnode, inode, cloned) of one record in use; the caller has checked its magic."""
    record = VNODE.unpack(data)
    word = record.word
    link_count = word >> 16
    vnode = Vnode(
        word & 7,
        word >> 4 & 0xFFF,
        link_count - (link_count >> 15 << 16),
        record.length_lo | record.length_hi << 32,
        record.uniquifier,
        record.data_version,
        record.modify_time,
        record.author,
        record.owner,
        record.group,
        record.parent,
        record.server_modify_time,
        record.lock_count,
        record.lock_time,
        bytes(data[VNODE.size :]),
    )
    return vnode, record.inode_lo | record.inode_hi << 32, bool(word & CLONED)


def _string(value: bytes, size: int) -> bytes:
    if len(value) >= size:
        raise ValueError(f"{value!r} does not fit in {size} bytes with its NUL")
    return value.ljust(size, b"\0")
