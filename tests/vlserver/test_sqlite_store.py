"""The SQLite back end under the store contract, and what only a file can do: survive, be locked, be too new."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.error import ConnectionDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.contracts.ivlstore import BY, StoreContract, a_volume, everything, furnish
from tests.support.budget import budget
from vlserver.interfaces import ITransaction, IVLStore, StoreError
from vlserver.schema import Partition
from vlserver.store import open_store
from vlserver.store.memory import MemoryStore
from vlserver.store.sqlite import SqliteStore
from vlserver.store.sqlite.tables import MIGRATIONS, Migration, migrate

ROOT = str(Path(__file__).parents[2])
WRITER = "tests.vlserver.killed_writer"


def open_sqlite(path: str, migrations: Sequence[Migration] = MIGRATIONS) -> SqliteStore:
    """The store in a file, on the running reactor."""
    return SqliteStore(path, reactor, lambda: 1.0, migrations)  # type: ignore[arg-type]


def setting(name: str, value: int) -> Callable[[ITransaction], None]:
    """The work that keeps a number."""
    return lambda transaction: transaction.set_setting(name, value)


class SqliteStoreTest(StoreContract, TestCase):
    """SqliteStore is an IVLStore."""

    def open_store(self) -> IVLStore:
        return open_sqlite(self.mktemp())

    async def test_reopened(self) -> None:
        """A store opened again holds everything, the log and the revision included."""
        path = self.mktemp()
        store = open_sqlite(path)
        await store.write(furnish, BY)
        await store.write(lambda t: t.add_volume(a_volume(b"v", 1, t.partitions()[0].uuid)), BY)
        before, revision = await store.read(everything), store.revision
        await store.close()
        again = open_sqlite(path)
        self.assertEqual((again.revision, await again.read(everything)), (revision, before))
        await again.close()

    async def test_snapshot(self) -> None:
        """A survey sees the database as it was when it began, while a write goes on beside it."""
        store = open_sqlite(self.mktemp())
        self.addCleanup(lambda: ensureDeferred(store.close()))
        await store.write(furnish, BY)
        begun: Deferred[None] = Deferred()
        written: list[bool] = []

        def look(t: ITransaction) -> list[int | None]:
            first = t.setting("n")
            reactor.callFromThread(begun.callback, None)  # type: ignore[attr-defined]
            while not written:
                pass
            return [first, t.setting("n")]

        survey = ensureDeferred(store.survey(look))
        await begun
        await store.write(lambda t: t.set_setting("n", 7), BY)
        written.append(True)
        self.assertEqual(await survey, [None, None])
        self.assertEqual(await store.read(lambda t: t.setting("n")), 7)

    async def test_closed(self) -> None:
        """A write asked for after close is refused; those before it are kept."""
        path = self.mktemp()
        store = open_sqlite(path)
        writes = [ensureDeferred(store.write(setting(f"n{n}", n), BY)) for n in range(5)]
        await store.close()
        for write in writes:
            await write
        with self.assertRaises(StoreError):
            await store.write(furnish, BY)
        again = open_sqlite(path)
        self.assertEqual(await again.read(lambda t: t.setting("n4")), 4)
        await again.close()

    async def test_full_disk(self) -> None:
        """A write that finds no room fails with the reason, keeps nothing, and the store goes on when there is room."""
        store = open_sqlite(self.mktemp())
        self.addCleanup(lambda: ensureDeferred(store.close()))
        await store.write(furnish, BY)
        before = await store.read(everything)
        connection = store._writing
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

        def fill(t: ITransaction) -> None:
            uuid = t.partitions()[0].uuid
            for number in range(1, 1000):
                t.add_volume(a_volume(b"v%d" % number, number, uuid))

        with self.assertRaisesRegex(StoreError, "full"):
            await store.write(fill, BY)
        self.assertEqual(await store.read(everything), before)
        connection.execute("PRAGMA max_page_count = 1000000")
        await store.write(fill, BY)
        self.assertEqual(await store.read(lambda t: t.last_key()), 999)


class _FailingConnection:
    """A connection whose next COMMIT fails, as on a disk that went away."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.armed = False

    def execute(self, statement: str, *values: Any) -> Any:
        if statement == "COMMIT" and self.armed:
            self.armed = False
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class BatchTest(TestCase):
    """Writes that wait together share a commit."""

    async def test_failed_commit(self) -> None:
        """When it fails every one of them fails, with the reason; nothing is kept, and the next write succeeds."""
        store = open_sqlite(self.mktemp())
        self.addCleanup(lambda: ensureDeferred(store.close()))
        await store.write(furnish, BY)
        before, revision = await store.read(everything), store.revision
        connection: Any = _FailingConnection(store._writing)
        store._writing = connection
        begun: Deferred[None] = Deferred()
        together = Event()

        def hold(t: ITransaction) -> None:
            reactor.callFromThread(begun.callback, None)  # type: ignore[attr-defined]
            together.wait()

        def arm(t: ITransaction) -> None:
            t.set_setting("armed", 1)
            connection.armed = True

        holding = ensureDeferred(store.write(hold, BY))
        await begun
        writes = [ensureDeferred(store.write(setting(f"n{number}", 1), BY)) for number in range(5)]
        writes.append(ensureDeferred(store.write(arm, BY)))
        together.set()
        await holding
        outcomes = await DeferredList(writes, consumeErrors=True)
        for succeeded, outcome in outcomes:
            failure: Any = outcome
            self.assertFalse(succeeded)
            failure.trap(StoreError)
            self.assertIn("disk I/O error", failure.getErrorMessage())
        self.assertEqual((await store.read(everything), store.revision), (before, revision))
        await store.write(setting("x", 1), BY)
        self.assertEqual(store.revision, revision + 1)


