"""vldb.DB0 read and written: nothing is lost either way, damage is refused, stock's own check finds nothing."""

from __future__ import annotations

import io
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from uuid import UUID, uuid4

from twisted.trial.unittest import TestCase

from tests.support.budget import budget
from tests.vlserver.contents import BY, Contents, random_contents
from vlserver.interfaces import ITransaction, IVLStore, StoreError
from vlserver.legacy.layout import (
    BLOCK_SIZE,
    ENTRY,
    HASH_SIZE,
    HEADER,
    IDS_AT,
    NAMES_AT,
    RECORD_SIZE,
    SERVERS_AT,
    UBIK_SIZE,
    Label,
    id_hash,
    name_hash,
)
from vlserver.legacy.reader import StoredVldb, StoredVolume
from vlserver.legacy.rows import rows_of, settings_of
from vlserver.legacy.servers import DamagedFile
from vlserver.legacy.sidecar import Sidecar, SidecarWriter, read_sidecar
from vlserver.legacy.writer import StockWriter
from vlserver.schema import Definition, Partition, Row, Server, Site, Volume
from vlserver.store.memory import MemoryStore

LABEL = Label(1_700_000_000, 3)
VLDB_CHECK = shutil.which("vldb_check", path="/usr/sbin:/usr/lib/openafs:/usr/bin")
ENTRIES_AT = UBIK_SIZE + HEADER.size


async def exported(store: IVLStore, path: str, label: Label = LABEL) -> str:
    """Write the store's stock file; returns its sidecar."""
    sidecar = io.StringIO()

    def work(transaction: ITransaction) -> None:
        writer = SidecarWriter(transaction, sidecar, label)
        with open(path, "w+b") as file:
            StockWriter(transaction, file, lambda done, total: None, writer.notice).write(label)
        writer.finish()

    await store.survey(work)
    return sidecar.getvalue()


async def imported(path: str, sidecar: str | None = None) -> MemoryStore:
    """A store with what the file and its sidecar say."""
    with closing(StoredVldb(path)) as stored:
        more = Sidecar("") if sidecar is None else read_sidecar(io.StringIO(sidecar), "sidecar").fitted(stored)
        store = MemoryStore(lambda: 1.0)
        await store.load(rows_of(stored, more, uuid4), settings_of(stored, more), stored.removed_keys, BY)
    return store


def told(path: str) -> list[object]:
    """All that a file says."""
    with closing(StoredVldb(path)) as stored:
        return [stored.servers, stored.settings, stored.removed_keys, stored.places, list(stored.volumes())]


async def rows_in(store: MemoryStore) -> tuple[list[Row], dict[str, int], list[int]]:
    """All rows; the entries' orders are numbered anew for each name, as they come from a file."""
    t = await store.read(lambda transaction: transaction)
    partitions = sorted(t.partitions(), key=lambda each: each.uuid)
    definitions = sorted(t.definitions(), key=lambda each: (each.partition, each.server))
    volumes = reordered(t.volumes(0, 1 << 30))
    return [*t.servers(), *partitions, *definitions, *volumes], t.settings(), list(t.removed_keys())


def reordered(volumes: Sequence[Volume]) -> list[Volume]:
    """With orders 0, -1, ... from the newest of each name."""
    newest = sorted(volumes, key=lambda each: (each.name, -each.name_order, -each.key))
    found = [
        replace(volume, name_order=-position)
        for _, group in groupby(newest, key=lambda each: each.name)
        for position, volume in enumerate(group)
    ]
    return sorted(found, key=lambda each: each.key)


