"""The AES enctypes of Kerberos: aes-cts-hmac-sha1-96 (RFC 3961, 3962) and aes-cts-hmac-sha2 (RFC 8009)."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from Crypto.Cipher import AES

BLOCK_SIZE = 16
CONFOUNDER_SIZE = BLOCK_SIZE

TICKET_USAGE = 2
"""Key usage of the encrypted part of a ticket (RFC 4120 section 7.5.1)."""


class Enctype(IntEnum):
    """Numbers of Kerberos encryption types (RFC 3961, 3962, 4757, 8009)."""

    DES_CBC_CRC = 1
    DES_CBC_MD4 = 2
    DES_CBC_MD5 = 3
    DES3_CBC_MD5 = 5
    OLD_DES3_CBC_SHA1 = 7
    DES3_CBC_SHA1 = 16
    AES128_SHA1 = 17
    AES256_SHA1 = 18
    AES128_SHA256 = 19
    AES256_SHA384 = 20
    RC4_HMAC = 23


class SealBroken(Exception):
    """Encrypted data is not what its sender sealed with this key, or cannot be such data at all."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How an enctype derives its keys, and what it authenticates."""

    key_size: int
    mac_size: int
    digest: str
    derive: Callable[[Profile, bytes, bytes, int], bytes]
    mac_covers_ciphertext: bool

    def keys(self, key: bytes, usage: int) -> tuple[bytes, bytes]:
        """The encryption and the integrity key of a protocol key for one usage."""
        number = usage.to_bytes(4, "big")
        integrity_size = self.mac_size if self.mac_covers_ciphertext else self.key_size
        return (
            self.derive(self, key, number + b"\xaa", self.key_size),
            self.derive(self, key, number + b"\x55", integrity_size),
        )

    def mac(self, key: bytes, plain: bytes, sealed: bytes) -> bytes:
        """The truncated HMAC: RFC 8009 takes the initial vector and the ciphertext, RFC 3961 the plaintext."""
        covered = bytes(BLOCK_SIZE) + sealed if self.mac_covers_ciphertext else plain
        return hmac.digest(key, covered, self.digest)[: self.mac_size]


def encrypt(enctype: int, key: bytes, usage: int, plain: bytes, confounder: bytes) -> bytes:
    """Seal `plain`. `confounder` is 16 random bytes. KeyError for an enctype that is not in PROFILES."""
    profile = PROFILES[enctype]
    assert len(key) == profile.key_size
    assert len(confounder) == CONFOUNDER_SIZE
    sealing, integrity = profile.keys(key, usage)
    plain = confounder + plain
    sealed = cts_encrypt(sealing, plain)
    return sealed + profile.mac(integrity, plain, sealed)


def decrypt(enctype: int, key: bytes, usage: int, data: bytes) -> bytes:
    """What was sealed. Raises SealBroken; KeyError for an enctype that is not in PROFILES."""
    profile = PROFILES[enctype]
    if len(key) != profile.key_size:
        raise SealBroken(f"a key of {len(key)} bytes for enctype {enctype}")
    if len(data) < CONFOUNDER_SIZE + profile.mac_size:
        raise SealBroken(f"{len(data)} bytes are too few")
    sealing, integrity = profile.keys(key, usage)
    sealed, mac = data[: -profile.mac_size], data[-profile.mac_size :]
    plain = cts_decrypt(sealing, sealed)
    if not hmac.compare_digest(mac, profile.mac(integrity, plain, sealed)):
        raise SealBroken("the checksum does not match")
    return plain[CONFOUNDER_SIZE:]


def cts_encrypt(key: bytes, plain: bytes) -> bytes:
    """AES in CBC mode with ciphertext stealing and a zero initial vector (RFC 3962 section 5); at least a block."""
    tail = len(plain) % BLOCK_SIZE or BLOCK_SIZE
    padded = plain + bytes(BLOCK_SIZE - tail)
    sealed: bytes = AES.new(key, AES.MODE_CBC, bytes(BLOCK_SIZE)).encrypt(padded)
    if len(sealed) == BLOCK_SIZE:
        return sealed
    return sealed[: -2 * BLOCK_SIZE] + sealed[-BLOCK_SIZE:] + sealed[-2 * BLOCK_SIZE : -2 * BLOCK_SIZE + tail]


def cts_decrypt(key: bytes, sealed: bytes) -> bytes:
    """The reverse."""
    if len(sealed) == BLOCK_SIZE:
        plain: bytes = AES.new(key, AES.MODE_ECB).decrypt(sealed)
        return plain
    tail = len(sealed) % BLOCK_SIZE or BLOCK_SIZE
    start = len(sealed) - tail - BLOCK_SIZE
    whole, short = sealed[start : start + BLOCK_SIZE], sealed[start + BLOCK_SIZE :]
    # The whole block, decrypted, is the short one XOR the plaintext's end; what lies beyond that end was stolen.
    stolen: bytes = AES.new(key, AES.MODE_ECB).decrypt(whole)[tail:]
    inner = sealed[:start] + short + stolen + whole
    padded: bytes = AES.new(key, AES.MODE_CBC, bytes(BLOCK_SIZE)).decrypt(inner)
    return padded[: len(sealed)]


def fold(data: bytes, size: int) -> bytes:
    """n-fold (RFC 3961 section 5.1): `data` stretched or pressed to `size` bytes."""
    bits, width = int.from_bytes(data, "big"), 8 * len(data)
    repeated, length = b"", 0
    while length % size or not length:
        turn = 13 * (length // len(data)) % width
        rotated = bits >> turn | bits << width - turn & (1 << width) - 1
        repeated += rotated.to_bytes(len(data), "big")
        length += len(data)
    total = sum(int.from_bytes(repeated[at : at + size], "big") for at in range(0, length, size))
    limit = 1 << 8 * size
    while total >= limit:  # ones' complement: what is carried out comes in below
        total = total % limit + total // limit
    return total.to_bytes(size, "big")


def _derive_sha1(profile: Profile, key: bytes, constant: bytes, size: int) -> bytes:
    """DK (RFC 3961 section 5.1)."""
    cipher = AES.new(key, AES.MODE_ECB)
    block, derived = fold(constant, BLOCK_SIZE), b""
    while len(derived) < size:
        block = cipher.encrypt(block)
        derived += block
    return derived[:size]


def _derive_sha2(profile: Profile, key: bytes, label: bytes, size: int) -> bytes:
    """KDF-HMAC-SHA2 (RFC 8009 section 3)."""
    return hmac.digest(key, b"\0\0\0\1" + label + b"\0" + (8 * size).to_bytes(4, "big"), profile.digest)[:size]


PROFILES: dict[int, Profile] = {
    Enctype.AES128_SHA1: Profile(16, 12, "sha1", _derive_sha1, mac_covers_ciphertext=False),
    Enctype.AES256_SHA1: Profile(32, 12, "sha1", _derive_sha1, mac_covers_ciphertext=False),
    Enctype.AES128_SHA256: Profile(16, 16, "sha256", _derive_sha2, mac_covers_ciphertext=True),
    Enctype.AES256_SHA384: Profile(32, 24, "sha384", _derive_sha2, mac_covers_ciphertext=True),
}
