"""rxkad, both ends of it: the contract at each level, and what protects packets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import RxkadCode
from rx.security.rxkad import Level
from tests.contracts.isecurity import SecurityContract
from tests.rx.security.cases import ALICE, RxkadCase
from tests.support.rxkad import NOW, client, server


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
