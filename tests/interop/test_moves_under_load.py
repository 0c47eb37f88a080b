"""A partition goes round three servers at which clients of both kinds work, by plan and after crashes of all kinds."""

from __future__ import annotations

import errno
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.interop.answers import Change
from tests.interop.case import InteropTest
from tests.interop.moving import NAMES, Moving, longest
from tests.interop.partition_cells import PATH, PartitionCell
from tests.support.budget import budget

KINDS = ("kill -9", "SIGSTOP", "network cut")
TURNS = 30
"""Of all own clients together, between two changes: each has done something."""
BACK_SECONDS = 100.0
"""For a FUSE client to be at work again: its own dead time, and a machine that does much else."""
LATEST_SECONDS = 0.3
"""A server dies at any moment of the clients' work."""
LOOKS = 0.5
"""How often the idle client looks after a change; else it has what it was promised by a server further back."""
WAITS = 0.3
"""How often the dead server comes back only when our clients have given it up."""
LOOK_SECONDS = 0.2
LOOKS_AT_FILES = 100
"""Twenty seconds, in which a server that has lost a partition has closed what it had open."""
REPEATED = (errno.ENOENT, errno.ENODEV)
"""What a stock client says of a remove that was executed before, the second once a server has refused the volume."""

GIVEN_UP = (errno.ETIMEDOUT, errno.ENODEV)
"""What a stock client says, at once and until it probes again, when the partition comes to a server that it has marked
as down: the call that was in flight when that one died lasted longer than its dead time. Told beside, not failed.
"""


