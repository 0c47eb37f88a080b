"""Taps: what stacks on the socket of an `RxPort`, and on the calls it serves, for people who test AFS clients.

`RxPort(..., tap=Stack([Pcap(...), Faults(...)]))`; the kinds are in the modules beside this one, and
docs/testing-clients.md shows them at work. A server without a tap pays nothing for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rx.peer import Address
from rx.service import Service
from rx.udp import Datagram, DatagramPort

if TYPE_CHECKING:
    from rx.server import ServerCall


class Tap:
    """One tap, for as many ports as a server has. This one does nothing."""

    def wrap(self, port: DatagramPort, readable: Callable[[], None]) -> DatagramPort:
        """A port's socket with the tap on it. Who has datagrams of its own to deliver calls `readable`."""
        return port

    async def admit(self, service: type[Service], call: ServerCall) -> None:
        """See a call before it is served. Raises Abort to answer it instead; takes its time to hold it."""


class Stack(Tap):
    """Several taps as one. What comes from the network meets the first of them first."""

    def __init__(self, taps: Sequence[Tap]) -> None:
        self._taps = taps

    def wrap(self, port: DatagramPort, readable: Callable[[], None]) -> DatagramPort:
        for tap in self._taps:
            port = tap.wrap(port, readable)
        return port

    async def admit(self, service: type[Service], call: ServerCall) -> None:
        for tap in self._taps:
            await tap.admit(service, call)


class Through:
    """A DatagramPort that passes everything on to another."""

    def __init__(self, port: DatagramPort) -> None:
        self.port = port
        self.address: Address = port.address

    def fileno(self) -> int:
        return self.port.fileno()

    def receive(self, limit: int) -> list[Datagram]:
        return self.port.receive(limit)

    def send(self, address: Address, segment_size: int, payloads: Sequence[bytes]) -> int:
        return self.port.send(address, segment_size, payloads)

    def local(self, peer: Address) -> Address:
        return self.port.local(peer)

    def close(self) -> None:
        self.port.close()


class Recorder(Through):
    """A DatagramPort that shows every datagram that passes to `note(incoming, peer, payload)`."""

    def note(self, incoming: bool, peer: Address, payload: bytes) -> None:
        raise NotImplementedError

    def receive(self, limit: int) -> list[Datagram]:
        batch = self.port.receive(limit)
        for payload, peer in batch:
            self.note(True, peer, payload)
        return batch

    def send(self, address: Address, segment_size: int, payloads: Sequence[bytes]) -> int:
        sent = self.port.send(address, segment_size, payloads)
        for payload in payloads[:sent]:
            self.note(False, address, payload)
        return sent
