"""rxkad under the engine: whole calls, both ways, over networks good and bad; and what refused clients cost."""

from __future__ import annotations

from functools import partial
from random import Random
from time import process_time

from twisted.trial.unittest import SynchronousTestCase

from rx.call import Call
from rx.connection import Connection
from rx.constants import NATURAL_MTU, PacketType, RxkadCode
from rx.errors import Abort
from rx.peer import Address
from rx.security.interfaces import Identity
from rx.security.kerberos.ticket import Ticket
from rx.security.rxkad import Level, RxkadClient, RxkadServer
from rx.udp import UdpSocket
from tests.rx.example import Example
from tests.rx.ports import Ports
from tests.support.budget import budget
from tests.support.craft import craft
from tests.support.pair import CLIENT, SERVER, Network, Pair
from tests.support.rxkad import Keys, krb4_token, token

NOW = 1000
"""What Pair's clock shows at first."""

ALICE = Ticket("alice", "", "LAB.TEST", b"\x01sessio\x02", 1, 100_000)


def pair(network: Network | None = None, seed: int = 1) -> Pair:
    """Two ends, the server with keys."""
    made = Pair(seed, network)
    made.server.secure(2, lambda: RxkadServer(Keys(), Random(seed).getrandbits))
    made.server.offer(1, (0, 2))
    return made


def connect(of: Pair, level: Level = Level.CLEAR) -> Connection:
    """A client's connection with alice's ticket."""
    return of.client.connect(SERVER, 1, RxkadClient(token(ALICE), level))


def begin(of: Pair, connection: Connection, request: bytes) -> Call:
    """A call whose request is all queued."""
    call = connection.call(of.now)
    assert call is not None
    call.write(request)
    call.end_writing()
    return call


def note_size(sizes: list[int], when: float, source: Address, to: Address, datagram: bytes) -> None:
    """A tap."""
    sizes.append(len(datagram))


def ended(of: Pair, *calls: Call, seconds: float = 60.0) -> bool:
    """Run until these calls have ended; whether they did."""
    outcomes = of.client_application.outcomes
    return of.run(lambda: all(call in outcomes for call in calls), seconds)


class CallTests(SynchronousTestCase):
    """Calls."""

    def test_every_level(self) -> None:
        """The server's echo comes back whole, and no datagram is larger than the path takes, at every level."""
        for level in Level:
            for size in (0, 1, 1391, 1392, 1400, 1408, 1416, 100_000):
                ends, sizes = pair(), list[int]()
                ends.tap = partial(note_size, sizes)
                connection = connect(ends, level)
                request = Random(size).randbytes(size)
                call = begin(ends, connection, request)
                outcomes = ends.client_application.outcomes
                self.assertTrue(ended(ends, call))
                self.assertIsNone(outcomes[call])
                self.assertEqual(ends.client_application.replies.get(call, b""), request)
                self.assertLessEqual(max(sizes), NATURAL_MTU)
                (server_connection,) = ends.server.server_connections
                self.assertEqual(server_connection.identity, Identity("rxkad", "alice", "", "LAB.TEST"))

    def test_bad_networks(self) -> None:
        """Loss, duplicates and disorder cost time, never bytes, and no packet is refused for them."""
        share = budget("rxkad.networks", full=1000)
        random = Random(share.seed)
        for _ in range(share.count):
            network = Network(0.001, random.random() * 0.01, random.random() * 0.1, random.random() * 0.1)
            ends = pair(network, random.getrandbits(32))
            connection = connect(ends, random.choice(tuple(Level)))
            requests = [random.randbytes(random.choice((0, 10, 5000, 60_000))) for _ in range(3)]
            calls = [begin(ends, connection, request) for request in requests]
            outcomes = ends.client_application.outcomes
            self.assertTrue(ended(ends, *calls, seconds=600))
            for call, request in zip(calls, requests, strict=True):
                self.assertIsNone(outcomes[call])
                self.assertEqual(ends.client_application.replies.get(call, b""), request)

    def test_refused(self) -> None:
        """A client whose ticket is no good is told why, and its call ends with that code."""
        for using, code in (
            (token(ALICE, kvno=9), RxkadCode.RXKADUNKNOWNKEY),
            (token(ALICE, key=bytes(32)), RxkadCode.RXKADBADTICKET),
            (krb4_token(ALICE), RxkadCode.RXKADUNKNOWNKEY),
        ):
            ends = pair()
            call = begin(ends, ends.client.connect(SERVER, 1, RxkadClient(using)), b"request")
            outcomes = ends.client_application.outcomes
            self.assertTrue(ended(ends, call))
            error = outcomes[call]
            assert isinstance(error, Abort)
            self.assertEqual(error.code, code)
            self.assertEqual(ends.server_application.requests, {}, "its data went no further than the engine")
            self.assertEqual(ends.server.buffered_bytes, 0)

    def test_expires_between_calls(self) -> None:
        """When the ticket has run out the connection takes no more calls."""
        ends = pair()
        short = Ticket("alice", "", "LAB.TEST", ALICE.session_key, 1, NOW + 60)
        connection = ends.client.connect(SERVER, 1, RxkadClient(token(short)))
        outcomes = ends.client_application.outcomes
        call = begin(ends, connection, b"in time")
        self.assertTrue(ended(ends, call))
        self.assertIsNone(outcomes[call])
        ends.now += 60
        late = begin(ends, connection, b"too late")
        self.assertTrue(ended(ends, late))
        error = outcomes[late]
        assert isinstance(error, Abort)
        self.assertEqual(error.code, RxkadCode.RXKADEXPIRED)

    def test_recorded_packets(self) -> None:
        """Everything a client sent, sent again to a server that has forgotten it, makes no call there."""
        sent: list[bytes] = []

        def record(when: float, source: Address, to: Address, datagram: bytes) -> None:
            if to == SERVER:
                sent.append(datagram)

        ends = pair(seed=1)
        ends.tap = record
        call = begin(ends, connect(ends), b"once")
        self.assertTrue(ended(ends, call))
        again = pair(seed=2)
        for datagram in sent:
            again.send(CLIENT, SERVER, datagram)
        again.run(seconds=5)
        self.assertEqual(again.server_application.requests, {})


