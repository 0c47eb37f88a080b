"""namei inode numbers and the file names they stand for (volume-format.md section 1).

An inode number is 26 bits of vnode number, 3 bits of tag and 32 bits of uniquifier from bit 32 up. In a special inode
the vnode bits are all ones, the tag is the kind of file and the upper half a volume id.
"""

from __future__ import annotations

from enum import IntEnum

VNODE_MASK = 0x3FFFFFF
TAG_SHIFT = 26
TAG_MASK = 7
UNIQUE_SHIFT = 32

MAX_VNODE = VNODE_MASK - 1
"""All ones is what marks a special inode."""

DATA_DIRECTORY = "AFSIDat"
SPECIAL_DIRECTORY = "special"

_DIGITS = "+=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [low + high for high in _DIGITS for low in _DIGITS]
"""Two digits for each 12 bits."""
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}


class Special(IntEnum):
    """Kinds of special file, numbered as in voldefs.h; 4 and 5 are no longer used."""

    INFO = 1
    SMALL_INDEX = 2
    LARGE_INDEX = 3
    LINK_TABLE = 6


def data_inode(vnode: int, tag: int, unique: int) -> int:
    """The inode number of one version of a vnode's content."""
    return vnode | tag << TAG_SHIFT | unique << UNIQUE_SHIFT


def special_inode(volume_id: int, kind: Special) -> int:
    """The inode number of a volume's special file; for the link table the id is the group's."""
    return VNODE_MASK | kind << TAG_SHIFT | volume_id << UNIQUE_SHIFT


def vnode_of(inode: int) -> int:
    """The vnode number, or VNODE_MASK in a special inode."""
    return inode & VNODE_MASK


def tag_of(inode: int) -> int:
    """The tag, which is also the column in the link table."""
    return inode >> TAG_SHIFT & TAG_MASK


def group_directory(parent: int) -> str:
    """Where the files of a volume group are, relative to the partition."""
    return f"{DATA_DIRECTORY}/{encode(parent & 0xFF)}/{encode(parent)}"


def inode_directory(inode: int) -> str:
    """Where in the group's directory the inode's file is."""
    vnode = vnode_of(inode)
    if vnode == VNODE_MASK:
        return SPECIAL_DIRECTORY
    return f"{encode(vnode >> 14 & 0xFF)}/{encode(vnode >> 9 & 0x1FF)}"


def same_directory(inode: int) -> int:
    """What inodes have in common whose files are in one directory of a group."""
    return vnode_of(inode) >> 9 & 0x1FFFF


def inode_path(inode: int) -> str:
    """The inode's file, relative to the group's directory."""
    return f"{inode_directory(inode)}/{encode(inode)}"


def encode(value: int) -> str:
    """A number in 6-bit digits, least significant first (util/flipbase64.c)."""
    digits = ""
    while value > 0xFFF:
        digits += _PAIRS[value & 0xFFF]
        value >>= 12
    return digits + (_PAIRS[value] if value > 63 else _DIGITS[value])


def decode(name: str) -> int | None:
    """The number `name` encodes, or None when it is no such name."""
    value = 0
    for shift, digit in enumerate(name):
        if digit not in _VALUES or shift > 10:
            return None
        value |= _VALUES[digit] << 6 * shift
    return value if name and encode(value) == name else None
