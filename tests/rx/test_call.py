"""Calls between two real endpoints: how they run, wait and end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rx.call import Call
from rx.constants import AckReason, CallState, Flag, PacketType, RxCode
from rx.errors import Abort, CallLost, ProtocolViolation
from rx.events import CallArrived, CallCompleted, Event
from rx.limits import Limits
from rx.packet import abort_body, unpack_ack, unpack_header
from tests.support.craft import craft
from tests.support.pair import CLIENT, SERVER, Network, Pair

SERVICE = 1


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


class ExchangeTests(PairCase):
    """Calls that go well."""

    def test_small_call(self) -> None:
        """Three packets make a small call: request, reply, acknowledgement."""
        call = self.call()
        self.assertIsNone(self.finish(call))
        self.assertEqual(self.reply(call), b"hello")
        self.pair.run(lambda: self.pair.server.server_calls == 0)
        self.assertEqual(self.log, [("client", "DATA", 1), ("server", "DATA", 1), ("client", "ACK", 0)])
        self.nothing_left()

    def test_empty_call(self) -> None:
        """Neither end need say anything."""
        call = self.call(b"")
        self.assertIsNone(self.finish(call))
        self.assertEqual(self.reply(call), b"")

    def test_four_channels(self) -> None:
        """A connection carries four calls at a time, the fifth must wait, and numbers rise per channel."""
        calls = [self.call(bytes([65 + index])) for index in range(4)]
        self.assertEqual([(call.channel, call.number) for call in calls], [(0, 1), (1, 1), (2, 1), (3, 1)])
        self.assertIsNone(self.connection.call(self.pair.now))
        for call in calls:
            self.assertIsNone(self.finish(call))
        self.assertEqual([self.reply(call) for call in calls], [b"A", b"B", b"C", b"D"])
        self.assertEqual(self.call().number, 2)

    def test_next_call_is_the_acknowledgement(self) -> None:
        """The client's next call on a channel ends the server's wait for the last one's acknowledgement."""
        first = self.call()
        self.pair.drop = lambda to, datagram: to == SERVER and datagram[20] == PacketType.ACK
        self.assertIsNone(self.finish(first))
        self.assertEqual(self.pair.server.server_calls, 1)
        second = self.call()
        self.assertIsNone(self.finish(second))
        self.assertEqual(self.pair.server_application.outcomes[next(iter(self.pair.server_application.outcomes))], None)
        self.assertEqual(self.pair.server.server_calls, 1)

    def test_lost_final_acknowledgement(self) -> None:
        """When its last acknowledgement is lost the client acknowledges the repeated reply."""
        lost: list[bytes] = []

        def drop(to: tuple[str, int], datagram: bytes) -> bool:
            if to == SERVER and datagram[20] == PacketType.ACK and not lost:
                lost.append(datagram)
                return True
            return False

        self.pair.drop = drop
        call = self.call()
        self.assertIsNone(self.finish(call))
        self.nothing_left()
        self.assertEqual([kind for who, kind, _ in self.log if who == "server"], ["DATA", "DATA"])

    def test_long_call(self) -> None:
        """A megabyte there and back on a clean path needs few acknowledgements and no retransmission."""
        data = self.pair.random.randbytes(1 << 20)
        call = self.call(data)
        self.assertIsNone(self.finish(call))
        self.assertEqual(self.reply(call), data)
        packets = sum(1 for _, kind, _ in self.log if kind == "DATA")
        self.assertEqual(packets, 2 * -(-len(data) // 1416))
        self.nothing_left()

    def test_user_status(self) -> None:
        """The application's status byte goes out with its packets and is seen at the other end."""
        self.silence_server()
        call = self.call()
        self.pair.run(lambda: bool(self.arrived))
        server_call = self.arrived[0]
        server_call.user_status = 1
        server_call.write(b"x")
        server_call.end_writing()
        self.finish(call)
        self.assertEqual(call.peer_status, 1)
        self.assertTrue(all(datagram[22] == 1 for who, datagram in self.wire if who == "server"))

    def test_delayed_acknowledgement(self) -> None:
        """A request nobody answers yet is acknowledged softly after 100 ms, and is not sent again."""
        self.silence_server()
        self.call()
        self.pair.run(seconds=1.5)
        self.assertEqual(self.log[:2], [("client", "DATA", 1), ("server", "ACK", 0)])
        self.assertEqual(unpack_ack(self.wire[1][1], 28)[5], AckReason.DELAY)
        self.assertEqual(sum(1 for _, kind, _ in self.log if kind == "DATA"), 1)


class BackPressureTests(PairCase):
    """Nobody buffers without bound."""

    client_limits = server_limits = Limits(window=16)

    def test_reader_that_does_not_read(self) -> None:
        """A reader that stops reading stops the sender after one window, keepalives go on, and reading resumes it."""
        self.silence_server()
        call = self.call(bytes(200_000))
        self.pair.run(seconds=100)
        server_call = self.arrived[0]
        self.assertEqual(server_call.readable, 16 * 1416)
        self.assertEqual(self.pair.server.buffered_bytes, 16 * 1416)
        self.assertIsNone(call.error)
        got = 0
        while not server_call.at_end:
            got += len(server_call.read())
            self.pair.run(seconds=0.2)
        self.assertEqual(got, 200_000)

    def test_writer_is_told(self) -> None:
        """`writable` falls to zero once the buffer is full, and Writable comes when it has drained by half."""
        self.silence_server()
        call = self.connection.call(self.pair.now)
        assert call is not None
        while call.writable:
            call.write(bytes(10_000))
        limit = Limits().send_buffer
        self.assertLess(call.sender.pending.size, limit + 10_000)
        events: list[Event] = []
        self.pair.on_client = events.append
        self.pair.run(seconds=5)
        self.assertEqual(events, [])
        server_call = self.arrived[0]
        while not events:
            server_call.read()
            self.assertTrue(self.pair.step())
        self.assertLessEqual(call.sender.pending.size, limit // 2)
        self.assertGreater(call.writable, 0)


class NarrowWindowTests(PairCase):
    """A server whose window is smaller than the first burst."""

    server_limits = Limits(window=3)

    def test_lost_abort_behind_a_full_window(self) -> None:
        """A client that may send nothing more still pings, and so learns of an abort that was lost."""
        self.silence_server()
        call = self.call(bytes(50_000))
        self.pair.run(lambda: bool(self.arrived))
        self.pair.run(seconds=1)
        self.pair.drop = lambda to, datagram: to == CLIENT and datagram[20] == PacketType.ABORT
        self.arrived[0].abort(101)
        self.pair.run(seconds=0.1)
        self.pair.drop = lambda to, datagram: False
        outcome = self.finish(call, 5.0)
        self.assertEqual(outcome and outcome.code, 101)  # type: ignore[attr-defined]


class EndTests(PairCase):
    """Every way a call can end, and that it ends once."""

    connect = {"dead_seconds": 12.0}

    def test_server_aborts(self) -> None:
        """A refusal reaches the client with its code, and the server is rid of the call at once."""
        self.silence_server()
        call = self.call()
        self.pair.run(lambda: bool(self.arrived))
        self.arrived[0].abort(101)
        self.arrived[0].abort(102)
        outcome = self.finish(call)
        self.assertIsInstance(outcome, Abort)
        self.assertEqual(call.error and call.error.code, 101)
        self.nothing_left()
        self.assertEqual([type(event) for event in self.server_events], [CallArrived, CallCompleted])

    def test_lost_abort_is_repeated(self) -> None:
        """When the abort is lost, the client's next packet brings another."""
        self.silence_server()
        call = self.call()
        self.pair.run(lambda: bool(self.arrived))
        self.pair.drop = lambda to, datagram: to == CLIENT and datagram[20] == PacketType.ABORT
        self.arrived[0].abort(101)
        self.pair.run(seconds=0.1)
        self.pair.drop = lambda to, datagram: False
        outcome = self.finish(call)
        self.assertEqual(outcome and outcome.code, 101)  # type: ignore[attr-defined]

    def test_client_aborts(self) -> None:
        """The server learns of a client's abort; writing to the call then raises it."""
        self.silence_server()
        call = self.call()
        self.pair.run(lambda: bool(self.arrived))
        call.abort(RxCode.RX_USER_ABORT)
        self.pair.run(lambda: self.pair.server.server_calls == 0, 5)
        completed = self.server_events[-1]
        assert isinstance(completed, CallCompleted)
        assert completed.error is not None
        self.assertEqual(completed.error.code, RxCode.RX_USER_ABORT)
        self.assertRaises(Abort, self.arrived[0].write, b"late")
        self.assertRaises(Abort, self.arrived[0].read)
        self.nothing_left()

    def test_no_server(self) -> None:
        """A server that never answers costs the dead time, not more, and the error says the outcome is unknown."""
        self.pair.drop = lambda to, datagram: True
        call = self.call()
        begun = self.pair.now
        outcome = self.finish(call)
        self.assertIsInstance(outcome, CallLost)
        self.assertEqual(call.error and call.error.code, RxCode.RX_CALL_DEAD)
        self.assertLess(self.pair.now - begun, 13)
        self.assertGreaterEqual(self.pair.now - begun, 12)

    def test_server_dies_while_working(self) -> None:
        """Keepalives notice that a server that had taken the call is gone."""
        self.silence_server()
        call = self.call()
        self.pair.run(seconds=100)
        self.assertIsNone(call.error)
        self.pair.drop = lambda to, datagram: True
        begun = self.pair.now
        self.assertIsInstance(self.finish(call), CallLost)
        self.assertLess(self.pair.now - begun, 15)

    def test_client_dies(self) -> None:
        """A server gives up a call whose client is gone, whether it was working or waiting for more of the request."""
        self.silence_server()
        self.call()
        unfinished = self.connection.call(self.pair.now)
        assert unfinished is not None
        unfinished.write(bytes(5000))
        self.pair.run(lambda: len(self.arrived) == 2)
        self.pair.drop = lambda to, datagram: True
        self.pair.run(lambda: self.pair.server.server_calls == 0, 60)
        ends = [event for event in self.server_events if isinstance(event, CallCompleted)]
        self.assertEqual([event.error and event.error.code for event in ends], [RxCode.RX_CALL_DEAD] * 2)

    def test_idle_client(self) -> None:
        """A client that pings but sends no more of its request is given the idle time, then refused."""
        self.silence_server()
        unfinished = self.connection.call(self.pair.now)
        assert unfinished is not None
        unfinished.write(bytes(5000))
        self.pair.run(lambda: bool(self.arrived))
        self.arrived[0].read()
        begun = self.pair.now
        outcome = self.finish(unfinished)
        self.assertEqual(outcome and outcome.code, RxCode.RX_CALL_TIMEOUT)  # type: ignore[attr-defined]
        self.assertGreater(self.pair.now - begun, 55)
        self.assertLess(self.pair.now - begun, 75)

    def test_working_server_is_not_idle(self) -> None:
        """A procedure may take far longer than the idle time."""
        self.silence_server()
        call = self.call()
        self.pair.run(seconds=300)
        self.arrived[0].read()
        self.arrived[0].write(b"at last")
        self.arrived[0].end_writing()
        self.assertIsNone(self.finish(call))
        self.assertEqual(self.reply(call), b"at last")

    def test_client_moves_on(self) -> None:
        """A new call on a channel ends the running one for the server, without a word about it on the wire."""
        self.silence_server()
        call = self.call()
        self.pair.run(lambda: bool(self.arrived))
        newer = craft(PacketType.DATA, b"new", epoch=self.connection.epoch, cid=self.connection.cid, number=2, seq=1)
        self.pair.send(CLIENT, SERVER, newer)
        self.pair.run(lambda: len(self.arrived) == 2)
        self.assertIsInstance(self.arrived[0].error, CallLost)
        self.assertIsNone(self.arrived[1].error)
        self.assertNotIn(("server", "ABORT", 0), self.log)
        self.assertIsNone(call.error)

    def test_broken_protocol(self) -> None:
        """Data beyond the last packet ends the call with RX_PROTOCOL_ERROR at both ends."""
        self.silence_server()
        call = self.call()
        self.pair.run(lambda: bool(self.arrived))
        beyond = craft(PacketType.DATA, b"!", epoch=self.connection.epoch, cid=self.connection.cid, number=1, seq=2)
        self.pair.send(CLIENT, SERVER, beyond)
        outcome = self.finish(call)
        self.assertEqual(outcome and outcome.code, RxCode.RX_PROTOCOL_ERROR)  # type: ignore[attr-defined]
        self.assertIsInstance(self.arrived[0].error, ProtocolViolation)

    def test_abort_of_zero(self) -> None:
        """An abort that claims success is an error all the same."""
        call = self.call()
        zero = craft(
            PacketType.ABORT, abort_body(0), epoch=self.connection.epoch, cid=self.connection.cid, number=1, flags=0
        )
        self.pair.drop = lambda to, datagram: to == SERVER
        self.pair.send(SERVER, CLIENT, zero)
        outcome = self.finish(call)
        self.assertEqual(outcome and outcome.code, RxCode.RX_PROTOCOL_ERROR)  # type: ignore[attr-defined]

    def test_closed_connection(self) -> None:
        """Closing a connection ends its calls and takes no more."""
        call = self.call()
        self.pair.client.close(self.connection)
        outcome = self.finish(call)
        self.assertEqual(outcome and outcome.code, RxCode.RX_USER_ABORT)  # type: ignore[attr-defined]
        self.assertRaises(CallLost, self.connection.call, self.pair.now)
        self.assertEqual(list(self.pair.client.client_connections), [])
        self.assertEqual(list(self.pair.client.peers), [])


class HardLimitTests(PairCase):
    """A limit on the whole call."""

    connect = {"hard_seconds": 30.0}

    def test_hard_limit(self) -> None:
        """However alive the server, the call ends at its limit and the server is told."""
        self.silence_server()
        call = self.call()
        begun = self.pair.now
        outcome = self.finish(call)
        self.assertEqual(outcome and outcome.code, RxCode.RX_CALL_TIMEOUT)  # type: ignore[attr-defined]
        self.assertAlmostEqual(self.pair.now - begun, 30, delta=0.1)
        self.nothing_left()


class ReachTests(PairCase):
    """Services that run a call only for clients they can reach (stock's fileserver)."""

    offer = {"check_reach": True}

    def test_first_call_waits_for_the_answer(self) -> None:
        """The first call of a client runs after one ping was answered; later ones run at once."""
        call = self.call()
        self.assertIsNone(self.finish(call))
        kinds = [(who, kind) for who, kind, _ in self.log][:4]
        self.assertEqual(kinds, [("client", "DATA"), ("server", "ACK"), ("client", "ACK"), ("server", "DATA")])
        self.assertEqual(unpack_ack(self.wire[1][1], 28)[5], AckReason.PING)
        self.assertEqual(unpack_ack(self.wire[2][1], 28)[5], AckReason.PING_RESPONSE)
        self.pair.run(lambda: self.pair.server.server_calls == 0)
        before = len(self.log)
        self.assertIsNone(self.finish(self.call()))
        self.assertEqual([kind for _, kind, _ in self.log[before:]][:2], ["DATA", "DATA"])

    def test_unreachable_client(self) -> None:
        """A client that cannot be reached never gets its call run, however often it sends it."""
        self.pair.drop = lambda to, datagram: to == CLIENT
        self.silence_server()
        self.finish(self.call())
        self.assertEqual(self.server_events, [])
        self.nothing_left()

    def test_ping_is_repeated(self) -> None:
        """A lost ping costs two seconds, not the call."""
        lost: list[bytes] = []

        def drop(to: tuple[str, int], datagram: bytes) -> bool:
            if to == CLIENT and not lost:
                lost.append(datagram)
                return True
            return False

        self.pair.drop = drop
        begun = self.pair.now
        self.assertIsNone(self.finish(self.call()))
        self.assertLess(self.pair.now - begun, 2.5)


class BusyTests(PairCase):
    """A server with no room."""

    server_limits = Limits(server_calls=1)

    def test_busy_until_there_is_room(self) -> None:
        """A call the server cannot take is answered BUSY, retried, and runs once there is room."""
        self.silence_server()
        first, second = self.call(b"1"), self.call(b"2")
        self.pair.run(seconds=3)
        self.assertEqual(len(self.arrived), 1)
        self.assertIn(("server", "BUSY", 0), self.log)
        self.arrived[0].end_writing()
        self.assertIsNone(self.finish(first))
        self.pair.run(lambda: len(self.arrived) == 2, 20)
        self.arrived[1].end_writing()
        self.assertIsNone(self.finish(second))

    def test_busy_channel_is_avoided(self) -> None:
        """After BUSY on a channel the client prefers the others."""
        self.silence_server()
        self.call(b"1")
        second = self.call(b"2")
        self.pair.run(seconds=1.5)
        self.assertIn(("server", "BUSY", 0), self.log)
        second.abort(RxCode.RX_USER_ABORT)
        third = self.connection.call(self.pair.now)
        assert third is not None
        self.assertNotEqual(third.channel, second.channel)

    def test_busy_for_ever(self) -> None:
        """A server that stays busy costs a minute, not eternity."""
        self.silence_server()
        self.call(b"1")
        second = self.call(b"2")
        begun = self.pair.now
        self.assertIsInstance(self.finish(second), CallLost)
        self.assertLess(self.pair.now - begun, 90)


class StateTests(PairCase):
    """What rxdebug sees."""

    def test_states_of_a_server_call(self) -> None:
        """A call is ACTIVE while it runs, HOLD while its answer is unacknowledged, then gone."""
        self.silence_server()
        self.pair.drop = lambda to, datagram: to == SERVER and datagram[20] == PacketType.ACK
        self.call()
        self.pair.run(lambda: bool(self.arrived))
        server_call = self.arrived[0]
        self.assertEqual(server_call.state, CallState.ACTIVE)
        server_call.end_writing()
        self.pair.run(seconds=0.01)
        self.assertEqual(server_call.state, CallState.HOLD)
        self.pair.drop = lambda to, datagram: False
        self.nothing_left()
        self.assertEqual(server_call.state, CallState.DALLY)

    def test_ping_flags(self) -> None:
        """A keepalive is an ACK that asks for an acknowledgement; its answer does not."""
        self.silence_server()
        self.call()
        self.pair.run(seconds=10)
        pings = [datagram for _, datagram in self.wire if datagram[20] == 2 and unpack_ack(datagram, 28)[5] == 6]
        answers = [datagram for _, datagram in self.wire if datagram[20] == 2 and unpack_ack(datagram, 28)[5] == 7]
        self.assertGreaterEqual(len(pings), 3)
        self.assertEqual(len(answers), len(pings))
        self.assertTrue(all(datagram[21] & Flag.REQUEST_ACK for datagram in pings))
        self.assertFalse(any(datagram[21] & Flag.REQUEST_ACK for datagram in answers))
