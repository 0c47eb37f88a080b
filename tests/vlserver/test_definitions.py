"""Partition objects defined, removed, reported, re-homed and listed."""

from __future__ import annotations

from uuid import UUID

from afs.errors import VLError
from afs.rpc.partitions import (
    PCAP,
    PCLAIM,
    PDEF,
    POBJ,
    POUT,
    PSITE,
    PSTATE,
    PVERDICT,
    PartitionAll,
    PartitionClaim,
    PartitionDefined,
    PartitionDefinition,
    PartitionDescription,
    PartitionNamed,
    PartitionOwned,
    PartitionPlace,
    PartitionReport,
    PartitionUnknown,
)
from afs.types import NIL_UUID
from tests.vlserver.partitions import NOBODY, A, B, C, P, PartitionTest, S, T, U, on, request, whole
from tests.vlserver.support import entry, ip, uip
from vlserver.operations import definitions
from vlserver.schema import Author

BY = Author("test", "test")


class DefineTest(PartitionTest):
    """DefinePartition and RemoveDefinition."""

    async def test_new(self) -> None:
        """A new object is nobody's and seen at its first definition; again it is there already."""
        await self.refused(VLError.VL_NOENT, self.define(P, S, 3, flags=0))
        made = await self.define(P, S, 3)
        self.assertEqual((made.result, made.object.owner, made.object.last_owner), (POUT.DONE, NOBODY, whole(S)))
        self.assertEqual((made.object.number, made.object.epoch, made.object.name), (3, 0, b"disk"))
        self.assertEqual((await self.define(P, S, 3)).result, POUT.ALREADY)
        self.assertEqual((await self.define(P, S, 3, priority=4)).result, POUT.DONE)
        await self.admin.CreateEntryN(entry(b"vol", (50, 0, 0), [("10.0.0.1", 3, 4)]))
        found = await self.anyone.GetEntryP(b"vol")
        self.assertEqual([(site.partition, site.flags) for site in found.sites], [(P, 0)])
        self.assertEqual((await self.anyone.GetEntryByNameN(b"vol")).serverNumber[0], ip("10.0.0.1"))

    async def test_numbers(self) -> None:
        """A number has one definition on a server, and what is mounted keeps its own."""
        await self.define(P, S, 3)
        taken = await self.define(A, S, 3)
        self.assertEqual((taken.result, taken.object.uuid), (POUT.NUMBER, P))
        await self.claim(P, S, 0)
        self.assertEqual((await self.define(P, S, 4)).result, POUT.MOUNTED)
        for number in (-1, 256):
            await self.refused(VLError.VL_BADPARTITION, self.define(P, S, number))
        await self.refused(VLError.VL_BADSERVER, self.define(P, UUID(int=1), 3))
        bad = PartitionDefinition(P, on(S), 3, b"/x\0y")
        await self.refused(VLError.VL_BADNAME, self.admin.DefinePartition(bad, PartitionDescription(), request()))

    async def test_removed(self) -> None:
        """Not while it is mounted there; the object goes when nothing names it any more."""
        await self.owned()
        self.assertEqual((await self.admin.RemoveDefinition(P, on(S), request())).result, POUT.MOUNTED)
        for result in (POUT.DONE, POUT.ALREADY):
            self.assertEqual((await self.admin.RemoveDefinition(P, on(T), request())).result, result)
        await self.release(P, S, 1)
        await self.admin.CreateEntryN(entry(b"vol", (50, 0, 0), [("10.0.0.1", 3, 4)]))
        self.assertEqual((await self.admin.RemoveDefinition(P, on(S), request())).result, POUT.DONE)
        self.assertEqual((await self.anyone.GetPartition(P)).last_owner, whole(S))  # the volume names it
        self.assertEqual((await self.anyone.GetEntryByNameN(b"vol")).nServers, 1)
        await self.admin.DeleteEntry(50, 0)
        await self.define(P, S, 3)
        self.assertEqual((await self.admin.RemoveDefinition(P, on(S), request())).result, POUT.DONE)
        await self.refused(VLError.VL_NOENT, self.anyone.GetPartition(P))
        self.assertEqual((await self.admin.RemoveDefinition(P, on(S), request())).result, POUT.ALREADY)

    async def test_never_mounted(self) -> None:
        """One that nobody has ever had is seen at a definition that is left."""
        await self.define(P, S, 3)
        await self.define(P, T, 4)
        await self.admin.RemoveDefinition(P, on(S), request())
        found = await self.anyone.GetPartition(P)
        self.assertEqual((found.last_owner, found.number), (whole(T), 4))


