"""Access lists: rights bits, the list as stored (192 bytes) and as text, and what a list allows somebody.

Refusals are `Abort`s with the code a file server answers; a damaged stored list is `BadAccessList`.
"""

import errno
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from functools import lru_cache
from typing import Any, Literal, Self

from construct import Array, ConstructError, Int32sb, Int32sn, Struct, this
from zope.interface import implementer

from afs.interfaces import INames
from afs.types import AFSOPAQUEMAX
from rx.errors import Abort

SYSADMINID = -204
"""system:administrators"""
AUTHUSERID = -102
"""system:authuser"""
ANYUSERID = -101
"""system:anyuser"""
ANONYMOUSID = 32766
"""The user nobody is logged in as; also what the protection server answers for an unknown name."""

ACL_VERSION = 1
ACL_SIZE = 192
"""Bytes a directory's vnode record keeps for its list (vnode.h)."""
ACL_MAXENTRIES = 20
"""Entries in one list, both kinds together (acl.h)."""
NAME_MAX = 63
"""Bytes in a name; the protection server's field holds 64 with the NUL."""


class Rights(IntFlag):
    """What an entry grants or denies (prs_fs.h). A to H have no meaning to AFS."""

    READ = 1
    WRITE = 2
    INSERT = 4
    LOOKUP = 8
    DELETE = 16
    LOCK = 32
    ADMINISTER = 64
    A = 1 << 24
    B = 1 << 25
    C = 1 << 26
    D = 1 << 27
    E = 1 << 28
    F = 1 << 29
    G = 1 << 30
    H = 1 << 31


ALL_RIGHTS = 0x7F
_LETTERS = {
    "r": Rights.READ,
    "l": Rights.LOOKUP,
    "i": Rights.INSERT,
    "d": Rights.DELETE,
    "w": Rights.WRITE,
    "k": Rights.LOCK,
    "a": Rights.ADMINISTER,
} | {letter: Rights[letter] for letter in "ABCDEFGH"}
_WORDS = {"none": "", "read": "rl", "write": "rlidwk", "all": "rlidwka"}


class BadAccessList(ValueError):
    """A stored access list that no file server can have written."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One line of a list: a user's or group's id, and rights bits (0 .. 2**32 - 1)."""

    id: int
    rights: int


@dataclass(frozen=True, slots=True)
class AccessList:
    """Who has which rights in a directory. Both halves are sorted by id; the same id may occur twice."""

    positive: tuple[Entry, ...] = ()
    negative: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, positive: Iterable[Entry], negative: Iterable[Entry] = ()) -> Self:
        """A list of these entries, sorted. Abort(EINVAL) when there are more than 20."""
        made = cls(tuple(sorted(positive)), tuple(sorted(negative)))
        if made._count > ACL_MAXENTRIES:
            raise Abort(errno.EINVAL, f"{made._count} entries where {ACL_MAXENTRIES} fit")
        return made

    @classmethod
    def from_bytes(cls, area: bytes, order: Literal["native", "big"] = "native") -> Self:
        """The list stored in `area`: native order in a vnode record, big-endian in a dump. Raises BadAccessList."""
        positive, negative = _stored(bytes(area), order)
        return cls(positive, negative)

    def to_bytes(self, order: Literal["native", "big"] = "native") -> bytes:
        """The 192 bytes stored; zeros follow the last entry."""
        entries = [*self.positive, *reversed(self.negative)]
        stored = _LAYOUTS[order].build(
            {
                "size": _HEADER_SIZE + _ENTRY_SIZE * self._count,
                "version": ACL_VERSION,
                "total": self._count,
                "positive": len(self.positive),
                "negative": len(self.negative),
                "entries": [{"id": entry.id, "rights": _signed(entry.rights)} for entry in entries],
            }
        )
        return bytes(stored).ljust(ACL_SIZE, b"\0")

    def rights(self, groups: Sequence[int]) -> int:
        """The rights bits that somebody in these `groups` (a sorted CPS) has: granted by any, and denied by none."""
        if groups and groups[-1] == SYSADMINID:
            return 0xFFFF_FFFF  # aclprocs.c: only a CPS whose largest id is the administrators' group
        granted = denied = 0
        for entry in self.positive:
            if entry.id in groups:
                granted |= entry.rights
        for entry in self.negative:
            if entry.id in groups:
                denied |= entry.rights
        return granted & ~denied

    async def to_text(self, names: INames) -> bytes:
        """The list as FetchACL answers it, with its NUL. Abort(E2BIG) when that is more than 1024 bytes."""
        entries = [*self.positive, *self.negative]
        known = await names.ids_to_names([entry.id for entry in entries])
        lines = [b"%s\t%d\n" % (name, _signed(entry.rights)) for name, entry in zip(known, entries, strict=True)]
        text = b"%d\n%d\n%s\0" % (len(self.positive), len(self.negative), b"".join(lines))
        if len(text) > AFSOPAQUEMAX:
            raise Abort(errno.E2BIG, f"{len(text)} bytes of access list where {AFSOPAQUEMAX} fit")
        return text

    @property
    def _count(self) -> int:
        return len(self.positive) + len(self.negative)


