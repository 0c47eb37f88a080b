"""The database file: how it is opened, and the lock file beside it that makes one process its owner."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlserver.interfaces import StoreError

BUSY_SECONDS = 5.0
"""How long a statement waits for another process, such as one that copies the file, before it fails."""

PAGE_CACHE_KIB = 64 * 1024
"""SQLite's page cache for each of the three connections: the indexes of some 500,000 volumes."""

CHECKPOINT_PAGES = 4000
"""Pages of 4 KiB in the log beyond which a commit also brings them into the database file: some 400 new volumes. Read
again in 20 ms after a crash.
"""

LEAST_PAGE = 512
"""The smallest page of an SQLite file, in bytes."""

_MAGIC = b"SQLite format 3\0"
_PAGE_SIZE = slice(16, 18)
"""How the header begins, and where it has the page size."""


def connect(path: str, read_only: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
        return connection
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        connection.close()
        raise StoreError(f"cannot use write-ahead logging here (journal mode {mode})")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def check_whole(path: str) -> None:
    """Raises StoreError for a file that ends inside a page, which SQLite takes for whole.

    One with a log beside it may be so after a power cut, and is mended from there.
    """
    file, log = Path(path), Path(f"{path}-wal")
    if not file.is_file() or (log.exists() and log.stat().st_size):
        return
    size = file.stat().st_size
    with open(file, "rb") as opened:
        header = opened.read(_PAGE_SIZE.stop)
    page_size = int.from_bytes(header[_PAGE_SIZE]) if header.startswith(_MAGIC) else 0
    if size and (size < LEAST_PAGE or (page_size >= LEAST_PAGE and size % page_size)):
        raise StoreError(f"is cut short: {size} bytes are not a whole number of pages")


def last_revision(connection: sqlite3.Connection) -> int:
    """The revision of the last write that was committed."""
    row = connection.execute("SELECT max(revision) FROM changes").fetchone()
    return int(row[0] or 0)


def take_lock(path: str) -> int:
    """Take the lock file beside the database; it stays when the process ends, the lock on it does not."""
    lock_path = f"{path}.lock"
    try:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"cannot open the database {path}: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreError(f"the database {path} is in use by another process") from error
    return lock


@contextmanager
def held(path: str) -> Iterator[None]:
    """Be the owner of the database for a while. Raises StoreError when a server or another tool is."""
    lock = take_lock(path)
    try:
        yield
    finally:
        os.close(lock)
