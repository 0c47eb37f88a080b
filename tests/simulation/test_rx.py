"""Rx over networks that lose, double, reorder and delay: whatever happens, bytes arrive intact, every call ends,
nothing is left.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rx.call import Call
from rx.constants import RxCode
from rx.errors import Abort, CallLost
from rx.events import CallArrived, CallCompleted, DataArrived, Event, Writable
from rx.limits import Limits
from tests.support.budget import budget
from tests.support.pair import SERVER, Network, Pair
from tests.support.sealing import INDEX, Sealing

LONGEST_RUN_SECONDS = 1800.0
"""No run takes longer. The slowest are windows of one packet and 100 kB each way at 30 % loss: some 140 round trips,
each failing every second time and then waiting for a retransmission or a ping."""

DEAD_SECONDS = 60.0
"""Long enough that at 30 % loss twenty pings in a row hardly ever fail; once in some thousand runs they do."""

WINDOWS = (1, 2, 3, 7, 16, 32, 100, 255)
SIZES = (0, 1, 100, 1415, 1416, 1417, 2832, 10_000, 100_000)
BAD_LOSS = 0.2
LOSSES = (0.0, 0.0, 0.01, 0.05, 0.1, 0.2, 0.3)


class Talker:
    """An application at either end: writes its bytes as there is room, in odd pieces, and reads in odd pieces."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.unwritten: dict[Call, bytes] = {}
        self.got: dict[Call, bytearray] = {}
        self.outcomes: dict[Call, Exception | None] = {}

    def begin(self, call: Call, data: bytes) -> None:
        """Write `data` to the call, then end writing."""
        self.unwritten[call] = data
        self.got.setdefault(call, bytearray())
        self.write(call)

    def write(self, call: Call) -> None:
        while call.error is None and not call.completed and call in self.unwritten:
            data = self.unwritten[call]
            if not data:
                del self.unwritten[call]
                call.end_writing()
            elif room := call.writable:
                piece = min(room, self.random.choice((1, 1000, 1416, 50_000, len(data))))
                call.write(data[:piece])
                self.unwritten[call] = data[piece:]
            else:
                return

    def read(self, call: Call) -> None:
        while call.error is None and (data := call.read(self.random.choice((1, 1000, 5000, -1)))):
            self.got[call] += data

    def receive(self, event: Event) -> None:
        call = event.call
        if isinstance(event, CallArrived):
            assert call not in self.got, "a call arrived twice"
            self.got[call] = bytearray()
        if isinstance(event, Writable):
            self.write(call)
        else:
            self.read(call)
        if isinstance(event, CallCompleted):
            assert call not in self.outcomes, "a call ended twice"
            self.outcomes[call] = event.error
            self.unwritten.pop(call, None)


class Answerer(Talker):
    """The server: when a request is whole it answers with the request turned round; now and then it refuses."""

    def __init__(self, random: Random, refusals: float) -> None:
        super().__init__(random)
        self.refusals = refusals
        self.refused: set[Call] = set()
        self.answered: set[Call] = set()

    def receive(self, event: Event) -> None:
        super().receive(event)
        call = event.call
        if isinstance(event, CallArrived | DataArrived) and not call.completed and call not in self.answered:
            if self.random.random() < self.refusals:
                self.refused.add(call)
                call.abort(1000 + call.number)
            elif call.at_end:
                self.answered.add(call)
                self.begin(call, bytes(self.got[call][::-1]))


