"""The tables in SQLite and the ladder of migrations that makes them, one rung a schema version.

A new version appends a rung; a rung once released is never changed. `PRAGMA user_version` says which rungs a file has
had.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from vlserver.interfaces import StoreError

APPLICATION_ID = 0x74784C44
"""What `PRAGMA application_id` says in a VLDB of ours ("txLD"), so that another program's file is not taken for one."""

VERSION_1 = (
    """
    CREATE TABLE servers (
        slot INTEGER PRIMARY KEY CHECK (slot BETWEEN 0 AND 254),
        uuid BLOB UNIQUE CHECK (length(uuid) = 16),
        record INTEGER UNIQUE CHECK (record BETWEEN 0 AND 251),
        uniquifier INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE addresses (
        address INTEGER PRIMARY KEY CHECK (address BETWEEN 1 AND 4294967295),
        server INTEGER NOT NULL REFERENCES servers ON DELETE CASCADE,
        position INTEGER NOT NULL,
        UNIQUE (server, position)
    ) STRICT
    """,
    """
    CREATE TABLE partitions (
        uuid BLOB PRIMARY KEY CHECK (length(uuid) = 16),
        number INTEGER NOT NULL CHECK (number BETWEEN 0 AND 255),
        owner INTEGER REFERENCES servers,
        last_owner INTEGER REFERENCES servers,
        epoch INTEGER NOT NULL,
        implicit INTEGER NOT NULL,
        name TEXT NOT NULL,
        state TEXT NOT NULL,
        backend TEXT NOT NULL,
        size INTEGER NOT NULL,
        free INTEGER NOT NULL,
        reported INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        UNIQUE (owner, number)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX partitions_last_owner ON partitions (last_owner, number)",
    """
    CREATE TABLE definitions (
        partition BLOB NOT NULL REFERENCES partitions,
        server INTEGER NOT NULL REFERENCES servers,
        number INTEGER NOT NULL CHECK (number BETWEEN 0 AND 255),
        path TEXT NOT NULL,
        priority INTEGER NOT NULL,
        PRIMARY KEY (partition, server)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX definitions_server ON definitions (server, number)",
    """
    CREATE TABLE volumes (
        key INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        name_order INTEGER NOT NULL,
        rw_id INTEGER NOT NULL,
        ro_id INTEGER NOT NULL,
        bk_id INTEGER NOT NULL,
        clone_id INTEGER NOT NULL,
        flags INTEGER NOT NULL,
        lock_timestamp INTEGER NOT NULL,
        lock_afs_id INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX volumes_name ON volumes (name, name_order)",
    "CREATE UNIQUE INDEX volumes_rw_id ON volumes (rw_id)",
    "CREATE UNIQUE INDEX volumes_ro_id ON volumes (ro_id) WHERE ro_id <> 0",
    "CREATE UNIQUE INDEX volumes_bk_id ON volumes (bk_id) WHERE bk_id <> 0",
    """
    CREATE TABLE sites (
        volume INTEGER NOT NULL REFERENCES volumes ON DELETE CASCADE,
        position INTEGER NOT NULL CHECK (position BETWEEN 0 AND 12),
        partition BLOB NOT NULL REFERENCES partitions,
        flags INTEGER NOT NULL,
        PRIMARY KEY (volume, position)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX sites_partition ON sites (partition, volume)",
    "CREATE TABLE free_keys (position INTEGER PRIMARY KEY, key INTEGER NOT NULL UNIQUE) STRICT",
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE changes (
        revision INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        who TEXT NOT NULL,
        operation TEXT NOT NULL,
        rows TEXT NOT NULL
    ) STRICT
    """,
)

VERSION_2 = (
    "ALTER TABLE partitions ADD COLUMN request BLOB CHECK (length(request) = 16)",
    "ALTER TABLE partitions ADD COLUMN reason INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE partitions ADD COLUMN note TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE partitions ADD COLUMN since INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE partitions ADD COLUMN claim_flags INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE partitions ADD COLUMN heartbeat_age INTEGER",
    "ALTER TABLE partitions ADD COLUMN lease INTEGER NOT NULL DEFAULT 0",
)

Migration = Sequence[str]

MIGRATIONS: tuple[Migration, ...] = (VERSION_1, VERSION_2)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the database to the newest version, in one transaction. Raises StoreError for a newer one, or not ours."""
    newest = len(migrations)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if application != APPLICATION_ID and not empty:
        raise StoreError("is an SQLite database of something else, not a VLDB")
    if version > newest:
        raise StoreError(
            f"has schema version {version}, this program knows versions up to {newest}: use the newer program"
        )
    if version == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in migrations[version:]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk or an I/O error has ended it already
            connection.execute("ROLLBACK")
        raise
