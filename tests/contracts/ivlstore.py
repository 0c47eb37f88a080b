"""What every IVLStore must do: a back end's TestCase mixes in `StoreContract` and says how to open a store."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.support.budget import budget
from vlserver.interfaces import Inconsistent, ITransaction, IVLStore, StoreError
from vlserver.schema import EPOCH_LIMIT, Author, Definition, Partition, Row, Server, Site, Volume

if TYPE_CHECKING:
    _Base = TestCase
else:  # trial must not find the mixin itself
    _Base = object

T = TypeVar("T")

BY = Author("admin", "test")
A, B = UUID(int=1), UUID(int=2)
SERVER = Server(0, (0x0A000001, 0x0A000002), UUID(int=77), 0, 1)
OTHER = Server(3, (0x0A000003,))


class Planned(Exception):
    """What a test's own work raises."""


def a_volume(name: bytes, rw_id: int, *partitions: UUID, **fields: Any) -> Volume:
    """An entry with a site on each partition."""
    return Volume(0, name, (rw_id, 0, 0), tuple(Site(each, 4) for each in partitions), **fields)


def adding(volume: Volume) -> Callable[[ITransaction], Volume]:
    """The work that adds this entry."""
    return lambda transaction: transaction.add_volume(volume)


def furnish(transaction: ITransaction) -> None:
    """Two servers, two partition objects."""
    transaction.put_server(SERVER)
    transaction.put_server(OTHER)
    transaction.put_partition(Partition(A, 0, 0, 0, implicit=True))
    transaction.put_partition(Partition(B, 1, 0, 0, name="disk b", size=100, free=50))