class RoundTripTest(TestCase):
    """Rows to a file and back, a file to rows and back."""

    def cases(self, name: str, full: int, stock: bool) -> Iterator[Contents]:
        """Random contents."""
        allowance = budget(name, full=full)
        random_ = random.Random(allowance.seed)
        for _ in range(allowance.count):
            yield random_contents(random_, random_.choice((0, 1, 40)), stock)

    async def test_with_sidecar(self) -> None:
        """A file and its sidecar give back every row: partition objects, epochs, definitions and all the sites."""
        for contents in self.cases("vlserver.legacy.sidecar", 1000, stock=False):
            store, path = await contents.store(), self.mktemp()
            sidecar = await exported(store, path)
            self.assertEqual(await rows_in(await imported(path, sidecar)), await rows_in(store))

    async def test_file_to_file(self) -> None:
        """A file read and written again says the same: servers, records, entries in order, free ones, what is found."""
        for contents in self.cases("vlserver.legacy.file", 1000, stock=True):
            first, second = self.mktemp(), self.mktemp()
            await exported(await contents.store(), first)
            await exported(await imported(first), second)
            self.assertEqual(told(second), told(first))
            with closing(StoredVldb(first)) as stored:
                self.assertEqual(len(list(stored.volumes())), stored.count)

    async def test_lookups(self) -> None:
        """Following the chains of a file finds for each name the entry named last, and for each id its entry."""
        for contents in self.cases("vlserver.legacy.lookups", 200, stock=True):
            store, path = await contents.store(), self.mktemp()
            await exported(store, path)
            data = Path(path).read_bytes()
            header = HEADER.unpack(data, UBIK_SIZE)
            t = await store.read(lambda transaction: transaction)
            for volume in t.volumes(0, 1 << 30):
                newest = t.volume_named(volume.name)
                assert newest is not None
                entry = next(found_by_name(data, header.names[name_hash(volume.name)], volume.name))
                self.assertEqual((entry.ids, entry.flags), (newest.ids, newest.flags))
                for kind, volume_id in enumerate(volume.ids):
                    if volume_id:
                        self.assertEqual(
                            found_by_id(data, header.ids[kind][id_hash(volume_id)], kind, volume_id), volume.name
                        )

    async def test_dropped(self) -> None:
        """Without its sidecar a file gives implicit partitions, at the places where the entries were seen."""
        server = Server(4, (0x0A000001,))
        partition = Partition(UUID(int=5), 2, None, 4, epoch=7, name="disk")
        definition = Definition(partition.uuid, 4, 2, "/vicepc")
        volume = Volume(1, b"v", (5, 0, 0), (Site(partition.uuid, 4),))
        path = self.mktemp()
        sidecar = await exported(await Contents([server, partition, definition, volume], {}, []).store(), path)
        t = await (await imported(path)).read(lambda transaction: transaction)
        (made,) = t.partitions()
        self.assertEqual(replace(made, uuid=partition.uuid), Partition(partition.uuid, 2, 4, 4, implicit=True))
        self.assertEqual(t.definitions(), [])
        again = await (await imported(path, sidecar)).read(lambda transaction: transaction)
        self.assertEqual((again.partitions(), again.definitions()), ([partition], [definition]))

    async def test_sidecar_of_changed_file(self) -> None:
        """A sidecar still helps when stock servers have changed the file: for servers that are who they were."""
        servers = [Server(0, (1,), UUID(int=8), 0, 1), Server(1, (2,), UUID(int=9), 1, 1)]
        partitions = [Partition(UUID(int=20 + slot), 0, slot, slot, epoch=5) for slot in (0, 1)]
        volumes = [Volume(key, b"v%d" % key, (key, 0, 0), (Site(partitions[key - 1].uuid, 4),)) for key in (1, 2)]
        path = self.mktemp()
        sidecar = await exported(await Contents([*servers, *partitions, *volumes], {}, []).store(), path)
        servers[1] = replace(servers[1], uuid=UUID(int=10))
        await exported(await Contents([*servers, *partitions, *volumes], {}, []).store(), path, Label(LABEL.epoch, 9))
        t = await (await imported(path, sidecar)).read(lambda transaction: transaction)
        self.assertEqual(t.partition(partitions[0].uuid), partitions[0])
        (other,) = (each for each in t.partitions() if each.uuid != partitions[0].uuid)
        self.assertEqual((other.owner, other.number, other.epoch, other.implicit), (1, 0, 0, True))

    async def test_broken_sidecar(self) -> None:
        """A sidecar that is cut off anywhere, or is something else, is refused."""
        store = await random_contents(random.Random(1)).store()
        sidecar = await exported(store, self.mktemp())
        lines = sidecar.splitlines(keepends=True)
        broken = ["", "{}", "[]", "x", *("".join(lines[:count]) for count in range(len(lines))), sidecar + lines[1]]
        broken += [sidecar[:cut] for cut in range(0, len(sidecar) - 2, 97)]
        broken.append(sidecar.replace('"kind":"partition"', '"kind":"other"', 1))
        for text in broken:
            with self.assertRaises(StoreError):
                read_sidecar(io.StringIO(text), "sidecar")

    async def test_what_does_not_fit(self) -> None:
        """An id that no stock server can find, and keys nobody knows of, are refused with the reason."""
        rows: list[Row] = [Server(0, (1,)), Partition(UUID(int=1), 0, 0, 0)]
        for volume, removed, reason in (
            (Volume(1, b"v", (0x80000000, 0, 0), ()), [], "no stock vlserver"),
            (Volume(1, b"v", (1 << 32, 0, 0), ()), [], "does not fit"),
            (Volume(3, b"v", (1, 0, 0), ()), [1], "key 2 is neither"),
        ):
            store = await Contents([*rows, volume], {}, removed).store()
            with self.assertRaisesRegex(StoreError, reason):
                await exported(store, self.mktemp())

    def checked(self, path: str) -> None:
        """Stock's vldb_check is content with the file."""
        ran = subprocess.run([str(VLDB_CHECK), "-database", path], capture_output=True, text=True, check=False)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))

    async def test_vldb_check(self) -> None:
        """Stock's vldb_check finds nothing wrong with what is written."""
        if VLDB_CHECK is None:
            self.skipTest("no vldb_check (Debian: openafs-dbserver)")
        random_ = random.Random(budget("vlserver.legacy.vldb_check", full=1).seed)
        for _ in range(10):
            contents = random_contents(random_, 200)
            known = {row.uuid for row in contents.rows if isinstance(row, Partition) and row.last_owner is not None}
            rows = [sound(row, known) if isinstance(row, Volume) else row for row in contents.rows]
            path = self.mktemp()
            await exported(await Contents(rows, contents.settings, contents.removed_keys).store(), path)
            self.checked(path)


