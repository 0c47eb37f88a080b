"""fcrypt, the block cipher of rxkad: 64-bit blocks, 56-bit keys, 16 rounds (security.md section 3).

`PythonCipher` is the plain path and the reference, `Cipher` what is used: the C extension where the package was built
with a compiler (some 70 times faster), else the same. Both pass one contract test.
"""

from __future__ import annotations

from typing import Protocol

BLOCK_SIZE = 8
KEY_SIZE = 8
ROUNDS = 16

SBOXES = (
    bytes.fromhex(
        "ea7fb2649db0d911cd8686910ab293060e06d26573c52860f220b5387eda9fe3d2cfc43c61ff4a4a35acaa5f2bbbbc53"
        "4e9d78a3dc093210c66f66d6aba9affd3b95e8349a8172809cf3ecda9f2676153e554dde84eeadc7f16b3dd30449aa24"
        "0b8a83bafa85a0a8b1d401d87064f051d2c3a7758ca564ef104eb7c66103eb443de5b35baed5ad1dfa5a1e33ab93a2b7"
        "e7a845a4cd296344b6697e2e6203c8e017bbc7f33f36ba718e97656069b6f6e66ee08159e8afdd952299fd63197461b1"
        "b65bae54b370ffc63b3ec1d7e10e76e5364f59c7086e82a693c4aa2649e02164079f64819cbff9d143f8b6b9f1247503"
        "e4b099463df5d1397212f6ba0c0d422e"
    ),
    bytes.fromhex(
        "7714a6feb25e8c3e676ca10dc2a2c1856c7b67c623e3f289509c03b773e6e139312c279fa56944d62383987d3cb42d99"
        "1c1f8c20037c5fadf4fa95ca7644cdb6b8a1a1be9e548f0b1674318a231704fa7984b1f513abb52eaa0c606b5bc44bbc"
        "e2af4573fac949cd00927d977a18603dcf5bdec6e2e6bb8b06da08151b886a1789d0a9c1c9706be543f468c8d384280a"
        "5266a3caf2e37f7a31f788945e9c63d52466fcb35725be8944c4e08f233c1252f51ef4cb18331ff869109dd3f728f830"
        "055e32c0d519bd458b5bfdbce25ca996ef70cfc22ab361ad804881b71d43d9d745f0d88a597c57c179c734d643dfe478"
        "1606da927651e1d47003e02f96918280"
    ),
    bytes.fromhex(
        "f03724532a038386d1ec50f042782f6dbf80872795e2c55df96fdbb4656ee724c81abb49b50a7db9e8dcb7d945201bce"
        "599d6bbd0e8fa3a9bc74a6f67f5fb16884bca9fd5550e9b6135e07b89502c0d06a1a85bdb6fdfe173f09a38dfbedda1d"
        "6d1c6c015ae5713e8b6bbe29eb121934cdb3bd35ea4bd5ae2a795aa532127bdc2cd0224bb1855980c0309f73d3144840"
        "072d8f800fce0b5eb75eac24944a181505e80277a9c7404589d1eade0c792a996c3e95dd8c7dad6fdcfffd6247b3218a"
        "ec8e1918b46e3dfd74541e0485d8bc1f56e73a5667d6c8a5f38edeae3749b7fac8f41fe02a9b15d1340eb5e044788459"
        "566877a51406f52f8c8a738076b41086"
    ),
    bytes.fromhex(
        "a92a4851847e49e2b5b742337d5da61244486d28aa206d57d66b5d72f0925a1b538024709acca766a101a54197413182"
        "f114cf530da010cc2a7dd2bf4b1adb1647f65136edf3b91aa7df2943015470a4bfd40b5344609e23a118684ff02f82c2"
        "2a41b2420ced0c1d133a3c6e35dc606585e964029a3f9f8796dfbef2cbe56cd45a83bf921b940042cf4b0075ba8f765f"
        "5d3a4d091208389517e4011d4ca9cc85824c9d2f3b66a13410cd5989a531cf05c884fac7ba4e8b1a19f1a13b181217b0"
        "988d0b23c33a2d20df13a0a84c0d6c2f471313521f2df5793da254bd69c86bf30528f1164640b011d3b79549cfc31d8f"
        "d8e173dbadc8c9a9a1c2c5e3bafc0e25"
    ),
)
"""S-boxes 0 to 3 (rxkad/sboxes.h): a round's byte n, the highest first, goes through box n."""

_PLACES = (8, 0, 16, 24)
"""How far left the output of each box stands in a round's word."""

_WORD = 0xFFFF_FFFF
_KEY_BITS = 56
_ROTATION = 11
"""The 56 bits of the key are rotated right by this after each round; the low 32 of them are the round's key."""


