"""The VLDB in memory: a real back end without durability, for tests and for trying things.

Everything runs in the calling thread. A write keeps a list of how to undo each step, walked backwards when the work
raises.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from uuid import UUID

from zope.interface import implementer

from vlserver.interfaces import Inconsistent, ITransaction, IVLStore, StoreError
from vlserver.schema import (
    PARTITION_NUMBERS,
    SERVER_SLOTS,
    Author,
    Change,
    Definition,
    Partition,
    Row,
    Server,
    Volume,
)
from vlserver.store.changes import KEPT_REVISIONS, ChangedRows

T = TypeVar("T")


@dataclass(slots=True)
class _Tables:
    """The rows by key, and the indexes that a lookup needs. Every change of them goes through a transaction's undo
    list.
    """

    servers: dict[int, Server] = field(default_factory=dict)
    addresses: dict[int, int] = field(default_factory=dict)
    partitions: dict[UUID, Partition] = field(default_factory=dict)
    definitions: dict[tuple[UUID, int], Definition] = field(default_factory=dict)
    volumes: dict[int, Volume] = field(default_factory=dict)
    kinds: tuple[dict[int, int], ...] = field(default_factory=lambda: ({}, {}, {}))
    names: dict[bytes, tuple[int, ...]] = field(default_factory=dict)
    on_partition: dict[UUID, dict[int, None]] = field(default_factory=dict)
    used_ids: list[int] = field(default_factory=list)
    free_keys: list[int] = field(default_factory=list)
    settings: dict[str, int] = field(default_factory=dict)
    last_key: int = 0


@implementer(IVLStore)
class MemoryStore:
    """IVLStore in dictionaries. `now` gives Unix seconds for the change log."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.revision = 0
        self._now = now
        self._tables = _Tables()
        self._log: deque[Change] = deque(maxlen=KEPT_REVISIONS)

    async def read(self, work: Callable[[ITransaction], T]) -> T:
        return work(_Transaction(self._tables, self.revision, self._log, writable=False))

    async def survey(self, work: Callable[[ITransaction], T]) -> T:
        return await self.read(work)

    async def write(self, work: Callable[[ITransaction], T], by: Author) -> T:
        transaction = _Transaction(self._tables, self.revision + 1, self._log, writable=True)
        try:
            result = work(transaction)
        except BaseException:
            transaction.roll_back()
            raise
        if transaction.changed.rows:
            self.revision += 1
            self._log.append(Change(self.revision, int(self._now()), by, tuple(transaction.changed.rows)))
        return result

    async def load(
        self, rows: Iterable[Row], settings: Mapping[str, int], removed_keys: Sequence[int], by: Author
    ) -> None:
        _require(not self.revision, "the database is not empty")
        transaction = _Transaction(self._tables, 1, self._log, writable=True)
        try:
            for row in rows:
                transaction.load(row)
        except BaseException:
            self._tables = _Tables()
            raise
        self._tables.settings.update(settings)
        self._tables.free_keys.extend(removed_keys)
        self._tables.last_key = max((*self._tables.volumes, *removed_keys), default=0)
        self.revision = 1
        self._log.append(Change(1, int(self._now()), by, ()))

    async def close(self) -> None:
        self._tables = _Tables()