class OpeningTest(TestCase):
    """What can be wrong with a database file is said in one line, and the file is left alone."""

    def refused(self, path: str, words: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        """Opening fails with a StoreError that says `words` and names the file."""
        with self.assertRaisesRegex(StoreError, words) as caught:
            open_sqlite(path, migrations)
        self.assertIn(path, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    async def test_newer_schema(self) -> None:
        """A database of a newer schema version is refused and not changed."""
        path = self.mktemp()
        await open_sqlite(path, (*MIGRATIONS, ("CREATE TABLE later (a)",))).close()
        before = Path(path).read_bytes()
        self.refused(path, f"schema version {len(MIGRATIONS) + 1}.*newer program")
        self.assertEqual(Path(path).read_bytes(), before)

    async def test_migration(self) -> None:
        """A database of an older version is brought to the newest with its rows kept, each rung once."""
        path = self.mktemp()
        store = open_sqlite(path)
        await store.write(furnish, BY)
        before = await store.read(everything)
        await store.close()
        rungs = (*MIGRATIONS, ("CREATE TABLE later (a)", "INSERT INTO later VALUES (1)"))
        for _ in range(2):
            store = open_sqlite(path, rungs)
            self.assertEqual(await store.read(everything), before)
            await store.close()
        with sqlite3.connect(path) as connection:
            self.assertEqual(connection.execute("SELECT count(*) FROM later").fetchone()[0], 1)
        connection.close()

    async def test_version_1(self) -> None:
        """A partition object of schema version 1 says that no request made it what it is."""
        path = self.mktemp()
        connection = sqlite3.connect(path, isolation_level=None)
        migrate(connection, MIGRATIONS[:1])
        connection.execute("INSERT INTO servers VALUES (3, NULL, NULL, 0)")
        values = (UUID(int=5).bytes, 1, 3, 3, 7, 0, "disk", "mounted", "namei", 100, 50, 10, 9)
        connection.execute(f"INSERT INTO partitions VALUES ({', '.join('?' * len(values))})", values)
        connection.close()
        store = open_sqlite(path)
        self.addCleanup(lambda: ensureDeferred(store.close()))
        found = await store.read(lambda t: t.partitions())
        self.assertEqual(found, [Partition(UUID(int=5), 1, 3, 3, 7, False, "disk", "mounted", "namei", 100, 50, 10, 9)])

    def test_no_room_for_a_database(self) -> None:
        """A disk that is full at the first start is the reason given, and nothing is half made."""
        connection = sqlite3.connect(self.mktemp(), isolation_level=None)
        self.addCleanup(connection.close)
        connection.execute("PRAGMA max_page_count = 2")
        self.assertRaisesRegex(sqlite3.Error, "full", migrate, connection)
        self.assertEqual(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone(), (0,))

    async def test_failed_migration(self) -> None:
        """A migration that fails half-way leaves the older version as it was."""
        path = self.mktemp()
        await open_sqlite(path).close()
        self.refused(path, "syntax", (*MIGRATIONS, ("CREATE TABLE later (a)", "NONSENSE")))
        store = open_sqlite(path)
        await store.close()

    def test_not_ours(self) -> None:
        """Another program's SQLite database, and a file that is none, are refused."""
        path = self.mktemp()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (a)")
        connection.close()
        self.refused(path, "not a VLDB")
        other = self.mktemp()
        Path(other).write_bytes(b"neither SQLite nor anything" * 100)
        self.refused(other, "not a database")

    def test_half_written(self) -> None:
        """A file cut short is refused when it is opened, not served."""
        path = self.mktemp()
        Path(path).write_bytes(b"SQLite format 3\0" + bytes(50))
        self.refused(path, "cut short")

    async def test_in_use(self) -> None:
        """A second opener is told that the database is in use; after close it may have it."""
        path = self.mktemp()
        store = open_sqlite(path)
        self.refused(path, "in use by another process")
        await store.close()
        await open_sqlite(path).close()

    def test_no_directory(self) -> None:
        """A directory that cannot be made is named."""
        path = self.mktemp()
        Path(path).write_bytes(b"a file")
        self.refused(f"{path}/vldb.sqlite", "cannot open the database")


class UrlTest(TestCase):
    """The --database URL chooses the back end."""

    def test_memory(self) -> None:
        """memory: is the memory back end."""
        self.assertIsInstance(open_store("memory:", reactor, lambda: 1.0), MemoryStore)  # type: ignore[arg-type]

    def test_unknown(self) -> None:
        """Anything else is refused with what it could have been."""
        for url in ("", "sqlite:", "sqlite:///", "mysql://x", "/var/lib/x", "memory"):
            with self.assertRaisesRegex(StoreError, "sqlite:///PATH"):
                open_store(url, reactor, lambda: 1.0)  # type: ignore[arg-type]

    async def test_paths(self) -> None:
        """Three slashes begin a relative path, four an absolute one."""
        path = self.mktemp()
        Path(path).mkdir()
        for url, file in ((f"sqlite:///{path}/a", f"{path}/a"), (f"sqlite:///{os.path.abspath(path)}/b", f"{path}/b")):
            store = open_store(url, reactor, lambda: 1.0)  # type: ignore[arg-type]
            await store.close()
            self.assertTrue(Path(file).exists())


class _Victim(ProcessProtocol):
    """A process that writes pairs of rows and prints each number it has an answer for."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self.answered: list[int] = []
        self.enough: Deferred[None] | None = None
        self._wanted = 0
        self._text = b""

    def after(self, count: int) -> Deferred[None]:
        """Fires when `count` writes have been answered."""
        self._wanted, self.enough = count, Deferred()
        return self.enough

    def outReceived(self, data: bytes) -> None:
        *lines, self._text = (self._text + data).split(b"\n")
        self.answered += [int(line) for line in lines]
        if self.enough is not None and len(self.answered) >= self._wanted:
            enough, self.enough = self.enough, None
            enough.callback(None)

    def errReceived(self, data: bytes) -> None:
        sys.stderr.write(data.decode())

    def processEnded(self, reason: Failure) -> None:
        reason.trap(ConnectionDone, ProcessTerminated)
        if self.enough is not None:
            self.enough.errback(reason)
        self.ended.callback(None)


class KillTest(TestCase):
    """kill -9 of the writing process leaves every answered write, and every write whole or absent."""

    timeout = 120

    def start(self, path: str, *arguments: str) -> tuple[_Victim, int]:
        """Run the writer on `path`."""
        victim = _Victim()
        process = reactor.spawnProcess(
            victim,
            sys.executable,
            [sys.executable, "-m", WRITER, path, *arguments],
            env=os.environ | {"PYTHONPATH": ROOT},
        )
        return victim, process.pid

    async def check(self, path: str, answered: Sequence[int]) -> None:
        """Each pair is whole; all that was answered is there; the database is sound."""
        store = open_sqlite(path)
        volumes = await store.read(lambda t: t.volumes(0, 1 << 30))
        revision = store.revision
        await store.close()
        numbers = {volume.ids[0] for volume in volumes}
        firsts = {number for number in numbers if number % 2}
        self.assertEqual(numbers, firsts | {number + 1 for number in firsts})
        self.assertLessEqual(set(answered), firsts)
        self.assertEqual(revision, 1 + len(firsts))
        connection = sqlite3.connect(path)
        self.assertEqual(connection.execute("PRAGMA integrity_check").fetchone()[0], "ok")
        self.assertEqual(connection.execute("PRAGMA foreign_key_check").fetchall(), [])
        connection.close()

    async def test_killed_inside(self) -> None:
        """Killed between the two rows of one transaction: neither is there, and all before it is."""
        path = self.mktemp()
        victim, _ = self.start(path, "7")
        await victim.ended
        self.assertEqual(victim.answered, [1, 3, 5])
        await self.check(path, victim.answered)

    async def test_killed_anywhere(self) -> None:
        """Killed again and again at random moments of a run of writes, going on from what is there."""
        allowance = budget("vlserver.store.kill", full=150)
        random_ = random.Random(allowance.seed)
        path = self.mktemp()
        answered: list[int] = []
        for _ in range(allowance.count):
            victim, pid = self.start(path)
            await victim.after(random_.randrange(1, 40))
            os.kill(pid, signal.SIGKILL)
            await victim.ended
            answered += victim.answered
            await self.check(path, answered)
