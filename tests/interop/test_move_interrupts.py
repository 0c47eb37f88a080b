"""The command and the vlserver die at every step of a move and of a mount by force: the same command finishes it."""

from __future__ import annotations

import random
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from afs.rpc.partitions import PSTATE
from afs.rpc.volpartitions import VOPS
from tests.interop.case import InteropTest
from tests.interop.dying import WAIT
from tests.interop.namespaces import Daemon
from tests.interop.partition_cells import SERVERS, PartitionCell
from tests.interop.test_move_kills import OF_SOURCE, OF_TARGET
from tests.support.budget import budget

MOVE = ("movepartition", "fs2")
"""By our vos, from fs1, which has the partition before each of them."""
FORCE = ("mountpartition", "fs2", "-force")
OF_MOUNT = ("begun", "claimed", "labelled", "attached", "ended")
IN_MOVE = ("GetAddrsU", "GetPartition", "ReleasePartition", "RegisterPartitions")
IN_MOUNT = ("GetPartition", "ClaimPartition", "RegisterPartitions")
Place = tuple[tuple[str, ...], str, str]
"""Command, server, step."""
CONTENT = b"written before"
FINISH_SECONDS = 120.0
"""A server that hears from no vlserver goes on trying for half a minute, and silence takes a quarter to be noticed."""


@dataclass(frozen=True)
class Case:
    """While `command` runs and the server `where` comes to `step`, `victim` is killed: vos, or db. The vlserver is
    started again at once, or when everything has come to an end without it.
    """

    command: tuple[str, ...]
    victim: str
    where: str
    step: str
    at_once: bool = True

    @property
    def itself(self) -> bool:
        """It dies at a step of its own."""
        return self.victim == self.where


def _all() -> list[Case]:
    steps: list[Place] = [(MOVE, "fs1", f"move {step}") for step in OF_SOURCE]
    steps += [(MOVE, "fs2", f"take {step}") for step in OF_TARGET]
    steps += [(FORCE, "fs2", f"mount {step}") for step in OF_MOUNT]
    calls: list[Place] = [(MOVE, "db", f"{call} {end}") for call in IN_MOVE for end in ("begun", "done")]
    calls += [(FORCE, "db", f"{call} {end}") for call in IN_MOUNT for end in ("begun", "done")]
    return [
        *(Case(command, "vos", where, step) for command, where, step in steps),
        *(
            Case(command, "db", where, step, at_once)
            for at_once in (True, False)
            for command, where, step in steps + calls
        ),
    ]


CASES = _all()
QUICK = [case for case in CASES if case.at_once]


class MoveInterruptTests(InteropTest):
    """The partition is on fs1 when a case begins; both fileservers live."""

    timeout = 10_800.0

    async def test_every_step(self) -> None:
        """Afterwards one server has the partition, or none and one says why; the same command ends well, and the other
        server serves what there was.
        """
        chosen = budget("interop.interrupts", full=len(CASES), least=3)
        seed = random.Random(chosen.seed)
        cases = CASES if chosen.count >= len(CASES) else QUICK
        picked = [case for _ in range(-(-chosen.count // len(cases))) for case in seed.sample(cases, len(cases))]
        cell = self.cell = PartitionCell(self)
        await cell.start_vlserver(self._twistd("db"))
        for name in SERVERS:
            await cell.start_servers(name, twistd=self._twistd(name))
        await cell.share()
        await cell.client("ca").write_file("/file", CONTENT)
        for case in picked[: chosen.count]:
            print(f"\n  {case.victim} dies at {case.step}{'' if case.at_once else ', and stays away'}", end="")
            await self._interrupt(case)
            await self._settled()
            await self._vos(*case.command)
            self.assertEqual(await cell.owner(), "fs2")
            self.assertEqual(await cell.client("ca").read_file("/file"), CONTENT)
            await self._vos("movepartition", "fs1")
            self.assertEqual(await cell.owner(), "fs1")

    async def _interrupt(self, case: Case) -> None:
        """Give the command, and kill whom the case says where it says."""
        cell = self.cell
        order = self._order(case.where)
        there = order.with_name(f"{order.name}.there")
        order.write_text(case.step + (WAIT if not case.itself else ""))
        command = self._begin(*case.command)
        if case.itself:
            await self.until(lambda: not cell.daemons["db"].running(), FINISH_SECONDS)
        else:
            await self.until(there.exists, FINISH_SECONDS)
            there.unlink()
            (command if case.victim == "vos" else cell.daemons["db"]).stop(signal.SIGKILL)
        order.unlink()
        if case.victim == "db" and case.at_once:
            await cell.start_vlserver(self._twistd("db"))
        await self.until(lambda: not command.running(), FINISH_SECONDS)
        await self._ended()
        if case.victim == "db" and not case.at_once:
            await cell.start_vlserver(self._twistd("db"))

    async def _ended(self) -> None:
        """Nothing is being done to the partition any more."""
        for name in SERVERS:
            for operation in await self.cell.volser(name).ListOperations(self.cell.uuid):
                await self.cell.ended(name, operation)

    async def _settled(self) -> None:
        """One server has it, as all agree; or one says why not. That is so where nobody has it, and where the VLDB has
        given it to one that did not hear of that: until their next reports the other serves it still.
        """
        cell = self.cell
        await self._ended()
        serving = [name for name in SERVERS if (await cell.state(name)).state == PSTATE.MOUNTED]
        self.assertLess(len(serving), 2)
        if serving and (await cell.object()).owner.uuid == cell.servers[serving[0]]:
            self.assertEqual(await cell.owner(), serving[0])
            return
        operations = [each for name in SERVERS for each in await cell.volser(name).ListOperations(cell.uuid)]
        self.assertTrue([each.text for each in operations if each.state in (VOPS.FAILED, VOPS.STUCK)], operations)

    async def _vos(self, *words: str) -> None:
        (await self.cell.database.run(*self._command(*words), seconds=FINISH_SECONDS)).check()

    def _begin(self, *words: str) -> Daemon:
        return self.cell.database.start("vos", self._command(*words))

    def _command(self, verb: str, target: str, *more: str) -> list[str]:
        uuid = str(self.cell.uuid)
        places = (uuid, target) if verb == MOVE[0] else (target, uuid)
        return [sys.executable, "-m", "vos", verb, *places, *more, "-localauth"]

    def _twistd(self, name: str) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("dying.py")), str(self._order(name))]

    def _order(self, name: str) -> Path:
        return self.cell.storage / f"order-{name}"
