"""Wire types shared by the services."""

from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from afs.types import AFSCBFids, AFSFid, AfsUuid, interfaceAddr
from xdr import XdrError, codec

UUID_BYTES = bytes.fromhex("00112233 4455 8677 88 99 aabbccddeeff".replace(" ", ""))


class UuidTests(SynchronousTestCase):
    """afsUUID."""

    def test_wire_form(self) -> None:
        """It is eleven words; clock sequence and node are bytes, sign-extended (xdr_afsuuid.c)."""
        expected = "00112233 00004455 00008677 ffffff88 ffffff99 ffffffaa ffffffbb ffffffcc ffffffdd ffffffee ffffffff"
        wire = codec(AfsUuid).encode(UUID(bytes=UUID_BYTES))
        self.assertEqual(wire.hex(" ", -4), expected)
        self.assertEqual(codec(AfsUuid).decode(wire), UUID(bytes=UUID_BYTES))

    def test_zero_extended(self) -> None:
        """A peer that extends with zeros is understood too."""
        words = [0x00112233, 0x4455, 0x8677, *UUID_BYTES[8:]]
        wire = b"".join(word.to_bytes(4, "big") for word in words)
        self.assertEqual(codec(AfsUuid).decode(wire), UUID(bytes=UUID_BYTES))

    def test_truncation(self) -> None:
        """Every truncation is refused."""
        wire = codec(AfsUuid).encode(UUID(bytes=UUID_BYTES))
        for size in range(len(wire)):
            self.assertRaises(XdrError, codec(AfsUuid).decode, wire[:size])


class BoundTests(SynchronousTestCase):
    """Bounds hold whatever a peer claims (OPENAFS-SA-2002-001)."""

    def test_absurd_counts(self) -> None:
        """A claim of more file ids than 50, or than the bytes hold, is refused."""
        for count in (51, 0x4000_0001, 0x8000_0000, 0xFFFF_FFFF):
            self.assertRaises(XdrError, codec(AFSCBFids).decode, count.to_bytes(4, "big") + bytes(46))

    def test_fifty(self) -> None:
        """Fifty are not too many."""
        fids = tuple(AFSFid(1, 2, each) for each in range(50))
        self.assertEqual(codec(AFSCBFids).decode(codec(AFSCBFids).encode(fids)), fids)

    def test_interfaces(self) -> None:
        """An interface list always has room for 32 addresses."""
        self.assertRaises(XdrError, codec(interfaceAddr).encode, interfaceAddr(addr_in=(1, 2)))
