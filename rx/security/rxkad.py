"""rxkad, security index 2: a ticket proves who the client is (security.md 1, 2).

What protects the packets afterwards is `rx/security/sealer.py`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zope.interface import implementer

from rx.constants import RxkadCode, SecurityIndex
from rx.errors import Abort
from rx.packet import CHALLENGE, OLD_CHALLENGE, OLD_RESPONSE_HEAD, RESPONSE_HEAD, RESPONSE_PLAIN
from rx.security.fcrypt import Cipher, CipherType
from rx.security.interfaces import ANONYMOUS, Binding, Identity, ISecurity, SecurityStatistics
from rx.security.kerberos import krb4
from rx.security.kerberos.ticket import NEVER, Keys, Ticket, check_times, decode
from rx.security.sealer import OVERHEAD, STATISTICS_TYPE, Sealer, pack_endpoint
from rx.security.sealer import Level as Level  # named here, too, for who makes the ends

VERSION = 2
"""Of the challenge and the response. Their old form has no version."""

WHOLE_TICKET, ENCRYPTED_PART = 256, 213
"""What the response says in place of a key version when the ticket is one of Kerberos 5."""

KERBEROS_5 = (WHOLE_TICKET, ENCRYPTED_PART)
MOST_KRB4_KVNO = 255
LEAST_TICKET, MOST_TICKET = 32, 12000
"""Sizes of a ticket in bytes (rxkad.p.h)."""

_WORD = 0xFFFF_FFFF
_ENCRYPTED = (8, 8 + RESPONSE_PLAIN.size)
"""Where the sealed part of a response's head is. The checksum covers all of the head, unused words too."""

_CHECKSUM_SEED, _CHECKSUM_FACTOR = 1000003, 0x10204081


@dataclass(frozen=True, slots=True)
class Token:
    """What a client needs: a ticket, what kind it is (`kvno`), and its session key. `end` is its last second."""

    kvno: int
    ticket: bytes = field(repr=False)
    session_key: bytes = field(repr=False)
    end: int = NEVER


@implementer(ISecurity)
class RxkadClient:
    """The client's end of one connection."""

    index = int(SecurityIndex.RXKAD)
    identity = ANONYMOUS
    authenticated = True
    sealing = True

    def __init__(self, token: Token, level: Level = Level.CLEAR) -> None:
        self.level = level
        self.header_size, self.trailer_size = OVERHEAD[level]
        self.expires = token.end
        self._token = token
        self._binding: Binding
        self._sealer: Sealer

    def bind(self, binding: Binding) -> None:
        """See ISecurity."""
        self._binding = binding
        self._sealer = Sealer(self._token.session_key, self.level, binding)

    def meet(self, spare: int) -> None:
        """Never called at this end."""

    def adopt(self, nonces: Sequence[int]) -> None:
        """Never called at this end."""

    def challenge(self) -> bytes:
        """Never asked for at this end."""
        raise Abort(RxkadCode.RXKADINCONSISTENCY, "a client has no challenge")

    def check_response(self, response: bytes, now: float) -> tuple[int, int, int, int]:
        """Never asked for at this end."""
        raise Abort(RxkadCode.RXKADINCONSISTENCY, "a client checks no response")

    def respond(self, challenge: bytes, call_numbers: tuple[int, int, int, int]) -> bytes:
        """See ISecurity. Bytes after a challenge of the new form are ignored, as stock does.

        The old form is answered with tickets of Kerberos 4 alone (see RxkadServer.check_response): servers use it
        towards clients that send no checksums, and this one does.
        """
        old = len(challenge) <= OLD_CHALLENGE.size
        form = OLD_CHALLENGE if old else CHALLENGE
        if len(challenge) < form.size:
            raise Abort(RxkadCode.RXKADPACKETSHORT, f"a challenge of {len(challenge)} bytes")
        asked = form.unpack(challenge)
        if asked.level > self.level:
            raise Abort(RxkadCode.RXKADLEVELFAIL, f"the server wants level {asked.level}")
        if old and self._token.kvno in KERBEROS_5:
            raise Abort(RxkadCode.RXKADPACKETSHORT, "a challenge of the old form")
        answer = asked.challenge_id + 1 & _WORD
        return self._old_response(answer) if old else self._response(answer, call_numbers)

    def _response(self, answer: int, call_numbers: tuple[int, int, int, int]) -> bytes:
        binding, token = self._binding, self._token
        plain = RESPONSE_PLAIN.record(
            binding.epoch, binding.cid, 0, binding.security_index, call_numbers, answer, self.level
        )
        head = RESPONSE_HEAD.record(VERSION, RESPONSE_PLAIN.pack(plain), token.kvno, len(token.ticket))
        plain = plain._replace(checksum=response_checksum(RESPONSE_HEAD.pack(head)))
        sealed = self._sealer.cipher.encrypt(RESPONSE_PLAIN.pack(plain), token.session_key)
        return RESPONSE_HEAD.pack(head._replace(encrypted=sealed)) + token.ticket

    def _old_response(self, answer: int) -> bytes:
        token = self._token
        sealed = self._sealer.cipher.encrypt_block(OLD_CHALLENGE.pack(challenge_id=answer, level=self.level))
        head = OLD_RESPONSE_HEAD.pack(encrypted=sealed, kvno=token.kvno, ticket_length=len(token.ticket))
        return head + token.ticket

    def seal(self, channel: int, number: int, seq: int, data: bytes) -> tuple[int, bytes]:
        """See ISecurity."""
        return self._sealer.seal(channel, number, seq, data)

    def open(self, channel: int, number: int, seq: int, spare: int, body: bytes, now: float) -> bytes:
        """See ISecurity."""
        self._sealer.check(channel, number, seq, spare)
        return self._sealer.open(number, seq, body)

    def statistics(self) -> SecurityStatistics:
        """See ISecurity. Stock tells of no end at this end."""
        return self._sealer.statistics(checksums=True)