@implementer(ITransaction)
class _Transaction:
    def __init__(self, tables: _Tables, revision: int, log: Sequence[Change], writable: bool) -> None:
        self.revision = revision
        self.changed = ChangedRows()
        self._tables = tables
        self._log = log
        self._writable = writable
        self._undo: list[Callable[[], object]] = []

    def roll_back(self) -> None:
        """Undo every step, the last first."""
        while self._undo:
            self._undo.pop()()

    def _set(self, table: dict[Any, Any], key: Hashable, value: object) -> None:
        """Put (None: remove) one value; every change of a dictionary is this."""
        if not self._writable:
            raise StoreError("a read transaction cannot write")
        before = table.get(key)
        self._undo.append(lambda: _assign(table, key, before))
        _assign(table, key, value)

    def servers(self) -> list[Server]:
        return [server for _, server in sorted(self._tables.servers.items())]

    def server(self, slot: int) -> Server | None:
        return self._tables.servers.get(slot)

    def server_at(self, address: int) -> Server | None:
        slot = self._tables.addresses.get(address)
        return None if slot is None else self._tables.servers[slot]

    def put_server(self, server: Server) -> None:
        before = self.server(server.slot)
        _require(0 <= server.slot < SERVER_SLOTS, f"there is no server slot {server.slot}")
        _require(len(set(server.addresses)) == len(server.addresses), f"{server} has an address twice")
        for other in self._tables.servers.values():
            if other.slot == server.slot:
                continue
            _require(not set(other.addresses) & set(server.addresses), f"{other} has an address of {server}")
            _require(server.uuid is None or other.uuid != server.uuid, f"{other} has the UUID of {server}")
            _require(server.record is None or other.record != server.record, f"{other} has the record of {server}")
        for address in before.addresses if before else ():
            self._set(self._tables.addresses, address, None)
        for address in server.addresses:
            self._set(self._tables.addresses, address, server.slot)
        self._set(self._tables.servers, server.slot, server)
        self.changed.note(before, server)

    def remove_server(self, slot: int) -> None:
        before = self.server(slot)
        if before is None:
            return
        for partition in self._tables.partitions.values():
            _require(slot not in (partition.owner, partition.last_owner), f"{partition} is or was on {before}")
        for definition in self._tables.definitions.values():
            _require(definition.server != slot, f"{definition} names {before}")
        for address in before.addresses:
            self._set(self._tables.addresses, address, None)
        self._set(self._tables.servers, slot, None)
        self.changed.note(before, None)

    def partitions(self) -> list[Partition]:
        return list(self._tables.partitions.values())

    def partition(self, uuid: UUID) -> Partition | None:
        return self._tables.partitions.get(uuid)

    def partition_at(self, slot: int, number: int) -> Partition | None:
        found = [each for each in self.partitions_of(slot) if each.number == number]
        return min(found, key=lambda each: (each.owner is None, each.uuid), default=None)

    def partitions_of(self, slot: int) -> list[Partition]:
        return [
            each
            for each in self._tables.partitions.values()
            if each.owner == slot or (each.owner is None and each.last_owner == slot)
        ]

    def put_partition(self, partition: Partition) -> None:
        _require(0 <= partition.number < PARTITION_NUMBERS, f"there is no partition number {partition.number}")
        for slot in (partition.owner, partition.last_owner):
            _require(slot is None or slot in self._tables.servers, f"{partition} names an unknown server")
        if partition.owner is not None:
            there = self.partition_at(partition.owner, partition.number)
            free = there is None or there.owner is None or there.uuid == partition.uuid
            _require(free, f"{there} is mounted where {partition} would be")
        before = self.partition(partition.uuid)
        self._set(self._tables.partitions, partition.uuid, partition)
        self.changed.note(before, partition)

    def remove_partition(self, uuid: UUID) -> None:
        before = self.partition(uuid)
        if before is None:
            return
        _require(not self._tables.on_partition.get(uuid), f"volumes are on {before}")
        for definition in [each for each in self._tables.definitions.values() if each.partition == uuid]:
            self.remove_definition(uuid, definition.server)
        self._set(self._tables.partitions, uuid, None)
        self.changed.note(before, None)

    def definitions(self) -> list[Definition]:
        return list(self._tables.definitions.values())

    def definitions_on(self, slot: int) -> list[Definition]:
        found = [each for each in self._tables.definitions.values() if each.server == slot]
        return sorted(found, key=lambda each: (-each.priority, each.partition))

    def put_definition(self, definition: Definition) -> None:
        _require(0 <= definition.number < PARTITION_NUMBERS, f"there is no partition number {definition.number}")
        _require(definition.partition in self._tables.partitions, f"{definition} names an unknown partition")
        _require(definition.server in self._tables.servers, f"{definition} names an unknown server")
        key = (definition.partition, definition.server)
        before = self._tables.definitions.get(key)
        self._set(self._tables.definitions, key, definition)
        self.changed.note(before, definition)

    def remove_definition(self, partition: UUID, slot: int) -> None:
        before = self._tables.definitions.get((partition, slot))
        if before is not None:
            self._set(self._tables.definitions, (partition, slot), None)
            self.changed.note(before, None)

    def volume(self, key: int) -> Volume | None:
        return self._tables.volumes.get(key)

    def volume_with_id(self, volume_id: int, kind: int) -> Volume | None:
        key = self._tables.kinds[kind].get(volume_id)
        return None if key is None else self._tables.volumes[key]

    def volume_named(self, name: bytes) -> Volume | None:
        named = (self._tables.volumes[key] for key in self._tables.names.get(name, ()))
        return max(named, key=lambda volume: (volume.name_order, volume.key), default=None)

    def volumes(self, after: int, limit: int) -> Sequence[Volume]:
        found: list[Volume] = []
        for key in range(max(after, 0) + 1, self._tables.last_key + 1):
            volume = self._tables.volumes.get(key)
            if volume is not None:
                found.append(volume)
                if len(found) >= limit:
                    break
        return found

    def volumes_on(self, partition: UUID, after: int, limit: int) -> Sequence[Volume]:
        keys = sorted(key for key in self._tables.on_partition.get(partition, ()) if key > after)
        return [self._tables.volumes[key] for key in keys[:limit]]

    def last_key(self) -> int:
        return self._tables.last_key

    def removed_keys(self) -> Sequence[int]:
        return tuple(self._tables.free_keys)

    def next_used_id(self, volume_id: int) -> int | None:
        used = self._tables.used_ids
        at = bisect_left(used, volume_id)
        return used[at] if at < len(used) else None

    def add_volume(self, volume: Volume) -> Volume:
        if not self._writable:
            raise StoreError("a read transaction cannot write")
        tables = self._tables
        if tables.free_keys:
            key = tables.free_keys.pop()
            self._undo.append(lambda: tables.free_keys.append(key))
        else:
            key = tables.last_key + 1
            tables.last_key = key
            self._undo.append(lambda: setattr(tables, "last_key", key - 1))
        stored = replace(volume, key=key)
        self._index(stored)
        self._set(tables.volumes, key, stored)
        self.changed.note(None, stored)
        return stored

    def put_volume(self, volume: Volume) -> None:
        before = self.volume(volume.key)
        if before is None:
            raise Inconsistent(f"there is no entry {volume.key} to replace")
        self._unindex(before)
        self._index(volume)
        self._set(self._tables.volumes, volume.key, volume)
        self.changed.note(before, volume)

    def remove_volume(self, key: int) -> None:
        before = self.volume(key)
        if before is None:
            return
        self._unindex(before)
        self._set(self._tables.volumes, key, None)
        self._tables.free_keys.append(key)
        self._undo.append(self._tables.free_keys.pop)
        self.changed.note(before, None)

    def load(self, row: Row) -> None:
        """Put a row of any kind; a volume under its own key."""
        if isinstance(row, Server):
            self.put_server(row)
        elif isinstance(row, Partition):
            self.put_partition(row)
        elif isinstance(row, Definition):
            self.put_definition(row)
        else:
            _require(row.key > 0 and row.key not in self._tables.volumes, f"the key of {row!r} is in use or none")
            self._index(row)
            self._set(self._tables.volumes, row.key, row)

    def _index(self, volume: Volume) -> None:
        tables = self._tables
        for kind, volume_id in enumerate(volume.ids):
            if volume_id or kind == 0:
                _require(volume_id not in tables.kinds[kind], f"the id {volume_id} of {volume!r} is in use")
                self._set(tables.kinds[kind], volume_id, volume.key)
                insort(tables.used_ids, volume_id)
                self._undo.append(lambda volume_id=volume_id: tables.used_ids.remove(volume_id))  # type: ignore[misc]
        self._set(tables.names, volume.name, (*tables.names.get(volume.name, ()), volume.key))
        for uuid in {site.partition for site in volume.sites}:
            _require(uuid in tables.partitions, f"{volume!r} is on an unknown partition")
            self._set(tables.on_partition.setdefault(uuid, {}), volume.key, ...)

    def _unindex(self, volume: Volume) -> None:
        tables = self._tables
        for kind, volume_id in enumerate(volume.ids):
            if volume_id or kind == 0:
                self._set(tables.kinds[kind], volume_id, None)
                tables.used_ids.remove(volume_id)
                self._undo.append(lambda volume_id=volume_id: insort(tables.used_ids, volume_id))  # type: ignore[misc]
        others = tuple(key for key in tables.names[volume.name] if key != volume.key)
        self._set(tables.names, volume.name, others or None)
        for uuid in {site.partition for site in volume.sites}:
            self._set(tables.on_partition[uuid], volume.key, None)

    def setting(self, name: str) -> int | None:
        return self._tables.settings.get(name)

    def settings(self) -> dict[str, int]:
        return dict(self._tables.settings)

    def set_setting(self, name: str, value: int) -> None:
        self.changed.note_setting(name, self.setting(name), value)
        self._set(self._tables.settings, name, value)

    def changes(self, since: int, limit: int) -> Sequence[Change]:
        return [change for change in self._log if change.revision > since][:limit]


def _assign(table: dict[Any, Any], key: Hashable, value: object) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise Inconsistent(why)
