"""The cells that bench_move measures: two of our fileservers at one partition, and two stock ones."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults, maybeDeferred
from twisted.internet.task import deferLater

from afs.client import FileClient
from afs.rpc.partitions import PREASON, PartitionRequest, PartitionServer
from afs.rpc.volpartitions import PMOUNT, VolOperation, VolPartitionOrder
from afs.types import AFSFid
from rx.errors import Abort, RxError
from tests.interop.case import InteropTest
from tests.interop.namespaces import CHECKOUT, Network, Node
from tests.interop.partition_cells import SHARED, VOLUME, PartitionCell
from tests.interop.stock import (
    FuseClient,
    add_node,
    address_of,
    create_world_writable,
    start_database,
    start_fileserver,
)

_P = ParamSpec("_P")

ATTACHED = 1000
"""Volumes of a large partition that are in use when it moves; all others are files that nobody has asked for."""
FIRST = 600_000_000
"""Ids of the volumes that fill a partition, beyond those that the cell gives itself."""
CALLERS = 16
IDLE_SECONDS = 3.0
"""Since all volumes were used; from then on one is, as on a server most of whose volumes rest."""
SETTLE_SECONDS = 1.0
"""Of work before and after a move."""
AFTER_SECONDS = {False: 75.0, True: 20.0}
"""How long clients are watched after a crash, by takeover: longer than their dead time and a retransmission."""
KINDS = ("kill -9", "SIGSTOP", "network cut")
STALLS = str(Path(__file__).with_name("stalls.py"))
HOOK = (CHECKOUT / "contrib" / "hooks" / "address").read_text()


class Stage(InteropTest):
    """What a cell wants of a test, outside of one."""

    def __init__(self) -> None:
        super().__init__("until")
        self._undo: list[Callable[[], Any]] = []

    def addCleanup(self, f: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs) -> None:  # type: ignore[override]
        self._undo.append(lambda: f(*args, **kwargs))

    async def close(self) -> None:
        """Undo all, the last first."""
        while self._undo:
            await maybeDeferred(self._undo.pop())


class Writer:
    """Our client, writing and reading without end: (begin, end) of every turn; what fails is made again, as an
    application would.
    """

    def __init__(self, client: FileClient, path: str) -> None:
        self._client = client
        self._path = path
        self._stopping = False
        self.turns: list[tuple[float, float]] = []
        self.errors: list[str] = []
        self.running = ensureDeferred(self._run())

    async def stop(self) -> None:
        """After the turn under way."""
        self._stopping = True
        await self.running

    async def _run(self) -> None:
        while not self._stopping:
            began = time.monotonic()
            content = b"%d" % len(self.turns)
            try:
                await self._client.write_file(self._path, content)
                assert await self._client.read_file(self._path) == content
            except RxError as problem:
                self.errors.append(str(problem))
                continue
            self.turns.append((began, time.monotonic()))


class Worker:
    """A FUSE client at work in a node of its own."""

    def __init__(self, node: Node, directory: str) -> None:
        self._stop = node.home / "stop"
        command = (sys.executable, "-I", STALLS, "work", directory, str(self._stop))
        self._running = ensureDeferred(node.run(*command, seconds=600))

    async def stop(self) -> list[tuple[float, float, str, str]]:
        """The gaps, see stalls.py."""
        self._stop.touch()
        gaps: list[tuple[float, float, str, str]] = json.loads((await self._running).check().out)
        self._stop.unlink()
        return gaps


class OurPartition:
    """A partition with volumes, two servers, a vlserver, and clients."""

    def __init__(self, takeover: bool = False) -> None:
        self._stage = Stage()
        hooks, options = ({"address": HOOK}, ["--address-hook", f"{SHARED}/address"]) if takeover else ({}, [])
        self.cell = PartitionCell(self._stage, hooks, options)
        self._whole = 0

    async def start(self, volumes: int) -> None:
        """Everything, with so many volumes on the partition, which fs1 has."""
        cell = self.cell
        await cell.start()
        await cell.share()
        if volumes > 1:
            self._whole = min(ATTACHED, volumes - 1)
            await cell.unmount("fs1")
            words = [str(cell.partition), str(volumes - 1), "--whole", str(self._whole), "--first", str(FIRST)]
            command = [sys.executable, "-m", "tests.bench.many_volumes", *words]
            (await cell.database.run("env", f"PYTHONPATH={CHECKOUT}", *command, seconds=300)).check()
            await cell.mount("fs1")
        self._own = cell.client("ca")
        self._other = cell.client("db")
        await self._own.write_file("/idle", b"before")
        self._fuses = {name: cell.fuse(name) for name in ("cb", "cc")}
        self._directory = self._fuses["cb"].volume(VOLUME)
        (await self._node("cc").run("ls", self._directory)).check()

    async def close(self) -> None:
        """End all of it."""
        await self._stage.close()

    async def moves(self, count: int) -> dict[str, list[float]]:
        """There and back: the longest stall of each client in each move."""
        moves: list[tuple[float, float]] = []
        idle = []
        worker, writer = Worker(self._node("cb"), f"{self._directory}/work"), Writer(self._own, "/own")
        for number in range(count):
            source, target = ("fs1", "fs2") if number % 2 == 0 else ("fs2", "fs1")
            await self._attach(source)
            await self._read_idle()
            await _pause(IDLE_SECONDS)
            began = time.monotonic()
            moved = await self._move(source, target)
            moves.append((began, time.monotonic()))
            if moved.text:
                raise SystemExit(f"a move failed: {moved.text.decode()}")
            _tell_steps(moved)
            content = b"after %d" % number
            await self._other.write_file("/idle", content)
            seconds, read = await self._read_idle()
            idle.append(seconds)
            if read != content.decode():
                raise SystemExit(f"stale: {read!r}")
            await _pause(SETTLE_SECONDS)
        await writer.stop()
        gaps = await worker.stop()
        _need_no_errors([*(gap[3] for gap in gaps if gap[3]), *writer.errors])
        return {
            "FUSE at work": [_longest([gap[:2] for gap in gaps], move) for move in moves],
            "FUSE idle, first read after": idle,
            "own writer": [_longest(writer.turns, move) for move in moves],
            "the move itself": [end - begin for begin, end in moves],
        }

    async def crash(self, kind: str, takeover: bool) -> dict[str, float]:
        """Seconds from the command to the next success of each client. An address cannot be taken from a node that
        still has it: with `takeover`, the node is cut off in each case.
        """
        cell = self.cell
        await self._read_idle()
        worker, writer = Worker(self._node("cb"), f"{self._directory}/work"), Writer(self._own, "/own")
        await _pause(SETTLE_SECONDS)
        if takeover or kind == "network cut":
            cell.network.plug(cell.nodes["fs1"], False)
        if kind == "kill -9":
            await cell.stop("fs1", signal.SIGKILL)
        elif kind == "SIGSTOP":
            cell.daemons["fs1"].send(signal.SIGSTOP)
        began = time.monotonic()
        flags = PMOUNT.FORCE | PMOUNT.TAKEOVER * takeover
        order = VolPartitionOrder(cell.uuid, PartitionRequest(uuid4(), PREASON.OPERATOR), 0, flags)
        mounted = await cell.ended("fs2", await cell.volser("fs2").MountPartition(order))
        ended = time.monotonic()
        if mounted.text:
            raise SystemExit(f"the mount failed: {mounted.text.decode()}")
        _tell_steps(mounted)
        await self._other.write_file("/idle", b"after")
        _, read = await self._read_idle()
        idle = time.monotonic()
        if read != "after":
            raise SystemExit(f"stale: {read!r}")
        await _pause(AFTER_SECONDS[takeover])
        await writer.stop()
        gaps = await worker.stop()
        found = {
            "FUSE idle": idle - began,
            "own writer": _next(writer.turns, ended) - began,
            "the command itself": ended - began,
        }
        found["FUSE, call in flight"] = _next([gap[:2] for gap in gaps if not gap[3]], ended) - began
        errors = [gap[3] for gap in gaps if gap[3]]
        print(f"{kind}{' with takeover' * takeover}: {found}; errors: FUSE {errors}, own {writer.errors}", flush=True)
        if kind == "SIGSTOP":
            cell.daemons["fs1"].send(signal.SIGCONT)
        return found

    async def _attach(self, server: str) -> None:
        """Use the whole volumes, as clients do."""
        fs = self._other.fs((address_of(server), 7000))
        ids = iter(range(FIRST, FIRST + self._whole))

        async def attach() -> None:
            for volume_id in ids:
                try:
                    await fs.FetchStatus(AFSFid(volume_id, 1, 1))
                except Abort as refusal:
                    if refusal.code in range(100, 112):
                        raise

        await gatherResults([ensureDeferred(attach()) for _ in range(CALLERS)])

    async def _move(self, source: str, target: str) -> VolOperation:
        order = VolPartitionOrder(self.cell.uuid, PartitionRequest(uuid4()))
        begun = await self.cell.volser(source).MovePartition(order, PartitionServer(self.cell.servers[target]))
        return await self.cell.ended(source, begun)

    async def _read_idle(self) -> tuple[float, str]:
        """By the client that does nothing else: (seconds, content)."""
        command = (sys.executable, "-I", STALLS, "read", f"{self._directory}/idle")
        found = json.loads((await self._node("cc").run(*command, seconds=100)).check().out)
        return found["seconds"], found["content"]

    def _node(self, name: str) -> Node:
        return self.cell.network.nodes[name]


async def stock_moves(count: int) -> list[float]:
    """Between two stock fileservers, of one volume in which a FUSE client works: the longest stall of each move."""
    network = Network()
    try:
        key = os.urandom(32)
        one, two = (add_node(network, name, key=key) for name in ("fs1", "fs2"))
        start_database(one)
        start_fileserver(one)
        start_fileserver(two)

        def vos(*words: str, stdin: str = "") -> Any:
            return one.run_now("vos", *words, "-localauth", stdin=stdin)

        create_world_writable(vos, one, "fs1", VOLUME)
        fuse = FuseClient(add_node(network, "cb"))
        fuse.start()
        worker = Worker(fuse.node, f"{fuse.volume(VOLUME)}/work")
        moves = []
        for number in range(count):
            source, target = ("fs1", "fs2") if number % 2 == 0 else ("fs2", "fs1")
            await _pause(SETTLE_SECONDS)
            began = time.monotonic()
            (await one.run("vos", "move", VOLUME, source, "a", target, "a", "-localauth")).check()
            moves.append((began, time.monotonic()))
            await _pause(16.0)  # the sleep of a client that was told VBUSY is 15 s
        gaps = await worker.stop()
        print(f"stock: vos move took {[round(end - begin, 2) for begin, end in moves]} s")
        return [_longest([gap[:2] for gap in gaps], move) for move in moves]
    finally:
        network.close()


def _longest(spans: list[tuple[float, float]], move: tuple[float, float]) -> float:
    """Of those that were under way during the move or soon after."""
    begin, end = move[0], move[1] + SETTLE_SECONDS
    return max((b - a for a, b in spans if b > begin and a < end), default=0.0)


def _next(spans: list[tuple[float, float]], moment: float) -> float:
    """When the first span ends that ends after that moment."""
    return min((b for _, b in spans if b > moment), default=float("inf"))


def _need_no_errors(errors: list[str]) -> None:
    if errors:
        raise SystemExit(f"clients met errors: {errors[:5]}")


def _tell_steps(operation: VolOperation) -> None:
    begun = operation.steps[0].at
    print(*(f"{each.step}@{each.at - begun}" for each in operation.steps), "ms", flush=True)


async def _pause(seconds: float) -> None:
    clock: Any = reactor
    await deferLater(clock, seconds)