def sound(volume: Volume, known: set[UUID]) -> Volume:
    """The entry without what vldb_check complains of though RPCs allow it: it also hashes ids from 2^31 its own way."""
    rw_id, ro_id, bk_id = (volume_id & 0x7FFFFFFF for volume_id in volume.ids)
    sites = tuple(Site(site.partition, 4 if place == 0 else 2) for place, site in enumerate(volume.sites))
    return replace(volume, ids=(rw_id, ro_id, bk_id), sites=sites, flags=0x1000, lock_timestamp=0)


def found_by_name(data: bytes, offset: int, name: bytes) -> Iterator[StoredVolume]:
    """The entries of this name on a chain."""
    while offset:
        entry = ENTRY.unpack(data, UBIK_SIZE + offset)
        if entry.name.rstrip(b"\0") == name:
            yield entry
        offset = entry.next_name


def found_by_id(data: bytes, offset: int, kind: int, volume_id: int) -> bytes:
    """The name of the entry with this id on a chain."""
    while offset:
        entry = ENTRY.unpack(data, UBIK_SIZE + offset)
        if entry.ids[kind] == volume_id:
            return bytes(entry.name.rstrip(b"\0"))
        offset = entry.next_id[kind]
    raise LookupError(volume_id)


class DamageTest(TestCase):
    """Files that are not whole are refused, with the byte where that shows."""

    async def file(self) -> tuple[str, bytes]:
        """A file with two registered servers, one single address, four entries and two free ones."""
        servers = [Server(0, (1, 2), UUID(int=8), 0, 1), Server(1, (3,), UUID(int=9), 1, 1), Server(2, (4,))]
        partitions = [Partition(UUID(int=20 + slot), 0, slot, slot) for slot in range(3)]
        volumes = [
            Volume(key, b"v%d" % key, (10 * key, 10 * key + 1, 0), tuple(Site(each.uuid, 4) for each in partitions))
            for key in (1, 3, 4, 6)
        ]
        path = self.mktemp()
        await exported(await Contents([*servers, *partitions, *volumes], {}, [2, 5]).store(), path)
        return path, Path(path).read_bytes()

    def refused(self, path: str, data: bytes, reason: str, offset: int | None = None) -> None:
        """Reading it fails and says so."""
        Path(path).write_bytes(data)
        with self.assertRaisesRegex(DamagedFile, reason) as caught:
            StoredVldb(path)
        if offset is not None:
            self.assertEqual(caught.exception.offset, offset)
        self.assertIn("offset", str(caught.exception))

    async def test_damages(self) -> None:
        """One by one: what is wrong is named, and where."""
        path, whole = await self.file()
        first = ENTRIES_AT + BLOCK_SIZE
        entry = [first + ENTRY.size * number for number in range(6)]
        name_head = UBIK_SIZE + NAMES_AT + 4 * name_hash(b"v1")
        id_head = UBIK_SIZE + IDS_AT + 4 * id_hash(10)
        ro_head = UBIK_SIZE + IDS_AT + 4 * (HASH_SIZE + id_hash(11))
        wrong_head = UBIK_SIZE + NAMES_AT + 4 * (name_hash(b"v1") + 40)
        at = entry[0] - UBIK_SIZE
        for offset, word, reason, where in (
            (0, 0, "ubik", 0),
            (8, 0, "transfer", 8),
            (UBIK_SIZE, 2, "version 2", UBIK_SIZE),
            (UBIK_SIZE, 5, "version 5", UBIK_SIZE),
            (UBIK_SIZE + 4, 100, "header of 100", UBIK_SIZE + 4),
            (UBIK_SIZE + 12, 1 << 30, "half written", UBIK_SIZE + 12),
            (UBIK_SIZE + 12, 3, "half written", UBIK_SIZE + 12),
            (UBIK_SIZE + 12, first + 148 * 3 + 7, "beyond the end", None),
            (UBIK_SIZE + HEADER.size - 4, 4, "outside the entries", None),
            (ENTRIES_AT + 12, 0, "no extension block", ENTRIES_AT + 12),
            (ENTRIES_AT + 16, 7, "says it is at 7", ENTRIES_AT + 16),
            (ENTRIES_AT + 20, 1, "not one behind the other", ENTRIES_AT + 16),
            (UBIK_SIZE + SERVERS_AT, 0xFF010001, "there is none", UBIK_SIZE + SERVERS_AT),
            (UBIK_SIZE + SERVERS_AT, 0xFF000000, "there is none", UBIK_SIZE + SERVERS_AT),
            (UBIK_SIZE + SERVERS_AT, 0xFF000009, "empty record", None),
            (UBIK_SIZE + SERVERS_AT, 0xFF000002, "share", UBIK_SIZE + SERVERS_AT + 4),
            (UBIK_SIZE + SERVERS_AT + 8, 1, "share the address 0.0.0.1", UBIK_SIZE + SERVERS_AT + 8),
            (UBIK_SIZE + SERVERS_AT, 77, "no server points", ENTRIES_AT + RECORD_SIZE),
            (UBIK_SIZE + SERVERS_AT + 8, 0, "server 2, which is not there", None),
            (entry[1] + 12, 8, "does not list", entry[1]),
            (entry[1] + 12, 0x1000, "in use", None),
            (entry[0] + 12, 1, "free entry", None),
            (entry[0] + 44, 0, "0 bytes|chain|name", None),
            (entry[0] + 44, 0x2F2F2F2F, "no volume's name", entry[0] + 44),
            (name_head, 0, "not on the chain of its name", entry[0]),
            (id_head, 0, "not on the chain of its read-write id 10", entry[0]),
            (ro_head, 0, "not on the chain of its read-only id 11", entry[0]),
            (name_head, at + 4, "where no entry begins", name_head),
            (name_head, 0xFFFFFFFF, "where no entry begins", name_head),
            (wrong_head, at, "second time|not on", None),
            (entry[0] + 40, at, "second time", entry[0] + 40),
            (entry[0] + 28, at, "second time", entry[0] + 28),
            (entry[0], 30, "wrong chain|two entries", None),
            (UBIK_SIZE + 8, 0, "not on the chain of free entries", None),
            (UBIK_SIZE + 8, at, "which is in use", UBIK_SIZE + 8),
            (entry[1] + 28, entry[4] - UBIK_SIZE, "leads back", entry[1] + 28),
        ):
            data = bytearray(whole)
            struct.pack_into(">I", data, offset, word)
            with self.subTest(reason=reason):
                self.refused(path, bytes(data), reason, where)

    async def test_same_id_twice(self) -> None:
        """Two entries with one id, both on its chain."""
        path, whole = await self.file()
        data = bytearray(whole)
        first, other = (ENTRIES_AT + BLOCK_SIZE + ENTRY.size * number for number in (0, 2))
        struct.pack_into(">I", data, UBIK_SIZE + IDS_AT + 4 * id_hash(30), 0)
        struct.pack_into(">I", data, other, 10)
        struct.pack_into(">I", data, first + 28, other - UBIK_SIZE)
        self.refused(path, bytes(data), "two entries have the read-write id 10", other)

    async def test_unfinished_transaction(self) -> None:
        """With a transaction in ubik's log the file may be half written; an empty log is no matter."""
        directory = Path(self.mktemp())
        directory.mkdir()
        _, whole = await self.file()
        log = directory / "vldb.DBSYS1"
        log.write_bytes(bytes(64))
        (directory / "vldb.DB0").write_bytes(whole)
        StoredVldb(str(directory / "vldb.DB0")).close()
        log.write_bytes(bytes(68))
        self.refused(str(directory / "vldb.DB0"), whole, "start and stop the stock vlserver")

    async def test_truncated(self) -> None:
        """Cut off anywhere it is refused."""
        path, whole = await self.file()
        random_ = random.Random(budget("vlserver.legacy.truncated", full=1000).seed)
        lengths = [0, 1, 63, 64, 65, len(whole) - 1, ENTRIES_AT - 1, ENTRIES_AT, *random_.sample(range(len(whole)), 20)]
        for length in lengths:
            with self.subTest(length=length):
                self.refused(path, whole[:length], ".")

    async def test_flipped(self) -> None:
        """With any byte another it is refused or read: nothing else comes of it, and what is read can be written."""
        path, whole = await self.file()
        allowance = budget("vlserver.legacy.flipped", full=20_000, least=600)
        random_ = random.Random(allowance.seed)
        places = [*range(64 + 40 + 20), *range(ENTRIES_AT, ENTRIES_AT + 400), *range(len(whole) - 6 * 148, len(whole))]
        refusals = 0
        for _ in range(allowance.count):
            data = bytearray(whole)
            for _ in range(random_.choice((1, 1, 3))):
                data[random_.choice(places)] = random_.randrange(256)
            Path(path).write_bytes(data)
            try:
                store = await imported(path)
            except DamagedFile:
                refusals += 1
                continue
            try:
                await exported(store, self.mktemp())
            except StoreError as problem:
                self.assertIn("no stock vlserver", str(problem))
        self.assertGreater(refusals, allowance.count // 10)
