"""Entries listed: one after another by index, or those with given attributes.

An index is what stock's is, an offset in its database file: clients only hand it back, but some check that it grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from uuid import UUID

from afs.errors import VLError
from afs.rpc.vl import (
    VLF_BACKEXISTS,
    VLF_RWEXISTS,
    VLLIST_FLAG,
    VLLIST_PARTITION,
    VLLIST_SERVER,
    VLLIST_VOLUMEID,
    VLSF_BACKVOL,
    VLSF_ROVOL,
    VLSF_RWVOL,
)
from rx.errors import Abort
from vlserver.interfaces import ITransaction
from vlserver.operations.entries import ANY_TYPE, locate
from vlserver.operations.pattern import BadPattern, Pattern
from vlserver.operations.places import Entry, PlacedSite, Places
from vlserver.schema import Volume

ENTRIES_PER_REPLY = 500
"""Entries one ListAttributesN2 returns at most (VLDBALLOCCOUNT)."""

ENTRIES_IN_ALL = 500_000
"""Entries the calls without pages return at most: 230 MB of reply, near what a client takes; then VL_SIZEEXCEEDED."""

ROWS_AT_ONCE = 1000
"""Entries read from the store at a time."""

FIRST_INDEX = 132120
INDEX_STEP = 148
"""Where entries begin in a stock database, and their size (vldb.md section 3)."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """VldbListByAttributes: which entries are wanted. The address is unsigned."""

    mask: int
    address: int
    number: int
    volume_id: int
    flag: int


@dataclass(frozen=True, slots=True)
class Match:
    """An entry, and for ListAttributesN2 the site that matched and as which VLSF type."""

    entry: Entry
    site: int = 0
    kind: int = 0

    @property
    def index(self) -> int:
        """nvldbentry's matchindex."""
        return (self.kind << 16) + self.site


def index_of(key: int) -> int:
    """The index of the entry with this key."""
    return FIRST_INDEX + INDEX_STEP * (key - 1)


def key_at(transaction: ITransaction, index: int) -> int | None:
    """The key an index means: 0 for the start, None when there can be no such entry."""
    if index == 0:
        return 0
    key = (index - FIRST_INDEX) // INDEX_STEP + 1
    return key if index >= FIRST_INDEX and key <= transaction.last_key() else None


def next_entry(transaction: ITransaction, previous_index: int) -> tuple[int, int, Entry | None]:
    """ListEntry(N): how many may remain behind it (-1: a bad index), its index (0: the end), and the entry."""
    after = key_at(transaction, previous_index)
    if after is None:
        return -1, 0, None
    found = transaction.volumes(after, 1)
    if not found:
        return 0, 0, None
    (volume,) = found
    return transaction.last_key() - volume.key, index_of(volume.key), Places(transaction).entry(volume)


def with_attributes(transaction: ITransaction, wanted: Attributes, site_limit: int) -> list[Entry]:
    """ListAttributes(N) and LinkedList(N), which look at the first `site_limit` sites their entry form has."""
    places = Places(transaction)
    if wanted.mask & VLLIST_VOLUMEID:
        return [places.entry(locate(transaction, wanted.volume_id, ANY_TYPE))]
    found: list[Entry] = []
    for volume in _candidates(transaction, places, wanted, 0):
        entry = places.entry(volume)
        if not _has_attributes(entry, wanted, site_limit):
            continue
        found.append(entry)
        if len(found) > ENTRIES_IN_ALL:
            raise Abort(VLError.VL_SIZEEXCEEDED)
    return found


def _has_attributes(entry: Entry, wanted: Attributes, site_limit: int) -> bool:
    """With a server asked for, only the first site on it is looked at for the partition."""
    sites: Sequence[PlacedSite] = entry.sites[:site_limit]
    if wanted.mask & VLLIST_SERVER:
        sites = [site for site in sites if wanted.address in site.server.addresses][:1]
        if not sites:
            return False
    if wanted.mask & VLLIST_PARTITION and all(site.number != wanted.number for site in sites):
        return False
    return not wanted.mask & VLLIST_FLAG or bool(entry.volume.flags & wanted.flag)


