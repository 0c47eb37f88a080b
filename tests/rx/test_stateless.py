"""Challenges of which the server keeps nothing: who gets one, and that only the right answer in time counts."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import MAX_ACKS, PacketType
from rx.endpoint import Endpoint
from rx.limits import Limits
from rx.packet import abort_code, unpack_header
from rx.peer import Address
from rx.security.interfaces import ISecurity
from rx.security.rxkad import Level
from rx.stateless import PERIOD_SECONDS, Nonces
from rx.timers import CHALLENGE_SECONDS, CHALLENGE_TRIES
from tests.rx.cases import STRANGER, DirectCase, PairCase
from tests.support import rxkad
from tests.support.craft import EPOCH, craft, data
from tests.support.pair import CLIENT, SERVER
from tests.support.sealing import BAD_RESPONSE, INDEX, Sealing

CID = 0x100


class NonceTests(SynchronousTestCase):
    """The nonces alone."""

    def setUp(self) -> None:
        self.nonces = Nonces(Random(1))

    def test_in_time(self) -> None:
        """A nonce is good at once, in the next period, and no longer."""
        for start in (0.0, 7.0, PERIOD_SECONDS - 0.001):
            now = 1000 * PERIOD_SECONDS + start
            nonce = self.nonces.give(CLIENT, EPOCH, CID, now)
            for later, good in ((0.0, True), (PERIOD_SECONDS, True), (2 * PERIOD_SECONDS, False)):
                self.assertEqual(nonce in self.nonces.good(CLIENT, EPOCH, CID, now + later), good, later)

    def test_of_one_connection(self) -> None:
        """No other address, port, epoch or connection has the same, nor another endpoint."""
        nonce = self.nonces.give(CLIENT, EPOCH, CID, 0.0)
        for place in ((STRANGER, EPOCH, CID), ((CLIENT[0], 1), EPOCH, CID), (CLIENT, 1, CID), (CLIENT, EPOCH, CID + 4)):
            self.assertNotIn(nonce, self.nonces.good(*place, 0.0))
        other = Nonces(Random(2))
        other.give(CLIENT, EPOCH, CID, 0.0)
        self.assertNotIn(nonce, other.good(CLIENT, EPOCH, CID, 0.0))

    def test_none_given(self) -> None:
        """Before any was given none is good, and so again when the last is out of date."""
        self.assertEqual(self.nonces.good(CLIENT, EPOCH, CID, 0.0), ())
        self.nonces.give(CLIENT, EPOCH, CID, 0.0)
        self.assertEqual(self.nonces.good(CLIENT, EPOCH, CID, 2 * PERIOD_SECONDS), ())

    def test_shorter_than_memory(self) -> None:
        """A proven connection is remembered for longer than its nonce is good, so no response can be played again."""
        self.assertLessEqual(2 * PERIOD_SECONDS, Limits().eviction_idle_seconds)


class OverloadTests(DirectCase):
    """One server whose allowance of unproven clients is small."""

    limits = Limits(unproven_connections=20, unproven_connections_per_host=3)

    def setUp(self) -> None:
        super().setUp()
        self.server.secure(INDEX, lambda: Sealing(server=True))
        self.server.offer(1, (0, INDEX))

    def begin(self, cid: int = CID, source: Address = CLIENT) -> list[bytes]:
        """A client's first packet."""
        return self.give(data(bytes(100), cid=cid, security_index=INDEX, spare=1), source=source)

    def answer(
        self, challenge: bytes, cid: int = CID, source: Address = CLIENT, word: bytes = b"sesame"
    ) -> list[bytes]:
        body = Sealing(word).respond(challenge[28:], (1, 0, 0, 0))
        response = craft(PacketType.RESPONSE, body, cid=cid, number=0, security_index=INDEX)
        return self.give(response, source=source)

    def fill(self) -> None:
        """As many unproven clients as one host may have."""
        for number in range(3):
            self.begin(0x1000 + 4 * number)

    def connections(self) -> int:
        return len(list(self.server.server_connections))

    def test_flood(self) -> None:
        """Of ten thousand unproven clients of ten hosts twenty are kept; all are challenged."""
        for number in range(10_000):
            (challenge,) = self.begin(4 * number, (f"10.1.1.{number % 10}", 7001))
            self.assertEqual(challenge[20], PacketType.CHALLENGE)
        self.assertEqual(self.connections(), 20)
        self.assertLessEqual(self.server.buffered_bytes, 20 * 128)

    def test_proved(self) -> None:
        """A client challenged so proves itself, and its repeated data runs; its connection is then like any other."""
        self.fill()
        (challenge,) = self.begin()
        self.assertEqual(self.connections(), 3)
        self.assertEqual(self.answer(challenge), [])
        self.assertEqual(self.connections(), 4)
        sealed = Sealing()
        connection = list(self.server.server_connections)[-1]
        assert isinstance(connection.security, Sealing) and connection.security.binding is not None
        sealed.bind(connection.security.binding)
        spare, body = sealed.seal(0, 1, 1, b"again")
        call = self.arrive(body, security_index=INDEX, spare=spare).call
        self.assertEqual(call.read(), b"again")
        self.assertEqual(call.connection.identity.name, "ali")

    def test_wrong_answer(self) -> None:
        """A wrong answer gets the security class's code, and nothing is kept."""
        self.fill()
        (challenge,) = self.begin()
        (refusal,) = self.answer(challenge, word=b"mustard")
        self.assertEqual((refusal[20], abort_code(refusal)), (PacketType.ABORT, BAD_RESPONSE))
        self.assertEqual(self.connections(), 3)

    def test_of_another(self) -> None:
        """The answer to a challenge proves nothing from another address, for another connection, or too late."""
        self.fill()
        (challenge,) = self.begin()
        for refused in (
            self.answer(challenge, source=STRANGER),
            self.answer(challenge, cid=0x200),
        ):
            self.assertEqual([abort_code(each) for each in refused], [BAD_RESPONSE])
        self.now += 2 * PERIOD_SECONDS
        self.assertEqual(self.answer(challenge), [])
        self.assertEqual(self.connections(), 3)

    def test_unasked(self) -> None:
        """A response that nobody asked for is dropped in silence, as a server does that has just started."""
        self.assertEqual(self.answer(b"\0" * 28 + b"who?\0\0\0\0"), [])
        self.assertEqual(self.connections(), 0)

    def test_place_given_back(self) -> None:
        """A client that proved itself, one that failed to, and one given up no longer count."""
        challenges = [self.begin(0x1000 + 4 * number)[0] for number in range(3)]
        self.answer(challenges[0], 0x1000)
        self.answer(challenges[1], 0x1004, word=b"mustard")
        for expected in (4, 5, 5):
            self.begin(0x2000 + 4 * expected)
            self.assertEqual(self.connections(), expected)
            self.begin(0x2000 + 4 * expected)
        for _ in range(CHALLENGE_TRIES + 1):
            self.now += CHALLENGE_SECONDS
            self.server.handle_timeout(self.now)
        self.assertEqual(self.connections(), 0)
        self.assertEqual(self.server.buffered_bytes, 0)
        for number in range(5):
            self.begin(0x3000 + 4 * number)
        self.assertEqual(self.connections(), 3)

    def test_refused_are_forgotten(self) -> None:
        """A connection whose response failed answers with its code for 30 s, however often it is asked, and is then
        forgotten with all that was kept of it; one that is in use stays.
        """
        self.arrive(cid=0x1000).call.abort(1)
        self.sent()
        for number in range(50):
            (challenge,) = self.begin(0x2000 + 4 * number)
            self.answer(challenge, 0x2000 + 4 * number, word=b"mustard")
        self.assertEqual(self.connections(), 51)
        for _ in range(29):
            self.now += 1.0
            self.server.handle_timeout(self.now)
            (refusal,) = self.begin(0x2000)
            self.assertEqual((refusal[20], abort_code(refusal)), (PacketType.ABORT, BAD_RESPONSE))
        self.assertEqual(self.connections(), 51)
        self.now += 1.0
        self.server.handle_timeout(self.now)
        self.assertEqual([connection.cid for connection in self.server.server_connections], [0x1000])
        (challenge,) = self.begin(0x2000)
        self.assertEqual(challenge[20], PacketType.CHALLENGE)

    def test_refused_with_late_aborts(self) -> None:
        """A client whose aborts are delayed does not stay for it."""
        self.server = Endpoint(Random(1), replace(self.limits, abort_threshold=2))
        self.server.secure(INDEX, lambda: Sealing(server=True))
        self.server.offer(1, (0, INDEX))
        (challenge,) = self.begin()
        self.answer(challenge, word=b"mustard")
        for _ in range(60):
            self.now += 0.5
            self.begin()
            self.server.handle_timeout(self.now)
        self.assertEqual(self.connections(), 0)

    def test_middle_of_a_call(self) -> None:
        """A packet from the middle of a call ends that call and makes no connection."""
        packet = data(b"x", seq=MAX_ACKS + 1, security_index=INDEX)
        (answer,) = self.give(packet)
        self.assertEqual(unpack_header(answer)[5], PacketType.ABORT)
        self.assertEqual(self.connections(), 0)


class RxkadTests(PairCase):
    """rxkad's own ends, while the server keeps nothing of clients."""

    server_limits = Limits(unproven_connections=0)

    def test_call(self) -> None:
        """A call is made at every level after a challenge of which nothing was kept."""

        def make() -> ISecurity:
            server: ISecurity = rxkad.server(rxkad.Keys({(18, 1): rxkad.LAB_KEY}))
            return server

        self.pair.server.secure(INDEX, make)
        self.pair.server.offer(2, (INDEX,))
        self.pair.server.unix_offset = rxkad.USER.start + 100 - self.pair.now
        for level in Level:
            self.connection = self.pair.client.connect(SERVER, 2, rxkad.client(level=level))
            call = self.call(b"request" * 1000)
            self.assertIsNone(self.finish(call))
            self.assertEqual(self.reply(call), b"request" * 1000)
        self.assertEqual({each.identity.name for each in self.pair.server.server_connections}, {rxkad.USER.name})
        self.assertNotIn("ABORT", [kind for _, kind, _ in self.log])
