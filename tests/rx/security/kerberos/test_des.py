"""Session keys for rxkad, and DES tickets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rx.security.kerberos import des
from rx.security.kerberos.enctypes import SealBroken

COUNTING = bytes(range(32))
OTHER = bytes.fromhex("0b30557a9fc4e90e33587da2c7ec11365b80a5caef14395e83a8cdf2173c6186")

DERIVED = (
    (COUNTING, 18, "b60db5e30b266b16"),
    (COUNTING[:16], 17, "07838c58c11c64ab"),
    (COUNTING[:16], 23, "07838c58c11c64ab"),
    (bytes(32), 18, "9da4198f510dcd8c"),
    (bytes(16), 17, "9da4198f510dcd8c"),
    (bytes(24), 16, "9da4198f510dcd8c"),
    (OTHER, 18, "c4eafd70ae13c743"),
    (OTHER, 20, "c4eafd70ae13c743"),
    (OTHER[:16], 17, "1397fd1af29732ab"),
    (COUNTING[:24], 16, "0204c702e90237a7"),
    (OTHER[:24], 16, "ba25542543c451dc"),
)
"""Key, enctype, rxkad's DES key; computed twice independently (docs/protocol/security.md), des3 once."""


class SessionKeyTests(SynchronousTestCase):
    """rxkad-kdf."""

    def test_derived(self) -> None:
        """Keys of every kind give the known DES keys."""
        for key, enctype, expected in DERIVED:
            self.assertEqual(des.session_key(enctype, key).hex(), expected)

    def test_des_keys(self) -> None:
        """A DES key is used as it is; of another size it is refused."""
        for enctype in (1, 2, 3):
            self.assertEqual(des.session_key(enctype, b"12345678"), b"12345678")
            for size in (0, 7, 9, 16):
                self.assertRaises(SealBroken, des.session_key, enctype, bytes(size))

    def test_refused(self) -> None:
        """Enctypes without keys, and keys too short to give one, are refused."""
        for enctype in (-1, 0, 4, 6, *range(8, 16)):
            self.assertRaises(SealBroken, des.session_key, enctype, bytes(32))
        for enctype, key in ((17, bytes(6)), (18, b""), (16, bytes(23)), (16, b"")):
            self.assertRaises(SealBroken, des.session_key, enctype, key)

    def test_parity(self) -> None:
        """Every byte of a derived key has an odd number of ones; weak keys, which have that too, are known as such."""
        key = des.with_odd_parity(bytes(range(256)))
        self.assertTrue(all(byte.bit_count() % 2 for byte in key))
        self.assertEqual([byte & 0xFE for byte in key], [byte & 0xFE for byte in range(256)])
        self.assertEqual(len(des.WEAK_KEYS), 16)
        self.assertTrue(all(des.with_odd_parity(weak) == weak for weak in des.WEAK_KEYS))

    def test_weak_keys_are_skipped(self) -> None:
        """When what comes first is a weak key the next is taken."""
        first = des.derive(COUNTING)
        self.patch(des, "WEAK_KEYS", des.WEAK_KEYS | {first})
        second = des.derive(COUNTING)
        self.assertNotEqual(second, first)
        self.assertEqual(second, des.with_odd_parity(second))


class SealTests(SynchronousTestCase):
    """DES enctypes and PCBC."""

    def test_round_trip(self) -> None:
        """What is sealed opens, up to zeros at its end; a changed byte or length is noticed."""
        key = bytes.fromhex("0123456789abcdef")
        for enctype in sorted(des.DES_ENCTYPES):
            for size in range(40):
                plain = bytes(range(1, size + 1))
                sealed = des.encrypt(enctype, key, plain, b"confound")
                self.assertEqual(des.decrypt(enctype, key, sealed).rstrip(b"\0"), plain)
            for at in range(len(sealed)):
                changed = bytearray(sealed)
                changed[at] ^= 0x80
                self.assertRaises(SealBroken, des.decrypt, enctype, key, bytes(changed))
                self.assertRaises(SealBroken, des.decrypt, enctype, key, sealed[:at])

    def test_known_answer(self) -> None:
        """DES-CBC as FIPS 81 has it, behind the confounder's place; PCBC chains plaintext into what follows."""
        key, text = bytes.fromhex("0123456789abcdef"), b"Now is the time for all "
        sealed = des.pcbc_encrypt(key, text)
        self.assertEqual(des.pcbc_decrypt(key, sealed), text)
        swapped = sealed[8:16] + sealed[:8] + sealed[16:]
        self.assertEqual(des.pcbc_decrypt(key, swapped)[16:], text[16:], "PCBC does not notice a swap of two blocks")
        self.assertNotEqual(des.pcbc_decrypt(key, swapped)[:16], text[:16])
