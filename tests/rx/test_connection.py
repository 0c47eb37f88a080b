"""Connections: the security handshake, sealed packets, jumbograms, who may speak for whom."""

from __future__ import annotations

from random import Random

from rx.constants import EPOCH_ANY_ADDRESS, HEADER_SIZE, JUMBO_BODY, AckReason, Flag, PacketType, RxCode
from rx.endpoint import Endpoint
from rx.errors import Abort
from rx.events import CallArrived
from rx.limits import Limits
from rx.packet import JUMBO_HEADER, abort_body, unpack_header
from rx.peer import Address
from rx.security.interfaces import ANONYMOUS, Identity
from tests.rx.cases import STRANGER, DirectCase, PairCase
from tests.support.craft import ack_body, craft, data
from tests.support.pair import CLIENT, SERVER
from tests.support.sealing import BAD_RESPONSE, BAD_SEAL, INDEX, Sealing


class SecurityTests(PairCase):
    """A handshake before the first call, and every data packet sealed."""

    server_limits = Limits(early_packets=4)

    def setUp(self) -> None:
        super().setUp()
        self.secret = b"sesame"
        self.pair.server.secure(INDEX, lambda: Sealing(self.secret, server=True))
        self.pair.server.offer(2, (0, INDEX))
        self.connection = self.pair.client.connect(SERVER, 2, Sealing())

    def test_first_call(self) -> None:
        """The server challenges, keeps the first packets, and the call runs as the client it proved to be."""
        payload = self.pair.random.randbytes(100_000)
        call = self.call(payload)
        self.assertIsNone(self.finish(call))
        self.assertEqual(self.reply(call), payload)
        kinds = [kind for _, kind, _ in self.log]
        self.assertEqual((kinds.count("CHALLENGE"), kinds.count("RESPONSE")), (1, 1))
        server_connection = next(iter(self.pair.server.server_connections))
        self.assertEqual(server_connection.identity, Identity("rxkad", "ali", "", "BABA"))
        self.assertEqual(self.connection.identity, ANONYMOUS)
        self.nothing_left()

    def test_sealed_on_the_wire(self) -> None:
        """No data packet carries plain text or exceeds the packet size; each has its checksum."""
        self.finish(self.call(b"plain text" * 500))
        packets = [datagram for _, datagram in self.wire if datagram[20] == PacketType.DATA]
        self.assertFalse(any(b"plain text" in datagram for datagram in packets))
        self.assertTrue(all(unpack_header(datagram)[9] for datagram in packets))
        self.assertEqual(max(map(len, packets)), 1444)

    def test_four_calls_one_handshake(self) -> None:
        """Four calls begun before the handshake all run after it."""
        calls = [self.call(bytes([65 + index])) for index in range(4)]
        for index, call in enumerate(calls):
            self.assertIsNone(self.finish(call))
            self.assertEqual(self.reply(call), bytes([65 + index]))

    def test_wrong_word(self) -> None:
        """A client that cannot prove itself gets the security class's code, and nothing ran."""
        self.secret = b"other"
        self.silence_server()
        call = self.call()
        outcome = self.finish(call)
        self.assertIsInstance(outcome, Abort)
        self.assertEqual(call.error and call.error.code, BAD_RESPONSE)
        self.assertEqual(self.server_events, [])
        self.assertRaises(Abort, self.connection.call, self.pair.now)

    def test_tampered_packet(self) -> None:
        """A packet that does not open kills the connection at both ends with the security class's code."""
        self.silence_server()
        call = self.call()
        self.pair.run(lambda: bool(self.arrived))
        forged = craft(
            PacketType.DATA,
            b"HEADxxTAIL!",
            epoch=self.connection.epoch,
            cid=self.connection.cid,
            number=1,
            seq=2,
            spare=1,
            security_index=INDEX,
            service_id=2,
        )
        self.pair.send(CLIENT, SERVER, forged)
        self.finish(call)
        self.assertEqual(call.error and call.error.code, BAD_SEAL)
        self.assertEqual(self.arrived[0].error and self.arrived[0].error.code, BAD_SEAL)

    def test_silent_client(self) -> None:
        """A client that never responds is challenged again and again, then forgotten; what was kept is given back."""
        self.pair.drop = lambda to, datagram: to == CLIENT
        self.silence_server()
        self.call(bytes(50_000))
        self.pair.run(seconds=30)
        self.assertGreater(self.log.count(("server", "CHALLENGE", 0)), 5)
        self.assertLessEqual(self.pair.server.buffered_bytes, 4 * 1444)
        self.pair.run(seconds=900)
        self.assertLessEqual(self.log.count(("server", "CHALLENGE", 0)), 51)
        self.assertEqual(self.pair.server.buffered_bytes, 0)
        self.assertEqual(self.server_events, [])

    def test_lost_handshake(self) -> None:
        """A lost challenge and a lost response are each made good."""
        lost: list[int] = []

        def drop(to: Address, datagram: bytes) -> bool:
            if datagram[20] in (PacketType.CHALLENGE, PacketType.RESPONSE) and lost.count(datagram[20]) < 1:
                lost.append(datagram[20])
                return True
            return False

        self.pair.drop = drop
        self.assertIsNone(self.finish(self.call()))

    def test_response_nobody_asked_for(self) -> None:
        """A RESPONSE before any challenge, or after success, changes nothing."""
        response = craft(
            PacketType.RESPONSE,
            bytes(16) + b"wrong",
            epoch=self.connection.epoch,
            cid=self.connection.cid,
            number=0,
            security_index=INDEX,
            service_id=2,
        )
        self.pair.send(CLIENT, SERVER, response)
        self.assertIsNone(self.finish(self.call()))
        self.pair.send(CLIENT, SERVER, response)
        self.assertIsNone(self.finish(self.call()))

    def test_nonsense_challenge(self) -> None:
        """A challenge that makes no sense ends the client's calls with the security class's code."""
        self.pair.drop = lambda to, datagram: to == SERVER
        call = self.call()
        nonsense = craft(
            PacketType.CHALLENGE,
            b"what?",
            epoch=self.connection.epoch,
            cid=self.connection.cid,
            number=0,
            flags=0,
            security_index=INDEX,
            service_id=2,
        )
        self.pair.send(SERVER, CLIENT, nonsense)
        self.finish(call)
        self.assertEqual(call.error and call.error.code, BAD_RESPONSE)

    def test_challenge_without_call(self) -> None:
        """A client with no call in progress ignores challenges."""
        challenge = craft(
            PacketType.CHALLENGE,
            b"who?",
            epoch=self.connection.epoch,
            cid=self.connection.cid,
            number=0,
            flags=0,
            security_index=INDEX,
            service_id=2,
        )
        self.pair.send(SERVER, CLIENT, challenge)
        self.pair.run(seconds=1)
        self.assertEqual([kind for who, kind, _ in self.log if who == "client"], [])


