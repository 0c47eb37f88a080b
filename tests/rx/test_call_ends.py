"""How calls end, between two real endpoints: refused, given up, timed out, kept waiting."""

from __future__ import annotations

from rx.constants import PacketType, RxCode
from rx.errors import Abort, CallLost, ProtocolViolation
from rx.events import CallArrived, CallCompleted
from rx.limits import Limits
from rx.packet import abort_body
from tests.rx.cases import SERVICE, PairCase
from tests.support.craft import craft
from tests.support.pair import CLIENT, SERVER


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

    def test_began_at_another_server(self) -> None:
        """A call that a server had which is no more: the one that has taken its address ends it soon, whether the
        client still sends its request or only waits for the reply.
        """
        for size in (10, 200_000):
            self.began_elsewhere(size)

    def began_elsewhere(self, size: int) -> None:
        """With a request of that many bytes, some of which the first server has acknowledged."""
        self.setUp()
        self.silence_server()
        call = self.call(bytes(size))
        self.pair.run(lambda: call.sender.first > (1 if size < 1000 else 3))
        self.pair.replace_server().offer(SERVICE)
        began = self.pair.now
        outcome = self.finish(call)
        self.assertIsInstance(outcome, Abort)
        self.assertEqual(call.error and call.error.code, RxCode.RX_MSGSIZE)
        self.assertLess(self.pair.now - began, 15.0)
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