def _table(box: bytes, place: int) -> tuple[int, ...]:
    """A box with the permutation and the rotation right by 5 that follow it."""
    return tuple([(value << place) >> 5 | (value << place) << 27 & _WORD for value in box])


_T0, _T1, _T2, _T3 = (_table(box, place) for box, place in zip(SBOXES, _PLACES, strict=True))


class CipherType(Protocol):
    """A key made ready for use. Data is always a multiple of 8 bytes, a vector 8; anything else is a ValueError.

    The chaining is not CBC: plaintext XOR ciphertext of a block goes into the next one (Linux calls it PCBC).
    """

    def __init__(self, key: bytes, /) -> None: ...

    def encrypt_block(self, block: bytes, /) -> bytes:
        """Encrypt 8 bytes."""

    def decrypt_block(self, block: bytes, /) -> bytes:
        """Decrypt 8 bytes."""

    def encrypt(self, data: bytes, vector: bytes, /) -> bytes:
        """Encrypt blocks chained from `vector`."""

    def decrypt(self, data: bytes, vector: bytes, /) -> bytes:
        """Decrypt blocks chained from `vector`."""


class PythonCipher:
    """fcrypt in Python alone: 2 MB/s."""

    __slots__ = ("_backwards", "_schedule")

    def __init__(self, key: bytes, /) -> None:
        self._schedule = schedule(key)
        self._backwards = self._schedule[::-1]

    def encrypt_block(self, block: bytes, /) -> bytes:
        """See CipherType."""
        _check_block(block)
        return self._encrypt(int.from_bytes(block, "big")).to_bytes(BLOCK_SIZE, "big")

    def decrypt_block(self, block: bytes, /) -> bytes:
        """See CipherType."""
        _check_block(block)
        return self._decrypt(int.from_bytes(block, "big")).to_bytes(BLOCK_SIZE, "big")

    def encrypt(self, data: bytes, vector: bytes, /) -> bytes:
        """See CipherType."""
        _check(data, vector)
        chain = int.from_bytes(vector, "big")
        result = bytearray()
        for at in range(0, len(data), BLOCK_SIZE):
            plain = int.from_bytes(data[at : at + BLOCK_SIZE], "big")
            sealed = self._encrypt(plain ^ chain)
            chain = plain ^ sealed
            result += sealed.to_bytes(BLOCK_SIZE, "big")
        return bytes(result)

    def decrypt(self, data: bytes, vector: bytes, /) -> bytes:
        """See CipherType."""
        _check(data, vector)
        chain = int.from_bytes(vector, "big")
        result = bytearray()
        for at in range(0, len(data), BLOCK_SIZE):
            sealed = int.from_bytes(data[at : at + BLOCK_SIZE], "big")
            plain = self._decrypt(sealed) ^ chain
            chain = plain ^ sealed
            result += plain.to_bytes(BLOCK_SIZE, "big")
        return bytes(result)

    def _encrypt(self, block: int) -> int:
        left, right = _rounds(block >> 32, block & _WORD, self._schedule)
        return left << 32 | right

    def _decrypt(self, block: int) -> int:
        right, left = _rounds(block & _WORD, block >> 32, self._backwards)
        return left << 32 | right


def schedule(key: bytes) -> tuple[int, ...]:
    """The 16 round keys of 8 key bytes; the lowest bit of each byte is a parity bit and does not count."""
    _check_block(key)
    bits = 0
    for byte in key:
        bits = bits << 7 | byte >> 1
    keys = []
    for _ in range(ROUNDS):
        keys.append(bits & _WORD)
        bits = bits >> _ROTATION | bits << _KEY_BITS - _ROTATION & (1 << _KEY_BITS) - 1
    return tuple(keys)


def _rounds(left: int, right: int, keys: tuple[int, ...]) -> tuple[int, int]:
    """All rounds. The halves have changed places an even number of times at the end."""
    for key in keys:
        word = key ^ right
        mixed = _T0[word >> 24] ^ _T1[word >> 16 & 255] ^ _T2[word >> 8 & 255] ^ _T3[word & 255]
        left, right = right, left ^ mixed
    return left, right


def _check_block(block: bytes) -> None:
    if len(block) != BLOCK_SIZE:
        raise ValueError(f"{len(block)} bytes where a block of {BLOCK_SIZE} belongs")


def _check(data: bytes, vector: bytes) -> None:
    _check_block(vector)
    if len(data) % BLOCK_SIZE:
        raise ValueError(f"{len(data)} bytes are no multiple of {BLOCK_SIZE}")


def _chosen() -> type[CipherType]:
    try:
        from rx.security import _fcrypt
    except ImportError:
        return PythonCipher
    _fcrypt.set_boxes(b"".join(SBOXES))
    return _fcrypt.Cipher


Cipher: type[CipherType] = _chosen()

FAST = Cipher is not PythonCipher
"""Whether the C extension is there."""