async def parse_acl(opaque: bytes, names: INames) -> AccessList:
    """The list in the argument of StoreACL. Abort(EINVAL) for text that is malformed, too long, or names an unknown.

    The text must end in a NUL inside the argument (OPENAFS-SA-2024-002); what follows it, or the last entry
    that the counts announce, is ignored, as stock servers do.
    """
    positive, lines = _split(opaque)
    ids = await names.names_to_ids([name for name, _ in lines])
    if ANONYMOUSID in ids:
        unknown = lines[ids.index(ANONYMOUSID)][0]
        raise Abort(errno.EINVAL, f"{unknown!r} is not a user or group")
    entries = [Entry(each, rights) for each, (_, rights) in zip(ids, lines, strict=True)]
    return AccessList.of(entries[:positive], entries[positive:])


def parse_rights(text: str) -> int:
    """Rights bits from letters (`rlidwka`, `A`..`H`) or a word: none, read, write, all. ValueError otherwise."""
    rights = 0
    for letter in _WORDS.get(text, text):
        if letter not in _LETTERS:
            raise ValueError(f"{letter!r} is not a right: they are {''.join(_LETTERS)}")
        rights |= _LETTERS[letter]
    return rights


def format_rights(rights: int) -> str:
    """Rights bits as letters, in the order in which `fs listacl` prints them."""
    return "".join(letter for letter, bit in _LETTERS.items() if rights & bit)


@implementer(INames)
class BuiltinNames:
    """The three groups every cell has, for a cell without a protection server. Nobody else is known."""

    _ids = {b"system:administrators": SYSADMINID, b"system:authuser": AUTHUSERID, b"system:anyuser": ANYUSERID}
    _names = {group: name for name, group in _ids.items()}

    async def names_to_ids(self, names: Sequence[bytes]) -> list[int]:
        return [self._ids.get(name.lower(), ANONYMOUSID) for name in names]

    async def ids_to_names(self, ids: Sequence[int]) -> list[bytes]:
        return [self._names.get(each, b"%d" % each) for each in ids]

    async def groups(self, user_id: int) -> tuple[int, ...]:
        if user_id == ANONYMOUSID:
            return (ANYUSERID, ANONYMOUSID)
        return tuple(sorted((ANYUSERID, AUTHUSERID, user_id)))

    async def host_groups(self, address: str) -> tuple[int, ...]:
        return ()


def _layout(word: Any) -> Struct:
    """struct acl_accessList (acl.h). Entries: the positive ones from the front, the negative ones from the end."""
    return Struct(
        "size" / word,
        "version" / word,
        "total" / word,
        "positive" / word,
        "negative" / word,
        "entries" / Array(this.total, Struct("id" / word, "rights" / word)),
    )


_LAYOUTS = {"native": _layout(Int32sn), "big": _layout(Int32sb)}
_HEADER_SIZE = 20
_ENTRY_SIZE = 8

# Lists are few and read at every call; their text is never that of more than some thousand different lists.
_CACHED_LISTS = 4096


@lru_cache(_CACHED_LISTS)
def _stored(area: bytes, order: str) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """The two halves of a stored list, checked."""
    try:
        stored = _LAYOUTS[order].parse(area)
    except ConstructError as problem:
        raise BadAccessList(f"access list cut short: {problem}") from None
    positive, negative, total = stored.positive, stored.negative, stored.total
    if (
        stored.version != ACL_VERSION
        or not 0 <= total <= ACL_MAXENTRIES
        or min(positive, negative) < 0
        or positive + negative != total
        or stored.size != _HEADER_SIZE + _ENTRY_SIZE * total
    ):
        raise BadAccessList(
            f"access list of version {stored.version}, {stored.size} bytes, {positive} + {negative} of {total} entries"
        )
    entries = [Entry(each.id, each.rights & 0xFFFF_FFFF) for each in stored.entries]
    return tuple(entries[:positive]), tuple(reversed(entries[positive:]))


_count_line = re.compile(rb"\s*(\d{1,9})\s*")
_entry_line = re.compile(rb"\s*(\S{1,%d})\s+([+-]?\d{1,10})\s*" % NAME_MAX)


def _split(opaque: bytes) -> tuple[int, list[tuple[bytes, int]]]:
    """(count of positive entries, [(name, rights), ...]) of an access list's text; Abort(EINVAL) when it is none."""
    text, nul, _ = opaque.partition(b"\0")
    lines = text.split(b"\n")
    counts = [_count_line.fullmatch(line) for line in lines[:2]]
    if not nul or len(lines) < 3 or counts[0] is None or counts[1] is None:
        raise Abort(errno.EINVAL, "an access list begins with two counts, each on a line, and ends in a NUL")
    positive, negative = int(counts[0][1]), int(counts[1][1])
    if positive + negative > ACL_MAXENTRIES:
        raise Abort(errno.EINVAL, f"{positive + negative} entries where {ACL_MAXENTRIES} fit")
    entries = []
    for line in lines[2 : 2 + positive + negative]:
        entry = _entry_line.fullmatch(line)
        if entry is None or not -(2**31) <= int(entry[2]) < 2**32:
            raise Abort(errno.EINVAL, f"not an entry of an access list: {line[:NAME_MAX]!r}")
        entries.append((entry[1], int(entry[2]) & 0xFFFF_FFFF))
    if len(entries) < positive + negative:
        raise Abort(errno.EINVAL, f"{len(entries)} entries where {positive + negative} are announced")
    return positive, entries


def _signed(rights: int) -> int:
    """Rights bits as the int that C stores and prints."""
    return rights - 2**32 if rights >= 2**31 else rights
