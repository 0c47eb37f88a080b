"""Partitions that come and go: mounted, unmounted, defined and removed over the wire, between two servers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from afs.client import store_status
from afs.rpc.partitions import PSTATE, PartitionRequest, VLPartitions
from afs.rpc.volpartitions import (
    VOPS,
    VPART,
    VSTEP,
    AFSVolPartitions,
    VolOperation,
    VolPartition,
    VolPartitionOrder,
)
from afs.types import AFSFid
from fileserver.partitions.label import Label
from fileserver.partitions.tenure import Claim
from rx.errors import Abort
from tests.support.cell import Cell, start_cell

PATIENCE = 20_000
"""Milliseconds an operation of these tests may take."""


PIECE = 20_000
"""Bytes, more than a packet holds: they are sent although no more come."""


class SharedCase(TestCase):
    """Two fileservers; what is on vicepa of the first the second can reach too."""

    cell: Cell

    async def setUp(self) -> None:  # type: ignore[override]
        self.cell = await start_cell(self, backend="namei-user", fileservers=2)
        self.find_shared()

    def find_shared(self) -> None:
        """The partition of the first server."""
        self.shared = self.cell.fileservers[0].partition_path.absolute()
        label = Label.read(str(self.shared))
        assert label is not None
        self.uuid = label.uuid

    def volser(self, number: int) -> AFSVolPartitions:
        """The volume server of a fileserver."""
        return self.cell.volser(number)

    @property
    def vl(self) -> VLPartitions:
        return self.cell.vl

    def order(self, **changes: object) -> VolPartitionOrder:
        """For the shared partition."""
        return VolPartitionOrder(self.uuid, PartitionRequest(uuid4()), **changes)  # type: ignore[arg-type]

    async def ended(self, number: int, operation: VolOperation) -> VolOperation:
        """The operation once it is over."""
        while operation.state == VOPS.RUNNING:
            operation = await self.volser(number).GetOperation(operation.id, operation.version, PATIENCE)
        return operation

    async def define(self, number: int, path: Path, place: int, **changes: object) -> object:
        """On a server, as its partition `place`."""
        wanted = VolPartition(path=str(path).encode(), number=place, **changes)  # type: ignore[arg-type]
        return await self.volser(number).DefinePartition(wanted, PartitionRequest(uuid4()))

    async def mount(self, number: int, **changes: object) -> VolOperation:
        return await self.ended(number, await self.volser(number).MountPartition(self.order(**changes)))

    async def unmount(self, number: int, **changes: object) -> VolOperation:
        return await self.ended(number, await self.volser(number).UnmountPartition(self.order(**changes)))

    def server_uuid(self, number: int) -> UUID:
        partitions = self.cell.fileservers[number].service.partitions
        assert partitions is not None
        return partitions.means.own

    def label(self) -> Label:
        label = Label.read(str(self.shared))
        assert label is not None
        return label


class Lifecycle(SharedCase):
    """One partition on one server."""

    async def test_seeded(self) -> None:
        """What --partition names is defined, claimed and labelled as the server's own."""
        found = await self.vl.GetPartition(self.uuid)
        own = self.server_uuid(0)
        self.assertEqual((found.owner.uuid, found.number, found.epoch), (own, 0, self.label().epoch))
        self.assertEqual((self.label().owner, found.state), (own, PSTATE.MOUNTED))
        _, _, server = await self.volser(0).PartitionCapabilities()
        self.assertEqual(server, own)

    async def test_unmount_and_mount(self) -> None:
        """Its volumes go and come back with it; in between nobody owns it, and its entries name the server still."""
        volume = await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        await self.cell.client().write_file("/file", b"content")
        done = await self.unmount(0)
        self.assertEqual((done.state, done.steps[-1].step), (VOPS.DONE, VSTEP.ENDED))
        with self.assertRaises(Abort):
            await self.cell.client().status(AFSFid(volume, 1, 1))
        self.assertEqual((self.label().owner, self.label().state), (None, "released"))
        found = await self.vl.GetPartition(self.uuid)
        self.assertEqual((found.owner.uuid.int, found.last_owner.uuid), (0, self.server_uuid(0)))
        self.assertEqual((await self.unmount(0)).state, VOPS.ALREADY)
        entry = await self.vl.GetEntryByNameU(b"root.afs")
        self.assertEqual(entry.serverNumber[0], self.server_uuid(0))
        done = await self.mount(0)
        self.assertEqual((done.state, done.text), (VOPS.DONE, b""))
        self.assertEqual((await self.mount(0)).state, VOPS.ALREADY)
        self.assertEqual(await self.cell.client().read_file("/file"), b"content")
        self.assertEqual(self.label().epoch, found.epoch + 1)

    async def test_unmounted_stays_so(self) -> None:
        """What was unmounted by command is not mounted by a restart; what was mounted is, at the same epoch."""
        epoch = self.label().epoch
        await self.cell.restart(0)
        self.assertEqual((await self.volser(0).GetPartition(self.uuid)).state, PSTATE.MOUNTED)
        self.assertEqual(self.label().epoch, epoch)
        await self.unmount(0)
        await self.cell.restart(0)
        self.assertEqual((await self.volser(0).GetPartition(self.uuid)).state, PSTATE.RELEASED)
        self.assertEqual((await self.mount(0)).state, VOPS.DONE)

    async def test_the_same_request_again(self) -> None:
        """A repeated request is the same operation."""
        order = self.order()
        first = await self.volser(0).UnmountPartition(order)
        again = await self.volser(0).UnmountPartition(order)
        self.assertEqual(first.id, again.id)
        await self.ended(0, first)
        self.assertEqual((await self.volser(0).UnmountPartition(order)).state, VOPS.DONE)
        listed = await self.volser(0).ListOperations(self.uuid)
        self.assertEqual([each.id for each in listed[:1]], [first.id])