class StockTest(PartitionTest):
    """Servers that know nothing of partition objects."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(5):
            sites = [("10.0.0.1", 0, 4)]
            self.now(self.admin.CreateEntryN(entry(b"vol%d" % number, (100 + number, 0, 0), sites)))

    async def implicit(self) -> UUID:
        """The object that stands for S's partition 0."""
        (found,), _ = await self.anyone.ListPartitions(PartitionOwned(on(S)), NIL_UUID, 0)
        self.assertEqual((found.flags, found.owner, found.number), (POBJ.IMPLICIT, whole(S), 0))
        uuid: UUID = found.uuid
        return uuid

    async def test_rehomed(self) -> None:
        """The disk of a dead stock server goes to another in one row, with all its volumes."""
        uuid = await self.implicit()
        for server, number in ((S, 0), (T, 5)):
            self.assertEqual((await self.define(uuid, server, number, flags=0)).result, POUT.DONE)
        revision = self.vldb.store.revision
        wanted = PartitionClaim(uuid, on(T), request(1), 0, flags=PCLAIM.FORCE)
        won = await self.admin.ClaimPartition(wanted)
        self.assertEqual((won.result, won.object.owner, won.object.flags), (POUT.DONE, whole(T), 0))
        (change,) = await self.vldb.store.read(lambda t: t.changes(revision, 9))
        self.assertEqual(len(change.rows), 1)
        for number in range(5):
            found = await self.anyone.GetEntryByNameN(b"vol%d" % number)
            self.assertEqual((found.serverNumber[0], found.serverPartition[0]), (ip("10.0.0.2"), 5))

    async def test_without_uuid(self) -> None:
        """A definition without UUID is of what is there; a report without one learns which that is."""
        uuid = await self.implicit()
        reports = (PartitionReport(number=0), PartitionReport(number=1))
        (known, unknown), besides = await self.as_server(S).RegisterPartitions(S, reports)
        self.assertEqual((known.verdict, known.uuid, besides), (PVERDICT.IMPLICIT, uuid, ()))
        self.assertEqual((unknown.verdict, unknown.uuid), (PVERDICT.UNKNOWN, NIL_UUID))
        made = await self.define(NIL_UUID, S, 0, flags=0)
        self.assertEqual((made.result, made.object.uuid, made.object.owner), (POUT.DONE, uuid, whole(S)))
        await self.refused(VLError.VL_NOENT, self.define(NIL_UUID, S, 9, flags=0))
        other = await self.define(NIL_UUID, S, 9)
        self.assertEqual((other.result, other.object.owner), (POUT.DONE, NOBODY))

    async def test_adopted(self) -> None:
        """A disk with a label of its own takes over the volumes of the object that stood for it, if that is wished."""
        uuid = await self.implicit()
        refused = await self.define(P, S, 0)
        self.assertEqual((refused.result, refused.object.uuid), (POUT.NUMBER, uuid))
        made = await self.define(P, S, 0, flags=PDEF.NEW | PDEF.ADOPT)
        self.assertEqual((made.result, made.object.owner, made.object.number), (POUT.DONE, whole(S), 0))
        await self.refused(VLError.VL_NOENT, self.anyone.GetPartition(uuid))
        found, _ = await self.anyone.ListPartitionVolumes(P, 0, 0)
        self.assertEqual([each.name for each in found], [b"vol%d" % number for number in range(5)])

    async def test_too_many_to_adopt(self) -> None:
        """More volumes than one call may change are refused, and nothing has changed."""
        self.patch(definitions, "ADOPTED_VOLUMES", 4)
        await self.refused(VLError.VL_SIZEEXCEEDED, self.define(P, S, 0, flags=PDEF.NEW | PDEF.ADOPT))
        self.assertEqual((await self.anyone.GetEntryByNameN(b"vol3")).nServers, 1)


