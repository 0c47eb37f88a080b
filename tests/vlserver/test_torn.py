"""A power cut while the disk is being written: the last write is whole or absent, what was answered is there.

The database and its log are copied after every answered write; a torn copy mixes the sectors of two that follow one
another, as a disk may have written them in any order when no fsync had returned yet.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from tests.contracts.ivlstore import BY, A, B, a_volume, everything, furnish
from tests.support.budget import budget
from vlserver.interfaces import ITransaction, StoreError
from vlserver.store.sqlite import SqliteStore

SECTOR = 512
LOG_HEADER = 32
"""Bytes of a log that SQLite writes and syncs alone when it goes back to the log's start (wal.c, syncHeader)."""
WRITES = 40
"""Answered writes of one history."""


@dataclass(frozen=True)
class Moment:
    """The files after an answered write or a `checkpoint`, and what the database holds then."""

    file: bytes
    log: bytes
    content: list[object]
    checkpoint: bool


def open_sqlite(path: str) -> SqliteStore:
    """The store in a file, on the running reactor."""
    any_reactor: Any = reactor
    return SqliteStore(path, any_reactor, lambda: 1.0)


def change(step: int, random_: random.Random) -> Callable[[ITransaction], None]:
    """A write of several rows in several tables: a new entry, all others changed in part, the partition moved."""
    renamed, added = random_.random(), random_.randrange(1, 6)

    def work(transaction: ITransaction) -> None:
        for number in range(added):
            transaction.add_volume(a_volume(b"v%d" % step, 100 * step + number + 1, A, B))
        for volume in transaction.volumes(0, 1 << 30):
            if (volume.key * 7 % 11) / 11 < renamed:
                transaction.put_volume(replace(volume, name=b"w%d" % step, flags=step))
        partition = transaction.partition(A)
        assert partition is not None
        transaction.put_partition(replace(partition, number=100 + step % 100, epoch=step))
        transaction.set_setting("n", step)

    return work


def mixed(before: bytes, after: bytes, random_: random.Random) -> bytes:
    """`before` with some of the sectors of `after` written, in no order; what lay beyond its end may be anything."""
    share = random_.choice((0.05, 0.5, 0.95, 1.0))
    end = len(before) if random_.random() < 0.2 else max(len(before), len(after))
    found = bytearray()
    for at in range(0, end, SECTOR):
        old, new = before[at : at + SECTOR], after[at : at + SECTOR]
        if new and random_.random() < share:
            found += new
        else:
            found += old or random_.choice((bytes(len(new)), random_.randbytes(len(new))))
    if len(after) > len(before) and random_.random() < 0.3:
        del found[random_.randrange(len(before), len(after)) :]
    return bytes(found)


class TornTest(TestCase):
    """Mixtures of what the disk held before and after."""

    timeout = 600

    async def history(self, random_: random.Random) -> list[Moment]:
        """Writes, and checkpoints between them, with the files after each."""
        path = Path(self.mktemp())
        store = open_sqlite(str(path))
        self.addCleanup(lambda: ensureDeferred(store.close()))
        await store.write(furnish, BY)
        moments: list[Moment] = []

        async def keep(checkpoint: bool) -> None:
            log = Path(f"{path}-wal").read_bytes()
            moments.append(Moment(path.read_bytes(), log, await store.read(everything), checkpoint))

        await keep(False)
        for step in range(1, WRITES + 1):
            await store.write(change(step, random_), BY)
            await keep(False)
            if random_.random() < 0.2:
                busy, _, _ = store._writing.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
                self.assertFalse(busy)
                await keep(True)
        return moments

    async def content(self, file: bytes, log: bytes) -> list[object]:
        """What a server started on these files holds; it must be sound, and take writes."""
        path = Path(self.mktemp())
        path.write_bytes(file)
        Path(f"{path}-wal").write_bytes(log)
        store = open_sqlite(str(path))
        found = await store.read(everything)
        self.assertEqual(store.revision, await store.read(lambda t: t.revision))
        await store.write(change(WRITES + 1, random.Random(1)), BY)
        await store.close()
        connection = sqlite3.connect(path)
        self.assertEqual(connection.execute("PRAGMA integrity_check").fetchone()[0], "ok")
        self.assertEqual(connection.execute("PRAGMA foreign_key_check").fetchall(), [])
        connection.close()
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()
        return found

    async def test_torn(self) -> None:
        """In a write: as before it or as after it. In a checkpoint: as it was."""
        allowance = budget("vlserver.store.torn", full=5_000, least=40)
        random_ = random.Random(allowance.seed)
        moments: list[Moment] = []
        whole = absent = 0
        for trial in range(allowance.count):
            if trial % 200 == 0:
                moments = await self.history(random_)
            number = random_.randrange(1, len(moments))
            before, after = moments[number - 1], moments[number]
            if after.checkpoint:
                file, log = mixed(before.file, after.file, random_), before.log
            else:
                # A log begun anew has its header on the disk before anything behind it is written.
                headed = after.log[:LOG_HEADER] + before.log[LOG_HEADER:]
                file, log = before.file, mixed(headed, after.log, random_)
            found = await self.content(file, log)
            self.assertIn(found, (before.content, after.content), f"trial {trial}, write {number}")
            whole += found == after.content
            absent += found != after.content
        self.assertTrue(whole, "no write was ever there: too little is tested")
        self.assertTrue(absent, "no write was ever lost: too little is tested")

    async def test_cut_short(self) -> None:
        """A database file that ends too early is refused with one line that names it, and left as it is."""
        allowance = budget("vlserver.store.cut", full=500, least=10)
        random_ = random.Random(allowance.seed)
        path = Path(self.mktemp())
        store = open_sqlite(str(path))
        await store.write(furnish, BY)
        for step in range(1, WRITES):
            await store.write(change(step, random_), BY)
        await store.close()
        whole = path.read_bytes()
        for _ in range(allowance.count):
            cut = whole[: random_.randrange(1, len(whole))]
            path.write_bytes(cut)
            with self.assertRaises(StoreError) as caught:
                open_sqlite(str(path))
            self.assertIn(str(path), str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))
            self.assertEqual(path.read_bytes(), cut)
