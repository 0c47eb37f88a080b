"""What every form of fcrypt does: known answers, and the same as the reference for whatever it is given."""

from __future__ import annotations

from random import Random
from typing import Any

from rx.security.fcrypt import CipherType, PythonCipher
from tests.support.budget import budget

BLOCKS = (
    ("0000000000000000", "0000000000000000", "0e0900c73ef7ed41"),
    ("114477aadd003366", "123456789abcdef0", "d8ed787477ec0680"),
)
"""Key, plaintext, ciphertext: Linux's self-test of fcrypt."""


class FcryptContract:
    """Mix into a TestCase that sets `cipher`."""

    cipher: type[CipherType]

    def test_known_answers(self: Any) -> None:
        """Blocks of Linux's self-test, both ways, alone and as a chain of one."""
        for key, plain, sealed in BLOCKS:
            cipher = self.cipher(bytes.fromhex(key))
            self.assertEqual(cipher.encrypt_block(bytes.fromhex(plain)).hex(), sealed)
            self.assertEqual(cipher.decrypt_block(bytes.fromhex(sealed)).hex(), plain)
            self.assertEqual(cipher.encrypt(bytes.fromhex(plain), bytes(8)).hex(), sealed)
            self.assertEqual(cipher.decrypt(bytes.fromhex(sealed), bytes(8)).hex(), plain)

    def test_like_the_reference(self: Any) -> None:
        """Random keys, vectors and lengths give what the plain path gives, and come back."""
        share = budget("rx.fcrypt", full=5000)
        random = Random(share.seed)
        for _ in range(share.count):
            key, vector, data = (random.randbytes(size) for size in (8, 8, 8 * random.randrange(20)))
            cipher, reference = self.cipher(key), PythonCipher(key)
            sealed = cipher.encrypt(data, vector)
            self.assertEqual(sealed, reference.encrypt(data, vector))
            self.assertEqual(cipher.decrypt(sealed, vector), data)
            self.assertEqual(cipher.decrypt(data, vector), reference.decrypt(data, vector))
            self.assertEqual(cipher.encrypt_block(vector), reference.encrypt_block(vector))
            self.assertEqual(cipher.decrypt_block(vector), reference.decrypt_block(vector))

    def test_parity_bits(self: Any) -> None:
        """The lowest bit of each key byte does not count; every other bit does."""
        plain = self.cipher(bytes(8)).encrypt_block(bytes(8))
        for bit in range(64):
            key = (1 << bit).to_bytes(8, "big")
            self.assertEqual(self.cipher(key).encrypt_block(bytes(8)) == plain, bit % 8 == 0, bit)

    def test_chain(self: Any) -> None:
        """A block depends on all before it; blocks of a chain are chained by plaintext XOR ciphertext."""
        cipher = self.cipher(b"password")
        first, second = b"12345678", b"abcdefgh"
        sealed = cipher.encrypt(first + second, b"initial!")
        self.assertEqual(sealed[:8], cipher.encrypt_block(_xor(first, b"initial!")))
        self.assertEqual(sealed[8:], cipher.encrypt_block(_xor(second, _xor(first, sealed[:8]))))

    def test_wrong_sizes(self: Any) -> None:
        """What is no key, no block, no vector or no whole number of blocks is refused."""
        cipher = self.cipher(bytes(8))
        for size in (0, 1, 7, 9, 16):
            self.assertRaises(ValueError, self.cipher, bytes(size))
            self.assertRaises(ValueError, cipher.encrypt_block, bytes(size))
            self.assertRaises(ValueError, cipher.decrypt_block, bytes(size))
            self.assertRaises(ValueError, cipher.encrypt, bytes(8), bytes(size))
            self.assertRaises(ValueError, cipher.decrypt, bytes(8), bytes(size))
            if size % 8:
                self.assertRaises(ValueError, cipher.encrypt, bytes(size), bytes(8))
                self.assertRaises(ValueError, cipher.decrypt, bytes(size), bytes(8))
        self.assertEqual(cipher.encrypt(b"", bytes(8)), b"")

    def test_input_is_left_alone(self: Any) -> None:
        """A buffer that is encrypted keeps its content, whatever kind of buffer it is."""
        data = bytearray(range(16))
        cipher = self.cipher(bytes(range(8)))
        sealed = cipher.encrypt(bytes(data), bytes(8))
        self.assertEqual(cipher.encrypt(data, memoryview(bytes(8))), sealed)
        self.assertEqual(data, bytearray(range(16)))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