class StoreContract(_Base):
    """Mixed into a back end's test case, which implements `open_store`."""

    def open_store(self) -> IVLStore:
        """A store; the same one again where the back end is durable."""
        raise NotImplementedError

    async def furnished(self) -> IVLStore:
        """A store with `furnish` in it, closed at the end."""
        store = self.open_store()
        self.addCleanup(lambda: ensureDeferred(store.close()))
        await store.write(furnish, BY)
        return store

    async def refused(self, store: IVLStore, work: Callable[[ITransaction], object]) -> None:
        """`work` must raise Inconsistent and leave everything as it was."""
        before, revision = await store.read(everything), store.revision
        with self.assertRaises(Inconsistent):
            await store.write(work, BY)
        self.assertEqual(await store.read(everything), before)
        self.assertEqual(store.revision, revision)

    async def test_interface(self) -> None:
        """The store and its transactions have every method of the interfaces."""
        store = await self.furnished()
        verifyObject(IVLStore, store)
        await store.read(lambda transaction: verifyObject(ITransaction, transaction))

    async def test_rows_come_back(self) -> None:
        """Servers, partitions, definitions, settings and volumes are read as they were written."""
        store = await self.furnished()
        definition = Definition(B, 3, 7, "/vicepb", 2)
        await store.write(lambda t: t.put_definition(definition), BY)
        await store.write(lambda t: t.set_setting("x", 5), BY)
        volume = await store.write(lambda t: t.add_volume(a_volume(b"v\xff", 9, A, B, A, flags=4096, clone_id=8)), BY)

        def look(t: ITransaction) -> None:
            self.assertEqual(t.servers(), [SERVER, OTHER])
            self.assertEqual((t.server(0), t.server(1), t.server_at(0x0A000002)), (SERVER, None, SERVER))
            self.assertEqual([each.uuid for each in sorted(t.partitions(), key=lambda each: each.uuid)], [A, B])
            self.assertEqual(t.partition(B), Partition(B, 1, 0, 0, name="disk b", size=100, free=50))
            self.assertEqual((t.definitions(), t.definitions_on(3)), ([definition], [definition]))
            self.assertEqual((t.setting("x"), t.setting("y")), (5, None))
            self.assertEqual(volume.key, 1)
            self.assertEqual([t.volume(1), t.volume_with_id(9, 0), t.volume_named(b"v\xff")], [volume] * 3)
            self.assertEqual(t.volume_with_id(9, 1), None)

        await store.read(look)
        await store.survey(look)

    async def test_partition_comes_back(self) -> None:
        """Every field of a partition object is kept, the largest epoch too."""
        store = await self.furnished()
        full = Partition(
            A,
            255,
            None,
            3,
            EPOCH_LIMIT,
            False,
            "disk a",
            "mounted",
            "namei",
            1 << 62,
            7,
            8,
            9,
            2,
            "why",
            10,
            3,
            4000,
            5,
            B,
        )
        for partition in (full, replace(full, owner=0, heartbeat_age=None, request=None)):
            await store.write(lambda t, row=partition: t.put_partition(row), BY)  # type: ignore[misc]
            self.assertEqual(await store.read(lambda t: t.partition(A)), partition)

    async def test_replacing(self) -> None:
        """A row put again is the new one, and the old one's names find nothing."""
        store = await self.furnished()
        moved = replace(SERVER, addresses=(0x0A000009, 0x0A000002), uniquifier=2)
        await store.write(lambda t: t.put_server(moved), BY)
        volume = await store.write(lambda t: t.add_volume(a_volume(b"old", 9, A)), BY)
        changed = replace(volume, name=b"new", ids=(10, 11, 0), sites=(Site(B, 2), Site(A, 4)))
        await store.write(lambda t: t.put_volume(changed), BY)

        def look(t: ITransaction) -> None:
            self.assertEqual((t.server(0), t.server_at(0x0A000001)), (moved, None))
            self.assertEqual((t.volume_named(b"old"), t.volume_with_id(9, 0)), (None, None))
            self.assertEqual((t.volume_named(b"new"), t.volume_with_id(11, 1)), (changed, changed))
            self.assertEqual([t.volumes_on(each, 0, 9) for each in (A, B)], [[changed], [changed]])

        await store.read(look)

    async def test_removed_keys(self) -> None:
        """The keys of removed entries are told in the order of removal; the last is used again first."""
        store = await self.furnished()
        for number in range(1, 6):
            await store.write(adding(a_volume(b"v%d" % number, number, A)), BY)
        for key in (2, 5, 3):
            await store.write(lambda t, key=key: t.remove_volume(key), BY)  # type: ignore[misc]
        self.assertEqual(list(await store.read(lambda t: t.removed_keys())), [2, 5, 3])
        self.assertEqual((await store.write(adding(a_volume(b"w", 9, A)), BY)).key, 3)
        self.assertEqual(list(await store.read(lambda t: t.removed_keys())), [2, 5])

    async def test_load(self) -> None:
        """A load fills an empty store as the same rows written one by one would have, in one revision without rows."""
        store = self.open_store()
        self.addCleanup(lambda: ensureDeferred(store.close()))
        volumes = [replace(a_volume(b"v%d" % key, key, A, B, name_order=-key), key=key) for key in (1, 2, 4, 7)]
        rows: list[Row] = [
            SERVER,
            OTHER,
            Partition(A, 0, 0, 0),
            Partition(B, 1, None, 3),
            Definition(B, 3, 7, "/vicepb"),
            *volumes,
        ]
        await store.load(iter(rows), {"x": 5, "y": 6}, [3, 8, 5, 6], BY)

        def look(t: ITransaction) -> None:
            self.assertEqual(t.servers(), [SERVER, OTHER])
            self.assertEqual(sorted(t.partitions(), key=lambda each: each.uuid), rows[2:4])
            self.assertEqual(t.definitions(), [rows[4]])
            self.assertEqual(list(t.volumes(0, 99)), volumes)
            self.assertEqual([list(t.volumes_on(each, 0, 99)) for each in (A, B)], [volumes] * 2)
            self.assertEqual([t.volume_named(b"v4"), t.volume_with_id(7, 0)], volumes[2:])
            self.assertEqual((t.settings(), list(t.removed_keys()), t.last_key()), ({"x": 5, "y": 6}, [3, 8, 5, 6], 8))
            (change,) = t.changes(0, 99)
            self.assertEqual((change.revision, change.author, change.rows), (1, BY, ()))

        await store.read(look)
        self.assertEqual(store.revision, 1)
        added = [await store.write(adding(a_volume(b"new", number, A)), BY) for number in range(11, 16)]
        self.assertEqual([volume.key for volume in added], [6, 5, 8, 3, 9])

    async def test_load_refused(self) -> None:
        """A load is refused by a store that is not empty; one that breaks a rule, or fails half-way, leaves nothing."""
        store = self.open_store()
        self.addCleanup(lambda: ensureDeferred(store.close()))
        before = await store.read(everything)
        servers: list[Row] = [SERVER, OTHER, Partition(A, 0, 0, 0)]
        first = replace(a_volume(b"v", 1, A), key=1)
        broken: list[list[Row]] = [
            [*servers, first, replace(first, key=2)],
            [*servers, first, replace(a_volume(b"w", 2, A), key=1)],
            [*servers, replace(first, sites=(Site(B, 4),))],
            [Partition(A, 0, 0, 0)],
        ]
        for rows in broken:
            with self.assertRaises(Inconsistent):
                await store.load(iter(rows), {"x": 1}, [5], BY)
            self.assertEqual((await store.read(everything), store.revision), (before, 0))

        def failing() -> Iterator[Row]:
            yield from (*servers, first)
            raise Planned

        with self.assertRaises(Planned):
            await store.load(failing(), {"x": 1}, [5], BY)
        self.assertEqual((await store.read(everything), store.revision), (before, 0))
        await store.load(iter([*servers, first]), {}, [], BY)
        with self.assertRaises(Inconsistent):
            await store.load(iter(()), {}, [], BY)
        self.assertEqual((await store.read(lambda t: t.volumes(0, 9)), store.revision), ([first], 1))

    async def test_all_or_nothing(self) -> None:
        """What a write did before it raised is gone: rows, keys, ids, settings and the log."""
        store = await self.furnished()
        kept = await store.write(lambda t: t.add_volume(a_volume(b"kept", 5, A)), BY)
        before, revision = await store.read(everything), store.revision

        def work(t: ITransaction) -> None:
            t.remove_volume(kept.key)
            t.add_volume(a_volume(b"one", 6, B))
            t.put_volume(replace(t.add_volume(a_volume(b"two", 7, A, B)), name=b"three", ids=(8, 9, 10)))
            t.put_server(replace(OTHER, addresses=(1, 2, 3)))
            t.remove_partition(B) if not t.volumes_on(B, 0, 1) else None
            t.put_partition(Partition(UUID(int=9), 9, 3, 3))
            t.put_definition(Definition(A, 3, 1, "/x"))
            t.set_setting("s", 1)
            raise Planned

        with self.assertRaises(Planned):
            await store.write(work, BY)
        self.assertEqual(await store.read(everything), before)
        self.assertEqual(store.revision, revision)
        added = await store.write(lambda t: t.add_volume(a_volume(b"one", 6, B)), BY)
        self.assertEqual(added.key, kept.key + 1)

    async def test_revision(self) -> None:
        """The revision rises by one with each write that changed rows, and with no other."""
        store = await self.furnished()
        start = store.revision

        def count_up(t: ITransaction) -> int:
            t.set_setting("n", t.revision)
            return t.revision

        for count in range(1, 6):
            seen = await store.write(count_up, BY)
            self.assertEqual((seen, store.revision), (start + count, start + count))
        await store.write(lambda t: t.put_server(SERVER), BY)
        await store.write(lambda t: None, BY)
        self.assertEqual(store.revision, start + 5)
        self.assertEqual(await store.read(lambda t: t.revision), start + 5)

    async def test_uniqueness(self) -> None:
        """An address, a UUID, a record, a place and an id of a kind belong to one row."""
        store = await self.furnished()
        await store.write(lambda t: t.add_volume(Volume(0, b"v", (1, 2, 3), (Site(A, 4),))), BY)
        await self.refused(store, lambda t: t.put_server(Server(5, (0x0A000002,))))
        await self.refused(store, lambda t: t.put_server(Server(5, (5,), SERVER.uuid, 1)))
        await self.refused(store, lambda t: t.put_server(Server(5, (5,), UUID(int=5), 0)))
        await self.refused(store, lambda t: t.put_server(Server(5, (6, 6))))
        await self.refused(store, lambda t: t.put_partition(Partition(UUID(int=3), 0, 0, 0)))
        for ids in ((1, 0, 0), (4, 2, 0), (4, 0, 3)):
            await self.refused(store, adding(Volume(0, b"w", ids, (Site(A, 4),))))
        await store.write(lambda t: t.add_volume(Volume(0, b"w", (2, 3, 1), (Site(A, 4),))), BY)
        await store.write(lambda t: t.add_volume(Volume(0, b"x", (4, 0, 0), (Site(A, 4),))), BY)
        await store.write(lambda t: t.add_volume(Volume(0, b"y", (5, 0, 0), (Site(A, 4),))), BY)

    async def test_references(self) -> None:
        """Nothing can point at a row that is not there, and no row that is pointed at can go."""
        store = await self.furnished()
        stranger = UUID(int=99)
        volume = await store.write(lambda t: t.add_volume(a_volume(b"v", 1, A)), BY)
        await self.refused(store, lambda t: t.add_volume(a_volume(b"w", 2, stranger)))
        await self.refused(store, lambda t: t.put_volume(replace(volume, sites=(Site(stranger, 0),))))
        await self.refused(store, lambda t: t.put_volume(replace(volume, key=50, ids=(50, 0, 0))))
        await self.refused(store, lambda t: t.put_partition(Partition(stranger, 3, 77, 77)))
        await self.refused(store, lambda t: t.put_definition(Definition(stranger, 0, 1, "/x")))
        await self.refused(store, lambda t: t.put_definition(Definition(A, 77, 1, "/x")))
        await self.refused(store, lambda t: t.remove_partition(A))
        await self.refused(store, lambda t: t.remove_server(0))
        await store.write(lambda t: t.put_definition(Definition(B, 3, 1, "/x")), BY)
        await self.refused(store, lambda t: t.remove_server(3))
        await store.write(lambda t: t.remove_partition(B), BY)
        await store.write(lambda t: t.remove_server(3), BY)
        self.assertEqual(await store.read(lambda t: (t.definitions(), t.server(3))), ([], None))

    async def test_reading_writes_nothing(self) -> None:
        """A read or a survey that tries to change a row is refused."""
        store = await self.furnished()
        before = await store.read(everything)
        for run in (store.read, store.survey):
            for work in (lambda t: t.put_server(OTHER), lambda t: t.add_volume(a_volume(b"v", 1, A))):
                with self.assertRaises(StoreError):
                    await run(work)
        self.assertEqual(await store.read(everything), before)

    async def test_partition_at(self) -> None:
        """The object mounted at a place comes before one without owner that was last there."""
        store = await self.furnished()
        gone = Partition(UUID(int=8), 1, None, 0, epoch=4)
        await store.write(lambda t: t.put_partition(gone), BY)
        look = await store.read(lambda t: (t.partition_at(0, 1), t.partition_at(0, 2), t.partition_at(3, 1)))
        self.assertEqual([found and found.uuid for found in look], [B, None, None])
        await store.write(lambda t: t.put_partition(Partition(B, 1, 3, 3)), BY)
        self.assertEqual(await store.read(lambda t: t.partition_at(0, 1)), gone)
        owned = await store.read(lambda t: {each.uuid for each in t.partitions_of(0)})
        self.assertEqual(owned, {A, gone.uuid})

    async def test_keys_are_reused(self) -> None:
        """A removed entry's key is given to the next new one, the last removed first; else the next higher."""
        store = await self.furnished()
        for number in range(1, 5):
            await store.write(adding(a_volume(b"v", number, A)), BY)
        await store.write(lambda t: t.remove_volume(2), BY)
        await store.write(lambda t: t.remove_volume(4), BY)
        self.assertEqual(await store.read(lambda t: t.last_key()), 4)
        keys = [(await store.write(adding(a_volume(b"n", number, A)), BY)).key for number in (11, 12, 13)]
        self.assertEqual(keys, [4, 2, 5])

    async def test_pages(self) -> None:
        """All entries, and those on a partition, come by key in pages of the size asked for."""
        store = await self.furnished()
        for number in range(1, 8):
            where = A if number % 2 else B
            await store.write(adding(a_volume(b"v%d" % number, number, where, where)), BY)
        await store.write(lambda t: t.remove_volume(3), BY)

        def look(t: ITransaction) -> list[list[int]]:
            pages = (t.volumes(0, 3), t.volumes(4, 3), t.volumes(7, 3), t.volumes_on(A, 0, 2), t.volumes_on(A, 5, 9))
            return [[volume.key for volume in page] for page in pages]

        self.assertEqual(await store.read(look), [[1, 2, 4], [5, 6, 7], [], [1, 5], [7]])

    async def test_newest_of_a_name(self) -> None:
        """Of two entries with one name the one named last is found; when it goes, the other is."""
        store = await self.furnished()
        first = await store.write(lambda t: t.add_volume(a_volume(b"twin", 1, A, name_order=5)), BY)
        second = await store.write(lambda t: t.add_volume(a_volume(b"twin", 2, A, name_order=3)), BY)
        self.assertEqual(await store.read(lambda t: t.volume_named(b"twin")), first)
        await store.write(lambda t: t.remove_volume(first.key), BY)
        self.assertEqual(await store.read(lambda t: t.volume_named(b"twin")), second)

    async def test_next_used_id(self) -> None:
        """The next id in use is found whatever its kind, an absent (zero) id never."""
        store = await self.furnished()
        await store.write(lambda t: t.add_volume(Volume(0, b"v", (10, 0, 30), (Site(A, 4),))), BY)
        await store.write(lambda t: t.add_volume(Volume(0, b"w", (40, 20, 0), (Site(A, 4),))), BY)
        found = await store.read(lambda t: [t.next_used_id(volume_id) for volume_id in (0, 11, 21, 30, 41)])
        self.assertEqual(found, [10, 20, 30, 30, None])

    async def test_change_log(self) -> None:
        """Every revision says who changed which rows by what, before and after; paging goes on from a revision."""
        store = await self.furnished()
        start = store.revision
        volume = await store.write(lambda t: t.add_volume(a_volume(b"v", 1, A)), Author("alice", "CreateEntryN"))
        await store.write(lambda t: t.remove_volume(volume.key), Author("bob", "DeleteEntry"))
        added, removed = await store.read(lambda t: t.changes(start, 9))
        self.assertEqual((added.revision, added.author), (start + 1, Author("alice", "CreateEntryN")))
        self.assertEqual((removed.revision, removed.author), (start + 2, Author("bob", "DeleteEntry")))
        (row,) = added.rows
        self.assertEqual((row.kind, row.key, row.before), ("volume", "1", ""))
        self.assertIn('"name":"v"', row.after)
        self.assertEqual([(row.before, row.after) for row in removed.rows], [(row.after, "")])
        self.assertEqual(await store.read(lambda t: [each.revision for each in t.changes(start, 1)]), [start + 1])
        self.assertEqual(await store.read(lambda t: t.changes(start + 2, 9)), [])

    async def test_writes_in_order(self) -> None:
        """Writes asked for together run one after another in that order, each alone in failing."""
        store = await self.furnished()
        seen: list[int] = []

        def numbered(number: int) -> Callable[[ITransaction], int]:
            def work(t: ITransaction) -> int:
                seen.append(number)
                t.add_volume(a_volume(b"v%d" % number, number, A))
                if number % 3 == 0:
                    raise Planned
                return t.revision

            return work

        start = store.revision
        writes = [ensureDeferred(store.write(numbered(number), BY)) for number in range(1, 101)]
        outcomes = await DeferredList(writes, consumeErrors=True)
        self.assertEqual(seen, list(range(1, 101)))
        self.assertEqual([succeeded for succeeded, _ in outcomes], [number % 3 != 0 for number in seen])
        self.assertEqual([outcome for succeeded, outcome in outcomes if succeeded], list(range(start + 1, start + 68)))
        ids = await store.read(lambda t: [volume.ids[0] for volume in t.volumes(0, 200)])
        self.assertEqual(sorted(ids), [number for number in seen if number % 3])

    async def test_random_history(self) -> None:
        """A random run of adds, changes, removals and failures leaves exactly what a plain dictionary says."""
        allowance = budget(f"vlserver.store.{type(self).__name__}", full=5000)
        random_ = random.Random(allowance.seed)
        store = await self.furnished()
        model: dict[int, Volume] = {}
        for _ in range(allowance.count):
            await self.one_step(random_, store, model)
        rows = await store.read(lambda t: t.volumes(0, 1 << 30))
        self.assertEqual({volume.key: volume for volume in rows}, model)

    async def one_step(self, random_: random.Random, store: IVLStore, model: dict[int, Volume]) -> None:
        """One write of the random history, to the store and to the model."""
        ids = (random_.randrange(1, 60), random_.choice((0, random_.randrange(60))), 0)
        sites = tuple(Site(random_.choice((A, B)), random_.randrange(8)) for _ in range(random_.randrange(1, 5)))
        fresh = Volume(0, b"n%d" % random_.randrange(9), ids, sites, flags=random_.randrange(99))
        key = random_.choice([*model, 0])
        fails = random_.random() < 0.2

        def work(t: ITransaction) -> Volume:
            if key and random_.random() < 0.4:
                t.remove_volume(key)
                result = replace(fresh, key=-key)
            elif key:
                t.put_volume(replace(fresh, key=key))
                result = replace(fresh, key=key)
            else:
                result = t.add_volume(fresh)
            if fails:
                raise Planned
            return result

        try:
            result = await store.write(work, BY)
        except (Planned, Inconsistent):
            return
        if result.key < 0:
            del model[-result.key]
        else:
            model[result.key] = result


def everything(transaction: ITransaction) -> list[object]:
    """All that a store holds, to compare before with after."""
    t = transaction
    return [
        t.servers(),
        sorted(t.partitions(), key=lambda each: each.uuid),
        t.definitions(),
        list(t.volumes(0, 1 << 30)),
        [list(t.volumes_on(each.uuid, 0, 1 << 30)) for each in sorted(t.partitions(), key=lambda each: each.uuid)],
        [t.next_used_id(number) for number in range(100)],
        [t.setting(name) for name in ("s", "x", "n")],
        t.last_key(),
        list(t.changes(0, 1 << 30)),
    ]
