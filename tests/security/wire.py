"""What tests of advisories need beneath the RPCs: requests of any bytes, datagrams of any bytes, and a look at both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol

from afs.taps import SERVER_NAMES
from rx.constants import HEADER_SIZE, PacketType
from rx.packet import ACK_ACKS
from rx.peer import Address
from rx.taps import Recorder, Tap, Through
from rx.taps.packets import Packet, Reader
from rx.udp import Datagram, DatagramPort
from tests.support.craft import ack_body


class Raw:
    """Stands for an Operation whose request is these bytes, and whose reply is its bytes."""

    name = "Raw"
    stream = None

    def __init__(self, opcode: int, arguments: bytes = b"") -> None:
        self._request = opcode.to_bytes(4, "big") + arguments

    def encode_request(self, arguments: tuple[Any, ...]) -> bytes:
        return self._request

    def decode_reply(self, reply: bytes) -> bytes:
        return reply


def words(*numbers: int) -> bytes:
    """XDR unsigned integers."""
    return b"".join(number.to_bytes(4, "big") for number in numbers)


class Watch(Tap):
    """Keeps every packet that passes the servers' ports."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []

    def wrap(self, port: DatagramPort, readable: Callable[[], None]) -> DatagramPort:
        return _WatchedPort(port, self.packets)

    def sent(self, type_: PacketType, operation: str | None = None) -> list[Packet]:
        """What a server sent of this type in calls to it, of one RPC if told."""
        return [
            packet
            for packet in self.packets
            if packet.served and not packet.incoming and packet.type == type_ and operation in (None, packet.operation)
        ]


class _WatchedPort(Recorder):
    def __init__(self, port: DatagramPort, packets: list[Packet]) -> None:
        super().__init__(port)
        self._packets = packets
        self._reader = Reader(SERVER_NAMES)

    def note(self, incoming: bool, peer: Address, payload: bytes) -> None:
        packet = self._reader.read(incoming, peer, payload)
        assert packet is not None
        self._packets.append(packet)


class Trailers(Tap):
    """Makes every acknowledgement that reaches a server end with `words`, when there are any."""

    words: tuple[int, int, int, int] | None = None
    rewritten = 0
    """How many have been."""

    def wrap(self, port: DatagramPort, readable: Callable[[], None]) -> DatagramPort:
        return _RewrittenPort(port, self)


class _RewrittenPort(Through):
    def __init__(self, port: DatagramPort, trailers: Trailers) -> None:
        super().__init__(port)
        self._trailers = trailers

    def receive(self, limit: int) -> list[Datagram]:
        return [(self._rewritten(payload), peer) for payload, peer in self.port.receive(limit)]

    def _rewritten(self, payload: bytes) -> bytes:
        words = self._trailers.words
        if words is None or len(payload) < ACK_ACKS or payload[20] != PacketType.ACK:
            return payload
        self._trailers.rewritten += 1
        count = payload[HEADER_SIZE + 17]
        return payload[: ACK_ACKS + count] + ack_body(1, words=words)[18:]


class Datagrams(DatagramProtocol):
    """A plain UDP socket: datagrams of any bytes out, and what comes back."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        any_reactor: Any = reactor
        self.received: list[bytes] = []
        self._waiting: Deferred[None] | None = None
        self.listening: Any = any_reactor.listenUDP(0, self, interface=host)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append(datagram)
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    def send(self, payload: bytes, to: Address) -> None:
        """Send one datagram."""
        assert self.transport is not None
        self.transport.write(payload, to)

    async def answer(self) -> bytes:
        """The next datagram that comes, or that has come."""
        while not self.received:
            self._waiting = Deferred()
            await self._waiting
        return self.received.pop(0)
