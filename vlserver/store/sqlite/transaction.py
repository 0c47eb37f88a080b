"""ITransaction in SQL: rows to and from the tables of tables.py. Constraints are the database's own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from zope.interface import implementer

from vlserver.interfaces import Inconsistent, ITransaction, StoreError
from vlserver.schema import Author, Change, Definition, Partition, RowChange, Server, Site, Volume
from vlserver.store.changes import ChangedRows

T = TypeVar("T")

_PARTITION = (
    "uuid, number, owner, last_owner, epoch, implicit, name, state, backend, size, free, reported, changed, reason,"
    " note, since, claim_flags, heartbeat_age, lease, request"
)
_DEFINITION = "partition, server, number, path, priority"
_VOLUME = "key, name, rw_id, ro_id, bk_id, clone_id, flags, lock_timestamp, lock_afs_id, name_order"
_ID_CONDITIONS = ("rw_id = ?", "ro_id = ? AND ro_id <> 0", "bk_id = ? AND bk_id <> 0")
_NEXT_IDS = (
    "SELECT (SELECT rw_id FROM volumes WHERE rw_id >= ?1 ORDER BY rw_id LIMIT 1),"
    " (SELECT ro_id FROM volumes WHERE ro_id >= ?1 AND ro_id <> 0 ORDER BY ro_id LIMIT 1),"
    " (SELECT bk_id FROM volumes WHERE bk_id >= ?1 AND bk_id <> 0 ORDER BY bk_id LIMIT 1)"
)


class Known:
    """Servers by slot and partition objects by UUID, as the reads of one revision have found them.

    Every lookup asks for the same few; they are forgotten when the revision is another.
    """

    def __init__(self) -> None:
        self._revision = 0
        self._rows: dict[object, Any] = {}

    def rows_at(self, revision: int) -> dict[object, Any]:
        """What is known of this revision, to read and to add to."""
        if revision != self._revision:
            self._revision = revision
            self._rows.clear()
        return self._rows


@implementer(ITransaction)
class Transaction:
    """One transaction on a connection whose BEGIN and COMMIT are another's business."""

    def __init__(
        self, connection: sqlite3.Connection, revision: int, writable: bool, known: Known | None = None
    ) -> None:
        self.revision = revision
        self._known = known.rows_at(revision) if known and not writable else None
        self.changed = ChangedRows()
        self._connection = connection
        self._execute = connection.execute
        self._writable = writable

    def servers(self) -> list[Server]:
        return self._servers("")

    def server(self, slot: int) -> Server | None:
        return self._remembered(slot, lambda: _first(self._servers("WHERE slot = ?", slot)))

    def server_at(self, address: int) -> Server | None:
        return _first(self._servers("WHERE slot = (SELECT server FROM addresses WHERE address = ?)", address))

    def _servers(self, where: str, *values: int) -> list[Server]:
        rows = self._execute(f"SELECT slot, uuid, record, uniquifier FROM servers {where} ORDER BY slot", values)
        return [
            Server(slot, self._addresses(slot), uuid and UUID(bytes=uuid), record, uniquifier)
            for slot, uuid, record, uniquifier in rows.fetchall()
        ]

    def _addresses(self, slot: int) -> tuple[int, ...]:
        rows = self._execute("SELECT address FROM addresses WHERE server = ? ORDER BY position", (slot,))
        return tuple(address for (address,) in rows)

    def put_server(self, server: Server) -> None:
        before = self.server(server.slot)
        with self._writing("keep", server):
            self._execute(
                "INSERT INTO servers (slot, uuid, record, uniquifier) VALUES (?, ?, ?, ?) ON CONFLICT (slot)"
                " DO UPDATE SET uuid = excluded.uuid, record = excluded.record, uniquifier = excluded.uniquifier",
                (server.slot, server.uuid and server.uuid.bytes, server.record, server.uniquifier),
            )
            self._execute("DELETE FROM addresses WHERE server = ?", (server.slot,))
            self._connection.executemany(
                "INSERT INTO addresses (address, server, position) VALUES (?, ?, ?)",
                [(address, server.slot, position) for position, address in enumerate(server.addresses)],
            )
        self.changed.note(before, server)

    def remove_server(self, slot: int) -> None:
        before = self.server(slot)
        with self._writing("remove", before):
            self._execute("DELETE FROM servers WHERE slot = ?", (slot,))
        self.changed.note(before, None)

    def partitions(self) -> list[Partition]:
        return self._partitions("")

    def partition(self, uuid: UUID) -> Partition | None:
        return self._remembered(uuid, lambda: _first(self._partitions("WHERE uuid = ?", uuid.bytes)))

    def partition_at(self, slot: int, number: int) -> Partition | None:
        mounted = _first(self._partitions("WHERE owner = ? AND number = ?", slot, number))
        return mounted or _first(
            self._partitions(
                "WHERE last_owner = ? AND number = ? AND owner IS NULL ORDER BY uuid LIMIT 1", slot, number
            )
        )

    def partitions_of(self, slot: int) -> list[Partition]:
        return self._partitions("WHERE owner = ? OR (owner IS NULL AND last_owner = ?)", slot, slot)

    def _partitions(self, where: str, *values: object) -> list[Partition]:
        return [_partition(row) for row in self._execute(f"SELECT {_PARTITION} FROM partitions {where}", values)]

    def put_partition(self, partition: Partition) -> None:
        before = self.partition(partition.uuid)
        columns = _PARTITION.split(", ")
        request = partition.request and partition.request.bytes
        values = (partition.uuid.bytes, *(getattr(partition, column) for column in columns[1:-1]), request)
        updates = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
        with self._writing("keep", partition):
            self._execute(
                f"INSERT INTO partitions ({_PARTITION}) VALUES ({', '.join('?' * len(columns))})"
                f" ON CONFLICT (uuid) DO UPDATE SET {updates}",
                values,
            )
        self.changed.note(before, partition)

    def remove_partition(self, uuid: UUID) -> None:
        before = self.partition(uuid)
        with self._writing("remove", before):
            for definition in self._definitions("WHERE partition = ?", uuid.bytes):
                self.remove_definition(uuid, definition.server)
            self._execute("DELETE FROM partitions WHERE uuid = ?", (uuid.bytes,))
        self.changed.note(before, None)

    def definitions(self) -> list[Definition]:
        return self._definitions("")

    def definitions_on(self, slot: int) -> list[Definition]:
        return self._definitions("WHERE server = ? ORDER BY priority DESC, partition", slot)

    def _definitions(self, where: str, *values: object) -> list[Definition]:
        rows = self._execute(f"SELECT {_DEFINITION} FROM definitions {where}", values)
        return [Definition(UUID(bytes=uuid), *rest) for uuid, *rest in rows.fetchall()]

    def put_definition(self, definition: Definition) -> None:
        uuid = definition.partition.bytes
        before = _first(self._definitions("WHERE partition = ? AND server = ?", uuid, definition.server))
        with self._writing("keep", definition):
            self._execute(
                f"INSERT INTO definitions ({_DEFINITION}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (partition, server)"
                " DO UPDATE SET number = excluded.number, path = excluded.path, priority = excluded.priority",
                (uuid, definition.server, definition.number, definition.path, definition.priority),
            )
        self.changed.note(before, definition)

    def remove_definition(self, partition: UUID, slot: int) -> None:
        before = _first(self._definitions("WHERE partition = ? AND server = ?", partition.bytes, slot))
        with self._writing("remove", before):
            self._execute("DELETE FROM definitions WHERE partition = ? AND server = ?", (partition.bytes, slot))
        self.changed.note(before, None)

    def volume(self, key: int) -> Volume | None:
        return _first(self._volumes("WHERE key = ?", key))

    def volume_with_id(self, volume_id: int, kind: int) -> Volume | None:
        return _first(self._volumes(f"WHERE {_ID_CONDITIONS[kind]}", volume_id))

    def volume_named(self, name: bytes) -> Volume | None:
        where = "WHERE name = ? ORDER BY name_order DESC, key DESC LIMIT 1"
        return _first(self._volumes(where, name.decode("latin-1")))

    def _volumes(self, where: str, *values: object) -> list[Volume]:
        rows = self._execute(f"SELECT {_VOLUME} FROM volumes {where}", values).fetchall()
        return [_volume(row, self._sites(row[0])) for row in rows]

    def _sites(self, key: int) -> tuple[Site, ...]:
        rows = self._execute("SELECT partition, flags FROM sites WHERE volume = ? ORDER BY position", (key,))
        return tuple(Site(UUID(bytes=uuid), flags) for uuid, flags in rows)

    def volumes(self, after: int, limit: int) -> Sequence[Volume]:
        return self._page("SELECT key FROM volumes WHERE key > ? ORDER BY key LIMIT ?", after, limit)

    def volumes_on(self, partition: UUID, after: int, limit: int) -> Sequence[Volume]:
        keys = "SELECT DISTINCT volume FROM sites WHERE partition = ? AND volume > ? ORDER BY volume LIMIT ?"
        return self._page(keys, partition.bytes, after, limit)

    def _page(self, keys: str, *values: object) -> Sequence[Volume]:
        """The entries with the keys that a query gives, by key; their sites all at once."""
        rows = self._execute(f"SELECT {_VOLUME} FROM volumes WHERE key IN ({keys}) ORDER BY key", values).fetchall()
        sites: dict[int, list[Site]] = {row[0]: [] for row in rows}
        uuids: dict[bytes, UUID] = {}
        query = f"SELECT volume, partition, flags FROM sites WHERE volume IN ({keys}) ORDER BY volume, position"
        for key, uuid, flags in self._execute(query, values):
            partition = uuids.get(uuid) or uuids.setdefault(uuid, UUID(bytes=uuid))
            sites[key].append(Site(partition, flags))
        return [_volume(row, tuple(sites[row[0]])) for row in rows]

    def last_key(self) -> int:
        query = "SELECT max(ifnull((SELECT max(key) FROM volumes), 0), ifnull((SELECT max(key) FROM free_keys), 0))"
        return int(self._execute(query).fetchone()[0])

    def removed_keys(self) -> Sequence[int]:
        return [key for (key,) in self._execute("SELECT key FROM free_keys ORDER BY position")]

    def next_used_id(self, volume_id: int) -> int | None:
        found = self._execute(_NEXT_IDS, (volume_id,)).fetchone()
        return min((each for each in found if each is not None), default=None)

    def add_volume(self, volume: Volume) -> Volume:
        with self._writing("keep", volume):
            freed = self._execute(
                "DELETE FROM free_keys WHERE position = (SELECT max(position) FROM free_keys) RETURNING key"
            ).fetchone()
            stored = replace(volume, key=freed[0] if freed else self.last_key() + 1)
            self._execute(
                f"INSERT INTO volumes ({_VOLUME}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (stored.key, *_volume_values(stored)),
            )
            self._insert_sites(stored)
        self.changed.note(None, stored)
        return stored

    def put_volume(self, volume: Volume) -> None:
        before = self.volume(volume.key)
        if before is None:
            raise Inconsistent(f"there is no entry {volume.key} to replace")
        with self._writing("keep", volume):
            self._execute(
                "UPDATE volumes SET name = ?, rw_id = ?, ro_id = ?, bk_id = ?, clone_id = ?, flags = ?,"
                " lock_timestamp = ?, lock_afs_id = ?, name_order = ? WHERE key = ?",
                (*_volume_values(volume), volume.key),
            )
            if volume.sites != before.sites:
                self._execute("DELETE FROM sites WHERE volume = ?", (volume.key,))
                self._insert_sites(volume)
        self.changed.note(before, volume)

    def remove_volume(self, key: int) -> None:
        before = self.volume(key)
        if before is None:
            return
        with self._writing("remove", before):
            self._execute("DELETE FROM volumes WHERE key = ?", (key,))
            self._execute("INSERT INTO free_keys (key) VALUES (?)", (key,))
        self.changed.note(before, None)

    def insert_volumes(self, volumes: Sequence[Volume]) -> None:
        """Many entries with their keys; nothing of them is noted for the change log."""
        self._connection.executemany(
            f"INSERT INTO volumes ({_VOLUME}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(volume.key, *_volume_values(volume)) for volume in volumes],
        )
        self._insert_sites(*volumes)

    def _insert_sites(self, *volumes: Volume) -> None:
        self._connection.executemany(
            "INSERT INTO sites (volume, position, partition, flags) VALUES (?, ?, ?, ?)",
            [
                (volume.key, place, site.partition.bytes, site.flags)
                for volume in volumes
                for place, site in enumerate(volume.sites)
            ],
        )

    def setting(self, name: str) -> int | None:
        row = self._execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return row and int(row[0])

    def settings(self) -> dict[str, int]:
        return dict(self._execute("SELECT name, value FROM settings"))

    def set_setting(self, name: str, value: int) -> None:
        before = self.setting(name)
        with self._writing("keep the setting", name):
            self._execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, value))
        self.changed.note_setting(name, before, value)

    def changes(self, since: int, limit: int) -> Sequence[Change]:
        query = "SELECT revision, time, who, operation, rows FROM changes WHERE revision > ? ORDER BY revision LIMIT ?"
        return [
            Change(revision, time, Author(who, operation), tuple(RowChange(*row) for row in json.loads(rows)))
            for revision, time, who, operation, rows in self._execute(query, (since, limit))
        ]

    def _remembered(self, key: object, look: Callable[[], T | None]) -> T | None:
        """A row as an earlier read of this revision found it, else as `look` finds it now."""
        if self._known is None:
            return look()
        found: T | None = self._known.get(key)
        if found is None:
            found = look()
            if found is not None:
                self._known[key] = found
        return found

    @contextmanager
    def _writing(self, what: str, row: object) -> Iterator[None]:
        """Refuses in a read, and says what could not be done to which row when the database refuses a constraint."""
        if not self._writable:
            raise StoreError("a read transaction cannot write")
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise Inconsistent(f"cannot {what} {row!r}: {error}") from error


def _partition(row: Sequence[Any]) -> Partition:
    uuid, number, owner, last_owner, epoch, implicit, *stated, request = row
    fields = (
        UUID(bytes=uuid),
        number,
        owner,
        last_owner,
        epoch,
        bool(implicit),
        *stated,
        request and UUID(bytes=request),
    )
    return Partition(*fields)


def _volume(row: Sequence[Any], sites: tuple[Site, ...]) -> Volume:
    key, name, rw_id, ro_id, bk_id, clone_id, flags, lock_timestamp, lock_afs_id, name_order = row
    ids = (rw_id, ro_id, bk_id)
    return Volume(key, name.encode("latin-1"), ids, sites, clone_id, flags, lock_timestamp, lock_afs_id, name_order)


def _volume_values(volume: Volume) -> tuple[object, ...]:
    return (
        volume.name.decode("latin-1"),
        *volume.ids,
        volume.clone_id,
        volume.flags,
        volume.lock_timestamp,
        volume.lock_afs_id,
        volume.name_order,
    )


def _first(found: list[T]) -> T | None:
    return found[0] if found else None
