"""Credential caches that MIT's kinit wrote, and the tokens in them."""

from __future__ import annotations

import contextlib  # by name: trial takes a module's own `suppress` for something else
from pathlib import Path
from random import Random

from construct import ConstructError
from twisted.trial.unittest import SynchronousTestCase

import afs.credentials
from afs.credentials import CredentialsError, default_cache, for_cell, parse_cache, read_cache
from rx.security.interfaces import Binding, Identity
from rx.security.rxkad import ENCRYPTED_PART, WHOLE_TICKET, RxkadClient, RxkadServer
from tests.support.budget import budget
from tests.support.rxkad import Keys

CACHE = Path(__file__).parent.parent / "vectors" / "kerberos" / "alice.ccache"
KEYS = {
    "txafs.test": (18, "cb2f83b274673e1668b1203846c6ce4deb2acd016d85828657f1f2aa9ed02331"),
    "a128.test": (17, "c6dda783915cbf3fabdbd3f69bba03d8"),
    "sha384.test": (20, "2e3508f21369d1f94ded2ace327f898f93a93c2d1ac135f0e70ab82d520a6c7e"),
    "sha256.test": (19, "c38f565b260f96ef8e91bc8904908c5d"),
}
ALICE = Identity("rxkad", "alice", "", "TXAFS.TEST")


class CacheTests(SynchronousTestCase):
    """The file."""

    def test_content(self) -> None:
        """The cache has the tickets klist shows."""
        found = read_cache(CACHE)
        services = [
            each.server for each in found if each.client == "alice@TXAFS.TEST" and "X-CACHECONF" not in each.server
        ]
        expected = ["krbtgt/TXAFS.TEST@TXAFS.TEST", *(f"afs/{cell}@TXAFS.TEST" for cell in KEYS)]
        self.assertEqual(services, expected)

    def test_damaged(self) -> None:
        """A file cut short within a credential, of another format, or missing is refused."""
        content = CACHE.read_bytes()
        for size in range(0, len(content) - 1, 7):
            try:
                parse_cache(content[:size])
            except ConstructError:
                continue
            self.assertGreater(size, 60, "cut between two credentials it is a shorter cache")
        self.assertRaises(ConstructError, parse_cache, b"\5\3" + content[2:])
        self.assertRaises(CredentialsError, read_cache, Path(self.mktemp()))

    def test_garbage(self) -> None:
        """Whatever a cache holds, reading it and making tokens of it raise what they say and nothing else."""
        share = budget("afs.credentials.garbage", full=20_000, least=200)
        random, content = Random(share.seed), CACHE.read_bytes()
        kept = 0
        for _ in range(share.count):
            damaged = bytearray(content)
            for _ in range(random.choice((1, 1, 2, 20))):
                damaged[random.randrange(len(damaged))] = random.choice((0, 1, 0x7F, 0xFF, random.randrange(256)))
            start = random.randrange(len(damaged))
            del damaged[start : start + random.choice((0, 0, 1, 4, 100))]
            try:
                for credential in parse_cache(bytes(damaged)):
                    for kvno in (WHOLE_TICKET, ENCRYPTED_PART):
                        with contextlib.suppress(CredentialsError):
                            credential.token(kvno)
                            kept += 1
            except ConstructError:
                continue
        self.assertGreater(kept, 0, "not everything was refused at the door")

    def test_default(self) -> None:
        """KRB5CCNAME says where, with or without its kind; kinds that are no files are refused."""
        for name, expected in (("FILE:/a/b", "/a/b"), ("/a/b", "/a/b"), ("/a:b", "/a:b")):
            self.patch(__import__("os"), "environ", {"KRB5CCNAME": name})
            self.assertEqual(str(default_cache()), expected)
        self.patch(__import__("os"), "environ", {"KRB5CCNAME": "KEYRING:persistent:0"})
        self.assertRaises(CredentialsError, default_cache)
        self.patch(__import__("os"), "environ", {})
        self.patch(afs.credentials, "KRB5_CONF", Path("/nonexistent"))
        self.assertTrue(str(default_cache()).startswith("/tmp/krb5cc_"))

    def test_configured(self) -> None:
        """Else krb5.conf says where, in its section, with the user's number."""
        self.patch(__import__("os"), "environ", {})
        self.patch(__import__("os"), "getuid", lambda: 4711)
        path = Path(self.mktemp())
        self.patch(afs.credentials, "KRB5_CONF", path)
        path.write_text("[libdefaults]\n  default_realm = A\n  default_ccache_name = FILE:/run/%{uid}/c\n[realms]\n")
        self.assertEqual(str(default_cache()), "/run/4711/c")
        path.write_text("[libdefaults]\n[realms]\n  default_ccache_name = FILE:/elsewhere\n")
        self.assertEqual(str(default_cache()), "/tmp/krb5cc_4711")

    def test_directory(self) -> None:
        """Of several caches in a directory the primary one; or that which is named."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.patch(__import__("os"), "environ", {"KRB5CCNAME": f"DIR:{directory}"})
        self.assertEqual(default_cache(), directory / "tkt")
        for name, expected in (("tktAbC\n", "tktAbC"), ("../tkt", "tkt"), ("x", "tkt")):
            (directory / "primary").write_text(name)
            self.assertEqual(default_cache(), directory / expected)
        self.patch(__import__("os"), "environ", {"KRB5CCNAME": f"DIR::{directory}/tktX"})
        self.assertEqual(default_cache(), directory / "tktX")

    def test_secrets_stay(self) -> None:
        """A credential that is printed shows no key."""
        credential = read_cache(CACHE)[-1]
        self.assertNotIn(repr(credential.key), repr(credential))


class TokenTests(SynchronousTestCase):
    """From the cache to a server that has the key."""

    def test_tickets_of_a_kdc(self) -> None:
        """A server takes the ticket the KDC issued, of each enctype, whole or its encrypted part, as alice."""
        credentials = read_cache(CACHE)
        for cell, (enctype, key) in KEYS.items():
            for kvno in (WHOLE_TICKET, ENCRYPTED_PART):
                credential = for_cell(credentials, cell, 0)
                client = RxkadClient(credential.token(kvno))
                server = RxkadServer(Keys({(enctype, 1): bytes.fromhex(key)}), lambda bits: 7)
                client.bind(Binding(1, 4, 2))
                server.bind(Binding(1, 4, 2))
                server.meet(1)
                server.check_response(client.respond(server.challenge(), (1, 0, 0, 0)), credential.start)
                self.assertEqual(server.identity, ALICE)
                self.assertEqual(server.expires, credential.end)

    def test_none(self) -> None:
        """A cell without a ticket, or with an expired one, is told apart; the name's case does not matter."""
        credentials = read_cache(CACHE)
        self.assertIn("kvno", str(self.assertRaises(CredentialsError, for_cell, credentials, "other.test", 0)))
        end = for_cell(credentials, "TXAFS.test", 0).end
        self.assertIn("expired", str(self.assertRaises(CredentialsError, for_cell, credentials, "txafs.test", end)))
