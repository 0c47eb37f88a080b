"""Whole database files: a view beside a running server, copies, and putting another file in a database's place.

What the tools need beyond rows; the lock file is the caller's business where it says so.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from vlserver.files import appearing, sync_directory
from vlserver.interfaces import StoreError
from vlserver.schema import Author
from vlserver.store.sqlite.files import BUSY_SECONDS, PAGE_CACHE_KIB, last_revision
from vlserver.store.sqlite.tables import APPLICATION_ID, MIGRATIONS, migrate
from vlserver.store.sqlite.transaction import Transaction

PAGES_AT_ONCE = 2048
"""Pages that a copy takes between two reports of its progress: 8 MB."""

LIVE_FILES = ("-wal", "-shm")
"""What SQLite keeps beside a database in use: it belongs to that very file and must never meet another."""

_MAGIC = b"SQLite format 3\0"

Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""


@contextmanager
def snapshot(path: str) -> Iterator[Transaction]:
    """The rows as they are now, to read for as long as one likes, a server at work or not. Raises StoreError."""
    with closing(_open(path)) as connection:
        try:
            _refuse_other_versions(connection, path)
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            yield Transaction(connection, last_revision(connection), writable=False)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: cannot read: {error}") from error


def copy(source: str, target: str, progress: Progress) -> int:
    """Copy the database as it is now into a new file, a server at work or not; the revision that the copy has.

    `target` appears when it is whole and on the disk. Raises StoreError, also when there is such a file already.
    """
    with appearing(target) as partial:
        return _copy(source, partial, progress)


def _copy(source: str, partial: str, progress: Progress) -> int:
    with closing(_open(source)) as from_:
        try:
            _refuse_other_versions(from_, source, oldest=1)
            from_.execute("BEGIN")
            revision = last_revision(from_)  # begins to read: from here on the copy sees no later change
        except sqlite3.Error as error:
            raise StoreError(f"{source}: cannot read: {error}") from error
        with closing(sqlite3.connect(partial, isolation_level=None)) as to:
            try:
                from_.backup(
                    to,
                    pages=PAGES_AT_ONCE,
                    progress=lambda _status, left, total: progress(total - left, total),
                )
                to.execute("PRAGMA journal_mode = DELETE")  # a copy is one file
            except sqlite3.Error as error:
                raise StoreError(f"cannot copy {source} to {partial}: {error}") from error
    return revision


def bring_forward(path: str) -> None:
    """Bring a file that nobody uses to the newest schema. Raises StoreError."""
    with closing(_open(path)) as connection:
        try:
            migrate(connection)
        except StoreError as error:
            raise StoreError(f"{path} {error}") from error
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error


def continue_after(path: str, revision: int, by: Author, now: float) -> None:
    """Note in a file that nobody uses that it replaces another: its next revision is beyond both. Raises StoreError."""
    with closing(_open(path)) as connection:
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(
                "INSERT INTO changes (revision, time, who, operation, rows) VALUES (?, ?, ?, ?, '[]')",
                (max(revision, last_revision(connection)) + 1, int(now), by.who, by.operation),
            )
        except sqlite3.Error as error:
            raise StoreError(f"{path}: cannot write: {error}") from error


def put_in_place(new: str, path: str, aside: str) -> bool:
    """Make `new` the database `path`, whose lock is held; what was there is kept as `aside`. False: nothing was there.

    At every moment there is a database under `path`: a server started meanwhile never makes an empty one.
    """
    existed = Path(path).exists()
    for suffix in LIVE_FILES:
        if Path(new + suffix).exists():
            raise StoreError(f"{new} is still in use")
        if not existed and Path(path + suffix).exists():
            raise StoreError(f"{path + suffix} belongs to a database that was moved away without it")
    try:
        if existed:
            _settle(path)
            for suffix in LIVE_FILES:  # left only by a file that SQLite cannot open: they stay together
                if Path(path + suffix).exists():
                    os.rename(path + suffix, aside + suffix)
            os.link(path, aside)
        os.replace(new, path)
        sync_directory(path)
    except OSError as error:
        raise StoreError(f"cannot put {new} in the place of {path}: {error.strerror}") from error
    return existed


def _begins_as_database(path: str) -> bool:
    """Whether SQLite wrote this file. It must not open any other: it removes the log of a file that it finds empty."""
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _settle(path: str) -> None:
    """Move what an earlier process left in the write-ahead log into the file, if the file is one."""
    if not _begins_as_database(path):
        return
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error:
        return  # it is being replaced because it is damaged


def integrity(path: str) -> Sequence[str]:
    """What SQLite finds wrong with the file: its pages, its indexes against its tables, its references. No rows' sense.

    Raises StoreError when it cannot be opened or is not a VLDB of this schema version.
    """
    with closing(_open(path)) as connection:
        try:
            _refuse_other_versions(connection, path)
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
                found.append(f"row {row} of {table} names a row of {parent} that is not there")
        except sqlite3.DatabaseError as error:
            return [f"{path}: {error}"]
    return found


def _refuse_other_versions(connection: sqlite3.Connection, path: str, oldest: int = len(MIGRATIONS)) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StoreError(f"{path} is not a VLDB")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StoreError(f"{path} has schema version {version}, newer than this program: use the newer program")
    if version < oldest:
        raise StoreError(
            f"{path} has schema version {version}, older than this program's {len(MIGRATIONS)}: `vldb restore`, or the"
            " first start of the newer server, brings it forward"
        )


def _open(path: str) -> sqlite3.Connection:
    """A connection to a file that exists; to one that cannot be written a reading one."""
    if not Path(path).is_file():
        raise StoreError(f"there is no file {path}")
    if not _begins_as_database(path):
        raise StoreError(f"{path} is not a database")
    mode = "rw" if os.access(path, os.W_OK) else "ro"
    try:
        uri = f"{Path(path).absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
    return connection
