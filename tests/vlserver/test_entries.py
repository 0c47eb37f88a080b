"""Entries: found by name and id, created, replaced, updated and deleted as a stock vlserver does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from afs.errors import VLError
from afs.rpc.vl import (
    VLF_BACKEXISTS,
    VLF_ROEXISTS,
    VLF_RWEXISTS,
    VLOP_DELETE,
    VLSF_ROVOL,
    VLSF_RWVOL,
    VLUPDATE_BACKUPID,
    VLUPDATE_CLONEID,
    VLUPDATE_FLAGS,
    VLUPDATE_READONLYID,
    VLUPDATE_REPS_ADD,
    VLUPDATE_REPS_DELETE,
    VLUPDATE_REPS_MODFLAG,
    VLUPDATE_REPS_MODPART,
    VLUPDATE_REPS_MODSERV,
    VLUPDATE_REPSITES,
    VLUPDATE_RWID,
    VLUPDATE_VOLNAMEHASH,
    VLUPDATE_VOLUMENAME,
    VldbUpdateEntry,
)
from tests.vlserver.support import VldbTest, entry, ip, old_entry, padded, uip

SERVER = UUID("003f36bc-ffa7-1b02-905a-0b004d0aaa77")
SEVERAL = [(f"10.0.0.{number}", number, VLSF_ROVOL) for number in range(1, 14)]


class LookupTest(VldbTest):
    """GetEntryByName and GetEntryByID."""

    async def test_forms(self) -> None:
        """An entry reads back in the N and the old form as it was written, spares zero."""
        written = entry(cloneId=7)
        await self.admin.CreateEntryN(written)
        self.assertEqual(await self.anyone.GetEntryByNameN(b"vol"), written)
        self.assertEqual(await self.anyone.GetEntryByIDN(100, 0), written)
        expected = old_entry(cloneId=7)
        self.assertEqual(await self.anyone.GetEntryByNameO(b"vol"), expected)
        self.assertEqual(await self.anyone.GetEntryByID(101, 1), expected)

    async def test_thirteen_sites(self) -> None:
        """13 sites fit; the old form leaves out those beyond the eighth."""
        written = entry(sites=SEVERAL)
        await self.admin.CreateEntryN(written)
        self.assertEqual(await self.anyone.GetEntryByNameN(b"vol"), written)
        self.assertEqual(await self.anyone.GetEntryByNameO(b"vol"), old_entry(sites=SEVERAL[:8]))

    async def test_u_form(self) -> None:
        """A registered server is its UUID, uniquifier and VLSF_UUID; another is its address in the first word."""
        await self.admin.RegisterAddrs(SERVER, 0, [uip("10.0.0.1"), uip("10.0.0.9")])
        await self.admin.CreateEntryN(entry(sites=[("10.0.0.9", 3, VLSF_RWVOL), ("200.0.0.2", 4, VLSF_ROVOL)]))
        found = await self.anyone.GetEntryByNameU(b"vol")
        self.assertEqual(found.nServers, 2)
        self.assertEqual(found.serverNumber[:3], (SERVER, UUID(int=0xC8000002 << 96), UUID(int=0)))
        self.assertEqual(found.serverUnique[:3], (1, 0, 0))
        self.assertEqual(found.serverPartition[:3], (3, 4, 0))
        self.assertEqual(found.serverFlags[:3], (VLSF_RWVOL | 0x10, VLSF_ROVOL, 0))
        self.assertEqual((found.name, found.volumeId, found.flags), (b"vol", (100, 101, 102), VLF_RWEXISTS))

    async def test_first_address(self) -> None:
        """The N form names a registered server by its first address, whichever it was named by."""
        await self.admin.RegisterAddrs(SERVER, 0, [uip("10.0.0.1"), uip("200.0.0.9")])
        await self.admin.CreateEntryN(entry(sites=[("200.0.0.9", 3, VLSF_RWVOL)]))
        found = await self.anyone.GetEntryByNameN(b"vol")
        self.assertEqual(found.serverNumber[0], ip("10.0.0.1"))

    async def test_names(self) -> None:
        """A clone's suffix is left off once, digits are an id, and what is no name is VL_BADNAME."""
        await self.admin.CreateEntryN(entry(b"vol"))
        await self.admin.CreateEntryN(entry(b"a.backup.x", (200, 0, 0)))
        for name in (b"vol", b"vol.backup", b"vol.readonly", b"100", b"101", b"102", b"%d" % ((1 << 32) + 101)):
            self.assertEqual((await self.anyone.GetEntryByNameN(name)).name, b"vol")
        self.assertEqual((await self.anyone.GetEntryByNameN(b"a.backup.x.backup")).name, b"a.backup.x")
        for name in (b"vol.readonly.backup", b".backup", b".readonly", b"Vol", b"103", b"", b"9" * 64, b"vo"):
            await self.refused(VLError.VL_NOENT, self.anyone.GetEntryByNameU(name))
        for name in (b"a/b", b"a b", b"x" * 65, b"a\0", b"\xe4"):
            await self.refused(VLError.VL_BADNAME, self.anyone.GetEntryByNameU(name))

    async def test_id_types(self) -> None:
        """An id is looked for in the type asked for; -1 is every type, read-write first; others are no types."""
        await self.admin.CreateEntryN(entry(b"one", (10, 11, 12)))
        await self.admin.CreateEntryN(entry(b"two", (20, 21, 0)))
        await self.admin.ReplaceEntryN(20, 0, entry(b"two", (20, 10, 0)), 0)
        for volid, kind, name in (
            (10, 0, b"one"),
            (10, 1, b"two"),
            (10, -1, b"one"),
            (12, 2, b"one"),
            (12, -1, b"one"),
        ):
            self.assertEqual((await self.anyone.GetEntryByIDN(volid, kind)).name, name)
        for volid, kind in ((11, 0), (12, 1), (0, -1), (0, 1), (0, 2), (5, -1)):
            await self.refused(VLError.VL_NOENT, self.anyone.GetEntryByID(volid, kind))
        for kind in (3, -2, 1 << 30):
            await self.refused(VLError.VL_BADVOLTYPE, self.anyone.GetEntryByIDN(10, kind))

    async def test_deleted(self) -> None:
        """An entry flagged deleted is VL_ENTDELETED until it is replaced."""
        await self.admin.CreateEntryN(entry(flags=2))
        await self.refused(VLError.VL_ENTDELETED, self.anyone.GetEntryByNameU(b"vol"))
        await self.refused(VLError.VL_ENTDELETED, self.anyone.GetEntryByIDN(100, -1))
        await self.refused(VLError.VL_ENTDELETED, self.admin.DeleteEntry(100, -1))
        await self.refused(VLError.VL_ENTDELETED, self.admin.SetLock(100, -1, VLOP_DELETE))
        await self.admin.ReplaceEntryN(100, -1, entry(), 0)
        await self.anyone.GetEntryByNameU(b"vol")

    async def test_replies_follow_writes(self) -> None:
        """A kept reply never outlives what it says: each kind of write shows in the next lookup of every form."""
        writes: list[Any] = [
            lambda: self.admin.CreateEntryN(entry()),
            lambda: self.admin.RegisterAddrs(SERVER, 0, [uip("10.0.0.1")]),
            lambda: self.admin.RegisterAddrs(SERVER, 0, [uip("10.0.0.2"), uip("10.0.0.1")]),
            lambda: self.admin.SetLock(100, 0, VLOP_DELETE),
            lambda: self.admin.ReplaceEntryN(100, 0, entry(sites=SEVERAL), 7),
            lambda: self.admin.UpdateEntry(100, 0, VldbUpdateEntry(Mask=VLUPDATE_CLONEID, cloneId=5), 0),
            lambda: self.admin.DeleteEntry(100, 0),
        ]
        seen = []
        for write in writes:
            await write()
            replies = []
            for _ in range(2):
                for lookup in (self.anyone.GetEntryByNameU, self.anyone.GetEntryByNameN, self.anyone.GetEntryByNameO):
                    try:
                        replies.append(str(await lookup(b"vol")))
                    except Exception as refusal:  # noqa: BLE001  the refusal is the reply that is compared
                        replies.append(str(refusal))
            self.assertEqual(replies[:3], replies[3:])
            seen.append(replies[0])
        self.assertEqual(len(set(seen)), len(writes))

    async def test_replies_are_kept(self) -> None:
        """A second lookup at the same revision does not read the database."""
        await self.admin.CreateEntryN(entry())
        first = await self.anyone.GetEntryByNameU(b"vol")
        reads: list[object] = []
        self.patch(self.vldb.store, "read", reads.append)
        self.assertEqual(await self.anyone.GetEntryByNameU(b"vol"), first)
        self.assertEqual(reads, [])


