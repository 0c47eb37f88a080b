"""rxkad, both ends of it: handshakes old and new, packets at each level, and what is refused with which code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import RxkadCode
from rx.errors import Abort
from rx.packet import CHALLENGE, OLD_CHALLENGE
from rx.security.interfaces import ANONYMOUS, Binding, Identity
from rx.security.kerberos.ticket import LONGEST_LIFE, NEVER, SKEW
from rx.security.rxkad import Level, RxkadClient, RxkadServer, Token
from tests.contracts.isecurity import NUMBERS, SecurityContract
from tests.support.budget import budget
from tests.support.rxkad import DES_KEY, NOW, USER, Keys, client, krb4_token, server, token

ALICE = Identity("rxkad", "alice", "", "LAB.TEST")
BINDING = Binding(0x8765_4321, 0x1234_5678, 2)
DES_KEYS = Keys({}, {3: DES_KEY})
"""A server's where DES is allowed, with the key of `krb4_token`."""

ANSWERS = frozenset(RxkadCode) - {RxkadCode.RXKADINCONSISTENCY, RxkadCode.RXKADBADKEY, RxkadCode.RXKADILLEGALLEVEL}
"""What a client may be told about a response."""


class ClearTests(SecurityContract, SynchronousTestCase):
    """The contract at level clear."""

    make_client, make_server = staticmethod(client), staticmethod(server)
    identity = ALICE


class AuthTests(SecurityContract, SynchronousTestCase):
    """The contract at level auth."""

    make_client = staticmethod(lambda: client(level=Level.AUTH))
    make_server = staticmethod(lambda: server(minimum=Level.AUTH))
    identity = ALICE


class CryptTests(SecurityContract, SynchronousTestCase):
    """The contract at level crypt."""

    make_client = staticmethod(lambda: client(level=Level.CRYPT))
    make_server = staticmethod(lambda: server(minimum=Level.CRYPT))
    identity = ALICE


class RxkadCase(SynchronousTestCase):
    """Helpers."""

    def refused(self, code: int, act: Callable[..., Any], *arguments: Any) -> None:
        refusal = self.assertRaises(Abort, act, *arguments)
        self.assertEqual(RxkadCode(refusal.code), RxkadCode(code), str(refusal))

    def bound(self, one: RxkadClient, other: RxkadServer, modern: bool = True) -> None:
        one.bind(BINDING)
        other.bind(BINDING)
        other.meet(1 if modern else 0)

    def ends(self, level: Level, modern: bool = True) -> tuple[RxkadClient, RxkadServer]:
        ends = (client(level=level), server()) if modern else (client(krb4_token(), level), server(DES_KEYS))
        self.bound(*ends, modern)
        ends[1].check_response(ends[0].respond(ends[1].challenge(), NUMBERS), NOW)
        return ends


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


class TicketTests(RxkadCase):
    """Which tickets a server takes."""

    def respond(self, using: Token, there: RxkadServer) -> Callable[[float], object]:
        here = client(using)
        self.bound(here, there)
        response = here.respond(there.challenge(), NUMBERS)
        return lambda now: there.check_response(response, now)

    def test_times(self) -> None:
        """The codes for tickets before, in and after their time, of impossible and of unlimited lives."""
        day, start, end = 24 * 3600, USER.start, USER.end
        for begin, until, code in (
            (start, end, None),
            (NOW + SKEW, end, None),
            (NOW + SKEW + 1, end, RxkadCode.RXKADNOAUTH),
            (start, NOW + 1, None),
            (start, NOW, RxkadCode.RXKADEXPIRED),
            (start, NOW - 1, RxkadCode.RXKADEXPIRED),
            (0, 0x7FFFFFFF, None),
            (NOW - day, NOW - day + LONGEST_LIFE, None),
            (NOW - day, NOW - day + LONGEST_LIFE + 1, RxkadCode.RXKADBADTICKET),
            (NOW, NOW, RxkadCode.RXKADBADTICKET),
            (NOW + 31 * day, NOW + 32 * day, RxkadCode.RXKADBADTICKET),
        ):
            check = self.respond(token(replace(USER, start=begin, end=until)), server())
            if code is None:
                check(NOW)
            else:
                self.refused(code, check, NOW)

    def test_expires_in_use(self) -> None:
        """Packets that come when the ticket has run out are refused, sealed or not."""
        here, there = self.ends(Level.CRYPT)
        sealed = here.seal(0, 1, 1, b"in time")
        self.assertEqual(there.open(0, 1, 1, *sealed, USER.end - 0.001), b"in time")
        self.refused(RxkadCode.RXKADEXPIRED, there.open, 0, 1, 1, *sealed, USER.end)

    def test_keys(self) -> None:
        """A version or enctype the server has no key of is unknown; a key that is not the ticket's opens nothing."""
        self.refused(RxkadCode.RXKADUNKNOWNKEY, self.respond(token(kvno=2), server()), NOW)
        self.refused(RxkadCode.RXKADUNKNOWNKEY, self.respond(token(), server(Keys({}))), NOW)
        self.refused(RxkadCode.RXKADBADTICKET, self.respond(token(), server(Keys({(18, 1): bytes(32)}))), NOW)
        self.refused(RxkadCode.RXKADBADTICKET, self.respond(token(), server(Keys({(18, 1): bytes(16)}))), NOW)

    def test_wrong_session_key(self) -> None:
        """Who has a ticket but not its session key is nobody, at either form."""
        stolen = replace(token(), session_key=b"a guess!")
        self.refused(RxkadCode.RXKADSEALEDINCON, self.respond(stolen, server()), NOW)
        here, there = client(replace(krb4_token(), session_key=b"a guess!")), server(DES_KEYS)
        self.bound(here, there, modern=False)
        response = here.respond(there.challenge(), NUMBERS)
        self.refused(RxkadCode.RXKADOUTOFSEQUENCE, there.check_response, response, NOW)

    def test_sizes(self) -> None:
        """Tickets of fewer than 32 or more than 12000 bytes are not looked at."""
        for size, code in (
            (31, RxkadCode.RXKADTICKETLEN),
            (32, RxkadCode.RXKADBADTICKET),
            (12000, RxkadCode.RXKADBADTICKET),
            (12001, RxkadCode.RXKADTICKETLEN),
        ):
            self.refused(code, self.respond(Token(213, bytes(size), bytes(8)), server()), NOW)

    def test_krb4(self) -> None:
        """A ticket of Kerberos 4 is unknown unless DES is allowed (advisories 2003-001, 2013-003)."""
        self.refused(RxkadCode.RXKADUNKNOWNKEY, self.respond(krb4_token(), server()), NOW)
        there = server(DES_KEYS)
        self.respond(krb4_token(), there)(NOW)
        self.assertEqual(there.identity, ALICE)
        self.refused(RxkadCode.RXKADUNKNOWNKEY, self.respond(krb4_token(kvno=4), server(DES_KEYS)), NOW)

    def test_kinds(self) -> None:
        """Versions beyond 255 that are no kind of ticket are unknown, whatever keys there are."""
        keys = Keys({}, dict.fromkeys((*range(257, 600), 0xFFFFFFFF), DES_KEY))
        for kvno in (257, 511, 512, 0xFFFFFFFF):
            using = replace(krb4_token(), kvno=kvno)
            self.refused(RxkadCode.RXKADUNKNOWNKEY, self.respond(using, server(keys)), NOW)

    def test_secrets_stay(self) -> None:
        """Neither a token nor a ticket shows its keys when it is printed."""
        for secret in (token(), USER, server()):
            self.assertNotIn(repr(USER.session_key)[2:-1], repr(secret))

    def test_never(self) -> None:
        """A ticket of Kerberos 4 without end never expires."""
        there = server(DES_KEYS)
        self.respond(krb4_token(replace(USER, start=0), life=0xFF), there)(NOW)
        self.assertEqual(there.expires, NEVER)