class RegisterTest(PartitionTest):
    """RegisterPartitions."""

    async def verdict(self, server: UUID, epoch: int, uuid: UUID = P) -> PVERDICT:
        """What a server is told of a label at that epoch."""
        report = PartitionReport(uuid, 3, epoch, PSTATE.MOUNTED, b"namei", 1000, 400)
        (found,), _ = await self.as_server(server).RegisterPartitions(server, (report,))
        return PVERDICT(found.verdict)

    async def test_verdicts(self) -> None:
        """By the label's epoch and the owner, as the table in partitions.md says."""
        self.assertEqual(await self.verdict(S, 0), PVERDICT.UNKNOWN)
        await self.owned()
        got = [await self.verdict(server, epoch) for server in (S, T) for epoch in (0, 1, 2)]
        mine = [PVERDICT.NEWER, PVERDICT.YOURS, PVERDICT.BEHIND]
        self.assertEqual(got, [*mine, PVERDICT.ANOTHERS, PVERDICT.ANOTHERS, PVERDICT.BEHIND])
        await self.release(P, S, 1)
        self.assertEqual([await self.verdict(S, 1), await self.verdict(T, 9)], [PVERDICT.NOBODYS] * 2)

    async def test_besides(self) -> None:
        """A server is told what it owns and did not report."""
        await self.owned()
        verdicts, besides = await self.as_server(S).RegisterPartitions(S, ())
        self.assertEqual((verdicts, [each.uuid for each in besides]), ((), [P]))
        report = PartitionReport(P, 3, 1)
        self.assertEqual((await self.as_server(S).RegisterPartitions(S, (report,)))[1], ())

    async def test_sizes(self) -> None:
        """What the owner says is kept, but not what says nothing new; of others nothing is."""
        await self.owned()
        await self.verdict(S, 1)
        found = await self.anyone.GetPartition(P)
        self.assertEqual((found.state, found.size, found.free, found.reported), (PSTATE.MOUNTED, 1000, 400, 1_000_000))
        revision = self.vldb.store.revision
        self.vldb.time += definitions.REPORT_SECONDS - 1
        await self.verdict(S, 1)
        await self.verdict(T, 1)
        self.assertEqual(self.vldb.store.revision, revision)
        self.vldb.time += 1
        await self.verdict(S, 1)
        self.assertEqual(self.vldb.store.revision, revision + 1)
        huge = PartitionReport(P, 3, 1, 0, b"", 1 << 63, 0)
        await self.refused(VLError.VL_BADENTRY, self.as_server(S).RegisterPartitions(S, (huge,)))

    async def test_who(self) -> None:
        """Only the server itself, and only one that has registered its addresses."""
        await self.refused(VLError.VL_PERM, self.admin.RegisterPartitions(S, ()))
        await self.refused(VLError.VL_PERM, self.as_server(T).RegisterPartitions(S, ()))
        for unknown in (NIL_UUID, UUID(int=1)):
            await self.refused(VLError.VL_BADSERVER, self.admin.RegisterPartitions(unknown, ()))