@implementer(ISecurity)
class RxkadServer:
    """The server's end of one connection: `minimum` is the lowest level it takes, `random_bits` like getrandbits."""

    index = int(SecurityIndex.RXKAD)
    sealing = True

    def __init__(self, keys: Keys, random_bits: Callable[[int], int], minimum: Level = Level.CLEAR) -> None:
        self.level = minimum
        self.identity = ANONYMOUS
        self.authenticated = False
        self.header_size, self.trailer_size = OVERHEAD[minimum]
        self.expires = 0
        self._keys = keys
        self._challenge_ids: tuple[int, ...] = (random_bits(32),)
        self._modern = False
        self._binding: Binding
        self._sealer: Sealer

    def bind(self, binding: Binding) -> None:
        """See ISecurity."""
        self._binding = binding

    def meet(self, spare: int) -> None:
        """See ISecurity. Checksums come from clients that know the challenge's new form."""
        self._modern = self._modern or spare != 0

    def adopt(self, nonces: Sequence[int]) -> None:
        """See ISecurity."""
        self._challenge_ids = tuple(nonces)
        self._modern = True

    def challenge(self) -> bytes:
        """See ISecurity."""
        if not self._modern:
            return OLD_CHALLENGE.pack(challenge_id=self._challenge_ids[0], level=self.level)
        return CHALLENGE.pack(version=VERSION, challenge_id=self._challenge_ids[0], level=self.level)

    def respond(self, challenge: bytes, call_numbers: tuple[int, int, int, int]) -> bytes:
        """Never asked for at this end."""
        raise Abort(RxkadCode.RXKADINCONSISTENCY, "a server is not challenged")

    def check_response(self, response: bytes, now: float) -> tuple[int, int, int, int]:
        """See ISecurity. The order of the checks, and so of the codes, is stock's (rxkad_server.c).

        The old form does not say which connection it is for, and after it packets need no checksum: whoever makes a
        client answer in it can be that client elsewhere. So it is taken with tickets of Kerberos 4 alone, which need
        DES to be allowed; every client that has others sends checksums from its first packet on.
        """
        form = RESPONSE_HEAD if self._modern else OLD_RESPONSE_HEAD
        if len(response) < form.size:
            raise Abort(RxkadCode.RXKADPACKETSHORT, f"a response of {len(response)} bytes")
        head = form.unpack(response)
        present = len(response) - form.size
        if head.ticket_length > present or (not self._modern and head.ticket_length != present):
            raise Abort(RxkadCode.RXKADPACKETSHORT, f"{present} bytes of a ticket of {head.ticket_length}")
        if not LEAST_TICKET <= head.ticket_length <= MOST_TICKET:
            raise Abort(RxkadCode.RXKADTICKETLEN, f"a ticket of {head.ticket_length} bytes")
        if not self._modern and head.kvno in KERBEROS_5:
            raise Abort(RxkadCode.RXKADUNKNOWNKEY, "a ticket of Kerberos 5 in a response of the old form")
        proof = _ticket(head.kvno, response[form.size : form.size + head.ticket_length], self._keys)
        check_times(proof, now)
        cipher: CipherType = Cipher(proof.session_key)
        if self._modern:
            numbers, answer, level = self._opened(response, cipher, proof.session_key)
        else:
            numbers, content = (0, 0, 0, 0), OLD_CHALLENGE.unpack(cipher.decrypt_block(head.encrypted))
            answer, level = content.challenge_id, content.level
        if answer - 1 & _WORD not in self._challenge_ids:
            raise Abort(RxkadCode.RXKADOUTOFSEQUENCE, "the answer to another challenge")
        if not self.level <= level <= Level.CRYPT:
            raise Abort(RxkadCode.RXKADLEVELFAIL, f"level {level}")
        self._accept(proof, Level(level))
        return numbers

    def _opened(self, response: bytes, cipher: CipherType, key: bytes) -> tuple[tuple[int, int, int, int], int, int]:
        """(call numbers, answer, level) of a response, once it is known to be meant for this connection."""
        binding = self._binding
        start, end = _ENCRYPTED
        plain = RESPONSE_PLAIN.unpack(cipher.decrypt(response[start:end], key))
        cleared = RESPONSE_PLAIN.pack(plain._replace(checksum=0))
        checksum = response_checksum(response[:start] + cleared + response[end : RESPONSE_HEAD.size])
        expected = pack_endpoint(binding.epoch, binding.cid, checksum, binding.security_index)
        found = pack_endpoint(plain.epoch, plain.cid, plain.checksum, plain.security_index)
        if not hmac.compare_digest(expected, found) or min(plain.call_numbers) < 0:
            raise Abort(RxkadCode.RXKADSEALEDINCON, "not a response for this connection")
        return plain.call_numbers, plain.incremented_challenge, plain.level

    def _accept(self, proof: Ticket, level: Level) -> None:
        self._sealer = Sealer(proof.session_key, level, self._binding)
        self.level = level
        self.header_size, self.trailer_size = OVERHEAD[level]
        self.expires = proof.end
        self.identity = Identity("rxkad", proof.name, proof.instance, proof.realm)
        self.authenticated = True

    def seal(self, channel: int, number: int, seq: int, data: bytes) -> tuple[int, bytes]:
        """See ISecurity."""
        return self._sealer.seal(channel, number, seq, data)

    def open(self, channel: int, number: int, seq: int, spare: int, body: bytes, now: float) -> bytes:
        """See ISecurity. Once the ticket has expired nothing is taken. Clients of the old form send no checksums."""
        if now >= self.expires:
            raise Abort(RxkadCode.RXKADEXPIRED, "the ticket has expired")
        if spare or self._modern:
            self._modern = True
            self._sealer.check(channel, number, seq, spare)
        return self._sealer.open(number, seq, body)

    def statistics(self) -> SecurityStatistics:
        """See ISecurity."""
        if not self.authenticated:
            return SecurityStatistics(STATISTICS_TYPE, self.level, checksums=self._modern)
        return self._sealer.statistics(self._modern, True, self.expires)


def response_checksum(cleared: bytes) -> int:
    """The checksum of a response's fixed part, its own field being zero (rxkad_CksumChallengeResponse)."""
    value = _CHECKSUM_SEED
    for byte in cleared:
        value = value * _CHECKSUM_FACTOR + byte & _WORD
    return value


def _ticket(kvno: int, data: bytes, keys: Keys) -> Ticket:
    if kvno in KERBEROS_5:
        return decode(data, kvno == ENCRYPTED_PART, keys)
    if kvno > MOST_KRB4_KVNO:
        raise Abort(RxkadCode.RXKADUNKNOWNKEY, f"tickets of kind {kvno} are unknown")
    return krb4.decode(data, kvno, keys)
