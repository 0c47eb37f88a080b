"""What stock programs sent each other under rxkad is what our ends make of it, to the byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import CHANNEL_MASK, HEADER_SIZE, Flag, PacketType
from rx.packet import CHALLENGE, RESPONSE_HEAD, RESPONSE_PLAIN, split_jumbo, unpack_header
from rx.security.fcrypt import BLOCK_SIZE, Cipher
from rx.security.interfaces import Binding, Identity
from rx.security.kerberos import ticket as tickets
from rx.security.rxkad import ENCRYPTED_PART, WHOLE_TICKET, Level, RxkadClient, RxkadServer, Token
from tests.support.captures import VECTORS
from tests.support.pcap import datagrams
from tests.support.rxkad import Keys

SESSION_KEYS = {
    0x6E64F400: "d37c23d5c28fbc89",
    0x19CBE310: "5dd6dff78940e0e0",
    0x4732D810: "402adf25ef1fd564",
    0xCEF39F28: "cda470521f89c101",
    0xF3A5A7C0: "e9fe7adf7575f17a",
}
"""cid -> session key, as a decoder of its own found them when the captures were made."""

CELL_KEYS = {"40-kdc-tickets.pcap": "0b87c37949f71bfc36ce01178f15a6bd4b20aecb9be284c9cda11bb3628578e7"}
"""The keys of captures of other cells, where the tickets are a KDC's."""

LOCAL, ADMIN = Identity("rxkad", "afs"), Identity("rxkad", "admin", "", "TXAFS.TEST")


@dataclass
class CapturedConnection:
    """The packets of one connection with security index 2."""

    binding: Binding
    keys: Keys
    local: bool
    """Whether its ticket is one that a holder of the cell's key made for himself."""
    challenge: bytes = b""
    response: bytes = b""
    answered: float = 0.0
    data: list[bytes] = field(default_factory=list)
    """Its data packets, headers included."""


def connections(path: Path) -> Iterator[CapturedConnection]:
    """The connections of a capture whose handshake it has."""
    found: dict[tuple[int, int], CapturedConnection] = {}
    local = path.name not in CELL_KEYS
    keys = Keys() if local else Keys({(18, 1): bytes.fromhex(CELL_KEYS[path.name])})
    for datagram in datagrams(path):
        if 88 in (datagram.source[1], datagram.destination[1]) or len(datagram.payload) < HEADER_SIZE:
            continue
        epoch, cid, *_, kind, _, _, security_index, _, _ = unpack_header(datagram.payload)
        if security_index != 2:
            continue
        cid &= ~CHANNEL_MASK
        connection = found.setdefault((epoch, cid), CapturedConnection(Binding(epoch, cid, 2), keys, local))
        body = datagram.payload[HEADER_SIZE:]
        if kind == PacketType.CHALLENGE:
            connection.challenge = body
        elif kind == PacketType.RESPONSE:
            connection.response, connection.answered = body, datagram.when
        elif kind == PacketType.DATA:
            connection.data.append(datagram.payload)
    yield from (each for each in found.values() if each.challenge and each.response)


