"""kill -9 of a fileserver at every step of a mount and an unmount: nobody is left with half a partition."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from afs.rpc.partitions import PSTATE
from afs.rpc.volpartitions import VOPS, VolOperation
from rx.errors import RxError
from tests.interop.case import InteropTest
from tests.interop.partition_cells import SERVERS, PartitionCell
from tests.support.budget import budget

STEPS = (
    "mount begun",
    "mount claimed",
    "mount labelled",
    "mount attached",
    "mount ended",
    "unmount begun",
    "unmount frozen",
    "unmount offline",
    "unmount released",
    "unmount ended",
)
FORCED_STEPS = STEPS[:5]
CONTENT = b"written before the kill"


class KillTests(InteropTest):
    """fs1 dies, fs2 lives."""

    async def test_every_step(self) -> None:
        """After a restart the partition is served by one server or by none; the same command finishes, and so does the
        other server's, by force where the dead one had it. The volume is as it was.
        """
        chosen = budget("interop.kills", full=10 * len(STEPS), least=2)
        seed = random.Random(chosen.seed)
        steps = [step for _ in range(-(-chosen.count // len(STEPS))) for step in seed.sample(STEPS, len(STEPS))]
        cell = PartitionCell(self)
        await cell.start()
        await cell.share()
        await cell.client("ca").write_file("/file", CONTENT)
        for turn, step in enumerate(steps[: chosen.count]):
            await self._restart_dying(cell, signal.SIGTERM)
            await self._die(cell, step)
            if turn % 2:
                await self._finish_here(cell, step)
            else:
                await self._finish_there(cell)
            self.assertEqual(await cell.client("ca").read_file("/file"), CONTENT, step)

    async def test_by_force(self) -> None:
        """A server that dies while it takes the partition from a living one: that one serves, or nobody; when the dead
        one is back it waits to be told, or goes on, and the same command finishes.
        """
        chosen = budget("interop.kills.force", full=40, least=1)
        seed = random.Random(chosen.seed)
        cell = PartitionCell(self)
        await cell.start()
        await cell.share()
        await cell.client("ca").write_file("/file", CONTENT)
        for _ in range(chosen.count):
            await self._restart_dying(cell, signal.SIGTERM)
            await cell.mount("fs2", force=True)
            step = seed.choice(FORCED_STEPS)
            await self._killed(cell, step, cell.mount("fs1", force=True))
            await self._restart_dying(cell, signal.SIGKILL)
            serving = [name for name in SERVERS if (await cell.state(name)).state == PSTATE.MOUNTED]
            self.assertEqual(serving, ["fs2"] if step in ("mount begun", "mount claimed") else ["fs1"], step)
            await cell.mount("fs1", force=True)
            self.assertEqual(await cell.owner(), "fs1")
            self.assertEqual(await cell.client("ca").read_file("/file"), CONTENT, step)

    async def _restart_dying(self, cell: PartitionCell, number: signal.Signals) -> None:
        if cell.daemons["fs1"].running():
            await cell.stop("fs1", number)
        program = str(Path(__file__).with_name("dying.py"))
        await cell.start_servers("fs1", twistd=[sys.executable, program, str(cell.storage / "order")])

    async def _die(self, cell: PartitionCell, step: str) -> None:
        """Bring the partition to where the command has something to do, and let fs1 come to that step of it."""
        await (cell.unmount if step.startswith("mount") else cell.mount)("fs1")
        await self._killed(cell, step, (cell.mount if step.startswith("mount") else cell.unmount)("fs1"))

    async def _killed(self, cell: PartitionCell, step: str, ordered: Coroutine[Any, Any, VolOperation]) -> None:
        """Give fs1 a command of which it dies at this step."""
        order = cell.storage / "order"
        order.write_text(step)
        command = Deferred.fromCoroutine(ordered)
        command.addErrback(lambda failure: failure.trap(RxError, CancelledError))
        await self.until(lambda: not cell.daemons["fs1"].running())
        command.cancel()
        order.unlink()

    async def _finish_here(self, cell: PartitionCell, step: str) -> None:
        await self._restart_dying(cell, signal.SIGKILL)
        state = await cell.state("fs1")
        if state.state == PSTATE.MOUNTED:
            self.assertEqual(await cell.owner(), "fs1")
        if step.startswith("mount"):
            await cell.mount("fs1")
        else:
            await cell.unmount("fs1")
            self.assertIsNone(await cell.owner())
            await cell.mount("fs1")
        self.assertEqual(await cell.owner(), "fs1")

    async def _finish_there(self, cell: PartitionCell) -> None:
        """fs2 takes it while fs1 is dead; without force only if nobody has it in the VLDB."""
        claimed = (await cell.object()).owner.uuid.int != 0
        done = await cell.mount("fs2", may=not claimed)
        if claimed:
            self.assertIn(str(cell.servers["fs1"]).encode(), done.text)
            done = await cell.mount("fs2", force=True)
        self.assertEqual(done.state, VOPS.DONE)
        await self._restart_dying(cell, signal.SIGKILL)
        self.assertEqual(await cell.owner(), "fs2")
        await cell.unmount("fs2")
        await cell.mount("fs1")
        self.assertEqual(await cell.owner(), "fs1")
