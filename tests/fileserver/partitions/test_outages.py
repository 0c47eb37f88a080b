"""Unmounting and handing over while somebody is silent: clients, the vlserver; and a VLDB that names another server."""

from __future__ import annotations

import socket
from uuid import uuid4

import fileserver.service
from afs.rpc.partitions import (
    PCLAIM,
    POUT,
    PSTATE,
    PVERDICT,
    PartitionClaim,
    PartitionObject,
    PartitionRequest,
    PartitionServer,
    PartitionVerdict,
)
from afs.rpc.volpartitions import VCOUNT, VOPS, VSTEP, VolOperation
from afs.types import AFSFid
from fileserver.channel import Address
from fileserver.partitions.journal import read_journal
from fileserver.partitions.label import LabelState
from fileserver.partitions.tell import TELL_SECONDS
from rx.timers import LEAST_DEAD_SECONDS
from tests.fileserver.partitions.test_keeper import SharedCase
from tests.fileserver.partitions.test_move import MoveCase
from tests.support.cell import start_cell

VLSERVER_SECONDS = 1.0
"""For which these tests wait for a vlserver that is not there."""


class Clients(MoveCase):
    """Clients that do not answer."""

    async def silence(self) -> Address:
        """A client that has a promise, and answers nothing any more. Its place is taken, so that nothing tells the
        server that nobody is there.
        """
        client = self.cell.client()
        await client.status("/file")
        address = client.address
        await client.stop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.bind(address)
        return address

    def between(self, operation: VolOperation, first: VSTEP, second: VSTEP) -> float:
        """Seconds from one step to another."""
        at = {VSTEP(each.step): each.at for each in operation.steps}
        return (at[second] - at[first]) / 1000

    def counted(self, operation: VolOperation) -> dict[int, int]:
        return {count.kind: count.value for count in operation.counts}

    async def test_unmount(self) -> None:
        """Clients that do not answer hold an unmount up for TELL_SECONDS, however many; who answers has heard, who did
        not is in the journal, and so told by the next owner.
        """
        gone = [await self.silence() for _ in range(8)]
        told = self.client.breaks.expect(AFSFid(self.volume, 1, 1))
        await self.client.status("/file")
        done = await self.unmount(0)
        self.assertEqual((done.state, self.counted(done)[VCOUNT.UNREACHED]), (VOPS.DONE, len(gone)))
        waited = self.between(done, VSTEP.OFFLINE, VSTEP.RELEASED)
        self.assertGreater(waited, TELL_SECONDS - 0.1)
        self.assertLess(waited, LEAST_DEAD_SECONDS - 1)
        await told
        self.assertEqual({contact.address for contact in read_journal(str(self.shared))}, set(gone))

    async def test_move(self) -> None:
        """A hand-over ends as soon, and the new owner goes on telling them."""
        await self.silence()
        done = await self.move(0, 1)
        self.assertEqual((done.state, self.counted(done)[VCOUNT.UNREACHED]), (VOPS.DONE, 1))
        self.assertLess(self.between(done, VSTEP.TAKEN, VSTEP.ENDED), LEAST_DEAD_SECONDS - 1)
        self.assertEqual(await self.client.read_file("/file"), b"content")


class Verdicts(SharedCase):
    """What a server hears when it reports what it has mounted."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.define(1, self.shared, 1)
        await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        await self.cell.client().write_file("/file", b"content")

    async def win(self) -> int:
        """The second server wins the partition in the VLDB, and does not come to say so on the storage."""
        found = await self.vl.GetPartition(self.uuid)
        claim = PartitionClaim(
            self.uuid,
            PartitionServer(self.server_uuid(1)),
            PartitionRequest(uuid4()),
            expected_epoch=found.epoch,
            flags=PCLAIM.FORCE,
        )
        outcome = await self.vl.ClaimPartition(claim)
        self.assertEqual(outcome.result, POUT.DONE)
        return outcome.object.epoch

    async def report(self, number: int) -> None:
        """Have a server report now, and wait for what follows."""
        partitions = self.cell.fileservers[number].service.partitions
        assert partitions is not None
        await partitions.report()
        for operation in await self.volser(number).ListOperations(self.uuid):
            await self.ended(number, operation)

    async def test_anothers(self) -> None:
        """Who hears of another owner at a later epoch closes its volumes and lets go; that one mounts it at once, and
        the content is there.
        """
        epoch = await self.win()
        await self.report(0)
        self.assertEqual((self.label().owner, self.label().state), (None, LabelState.RELEASED))
        self.assertEqual((await self.volser(0).GetPartition(self.uuid)).state, PSTATE.RELEASED)
        self.assertEqual((await self.mount(1)).state, VOPS.DONE)
        self.assertEqual((self.label().owner, self.label().epoch), (self.server_uuid(1), epoch))
        self.assertEqual(await self.cell.client().read_file("/file"), b"content")

    async def test_not_ours_on_the_label(self) -> None:
        """Where the label is another's already nothing is written to it."""
        await self.win()
        self.patch(self.tenure(), "_beat_or_complain", lambda: None)  # it does not find out by itself
        theirs = self.label().to_bytes()
        path = self.shared / ".txafs-label"
        path.unlink()
        path.write_bytes(theirs)
        await self.report(0)
        self.assertEqual(path.read_bytes(), theirs)
        self.assertEqual((await self.volser(0).GetPartition(self.uuid)).state, PSTATE.RELEASED)

    def tenure(self) -> object:
        partitions = self.cell.fileservers[0].service.partitions
        assert partitions is not None
        return partitions.mounted[self.uuid].tenure

    async def test_older_database(self) -> None:
        """A VLDB that was restored to an epoch at which another had the partition is no reason to stop."""
        partitions = self.cell.fileservers[0].service.partitions
        assert partitions is not None
        older = PartitionVerdict(self.uuid, PVERDICT.ANOTHERS, self.label().epoch, PartitionServer(self.server_uuid(1)))

        async def register(reports: object) -> tuple[list[PartitionVerdict], list[PartitionObject]]:
            return [older], []

        self.patch(partitions.means.vldb, "register", register)
        await self.report(0)
        self.assertEqual((await self.volser(0).GetPartition(self.uuid)).state, PSTATE.MOUNTED)
        self.assertEqual(await self.cell.client().read_file("/file"), b"content")