def bad_response() -> bytes:
    """A response whose ticket is sealed with another key than the server's."""
    using = token(ALICE, key=bytes(32))
    return bytes(48) + (213).to_bytes(4, "big") + len(using.ticket).to_bytes(4, "big") + using.ticket


class CostTests(SynchronousTestCase):
    """Refusing."""

    def test_bad_responses_are_cheap(self) -> None:
        """A thousand bad responses a second, each with a ticket to be opened, leave the server half its time at least
        (CVE-2014-2852).
        """
        response = bad_response()
        ends = pair()
        spent = 0.0
        for number in range(1000):
            cid = 4 * (number + 1)
            opening = craft(PacketType.DATA, b"data", cid=cid, number=1, seq=1, security_index=2, spare=7)
            answer = craft(PacketType.RESPONSE, response, cid=cid, number=0, security_index=2)
            began = process_time()
            ends.server.receive_datagrams([(opening, CLIENT), (answer, CLIENT)], ends.now)
            ends.server.datagrams_to_send(ends.now)
            spent += process_time() - began
        self.assertTrue(all(connection.error is not None for connection in ends.server.server_connections))
        self.assertLess(spent, 0.5)

    def test_others_are_answered(self) -> None:
        """While a thousand bad responses come to a port, every call of another client is answered (CVE-2014-2852)."""
        ports = Ports(security_indices=(0,))
        self.addCleanup(ports.stop)
        endpoint, service = ports.server.endpoint, Example.service_id
        endpoint.secure(2, lambda: RxkadServer(Keys(), Random(1).getrandbits))
        endpoint.offer(service, (0, 2))
        response, index = bad_response(), {"security_index": 2, "service_id": service}
        stranger = UdpSocket(("127.0.0.1", 0), lambda what, error: self.fail(f"{what}: {error}"))
        self.addCleanup(stranger.close)
        example = Example.client(ports.connect())
        for number in range(1, 1001):
            opening = craft(PacketType.DATA, b"data", cid=4 * number, number=1, seq=1, spare=7, **index)
            answer = craft(PacketType.RESPONSE, response, cid=4 * number, number=0, **index)
            for datagram in (opening, answer):
                stranger.send(ports.server.address, len(datagram), [datagram])
            if number % 10 == 0:
                self.assertEqual(ports.run(example.Add(number, 1)), number + 1)
        refused = [connection for connection in endpoint.server_connections if connection.error is not None]
        self.assertEqual(len(refused), 1000)
