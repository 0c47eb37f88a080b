"""Calls between two real endpoints: how they begin, run and wait."""

from __future__ import annotations

from rx.constants import AckReason, CallState, Flag, PacketType
from rx.events import Event
from rx.limits import Limits
from rx.packet import unpack_ack
from tests.rx.cases import PairCase
from tests.support.pair import CLIENT, SERVER


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
