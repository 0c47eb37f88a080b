"""Partition objects behind the old entry forms: moved in one row, seen where they are, found by (server, number)."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from afs.rpc.vl import VLLIST_SERVER, VLSF_ROVOL, VLSF_RWVOL, VldbListByAttributes
from tests.vlserver.support import VldbTest, entry, ip
from vlserver.interfaces import ITransaction
from vlserver.schema import Author, Definition, Partition, Site

BY = Author("test", "test")


class PlacesTest(VldbTest):
    """Volumes vol0 .. vol9 on partition 0 of server 1; server 2 has partition 5."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(10):
            self.now(self.admin.CreateEntryN(entry(b"vol%d" % number, (1 + number, 0, 0))))
        self.now(self.admin.CreateEntryN(entry(b"other", (50, 0, 0), [("10.0.0.2", 5, VLSF_RWVOL)])))

    async def put(self, partition: Partition) -> None:
        """Write one partition object."""
        await self.vldb.store.write(lambda t: t.put_partition(partition), BY)

    async def partition_of(self, name: bytes) -> UUID:
        """The partition object of a volume's only site."""
        volume = await self.vldb.store.read(lambda t: t.volume_named(name))
        assert volume is not None
        (site,) = volume.sites
        return site.partition

    async def site(self, name: bytes = b"vol3") -> tuple[int, int, int]:
        """Where the first site of a volume is seen, and how many sites there are."""
        found = await self.anyone.GetEntryByNameN(name)
        return found.serverNumber[0], found.serverPartition[0], found.nServers

    async def test_one_row(self) -> None:
        """A partition with ten volumes moves by changing its own row; all of them are seen there at once."""
        before = self.vldb.store.revision
        await self.put(Partition(await self.partition_of(b"vol0"), 7, 1, 1, epoch=1))
        self.assertEqual(self.vldb.store.revision, before + 1)
        for number in range(10):
            self.assertEqual(await self.site(b"vol%d" % number), (ip("10.0.0.2"), 7, 1))
        wanted = VldbListByAttributes(Mask=VLLIST_SERVER, server=ip("10.0.0.2"))
        count, _, _ = await self.anyone.ListAttributesN2(wanted, b"", 0)
        self.assertEqual(count, 11)
        (change,) = await self.vldb.store.read(lambda t: t.changes(before, 9))
        self.assertEqual([row.kind for row in change.rows], ["partition"])

    async def test_without_owner(self) -> None:
        """Entries of a partition that nobody has mounted go on naming its last server."""
        await self.put(Partition(await self.partition_of(b"vol0"), 0, None, 0))
        self.assertEqual(await self.site(), (ip("10.0.0.1"), 0, 1))
        wanted = VldbListByAttributes(Mask=VLLIST_SERVER, server=ip("10.0.0.1"))
        count, _ = await self.anyone.ListAttributesN(wanted)
        self.assertEqual(count, 10)

    async def test_read_modify_write(self) -> None:
        """An entry read in the old form and written back stays on its partition object, moved or without owner."""
        uuid = await self.partition_of(b"vol3")
        there = Partition(uuid, 7, 1, 1, implicit=True)
        for moved in (there, replace(there, owner=None, last_owner=0, number=0)):
            await self.put(moved)
            found = await self.anyone.GetEntryByNameN(b"vol3")
            await self.admin.ReplaceEntryN(4, 0, replace(found, flags=found.flags | 0x40), 0)
            self.assertEqual(await self.partition_of(b"vol3"), uuid)

    async def test_resolution(self) -> None:
        """(server, number) means what is mounted there, else what was last there, else what may be mounted there."""
        mounted, was, may = (UUID(int=number) for number in (1, 2, 3))

        def furnish(transaction: ITransaction) -> None:
            transaction.put_partition(Partition(mounted, 9, 0, 0))
            transaction.put_partition(Partition(was, 9, None, 0))
            transaction.put_partition(Partition(UUID(int=4), 8, None, 0))
            transaction.put_partition(Partition(may, 6, 1, 1))
            transaction.put_definition(Definition(may, 0, 10, "/vicepk"))

        await self.vldb.store.write(furnish, BY)
        for number, expected in ((9, mounted), (8, UUID(int=4)), (10, may)):
            sites = [("10.0.0.1", number, VLSF_RWVOL)]
            await self.admin.CreateEntryN(entry(b"new%d" % number, (90 + number, 0, 0), sites))
            self.assertEqual(await self.partition_of(b"new%d" % number), expected)
        self.assertEqual(await self.site(b"new10"), (ip("10.0.0.2"), 6, 1))

    async def test_two_seen_as_one(self) -> None:
        """Two partition objects seen at one place, with the same flags, are one site of the old forms."""
        twin = UUID(int=7)

        def work(transaction: ITransaction) -> None:
            transaction.put_partition(Partition(twin, 0, None, 0))
            volume = transaction.volume_named(b"vol3")
            assert volume is not None
            sites = (*volume.sites, Site(twin, VLSF_RWVOL), Site(twin, VLSF_ROVOL))
            transaction.put_volume(replace(volume, sites=sites))

        await self.vldb.store.write(work, BY)
        found = await self.anyone.GetEntryByNameN(b"vol3")
        self.assertEqual((found.nServers, found.serverFlags[:2]), (2, (VLSF_RWVOL, VLSF_ROVOL)))

    async def test_same_site_twice(self) -> None:
        """A site that a client wrote twice is there twice, as on a stock server."""
        sites = [("10.0.0.1", 0, VLSF_ROVOL)] * 2
        await self.admin.CreateEntryN(entry(b"twice", (99, 0, 0), sites))
        self.assertEqual((await self.anyone.GetEntryByNameN(b"twice")).nServers, 2)
