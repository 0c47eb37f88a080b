"""Long operations: followed, found again, given up on."""

from __future__ import annotations

import io
from ipaddress import IPv4Address
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

import vos.follow
from afs.client import store_status
from afs.rpc.partitions import PartitionServer
from afs.rpc.volpartitions import VOP, VOPS, VolOperation, VolPartitionOrder
from tests.vos.cells import FIRST, SECOND, Result, VosCase
from vos.command import CommandError
from vos.follow import carry_out
from vos.options import Options
from vos.output import Output

PIECE = 20_000
POLL_SECONDS = 0.01


class Stalled:
    """A Source that gives one piece and then waits."""

    def __init__(self) -> None:
        self.begun: Deferred[None] = Deferred()
        self.more: Deferred[bytes] = Deferred()

    async def read(self, size: int) -> bytes:
        """The one piece, then what comes."""
        if not self.begun.called:
            self.begun.callback(None)
            return bytes(PIECE)
        return await self.more


class Following(VosCase):
    """An unmount that waits for a call."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        volume = await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        client = self.cell.client()
        fid = await client.create("/file")
        self.source = Stalled()
        fileserver = self.cell.fileservers[0]
        fs = client.fs((str(fileserver.address), fileserver.port))
        self.storing = Deferred.fromCoroutine(fs.StoreData(fid, store_status(), 0, 2 * PIECE, 2 * PIECE, self.source))
        await self.source.begun
        found = fileserver.service.registry.find(volume)
        while found is None or not found.holders:
            await deferLater(reactor, POLL_SECONDS)
        self.followed = False
        followed = vos.follow._show_steps

        def shown(*arguments: Any) -> int:
            self.followed = True
            return followed(*arguments)

        self.patch(vos.follow, "_show_steps", shown)
        self.running = Deferred.fromCoroutine(self.begin("umountpartition", FIRST, "a", "-deadline", "60"))
        await self.under_way()

    async def under_way(self) -> None:
        """Wait until the server has begun."""
        while (await self.last()).kind != VOP.UNMOUNT:
            await deferLater(reactor, POLL_SECONDS)

    async def last(self) -> VolOperation:
        """What the server does or did last with the partition."""
        return (await self.cell.volser(0).ListOperations(self.label().uuid))[0]

    async def let_go(self) -> None:
        """The call ends."""
        self.source.more.callback(bytes(PIECE))
        await self.storing

    async def test_interrupted(self) -> None:
        """An interrupt ends the command, not the work; the command says so, and how to look at it."""
        while not self.followed:
            await deferLater(reactor, POLL_SECONDS)
        self.running.cancel()
        result: Result = await self.running
        self.assertEqual((result.status, result.out), (130, ""))
        self.assertRegex(result.err, rf"unmount \S+ goes on at {FIRST}\n.*'vos listpartitions {self.uuid}' shows")
        self.assertRegex((await self.succeeds("listpartitions", self.uuid)).out, r"unmount \S+ running")
        await self.let_go()
        while (await self.last()).state == VOPS.RUNNING:
            await deferLater(reactor, POLL_SECONDS)
        self.assertEqual((await self.last()).state, VOPS.DONE)

    async def test_the_same_again(self) -> None:
        """The same command elsewhere finds what is under way and follows that."""
        again = Deferred.fromCoroutine(self.begin("umountpartition", FIRST, "a"))
        other = await self.refused("mountpartition", FIRST, "a")
        self.assertRegex(other, rf"^vos: {FIRST} is busy with partition {self.uuid}: unmount \S+\n$")
        await self.let_go()
        first, second = await self.running, await again
        self.assertEqual((first.status, second.status), (0, 0))
        self.assertRegex(second.err, r"^vos: under way already: unmount \S+\n$")
        self.assertEqual(first.out, second.out)


class Taking(VosCase):
    """A move whose target takes its time."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.succeeds("definepartition", SECOND, "b", "-path", str(self.shared))
        await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        target = self.cell.fileservers[1].service.registry
        self.taking: Deferred[None] = Deferred()
        self.ready: Deferred[None] = Deferred()
        add = target.add_partition

        async def slow(*arguments: Any) -> None:
            self.taking.callback(None)
            await self.ready
            await add(*arguments)

        self.patch(target, "add_partition", slow)
        self.running = Deferred.fromCoroutine(self.begin("movepartition", self.uuid, SECOND))
        await self.taking

    async def test_the_same_wish(self) -> None:
        """The VLDB has given the target the partition, which is not served yet: the same command, or one that would
        mount it there, follows what is under way.
        """
        again = [
            Deferred.fromCoroutine(self.begin(*words))
            for words in (("movepartition", self.uuid, SECOND), ("mountpartition", SECOND, "b"))
        ]
        said = await self.refused("umountpartition", SECOND, "b")
        self.assertRegex(said, rf"^vos: {SECOND} is busy with partition {self.uuid}: take \S+\n$")
        self.ready.callback(None)
        for one in (self.running, *again):
            self.assertEqual((await one).status, 0)
        for one in again:
            self.assertRegex((await one).err, r"^vos: under way already: take \S+\n$")

    async def test_another_target(self) -> None:
        """A move to one server is not what is wanted by a move to another."""
        operation = (await self.cell.volser(0).ListOperations(self.label().uuid))[0]
        self.assertEqual((operation.kind, operation.peer.uuid), (VOP.MOVE, self.server_uuid(1)))
        order = vos.follow.new_order(self.label().uuid, "test")

        async def begin(order: VolPartitionOrder) -> VolOperation:
            return await self.cell.volser(0).MovePartition(order, PartitionServer(self.server_uuid(0)))

        session = self.session(Options(), Output(io.StringIO(), io.StringIO(), False))
        session.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(session.stop()))
        with self.assertRaisesRegex(CommandError, "busy with partition .* move"):
            await carry_out(session, IPv4Address(FIRST), VOP.MOVE, begin, order, peer=self.server_uuid(0))
        self.ready.callback(None)
        self.assertEqual((await self.running).status, 0)
