"""The volume dump stream, version 1 (volume-format.md section 9): its tags and its fixed layouts.

A section begins with a tag of 20 or less, its fields with higher ones, in any order for whoever reads. Fields are
listed here in the order in which they are written; numbers are big-endian.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from construct import Array, Const, FormatField, Int8ub, Int16sb, Int16ub, Int32sb, Int32ub, Int64ub, Struct

from xdr.layout import Layout, fast

DUMP_HEADER, VOLUME_HEADER, VNODE, DUMP_END = 1, 2, 3, 4
"""Sections."""

LAST_SECTION = 20
"""Tags up to this one begin a section (dump.h D_MAX)."""

BEGIN_MAGIC, END_MAGIC, DUMP_VERSION = 0xB3A11322, 0x3A214B6E, 1

VOLUME_VERSION = 1
"""What a volume header says in its field `v`: the version of VolumeDiskData."""

WEEK = 7
"""Words in the field `W`, a week of use counts."""

CRITICAL = 0x7E
"""A field without data: whoever does not know the next one must not go on."""

FIRST_COUNTED, FIRST_WORD, FIRST_BARE, LAST_FIELD = 0x15, 0x61, 0x7B, 0x7F
"""Fields nobody knows yet: from 0x15 with a length before their data, from 0x61 a word, from 0x7b nothing."""

LONG_COUNT = 0x80
"""A length byte from this on says how many bytes the length itself has."""

NAME, TIMES, MESSAGE, MOTTO, WEEK_USE, ACCESS_LIST, CONTENT, LONG_CONTENT = (ord(tag) for tag in "ntOMWAfh")
"""The fields that are no numbers: strings end in a NUL, an access list has 192 bytes, content follows its length."""


@dataclass(frozen=True, slots=True)
class Field:
    """A number and its tag, which is the letter that the format gives it."""

    letter: str
    name: str
    kind: FormatField

    @property
    def tag(self) -> int:
        return ord(self.letter)

    @property
    def signed(self) -> bool:
        return bool(self.kind.fmtstr[1:].islower())


def tagged(tag: int, **kinds: Any) -> Layout:
    """A tag and what follows it."""
    return fast(Struct(Const(tag, Int8ub), *(name / kind for name, kind in kinds.items())))


def run(*fields: Field) -> Layout:
    """Fields one after the other, each with its tag."""
    return fast(Struct(*(part for each in fields for part in (Const(each.tag, Int8ub), each.name / each.kind))))


DUMP_FIELDS = (Field("v", "volume", Int32ub),)

VOLUME_FIELDS = (
    Field("i", "id", Int32ub),
    Field("v", "version", Int32ub),
    # here comes the name
    Field("s", "in_service", Int8ub),
    Field("b", "blessed", Int8ub),
    Field("u", "uniquifier", Int32ub),
    Field("t", "type", Int8ub),
    Field("p", "parent", Int32ub),
    Field("c", "clone_id", Int32ub),
    Field("q", "max_quota", Int32sb),
    Field("m", "min_quota", Int32sb),
    Field("d", "disk_used", Int32sb),
    Field("f", "file_count", Int32sb),
    Field("a", "account_number", Int32ub),
    Field("o", "owner", Int32sb),
    Field("C", "creation_date", Int32ub),
    Field("A", "access_date", Int32ub),
    Field("U", "update_date", Int32ub),
    Field("E", "expiration_date", Int32ub),
    Field("B", "backup_date", Int32ub),
    # here come the message, the empty motto and the week
    Field("D", "day_use_date", Int32ub),
    Field("Z", "day_use", Int32sb),
    Field("V", "update_counter", Int32ub),  # read and ignored, never written
)

VNODE_FIELDS = (
    Field("t", "type", Int8ub),
    Field("l", "link_count", Int16sb),
    Field("v", "data_version", Int32ub),
    Field("m", "modify_time", Int32ub),
    Field("a", "author", Int32sb),
    Field("o", "owner", Int32sb),
    Field("g", "group", Int32sb),  # left out when it is 0
    Field("b", "mode", Int16ub),
    Field("p", "parent", Int32ub),
    Field("s", "server_modify_time", Int32ub),
)

BEGIN = tagged(DUMP_HEADER, magic=Int32ub, version=Int32ub)
DUMPED = run(*DUMP_FIELDS)
DATES = tagged(TIMES, count=Int16ub, since=Int32ub, until=Int32ub)
DATE_COUNT = 2
"""What a dump writes for `count`: the two words of one interval."""

VOLUME_FIRST = run(*VOLUME_FIELDS[:2])
VOLUME_MIDDLE = run(*VOLUME_FIELDS[2:-3])
VOLUME_WEEK = tagged(WEEK_USE, count=Int16ub, counts=Array(WEEK, Int32ub))
VOLUME_LAST = run(*VOLUME_FIELDS[-3:-1])

VNODE_BEGIN = tagged(VNODE, number=Int32ub, uniquifier=Int32ub)
VNODE_FIRST = run(*VNODE_FIELDS[:6])
VNODE_GROUP = run(VNODE_FIELDS[6])
VNODE_LAST = run(*VNODE_FIELDS[7:])
SHORT_LENGTH = tagged(CONTENT, length=Int32ub)
LONG_LENGTH = tagged(LONG_CONTENT, length=Int64ub)

END = tagged(DUMP_END, magic=Int32ub)
