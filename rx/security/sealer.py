"""What rxkad does to packets: fcrypt with the session key of one connection.

Both ends give every data packet a checksum of its place in the connection. Level clear protects nothing more; auth
seals the first eight bytes, and with them the length; crypt everything.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

from rx.constants import RxkadCode
from rx.errors import Abort
from rx.security.fcrypt import BLOCK_SIZE, Cipher, CipherType
from rx.security.interfaces import Binding, SecurityStatistics

STATISTICS_TYPE = 3
"""RX_SECTYPE_KAD."""

_SEQ_MASK = 0x3FFF_FFFF
_CHANNEL_SHIFT = 30
_AUTH_HEADER_SIZE, _CRYPT_HEADER_SIZE = 4, 8
_AUTH_HEADER = Struct(">I").pack
_CRYPT_HEADER = Struct(">II").pack
pack_endpoint = Struct(">4I").pack
"""Epoch, cid, 0 or a checksum, security index: which connection something sealed is for."""


class Level(IntEnum):
    """How packets are protected."""

    CLEAR = 0
    AUTH = 1
    CRYPT = 2


OVERHEAD = {Level.CLEAR: (0, 0), Level.AUTH: (_AUTH_HEADER_SIZE, 4), Level.CRYPT: (_CRYPT_HEADER_SIZE, 8)}
"""Bytes before and at most after a packet's data, as stock reserves them (rxkad_common.c rxkad_SetLevel)."""


class Sealer:
    """The protection of packets with one session key, on one connection. The same at both ends."""

    __slots__ = (
        "_crypt",
        "_key",
        "_level",
        "_place",
        "_plain",
        "bytes_received",
        "bytes_sent",
        "cipher",
        "packets_received",
        "packets_sent",
    )

    def __init__(self, key: bytes, level: Level, binding: Binding) -> None:
        self._key = key
        self._level = level
        self._plain = level == Level.CLEAR
        self._crypt = level == Level.CRYPT
        self.cipher: CipherType = Cipher(key)
        endpoint = pack_endpoint(binding.epoch, binding.cid, 0, binding.security_index)
        self._place = int.from_bytes(self.cipher.encrypt(endpoint, key)[-BLOCK_SIZE:], "big")
        self.packets_received = self.packets_sent = self.bytes_received = self.bytes_sent = 0

    def checksum(self, channel: int, number: int, seq: int) -> int:
        """What the header's spare field of this packet has to be; never 0."""
        place = number << 32 | channel << _CHANNEL_SHIFT | seq & _SEQ_MASK
        sealed = self.cipher.encrypt_block((place ^ self._place).to_bytes(BLOCK_SIZE, "big"))
        return sealed[4] << 8 | sealed[5] or 1

    def seal(self, channel: int, number: int, seq: int, data: bytes) -> tuple[int, bytes]:
        """See ISecurity."""
        checksum = self.checksum(channel, number, seq)
        self.packets_sent += 1
        self.bytes_sent += len(data)
        if self._plain:
            return checksum, data
        word = ((seq ^ number) & 0xFFFF) << 16 | len(data)
        if self._crypt:
            padding = bytes(-len(data) % BLOCK_SIZE)
            return checksum, self.cipher.encrypt(_CRYPT_HEADER(word, 0) + data + padding, self._key)
        body = (_AUTH_HEADER(word) + data).ljust(BLOCK_SIZE, b"\0")
        return checksum, self.cipher.encrypt_block(body[:BLOCK_SIZE]) + body[BLOCK_SIZE:]

    def check(self, channel: int, number: int, seq: int, spare: int) -> None:
        """Raise Abort unless this is the checksum of this packet."""
        if spare != self.checksum(channel, number, seq):
            raise Abort(RxkadCode.RXKADSEALEDINCON, "wrong checksum")

    def open(self, number: int, seq: int, body: bytes) -> bytes:
        """The data of a packet whose checksum is right, or not to be checked. Raises Abort."""
        self.packets_received += 1
        self.bytes_received += len(body)
        if self._plain:
            return body
        if len(body) < BLOCK_SIZE or (self._crypt and len(body) % BLOCK_SIZE):
            raise Abort(RxkadCode.RXKADSEALEDINCON, f"{len(body)} bytes cannot be a sealed packet")
        if self._crypt:
            plain, start = self.cipher.decrypt(body, self._key), _CRYPT_HEADER_SIZE
        else:
            plain, start = self.cipher.decrypt_block(body[:BLOCK_SIZE]) + body[BLOCK_SIZE:], _AUTH_HEADER_SIZE
        word = int.from_bytes(plain[:4], "big")
        if word >> 16 != (seq ^ number) & 0xFFFF:
            raise Abort(RxkadCode.RXKADSEALEDINCON, "a packet from another place")
        end = start + (word & 0xFFFF)
        if end > len(plain):
            raise Abort(RxkadCode.RXKADDATALEN, "longer than it is")
        return plain[start:end]

    def statistics(self, checksums: bool, authenticated: bool = False, expires: int = 0) -> SecurityStatistics:
        """What has passed, and what the end it belongs to knows besides."""
        return SecurityStatistics(
            STATISTICS_TYPE,
            self._level,
            authenticated,
            checksums,
            expires,
            self.packets_received,
            self.packets_sent,
            self.bytes_received,
            self.bytes_sent,
        )