class CreateTest(VldbTest):
    """CreateEntry(N)."""

    async def test_collisions(self) -> None:
        """An id used for any type, or a name with or without suffix, cannot be used again."""
        await self.admin.CreateEntryN(entry(b"vol", (100, 101, 102)))
        for ids in ((100, 0, 0), (101, 0, 0), (102, 0, 0), (1, 100, 0), (1, 0, 101)):
            await self.refused(VLError.VL_IDEXIST, self.admin.CreateEntryN(entry(b"new", ids)))
            await self.refused(VLError.VL_IDEXIST, self.admin.CreateEntry(old_entry(b"new", ids)))
        for name in (b"vol", b"vol.backup", b"vol.readonly"):
            await self.refused(VLError.VL_NAMEEXIST, self.admin.CreateEntryN(entry(name, (1, 0, 0))))
            await self.refused(VLError.VL_NAMEEXIST, self.admin.CreateEntry(old_entry(name, (1, 0, 0))))

    async def test_no_clones(self) -> None:
        """Ids of zero are no ids: any number of entries can lack clones, but only one a read-write id."""
        for number in range(1, 4):
            await self.admin.CreateEntryN(entry(b"v%d" % number, (number, 0, 0)))
        await self.admin.CreateEntryN(entry(b"zero", (0, 8, 0)))
        await self.refused(VLError.VL_IDALREADYHASHED, self.admin.CreateEntryN(entry(b"zero2", (0, 9, 0))))

    async def test_bad_fields(self) -> None:
        """Names, counts, partitions, flags and servers out of range are refused, each with its code."""
        for name in (b"a/b", b"x" * 65, b"a\xff", b"a b"):
            await self.refused(VLError.VL_BADNAME, self.admin.CreateEntryN(entry(name)))
        await self.admin.CreateEntryN(entry(b"x" * 64, (1, 0, 0)))
        for count in (0, -1, 14, 1 << 30):
            await self.refused(VLError.VL_BADSERVER, self.admin.CreateEntryN(replace(entry(), nServers=count)))
        for count in (0, -1, 9):
            await self.refused(VLError.VL_BADSERVER, self.admin.CreateEntry(replace(old_entry(), nServers=count)))
        for number in (-1, 256, -(1 << 31)):
            sites = [("10.0.0.1", number, VLSF_RWVOL)]
            await self.refused(VLError.VL_BADPARTITION, self.admin.CreateEntryN(entry(sites=sites)))
        for flags in (-1, 0x81, 0x7FFFFFFF):
            sites = [("10.0.0.1", 0, flags)]
            await self.refused(VLError.VL_BADSERVERFLAG, self.admin.CreateEntryN(entry(sites=sites)))
        for address in ("0.0.0.0", "255.0.0.1", "255.255.255.255"):
            sites = [(address, 0, VLSF_RWVOL)]
            await self.refused(VLError.VL_BADSERVER, self.admin.CreateEntryN(entry(sites=sites)))
        for word in (1, 8):
            await self.refused(VLError.VL_BADENTRY, self.admin.CreateEntryN(entry(flags=word)))
        extreme = entry(b"limits", (0xFFFFFFFF, 0xFFFFFFFE, 1 << 31), [("1.2.3.4", 255, 0x80)], flags=-3, cloneId=7)
        await self.admin.CreateEntryN(extreme)
        self.assertEqual(await self.anyone.GetEntryByIDN(0xFFFFFFFF, 0), extreme)

    async def test_servers_are_added(self) -> None:
        """A server nobody knows gets a slot and a partition object; when all slots are taken, VL_BADSERVER."""
        for block in range(20):
            sites = [(f"10.1.{block}.{number}", 0, VLSF_ROVOL) for number in range(13)]
            if block == 19:
                sites = sites[:8]
            await self.admin.CreateEntryN(entry(b"v%d" % block, (1 + block, 0, 0), sites))
        _, count, words = await self.anyone.GetAddrs(0, 0)
        self.assertEqual((count, words[0], words[-1]), (255, uip("10.1.0.0"), uip("10.1.19.7")))
        await self.refused(VLError.VL_BADSERVER, self.admin.CreateEntryN(entry(b"more", (99, 0, 0))))
        partitions = await self.vldb.store.read(lambda t: t.partitions())
        self.assertEqual(len(partitions), 255)
        self.assertTrue(all(partition.implicit for partition in partitions))

    async def test_one_object_a_place(self) -> None:
        """Entries on one server and number share one partition object, also by another of the server's addresses."""
        await self.admin.RegisterAddrs(SERVER, 0, [uip("10.0.0.1"), uip("10.0.0.2")])
        await self.admin.CreateEntryN(entry(b"a", (1, 0, 0), [("10.0.0.1", 5, 4), ("10.0.0.2", 5, 2)]))
        await self.admin.CreateEntry(old_entry(b"b", (2, 0, 0), [("10.0.0.2", 5, 4), ("10.0.0.2", 6, 2)]))
        partitions = await self.vldb.store.read(lambda t: t.partitions())
        self.assertEqual(sorted((each.owner, each.number) for each in partitions), [(0, 5), (0, 6)])


