"""A partition goes round among four servers, and what clients hold goes with it."""

from __future__ import annotations

from errno import EAGAIN
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from afs.client import FileClient
from afs.rpc.partitions import PSTATE
from afs.rpc.volpartitions import VOPS
from afs.types import AFSFid
from rx.errors import Abort
from tests.fileserver.partitions.test_move import MoveCase
from tests.support.budget import budget

RING = 4


class RingCase(MoveCase):
    """Four servers may mount the shared partition."""

    timeout = 600

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        for number in range(2, RING):
            await self.cell.add_fileserver(number)
            await self.define(number, self.shared, 1)

    async def turn(self, number: int) -> int:
        """Move on to the next server, whose number is returned."""
        there = (number + 1) % RING
        done = await self.move(number, there)
        self.assertEqual((done.state, done.text), (VOPS.DONE, b""))
        return there


class Ring(RingCase):
    """Round and round."""

    async def test_writers(self) -> None:
        """Clients that write, read and make files meet no error, and find what they wrote; one server has it always."""
        chosen = budget("partitions.ring", full=200, least=8)
        stopping: list[bool] = []
        turns = [0, 0, 0]

        async def write(number: int, client: FileClient) -> None:
            while not stopping:
                turns[number] += 1
                content = b"%d" % turns[number]
                await client.write_file(f"/own{number}", content)
                assert await client.read_file(f"/own{number}") == content
                await client.write_file(f"/dir{number}-{turns[number] % 7}", content)

        running = [ensureDeferred(write(number, self.cell.client())) for number in range(len(turns))]
        owner = 0
        for _ in range(chosen.count):
            owner = await self.turn(owner)
            states = [await self.state(number) for number in range(RING)]
            self.assertEqual(states, [PSTATE.MOUNTED if number == owner else PSTATE.RELEASED for number in range(RING)])
        stopping.append(True)
        for one in running:
            await one
        for number, count in enumerate(turns):
            self.assertGreater(count, 1)
            self.assertEqual(await self.client.read_file(f"/own{number}"), b"%d" % count)
        self.assertEqual((await self.vl.GetPartition(self.uuid)).owner.uuid, self.server_uuid(owner))

    async def test_locks(self) -> None:
        """A lock is held across every move: others are refused, its owner extends it, and when it is released another
        gets it.
        """
        holder, other = self.cell.client(), self.cell.client()
        fid = await holder.resolve("/file")
        await holder.lock(fid, write=True)
        owner = 0
        for _ in range(RING):
            owner = await self.turn(owner)
            await self._refused(other, fid)
            await holder.extend_lock(fid)
        await holder.release_lock(fid)
        await other.lock(fid, write=True)
        await self._refused(holder, fid)

    async def _refused(self, client: FileClient, fid: AFSFid) -> None:
        for write in (False, True):
            with self.assertRaises(Abort) as refusal:
                await client.lock(fid, write)
            self.assertEqual(refusal.exception.code, EAGAIN)

    async def test_promises(self) -> None:
        """A client that does nothing hears of every move, and what the new owner promises holds."""
        idle = self.cell.client()
        fid = await idle.resolve("/file")
        owner = 0
        for number in range(RING):
            await idle.status(fid)
            told: Deferred[Any] = idle.breaks.expect(AFSFid(self.volume, 0, 0))
            owner = await self.turn(owner)
            await told
            self.assertEqual((await idle.status(fid)).Length, len(await idle.read_file(fid)))
            changed = idle.breaks.expect(fid)
            await self.client.write_file("/file", b"turn %d" % number)
            await changed