class RxSimulation(SynchronousTestCase):
    """Two engines and what may lie between them."""

    def world(self, seed: int) -> tuple[Pair, Talker, Answerer, Random]:
        """A pair, its applications and what else is random, all from one seed."""
        random = Random(seed)
        network = Network(
            latency=random.choice((0.0001, 0.001, 0.03, 0.2)),
            jitter=random.choice((0.0, 0.001, 0.05)),
            loss=random.choice(LOSSES),
            duplication=random.choice((0.0, 0.05, 0.3)),
            interface_mtu=random.choice((1444, 1444, 520, 4000, 9000, 16384)),
            path_mtu=random.choice((16384, 16384, 1444, 3000, 8192)),
        )
        memory = random.choice((1 << 28, 1 << 28, 100_000))
        limits = Limits(
            buffered_bytes=memory,
            jumbograms=random.random() < 0.3,
            jumbo_packets=random.choice((0, 1, 1, 2, 4, 6, 255)),
        )
        pair = Pair(
            seed,
            network,
            replace(limits, window=random.choice(WINDOWS), send_buffer=random.choice((5000, 256 << 10))),
            replace(limits, window=random.choice(WINDOWS), packet_size=random.choice((16384, 1444, 600))),
        )
        client, server = Talker(random), Answerer(random, random.choice((0.0, 0.0, 0.1)))
        pair.on_client, pair.on_server = client.receive, server.receive
        pair.server.secure(INDEX, lambda: Sealing(server=True))
        pair.server.offer(
            1, (0, INDEX), check_reach=random.random() < 0.3, dead_seconds=DEAD_SECONDS, idle_seconds=None
        )
        return pair, client, server, random

    def converse(self, seed: int) -> None:
        """Some calls over one or two connections, begun as channels become free."""
        pair, client, server, random = self.world(seed)
        connections = [
            pair.client.connect(SERVER, 1, Sealing() if random.random() < 0.3 else None, dead_seconds=DEAD_SECONDS)
            for _ in range(random.choice((1, 2)))
        ]
        requests: dict[Call, bytes] = {}
        waiting = [random.randbytes(random.choice(SIZES)) for _ in range(random.randrange(1, 8))]

        def more() -> bool:
            while waiting and (call := random.choice(connections).call(pair.now)) is not None:
                requests[call] = waiting.pop()
                client.begin(call, requests[call])
            return not waiting and len(client.outcomes) == len(requests)

        self.assertTrue(pair.run(more, LONGEST_RUN_SECONDS), f"seed {seed}: calls still run")
        refused = lost = dead = 0
        for call, request in requests.items():
            outcome = client.outcomes[call]
            if outcome is None:
                self.assertEqual(bytes(client.got[call]), request[::-1], f"seed {seed}")
            else:
                assert isinstance(outcome, Abort | CallLost), f"seed {seed}"
                dead += isinstance(outcome, CallLost)
                refused += outcome.code == 1000 + call.number
                lost += outcome.code == RxCode.RX_MSGSIZE
        self.assertEqual(refused + lost + dead, sum(1 for each in client.outcomes.values() if each), f"seed {seed}")
        self.assertLessEqual(refused, len(server.refused), f"seed {seed}")
        if lost or dead:  # a first packet that never arrives is taken for one that another server had
            self.assertGreaterEqual(pair.network.loss, BAD_LOSS, f"seed {seed}")
        self.nothing_is_left(seed, pair, client, server)

    def nothing_is_left(self, seed: int, pair: Pair, client: Talker, server: Talker) -> None:
        """Every call that arrived has ended, no byte is held, and only deadlines of idleness remain."""
        pair.run(lambda: pair.server.server_calls == 0, 3 * DEAD_SECONDS)
        self.assertEqual(pair.server.server_calls, 0, f"seed {seed}")
        self.assertEqual(set(server.got), set(server.outcomes), f"seed {seed}")
        self.assertEqual((pair.server.buffered_bytes, pair.client.buffered_bytes), (0, 0), f"seed {seed}")
        self.assertEqual((client.unwritten, server.unwritten), ({}, {}), f"seed {seed}")
        pair.run(seconds=2000.0)
        self.assertEqual(list(pair.server.server_connections), [], f"seed {seed}")
        self.assertEqual(list(pair.server.peers), [], f"seed {seed}")

    def test_conversations(self) -> None:
        """Calls of all sizes over networks of all kinds: answered exactly, or refused as the server meant to."""
        spent = budget("rx.simulation", full=10_000, least=200)
        for seed in range(spent.seed, spent.seed + spent.count):
            self.converse(seed)

    def test_partition(self) -> None:
        """When the network goes for good in the middle, both ends give up within the dead time and hold nothing."""
        spent = budget("rx.partition", full=3000, least=60)
        for seed in range(spent.seed, spent.seed + spent.count):
            self.part(seed)

    def part(self, seed: int) -> None:
        """Four calls, and the network goes."""
        pair, client, server, random = self.world(seed)
        connection = pair.client.connect(SERVER, 1, dead_seconds=DEAD_SECONDS)
        calls = []
        while (call := connection.call(pair.now)) is not None:
            client.begin(call, random.randbytes(random.choice(SIZES)))
            calls.append(call)
        pair.run(seconds=random.choice((0.0, 0.01, 0.2, 1.0)))
        pair.drop = lambda to, datagram: True
        begun = pair.now
        self.assertTrue(pair.run(lambda: len(client.outcomes) == len(calls), 200), f"seed {seed}")
        self.assertLess(pair.now - begun, 2 * DEAD_SECONDS, f"seed {seed}")
        self.nothing_is_left(seed, pair, client, server)

    def test_abandoned(self) -> None:
        """Clients that abort calls at random moments leave nothing behind at either end, even when aborts are lost."""
        spent = budget("rx.abandoned", full=3000, least=60)
        for seed in range(spent.seed, spent.seed + spent.count):
            self.abandon(seed)

    def abandon(self, seed: int) -> None:
        """A few calls, most of them aborted somewhere in the middle."""
        pair, client, server, random = self.world(seed)
        connection = pair.client.connect(SERVER, 1, dead_seconds=DEAD_SECONDS)
        for _ in range(6):
            call = connection.call(pair.now)
            if call is None:
                break
            client.begin(call, random.randbytes(random.choice(SIZES)))
            pair.run(seconds=random.choice((0.0, 0.001, 0.3)))
            if random.random() < 0.7:
                call.abort(7)
        pair.run(lambda: not connection.active, LONGEST_RUN_SECONDS)
        self.assertFalse(connection.active, f"seed {seed}")
        self.nothing_is_left(seed, pair, client, server)