class NoVlserver(SharedCase):
    """The vlserver is down."""

    timeout = 120

    async def setUp(self) -> None:  # type: ignore[override]
        self.patch(fileserver.service, "CALL_SECONDS", VLSERVER_SECONDS)
        self.cell = await start_cell(self, backend="namei-user", fileservers=2)
        self.find_shared()
        await self.define(1, self.shared, 1)
        await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        await self.cell.client().write_file("/file", b"content")

    async def report(self, number: int) -> None:
        partitions = self.cell.fileservers[number].service.partitions
        assert partitions is not None
        await partitions.report()
        for operation in await self.volser(number).ListOperations(self.uuid):
            await self.ended(number, operation)

    async def test_unmount(self) -> None:
        """It is unmounted all the same, and its label is nobody's; the VLDB hears when it is there again, also from a
        server that was restarted meanwhile. Then another may have the partition.
        """
        for restart in (False, True):
            before = await self.vl.GetPartition(self.uuid)
            self.assertEqual(before.owner.uuid, self.server_uuid(0))
            await self.cell.stop_vlserver()
            done = await self.unmount(0)
            self.assertEqual(done.state, VOPS.DONE)
            self.assertIn(b"no vlserver answers", done.text)
            self.assertEqual((self.label().owner, self.label().state), (None, LabelState.RELEASED))
            self.cell.start_vlserver()
            self.assertEqual((await self.vl.GetPartition(self.uuid)).owner.uuid, self.server_uuid(0))
            if restart:
                await self.cell.restart(0)
            await self.report(0)
            now = await self.vl.GetPartition(self.uuid)
            self.assertEqual((now.owner.uuid.int, now.epoch), (0, before.epoch))
            self.assertEqual((await self.mount(1)).state, VOPS.DONE)
            self.assertEqual(await self.cell.client().read_file("/file"), b"content")
            self.assertEqual((await self.unmount(1)).state, VOPS.DONE)
            self.assertEqual((await self.mount(0)).state, VOPS.DONE)

    async def test_mount(self) -> None:
        """A mount is refused with the reason, and nothing is touched; given again it succeeds."""
        self.assertEqual((await self.unmount(0)).state, VOPS.DONE)
        label = self.label()
        await self.cell.stop_vlserver()
        for number in (0, 1):
            refused = await self.mount(number)
            self.assertEqual(refused.state, VOPS.FAILED)
            self.assertIn(b"no vlserver answers", refused.text)
        self.assertEqual(self.label(), label)
        self.cell.start_vlserver()
        self.assertEqual((await self.mount(1)).state, VOPS.DONE)
        self.assertEqual(await self.cell.client().read_file("/file"), b"content")

    async def test_unmounted_and_wanted_again(self) -> None:
        """What was unmounted unknown to the VLDB and is wanted again is mounted as soon as that is possible."""
        await self.cell.stop_vlserver()
        self.assertEqual((await self.unmount(0)).state, VOPS.DONE)
        self.assertEqual((await self.mount(0)).state, VOPS.FAILED)
        self.cell.start_vlserver()
        await self.report(0)
        self.assertEqual((await self.volser(0).GetPartition(self.uuid)).state, PSTATE.MOUNTED)
        self.assertEqual(await self.cell.client().read_file("/file"), b"content")
