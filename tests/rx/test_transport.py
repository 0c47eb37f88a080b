"""rx.transport: the port between the engine, the socket and the reactor."""

from collections.abc import Sequence
from itertools import count, repeat

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from rx import transport
from rx.constants import RxCode
from rx.errors import Abort, CallLost
from rx.pace import LOOK_SECONDS, Pace
from rx.peer import Address
from rx.server import Server as RxServer
from rx.streams import Buffer, BytesSource
from rx.transport import RxPort
from rx.udp import Datagram, DatagramPort
from tests.rx.example import Example, Server, pattern
from tests.rx.ports import Ports, Wire

GAPS = 10
"""More short gaps than it takes for another to be expected."""


class OnLoopback(TestCase):
    """The real reactor and real sockets."""

    def port(self) -> RxPort:
        port = RxPort(reactor, "127.0.0.1")
        port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop(0.0)))
        return port

    async def test_calls(self) -> None:
        """Many calls at a time over one connection, and streams both ways beside them, all come out right."""
        server, client = self.port(), self.port()
        RxServer(server).add(Example, Server)
        example = Example.client(client.connect(server.address, Example.service_id))
        sink = Buffer()
        fetching = Deferred.fromCoroutine(example.Fetch64(3_000_000, sink))
        storing = Deferred.fromCoroutine(example.Store(b"name", BytesSource(pattern(2_000_000))))
        sums = await gatherResults([Deferred.fromCoroutine(example.Add(number, 1)) for number in range(200)])
        self.assertEqual(sums, list(range(1, 201)))
        self.assertEqual(await fetching, (1, 2))
        self.assertEqual(await storing, 2_000_000)
        self.assertTrue(bytes(sink) == pattern(3_000_000))

    async def test_both_roles(self) -> None:
        """One port serves and calls at the same time, itself included."""
        port = self.port()
        RxServer(port).add(Example, Server)
        self.assertEqual(await Example.client(port.connect(port.address, Example.service_id)).Add(4, 5), 9)

    async def test_large_arguments_and_results(self) -> None:
        """Arguments and results of a megabyte travel like small ones."""
        server, client = self.port(), self.port()
        RxServer(server).add(Example, Server)
        example = Example.client(client.connect(server.address, Example.service_id))
        names = tuple(b"%d" % number * 8 for number in range(30_000))
        self.assertEqual(await example.Reverse(names), names[::-1])

    def test_port_in_use(self) -> None:
        """A port that is taken raises CannotListenError, which names it."""
        taken = self.port().address
        with self.assertRaisesRegex(CannotListenError, str(taken[1])):
            RxPort(reactor, *taken).start()


def expecting() -> Pace:
    """Expects something soon, and looks twice: each look at its clock takes a third of the time it has."""
    pace = Pace(count(step=LOOK_SECONDS / 3).__next__)
    for _ in range(GAPS):
        pace.came()
        pace.rest()
    return pace


