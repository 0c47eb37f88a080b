"""kill -9 of a server at every step of a planned move: one has the partition or none, and the same command finishes."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from uuid import uuid4

from twisted.internet.defer import CancelledError, Deferred

from afs.rpc.partitions import PSTATE, PartitionRequest, PartitionServer
from afs.rpc.volpartitions import VOPS, VolOperation, VolPartitionOrder
from rx.errors import RxError
from tests.interop.case import InteropTest
from tests.interop.partition_cells import SERVERS, PartitionCell
from tests.support.budget import budget

OF_SOURCE = ("begun", "prepared", "frozen", "offline", "labelled", "released", "taken", "told", "ended")
OF_TARGET = ("begun", "claimed", "labelled", "attached", "ended")
CASES = [("fs1", f"move {step}") for step in OF_SOURCE] + [("fs2", f"take {step}") for step in OF_TARGET]
CONTENT = b"written before the move"


class MoveKillTests(InteropTest):
    """From fs1 to fs2, one of which dies."""

    timeout = 3600

    async def test_every_step(self) -> None:
        """Also the command, which is not heard of again once it has been given. Whoever died is started again."""
        chosen = budget("interop.move-kills", full=5 * len(CASES), least=3)
        seed = random.Random(chosen.seed)
        cases = [case for _ in range(-(-chosen.count // len(CASES))) for case in seed.sample(CASES, len(CASES))]
        cell = PartitionCell(self)
        await cell.start()
        await cell.share()
        await cell.client("ca").write_file("/file", CONTENT)
        for name in SERVERS:
            await self._restart(cell, name)
        for victim, step in cases[: chosen.count]:
            await self._die(cell, victim, step)
            await self._restart(cell, victim)
            await self._settled(cell)
            await self._finish(cell)
            self.assertEqual(await cell.client("ca").read_file("/file"), CONTENT, step)
            moved = await self._move(cell, "fs2", "fs1")
            self.assertEqual((moved.state, moved.text), (VOPS.DONE, b""), step)

    async def _restart(self, cell: PartitionCell, name: str) -> None:
        """With the program that dies when it is told to."""
        if cell.daemons[name].running():
            await cell.stop(name)
        program = str(Path(__file__).with_name("dying.py"))
        await cell.start_servers(name, twistd=[sys.executable, program, str(cell.storage / f"order-{name}")])

    async def _die(self, cell: PartitionCell, victim: str, step: str) -> None:
        order = cell.storage / f"order-{victim}"
        order.write_text(step)
        command = Deferred.fromCoroutine(self._move(cell, "fs1", "fs2"))
        command.addErrback(lambda failure: failure.trap(RxError, CancelledError))
        await self.until(lambda: not cell.daemons[victim].running())
        command.cancel()
        order.unlink()

    async def _settled(self, cell: PartitionCell) -> None:
        """No operation is under way; at most one server serves, whom the VLDB and the label name then."""
        for name in SERVERS:
            for operation in await cell.volser(name).ListOperations(cell.uuid):
                await cell.ended(name, operation)
        serving = [name for name in SERVERS if (await cell.state(name)).state == PSTATE.MOUNTED]
        self.assertLess(len(serving), 2)
        if serving:
            self.assertEqual(await cell.owner(), serving[0])

    async def _finish(self, cell: PartitionCell) -> None:
        """As `vos movepartition` does: the owner moves it, or where that is the target or nobody it is mounted."""
        found = await cell.object()
        if found.owner.uuid == cell.servers["fs1"]:
            moved = await self._move(cell, "fs1", "fs2")
            self.assertEqual((moved.state, moved.text), (VOPS.DONE, b""))
        else:
            await cell.mount("fs2")
        self.assertEqual(await cell.owner(), "fs2")

    async def _move(self, cell: PartitionCell, source: str, target: str) -> VolOperation:
        order = VolPartitionOrder(cell.uuid, PartitionRequest(uuid4()))
        begun = await cell.volser(source).MovePartition(order, PartitionServer(cell.servers[target]))
        return await cell.ended(source, begun)
