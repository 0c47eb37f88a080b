"""rx.taps.faults: what rules do to packets and calls of a real server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from rx.constants import HEADER_SIZE, RxCode
from rx.errors import Abort, CallLost
from rx.peer import Address
from rx.streams import Buffer, BytesSource
from rx.taps import faults
from rx.taps.faults import REORDER_SECONDS, WATCH_SECONDS, Faults
from rx.taps.packets import Names
from rx.taps.rules import Vocabulary
from rx.udp import Datagram
from tests.rx.example import Example, pattern
from tests.rx.ports import Ports
from tests.rx.taps.test_rules import code
from tests.support.craft import data

WORDS = Vocabulary(Names(served=(Example,)), code)
HERE, THERE = ("192.0.2.1", 7000), ("192.0.2.7", 7001)


class Pipe:
    """A DatagramPort of lists."""

    address: Address = HERE

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.arriving: list[Datagram] = []
        self.room = 1 << 30
        self.closed = False

    def fileno(self) -> int:
        return -1

    def receive(self, limit: int) -> list[Datagram]:
        batch, self.arriving = self.arriving[:limit], self.arriving[limit:]
        return batch

    def send(self, address: Address, segment_size: int, payloads: Any) -> int:
        assert all(len(payload) == segment_size for payload in payloads[:-1])
        taken = payloads[: self.room]
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def local(self, peer: Address) -> Address:
        return HERE

    def close(self) -> None:
        self.closed = True


class OnPackets(SynchronousTestCase):
    """The socket alone: datagrams that differ in their sequence number, in and out."""

    def faulty(self, script: str) -> Any:
        path = Path(self.mktemp())
        path.write_text(script)
        self.path, self.clock, self.pipe, self.nudges = path, Clock(), Pipe(), 0
        port = Faults(path, WORDS, self.clock).wrap(self.pipe, self.nudge)
        self.addCleanup(self.close, port)
        return port

    def close(self, port: Any) -> None:
        port.close()
        self.assertTrue(self.pipe.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def nudge(self) -> None:
        self.nudges += 1

    def sent(self, script: str, count: int, then: float = 0.0) -> list[int]:
        """The sequence numbers that leave when 1 to `count` are sent, and so many seconds have passed."""
        self.port = self.faulty(script)
        self.assertEqual(self.port.send(THERE, 40, [packet(seq) for seq in range(1, count + 1)]), count)
        self.clock.advance(then)
        return [seq_of(each) for each in self.pipe.sent]

    def test_drop(self) -> None:
        """A dropped datagram never leaves, and the rest is as it was."""
        self.assertEqual(self.sent("drop nth=2-3", 5), [1, 4, 5])

    def test_duplicate(self) -> None:
        """It leaves as often as the rule says, beside itself."""
        self.assertEqual(self.sent("duplicate nth=2\nduplicate 3 nth=3", 3), [1, 2, 2, 3, 3, 3, 3])

    def test_delay(self) -> None:
        """It leaves when its time has come, not before."""
        self.assertEqual(self.sent("delay 0.5 nth=1", 3, then=0.49), [2, 3])
        self.clock.advance(0.02)
        self.assertEqual([seq_of(each) for each in self.pipe.sent], [2, 3, 1])

    def test_reorder(self) -> None:
        """The next datagram to the same peer overtakes it; with none it goes on after a moment."""
        self.assertEqual(self.sent("reorder nth=1", 3), [2, 1, 3])
        self.assertEqual(self.sent("reorder nth=1", 1), [])
        self.port.send(("192.0.2.8", 7001), 40, [packet(9)])
        self.assertEqual([seq_of(each) for each in self.pipe.sent], [9])
        self.clock.advance(REORDER_SECONDS)
        self.assertEqual([seq_of(each) for each in self.pipe.sent], [9, 1])

    def test_corrupt(self) -> None:
        """One bit is another, in the byte named or in any; of a datagram without that byte none."""
        self.sent(f"corrupt {HEADER_SIZE} nth=1\ncorrupt 4000 nth=2\ncorrupt", 3)
        pairs = [zip(packet(seq), sent, strict=True) for seq, sent in enumerate(self.pipe.sent, 1)]
        changed = [
            [(at, (was ^ now).bit_count()) for at, (was, now) in enumerate(each) if was != now] for each in pairs
        ]
        self.assertEqual(changed[0], [(HEADER_SIZE, 1)])
        self.assertEqual(changed[1], [])
        self.assertEqual([bits for _, bits in changed[2]], [1])

    def test_incoming(self) -> None:
        """The same for what arrives; what is late is announced when it may be read."""
        port = self.faulty("delay 1 direction=in nth=1\nduplicate direction=in nth=2\ndrop direction=out")
        self.pipe.arriving = [(packet(seq), THERE) for seq in (1, 2, 3)]
        self.assertEqual([seq_of(payload) for payload, _ in port.receive(10)], [2, 2, 3])
        self.assertEqual(self.nudges, 0)
        self.clock.advance(1)
        self.assertEqual(self.nudges, 1)
        self.assertEqual(port.receive(10), [(packet(1), THERE)])

    def test_more_than_is_taken_at_a_time(self) -> None:
        """What does not fit into one batch is announced again."""
        port = self.faulty("duplicate direction=in")
        self.pipe.arriving = [(packet(seq), THERE) for seq in (1, 2)]
        self.assertEqual(len(port.receive(3)), 3)
        self.clock.advance(0)
        self.assertEqual(self.nudges, 1)
        self.assertEqual(len(port.receive(3)), 1)

    def test_a_full_socket(self) -> None:
        """While the socket takes nothing, nothing is lost, repeated, overtaken or counted twice."""
        port = self.faulty("drop nth=2")
        self.pipe.room = 1
        self.assertEqual(port.send(THERE, 40, [packet(seq) for seq in (1, 2, 3)]), 3)
        self.assertEqual(port.send(THERE, 40, [packet(4)]), 0)
        self.pipe.room = 10
        self.clock.advance(1)
        self.assertEqual(port.send(THERE, 40, [packet(4)]), 1)
        self.assertEqual([seq_of(each) for each in self.pipe.sent], [1, 3, 4])

    def test_delayed_are_bounded(self) -> None:
        """Datagrams on their way are so many at most; the rest is lost."""
        self.patch(faults, "DELAYED_LIMIT", 20)
        port = self.faulty("delay 100")
        for _ in range(25):
            port.send(THERE, 40, [packet(1)])
        self.clock.advance(100)
        self.assertEqual(len(self.pipe.sent), 20)

    def test_garbage(self) -> None:
        """A datagram without an Rx header passes: rules are about packets."""
        port = self.faulty("drop")
        self.pipe.arriving = [(b"short", THERE), (packet(1), THERE)]
        self.assertEqual(port.receive(10), [(b"short", THERE)])

    def test_runs_pass_whole(self) -> None:
        """Without a rule on packets, runs of datagrams reach the socket as they are."""
        port = self.faulty("answer VBUSY")
        self.assertEqual(port.send(THERE, 40, [packet(1), packet(2)]), 2)
        self.assertEqual(len(self.pipe.sent), 2)

    def test_the_script_changes(self) -> None:
        """Rules that stay keep their counts, new ones begin, and a script in error changes nothing."""
        port = self.faulty("drop nth=2\n")
        port.send(THERE, 40, [packet(1)])
        self.rewrite("duplicate nth=9\ndrop nth=2\n")
        port.send(THERE, 40, [packet(2)])
        port.send(THERE, 40, [packet(3)])
        self.assertEqual([seq_of(each) for each in self.pipe.sent], [1, 3])
        for spoiled in ("drop all of it\n", None):
            self.rewrite(spoiled)
            port.send(THERE, 40, [packet(4)])
        self.assertEqual([seq_of(each) for each in self.pipe.sent], [1, 3, 4, 4])
        self.rewrite("drop\n")
        port.send(THERE, 40, [packet(5)])
        self.assertEqual(len(self.pipe.sent), 4)

    def rewrite(self, script: str | None) -> None:
        if script is None:
            self.path.unlink()
        else:
            self.path.write_text(script)
            stamp = self.path.stat().st_mtime_ns + 1_000_000_000
            os.utime(self.path, ns=(stamp, stamp))
        self.clock.advance(WATCH_SECONDS)


class OnCalls(SynchronousTestCase):
    """A server, and a client that calls it."""

    def serve(self, script: str) -> None:
        self.path = Path(self.mktemp())
        self.path.write_text(script)
        clock: Any = MemoryReactorClock()
        self.faults = Faults(self.path, WORDS, clock)
        self.ports = Ports(tap=self.faults, clock=clock)
        self.addCleanup(self.ports.stop)
        self.example = Example.client(self.ports.connect())

    def code(self, call: Any) -> int:
        refusal: Abort = self.assertRaises(Abort, self.ports.run, call)
        return refusal.code

    def test_answer(self) -> None:
        """The call chosen is answered with the code and never served; the others are served."""
        self.serve("answer VBUSY opcode=Add nth=2\n")
        self.assertEqual(self.ports.run(self.example.Add(1, 1)), 2)
        self.assertEqual(self.ports.run(self.example.Divide(7, 2)), (3, 1))
        served = len(self.ports.calls)
        self.assertEqual(self.code(self.example.Add(1, 1)), 110)
        self.assertEqual(len(self.ports.calls), served)
        self.assertEqual(self.ports.run(self.example.Add(1, 1)), 2)

    def test_answer_before_the_stream(self) -> None:
        """A call whose client streams is answered at once, not when the stream has come."""
        self.serve("answer 42 opcode=Store\n")
        self.assertEqual(self.code(self.example.Store(b"name", BytesSource(pattern(3_000_000)))), 42)

    def test_answer_to_what_is_not_served(self) -> None:
        """An opcode that nobody serves can be given by number."""
        self.serve("answer 42 opcode=13\n")
        self.assertEqual(self.code(self.example.NotServed()), 42)

    def test_hold(self) -> None:
        """A held call is served after its time; the client, which sees a server at work, waits."""
        self.serve("hold 50 opcode=Add\n")
        adding = self.ports.begin(self.example.Add(1, 1))
        self.ports.advance(49.5)
        self.assertNoResult(adding)
        self.assertEqual(self.faults.held, 1)
        self.assertEqual(self.ports.run(self.example.Divide(7, 2)), (3, 1))
        self.ports.advance(1)
        self.assertEqual(self.successResultOf(adding), 2)

    def test_release(self) -> None:
        """A call held without a time goes on when its rule is taken out of the script, or all are released."""
        self.serve("hold opcode=Add\nhold opcode=Divide # for ever\n")
        adding, dividing = self.ports.begin(self.example.Add(1, 1)), self.ports.begin(self.example.Divide(7, 2))
        self.ports.advance(100)
        self.path.write_text("hold opcode=Divide\n")
        self.ports.advance(2 * WATCH_SECONDS)
        self.assertEqual(self.successResultOf(adding), 2)
        self.assertNoResult(dividing)
        self.faults.release()
        self.ports.pump()
        self.assertEqual(self.successResultOf(dividing), (3, 1))

    def test_the_client_gives_up(self) -> None:
        """A held call whose client has gone is let go, and not served."""
        self.serve("hold opcode=Add\n")
        connection = self.ports.connect()
        adding = self.ports.begin(Example.client(connection, timeout=5).Add(1, 1))
        self.ports.advance(6)
        self.failureResultOf(adding, CallLost)
        self.assertEqual(self.faults.held, 0)
        self.assertEqual(self.ports.calls, [])

    def test_stopping(self) -> None:
        """A server that stops lets go of what it holds."""
        self.serve("hold opcode=Add\n")
        adding = self.ports.begin(self.example.Add(1, 1))
        self.ports.run(self.ports.server.stop(deadline_seconds=1))
        self.assertEqual(self.faults.held, 0)
        self.assertEqual(self.failureResultOf(adding, Abort).value.code, RxCode.RX_RESTARTING)

    def test_packets_of_one_rpc(self) -> None:
        """Packet rules find the packets of an RPC by its name, both ways; the call survives them."""
        self.serve(
            "drop direction=out opcode=Fetch type=DATA nth=3-6\n"
            "duplicate direction=in opcode=Fetch\n"
            "reorder direction=out opcode=Fetch type=DATA\n"
            "drop opcode=Divide\n"
        )
        sink = Buffer()
        self.assertEqual(self.ports.run(self.example.Fetch(300_000, sink)), 300_000)
        self.assertTrue(bytes(sink) == pattern(300_000))
        self.assertEqual(self.ports.run(self.example.Add(1, 1)), 2)
        dividing = self.ports.begin(self.example.Divide(7, 2))
        self.ports.advance(30)
        self.failureResultOf(dividing, CallLost)


def packet(seq: int) -> bytes:
    return data(bytes(12), seq=seq)


def seq_of(payload: bytes) -> int:
    return int.from_bytes(payload[12:16], "big")