class Turns(SynchronousTestCase):
    """Turns, one at a time."""

    def setUp(self) -> None:
        self.ports = Ports()
        self.addCleanup(self.ports.stop)
        self.connection = self.ports.connect()
        self.example = Example.client(self.connection)

    def test_what_comes_soon_is_taken_without_the_reactor(self) -> None:
        """A port that expects datagrams soon serves a row of calls in one read; not while a procedure waits."""
        for expects, suspended, answered in ((False, 0, 1), (True, 1, 1), (True, 0, 3)):
            self.ports.server._pace = expecting() if expects else Pace()
            self.ports.server.suspended = suspended
            results: list[int] = []
            self.patch(self.ports.wires[1], "receive", self.receive_after_client)
            row = Deferred.fromCoroutine(self.row(results))
            self.ports.clock.advance(0)
            self.ports.server.doRead()
            self.ports.client.doRead()
            self.assertEqual(len(results), answered)
            self.ports.pump()
            self.successResultOf(row)

    async def row(self, results: list[int]) -> None:
        number = 0
        while number < 3:
            number = await self.example.Add(number, 1)
            results.append(number)

    def receive_after_client(self, limit: int) -> list[Datagram]:
        """What came, the client having had its turn first where there was nothing."""
        socket = self.ports.wires[1].socket
        if batch := socket.receive(limit):
            return batch
        self.ports.client.doRead()
        self.ports.clock.advance(0)
        return socket.receive(limit)

    def test_no_answer_waits_for_slow_procedures(self) -> None:
        """Answers of calls that came together leave together, but each before the next if that takes its time."""
        wire = self.ports.wires[1]

        class Noting(Server):
            async def Add(self, left: int, right: int = 1) -> int:
                sent.append(len(wire.sent))
                return left + right

        self.ports.instance = Noting()
        for slow, found in ((False, [0, 0, 0]), (True, [0, 1, 2])):
            clock = count() if slow else repeat(0)
            self.patch(transport, "perf_counter", clock.__next__)
            sent: list[int] = []
            wire.sent.clear()
            calls = [Deferred.fromCoroutine(self.example.Add(number, 1)) for number in range(3)]
            self.ports.pump()
            self.assertEqual([self.successResultOf(call) for call in calls], [1, 2, 3])
            self.assertEqual(sent, found)

    def test_defects_cost_a_batch(self) -> None:
        """An exception in the engine is logged and loses what had come; the port goes on, and the call is answered."""
        sound = self.ports.server._take
        raised: list[int] = []

        def defective(batch: list[Datagram]) -> None:
            if raised:
                sound(batch)
            else:
                raised.append(len(batch))
                raise KeyError("a defect")

        self.patch(self.ports.server, "_take", defective)
        call = Deferred.fromCoroutine(self.example.Add(1, 1))
        self.ports.pump()
        self.assertEqual((raised, len(self.flushLoggedErrors(KeyError))), ([1], 1))
        self.assertNoResult(call)
        self.ports.advance(5)
        self.assertEqual(self.successResultOf(call), 2)

    def test_full_socket(self) -> None:
        """While the socket is full nothing is lost or overtaken, and sending goes on when it is writable."""
        wire = self.ports.wires[1]
        self.ports.run(self.example.Add(1, 1))
        wire.full = 5
        sink = Buffer()
        self.assertEqual(self.ports.run(self.example.Fetch(500_000, sink)), 500_000)
        self.assertTrue(bytes(sink) == pattern(500_000))
        self.assertEqual([peer.packets_resent for peer in self.ports.server.endpoint.peers], [0])

    def test_writes_leave_together(self) -> None:
        """Calls begun in one turn of the reactor leave in one run of datagrams."""
        runs: list[int] = []
        wire = self.ports.wires[0]

        class Counting(Wire):
            def send(self, address: Address, segment_size: int, payloads: Sequence[bytes]) -> int:
                runs.append(len(payloads))
                return super().send(address, segment_size, payloads)

        self.ports.client._socket = Counting(wire)
        done = [Deferred.fromCoroutine(self.example.Add(number)) for number in range(4)]
        self.assertEqual(runs, [])
        self.ports.clock.advance(0)
        self.assertEqual(runs, [4])
        self.ports.pump()
        self.assertEqual([self.successResultOf(each) for each in done], [1, 2, 3, 4])

    def test_tap(self) -> None:
        """A tap sees what leaves."""
        self.ports.run(self.example.Add(1, 1))
        self.assertEqual(self.ports.wires[0].sent[0][20], 1)

    def test_tranquil(self) -> None:
        """A tranquil port refuses new calls with the code, and lets those finish that run."""
        waiting = self.ports.begin(self.example.Wait(1))
        self.ports.server.tranquil(RxCode.RX_RESTARTING)
        with self.assertRaises(Abort) as caught:
            self.ports.run(self.example.Add(1, 1))
        self.assertEqual(caught.exception.code, RxCode.RX_RESTARTING)
        self.ports.instance.waiting[1].callback(5)
        self.ports.pump()
        self.assertEqual(self.successResultOf(waiting), 5)

    def test_stop_waits_for_running_calls(self) -> None:
        """A stopping port answers the calls that run before it closes."""
        waiting = self.ports.begin(self.example.Wait(1))
        stopped = self.ports.begin(self.ports.server.stop(5.0))
        self.assertNoResult(stopped)
        self.ports.instance.waiting[1].callback(5)
        self.ports.pump()
        self.assertEqual(self.successResultOf(waiting), 5)
        self.ports.advance(1.0)
        self.successResultOf(stopped)

    def test_stop_of_a_tranquil_port(self) -> None:
        """A port made tranquil with a code refuses with that code to its end."""
        self.ports.begin(self.example.Wait(1))
        self.ports.server.tranquil(111)
        self.ports.begin(self.ports.server.stop(5.0))
        with self.assertRaises(Abort) as caught:
            self.ports.run(self.example.Add(1))
        self.assertEqual(caught.exception.code, 111)

    def test_stop_deadline(self) -> None:
        """A call that still runs at the deadline is aborted with RX_RESTARTING, and its procedure learns of it."""
        waiting = self.ports.begin(self.example.Wait(1))
        stopped = self.ports.begin(self.ports.server.stop(5.0))
        self.ports.advance(4.9)
        self.assertNoResult(stopped)
        self.ports.advance(0.2)
        self.successResultOf(stopped)
        self.ports.pump()
        self.assertEqual(self.failureResultOf(waiting, Abort).value.code, RxCode.RX_RESTARTING)

    def test_stop_of_an_answered_port(self) -> None:
        """A port whose answer nobody acknowledges closes a second later, not at the deadline."""
        self.ports.begin(self.example.Wait(1))
        self.ports.pump()
        self.ports.wires[0].cut = True
        self.ports.instance.waiting[1].callback(5)
        stopped = self.ports.begin(self.ports.server.stop(5.0))
        self.ports.advance(0.9)
        self.assertNoResult(stopped)
        self.ports.advance(0.2)
        self.successResultOf(stopped)

    def test_stop_ends_client_calls(self) -> None:
        """Our own calls on a port that stops end in CallLost, waiting ones too."""
        waiting = [self.ports.begin(self.example.Wait(number)) for number in range(6)]
        self.ports.run(self.ports.client.stop())
        for each in waiting[:4]:
            self.failureResultOf(each, CallLost)
        self.connection.close()
        for each in waiting[4:]:
            self.failureResultOf(each, CallLost)

    def test_nothing_is_left(self) -> None:
        """After many calls, refused and lost ones too, the port remembers none of them."""
        for number in range(20):
            self.ports.run(self.example.Add(number))
            with self.assertRaises(Abort):
                self.ports.run(self.example.Refuse(9))
        self.ports.begin(self.example.Wait(1)).addErrback(lambda failure: None)
        self.connection.close()
        self.ports.advance(2.0)
        for port in (self.ports.client, self.ports.server):
            self.assertEqual(port.conversations.by_call, {})
            self.assertEqual(port.conversations.arrived, 0)
        self.assertEqual(self.ports.rx_server._turns.running, 1)  # the procedure waits on, for itself
        self.ports.instance.waiting[1].callback(1)
        self.assertEqual(self.ports.rx_server._turns.running, 0)


class Refused(SynchronousTestCase):
    """Taps and sockets that fail."""

    def test_socket_is_closed_with_the_port(self) -> None:
        """Stopping closes the socket: its port can be bound again at once."""
        ports = Ports()
        address = ports.server.address
        ports.stop()
        again = RxPort(ports.clock, *address)
        again.start()
        ports.run(again.stop())

    def test_stop_twice(self) -> None:
        """Stopping a port that is stopped does nothing."""
        ports = Ports()
        ports.stop()
        ports.stop()


_wraps: type[DatagramPort] = Wire
