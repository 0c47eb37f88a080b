"""Aborts: said again when they were lost, and late when the same was said too often."""

from __future__ import annotations

from rx.constants import PacketType, RxgenCode
from rx.errors import Abort
from rx.limits import Limits
from rx.packet import abort_code, unpack_header
from rx.timers import ABORT_DELAY_SECONDS
from tests.rx.cases import DirectCase
from tests.support.craft import ack_body, craft, data

THRESHOLD = 10
REFUSED = 13


class RateTests(DirectCase):
    """A client that repeats what is refused."""

    limits = Limits(abort_threshold=THRESHOLD)

    def refuse(self, number: int, code: int = REFUSED, cid: int = 0x100) -> list[bytes]:
        """One call, refused; what leaves at once."""
        self.server.events()
        self.arrive(number=number, cid=cid).call.abort(code)
        return self.sent()

    def wait(self, seconds: float) -> list[bytes]:
        self.now += seconds
        self.server.handle_timeout(self.now)
        return self.sent()

    def row(self, count: int = THRESHOLD) -> None:
        """As many equal aborts as leave at once."""
        for number in range(1, count + 1):
            self.assertEqual(self.types(self.refuse(number)), ["ABORT"])

    def test_late(self) -> None:
        """After ten equal aborts in a row the next leaves three seconds later, once, and so does the one after it."""
        self.row()
        for number in (11, 12):
            self.assertEqual(self.refuse(number), [])
            self.assertEqual(self.wait(ABORT_DELAY_SECONDS - 0.01), [])
            (late,) = self.wait(0.02)
            self.assertEqual((abort_code(late), unpack_header(late)[2]), (REFUSED, number))
            self.assertEqual(self.wait(10), [])

    def test_impatient(self) -> None:
        """Repeating the call meanwhile neither hastens the abort nor multiplies it."""
        self.row()
        self.refuse(11)
        for _ in range(20):
            self.assertEqual(self.give(data(b"request", number=11)), [])
            self.assertEqual(self.wait(ABORT_DELAY_SECONDS / 21), [])
        self.assertEqual(len(self.wait(1.0)), 1)

    def test_next_call(self) -> None:
        """When the client has gone on to another call, only that one's abort is sent."""
        self.row()
        self.refuse(11)
        self.wait(1.0)
        self.refuse(12)
        self.assertEqual([unpack_header(each)[2] for each in self.wait(ABORT_DELAY_SECONDS + 0.01)], [12])

    def test_repeated_aborts_count(self) -> None:
        """An abort sent again because it was lost counts too."""
        self.refuse(1)
        for _ in range(THRESHOLD - 1):
            self.assertEqual(self.types(self.give(data(b"request"))), ["ABORT"])
        self.assertEqual(self.give(data(b"request")), [])

    def test_another_code(self) -> None:
        """Another code, another channel and another connection are counted apart."""
        self.row()
        self.assertEqual(len(self.refuse(11, REFUSED + 1)), 1)
        self.assertEqual(len(self.refuse(12, REFUSED)), 1)
        self.assertEqual(len(self.refuse(1, cid=0x101)), 1)
        self.assertEqual(len(self.refuse(1, cid=0x200)), 1)

    def test_success(self) -> None:
        """A call that goes well ends the row."""
        self.row()
        self.server.events()
        call = self.arrive(number=11).call
        call.end_writing()
        self.sent()
        self.give(craft(PacketType.ACK, ack_body(2, previous=1), number=11, serial=5))
        self.assertIsNone(call.error)
        self.server.events()
        self.assertEqual(len(self.refuse(12)), 1)

    def test_unknown_opcode(self) -> None:
        """To ask for an opcode that is not there is no misbehaviour: that leaves at once however often."""
        for number in range(1, 3 * THRESHOLD):
            self.assertEqual(len(self.refuse(number, RxgenCode.RXGEN_OPCODE)), 1)

    def test_dead_connection(self) -> None:
        """A dead connection says so ten times, then every three seconds, however much the client sends."""
        call = self.arrive().call
        call.connection.fail(Abort(5), self.now)
        self.assertEqual(len(self.sent()), 1)
        answers = self.give(*[data(b"more", number=2)] * 100)
        self.assertEqual(len(answers), THRESHOLD - 1)
        self.assertEqual(len(self.wait(ABORT_DELAY_SECONDS + 0.01)), 1)
        self.assertEqual(self.give(data(b"more", number=2)), [])


class NoRateTests(DirectCase):
    """A server without such a limit, as stock's are but for the fileserver."""

    def test_at_once(self) -> None:
        """Every abort leaves at once."""
        for number in range(1, 100):
            self.arrive(number=number).call.abort(REFUSED)
            self.assertEqual(len(self.sent()), 1)
            self.server.events()
