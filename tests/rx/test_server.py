"""rx.server: what becomes of calls: answered, refused, counted, queued, or given up by their client."""

from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.trial.unittest import SynchronousTestCase

from rx.constants import RxCode, RxgenCode
from rx.errors import Abort, CallLost, RxError
from rx.packet import pack_header
from rx.security.interfaces import ANONYMOUS
from rx.server import Server as RxServer
from rx.service import Procedure
from rx.streams import Buffer
from rx.turns import Turns
from tests.rx.example import Example, Server, pattern
from tests.rx.ports import Ports

ABORT = 4


class Stalling:
    """A sink that takes one piece and then nothing, until let go."""

    def __init__(self) -> None:
        self.taken = 0
        self.go: Deferred[None] = Deferred()

    def announce(self, length: int) -> None: ...

    async def write(self, data: bytes | memoryview, /) -> None:
        self.taken += len(data)
        if not self.go.called:
            await self.go


class Drip:
    """A source that gives its first bytes and then nothing."""

    length = 100

    def __init__(self) -> None:
        self.given = False

    async def read(self, size: int, /) -> bytes:
        if self.given:
            await Deferred()
        self.given = True
        return pattern(2000)


class Serving(SynchronousTestCase):
    """A server and its clients."""

    def setUp(self) -> None:
        self.ports = Ports()
        self.addCleanup(self.ports.stop)
        self.connection = self.ports.connect()
        self.example = Example.client(self.connection)

    def procedure(self, name: str) -> Procedure:
        (offered,) = self.ports.rx_server.services
        (found,) = [each for each in offered.statistics() if each.operation.name == name]
        return found

    def test_call(self) -> None:
        """A factory gets a call that knows its caller, the address called, the opcode and the connection."""
        self.ports.run(self.example.Add(1))
        self.ports.run(self.example.Add(2))
        first, second = self.ports.calls
        self.assertEqual(first.peer, self.ports.client.address)
        self.assertEqual(first.local, self.ports.server.address)
        self.assertEqual(first.opcode, 2)
        self.assertEqual(first.connection.identity, ANONYMOUS)
        self.assertIs(first.connection, second.connection)
        self.assertEqual(len({first.connection: 1, second.connection: 2}), 1)

    def test_many_wait_for_one_lock(self) -> None:
        """Each is woken by the one before, and all are served: they do not stand on each other's stack."""
        lock = DeferredLock()

        class InTurn(Server):
            async def Wait(self, tag: int) -> int:
                async with lock:
                    return tag

        self.ports.instance = InTurn()
        lock.acquire()
        connections = [self.ports.connect() for _ in range(50)]
        calls = [self.ports.begin(Example.client(connections[tag // 4]).Wait(tag)) for tag in range(200)]
        self.assertEqual(len(lock.waiting), 200)
        lock.release()
        self.ports.pump()
        self.assertEqual([self.successResultOf(call) for call in calls], list(range(200)))

    def test_opcode_in_pieces(self) -> None:
        """A request whose opcode comes in two packets is served all the same; one ending before it is RXGEN_DECODE."""
        wire = self.ports.wires[0]
        for number, (first, second) in enumerate([("0000", "00020000000500000006"), ("00", "00")], start=1):
            for seq, (data, flags) in enumerate([(first, 1), (second, 1 | 4)], start=1):
                header = pack_header(1 << 31, 4, number, seq, seq, 1, flags, 0, 0, 0, Example.service_id)
                wire.send(self.ports.server.address, 0, [header + bytes.fromhex(data)])
                self.ports.pump()
        answers = [(each[20], each[28:].hex()) for each in self.ports.wires[1].sent if each[20] != 2]
        self.assertEqual(answers, [(1, "0000000b"), (ABORT, "fffffe3a")])

    def test_user_status(self) -> None:
        """The status byte a procedure sets is on the packets of its answer."""
        waiting = self.ports.begin(self.example.Wait(1))
        self.ports.calls[0].user_status = 1
        self.assertEqual(self.ports.calls[0].user_status, 1)
        self.ports.instance.waiting[1].callback(0)
        self.ports.pump()
        self.successResultOf(waiting)
        data = [each for each in self.ports.wires[1].sent if each[20] == 1]
        self.assertEqual([each[22] for each in data], [1])

    def test_no_deferred_for_a_procedure_that_never_waits(self) -> None:
        """Such a call runs to its reply while its packet is being received."""
        resumed = []
        self.patch(Deferred, "fromCoroutine", classmethod(lambda cls, work: resumed.append(work)))
        call = self.example.Add(1)  # driven by hand: the client's own waiting is not what is meant
        assert not isinstance(call, Deferred)
        awaited: Any = call.send(None)
        self.ports.pump()
        self.assertTrue(awaited.called)
        self.assertEqual(resumed, [])
        call.close()

    def test_defect(self) -> None:
        """An unexpected exception is logged with its traceback, the call is aborted, and the server goes on."""
        with self.assertRaises(Abort) as caught:
            self.ports.run(self.example.Break())
        self.assertEqual(caught.exception.code, RxCode.RX_USER_ABORT)
        (logged,) = self.flushLoggedErrors(LookupError)
        self.assertIn("a defect", logged.getErrorMessage())
        self.assertEqual(self.ports.run(self.example.Add(1)), 2)

    def test_defect_after_waiting(self) -> None:
        """The same when the procedure had waited: the error of what it awaits is its own."""
        waiting = self.ports.begin(self.example.Wait(1))
        self.ports.instance.waiting[1].errback(LookupError("later"))
        self.ports.pump()
        self.assertEqual(self.failureResultOf(waiting, Abort).value.code, RxCode.RX_USER_ABORT)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_refusal_sends_no_data(self) -> None:
        """An aborted call's reply has not one byte of results (OPENAFS-SA-2019-001)."""
        with self.assertRaises(Abort):
            self.ports.run(self.example.Refuse(5))
        with self.assertRaises(Abort) as caught:
            self.ports.run(self.example.Misencoded())
        self.assertEqual(caught.exception.code, RxgenCode.RXGEN_SS_MARSHAL)
        self.assertEqual([each for each in self.ports.wires[1].sent if each[20] == 1], [])

    def test_counters(self) -> None:
        """Calls, errors and time are counted for each operation."""
        for number in range(3):
            self.ports.run(self.example.Add(number))
        with self.assertRaises(Abort):
            self.ports.run(self.example.Refuse(1))
        self.assertEqual((self.procedure("Add").calls, self.procedure("Add").errors), (3, 0))
        self.assertEqual((self.procedure("Refuse").calls, self.procedure("Refuse").errors), (1, 1))
        self.assertGreater(self.procedure("Add").seconds, 0)

    def test_back_pressure(self) -> None:
        """A server that writes faster than its client reads waits, with a bounded number of bytes on the way."""
        sink = Stalling()
        size = 8_000_000
        fetching = self.ports.begin(self.example.Fetch(size, sink))
        sent = sum(len(each) for each in self.ports.wires[1].sent)
        self.assertLess(sent, size // 4)
        sink.go.callback(None)
        self.ports.pump()
        self.ports.advance(1.0)
        self.assertEqual(self.successResultOf(fetching), size)
        self.assertEqual(sink.taken, size)

    def test_client_vanishes_while_it_is_sent_to(self) -> None:
        """A procedure that writes to a client that is gone gets CallLost."""
        fetching = self.ports.begin(self.example.Fetch(8_000_000, Stalling()))
        fetching.addErrback(lambda failure: failure.trap(CallLost))
        for wire in self.ports.wires:
            wire.cut = True
        self.ports.advance(60.0, step=0.5)
        self.assertEqual((self.procedure("Fetch").calls, self.procedure("Fetch").errors), (1, 1))
        self.assertEqual(self.ports.rx_server._turns.running, 0)

    def test_client_vanishes_in_its_stream(self) -> None:
        """A procedure that reads from a client that is gone gets CallLost(RX_CALL_DEAD); one given up by it, the
        abort.
        """
        for ending, code in (("vanish", RxCode.RX_CALL_DEAD), ("cancel", RxCode.RX_USER_ABORT)):
            ports = Ports()
            storing = ports.begin(Example.client(ports.connect()).Store(b"name", Drip()))
            storing.addErrback(lambda failure: None)
            if ending == "cancel":
                storing.cancel()
                ports.pump()
            else:
                for wire in ports.wires:
                    wire.cut = True
                ports.advance(60.0, step=0.5)
            (problem,) = ports.instance.seen
            assert isinstance(problem, RxError)
            self.assertEqual(problem.code, code, ending)
            ports.stop()

    def test_two_services_on_a_port(self) -> None:
        """A port offers any number of services, each with its own procedures."""

        class Other(Example, service_id=78):
            """The same under another id."""

        class OtherServer(Other):
            async def Add(self, left: int, right: int = 1) -> int:
                return left * right

        self.ports.rx_server.add(Other, lambda call: OtherServer())
        other = Other.client(self.ports.client.connect(self.ports.server.address, 78))
        self.assertEqual(self.ports.run(other.Add(6, 7)), 42)
        self.assertEqual(self.ports.run(self.example.Add(6, 7)), 13)

    def test_check_reach(self) -> None:
        """With check_reach a call runs after its client has answered a ping."""
        ports = Ports(check_reach=True)
        self.assertEqual(ports.run(Example.client(ports.connect()).Add(1)), 2)
        kinds = [(each[20], each[20] == 2 and each[28 + 16]) for each in ports.wires[1].sent]
        self.assertEqual(kinds[0], (2, 6))  # an ACK whose reason is PING, before any data
        ports.stop()


class Quotas(SynchronousTestCase):
    """More calls than may run."""

    def setUp(self) -> None:
        self.ports = Ports()
        self.addCleanup(self.ports.stop)
        self.ports.rx_server = RxServer(self.ports.server, Turns(total=3, per_host=2))
        self.ports.rx_server.add(Example, self.ports._make)
        self.example = Example.client(self.ports.connect())

    def began(self) -> list[Any]:
        return [tag for _, tag in self.ports.instance.seen]

    def test_calls_over_the_quota_wait(self) -> None:
        """They start in order as others end, and their clients wait as long as it takes."""
        calls = [self.ports.begin(self.example.Wait(number)) for number in range(4)]
        self.assertEqual(self.began(), [0, 1])
        self.ports.advance(100.0, step=0.5)
        self.ports.instance.waiting[0].callback(7)
        self.ports.pump()
        self.assertEqual(self.successResultOf(calls[0]), 7)
        self.assertEqual(self.began(), [0, 1, 2])
        for tag in (1, 2):
            self.ports.instance.waiting[tag].callback(tag)
        self.ports.pump()
        self.ports.instance.waiting[3].callback(3)
        self.ports.pump()
        self.assertEqual([self.successResultOf(each) for each in calls[1:]], [1, 2, 3])

    def test_given_up_while_waiting(self) -> None:
        """A call that its client gives up while it waits never runs."""
        calls = [self.ports.begin(self.example.Wait(number)) for number in range(3)]
        calls[2].addErrback(lambda failure: None)
        calls[2].cancel()
        self.ports.pump()
        self.assertEqual(self.ports.rx_server._turns.waiting, 0)
        for tag in (0, 1):
            self.ports.instance.waiting[tag].callback(0)
        self.ports.pump()
        self.assertEqual(self.began(), [0, 1])
        self.assertEqual(self.ports.rx_server._turns.running, 0)


class Fetching(SynchronousTestCase):
    """Sizes at the edges of packets."""

    def test_sizes(self) -> None:
        """Streams of every size around a packet's and a window's arrive whole."""
        ports = Ports()
        example = Example.client(ports.connect())
        for size in (0, 1, 1407, 1408, 1411, 1412, 1413, 1415, 1416, 1417, 2832, 1416 * 32, 1416 * 255 + 3):
            sink = Buffer()
            self.assertEqual(ports.run(example.Fetch(size, sink)), size)
            self.assertTrue(bytes(sink) == pattern(size), size)
            sink = Buffer()
            self.assertIsNone(ports.run(example.Dump(size, sink)))
            self.assertTrue(bytes(sink) == pattern(size), size)
        ports.stop()


_serves: type[Example] = Server