class CaptureTests(SynchronousTestCase):
    """Every handshake and every data packet of the captures."""

    def test_handshakes(self) -> None:
        """Our server's challenge is the stock one's, and it takes the response the stock one took, as the same user."""
        for connection in self.all_connections():
            server = self.accepted(connection)
            self.assertEqual(server.identity, LOCAL if connection.local else ADMIN)
            if connection.local:
                self.assertEqual(server.expires, 0x7FFFFFFF)

    def test_session_keys(self) -> None:
        """Tickets hold the session keys that were found in them at the time."""
        seen = 0
        for connection in self.all_connections():
            if connection.binding.cid in SESSION_KEYS:
                self.assertEqual(self.token(connection).session_key.hex(), SESSION_KEYS[connection.binding.cid])
                seen += 1
        self.assertEqual(seen, len(SESSION_KEYS))

    def test_responses(self) -> None:
        """Given the token and the challenge our client sends the response that a stock server took."""
        kinds: Counter[int] = Counter()
        for connection in self.all_connections():
            plain = self.plain_response(connection)
            client = RxkadClient(self.token(connection), Level(plain.level))
            client.bind(connection.binding)
            self.assertEqual(client.respond(connection.challenge, plain.call_numbers), connection.response)
            kinds[self.token(connection).kvno] += 1
        self.assertEqual(kinds[WHOLE_TICKET], len(Level))
        self.assertGreater(kinds[ENCRYPTED_PART], 40)

    def test_tickets(self) -> None:
        """A ticket of localauth is, its confounder and session key apart, what we make of the same."""
        for connection in self.all_connections():
            if not connection.local:
                continue
            data = connection.response[RESPONSE_HEAD.size :]
            ticket = tickets.decode(data, True, Keys())
            sealed = tickets.read_encrypted_data(data)
            self.assertEqual(tickets.encode_encrypted_data(sealed), data)
            plain = tickets._opened(sealed, Keys())
            self.assertEqual(tickets.encode_enc_ticket_part(ticket), plain)

    def test_packets(self) -> None:
        """Every data packet opens, and sealing what it held gives the same checksum and the same bytes.

        Those of padding apart: stock seals whatever its buffer held, we zeros.
        """
        levels: Counter[int] = Counter()
        for connection in self.all_connections():
            server = self.accepted(connection)
            client = RxkadClient(self.token(connection), server.level)
            client.bind(connection.binding)
            for datagram in connection.data:
                _, cid, number, seq, _, _, flags, _, _, spare, _ = unpack_header(datagram)
                from_client = flags & Flag.CLIENT_INITIATED
                sender, receiver = (client, server) if from_client else (server, client)
                for _, packet_spare, body in split_jumbo(datagram, flags, spare):
                    place = (cid & CHANNEL_MASK, number, seq)
                    data = receiver.open(*place, packet_spare, body, connection.answered)
                    checksum, sealed = sender.seal(*place, data)
                    certain = len(body) - BLOCK_SIZE if len(data) % BLOCK_SIZE else len(body)
                    self.assertEqual((checksum, len(sealed)), (packet_spare, len(body)))
                    self.assertEqual(sealed[:certain], body[:certain])
                    levels[server.level] += 1
                    seq += 1
        self.assertGreater(levels[Level.CLEAR], 200)
        self.assertGreater(levels[Level.AUTH], 2)
        self.assertGreater(levels[Level.CRYPT], 10)

    def all_connections(self) -> list[CapturedConnection]:
        found = [each for path in sorted(VECTORS.rglob("*.pcap")) for each in connections(path)]
        self.assertGreater(len(found), 40)
        return found

    def accepted(self, connection: CapturedConnection) -> RxkadServer:
        challenge_id = CHALLENGE.unpack(connection.challenge).challenge_id
        server = RxkadServer(connection.keys, lambda bits: challenge_id)
        server.bind(connection.binding)
        server.meet(1)
        self.assertEqual(server.challenge(), connection.challenge)
        numbers = server.check_response(connection.response, connection.answered)
        self.assertEqual(numbers, self.plain_response(connection).call_numbers)
        return server

    def token(self, connection: CapturedConnection) -> Token:
        head = RESPONSE_HEAD.unpack(connection.response)
        data = connection.response[RESPONSE_HEAD.size :]
        ticket = tickets.decode(data, head.kvno == ENCRYPTED_PART, connection.keys)
        return Token(head.kvno, data, ticket.session_key)

    def plain_response(self, connection: CapturedConnection) -> Any:
        key = self.token(connection).session_key
        encrypted = RESPONSE_HEAD.unpack(connection.response).encrypted
        return RESPONSE_PLAIN.unpack(Cipher(key).decrypt(encrypted, key))
