"""A network of UDP between simulated processes, and the reactor that an RxPort needs there.

It delays, reorders, doubles and loses datagrams; but of those from one host to another never two in a row, so that
nobody who can be reached is ever silent for long. Who is cut off hears nothing, or is not heard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from rx.peer import Address
from rx.udp import Datagram
from tests.simulation.ownership import world as machines
from tests.simulation.ownership.world import Process, World

FIRST_DESCRIPTOR = 1000

SOON_SECONDS = 0.03
"""One way: a question, its answer and a retransmission stay within fileserver.partitions.inherited.HOLD_SECONDS."""


@dataclass
class Conditions:
    """What happens to datagrams: probabilities for each, seconds of delay."""

    loss: float = 0.0
    duplication: float = 0.0
    latency: float = 0.0002
    jitter: float = 0.0


class Network:
    """Every bound socket by its address."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.conditions = Conditions()
        self.sockets: dict[Address, Socket] = {}
        self.descriptors: dict[int, Socket] = {}
        self.numbers = count(FIRST_DESCRIPTOR)
        self.sent = 0
        self._deaf: dict[str, float] = {}
        self._mute: dict[str, float] = {}
        self._lost: set[tuple[str, str]] = set()

    def bind(self, address: Address, report: object = None) -> Socket:
        """As `rx.udp.UdpSocket`, of the process that runs."""
        if address in self.sockets:
            raise OSError(98, "Address already in use")
        socket = Socket(self, address, self.world.process)
        self.sockets[address] = self.descriptors[socket.number] = socket
        return socket

    def cut(self, host: str, until: float, *, hears: bool = False, speaks: bool = False) -> None:
        """Until then a host does not hear the others, unless it `hears`, nor they it, unless it `speaks`."""
        if not hears:
            self._deaf[host] = until
        if not speaks:
            self._mute[host] = until

    def cut_since(self, host: str, since: float) -> bool:
        """Whether it was cut off at any time since then."""
        return max(self._deaf.get(host, -1.0), self._mute.get(host, -1.0)) >= since

    @property
    def poor(self) -> bool:
        """An answer may take longer than those wait who hold others up meanwhile."""
        return self.conditions.loss > 0 or self.conditions.latency + self.conditions.jitter > SOON_SECONDS

    def heal(self) -> None:
        """Everybody hears everybody, and nothing is lost any more."""
        for cuts in (self._deaf, self._mute):
            for host in cuts:
                cuts[host] = min(cuts[host], self.world.now)
        self.conditions = Conditions()

    def send(self, source: Address, to: Address, payload: bytes) -> None:
        """Put a datagram on its way, or not."""
        self.sent += 1
        conditions, random = self.conditions, self.world.random
        way = source[0], to[0]
        if self._mute.get(way[0], 0.0) > self.world.now or self._deaf.get(way[1], 0.0) > self.world.now:
            return
        if conditions.loss and way not in self._lost and random.random() < conditions.loss:
            self._lost.add(way)
            return
        self._lost.discard(way)
        for _ in range(2 if conditions.duplication and random.random() < conditions.duplication else 1):
            seconds = conditions.latency + (random.random() * conditions.jitter if conditions.jitter else 0.0)
            self.world.after(seconds, self._arrive, source, to, payload)

    def _arrive(self, source: Address, to: Address, payload: bytes) -> None:
        socket = self.sockets.get(to)
        if socket is not None and socket.process.alive and self._deaf.get(to[0], 0.0) <= self.world.now:
            socket.take(payload, source)


class Socket:
    """A `rx.udp.DatagramPort`. One of a process that was killed takes nothing."""

    sends_batches = receives_batches = True

    def __init__(self, network: Network, address: Address, process: Process) -> None:
        self.address = address
        self.process = process
        self.number = next(network.numbers)
        self.reader: Any = None
        self._network = network
        self._inbox: list[Datagram] = []
        self._called = False

    def fileno(self) -> int:
        return self.number

    def local(self, peer: Address) -> Address:
        return self.address

    def take(self, payload: bytes, source: Address) -> None:
        """A datagram has come."""
        self._inbox.append((payload, source))
        if not self._called and self.reader is not None:
            self._called = True
            self.process.post(self._read)

    def _read(self) -> None:
        self._called = False
        if self.reader is not None and self._inbox:
            self.reader.doRead()

    def receive(self, limit: int) -> list[Datagram]:
        batch, self._inbox = self._inbox, []
        return batch

    def send(self, address: Address, segment_size: int, payloads: Sequence[bytes]) -> int:
        for payload in payloads:
            self._network.send(self.address, address, bytes(payload))
        return len(payloads)

    def close(self) -> None:
        self.reader = None
        if self._network.sockets.get(self.address) is self:
            del self._network.sockets[self.address]
        self._network.descriptors.pop(self.number, None)


class Later:
    """A delayed call of a process, which can be put off as `rx.transport` does."""

    def __init__(self, process: Process, seconds: float, what: Callable[[], object]) -> None:
        self._process = process
        self._what: Callable[[], object] | None = what
        self._version = 0
        self.reset(seconds)

    def reset(self, seconds: float) -> None:
        """It is made in so many seconds by the machine's clock."""
        self._version += 1
        process = self._process
        process.world.after(seconds / process.machine.rate, process.post, self._call, self._version)

    def _call(self, version: int) -> None:
        if version == self._version and self._what is not None:
            what, self._what = self._what, None
            what()

    def active(self) -> bool:
        return self._what is not None

    def cancel(self) -> None:
        self._what = None


class Reactor(machines.Reactor):
    """With sockets, and calls that can be put off."""

    def __init__(self, process: Process, network: Network) -> None:
        super().__init__(process)
        self._network = network

    def callLater(self, seconds: float, function: Callable[..., object], *arguments: Any, **named: Any) -> Any:
        return Later(self.process, seconds, lambda: function(*arguments, **named))

    def addReader(self, reader: Any) -> None:
        self._network.descriptors[reader.fileno()].reader = reader

    def removeReader(self, reader: Any) -> None:
        socket = self._network.descriptors.get(reader.fileno())
        if socket is not None:
            socket.reader = None

    def addWriter(self, writer: Any) -> None:
        raise AssertionError("there is always room to send")

    def removeWriter(self, writer: Any) -> None:
        """None was added."""
