"""What every security class must do: both ends of a connection, through the interface alone."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from zope.interface.verify import verifyObject

from rx.errors import Abort
from rx.security.interfaces import ANONYMOUS, Binding, Identity, ISecurity
from tests.support.budget import budget

BINDING_CID = 0x0BAD_CAFC
NUMBERS = (0, 7, 1, 2**31 - 1)
NOW = 1_000_000_000.0


class SecurityContract:
    """Mixin. Say how the two ends are made and whom the server then knows."""

    make_client: Callable[[], ISecurity]
    make_server: Callable[[], ISecurity]
    identity: Identity = ANONYMOUS

    def ends(self: Any) -> tuple[Any, Any]:
        """A client and a server of one connection, after the handshake where there is one."""
        client, server = self.bound()
        if not server.authenticated:
            server.check_response(client.respond(server.challenge(), NUMBERS), NOW)
        return client, server

    def bound(self: Any) -> tuple[Any, Any]:
        """The same before it."""
        client, server = type(self).make_client(), type(self).make_server()
        for end in (client, server):
            end.bind(Binding(0x8765_4321, BINDING_CID, end.index))
        if not server.authenticated:
            spare, _ = client.seal(0, NUMBERS[0], 1, b"what began the connection")
            server.meet(spare)
        return client, server

    def test_interface(self: Any) -> None:
        """Both ends provide all of ISecurity, under one index."""
        client, server = self.bound()
        self.assertTrue(verifyObject(ISecurity, client))
        self.assertTrue(verifyObject(ISecurity, server))
        self.assertEqual(client.index, server.index)
        self.assertEqual((client.header_size, client.trailer_size), (server.header_size, server.trailer_size))
        self.assertTrue(client.authenticated)

    def test_handshake(self: Any) -> None:
        """Before it nobody is known; after it calls may run, as the client it was."""
        _, server = self.bound()
        self.assertEqual(server.identity, ANONYMOUS)
        _, server = self.ends()
        self.assertTrue(server.authenticated)
        self.assertEqual(server.identity, self.identity)

    def test_adopted_nonces(self: Any) -> None:
        """A server given nonces challenges with the first and takes the answer to any; other answers it refuses."""
        client, server = self.bound()
        if server.authenticated:
            return
        for given, accepted in (((5, 6), (5,)), ((5, 6), (6, 5)), ((2**32 - 1,), (0, 2**32 - 1)), ((5,), (6, 7))):
            _, asking = self.bound()
            asking.adopt(given)
            _, answered = self.bound()
            answered.adopt(accepted)
            response = client.respond(asking.challenge(), NUMBERS)
            if given[0] in accepted:
                self.assertEqual(answered.check_response(response, NOW), NUMBERS)
            else:
                self.assertRaises(Abort, answered.check_response, response, NOW)

    def test_packets(self: Any) -> None:
        """What one end seals the other opens, both ways, at every size, within the bytes it said it may add."""
        spent = budget(f"security.{type(self).__name__}", full=5000, least=50)
        random = Random(spent.seed)
        client, server = self.ends()
        for _ in range(spent.count):
            data = random.randbytes(random.choice((0, 1, 7, 8, 9, 1000, 1400)))
            place = (random.randrange(4), random.randrange(1, 2**31), random.randrange(1, 2**31))
            for one, other in ((client, server), (server, client)):
                spare, body = one.seal(*place, data)
                self.assertLessEqual(len(body), len(data) + one.header_size + one.trailer_size)
                self.assertIn(spare, range(2**16))
                self.assertEqual(other.open(*place, spare, body, NOW), data)
                if not one.sealing:
                    self.assertEqual((spare, body), (0, data))

    def test_truncated(self: Any) -> None:
        """A sealed packet cut anywhere is refused with Abort, or opens to what it was; nothing else happens."""
        client, server = self.ends()
        data = bytes(range(64))
        spare, body = client.seal(1, 2, 3, data)
        for size in range(len(body)):
            try:
                opened = server.open(1, 2, 3, spare, body[:size], NOW)
            except Abort:
                continue
            self.assertTrue(not client.sealing or data.startswith(opened))

    def test_bad_responses(self: Any) -> None:
        """A response cut short, or to nobody's challenge, is refused with Abort and proves nothing."""
        client, server = self.bound()
        if server.authenticated:
            self.assertRaises(Abort, server.check_response, b"", NOW)
            return
        response = client.respond(server.challenge(), NUMBERS)
        for size in range(len(response)):
            _, fresh = self.bound()
            fresh.challenge()
            self.assertRaises(Abort, fresh.check_response, response[:size], NOW)
            self.assertFalse(fresh.authenticated)
            self.assertEqual(fresh.identity, ANONYMOUS)

    def test_bad_challenges(self: Any) -> None:
        """A challenge of nonsense is refused with Abort by the client."""
        client, _ = self.bound()
        for nonsense in (b"", b"\0", b"nonsense" * 3):
            self.assertRaises(Abort, client.respond, nonsense, NUMBERS)
