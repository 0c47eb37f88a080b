"""The link table a group should have, from what its volumes' indexes name."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct

from fileserver.store.formats import FORMAT_VERSION, LINK_TABLE_MAGIC, STAMP
from fileserver.store.inodes import tag_of, vnode_of
from fileserver.store.link_table import MAX_LINKS

_ROW = Struct("<H")
_COLUMN_BITS = 3
MAX_TOLD = 5
"""Wrong rows that are told of singly."""


def link_table(members: int, named: Mapping[int, int]) -> bytes:
    """The whole file; `named` counts the volumes that name each inode."""
    highest = max((vnode_of(inode) for inode, count in named.items() if count), default=0)
    table = bytearray(STAMP.pack(magic=LINK_TABLE_MAGIC, version=FORMAT_VERSION)) + bytes(_ROW.size * (highest + 1))
    _ROW.pack_into(table, STAMP.size, min(members, MAX_LINKS))
    for inode, count in named.items():
        offset = STAMP.size + _ROW.size * vnode_of(inode)
        (row,) = _ROW.unpack_from(table, offset)
        _ROW.pack_into(table, offset, row + (count << _COLUMN_BITS * tag_of(inode)))
    return bytes(table)


def differences(old: bytes, new: bytes) -> list[str]:
    """What is wrong with the table on the disk, in words. A longer table whose further rows are free is right."""
    if not old:
        return ["the link table is missing"]
    size = max(len(old), len(new))
    old, new = old.ljust(size, b"\0"), new.ljust(size, b"\0")
    if old == new:
        return []
    said = ["the link table has a wrong stamp"] if old[: STAMP.size] != new[: STAMP.size] else []
    wrong = [
        offset
        for offset in range(STAMP.size, size - 1, _ROW.size)
        if old[offset : offset + 2] != new[offset : offset + 2]
    ]
    for offset in wrong[:MAX_TOLD]:
        vnode = (offset - STAMP.size) // _ROW.size
        counts = f"{_ROW.unpack_from(old, offset)[0]:#o}, not {_ROW.unpack_from(new, offset)[0]:#o}"
        said.append(f"the link table counts {counts} for vnode {vnode}")
    if len(wrong) > MAX_TOLD:
        said.append(f"the link table is wrong about {len(wrong) - MAX_TOLD} more vnodes")
    return said or ["the link table ends inside a row"]
