"""Mutated packets against engines with calls in progress: no exception, limits kept, the honest still served."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rx.call import Call
from rx.connection import Connection
from rx.constants import HEADER_SIZE, PacketType
from rx.endpoint import Endpoint
from rx.events import CallArrived, CallCompleted, Event
from rx.limits import Limits
from rx.packet import pack_header, unpack_header
from tests.support.budget import budget
from tests.support.captures import VECTORS
from tests.support.pair import CLIENT, SERVER, Pair
from tests.support.pcap import datagrams
from tests.support.sealing import INDEX, Sealing

PACKETS_PER_ENGINE = 5000
"""Then a fresh pair: damage that needs a longer history than this is the simulation's business."""

BATCH = 8

WORDS = (0, 1, 2, 3, 15, 16, 27, 255, 256, 257, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)

LIMITS = Limits(
    server_connections=200,
    server_connections_per_host=100,
    server_calls=60,
    server_calls_per_host=40,
    buffered_bytes=300_000,
)


class Fuzzer:
    """Makes packets out of captured ones, most of them aimed at connections that exist."""

    def __init__(self, random: Random, seeds: list[bytes]) -> None:
        self.random = random
        self.seeds = seeds

    def packet(self, connections: list[Connection]) -> bytes:
        random = self.random
        if random.random() < 0.05:
            return random.randbytes(random.randrange(100))
        payload = random.choice(self.seeds)
        fields = list(unpack_header(payload))
        body = payload[HEADER_SIZE:]
        if connections and random.random() < 0.85:
            self.aim(fields, random.choice(connections))
        if random.random() < 0.2:
            fields[5] = random.choice((*range(14), random.randrange(256)))
        for _ in range(random.choice((0, 0, 1, 1, 2, 5))):
            index = random.randrange(11)
            top = (32, 32, 32, 32, 32, 8, 8, 8, 8, 16, 16)[index]
            fields[index] = random.choice((random.choice(WORDS), random.getrandbits(top))) & ((1 << top) - 1)
        return pack_header(*fields) + self.mutate(body)

    def aim(self, fields: list[int], connection: Connection) -> None:
        """Make it a packet of this connection, of a call at or near the present."""
        random = self.random
        channel = random.randrange(4)
        fields[0], fields[1] = connection.epoch, connection.cid | channel
        fields[2] = max(0, connection.numbers[channel] + random.choice((0, 0, 0, 0, 1, -1, 2))) & 0xFFFF_FFFF
        fields[3] = random.choice((fields[3], random.randrange(40), 1, 1, 2))
        fields[6] = fields[6] & 0xFE | (0 if connection.is_client else 1)
        fields[8], fields[10] = connection.wire.security_index, connection.service_id

    def mutate(self, body: bytes) -> bytes:
        random = self.random
        choice = random.random()
        if choice < 0.4:
            return body
        if choice < 0.6:
            return body[: random.randrange(len(body) + 1)]
        changed = bytearray(body + random.randbytes(random.choice((0, 0, 3, 40))))
        for _ in range(random.choice((1, 2, 8))):
            if len(changed) < 4:
                break
            at = random.randrange(len(changed) - 3)
            changed[at : at + 4] = random.choice(WORDS).to_bytes(4, "big")
        return bytes(changed)