class ReplaceTest(VldbTest):
    """ReplaceEntry(N), DeleteEntry and GetNewVolumeId."""

    async def test_replaced(self) -> None:
        """Name, clone ids, sites and flags change; the old ones find nothing."""
        await self.admin.CreateEntryN(entry())
        changed = entry(b"new", (100, 201, 0), [("10.0.0.2", 3, VLSF_ROVOL)], VLF_ROEXISTS, cloneId=9)
        await self.admin.ReplaceEntryN(101, -1, changed, 0)
        self.assertEqual(await self.anyone.GetEntryByNameN(b"new"), changed)
        self.assertEqual(await self.anyone.GetEntryByIDN(201, 1), changed)
        await self.refused(VLError.VL_NOENT, self.anyone.GetEntryByNameN(b"vol"))
        await self.refused(VLError.VL_NOENT, self.anyone.GetEntryByIDN(101, -1))
        await self.refused(VLError.VL_NOENT, self.anyone.GetEntryByIDN(102, -1))

    async def test_checks(self) -> None:
        """The read-write id stays; types, release types and fields are checked; a missing entry is VL_NOENT."""
        await self.admin.CreateEntryN(entry())
        for replaced, make in ((self.admin.ReplaceEntryN, entry), (self.admin.ReplaceEntry, old_entry)):
            good: Any = make()
            await self.refused(VLError.VL_BADENTRY, replaced(100, 0, make(ids=(99, 0, 0)), 0))
            await self.refused(VLError.VL_NOENT, replaced(99, 0, good, 0))
            await self.refused(VLError.VL_BADVOLTYPE, replaced(100, 3, good, 0))
            for release_type in (8, 0x10, -8):
                await self.refused(VLError.VL_BADRELLOCKTYPE, replaced(100, 0, good, release_type))
            await self.refused(VLError.VL_BADNAME, replaced(100, 0, make(b"a/b"), 0))
            await self.refused(VLError.VL_BADSERVER, replaced(100, 0, make(sites=[]), 0))

    async def test_collisions(self) -> None:
        """The old form refuses ids and names of others; the N form only an id that another has in the same type."""
        await self.admin.CreateEntryN(entry(b"one", (10, 11, 12)))
        await self.admin.CreateEntryN(entry(b"two", (20, 21, 22)))
        for ids in ((20, 11, 22), (20, 21, 12)):
            await self.refused(VLError.VL_IDALREADYHASHED, self.admin.ReplaceEntryN(20, 0, entry(b"two", ids), 0))
            await self.refused(VLError.VL_IDEXIST, self.admin.ReplaceEntry(20, 0, old_entry(b"two", ids), 0))
        await self.refused(VLError.VL_IDEXIST, self.admin.ReplaceEntry(20, 0, old_entry(b"two", (20, 10, 22)), 0))
        await self.refused(VLError.VL_NAMEEXIST, self.admin.ReplaceEntry(20, 0, old_entry(b"one", (20, 21, 22)), 0))
        await self.admin.ReplaceEntryN(20, 0, entry(b"two", (20, 10, 22)), 0)
        await self.admin.ReplaceEntryN(20, 0, entry(b"one", (20, 10, 22)), 0)
        self.assertEqual((await self.anyone.GetEntryByNameN(b"one")).volumeId, (20, 10, 22))
        await self.admin.DeleteEntry(20, 0)
        self.assertEqual((await self.anyone.GetEntryByNameN(b"one")).volumeId, (10, 11, 12))

    async def test_ids_can_be_swapped(self) -> None:
        """An entry may give up an id and take it again, or keep all."""
        await self.admin.CreateEntryN(entry(ids=(10, 11, 12)))
        for ids in ((10, 12, 11), (10, 0, 0), (10, 11, 12), (10, 11, 12)):
            await self.admin.ReplaceEntryN(10, 0, entry(ids=ids), 0)
            self.assertEqual((await self.anyone.GetEntryByNameN(b"vol")).volumeId, ids)

    async def test_deleted(self) -> None:
        """A deleted entry is gone by all its names, and they can be used again."""
        await self.admin.CreateEntryN(entry())
        await self.refused(VLError.VL_BADVOLTYPE, self.admin.DeleteEntry(100, 5))
        await self.refused(VLError.VL_NOENT, self.admin.DeleteEntry(100, 1))
        await self.admin.DeleteEntry(102, -1)
        await self.refused(VLError.VL_NOENT, self.anyone.GetEntryByNameN(b"vol"))
        await self.refused(VLError.VL_NOENT, self.admin.DeleteEntry(100, 0))
        await self.admin.CreateEntryN(entry())

    async def test_new_ids(self) -> None:
        """Ids are given once, in runs without one in use; absurd runs are refused."""
        self.assertEqual(await self.admin.GetNewVolumeId(1), 0x20000000)
        self.assertEqual(await self.admin.GetNewVolumeId(3), 0x20000001)
        await self.admin.CreateEntryN(entry(ids=(0x20000006, 0x20000004, 0)))
        self.assertEqual(await self.admin.GetNewVolumeId(0), 0x20000004)
        self.assertEqual(await self.admin.GetNewVolumeId(1), 0x20000005)
        self.assertEqual(await self.admin.GetNewVolumeId(2), 0x20000007)
        await self.refused(VLError.VL_BADVOLIDBUMP, self.admin.GetNewVolumeId(0x80000000))
        self.assertEqual(await self.admin.GetNewVolumeId(0x7FFFFFFF), 0x20000009)
        await self.refused(VLError.VL_BADVOLIDBUMP, self.admin.GetNewVolumeId(0x7FFFFFFF))
        self.assertEqual(await self.admin.GetNewVolumeId(1), 0xA0000008)