def page(transaction: ITransaction, wanted: Attributes, pattern: bytes, start_index: int) -> tuple[list[Match], int]:
    """ListAttributesN2: the matches behind `start_index`, and where to go on: -1 when there is no more."""
    places = Places(transaction)
    if wanted.mask & VLLIST_VOLUMEID:
        return [Match(places.entry(locate(transaction, wanted.volume_id, ANY_TYPE)))], -1
    if wanted.mask & VLLIST_SERVER and transaction.server_at(wanted.address) is None:
        return [], -1
    compiled = _compiled(pattern)
    after = key_at(transaction, start_index)
    if after is None:
        return [], -1
    found: list[Match] = []
    for volume in _candidates(transaction, places, wanted, after):
        match = _best_match(places.entry(volume), wanted, compiled)
        if match is None:
            continue
        found.append(match)
        if len(found) >= ENTRIES_PER_REPLY:
            return found, index_of(volume.key)
    return found, -1


def is_open_pattern(pattern: bytes) -> bool:
    """Whether a pattern asks for every name, which needs no privilege."""
    return pattern in (b"", b".*")


def _compiled(pattern: bytes) -> Pattern | None:
    if is_open_pattern(pattern):
        return None
    try:
        return Pattern(pattern)
    except BadPattern as problem:
        raise Abort(VLError.VL_BADNAME, str(problem)) from problem


def _best_match(entry: Entry, wanted: Attributes, pattern: Pattern | None) -> Match | None:
    """The site that ListAttributesN2 reports.

    A read-write site matches by the volume's name, else by its backup's; a read-only site by the clone's name, but
    with a pattern only if the site before it that was not read-write did too. The first read-write site decides, if
    its name or any site before it matched; among read-only sites the last match counts.
    """
    found: Match | None = None
    readwrite: bool | None = None
    readonly: bool | None = None
    for position, site in enumerate(entry.sites):
        if site.flags & VLSF_RWVOL:
            kind = _readwrite_kind(entry.volume, pattern)
            readwrite = bool(kind)
        else:
            kind = VLSF_ROVOL if site.flags & VLSF_ROVOL and (pattern is None or readonly is not False) else 0
            if kind and pattern is not None and not pattern.matches(entry.volume.name + b".readonly"):
                kind = 0
            readonly = bool(kind)
        if kind and _is_wanted(entry.volume, site, wanted):
            found = Match(entry, position, kind)
        if (found and readwrite is not None) or (readwrite is False and readonly is False):
            break
    return found


def _readwrite_kind(volume: Volume, pattern: Pattern | None) -> int:
    """As which VLSF type a read-write site has a name that matches, or 0."""
    if volume.flags & VLF_RWEXISTS and (pattern is None or pattern.matches(volume.name)):
        return VLSF_RWVOL
    if volume.flags & VLF_BACKEXISTS and (pattern is None or pattern.matches(volume.name + b".backup")):
        return VLSF_BACKVOL
    return 0


def _is_wanted(volume: Volume, site: PlacedSite, wanted: Attributes) -> bool:
    if wanted.mask & VLLIST_SERVER and wanted.address not in site.server.addresses:
        return False
    if wanted.mask & VLLIST_PARTITION and site.number != wanted.number:
        return False
    return not wanted.mask & VLLIST_FLAG or bool(volume.flags & wanted.flag)


def _candidates(transaction: ITransaction, places: Places, wanted: Attributes, after: int) -> Iterator[Volume]:
    """Entries that may match, by key: with a server asked for only those on its partitions."""
    if not wanted.mask & VLLIST_SERVER:
        yield from _all(transaction, after)
        return
    server = transaction.server_at(wanted.address)
    if server is None:
        return
    last = after
    runs = [_on(transaction, partition.uuid, after) for partition in transaction.partitions_of(server.slot)]
    for volume in merge(*runs, key=lambda each: each.key):
        if volume.key != last:
            last = volume.key
            yield volume


def _all(transaction: ITransaction, after: int) -> Iterator[Volume]:
    while rows := transaction.volumes(after, ROWS_AT_ONCE):
        yield from rows
        after = rows[-1].key


def _on(transaction: ITransaction, partition: UUID, after: int) -> Iterator[Volume]:
    while rows := transaction.volumes_on(partition, after, ROWS_AT_ONCE):
        yield from rows
        after = rows[-1].key
