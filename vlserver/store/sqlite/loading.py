"""Filling an empty database with very many rows: in bulk, and the indexes of the large tables made when all are in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from vlserver.interfaces import Inconsistent
from vlserver.schema import Definition, Partition, Row, Server, Volume
from vlserver.store.sqlite.transaction import Transaction

AT_ONCE = 1000
"""Volumes that are inserted together: enough that a statement's cost is that of its rows."""

_LARGE = "type = 'index' AND sql IS NOT NULL AND tbl_name IN ('volumes', 'sites')"


def load_rows(
    transaction: Transaction,
    connection: sqlite3.Connection,
    rows: Iterable[Row],
    settings: Mapping[str, int],
    removed_keys: Sequence[int],
) -> None:
    """IVLStore.load, inside a transaction that another begins and ends. Raises Inconsistent."""
    if connection.execute("SELECT max(revision) FROM changes").fetchone()[0]:
        raise Inconsistent("the database is not empty")
    indexes = connection.execute(f"SELECT name, sql FROM sqlite_schema WHERE {_LARGE}").fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    try:
        _insert(transaction, rows)
        for name, value in settings.items():
            connection.execute("INSERT INTO settings (name, value) VALUES (?, ?)", (name, value))
        connection.executemany("INSERT INTO free_keys (key) VALUES (?)", ((key,) for key in removed_keys))
        for _, statement in indexes:
            connection.execute(statement)
    except sqlite3.IntegrityError as error:
        raise Inconsistent(f"the rows break a rule of the schema: {error}") from error


def _insert(transaction: Transaction, rows: Iterable[Row]) -> None:
    volumes: list[Volume] = []
    for row in rows:
        if isinstance(row, Volume):
            volumes.append(row)
            if len(volumes) >= AT_ONCE:
                transaction.insert_volumes(volumes)
                volumes.clear()
        elif isinstance(row, Server):
            transaction.put_server(row)
        elif isinstance(row, Partition):
            transaction.put_partition(row)
        elif isinstance(row, Definition):
            transaction.put_definition(row)
    transaction.insert_volumes(volumes)
    transaction.changed.rows.clear()