class ListTest(PartitionTest):
    """The RPCs that read."""

    async def test_capabilities(self) -> None:
        """The groups of RPCs that are served; leases mean nothing yet."""
        bits = PCAP.DEFINE | PCAP.OWN | PCAP.READ | PCAP.WATCH
        self.assertEqual(await self.anyone.PartitionCapabilities(), (1, bits))

    async def test_selected(self) -> None:
        """All, a server's own, those defined on it, or one; by UUID, page by page."""
        await self.owned(B, S, 3)
        await self.define(A, T, 9)
        await self.define(C, S, 1)
        for selector, expected in (
            (PartitionAll(), [A, B, C]),
            (PartitionOwned(on(S)), [B, C]),
            (PartitionDefined(on(T)), [A, B]),
            (PartitionNamed(C), [C]),
            (PartitionOwned(on(U)), []),
        ):
            for limit in (0, 1, 2, 9999, -1):
                found, after = [], NIL_UUID
                while True:
                    page, after = await self.anyone.ListPartitions(selector, after, limit)
                    found += [each.uuid for each in page]
                    if after == NIL_UUID:
                        break
                self.assertEqual(found, expected, (selector, limit))
        listed, place = await self.anyone.ListDefinitions(PartitionNamed(B), PartitionPlace(), 1)
        self.assertEqual([(each.server, each.number) for each in listed], [(whole(S), 3)])
        listed, place = await self.anyone.ListDefinitions(PartitionNamed(B), place, 1)
        self.assertEqual([(each.server, each.number) for each in listed], [(whole(T), 4)])
        self.assertEqual(place, PartitionPlace())
        listed, _ = await self.anyone.ListDefinitions(PartitionAll(), PartitionPlace(), 0)
        self.assertEqual([each.partition for each in listed], [A, B, B, C])

    async def test_refusals(self) -> None:
        """Selectors that mean nothing here, and what is not there."""
        later = PartitionUnknown(77, b"later")
        await self.refused(VLError.VL_BADMASK, self.anyone.ListPartitions(later, NIL_UUID, 0))
        owned = PartitionOwned(on(S))
        await self.refused(VLError.VL_BADMASK, self.anyone.ListDefinitions(owned, PartitionPlace(), 0))
        unknown = PartitionOwned(on(UUID(int=1)))
        await self.refused(VLError.VL_BADSERVER, self.anyone.ListPartitions(unknown, NIL_UUID, 0))
        await self.refused(VLError.VL_NOENT, self.anyone.ListPartitionVolumes(P, 0, 0))
        await self.refused(VLError.VL_NOENT, self.anyone.GetEntryP(b"none"))
        await self.refused(VLError.VL_BADNAME, self.anyone.GetEntryP(b"a name"))

    async def test_volumes(self) -> None:
        """Each volume of a partition once, with the flags of its site there; keys of any size are taken."""
        await self.owned()
        for number in range(5):
            sites = [("10.0.0.3", 1, 2), ("10.0.0.1", 3, 4)]
            await self.admin.CreateEntryN(entry(b"vol%d" % number, (100 + number, 0, 0), sites))
        found, after = await self.anyone.ListPartitionVolumes(P, 0, 2)
        more, end = await self.anyone.ListPartitionVolumes(P, after, 0)
        self.assertEqual([each.ids[0] for each in (*found, *more)], [100, 101, 102, 103, 104])
        self.assertEqual((end, found[0].vlsf, found[0].sites), (0, 4, 2))
        self.assertEqual(await self.anyone.ListPartitionVolumes(P, (1 << 64) - 1, 0), ((), 0))

    async def test_entry(self) -> None:
        """Every site by its partition object, by name and by id, two at one place apart."""
        await self.owned()
        await self.admin.CreateEntryN(entry(b"vol", (50, 0, 0), [("10.0.0.1", 3, 4), ("10.0.0.2", 9, 2)]))
        for name in (b"vol", b"50", b"vol.readonly"):
            found = await self.anyone.GetEntryP(name)
            self.assertEqual((found.name, found.ids), (b"vol", (50, 0, 0)))
        first, second = found.sites
        self.assertEqual((first.partition, first.server, first.number, first.epoch), (P, whole(S), 3, 1))
        self.assertEqual((first.flags, first.vlsf, second.server), (PSITE.MOUNTED, 4, whole(T)))

    async def test_server_without_uuid(self) -> None:
        """A server that never registered is named by its address."""
        await self.admin.CreateEntryN(entry(b"vol", (50, 0, 0), [("10.0.0.9", 3, 4)]))
        (site,) = (await self.anyone.GetEntryP(b"vol")).sites
        self.assertEqual((site.server.uuid, site.server.address), (NIL_UUID, uip("10.0.0.9")))
        (found,), _ = await self.anyone.ListPartitions(PartitionOwned(site.server), NIL_UUID, 0)
        self.assertEqual(found.uuid, site.partition)