class UpdateTest(VldbTest):
    """UpdateEntry and UpdateEntryByName."""

    async def updated(self, mask: int, release_type: int = 0, **fields: Any) -> Any:
        """The entry after an update by name."""
        await self.admin.UpdateEntryByName(b"vol", VldbUpdateEntry(Mask=mask, **fields), release_type)
        return await self.anyone.GetEntryByIDN(300, 0)

    async def sites(
        self, mask: int, target: tuple[str, int], new: tuple[str, int] = ("0.0.0.0", 0), flags: int = 0
    ) -> Any:
        """The entry after one change of a site."""
        return await self.updated(
            VLUPDATE_REPSITES,
            nModifiedRepsites=1,
            RepsitesMask=padded([mask], 8),
            RepsitesTargetServer=padded([ip(target[0])], 8),
            RepsitesTargetPart=padded([target[1]], 8),
            RepsitesNewServer=padded([ip(new[0])], 8),
            RepsitesNewPart=padded([new[1]], 8),
            RepsitesNewFlags=padded([flags], 8),
        )

    async def test_fields(self) -> None:
        """Each mask bit changes its field alone."""
        await self.admin.CreateEntryN(entry(ids=(300, 301, 302)))
        self.assertEqual((await self.updated(VLUPDATE_FLAGS, flags=VLF_BACKEXISTS)).flags, VLF_BACKEXISTS)
        self.assertEqual((await self.updated(VLUPDATE_CLONEID, cloneId=4, flags=1)).cloneId, 4)
        self.assertEqual((await self.updated(VLUPDATE_READONLYID, ReadOnlyId=401)).volumeId, (300, 401, 302))
        self.assertEqual((await self.updated(VLUPDATE_BACKUPID, BackupId=402)).volumeId, (300, 401, 402))
        changed = VldbUpdateEntry(Mask=VLUPDATE_RWID | VLUPDATE_VOLNAMEHASH, spares3=-2)
        await self.admin.UpdateEntry(401, 1, changed, 0)
        self.assertEqual((await self.anyone.GetEntryByNameN(b"vol")).volumeId, (0xFFFFFFFE, 401, 402))
        await self.admin.UpdateEntry(401, 1, VldbUpdateEntry(Mask=VLUPDATE_VOLUMENAME, name=b"new"), 0)
        self.assertEqual((await self.anyone.GetEntryByNameN(b"new")).flags, VLF_BACKEXISTS)

    async def test_checks(self) -> None:
        """Ids and names in use, even its own, bad names, types and missing entries are refused."""
        await self.admin.CreateEntryN(entry(ids=(300, 301, 302)))
        update = self.admin.UpdateEntry
        for change in (
            VldbUpdateEntry(Mask=VLUPDATE_READONLYID, ReadOnlyId=301),
            VldbUpdateEntry(Mask=VLUPDATE_BACKUPID, BackupId=300),
            VldbUpdateEntry(Mask=VLUPDATE_RWID, spares3=302),
        ):
            await self.refused(VLError.VL_IDEXIST, update(300, 0, change, 0))
        rename = VldbUpdateEntry(Mask=VLUPDATE_VOLUMENAME, name=b"vol")
        await self.refused(VLError.VL_NAMEEXIST, update(300, 0, rename, 0))
        await self.refused(VLError.VL_BADNAME, update(300, 0, replace(rename, name=b"a/b"), 0))
        await self.refused(VLError.VL_NOENT, update(301, 0, rename, 0))
        await self.refused(VLError.VL_BADVOLTYPE, update(300, 7, rename, 0))
        await self.refused(VLError.VL_BADRELLOCKTYPE, update(300, 0, rename, 8))
        await self.refused(VLError.VL_NOENT, self.admin.UpdateEntryByName(b"none", rename, 0))
        await self.refused(VLError.VL_BADRELLOCKTYPE, self.admin.UpdateEntryByName(b"vol", rename, 8))

    async def test_sites(self) -> None:
        """Sites are added, altered and deleted by server and partition."""
        await self.admin.CreateEntryN(entry(ids=(300, 0, 0)))
        first = ("10.0.0.1", 0)

        def of(found: Any) -> list[tuple[int, int, int]]:
            return list(zip(found.serverNumber, found.serverPartition, found.serverFlags, strict=True))[
                : found.nServers
            ]

        found = await self.sites(VLUPDATE_REPS_ADD, first, ("10.0.0.2", 3), VLSF_ROVOL)
        self.assertEqual(of(found), [(ip("10.0.0.1"), 0, VLSF_RWVOL), (ip("10.0.0.2"), 3, VLSF_ROVOL)])
        found = await self.sites(VLUPDATE_REPS_MODSERV, first, ("10.0.0.3", 9))
        self.assertEqual(of(found)[0], (ip("10.0.0.3"), 0, VLSF_RWVOL))
        found = await self.sites(VLUPDATE_REPS_MODPART, ("10.0.0.3", 0), ("10.0.0.9", 7))
        self.assertEqual(of(found)[0], (ip("10.0.0.3"), 7, VLSF_RWVOL))
        found = await self.sites(VLUPDATE_REPS_MODFLAG, ("10.0.0.3", 7), flags=1)
        self.assertEqual(of(found)[0], (ip("10.0.0.3"), 7, 1))
        found = await self.sites(VLUPDATE_REPS_DELETE, ("10.0.0.3", 7))
        self.assertEqual(of(found), [(ip("10.0.0.2"), 3, VLSF_ROVOL)])

    async def test_site_checks(self) -> None:
        """Sites that are not there, are there twice, or are out of range are refused."""
        await self.admin.CreateEntryN(entry(ids=(300, 0, 0), sites=SEVERAL[:8]))
        there, nowhere = ("10.0.0.1", 1), ("10.0.0.1", 2)
        for mask in (VLUPDATE_REPS_DELETE, VLUPDATE_REPS_MODSERV, VLUPDATE_REPS_MODPART, VLUPDATE_REPS_MODFLAG):
            await self.refused(VLError.VL_NOREPSERVER, self.sites(mask, nowhere, ("10.0.0.2", 0)))
        await self.refused(VLError.VL_DUPREPSERVER, self.sites(VLUPDATE_REPS_ADD, there, there))
        await self.refused(VLError.VL_REPSFULL, self.sites(VLUPDATE_REPS_ADD, there, nowhere))
        await self.refused(VLError.VL_BADPARTITION, self.sites(VLUPDATE_REPS_ADD, there, ("10.0.0.1", 256)))
        await self.refused(VLError.VL_BADPARTITION, self.sites(VLUPDATE_REPS_DELETE, ("10.0.0.1", -1)))
        await self.refused(VLError.VL_BADSERVERFLAG, self.sites(VLUPDATE_REPS_MODFLAG, there, flags=0x81))
        for count in (0, 9, -1):
            change = VldbUpdateEntry(Mask=VLUPDATE_REPSITES, nModifiedRepsites=count)
            await self.refused(VLError.VL_BADSERVER, self.admin.UpdateEntry(300, 0, change, 0))
