"""What tests of the engine are made of: two real endpoints and a network, or one endpoint and hand-made packets."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rx.call import Call
from rx.constants import PacketType
from rx.endpoint import Endpoint
from rx.events import CallArrived, Event
from rx.limits import Limits
from rx.packet import unpack_header
from rx.peer import Address
from tests.support.craft import data
from tests.support.pair import CLIENT, SERVER, Network, Pair

SERVICE = 1
STRANGER: Address = ("10.9.9.9", 9999)


class PairCase(SynchronousTestCase):
    """A Pair with one service and one connection, and a record of every packet sent."""

    network = Network()
    client_limits: Limits | None = None
    server_limits: Limits | None = None
    offer: dict[str, float | bool | None] = {}
    connect: dict[str, float | None] = {}

    def setUp(self) -> None:
        self.pair = Pair(1, self.network, self.client_limits, self.server_limits)
        self.pair.server.offer(SERVICE, **self.offer)  # type: ignore[arg-type]
        self.connection = self.pair.client.connect(SERVER, SERVICE, **self.connect)  # type: ignore[arg-type]
        self.log: list[tuple[str, str, int]] = []  # who, packet type, seq
        self.wire: list[tuple[str, bytes]] = []
        self.pair.tap = self.note

    def note(self, now: float, source: tuple[str, int], to: tuple[str, int], datagram: bytes) -> None:
        who = "client" if source == CLIENT else "server"
        fields = unpack_header(datagram)
        self.log.append((who, PacketType(fields[5]).name, fields[3]))
        self.wire.append((who, datagram))

    def call(self, request: bytes = b"hello") -> Call:
        """A call whose request is written and on the way."""
        call = self.connection.call(self.pair.now)
        assert call is not None
        call.write(request)
        call.end_writing()
        return call

    def finish(self, call: Call, seconds: float = 600.0) -> Exception | None:
        """Run until the call has ended; how."""
        outcomes = self.pair.client_application.outcomes
        self.assertTrue(self.pair.run(lambda: call in outcomes, seconds), "the call did not end in time")
        return outcomes[call]

    def reply(self, call: Call) -> bytes:
        return bytes(self.pair.client_application.replies[call])

    def nothing_left(self, seconds: float = 600.0) -> None:
        """No call, no buffered byte and no unfinished business remain."""
        pair = self.pair
        self.assertTrue(pair.run(lambda: pair.server.server_calls == 0, seconds), "server calls left over")
        pair.run(seconds=seconds)
        self.assertEqual((pair.server.buffered_bytes, pair.client.buffered_bytes), (0, 0))
        self.assertFalse(any(each.active for each in pair.client.client_connections))
        self.assertFalse(any(each.active for each in pair.server.server_connections))

    def silence_server(self) -> None:
        """From now on the server's application does nothing."""
        self.arrived: list[Call] = []
        self.server_events: list[Event] = []

        def application(event: Event) -> None:
            self.server_events.append(event)
            if isinstance(event, CallArrived):
                self.arrived.append(event.call)

        self.pair.on_server = application


class DirectCase(SynchronousTestCase):
    """One server endpoint, fed by hand."""

    limits = Limits()

    def setUp(self) -> None:
        self.server = Endpoint(Random(1), self.limits)
        self.server.offer(1)
        self.now = 100.0

    def give(self, *packets: bytes, source: Address = CLIENT) -> list[bytes]:
        """Deliver packets together; what the server sends back at once."""
        self.server.receive_datagrams([(packet, source) for packet in packets], self.now)
        return self.sent()

    def sent(self) -> list[bytes]:
        runs = self.server.datagrams_to_send(self.now)
        self.addresses = [run.address for run in runs for _ in run.payloads]
        return [payload for run in runs for payload in run.payloads]

    def types(self, packets: list[bytes]) -> list[str]:
        return [PacketType(packet[20]).name for packet in packets]

    def arrive(self, body: bytes = b"request", **fields: Any) -> CallArrived:
        """A whole small call arrives."""
        self.give(data(body, **fields))
        (event,) = self.server.events()
        assert isinstance(event, CallArrived)
        return event
