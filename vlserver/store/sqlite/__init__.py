"""The VLDB in an SQLite file: WAL, synchronous=FULL, one writing thread, snapshot reads.

Short reads run where they are asked for, on a connection of their own: in WAL a reader never waits for the writer.
Writes queue for one thread, so that no fsync stops the reactor; those that wait together share a commit, each in its
savepoint, and are answered after it. A lock file keeps a second process out.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from vlserver.interfaces import ITransaction, IVLStore, StoreError
from vlserver.schema import Author, Row
from vlserver.store.changes import KEPT_REVISIONS, ChangedRows
from vlserver.store.sqlite.files import check_whole, connect, last_revision, take_lock
from vlserver.store.sqlite.loading import load_rows
from vlserver.store.sqlite.tables import MIGRATIONS, Migration, migrate
from vlserver.store.sqlite.transaction import Known, Transaction
from vlserver.store.sqlite.writer import Writer

T = TypeVar("T")


@implementer(IVLStore)
class SqliteStore:
    """IVLStore in the file `path`, made when absent. `now` gives Unix seconds for the change log. Raises StoreError."""

    def __init__(
        self,
        path: str,
        reactor: IReactorFromThreads,
        now: Callable[[], float],
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._now = now
        self._lock = take_lock(path)
        try:
            self._writing = self._open(migrations)
            self._reading = connect(path, read_only=True)
            self._surveying = connect(path, read_only=True)
        except sqlite3.Error as error:
            os.close(self._lock)
            raise StoreError(f"{path}: {error}") from error
        except StoreError as error:
            os.close(self._lock)
            raise StoreError(f"{path} {error}") from error
        self.revision = last_revision(self._writing)
        self._known = Known()
        self._batch_ended_by: BaseException | None = None
        self._writer = Writer(reactor, self._commit, self._published)
        self._surveyors = ThreadPool(0, 1, "vldb surveys")
        self._surveyors.start()

    def _open(self, migrations: Sequence[Migration]) -> sqlite3.Connection:
        check_whole(self._path)
        connection = connect(self._path, read_only=False)
        try:
            migrate(connection, migrations)
            connection.execute("BEGIN IMMEDIATE")  # refused where the file cannot be written
            connection.execute("ROLLBACK")
        except BaseException:
            connection.close()
            raise
        return connection

    async def read(self, work: Callable[[ITransaction], T]) -> T:
        return self._seen(self._snapshot(self._reading, work, self._known))

    async def survey(self, work: Callable[[ITransaction], T]) -> T:
        pool = self._surveyors
        return self._seen(await deferToThreadPool(self._reactor, pool, self._snapshot, self._surveying, work))

    async def write(self, work: Callable[[ITransaction], T], by: Author) -> T:
        return await self._writer.submit(lambda: self._write(work, by))

    async def load(
        self, rows: Iterable[Row], settings: Mapping[str, int], removed_keys: Sequence[int], by: Author
    ) -> None:
        def work(transaction: Transaction) -> None:
            load_rows(transaction, self._writing, rows, settings, removed_keys)
            self._log(transaction.revision, ChangedRows(), by)

        await self._writer.submit(lambda: self._write(work, by))

    async def close(self) -> None:
        await self._writer.stop()
        self._surveyors.stop()
        for connection in (self._reading, self._surveying, self._writing):
            connection.close()
        os.close(self._lock)

    def _seen(self, snapshot: tuple[T, int]) -> T:
        """What a snapshot gave. It may hold a write that is durable and not answered yet: from here on nobody is told
        of an older revision, or a reply kept from then would show half of what has changed.
        """
        result, revision = snapshot
        self._published(revision)
        return result

    def _snapshot(
        self, connection: sqlite3.Connection, work: Callable[[ITransaction], T], known: Known | None = None
    ) -> tuple[T, int]:
        try:
            connection.execute("BEGIN")
            try:
                revision = last_revision(connection)
                return work(Transaction(connection, revision, writable=False, known=known)), revision
            finally:
                if connection.in_transaction:  # an I/O error has ended it already
                    connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: cannot read: {error}") from error

    def _write(self, work: Callable[[Transaction], T], by: Author) -> T:
        """One write in its savepoint; runs in the writing thread, inside the transaction that `_commit` ends."""
        connection = self._writing
        if not connection.in_transaction:
            raise StoreError(f"{self._path}: an earlier write of the same batch has failed")
        transaction = Transaction(connection, last_revision(connection) + 1, writable=True)
        connection.execute("SAVEPOINT call")
        try:
            result = work(transaction)
            if transaction.changed.rows:
                self._log(transaction.revision, transaction.changed, by)
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK TO call")
                connection.execute("RELEASE call")
            else:
                self._batch_ended_by = error  # a full disk or an I/O error has undone the writes before it too
            if isinstance(error, sqlite3.Error):
                raise StoreError(f"{self._path}: cannot write: {error}") from error
            raise
        connection.execute("RELEASE call")
        return result

    def _log(self, revision: int, changed: ChangedRows, by: Author) -> None:
        rows = json.dumps([(row.kind, row.key, row.before, row.after) for row in changed.rows], separators=(",", ":"))
        self._writing.execute(
            "INSERT INTO changes (revision, time, who, operation, rows) VALUES (?, ?, ?, ?, ?)",
            (revision, int(self._now()), by.who, by.operation, rows),
        )
        self._writing.execute("DELETE FROM changes WHERE revision <= ?", (revision - KEPT_REVISIONS,))

    def _commit(self, batch: Sequence[Callable[[], None]]) -> int:
        """Run the batch and make it durable; returns the new revision. Raises StoreError when none of it was kept."""
        connection = self._writing
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._batch_ended_by = None
            for step in batch:
                step()
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise StoreError(f"{self._path}: cannot write: {self._batch_ended_by or error}") from error
        return last_revision(connection)

    def _published(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
