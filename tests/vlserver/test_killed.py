"""kill -9 of `twistd afs-vlserver` while clients write: every answered write is there, every other whole or absent."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.error import ConnectionDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from afs.errors import VLError
from afs.rpc.vl import NMAXNSERVERS, VL, nvldbentry
from rx.errors import Abort, CallLost
from rx.transport import RxPort
from tests.support.budget import budget
from tests.vlserver.support import entry

ROOT = str(Path(__file__).parents[2])
PROGRAM = "from twisted.scripts.twistd import run; run()"
CALLERS = 4
VOLUMES = 5
"""Entries that each caller writes, in turn."""
PARTITIONS = 26
"""Partition numbers that writes use: all sites of an entry have the one that its number of writes gives."""


class Vlserver(ProcessProtocol):
    """One life of the server."""

    def __init__(self) -> None:
        self.serving: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.text = ""

    def outReceived(self, data: bytes) -> None:
        self.text += data.decode()
        if "serving VL on" in self.text and not self.serving.called:
            self.serving.callback(None)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        reason.trap(ConnectionDone, ProcessTerminated)
        if not self.serving.called:
            self.serving.errback(RuntimeError(f"the server did not start: {self.text}"))
        self.ended.callback(None)


class KilledTest(TestCase):
    """The command as it is run in life."""

    timeout = 600

    def setUp(self) -> None:
        home = Path(self.mktemp()).absolute()
        config = home / "config"
        config.mkdir(parents=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.number: int = free.getsockname()[1]
        options = ["--noauth", "--config", str(config), "--database", f"sqlite:///{home}/vldb.sqlite"]
        where = ["--address", "127.0.0.1", "--port", str(self.number)]
        self.command = [sys.executable, "-c", PROGRAM, "-n", "--pidfile=", "afs-vlserver", *options, *where]
        self.answered: dict[int, int] = {}
        """Volume id -> number of the last answered write; 0 for one answered to be gone."""
        self.sent: dict[int, int] = {}
        """Volume id -> number of the last write asked for."""

    async def started(self) -> tuple[Vlserver, Any, VL, Any]:
        """A life: its output, its process, a client's calls and how to end them."""
        life = Vlserver()
        process: Any = reactor.spawnProcess(life, sys.executable, self.command, env=os.environ | {"PYTHONPATH": ROOT})
        await life.serving
        any_reactor: Any = reactor
        port = RxPort(any_reactor, "127.0.0.1")
        port.start()
        connection = port.connect(("127.0.0.1", self.number), VL.service_id, dead_seconds=60)
        return life, process, VL.client(connection), (port, connection)

    def written(self, volume_id: int, number: int) -> nvldbentry:
        """The entry that write `number` of a volume makes: 13 sites in one partition number, its flags the same."""
        sites = [(f"10.0.0.{server}", number % PARTITIONS, 4) for server in range(1, NMAXNSERVERS + 1)]
        return entry(b"v%d.%d" % (volume_id, number), (volume_id, 0, 0), sites, flags=0x1000, cloneId=number)

    async def caller(self, vl: VL, first: int, random_: random.Random, stop: Deferred[None], left: list[int]) -> None:
        """Write its volumes until the server is gone."""
        while True:
            volume_id = first + random_.randrange(VOLUMES)
            before = self.answered.get(volume_id, 0)
            gone = before and random_.random() < 0.2
            number = self.sent[volume_id] = 0 if gone else random_.randrange(1, 1 << 31)
            try:
                if gone:
                    await vl.DeleteEntry(volume_id, 0)
                elif before:
                    await vl.ReplaceEntryN(volume_id, 0, self.written(volume_id, number), 0)
                else:
                    await vl.CreateEntryN(self.written(volume_id, number))
            except CallLost:
                return
            self.answered[volume_id] = number
            left[0] -= 1
            if left[0] == 0:
                stop.callback(None)

    async def check(self, vl: VL) -> None:
        """Each volume is as its last answered write left it, or as the one that was not answered would have."""
        for volume_id, number in sorted(self.sent.items()):
            allowed = {self.answered.get(volume_id, 0), number}
            try:
                found = await vl.GetEntryByIDN(volume_id, 0)
            except Abort as refusal:
                self.assertEqual(refusal.code, VLError.VL_NOENT)
                self.assertIn(0, allowed, f"volume {volume_id} is lost: write {allowed}")
                self.answered[volume_id] = 0
                continue
            self.assertIn(found.cloneId, allowed, f"volume {volume_id}")
            self.assertEqual(found, self.written(volume_id, found.cloneId), "half a write")
            self.assertEqual(found, await vl.GetEntryByNameN(found.name))
            self.answered[volume_id] = found.cloneId

    async def test_killed(self) -> None:
        """Again and again at random moments, four clients writing."""
        allowance = budget("vlserver.killed", full=100, least=3)
        random_ = random.Random(allowance.seed)
        for _ in range(allowance.count):
            life, process, vl, (port, connection) = await self.started()
            try:
                await self.check(vl)
                stop: Deferred[None] = Deferred()
                left = [random_.randrange(1, 150)]
                callers = [
                    ensureDeferred(self.caller(vl, 1000 * (number + 1), random_, stop, left))
                    for number in range(CALLERS)
                ]
                running = DeferredList(callers, fireOnOneErrback=True, consumeErrors=True)
                either: list[Deferred[Any]] = [stop, running]
                await DeferredList(either, fireOnOneCallback=True, fireOnOneErrback=True)
                self.assertLessEqual(left[0], 0, life.text)
            finally:
                os.kill(process.pid, signal.SIGKILL)
                await life.ended
                connection.close()
                await port.stop()
            await running
        life, process, vl, (port, connection) = await self.started()
        await self.check(vl)
        await port.stop()
        process.signalProcess("TERM")
        await life.ended
        self.assertNotIn("Traceback", life.text)