class MovesUnderLoadTests(InteropTest):
    """See the module."""

    timeout = 10_800.0

    async def test_round(self) -> None:
        """Own clients meet no error, lose nothing that was answered and read nothing stale; no two servers answer at a
        time; who comes back from the dead leaves the partition alone; locks are kept. Stock clients fare as well, but
        that a remove may be told to have found nothing that the dead server had executed already.
        """
        moves = budget("interop.load.moves", full=100, least=2)
        crashes = budget("interop.load.crashes", full=50, least=len(KINDS))
        seed = random.Random(moves.seed)
        moving = self.moving = Moving(self, seed)
        self.seed, self.number, self.spans = seed, 0, [("planned", time.monotonic())]
        await moving.start()
        moving.answers.changes.append(Change(NAMES[0], time.monotonic()))
        await moving.idle_reads()
        moving.stalls.take()
        for turn in range(moves.count):
            await self._planned(last=turn == moves.count - 1)
        stalls = {"planned": moving.stalls.take()}
        rounds = -(-crashes.count // len(KINDS))
        kinds = [kind for _ in range(rounds) for kind in seed.sample(KINDS, len(KINDS))][: crashes.count]
        self.spans.append(("crash", time.monotonic()))
        moving.deaths = True
        for kind in kinds:
            await self._crash(kind)
        stalls["crash"] = moving.stalls.take()
        await moving.worked(TURNS)
        reader, churn = await moving.stop()
        await moving.verify()
        self.assertEqual(moving.ledger.problems(), [])
        self.assertEqual((moving.answers.problems(), moving.answers.unseen()), ([], []))
        died = self.spans[-1][1]
        given_up = [each for each in reader["errors"] if each[1] >= died and each[0] in map(os.strerror, GIVEN_UP)]
        self.assertEqual([each for each in reader["errors"] if each not in given_up], [])
        repeated, others = self._explained(churn["problems"])
        given_up += [each for each in others if each[0] >= died and each[4] in GIVEN_UP]
        others = [each for each in others if each not in given_up]
        removed = {name: [each for each in NAMES if name in moving.removed_by(each)] for *_, name, _ in others}
        self.assertEqual(others, [], f"{removed} {moving.answers.changes}")
        self._report(stalls, reader, churn, repeated)
        if given_up:
            print(f"  stock clients held a server for dead that was back {len(given_up)} times, first {given_up[0]}")

    @property
    def owner(self) -> str:
        """Who has the partition."""
        return self.moving.answers.changes[-1].owner

    @property
    def next_owner(self) -> str:
        """Who is to have it next: round, or back."""
        return self.seed.choice([name for name in NAMES if name != self.owner])

    async def _planned(self, last: bool) -> None:
        moving, target = self.moving, self.next_owner
        await moving.worked(TURNS)
        moving.answers.changes.append(Change(target, time.monotonic()))
        await self._vos("movepartition", str(moving.cell.uuid), target)
        await self._idle(last)
        await self.until(lambda: not moving.answers.unseen())
        await moving.worked(TURNS)
        self.assertEqual(await moving.cell.owner(), target)

    async def _crash(self, kind: str) -> None:
        moving, cell, victim, heir = self.moving, self.moving.cell, self.owner, self.next_owner
        await moving.worked(TURNS)
        await _pause(self.seed.uniform(0, LATEST_SECONDS))
        if kind == "kill -9":
            await cell.stop(victim, signal.SIGKILL)
        elif kind == "SIGSTOP":
            cell.daemons[victim].send(signal.SIGSTOP)
        else:
            cell.network.plug(cell.nodes[victim], False)
        died = time.monotonic()
        moving.answers.changes.append(Change(heir, died, died))
        await self._vos("mountpartition", heir, str(cell.uuid), "-force")
        await self._idle(last=True)
        await self.until(lambda: not moving.answers.unseen())
        if self.seed.random() < WAITS:
            await moving.worked(TURNS)
        if kind == "kill -9":
            await cell.start_servers(victim, twistd=moving.twistd)
        elif kind == "SIGSTOP":
            cell.daemons[victim].send(signal.SIGCONT)
        else:
            cell.network.plug(cell.nodes[victim], True)
        await cell.left(victim)
        await self._let_go(victim)
        self.assertEqual(await cell.owner(), heir)
        await moving.worked(TURNS)
        await moving.fuses_worked(BACK_SECONDS)

    async def _let_go(self, name: str) -> None:
        """Wait until a server has nothing of the partition open, and so cannot write to it. What a refused call had
        open is closed with its traceback.
        """
        left: list[str] = []
        for _ in range(LOOKS_AT_FILES):
            left = _open_files(self.moving.cell, name)
            if not left:
                return
            self.moving.cell.daemons[name].send(signal.SIGUSR1)
            await _pause(LOOK_SECONDS)
        self.fail(f"{name} still has open {left}")

    async def _idle(self, last: bool) -> None:
        """Change what the idle client has in its cache; when it looks, it sees that."""
        self.number += 1
        await self.moving.change_idle(self.number)
        if last or self.seed.random() < LOOKS:
            self.assertEqual(await self.moving.idle_reads(), self.number)

    async def _vos(self, *words: str) -> None:
        """Our vos does it."""
        command = (sys.executable, "-m", "vos", *words, "-localauth")
        (await self.moving.cell.database.run(*command)).check()

    def _explained(self, problems: Iterable[Any]) -> tuple[list[Any], list[Any]]:
        """Those that are removes which a server executed and died before it could answer, and the others."""
        changes = self.moving.answers.changes
        repeated: list[Any] = []
        others: list[Any] = []
        for problem in problems:
            begun, ended, step, name, number = problem
            died = [
                before.owner
                for before, change in itertools.pairwise(changes)
                if change.died is not None and begun <= change.died <= ended
            ]
            executed = any(name in self.moving.removed_by(server) for server in died)
            explained = step == "remove" and number in REPEATED and executed
            (repeated if explained else others).append(problem)
        return repeated, others

    def _report(self, stalls: dict[str, dict[str, float]], reader: Any, churn: Any, repeated: list[Any]) -> None:
        gaps = {
            "FUSE reader": [(a[3], b[3]) for a, b in itertools.pairwise(reader["seen"])],
            "FUSE churn": [(begun, ended) for begun, ended, _ in churn["gaps"]],
        }
        ends = [at for _, at in self.spans[1:]] + [time.monotonic()]
        for (phase, since), until in zip(self.spans, ends, strict=True):
            found = stalls[phase] | {who: longest(each, since, until) for who, each in gaps.items()}
            count = sum((change.died is not None) == (phase == "crash") for change in self.moving.answers.changes[1:])
            told = ", ".join(f"{who} {seconds:.2f}" for who, seconds in sorted(found.items()))
            print(f"\n  {count} {phase}: longest stall in seconds: {told}", end="")
        print(
            f"\n  {len(self.moving.ledger.writes)} writes and {len(self.moving.ledger.reads)} reads in order,"
            f" {len(self.moving.answers.answers)} answers of one server at a time;"
            f" churn {churn['steps']} steps, {len(repeated)} removes executed before, {churn['misled']} misled"
        )


def _open_files(cell: PartitionCell, name: str) -> list[str]:
    """What of the partition a server has open."""
    found = []
    for link in Path(f"/proc/{cell.daemons[name].pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        if target.startswith(PATH + "/"):
            found.append(target)
    return found


async def _pause(seconds: float) -> None:
    clock: Any = reactor
    await deferLater(clock, seconds)