class ConnectionTests(PairCase):
    """The connection as a whole."""

    def test_connection_abort(self) -> None:
        """An abort with call number 0 ends every call of the connection, and the connection."""
        self.silence_server()
        calls = [self.call(), self.call()]
        self.pair.run(lambda: len(self.arrived) == 2)
        abort = craft(
            PacketType.ABORT,
            abort_body(RxCode.RX_RESTARTING),
            epoch=self.connection.epoch,
            cid=self.connection.cid,
            number=0,
            flags=0,
        )
        self.pair.send(SERVER, CLIENT, abort)
        for call in calls:
            self.finish(call)
            self.assertEqual(call.error and call.error.code, RxCode.RX_RESTARTING)
        self.assertRaises(Abort, self.connection.call, self.pair.now)

    def test_unknown_service(self) -> None:
        """A service nobody offers costs the client its call with RX_INVALID_OPERATION, at once."""
        other = self.pair.client.connect(SERVER, 99)
        call = other.call(self.pair.now)
        assert call is not None
        call.end_writing()
        self.finish(call, 1.0)
        self.assertEqual(call.error and call.error.code, RxCode.RX_INVALID_OPERATION)
        self.assertEqual(list(self.pair.server.server_connections), [])


class IdentityTests(DirectCase):
    """Whose packet is it?"""

    def test_high_bit_epoch_from_another_address(self) -> None:
        """With the epoch's high bit a client may change its address; answers still go where it was first seen."""
        call = self.arrive().call
        self.give(data(b"more", number=2, cid=0x100), source=STRANGER)
        self.assertEqual(len(self.server.events()), 2)
        self.assertEqual(len(list(self.server.server_connections)), 1)
        self.assertEqual(call.connection.peer, CLIENT)

    def test_plain_epoch_from_another_address(self) -> None:
        """Without it the same numbers from another address are another connection."""
        plain = 0x1234_5678
        self.assertLess(plain, EPOCH_ANY_ADDRESS)
        first = self.arrive(epoch=plain).call
        self.give(data(b"intruder", epoch=plain, number=2), source=STRANGER)
        (event,) = self.server.events()
        assert isinstance(event, CallArrived)
        self.assertIsNot(event.call.connection, first.connection)
        self.assertIsNone(first.error)

    def test_other_security_index(self) -> None:
        """A packet of a known connection with another security index is dropped without a word (advisory 2003-002)."""
        call = self.arrive().call
        for type_ in (each for each in range(1, 14) if each not in (PacketType.DEBUG, PacketType.VERSION)):
            self.assertEqual(self.give(craft(type_, bytes(40), security_index=2, number=1)), [])
        self.assertIsNone(call.error)
        self.assertEqual(self.server.events(), [])

    def test_server_packet_to_a_server(self) -> None:
        """A packet without CLIENT_INITIATED never reaches a server's call."""
        call = self.arrive().call
        self.assertEqual(self.give(craft(PacketType.ABORT, abort_body(5), flags=0, number=1)), [])
        self.assertIsNone(call.error)

    def test_old_call_number(self) -> None:
        """A delayed packet of an earlier call runs nothing and is not answered."""
        self.arrive(number=5)
        self.assertEqual(self.give(data(b"old", number=4)), [])
        self.assertEqual(self.server.events(), [])

    def test_repeated_request_after_the_end(self) -> None:
        """A repeated request of a call that is over does not run it again."""
        call = self.arrive().call
        call.end_writing()
        self.sent()
        self.give(craft(PacketType.ACK, ack_body(2)))
        self.assertEqual(len(self.server.events()), 1)
        self.assertEqual(self.give(data(b"request")), [])
        self.assertEqual(self.server.events(), [])

    def test_nothing_offered_yet(self) -> None:
        """While a server starts it is silent, so that its clients try again, rather than take it for one that does not
        have the service.
        """
        starting = Endpoint(Random(1))
        starting.receive_datagrams([(data(b"early"), CLIENT)], self.now)
        self.assertEqual((list(starting.datagrams_to_send(self.now)), starting.events()), ([], []))

    def test_middle_of_an_old_call(self) -> None:
        """Data far into a call begun before the server was, and a ping of one, begin nothing: the client is told to
        make the call again. Other acknowledgements are not answered.
        """
        for packet in (data(b"late", seq=300), craft(PacketType.ACK, ack_body(1, reason=AckReason.PING))):
            (answer,) = self.give(packet)
            self.assertEqual((answer[20], answer[HEADER_SIZE:]), (PacketType.ABORT, abort_body(RxCode.RX_MSGSIZE)))
        for reason in (AckReason.DELAY, AckReason.PING_RESPONSE, AckReason.IDLE):
            self.assertEqual(self.give(craft(PacketType.ACK, ack_body(1, reason=reason))), [])
        self.assertEqual((self.server.events(), self.server.server_calls), ([], 0))