class PacketTests(RxkadCase):
    """Sealed packets."""

    def test_place(self) -> None:
        """A packet moved to another channel, call or place in its call, or turned round, is refused (replays)."""
        for level in Level:
            here, there = self.ends(level)
            spare, body = here.seal(1, 2, 3, b"0123456789")
            for place in ((0, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2, 3 + 2**16), (1, 2 + 2**16, 3)):
                self.refused(RxkadCode.RXKADSEALEDINCON, there.open, *place, spare, body, NOW)
            self.assertEqual(there.open(1, 2, 3, spare, body, NOW), b"0123456789")

    def test_checksum_is_needed(self) -> None:
        """No packet is taken without its checksum, not even with 0 in its place."""
        for level in Level:
            here, there = self.ends(level)
            spare, body = here.seal(1, 2, 3, b"0123456789")
            for wrong in (0, spare ^ 1, spare ^ 0x8000):
                self.refused(RxkadCode.RXKADSEALEDINCON, there.open, 1, 2, 3, wrong, body, NOW)
                self.refused(RxkadCode.RXKADSEALEDINCON, here.open, 1, 2, 3, wrong, body, NOW)

    def test_checksum_is_never_zero(self) -> None:
        """0 would mean that there is no checksum: it becomes 1."""
        here, _ = self.ends(Level.CLEAR)
        found = {here.seal(0, 1, seq, b"")[0] for seq in range(1, 300_000)}
        self.assertNotIn(0, found)
        self.assertIn(1, found)

    def test_crypt_hides(self) -> None:
        """At level crypt no eight bytes of the data can be read; auth hides only the first block."""
        data = bytes(range(200))
        for level, seen in ((Level.CLEAR, 192), (Level.AUTH, 188), (Level.CRYPT, 0)):
            here, _ = self.ends(level)
            _, body = here.seal(0, 1, 1, data)
            windows = sum(data[at : at + 8] in body for at in range(192))
            self.assertIn(windows, range(seen, seen + 2), level)

    def test_tampered(self) -> None:
        """At level crypt a change to the first block is seen; a length beyond the packet always."""
        here, there = self.ends(Level.CRYPT)
        spare, body = here.seal(0, 1, 1, bytes(100))
        changed = bytes([body[0] ^ 1]) + body[1:]
        self.refused(RxkadCode.RXKADSEALEDINCON, there.open, 0, 1, 1, spare, changed, NOW)
        for level in (Level.AUTH, Level.CRYPT):
            here, there = self.ends(level)
            spare, body = here.seal(0, 1, 1, bytes(100))
            self.refused(RxkadCode.RXKADDATALEN, there.open, 0, 1, 1, spare, body[:48], NOW)

    def test_impossible_sizes(self) -> None:
        """Sealed bodies that no rxkad makes are refused: shorter than a block, or parts of blocks."""
        for level, sizes in ((Level.AUTH, range(8)), (Level.CRYPT, (*range(8), 9, 15, 17))):
            here, there = self.ends(level)
            spare, _ = here.seal(0, 1, 1, b"")
            for size in sizes:
                self.refused(RxkadCode.RXKADSEALEDINCON, there.open, 0, 1, 1, spare, bytes(size), NOW)