class Application:
    """Does anything a legal application may do, at random, to the calls it has."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.calls: dict[Call, None] = {}

    def receive(self, event: Event) -> None:
        random, call = self.random, event.call
        if isinstance(event, CallCompleted):
            self.calls.pop(call, None)
            return
        if isinstance(event, CallArrived):
            self.calls[call] = None
        choice = random.random()
        if call.error is not None:
            return
        if choice < 0.6:
            call.read(random.choice((-1, 1, 100)))
        if call.completed or call.sender.ended:
            return
        if choice < 0.3:
            call.write(bytes(random.choice((1, 1500, 40_000))))
        elif choice < 0.4:
            call.end_writing()
        elif choice < 0.5:
            call.abort(random.randrange(-500, 500))


class FuzzTests(SynchronousTestCase):
    """Ten million packets when soaking."""

    def setUp(self) -> None:
        captured = [each.payload for path in sorted(VECTORS.glob("*.pcap")) for each in datagrams(path)]
        self.seeds = [payload for payload in captured if len(payload) >= HEADER_SIZE and payload[20] in range(1, 14)]

    def test_no_exception(self) -> None:
        """Nothing raises, no limit is passed, and afterwards an honest client is served."""
        spent = budget("rx.fuzz", full=10_000_000, least=50_000)
        random = Random(spent.seed)
        left = spent.count
        while left > 0:
            self.fuzz_one_pair(random, min(left, PACKETS_PER_ENGINE))
            left -= PACKETS_PER_ENGINE

    def fuzz_one_pair(self, random: Random, packets: int) -> None:
        pair = Pair(random.getrandbits(32), None, LIMITS, LIMITS)
        application = Application(random)
        pair.on_client = pair.on_server = application.receive
        pair.server.secure(INDEX, lambda: Sealing(server=True))
        pair.server.offer(1, (0, INDEX), check_reach=random.random() < 0.3)
        pair.server.offer(52)
        fuzzer = Fuzzer(random, self.seeds)
        for _ in range(packets // BATCH):
            if random.random() < 0.05:
                self.begin_call(pair, random)
            victim = random.choice((pair.client, pair.server))
            connections = list(victim.client_connections) + list(victim.server_connections)[-8:]
            source = random.choice((CLIENT, SERVER, (f"10.3.0.{random.randrange(200)}", 7001)))
            batch = [(fuzzer.packet(connections), source) for _ in range(BATCH)]
            victim.receive_datagrams(batch, pair.now)
            pair.flush()
            if random.random() < 0.2:
                pair.run(seconds=random.choice((0.001, 0.1, 3.0)))
            self.check_limits(pair.server)
        self.serve_the_honest(pair)

    def begin_call(self, pair: Pair, random: Random) -> None:
        connections = [each for each in pair.client.client_connections if each.error is None]
        if len(connections) < 4:
            connections.append(pair.client.connect(SERVER, 1, Sealing() if random.random() < 0.3 else None))
        call = random.choice(connections).call(pair.now)
        if call is not None:
            call.write(random.randbytes(random.choice((0, 10, 5000, 50_000))))
            if random.random() < 0.7:
                call.end_writing()
        for each in list(pair.client.client_connections):
            if each.error is not None:
                pair.client.close(each)

    def check_limits(self, server: Endpoint) -> None:
        self.assertLessEqual(len(list(server.server_connections)), LIMITS.server_connections)
        self.assertLessEqual(server.server_calls, LIMITS.server_calls)
        self.assertGreaterEqual(server.buffered_bytes, 0)
        slack = LIMITS.server_calls * 66_000  # one packet a call may come when the limit is just not reached
        self.assertLess(server.buffered_bytes, LIMITS.buffered_bytes + slack)

    def serve_the_honest(self, pair: Pair) -> None:
        """After the storm, once its calls have died, a new connection works at the first try."""
        pair.on_client = pair.client_application.receive
        pair.on_server = lambda event: None
        pair.run(lambda: pair.server.server_calls == 0, 300)
        pair.on_server = pair.server_application.receive
        connection = pair.client.connect(SERVER, 52)
        call = connection.call(pair.now)
        assert call is not None
        call.write(b"still there?")
        call.end_writing()
        outcomes = pair.client_application.outcomes
        self.assertTrue(pair.run(lambda: call in outcomes, 60))
        self.assertIsNone(outcomes[call])
        self.assertEqual(bytes(pair.client_application.replies[call]), b"still there?")

    def test_seeds_cover_the_types(self) -> None:
        """The captured packets it starts from have every type stock programs sent."""
        types = {payload[20] for payload in self.seeds}
        self.assertGreaterEqual(
            types, {int(PacketType[name]) for name in ("DATA", "ACK", "ABORT", "CHALLENGE", "RESPONSE")}
        )
