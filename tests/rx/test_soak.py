"""Mixed calls over a network that loses one datagram in twenty, an hour of them in a soak and a minute otherwise: all
ends where it began.
"""

from __future__ import annotations

import contextlib  # by name: trial takes a module's own `suppress` for something else
import gc
import os
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from rx.errors import Abort, CallLost
from rx.limits import Limits
from rx.peer import Address
from rx.server import Server as RxServer
from rx.streams import Buffer, BytesSource
from rx.taps import Tap, Through
from rx.transport import RxPort
from rx.udp import Datagram, DatagramPort
from tests.rx.example import REFUSED, Example, Server, pattern
from tests.support.budget import budget

LOSS = 0.05
CALLERS = 12
DEAD_SECONDS = 6.0
"""After which either end gives the other up: more than eighteen pings, of which one in ten fails."""

IDLE_SECONDS = 4.0
"""After which both ends of the test forget connections: an hour has many generations of them."""

FORGET_SECONDS = 20.0
"""By when all must be forgotten: a call whose abort was lost is given up after 6 s, its connection 4 s later."""

WARM = 0.2
"""Part of the time until what is kept on purpose (caches, compiled codecs, freed arenas) is there."""

OBJECTS = 5000
"""Python objects there may be more at the end: far fewer than one a call, far more than what the test itself keeps."""

MEMORY = 16 << 20
"""Bytes the process may have grown by: what the allocator keeps of four streams at a time."""

SIZES = (0, 1, 1000, 20_000, 300_000)


class Losing(Through):
    """A socket that loses some of what it receives."""

    def __init__(self, port: DatagramPort, random: Random) -> None:
        super().__init__(port)
        self._random = random

    def receive(self, limit: int) -> list[Datagram]:
        return [each for each in self.port.receive(limit) if self._random.random() >= LOSS]


class LossyTap(Tap):
    """Makes every port lossy."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def wrap(self, port: DatagramPort, readable: Callable[[], None]) -> DatagramPort:
        return Losing(port, self._random)


def memory() -> int:
    """Bytes the process occupies."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def measured() -> tuple[int, int, int]:
    """Descriptors, Python objects and bytes there are now."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), len(gc.get_objects()), memory()


class SoakTests(TestCase):
    """Real sockets and the real clock."""

    spent = budget("rx.soak.minutes", full=60)
    seconds = 60 * spent.count
    timeout = 2 * seconds + 4 * FORGET_SECONDS

    def setUp(self) -> None:
        self.random = Random(self.spent.seed)
        limits = Limits(connection_idle_seconds=IDLE_SECONDS)
        tap = LossyTap(self.random)
        self.server, self.client = (RxPort(reactor, "127.0.0.1", limits=limits, tap=tap) for _ in range(2))
        for port in (self.server, self.client):
            port.start()
            self.addCleanup(lambda port: Deferred.fromCoroutine(port.stop(0.0)), port)
        RxServer(self.server).add(Example, Server, dead_seconds=DEAD_SECONDS)
        self.counts: dict[str, int] = {}

    async def mix(self, until: float) -> None:
        """Calls of every kind, on connections that come and go."""
        random = self.random
        while self.client.now() < until:
            connection = self.client.connect(self.address, Example.service_id, dead_seconds=DEAD_SECONDS)
            example: Any = Example.client(connection)
            for _ in range(random.randrange(1, 8)):
                kind = random.choice((self.add, self.fetch, self.store, self.refused, self.cancelled))
                try:
                    await kind(example)
                except CallLost as problem:  # so long a silence has one chance in 10 ** 18
                    self.fail(f"seed {self.spent.seed}: {problem}")
                self.counts[kind.__name__] = self.counts.get(kind.__name__, 0) + 1
            connection.close()

    @property
    def address(self) -> Address:
        return self.server.address

    async def add(self, example: Any) -> None:
        self.assertEqual(await example.Add(20, 22), 42)

    async def fetch(self, example: Any) -> None:
        size, sink = self.random.choice(SIZES), Buffer()
        self.assertEqual(await example.Fetch(size, sink), size)
        self.assertTrue(bytes(sink) == pattern(size))

    async def store(self, example: Any) -> None:
        size = self.random.choice(SIZES)
        self.assertEqual(await example.Store(b"name", BytesSource(pattern(size))), size)

    async def refused(self, example: Any) -> None:
        try:
            await example.FetchThenRefuse(self.random.choice(SIZES), Buffer())
        except Abort as refusal:
            self.assertEqual(refusal.code, REFUSED)
        else:
            self.fail("not refused")

    async def cancelled(self, example: Any) -> None:
        call = Deferred.fromCoroutine(example.Fetch(SIZES[-1], Buffer()))
        await deferLater(reactor, self.random.random() * 0.01, call.cancel)
        with contextlib.suppress(CancelledError):
            await call

    async def work(self, seconds: float) -> None:
        """Callers for so long, then until both ends have forgotten everything."""
        until = self.client.now() + seconds
        await gatherResults([Deferred.fromCoroutine(self.mix(until)) for _ in range(CALLERS)])
        until = self.client.now() + FORGET_SECONDS
        while any(self.server.endpoint.peers) and self.client.now() < until:
            await deferLater(reactor, IDLE_SECONDS / 4, lambda: None)

    async def test_nothing_grows(self) -> None:
        """Descriptors, connections, calls, buffered bytes, objects and memory are at the end what they were before."""
        await self.work(self.seconds * WARM)
        descriptors, objects, size = measured()
        await self.work(self.seconds * (1 - WARM))
        after = measured()
        for port in (self.server, self.client):
            endpoint = port.endpoint
            self.assertEqual(list(endpoint.server_connections), [])
            self.assertEqual(list(endpoint.client_connections), [])
            self.assertEqual(list(endpoint.peers), [])
            self.assertEqual((endpoint.server_calls, endpoint.buffered_bytes), (0, 0))
        self.assertEqual(after[0], descriptors)
        self.assertLess(after[1], objects + OBJECTS, self.counts)
        self.assertLess(after[2], size + MEMORY, self.counts)
        self.assertGreater(min(self.counts.values()), self.seconds // 5)
