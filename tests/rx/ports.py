"""Two RxPorts on loopback whose reactor is a clock: nothing happens but in `pump`, no time passes but in
`advance`.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from rx.peer import Address
from rx.server import Server as RxServer
from rx.taps import Stack, Tap
from rx.transport import RxPort
from rx.udp import Datagram, DatagramPort
from tests.rx.example import Example, Server

T = TypeVar("T")

STEPS = 20_000
"""Turns of a pump before a test counts as stuck: a few times what the longest stream here takes."""


class Wire:
    """A tap: counts what leaves, and may lose it, or refuse it as a full socket does."""

    def __init__(self, socket: DatagramPort) -> None:
        self.socket = socket
        self.address = socket.address
        self.cut = False
        self.full = 0
        """How many sends to refuse from now on."""
        self.sent: list[bytes] = []

    def fileno(self) -> int:
        return self.socket.fileno()

    def receive(self, limit: int) -> list[Datagram]:
        return self.socket.receive(limit)

    def send(self, address: Address, segment_size: int, payloads: Sequence[bytes]) -> int:
        if self.full:
            self.full -= 1
            return 0
        self.sent += payloads
        return len(payloads) if self.cut else self.socket.send(address, segment_size, payloads)

    def local(self, peer: Address) -> Address:
        return self.socket.local(peer)

    def close(self) -> None:
        self.socket.close()


class Wiring(Tap):
    """Puts a Wire on every port."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []

    def wrap(self, port: DatagramPort, readable: Callable[[], None]) -> Wire:
        self.wires.append(Wire(port))
        return self.wires[-1]


class Ports:
    """A client's port and a server's, the latter with `tap`, serving Example by `self.instance`."""

    def __init__(self, tap: Tap | None = None, clock: Any = None, **terms: Any) -> None:
        self.clock: Any = clock or MemoryReactorClock()
        wiring = Wiring()
        self.wires = wiring.wires
        taps = [wiring, Stack([wiring, tap]) if tap is not None else wiring]
        self.client, self.server = (RxPort(self.clock, "127.0.0.1", tap=each) for each in taps)
        for port in (self.client, self.server):
            port.start()
        self.instance = Server()
        self.calls: list[Any] = []
        self._begun: list[Deferred[Any]] = []
        self.rx_server = RxServer(self.server)
        self.rx_server.add(Example, self._make, **terms)

    def _make(self, call: Any) -> Server:
        self.calls.append(call)
        self.instance.call = call
        return self.instance

    def connect(self, **timeouts: Any) -> Any:
        return self.client.connect(self.server.address, Example.service_id, **timeouts)

    def pump(self) -> None:
        """Let both run until neither has anything to do now."""
        for _ in range(STEPS):
            before = sum(len(wire.sent) + wire.full for wire in self.wires)
            self.clock.advance(0)
            for port in (self.client, self.server):
                if port in self.clock.readers:
                    port.doRead()
                if port in self.clock.writers:
                    port.doWrite()
            if sum(len(wire.sent) + wire.full for wire in self.wires) == before and not self._due():
                return
        raise AssertionError("it does not come to rest")

    def _due(self) -> bool:
        return any(delayed.getTime() <= self.clock.seconds() for delayed in self.clock.getDelayedCalls())

    def advance(self, seconds: float, step: float = 0.05) -> None:
        """Let time pass, pumping as it does."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(step)
            self.pump()

    def begin(self, work: Coroutine[Any, Any, T]) -> "Deferred[T]":
        """Start a coroutine and let it get as far as it can."""
        started = Deferred.fromCoroutine(work)
        self._begun.append(started)
        self.pump()
        return started

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 60.0) -> T:
        """The result of a coroutine; time passes when it waits for time, up to `seconds`."""
        results: list[Any] = []
        self.begin(work).addBoth(results.append)
        end = self.clock.seconds() + seconds
        while not results and self.clock.seconds() < end:
            self.advance(0.05)
        assert results, "no result in time"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        result: T = results[0]
        return result

    def stop(self) -> None:
        """Close both; nothing may be left. Calls that a test has left unfinished are lost now, as they should be."""
        for begun in self._begun:
            begun.addErrback(lambda failure: None)
        for port in (self.client, self.server):
            self.run(port.stop(deadline_seconds=0))
        assert not self.clock.getDelayedCalls(), self.clock.getDelayedCalls()
        assert not self.clock.readers and not self.clock.writers
