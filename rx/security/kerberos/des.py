"""DES as old tickets use it, and session keys for rxkad, which are DES keys whatever the ticket's enctype.

DES protects nothing any more: these tickets are decoded only where an administrator has asked for it.
"""

from __future__ import annotations

import hmac
from hashlib import md5
from zlib import crc32

from Crypto.Cipher import DES
from Crypto.Hash import MD4

from rx.security.kerberos.enctypes import Enctype, SealBroken

BLOCK_SIZE = 8
KEY_SIZE = 8
CONFOUNDER_SIZE = 8

LEAST_KEY_SIZE = 7
"""Bytes a key must have for a DES key to be derived from it (ticket5.c tkt_DeriveDesKey)."""

DES_ENCTYPES = frozenset({Enctype.DES_CBC_CRC, Enctype.DES_CBC_MD4, Enctype.DES_CBC_MD5})
_TRIPLE = frozenset({Enctype.DES3_CBC_MD5, Enctype.OLD_DES3_CBC_SHA1, Enctype.DES3_CBC_SHA1})
_REFUSED = frozenset({0, 4, 6, *range(8, 16)})

WEAK_KEYS = frozenset(
    bytes.fromhex(key)
    for key in (  # noqa: SIM905  a table is read more easily without the quotes
        "0101010101010101 fefefefefefefefe e0e0e0e0f1f1f1f1 1f1f1f1f0e0e0e0e "
        "01fe01fe01fe01fe fe01fe01fe01fe01 1fe01fe00ef10ef1 e01fe01ff10ef10e "
        "01e001e001f101f1 e001e001f101f101 1ffe1ffe0efe0efe fe1ffe1ffe0efe0e "
        "011f011f010e010e 1f011f010e010e01 e0fee0fef1fef1fe fee0fee0fef1fef1"
    ).split()
)
"""The 4 weak and 12 semi-weak keys of DES."""


def session_key(enctype: int, key: bytes) -> bytes:
    """The key rxkad uses for a ticket's session key: a DES key as it is, any other through rxkad-kdf.

    Raises SealBroken for an enctype or length that stock servers refuse.
    """
    if enctype in DES_ENCTYPES:
        if len(key) != KEY_SIZE:
            raise SealBroken(f"a DES key of {len(key)} bytes")
        return key
    if enctype in _REFUSED or enctype < 0:
        raise SealBroken(f"no session keys of enctype {enctype}")
    if enctype in _TRIPLE:
        key = _without_parity(key)
    if len(key) < LEAST_KEY_SIZE:
        raise SealBroken(f"a session key of {len(key)} bytes")
    return derive(key)


def derive(key: bytes) -> bytes:
    """rxkad-kdf: a DES key from any other (NIST SP 800-108 in counter mode over HMAC-MD5; ticket5.c)."""
    for counter in range(1, 256):
        candidate = with_odd_parity(hmac.digest(key, bytes([counter]) + b"rxkad\0\0\0\0\x40", "md5")[:KEY_SIZE])
        if candidate not in WEAK_KEYS:
            return candidate
    raise SealBroken("every key derived is weak")


def with_odd_parity(key: bytes) -> bytes:
    """The key with the lowest bit of each byte set so that the byte has an odd number of ones."""
    return bytes(byte & 0xFE | (byte >> 1).bit_count() + 1 & 1 for byte in key)


def decrypt(enctype: int, key: bytes, data: bytes) -> bytes:
    """The content of data sealed with one of DES_ENCTYPES, zeros at its end included (RFC 3961 section 6.2).

    Raises SealBroken.
    """
    checksum_size, vector = _CHECKSUMS[enctype], key if enctype == Enctype.DES_CBC_CRC else bytes(BLOCK_SIZE)
    start = CONFOUNDER_SIZE + checksum_size
    if len(data) % BLOCK_SIZE or len(data) < start:
        raise SealBroken(f"{len(data)} bytes are no DES ciphertext")
    plain: bytes = DES.new(key, DES.MODE_CBC, vector).decrypt(data)
    checksum = plain[CONFOUNDER_SIZE:start]
    cleared = plain[:CONFOUNDER_SIZE] + bytes(checksum_size) + plain[start:]
    if not hmac.compare_digest(checksum, _digest(enctype, cleared)):
        raise SealBroken("the checksum does not match")
    return plain[start:]


def encrypt(enctype: int, key: bytes, plain: bytes, confounder: bytes) -> bytes:
    """The reverse; zeros are added up to a whole block."""
    size = _CHECKSUMS[enctype]
    vector = key if enctype == Enctype.DES_CBC_CRC else bytes(BLOCK_SIZE)
    plain += bytes(-(CONFOUNDER_SIZE + size + len(plain)) % BLOCK_SIZE)
    checksum = _digest(enctype, confounder + bytes(size) + plain)
    sealed: bytes = DES.new(key, DES.MODE_CBC, vector).encrypt(confounder + checksum + plain)
    return sealed


def pcbc_decrypt(key: bytes, data: bytes) -> bytes:
    """Whole blocks in DES-PCBC, the key being the initial vector too (Kerberos 4)."""
    cipher, chain, plain = DES.new(key, DES.MODE_ECB), int.from_bytes(key, "big"), bytearray()
    for at in range(0, len(data), BLOCK_SIZE):
        block = data[at : at + BLOCK_SIZE]
        content = int.from_bytes(cipher.decrypt(block), "big") ^ chain
        chain = content ^ int.from_bytes(block, "big")
        plain += content.to_bytes(BLOCK_SIZE, "big")
    return bytes(plain)


def pcbc_encrypt(key: bytes, data: bytes) -> bytes:
    """The reverse."""
    cipher, chain, sealed = DES.new(key, DES.MODE_ECB), int.from_bytes(key, "big"), bytearray()
    for at in range(0, len(data), BLOCK_SIZE):
        content = int.from_bytes(data[at : at + BLOCK_SIZE], "big")
        block = cipher.encrypt((content ^ chain).to_bytes(BLOCK_SIZE, "big"))
        chain = content ^ int.from_bytes(block, "big")
        sealed += block
    return bytes(sealed)


_CHECKSUMS: dict[int, int] = {Enctype.DES_CBC_CRC: 4, Enctype.DES_CBC_MD4: 16, Enctype.DES_CBC_MD5: 16}
"""Size of the checksum in each enctype."""


def _digest(enctype: int, data: bytes) -> bytes:
    if enctype == Enctype.DES_CBC_CRC:
        # Kerberos's CRC-32 begins with 0 and does not complement its result (RFC 3961 section 6.1.3).
        return (crc32(data, 0xFFFF_FFFF) ^ 0xFFFF_FFFF).to_bytes(4, "little")
    if enctype == Enctype.DES_CBC_MD4:
        digest: bytes = MD4.new(data).digest()
        return digest
    return md5(data).digest()


def _without_parity(key: bytes) -> bytes:
    """The 7 of 8 bytes that are no parity, each eighth byte being spread over the lowest bits of those before it."""
    if len(key) % 8:
        raise SealBroken(f"a triple DES key of {len(key)} bytes")
    squeezed = bytearray()
    for at in range(0, len(key), 8):
        last = key[at + 7] >> 1
        squeezed += bytes(byte & 0xFE | last >> index & 1 for index, byte in enumerate(key[at : at + 7]))
    return bytes(squeezed)
