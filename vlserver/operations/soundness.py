"""Whether the rows make sense together: what `vldb check` looks at beyond the database file itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vlserver.forms import MAX_SITE_FLAGS, RESERVED_FLAGS, is_entry_name
from vlserver.interfaces import ITransaction, StoreError
from vlserver.operations.entries import LAST_VOLUME_ID, max_volume_id
from vlserver.operations.locks import ALL_OPERATIONS
from vlserver.operations.servers import is_address
from vlserver.schema import (
    PARTITION_NUMBERS,
    SERVER_ADDRESSES,
    SERVER_RECORDS,
    SERVER_SLOTS,
    VOLUME_SITES,
    Change,
    Partition,
    Server,
    Volume,
)
from vlserver.store.changes import row_of

ROWS_AT_ONCE = 1000
"""Rows read together."""

PAGE_BITS = 16
"""Volume ids are noted in bit maps of 8 KB for 65,536 neighbours: ids are given away in order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. A `warning` can come of what RPCs allow; anything else is damage."""

    text: str
    warning: bool = False


def findings(transaction: ITransaction, progress: Callable[[int, int], None]) -> Iterator[Finding]:
    """All that is wrong, in the order of servers, partitions, volumes, the counters and the change log."""
    servers = {server.slot: server for server in transaction.servers()}
    yield from _servers(list(servers.values()))
    partitions = transaction.partitions()
    yield from _partitions(partitions, servers)
    yield from _definitions(transaction, partitions, servers)
    yield from _volumes(transaction, partitions, progress)
    yield from _log(transaction)


def _servers(servers: list[Server]) -> Iterator[Finding]:
    taken: dict[object, int] = {}
    for server in servers:
        what = f"server {server.slot}"
        if not 0 <= server.slot < SERVER_SLOTS:
            yield Finding(f"{what}: slots are 0 to {SERVER_SLOTS - 1}")
        if server.record is not None and not 0 <= server.record < SERVER_RECORDS:
            yield Finding(f"{what}: record {server.record} is not one of 0 to {SERVER_RECORDS - 1}")
        if len(server.addresses) > SERVER_ADDRESSES:
            yield Finding(f"{what}: {len(server.addresses)} addresses, more than {SERVER_ADDRESSES}")
        if server.uuid is None and len(server.addresses) != 1:
            yield Finding(f"{what}: {len(server.addresses)} addresses, and no UUID that they could belong to")
        if not server.addresses:
            yield Finding(f"{what}: no address", warning=True)
        for address in server.addresses:
            if not is_address(address):
                yield Finding(f"{what}: {address:#010x} is no address")
        names = (*server.addresses, server.uuid, None if server.record is None else f"record {server.record}")
        for name in filter(None, names):
            if taken.setdefault(name, server.slot) != server.slot:
                yield Finding(f"{what}: has {name} in common with server {taken[name]}")


def _partitions(partitions: list[Partition], servers: dict[int, Server]) -> Iterator[Finding]:
    mounted: dict[tuple[int, int], Partition] = {}
    for each in partitions:
        what = f"partition {each.uuid}"
        if not 0 <= each.number < PARTITION_NUMBERS:
            yield Finding(f"{what}: number {each.number}")
        for slot in {each.owner, each.last_owner} - {None}:
            if slot not in servers:
                yield Finding(f"{what}: names server {slot}, which is not there")
        if each.epoch < 0:
            yield Finding(f"{what}: epoch {each.epoch}")
        if each.owner is not None:
            other = mounted.setdefault((each.owner, each.number), each)
            if other is not each:
                yield Finding(f"{what}: mounted on server {each.owner} as {each.number}, where {other.uuid} is")


def _definitions(
    transaction: ITransaction, partitions: list[Partition], servers: dict[int, Server]
) -> Iterator[Finding]:
    known = {each.uuid for each in partitions}
    for each in transaction.definitions():
        what = f"definition of {each.partition} on server {each.server}"
        if each.partition not in known:
            yield Finding(f"{what}: there is no such partition")
        if each.server not in servers:
            yield Finding(f"{what}: there is no such server")
        if not 0 <= each.number < PARTITION_NUMBERS:
            yield Finding(f"{what}: number {each.number}")


def _volumes(
    transaction: ITransaction, partitions: list[Partition], progress: Callable[[int, int], None]
) -> Iterator[Finding]:
    known = {each.uuid for each in partitions}
    used = _IdSet()
    last_key = transaction.last_key()
    free = set(transaction.removed_keys())
    highest, in_use, after = 0, 0, 0
    while rows := transaction.volumes(after, ROWS_AT_ONCE):
        after = rows[-1].key
        for volume in rows:
            in_use += 1
            for text, warning in _volume(volume):
                yield Finding(f"volume {volume.ids[0]} ({volume.name.decode('latin-1')}): {text}", warning)
            if volume.key in free:
                yield Finding(f"volume {volume.ids[0]}: its key {volume.key} is among the removed ones")
            for site in volume.sites:
                if site.partition not in known:
                    yield Finding(
                        f"volume {volume.ids[0]}: a site on the partition {site.partition}, which is not there"
                    )
            for volume_id in filter(None, volume.ids):
                highest = max(highest, volume_id)
                if not used.add(volume_id):
                    yield Finding(f"volume {volume.ids[0]}: its id {volume_id} is also another's", warning=True)
        progress(after, last_key)
    if in_use + len(free) != last_key:
        yield Finding(f"{in_use} entries and {len(free)} removed keys do not make up the {last_key} keys given")
    next_id = max_volume_id(transaction)
    if highest >= next_id:
        yield Finding(f"the next volume id is {next_id}, and {highest} is in use", warning=True)


def _volume(volume: Volume) -> Iterator[tuple[str, bool]]:
    """What is wrong with an entry by itself, and whether that is only a warning."""
    if not is_entry_name(volume.name):
        yield f"{volume.name!r} is no volume's name", False
    if not all(0 <= volume_id <= LAST_VOLUME_ID for volume_id in (*volume.ids, volume.clone_id)):
        yield f"ids {volume.ids} and {volume.clone_id}", False
    if len(volume.sites) > VOLUME_SITES:
        yield f"{len(volume.sites)} sites, more than {VOLUME_SITES}", False
    if volume.flags in RESERVED_FLAGS:
        yield f"flags {volume.flags:#x}", False
    if any(not 0 <= site.flags <= MAX_SITE_FLAGS for site in volume.sites):
        yield f"site flags {[site.flags for site in volume.sites]}", False
    if not volume.name or not volume.ids[0]:
        yield "no name or no read-write id", True
    if not volume.sites:
        yield "no site", True
    if bool(volume.lock_timestamp) != bool(volume.flags & ALL_OPERATIONS):
        yield f"half locked: time {volume.lock_timestamp}, flags {volume.flags:#x}", True


class _IdSet:
    """Which volume ids have been seen."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, volume_id: int) -> bool:
        """False when it was there."""
        page = self._pages.get(volume_id >> PAGE_BITS)
        if page is None:
            page = self._pages[volume_id >> PAGE_BITS] = bytearray(1 << PAGE_BITS - 3)
        byte, bit = divmod(volume_id & (1 << PAGE_BITS) - 1, 8)
        new = not page[byte] >> bit & 1
        page[byte] |= 1 << bit
        return new


def _log(transaction: ITransaction) -> Iterator[Finding]:
    """Revisions follow one another; only a change that replaces everything may leap. Their rows can be read."""
    expected: int | None = None
    since = 0
    while changes := transaction.changes(since, ROWS_AT_ONCE):
        for change in changes:
            if expected is not None and change.revision != expected and change.rows:
                yield Finding(f"the change log goes from revision {expected - 1} to {change.revision}")
            expected = change.revision + 1
            yield from _change(change)
        since = changes[-1].revision
    if expected is not None and expected != transaction.revision + 1:
        yield Finding(f"the change log ends at {expected - 1}, the database is at {transaction.revision}")


def _change(change: Change) -> Iterator[Finding]:
    for row in change.rows:
        if row.kind == "setting":
            continue
        try:
            row_of(row.kind, row.before)
            row_of(row.kind, row.after)
        except StoreError as problem:
            yield Finding(f"the change of revision {change.revision} cannot be read: {problem}")
