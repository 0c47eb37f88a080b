"""One change of the log is taken back, and only that: what others have seen never goes back."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from twisted.trial.unittest import TestCase

from tests.support.budget import budget
from vlserver.interfaces import Inconsistent, ITransaction
from vlserver.operations.entries import new_volume_id
from vlserver.operations.undo import UndoRefused, undo
from vlserver.schema import Author, Definition, Partition, Server, Site, Volume
from vlserver.store.memory import MemoryStore

BY = Author("admin", "test")
A, B = UUID(int=1), UUID(int=2)
SERVERS = (Server(0, (1,), UUID(int=8), 0, 5), Server(1, (2,)))
VOLUME = Volume(0, b"v", (10, 11, 0), (Site(A, 4), Site(B, 2)), flags=0x1000)


class UndoTest(TestCase):
    """`undo` as an operation on a store."""

    async def furnished(self) -> MemoryStore:
        """Two servers, a partition on each, one entry."""
        store = MemoryStore(lambda: 1.0)

        def work(t: ITransaction) -> None:
            for server in SERVERS:
                t.put_server(server)
            t.put_partition(Partition(A, 0, 0, 0, epoch=5))
            t.put_partition(Partition(B, 0, 1, 1))
            t.add_volume(VOLUME)

        await store.write(work, BY)
        return store

    async def changed(self, store: MemoryStore, work: Callable[[ITransaction], object]) -> int:
        """Make a change; its revision."""
        await store.write(work, BY)
        return store.revision

    async def undone(self, store: MemoryStore, revision: int, force: bool = False) -> list[str]:
        """Take a change back."""
        return await store.write(lambda t: undo(t, revision, force), BY)

    async def refused(self, store: MemoryStore, revision: int, reason: str) -> None:
        """It cannot be taken back, and nothing changes."""
        before = store.revision
        with self.assertRaisesRegex(UndoRefused, reason):
            await self.undone(store, revision)
        self.assertEqual(store.revision, before)

    async def volume(self, store: MemoryStore, key: int = 1) -> Volume | None:
        """An entry as it is now."""
        return await store.read(lambda t: t.volume(key))

    async def test_replaced_entry(self) -> None:
        """An entry that was changed is as before; undoing the undo changes it again."""
        store = await self.furnished()
        before = await self.volume(store)
        assert before is not None
        after = replace(before, name=b"other", sites=(Site(A, 4),), flags=0x3000)
        revision = await self.changed(store, lambda t: t.put_volume(after))
        await self.undone(store, revision)
        self.assertEqual(await self.volume(store), before)
        await self.undone(store, store.revision)
        self.assertEqual(await self.volume(store), after)

    async def test_removed_entry(self) -> None:
        """A removed entry is there again, unlocked, also when its key is another's by now."""
        store = await self.furnished()
        await store.write(lambda t: t.put_volume(replace(VOLUME, key=1, flags=0x1080, lock_timestamp=99)), BY)
        revision = await self.changed(store, lambda t: t.remove_volume(1))
        await store.write(lambda t: t.add_volume(Volume(0, b"new", (20, 0, 0), (Site(A, 4),))), BY)
        await self.undone(store, revision)
        self.assertEqual(await self.volume(store, 2), replace(VOLUME, key=2))

    async def test_removed_entry_replaced(self) -> None:
        """Where an id or the name is in use by now, the entry does not come back."""
        store = await self.furnished()
        revision = await self.changed(store, lambda t: t.remove_volume(1))
        await store.write(lambda t: t.add_volume(Volume(0, b"v", (20, 10, 0), (Site(A, 4),))), BY)
        await self.refused(store, revision, "another entry v\nthe id 10 of v is in use")

    async def test_added_entry(self) -> None:
        """An entry that was added is gone, and what was added with it."""
        store = await self.furnished()

        def work(t: ITransaction) -> None:
            t.put_server(Server(2, (3,), UUID(int=9), 1, 7))
            t.put_partition(Partition(UUID(int=3), 0, 2, 2, implicit=True))
            t.put_definition(Definition(A, 2, 0, "/vicepa"))
            t.add_volume(Volume(0, b"new", (20, 0, 0), (Site(UUID(int=3), 4),)))

        revision = await self.changed(store, work)
        await self.undone(store, revision)
        t = await store.read(lambda transaction: transaction)
        self.assertEqual(len(t.servers()), 2)
        self.assertEqual([each.uuid for each in t.partitions()], [A, B])
        self.assertEqual((t.definitions(), len(t.volumes(0, 9))), ([], 1))
        self.assertEqual(t.setting("uniquifier of record 1"), 7)

    async def test_changed_since(self) -> None:
        """A row changed again since is refused, with the revisions; forced, only what the change set goes back."""
        store = await self.furnished()
        revision = await self.changed(store, lambda t: t.put_volume(replace(VOLUME, key=1, sites=(Site(A, 4),))))
        later = await self.changed(
            store, lambda t: t.put_volume(replace(VOLUME, key=1, sites=(Site(A, 4),), name=b"renamed"))
        )
        await self.refused(store, revision, f"volume 1 was changed again, by the revisions {later}")
        await self.undone(store, revision, force=True)
        self.assertEqual(await self.volume(store), replace(VOLUME, key=1, name=b"renamed"))

    async def test_owner(self) -> None:
        """A partition that changed its owner goes back to it with a higher epoch, whatever was reported since."""
        store = await self.furnished()
        there = Partition(A, 3, 1, 0, epoch=6, state="unknown")
        revision = await self.changed(store, lambda t: t.put_partition(there))
        await store.write(lambda t: t.put_partition(replace(there, size=100, free=50, reported=9, state="mounted")), BY)
        await self.undone(store, revision)
        expected = Partition(A, 0, 0, 0, epoch=7, size=100, free=50, reported=9)
        self.assertEqual(await store.read(lambda t: t.partition(A)), expected)

    async def test_place_taken(self) -> None:
        """Where another partition is mounted by now, the change stays: nothing is half undone."""
        store = await self.furnished()
        revision = await self.changed(store, lambda t: t.put_partition(Partition(A, 0, None, 0, epoch=6)))
        await store.write(lambda t: t.put_partition(Partition(UUID(int=4), 0, 0, 0)), BY)
        before = store.revision
        with self.assertRaises(Inconsistent):
            await self.undone(store, revision)
        self.assertEqual(store.revision, before)

    async def test_server(self) -> None:
        """A server's old addresses come back under a new uniquifier, so that clients ask again."""
        store = await self.furnished()
        revision = await self.changed(
            store, lambda t: t.put_server(replace(SERVERS[0], addresses=(7, 8), uniquifier=6))
        )
        await self.undone(store, revision)
        self.assertEqual(await store.read(lambda t: t.server(0)), replace(SERVERS[0], uniquifier=7))

    async def test_counters_and_locks(self) -> None:
        """Ids given away stay given away, and a lock is neither set nor taken."""
        store = await self.furnished()
        revision = await self.changed(store, lambda t: new_volume_id(t, 5))
        await self.refused(store, revision, "never put back")
        lock = replace(VOLUME, key=1, flags=0x1080, lock_timestamp=99)
        revision = await self.changed(store, lambda t: t.put_volume(lock))
        await self.refused(store, revision, "never put back")
        revision = await self.changed(store, lambda t: t.put_volume(replace(VOLUME, key=1, name=b"w")))
        await self.undone(store, revision)
        self.assertEqual(await self.volume(store), replace(VOLUME, key=1))

    async def test_not_there(self) -> None:
        """A revision that is not in the log, and a load, are refused."""
        store = await self.furnished()
        for revision in (0, -1, 2, 99):
            await self.refused(store, revision, f"no revision {revision}")
        loaded = MemoryStore(lambda: 1.0)
        await loaded.load([], {}, [], BY)
        await self.refused(loaded, 1, "replaced the whole database")

    async def test_all_the_way_back(self) -> None:
        """Undoing a random history from its end leads back to what there was, entry by entry."""
        allowance = budget("vlserver.undo", full=2000)
        random_ = random.Random(allowance.seed)
        for _ in range(allowance.count):
            store = await self.furnished()
            states = []
            for number in range(20):
                states.append(await self.entries(store))
                await store.write(lambda t, number=number: self.step(random_, t, number), BY)  # type: ignore[misc]
            for revision in range(store.revision, 1, -1):
                await self.undone(store, revision)
                self.assertEqual(await self.entries(store), states.pop())

    def step(self, random_: random.Random, t: ITransaction, number: int) -> None:
        """Add, change or remove an entry."""
        there = t.volumes(0, 99)
        fresh = Volume(0, b"n%d" % number, (100 + number, 0, 0), (Site(random_.choice((A, B)), 4),), name_order=1)
        chosen = random_.choice([*there, fresh])
        if chosen is fresh:
            t.add_volume(fresh)
        elif random_.random() < 0.5:
            t.remove_volume(chosen.key)
        else:
            t.put_volume(replace(fresh, key=chosen.key))

    async def entries(self, store: MemoryStore) -> list[Volume]:
        """All entries, whatever their keys."""
        found = await store.read(lambda t: t.volumes(0, 99))
        return sorted((replace(volume, key=0) for volume in found), key=lambda volume: volume.ids)
