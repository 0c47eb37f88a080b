"""A partition moves between two live servers under load: no client of ours meets an error, and how stock ones fare."""

from __future__ import annotations

import errno
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater

from afs.client import FileClient
from afs.rpc.partitions import PartitionRequest, PartitionServer
from afs.rpc.volpartitions import VOPS, VolOperation, VolPartitionOrder
from tests.interop.case import InteropTest
from tests.interop.namespaces import CHECKOUT
from tests.interop.partition_cells import SHARED, VOLUME, PartitionCell
from tests.support.budget import budget

CHURN = CHECKOUT / "tests" / "interop" / "churn.py"
PERIOD_SECONDS = 0.5
"""Between two moves, at least: clients do some hundred steps in it."""


class Writer:
    """One of our clients that writes and reads back without end; anything it is told but success ends it."""

    def __init__(self, client: FileClient, path: str) -> None:
        self._client = client
        self._path = path
        self._stopping = False
        self.turns = 0
        self.longest = 0.0
        self.running = ensureDeferred(self._run())

    async def stop(self) -> None:
        """After the turn under way; raises what ended it before."""
        self._stopping = True
        await self.running

    async def _run(self) -> None:
        while not self._stopping:
            began = time.monotonic()
            self.turns += 1
            content = b"%d" % self.turns
            await self._client.write_file(self._path, content)
            read = await self._client.read_file(self._path)
            assert read == content, (read, content)
            self.longest = max(self.longest, time.monotonic() - began)


class MoveTests(InteropTest):
    """Two servers, one directory."""

    timeout = 1200

    async def test_under_load(self) -> None:
        """Own writers and stock FUSE clients through moves there and back: every step succeeds."""
        chosen = budget("interop.moves", full=100)
        cell = PartitionCell(self)
        await cell.start()
        await cell.share()
        fuses = [self._churning(cell, name) for name in ("cb", "cc")]
        writers = [Writer(cell.client("ca"), f"/own{number}") for number in range(3)]
        for turn in range(max(chosen.count, 4)):
            source, target = ("fs1", "fs2") if turn % 2 == 0 else ("fs2", "fs1")
            await self._work(cell, fuses)
            moved = await self._move(cell, source, target)
            self.assertEqual((moved.state, moved.text), (VOPS.DONE, b""))
        await self._work(cell, fuses)
        for writer in writers:
            await writer.stop()
        reports = [await self._report(cell, name, running) for name, running in fuses]
        print(f"\n  own writers: longest {max(writer.longest for writer in writers):.3f} s;", end="")
        print(
            *(f" FUSE: {each['steps']} steps, longest {each['longest']:.3f} s ({each['step']})" for each in reports),
            sep=";",
        )
        for report in reports:
            self.assertEqual(report["errors"], [])
            self.assertGreater(report["steps"], 4 * chosen.count)

    async def test_takeover(self) -> None:
        """A server dies with its node's network while FUSE clients work; one command brings the partition back on the
        other, which answers at the dead one's address: no error, and the calls in flight go on there. A remove that the
        dead server executed and could not answer is repeated, and may find nothing.
        """
        hook = (CHECKOUT / "contrib" / "hooks" / "address").read_text()
        cell = PartitionCell(self, {"address": hook}, ["--address-hook", f"{SHARED}/address"])
        await cell.start()
        await cell.share()
        fuses = [self._churning(cell, name) for name in ("cb", "cc")]
        await self._work(cell, fuses)
        cell.network.plug(cell.nodes["fs1"], False)
        await cell.stop("fs1", signal.SIGKILL)
        await cell.mount("fs2", force=True, takeover=True)
        await self._work(cell, fuses)  # once they send again what was in flight, after some 4.5 s, or 13
        reports = [await self._report(cell, name, running) for name, running in fuses]
        print(
            *(f"\n  FUSE: {each['steps']} steps, longest {each['longest']:.3f} s ({each['step']})" for each in reports)
        )
        for report in reports:
            repeated = [error for error in report["errors"] if error.startswith(f"remove: [Errno {errno.ENOENT}]")]
            self.assertLessEqual(len(repeated), 1, "only the call in flight can have been executed twice")
            self.assertEqual(report["errors"], repeated)
            self.assertGreater(report["after"], 0)

    async def _move(self, cell: PartitionCell, source: str, target: str) -> VolOperation:
        order = VolPartitionOrder(cell.uuid, PartitionRequest(uuid4()))
        begun = await cell.volser(source).MovePartition(order, PartitionServer(cell.servers[target]))
        return await cell.ended(source, begun)

    def _churning(self, cell: PartitionCell, name: str) -> tuple[str, Deferred[Any]]:
        """A FUSE client on a node of its own, at work in a directory of its own."""
        fuse = cell.fuse(name)
        node = cell.network.nodes[name]
        directory = f"{fuse.volume(VOLUME)}/{name}"
        node.run_now("mkdir", directory).check()
        stop = str(node.home / "stop")
        return name, ensureDeferred(node.run(sys.executable, "-I", str(CHURN), directory, stop, seconds=self.timeout))

    async def _report(self, cell: PartitionCell, name: str, running: Deferred[Any]) -> dict[str, Any]:
        (cell.network.nodes[name].home / "stop").touch()
        result = await running
        report: dict[str, Any] = json.loads(result.check().out)
        return report

    async def _work(self, cell: PartitionCell, fuses: list[tuple[str, Deferred[Any]]]) -> None:
        """Let the clients work, until each of the FUSE clients has come to the end of a turn, and of the next one."""
        await deferLater(reactor, PERIOD_SECONDS)
        for name, _ in fuses:
            turns = cell.network.nodes[name].home / "stop.turns"
            for _ in range(2):
                before = _changed(turns)
                await self.until(lambda turns=turns, before=before: _changed(turns) > before)  # type: ignore[misc]


def _changed(file: Path) -> float:
    """When, 0 where there is none yet."""
    return file.stat().st_mtime if file.exists() else 0.0
