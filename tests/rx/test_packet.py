"""Packet layouts, their fast paths, and the captures of real OpenAFS traffic read through them."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from rx import packet
from rx.constants import HEADER_SIZE, JUMBO_BODY, Flag, PacketType
from tests.support.captures import VECTORS
from tests.support.pcap import datagrams
from tests.xdr.layouts import EqualToConstruct

JUMBO = int(Flag.JUMBO)


class LayoutTests(EqualToConstruct, SynchronousTestCase):
    """Every packet layout of fixed size."""

    layouts = {
        name: getattr(packet, name)
        for name in (
            "HEADER",
            "ACK_HEAD",
            "ACK_TRAILER",
            "JUMBO_HEADER",
            "ABORT_BODY",
            "CHALLENGE",
            "OLD_CHALLENGE",
            "RESPONSE_HEAD",
            "RESPONSE_PLAIN",
            "OLD_RESPONSE_HEAD",
            "DEBUG_REQUEST",
            "DEBUG_STATS",
            "DEBUG_CONNECTION",
            "DEBUG_PEER",
            "RX_STATISTICS",
        )
    }

    def test_sizes_are_stocks(self) -> None:
        """The layouts have the sizes rx.h gives them, and the statistics the size a stock server answered with."""
        sizes = {name: layout.size for name, layout in self.layouts.items()}
        expected = {"HEADER": 28, "ACK_HEAD": 18, "ACK_TRAILER": 19, "JUMBO_HEADER": 4, "DEBUG_REQUEST": 8}
        expected |= {"DEBUG_STATS": 56, "DEBUG_CONNECTION": 176, "DEBUG_PEER": 132, "RX_STATISTICS": 284}
        expected |= {"RESPONSE_HEAD": 56, "RESPONSE_PLAIN": 40, "CHALLENGE": 16, "OLD_CHALLENGE": 8, "ABORT_BODY": 4}
        expected |= {"OLD_RESPONSE_HEAD": 16}
        self.assertEqual(sizes, expected)


class CaptureTests(SynchronousTestCase):
    """tests/vectors/pcap, whose README says where each came from."""

    def test_headers(self) -> None:
        """Every Rx packet captured decodes to the fields construct reads, and encodes to the same bytes."""
        types: Counter[int] = Counter()
        for capture in sorted(VECTORS.glob("*.pcap")):
            for datagram in datagrams(capture):
                if 88 in (datagram.source[1], datagram.destination[1]):
                    continue  # Kerberos
                fields = packet.unpack_header(datagram.payload)
                slow = packet.Header.parse(datagram.payload)
                self.assertEqual(fields, tuple(value for name, value in slow.items() if not name.startswith("_")))
                self.assertEqual(packet.pack_header(*fields), datagram.payload[:HEADER_SIZE])
                types[fields[5]] += 1
        for type_ in ("DATA", "ACK", "ABORT", "CHALLENGE", "RESPONSE", "DEBUG", "VERSION"):
            self.assertGreater(types[PacketType[type_]], 1, type_)

    def test_acknowledgements(self) -> None:
        """Captured ACK bodies: the fast path, the trailers and construct agree; stock announces 32 packets."""
        windows: Counter[int] = Counter()
        for capture in sorted(VECTORS.glob("*.pcap")):
            for datagram in datagrams(capture):
                payload = datagram.payload
                if 88 in (datagram.source[1], datagram.destination[1]) or payload[20] != PacketType.ACK:
                    continue
                head = packet.unpack_ack(payload, HEADER_SIZE)
                slow = packet.Ack.parse(payload[HEADER_SIZE:])
                self.assertEqual(head, tuple(value for name, value in slow.head.items() if not name.startswith("_")))
                words = packet.unpack_trailer(payload[packet.ACK_ACKS + head[6] :])
                trailer = slow.trailer
                self.assertEqual(
                    words, (trailer.maximum_mtu, trailer.interface_mtu, trailer.window, trailer.jumbo_packets)
                )
                self.assertIn(words[0], (1444, 5692))  # more once a path was probed
                self.assertIn(words[1], (1444, 1568))
                windows[words[2]] += 1
        self.assertGreater(windows[32], 100)

    def test_handshakes(self) -> None:
        """Captured challenges and responses have the rxkad forms declared."""
        seen = Counter[str]()
        for capture in sorted(VECTORS.glob("*.pcap")):
            for datagram in datagrams(capture):
                body = datagram.payload[HEADER_SIZE:]
                if 88 in (datagram.source[1], datagram.destination[1]):
                    continue
                if datagram.payload[20] == PacketType.CHALLENGE:
                    self.assertEqual((packet.CHALLENGE.unpack(body).version, len(body)), (2, 16))
                    seen["challenge"] += 1
                elif datagram.payload[20] == PacketType.RESPONSE:
                    response = packet.Response.parse(body)
                    self.assertEqual(response.head.version, 2)
                    self.assertIn(response.head.kvno, (213, 256))
                    self.assertEqual(response.head.ticket_length, len(response.ticket))
                    seen["response"] += 1
        self.assertEqual(seen["challenge"], seen["response"])
        self.assertGreater(seen["challenge"], 10)


class JumboTests(SynchronousTestCase):
    """Splitting a jumbogram."""

    bodies = [bytes([65 + index]) * JUMBO_BODY for index in range(3)] + [b"the end"]

    def datagram(self) -> bytes:
        """Four packets in one: header, then each body but the last followed by the next packet's flags and checksum."""
        parts = [bytes(HEADER_SIZE)]
        for index, body in enumerate(self.bodies[:-1]):
            last = index == len(self.bodies) - 2
            parts += [body, packet.JUMBO_HEADER.pack(flags=4 if last else JUMBO, spare=100 + index)]
        return b"".join(parts) + self.bodies[-1]

    def test_split(self) -> None:
        """Each packet comes out with its own flags, checksum and body."""
        pieces = list(packet.split_jumbo(self.datagram(), JUMBO, 99))
        self.assertEqual([body for _, _, body in pieces], self.bodies)
        self.assertEqual([spare for _, spare, _ in pieces], [99, 100, 101, 102])
        self.assertEqual([flags for flags, _, _ in pieces], [0, 0, 0, 4])

    def test_cut_short(self) -> None:
        """Of a jumbogram cut anywhere only whole packets come out, and never a byte that was not there."""
        whole = self.datagram()
        for size in range(HEADER_SIZE, len(whole), 97):
            pieces = list(packet.split_jumbo(whole[:size], JUMBO, 99))
            joined = [body for _, _, body in pieces]
            complete = min((size - HEADER_SIZE) // (JUMBO_BODY + 4), 3)
            self.assertEqual(joined[:complete], self.bodies[:complete])
            self.assertLessEqual(len(joined), complete + 1)

    def test_endless(self) -> None:
        """A datagram that claims more packets than Rx allows stops at six."""
        endless = bytes(HEADER_SIZE) + (bytes(JUMBO_BODY) + bytes([JUMBO, 0, 0, 0])) * 11
        self.assertLessEqual(len(list(packet.split_jumbo(endless, JUMBO, 0))), 6)

    def test_plain(self) -> None:
        """Without the flag a datagram is one packet, whatever its size."""
        self.assertEqual(list(packet.split_jumbo(bytes(HEADER_SIZE) + b"abc", 4, 7)), [(4, 7, b"abc")])


class BodyTests(SynchronousTestCase):
    """Aborts and what follows acknowledgements."""

    def test_abort_codes(self) -> None:
        """Codes go both ways with their sign; a body too short has none."""
        for code in (0, 1, -1, -455, 2**31 - 1, -(2**31)):
            self.assertEqual(packet.abort_code(bytes(HEADER_SIZE) + packet.abort_body(code)), code)
        for size in range(4):
            self.assertIsNone(packet.abort_code(bytes(HEADER_SIZE + size)))

    def test_abort_code_beyond_a_word(self) -> None:
        """A code that does not fit 32 bits is sent modulo 2^32, as C would."""
        self.assertEqual(packet.abort_code(bytes(HEADER_SIZE) + packet.abort_body(2**32 - 5)), -5)

    def test_trailers_as_many_as_came(self) -> None:
        """An ACK may end after any word; what is missing is missing, and a cut word is none."""
        full = bytes(3) + b"".join(word.to_bytes(4, "big") for word in (1, 2, 3, 4, 5))
        for size in range(len(full) + 1):
            words = packet.unpack_trailer(full[:size])
            self.assertEqual(words, tuple(range(1, 1 + max(0, min(4, (size - 3) // 4)))))
