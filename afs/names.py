"""The names of volumes and partitions: which are legal, what their suffixes say, and partition ids <-> letters.

Volume names are bytes, as they travel; partition names are text.
"""

import re

VOLMAXPARTS = 255
"""Partition ids are 0..254: /vicepa .. /vicepz, /vicepaa .. /vicepiu (voldefs.h)."""

VLDB_NAME_MAX = 64
"""Bytes of a name in the volume location database, whose field holds 65 with the NUL."""

VOLUME_NAME_MAX = 31
"""Bytes of a name in a volume's header, whose field holds 32 with the NUL."""

READWRITE_NAME_MAX = VOLUME_NAME_MAX - len(b".readonly")
"""Bytes of a read-write volume's name: what leaves room for its clones' suffixes."""

READONLY_SUFFIX = b".readonly"
BACKUP_SUFFIX = b".backup"

_PREFIX = "/vicep"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_legal_name = re.compile(rb"[A-Za-z0-9._-]+")


def partition_name(partition_id: int) -> str:
    """`/vicepa` for 0. ValueError outside 0..254."""
    if not 0 <= partition_id < VOLMAXPARTS:
        raise ValueError(f"{partition_id} is not a partition id: they are 0..{VOLMAXPARTS - 1}")
    first, second = divmod(partition_id, len(_LETTERS))
    return _PREFIX + (_LETTERS[first - 1] if first else "") + _LETTERS[second]


def parse_partition(text: str) -> int:
    """The id of a partition given as `a`, `vicepa`, `/vicepa` or `0`. ValueError when it is none of these."""
    if text.isascii() and text.isdigit():
        partition_id = int(text)
    else:
        letters = text.removeprefix("/").removeprefix("vicep")
        if not 1 <= len(letters) <= 2 or any(letter not in _LETTERS for letter in letters):
            raise ValueError(f"{text!r} is not a partition")
        partition_id = -1
        for letter in letters:
            partition_id = (partition_id + 1) * len(_LETTERS) + _LETTERS.index(letter)
    if partition_id >= VOLMAXPARTS:
        raise ValueError(f"{text!r} is not a partition: the last is {partition_name(VOLMAXPARTS - 1)}")
    return partition_id


def is_numeric_name(name: bytes) -> bool:
    """Whether the volume location service takes this name for a volume id. The empty name too is one (vlprocs.c)."""
    return not name or name.isdigit()


def is_volume_name(name: bytes, maximum: int = VLDB_NAME_MAX) -> bool:
    """Whether every byte is a letter, a digit, `.`, `-` or `_`, and there are 1..`maximum` of them."""
    return len(name) <= maximum and _legal_name.fullmatch(name) is not None


def base_name(name: bytes) -> bytes:
    """The read-write volume's name: without the suffix of a clone. A name that is only a suffix stays."""
    for suffix in (READONLY_SUFFIX, BACKUP_SUFFIX):
        if name.endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name
