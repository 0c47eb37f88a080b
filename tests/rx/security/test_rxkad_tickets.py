"""What rxkad makes of tickets: their times, keys, sizes and kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rx.constants import RxkadCode
from rx.security.kerberos.ticket import LONGEST_LIFE, NEVER, SKEW
from rx.security.rxkad import Level, RxkadServer, Token
from tests.contracts.isecurity import NUMBERS
from tests.rx.security.cases import ALICE, DES_KEYS, RxkadCase
from tests.support.rxkad import DES_KEY, NOW, USER, Keys, client, krb4_token, server, token


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