class JumboTests(DirectCase):
    """Jumbograms, as kernels and old servers send them."""

    def jumbogram(self, bodies: list[bytes], seq: int = 1) -> bytes:
        parts = []
        for index, body in enumerate(bodies[:-1]):
            last = index == len(bodies) - 2
            flags = Flag.CLIENT_INITIATED | (Flag.LAST_PACKET if last else Flag.JUMBO)
            parts += [body, JUMBO_HEADER.pack(flags=int(flags), spare=0)]
        return data(b"".join([*parts, bodies[-1]]), seq=seq, last=False, flags=int(Flag.JUMBO))

    def test_whole(self) -> None:
        """A request in one jumbogram of four packets arrives whole."""
        bodies = [bytes([65 + index]) * JUMBO_BODY for index in range(3)] + [b"end"]
        self.give(self.jumbogram(bodies))
        (event,) = self.server.events()
        self.assertEqual(event.call.read(), b"".join(bodies))
        self.assertTrue(event.call.at_end)

    def test_cut_short(self) -> None:
        """A jumbogram cut anywhere yields whole packets only; the rest can be sent again."""
        bodies = [bytes([65 + index]) * JUMBO_BODY for index in range(3)] + [b"end"]
        whole = self.jumbogram(bodies)
        for size in range(HEADER_SIZE, len(whole), 211):
            self.setUp()
            self.give(whole[:size])
            self.give(whole)
            calls = [event.call for event in self.server.events() if isinstance(event, CallArrived)]
            self.assertEqual(len(calls), 1)
            if size >= HEADER_SIZE + 3 * (JUMBO_BODY + 4):
                continue  # the last packet was cut inside: to Rx, shorter data is data
            self.assertEqual(calls[0].read(), b"".join(bodies))
