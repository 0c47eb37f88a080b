"""rxkad's challenges and responses, old and new, and what is refused with which code."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from rx.constants import RxkadCode
from rx.errors import Abort
from rx.packet import CHALLENGE, OLD_CHALLENGE
from rx.security.interfaces import ANONYMOUS
from rx.security.rxkad import Level, RxkadServer
from tests.contracts.isecurity import NUMBERS
from tests.rx.security.cases import ALICE, BINDING, DES_KEYS, RxkadCase
from tests.support.budget import budget
from tests.support.rxkad import NOW, Keys, client, krb4_token, server, token

ANSWERS = frozenset(RxkadCode) - {RxkadCode.RXKADINCONSISTENCY, RxkadCode.RXKADBADKEY, RxkadCode.RXKADILLEGALLEVEL}
"""What a client may be told about a response."""


class HandshakeTests(RxkadCase):
    """Challenges and responses."""

    def test_level_is_the_clients(self) -> None:
        """A server that takes any level works at the one the client chose, and leaves room for it."""
        for level, sizes in ((Level.CLEAR, (0, 0)), (Level.AUTH, (4, 4)), (Level.CRYPT, (8, 8))):
            _, there = self.ends(level)
            self.assertEqual(there.level, level)
            self.assertEqual((there.header_size, there.trailer_size), sizes)

    def test_call_numbers(self) -> None:
        """The server learns the client's call numbers; in the old form there are none."""
        here, there = client(), server()
        self.bound(here, there)
        self.assertEqual(there.check_response(here.respond(there.challenge(), NUMBERS), NOW), NUMBERS)
        here, there = client(krb4_token()), server(DES_KEYS)
        self.bound(here, there, modern=False)
        self.assertEqual(there.check_response(here.respond(there.challenge(), NUMBERS), NOW), (0, 0, 0, 0))

    def test_forms(self) -> None:
        """A client that sends no checksums gets the old form, one that does the new; the challenge stays the same."""
        old, new = server(seed=7), server(seed=7)
        new.meet(0)
        new.meet(77)
        new.meet(0)
        first = new.challenge()
        self.assertEqual(new.challenge(), first)
        self.assertEqual((len(old.challenge()), len(first)), (OLD_CHALLENGE.size, CHALLENGE.size))
        self.assertEqual(OLD_CHALLENGE.unpack(old.challenge()).challenge_id, CHALLENGE.unpack(first).challenge_id)

    def test_old_form(self) -> None:
        """The old form works at every level; its packets may come without checksums, until one has one."""
        for level in Level:
            here, there = self.ends(level, modern=False)
            self.assertEqual(there.identity, ALICE)
            spare, body = here.seal(1, 2, 3, b"data")
            self.assertEqual(there.open(1, 2, 3, 0, body, NOW), b"data")
            self.assertEqual(there.open(1, 2, 3, spare, body, NOW), b"data")
            self.refused(RxkadCode.RXKADSEALEDINCON, there.open, 1, 2, 3, 0, body, NOW)

    def test_old_form_needs_des(self) -> None:
        """Tickets of Kerberos 5 are neither sent nor taken in the old form, which is bound to no connection."""
        for kvno in (213, 256):
            using = replace(token(), kvno=kvno)
            here, there = client(using), server()
            self.bound(here, there, modern=False)
            self.refused(RxkadCode.RXKADPACKETSHORT, here.respond, there.challenge(), NUMBERS)
            here = client(replace(using, kvno=3))
            here.bind(BINDING)
            response = bytearray(here.respond(there.challenge(), NUMBERS))
            response[8:12] = kvno.to_bytes(4, "big")
            self.refused(RxkadCode.RXKADUNKNOWNKEY, there.check_response, bytes(response), NOW)
            self.assertEqual((there.authenticated, there.identity), (False, ANONYMOUS))

    def test_replayed(self) -> None:
        """A response recorded elsewhere proves nothing: other challenge, connection, epoch or security index."""
        here, there = client(), server(seed=1)
        self.bound(here, there)
        recorded = here.respond(there.challenge(), NUMBERS)
        for binding, seed, code in (
            (BINDING, 2, RxkadCode.RXKADOUTOFSEQUENCE),
            (replace(BINDING, cid=BINDING.cid + 4), 1, RxkadCode.RXKADSEALEDINCON),
            (replace(BINDING, epoch=BINDING.epoch + 1), 1, RxkadCode.RXKADSEALEDINCON),
            (replace(BINDING, security_index=3), 1, RxkadCode.RXKADSEALEDINCON),
        ):
            other = server(seed=seed)
            other.bind(binding)
            other.meet(1)
            self.refused(code, other.check_response, recorded, NOW)
            self.assertFalse(other.authenticated)

    def test_old_replayed(self) -> None:
        """So does one in the old form to another challenge."""
        here, there = client(krb4_token()), server(DES_KEYS, seed=1)
        self.bound(here, there, modern=False)
        recorded = here.respond(there.challenge(), NUMBERS)
        other = server(DES_KEYS, seed=2)
        other.bind(BINDING)
        self.refused(RxkadCode.RXKADOUTOFSEQUENCE, other.check_response, recorded, NOW)
        other = server(DES_KEYS, seed=1)
        other.bind(BINDING)
        self.refused(RxkadCode.RXKADPACKETSHORT, other.check_response, recorded + b"\0", NOW)

    def test_challenges_differ(self) -> None:
        """Every connection has a challenge of its own."""
        random = Random(1)
        challenges = {RxkadServer(Keys(), random.getrandbits).challenge() for _ in range(100)}
        self.assertEqual(len(challenges), 100)

    def test_largest_challenge(self) -> None:
        """The number after 2^32 - 1 is 0."""
        here = client()
        there = RxkadServer(Keys(), lambda bits: 0xFFFF_FFFF)
        self.bound(here, there)
        there.check_response(here.respond(there.challenge(), NUMBERS), NOW)
        self.assertTrue(there.authenticated)

    def test_levels_refused(self) -> None:
        """A server that asks for more than the client's level gets none; one that is answered with less refuses."""
        for minimum in (Level.AUTH, Level.CRYPT, 3, 0xFFFFFFFF):
            here = client(level=Level.CLEAR)
            here.bind(BINDING)
            for form in (
                CHALLENGE.pack(version=2, challenge_id=1, level=minimum),
                OLD_CHALLENGE.pack(challenge_id=1, level=minimum),
            ):
                self.refused(RxkadCode.RXKADLEVELFAIL, here.respond, form, NUMBERS)
        for modern in (True, False):
            here, there = client(krb4_token(), Level.AUTH), server(DES_KEYS, Level.CRYPT)
            self.bound(here, there, modern)
            response = here.respond(server(minimum=Level.CLEAR).challenge(), NUMBERS) if not modern else None
            if response is None:
                asked = CHALLENGE.unpack(there.challenge())
                response = here.respond(CHALLENGE.pack(asked._replace(level=0)), NUMBERS)
            self.refused(RxkadCode.RXKADLEVELFAIL, there.check_response, response, NOW)

    def test_short_challenges(self) -> None:
        """A challenge cut short is no challenge; bytes after one mean nothing."""
        here, there = client(), server()
        self.bound(here, there)
        challenge = there.challenge()
        for size in (*range(8), *range(9, 16)):
            self.refused(RxkadCode.RXKADPACKETSHORT, here.respond, challenge[:size], NUMBERS)
        self.assertEqual(here.respond(challenge + b"\0" * 9, NUMBERS), here.respond(challenge, NUMBERS))

    def test_every_prefix(self) -> None:
        """A response cut anywhere is too short, and leaves the server as it was (advisory 2011-001)."""
        for modern in (True, False):
            here, there = client(krb4_token()), server(DES_KEYS)
            self.bound(here, there, modern)
            response = here.respond(there.challenge(), NUMBERS)
            for size in range(len(response)):
                self.refused(RxkadCode.RXKADPACKETSHORT, there.check_response, response[:size], NOW)
                self.assertEqual((there.authenticated, there.identity), (False, ANONYMOUS))
            there.check_response(response, NOW)

    def test_every_flip(self) -> None:
        """A response with any one bit changed is refused, with a code of rxkad (advisory 2011-001).

        Version and spare are read by nobody, but the new form's checksum covers them.
        """
        for modern in (True, False):
            here, there = client(krb4_token()), server(DES_KEYS)
            self.bound(here, there, modern)
            response = here.respond(there.challenge(), NUMBERS)
            for at in range(len(response)):
                for bit in range(8):
                    changed = bytearray(response)
                    changed[at] ^= 1 << bit
                    refusal = self.assertRaises(Abort, there.check_response, bytes(changed), NOW)
                    self.assertIn(refusal.code, ANSWERS, (at, bit))
                    self.assertFalse(there.authenticated, (at, bit))

    def test_garbage(self) -> None:
        """Random bytes, alone and as the ticket of a response, are refused with a code of rxkad."""
        share = budget("rxkad.garbage", full=100_000)
        random = Random(share.seed)
        for _ in range(share.count):
            there = server()
            there.bind(BINDING)
            there.meet(random.randrange(2))
            data = random.randbytes(random.randrange(200))
            if random.random() < 0.8:
                kvno, claimed = random.choice((256, 213, 0, 3, 257)), random.choice((len(data), 0, 2**31))
                there.meet(1)
                head = bytes(48) + kvno.to_bytes(4, "big") + claimed.to_bytes(4, "big")
                data = head + data
            refusal = self.assertRaises(Abort, there.check_response, data, NOW)
            self.assertIn(refusal.code, ANSWERS)

    def test_wrong_ends(self) -> None:
        """What only the other end does is refused."""
        here, there = client(), server()
        self.refused(RxkadCode.RXKADINCONSISTENCY, here.challenge)
        self.refused(RxkadCode.RXKADINCONSISTENCY, here.check_response, b"", NOW)
        self.refused(RxkadCode.RXKADINCONSISTENCY, there.respond, b"", NUMBERS)