class Stalled:
    """A Source that gives one piece and then waits."""

    def __init__(self) -> None:
        self.waiting: Deferred[None] = Deferred()
        self.more: Deferred[bytes] = Deferred()

    async def read(self, size: int) -> bytes:
        if not self.waiting.called:
            self.waiting.callback(None)
            return bytes(PIECE)
        return await self.more


class Running(SharedCase):
    """Calls that do not end."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        volume = await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        self.client = self.cell.client()
        self.fid = await self.client.create("/file")
        self.source = Stalled()
        fs = self.client.fs((str(self.cell.fileservers[0].address), self.cell.fileservers[0].port))
        self.storing = ensureDeferred(fs.StoreData(self.fid, store_status(), 0, 2 * PIECE, 2 * PIECE, self.source))
        await self.source.waiting
        registry = self.cell.fileservers[0].service.registry
        self.volume = registry.find(volume)
        while self.volume is None or not self.volume.holders:  # until the store is under way
            await deferLater(reactor, 0.01)

    async def test_a_deadline(self) -> None:
        """An unmount that would have to cut a call off fails, says so, and the partition is served as before."""
        refused = await self.unmount(0, deadline=100)
        self.assertEqual(refused.state, VOPS.FAILED)
        self.assertIn(b"in use", refused.text)
        self.assertIn(b"file", await self.cell.client().list_directory("/"))
        self.source.more.callback(bytes(PIECE))
        await self.storing
        self.assertEqual((await self.unmount(0)).state, VOPS.DONE)

    async def test_force(self) -> None:
        """With force it is cut off; what was stored until then is there afterwards."""
        done = await self.unmount(0, deadline=100, flags=1)
        self.assertEqual(done.state, VOPS.DONE)
        self.source.more.callback(bytes(PIECE))
        await self.assertFailure(self.storing, Abort)
        self.assertEqual((await self.mount(0)).state, VOPS.DONE)
        self.assertLessEqual(len(await self.cell.client().read_file("/file")), PIECE)


class BetweenServers(SharedCase):
    """One partition, two servers."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        state = await self.define(1, self.shared, 1)
        self.assertEqual(getattr(state, "reason", b""), b"")

    async def test_only_one_mounts(self) -> None:
        """While one server has it another is refused, and told who has it; once it is let go, it gets it."""
        await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        await self.cell.client().write_file("/file", b"content")
        refused = await self.mount(1)
        self.assertEqual(refused.state, VOPS.FAILED)
        self.assertIn(str(self.server_uuid(0)).encode(), refused.text)
        await self.unmount(0)
        taken = await self.mount(1)
        self.assertEqual((taken.state, taken.text), (VOPS.DONE, b""))
        entry = await self.vl.GetEntryByNameU(b"root.afs")
        self.assertEqual((entry.serverNumber[0], entry.serverPartition[0]), (self.server_uuid(1), 1))
        found = await self.vl.GetPartition(self.uuid)
        self.assertEqual((found.owner.uuid, found.epoch), (self.server_uuid(1), self.label().epoch))
        self.assertEqual(await self.cell.client().read_file("/file"), b"content")

    async def test_force(self) -> None:
        """Taken by force, a living owner is asked on the storage, lets go, and does not take it back when restarted."""
        taken = await self.mount(1, flags=1)
        self.assertEqual((taken.state, taken.text), (VOPS.DONE, b""))
        self.assertEqual(self.label().owner, self.server_uuid(1))
        self.assertEqual((await self.volser(0).GetPartition(self.uuid)).state, PSTATE.RELEASED)
        await self.cell.restart(0)
        self.assertEqual((await self.volser(0).GetPartition(self.uuid)).state, PSTATE.RELEASED)
        self.assertEqual(self.label().owner, self.server_uuid(1))
        self.assertIsNone(Claim.read(str(self.shared)))

    async def test_wrong_places(self) -> None:
        """A place that is taken, another's label, no label, a strange directory: each is refused with the reason."""
        other = Path(self.mktemp()).absolute()
        other.mkdir()
        for path, place, changes, reason in (
            (self.shared, 0, {"uuid": uuid4()}, b"not "),
            (other, 5, {}, b"no label"),
            (self.shared, 0, {}, b"is partition"),
            (Path("relative"), 5, {}, b"absolute"),
            (other / "missing", 5, {"flags": VPART.CREATE}, b"not a directory"),
            (self.shared, 1, {"backend": b"namei"}, b"namei-user partition"),
        ):
            state = await self.define(1, path, place, **changes)
            self.assertIn(reason, getattr(state, "reason", b""))
        (other / "precious").write_text("data")
        state = await self.define(1, other, 5, flags=VPART.CREATE)
        self.assertIn(b"precious", getattr(state, "reason", b""))
        self.assertEqual([file.name for file in other.iterdir()], ["precious"])

    async def test_remove(self) -> None:
        """A definition goes, but not while the partition is mounted there; its data stay."""
        with self.assertRaises(Abort):
            await self.volser(0).RemovePartition(self.uuid, PartitionRequest(uuid4()))
        await self.volser(1).RemovePartition(self.uuid, PartitionRequest(uuid4()))
        states, _ = await self.volser(1).ListKnownPartitions(UUID(int=0), 0)
        self.assertNotIn(self.uuid, [state.partition.uuid for state in states])
        with self.assertRaises(Abort):
            await self.volser(1).MountPartition(self.order())
        await self.unmount(0)
        await self.volser(0).RemovePartition(self.uuid, PartitionRequest(uuid4()))
        self.assertEqual(self.label().uuid, self.uuid)
        with self.assertRaises(Abort):
            await self.vl.GetPartition(self.uuid)

    async def test_restored_database(self) -> None:
        """A VLDB older than the label can still give the partition away: the new epoch is above both."""
        await self.unmount(0)
        label = self.label()
        replace(label, epoch=label.epoch + 50).write(str(self.shared))
        self.assertEqual((await self.mount(1)).state, VOPS.DONE)
        self.assertEqual(self.label().epoch, label.epoch + 51)
        self.assertEqual((await self.vl.GetPartition(self.uuid)).epoch, label.epoch + 51)
