"""rx.client: connections, their channels, timeouts and ends."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from rx.constants import RxCode
from rx.errors import Abort, CallLost
from rx.streams import Buffer
from tests.rx.example import REFUSED, Example, pattern
from tests.rx.ports import Ports

ABORT = 4


class Endless:
    """A source that does not end by itself."""

    length = None
    given = 0

    async def read(self, size: int, /) -> bytes:
        self.given += size
        assert self.given < 100_000_000
        return bytes(size)


class Calls(SynchronousTestCase):
    """Calls over one connection."""

    def setUp(self) -> None:
        self.ports = Ports()
        self.addCleanup(self.ports.stop)
        self.connection = self.ports.connect()
        self.example = Example.client(self.connection)

    def aborts(self, wire: int = 0) -> list[int]:
        """The codes of the ABORT packets that left."""
        return [
            int.from_bytes(each[28:32], "big", signed=True) for each in self.ports.wires[wire].sent if each[20] == ABORT
        ]

    def wait(self, count: int) -> list[Deferred[int]]:
        return [self.ports.begin(self.example.Wait(number)) for number in range(count)]

    def began(self) -> list[int]:
        return [tag for what, tag in self.ports.instance.seen]

    def test_four_at_a_time(self) -> None:
        """Four calls run at a time; the others follow in the order they were made, each when a channel is free."""
        calls = self.wait(9)
        self.assertEqual(self.began(), [0, 1, 2, 3])
        for ended, expected in ((2, 4), (0, 5), (4, 6), (1, 7), (3, 8)):
            self.ports.instance.waiting[ended].callback(ended * 10)
            self.ports.pump()
            self.assertEqual(self.began()[-1], expected)
            self.assertEqual(self.successResultOf(calls[ended]), ended * 10)
        for tag in (5, 6, 7, 8):
            self.ports.instance.waiting[tag].callback(tag)
        self.ports.pump()
        self.assertEqual([self.successResultOf(each) for each in calls[5:]], [5, 6, 7, 8])

    def test_refusal(self) -> None:
        """A refused call raises Abort with the server's code, whatever it is, and the connection stays good."""
        for code in (1, -455, 101, 49733, -2147483648, 2147483647):
            with self.assertRaises(Abort) as caught:
                self.ports.run(self.example.Refuse(code))
            self.assertEqual(caught.exception.code, code)
        self.assertEqual(self.ports.run(self.example.Add(1)), 2)

    def test_refused_in_the_stream(self) -> None:
        """A call refused in the middle of its stream raises Abort; what came before has reached the sink."""
        sink = Buffer()
        with self.assertRaises(Abort) as caught:
            self.ports.run(self.example.FetchThenRefuse(2_000_000, sink))
        self.assertEqual(caught.exception.code, REFUSED)
        self.assertEqual(sink.length, 2_000_000)
        self.assertTrue(0 < len(sink) <= 1_000_000 and pattern(2_000_000).startswith(bytes(sink)))

    def test_timeout(self) -> None:
        """A call that takes longer than it may ends in CallLost(RX_CALL_TIMEOUT), and the server is told."""
        hasty = Example.client(self.connection, timeout=3.0)
        call = self.ports.begin(hasty.Wait(1))
        self.ports.advance(2.9)
        self.assertNoResult(call)
        self.ports.advance(0.2)
        self.assertEqual(self.failureResultOf(call, CallLost).value.code, RxCode.RX_CALL_TIMEOUT)
        self.assertEqual(self.aborts(), [RxCode.RX_USER_ABORT])
        self.assertEqual(self.ports.run(hasty.Add(1)), 2)

    def test_timeout_while_waiting_for_a_channel(self) -> None:
        """The time for a call runs while it waits for a channel; it is then never sent."""
        self.wait(4)
        call = self.ports.begin(Example.client(self.connection, timeout=3.0).Wait(99))
        self.ports.advance(3.1)
        self.failureResultOf(call, CallLost)
        for tag in range(4):
            self.ports.instance.waiting[tag].callback(0)
        self.ports.pump()
        self.assertNotIn(99, self.began())

    def test_hard_seconds(self) -> None:
        """A connection's hard limit bounds each of its calls."""
        call = self.ports.begin(Example.client(self.ports.connect(hard_seconds=2.0)).Wait(1))
        self.ports.advance(2.1)
        self.assertEqual(self.failureResultOf(call, CallLost).value.code, RxCode.RX_CALL_TIMEOUT)

    def test_cancel(self) -> None:
        """Cancelling a call aborts it with RX_USER_ABORT and frees its channel; one that waits for a channel just
        goes.
        """
        calls = self.wait(6)
        calls[4].cancel()
        self.failureResultOf(calls[4], CancelledError)
        self.ports.pump()
        self.assertEqual(self.aborts(), [])
        calls[1].cancel()
        self.failureResultOf(calls[1], CancelledError)
        self.ports.pump()
        self.assertEqual(self.aborts(), [RxCode.RX_USER_ABORT])
        self.assertEqual(self.began(), [0, 1, 2, 3, 5])

    def test_sink_fails(self) -> None:
        """When the caller's own sink raises, the call is aborted and the caller gets what the sink raised."""
        with self.assertRaises(ValueError):
            self.ports.run(self.example.Fetch(1_000_000, Buffer(limit=1000)))
        self.ports.pump()
        self.assertEqual(self.aborts(), [RxCode.RX_USER_ABORT])
        self.assertEqual(self.ports.run(self.example.Add(1)), 2)

    def test_answered_early(self) -> None:
        """A server may answer, or refuse, before it has heard the stream to its end: the client stops sending."""
        for code in (0, REFUSED):
            source = Endless()
            call = self.ports.begin(self.example.Glance(code, source))
            self.ports.advance(1.0)
            if code:
                self.assertEqual(self.failureResultOf(call, Abort).value.code, REFUSED)
            else:
                self.assertLessEqual(self.successResultOf(call), 1000)
            self.assertLess(source.given, 10_000_000)

    def test_peer_vanishes(self) -> None:
        """A server that falls silent in mid-call raises CallLost(RX_CALL_DEAD) after the dead time."""
        call = self.ports.begin(Example.client(self.ports.connect(dead_seconds=8.0)).Wait(1))
        for wire in self.ports.wires:
            wire.cut = True
        self.ports.advance(7.0)
        self.assertNoResult(call)
        self.ports.advance(10.0)
        self.assertEqual(self.failureResultOf(call, CallLost).value.code, RxCode.RX_CALL_DEAD)

    def test_long_call_is_kept_alive(self) -> None:
        """A call may take any time while the server answers pings."""
        call = self.ports.begin(self.example.Wait(1))
        self.ports.advance(600.0, step=0.5)
        self.assertNoResult(call)
        self.ports.instance.waiting[1].callback(3)
        self.ports.pump()
        self.assertEqual(self.successResultOf(call), 3)

    def test_unknown_service(self) -> None:
        """A service that is not offered raises Abort(RX_INVALID_OPERATION)."""
        stranger: Any = self.ports.client.connect(self.ports.server.address, 1234)
        with self.assertRaises(Abort) as caught:
            self.ports.run(Example.client(stranger).Add(1))
        self.assertEqual(caught.exception.code, RxCode.RX_INVALID_OPERATION)

    def test_close(self) -> None:
        """Closing ends the calls that run and those that wait, and later ones raise at once."""
        calls = self.wait(6)
        self.connection.close()
        for call in calls:
            self.failureResultOf(call, CallLost)
        with self.assertRaises(CallLost):
            self.ports.run(self.example.Add(1))

    def test_lost_packets(self) -> None:
        """A request that was lost is sent again."""
        self.ports.wires[0].cut = True
        call = self.ports.begin(self.example.Add(1))
        self.ports.wires[0].cut = False
        self.ports.advance(5.0)
        self.assertEqual(self.successResultOf(call), 2)
