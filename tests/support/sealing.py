"""A security class with a handshake and sealed packets, secure against nobody: it makes the engine use every part of
ISecurity.
"""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from rx.errors import Abort
from rx.security.interfaces import ANONYMOUS, Binding, Identity, ISecurity, SecurityStatistics

INDEX = 2
BAD_RESPONSE = 19270400
BAD_SEAL = 19270401
HEADER = b"HEAD"
TRAILER = b"TAIL!"


@implementer(ISecurity)
class Sealing:
    """Either end. The client proves itself by naming `word`; packets are turned over between a header and a trailer."""

    index = INDEX
    sealing = True
    header_size = len(HEADER)
    trailer_size = len(TRAILER)

    def __init__(self, word: bytes = b"sesame", server: bool = False) -> None:
        self.word = word
        self.identity = ANONYMOUS
        self.authenticated = not server
        self.binding: Binding | None = None
        self.challenges = 0
        self.nonces: tuple[int, ...] = (0,)

    def bind(self, binding: Binding) -> None:
        self.binding = binding

    def meet(self, spare: int) -> None:
        """The challenge has one form only."""

    def adopt(self, nonces: Sequence[int]) -> None:
        self.nonces = tuple(nonces)

    def challenge(self) -> bytes:
        self.challenges += 1
        return b"who?" + self.nonces[0].to_bytes(4, "big")

    def respond(self, challenge: bytes, call_numbers: tuple[int, int, int, int]) -> bytes:
        if challenge[:4] != b"who?":
            raise Abort(BAD_RESPONSE, "that is no challenge")
        return b"".join(number.to_bytes(4, "big") for number in call_numbers) + challenge[4:] + self.word

    def check_response(self, response: bytes, now: float) -> tuple[int, int, int, int]:
        if response[20:] != self.word or int.from_bytes(response[16:20], "big") not in self.nonces:
            raise Abort(BAD_RESPONSE, "wrong word")
        self.authenticated = True
        self.identity = Identity("rxkad", "ali", "", "BABA")
        first, second, third, fourth = (int.from_bytes(response[at : at + 4], "big") for at in range(0, 16, 4))
        return first, second, third, fourth

    def _checksum(self, channel: int, number: int, seq: int) -> int:
        assert self.binding is not None
        return (self.binding.cid + channel * 3 + number * 5 + seq * 7) % 0xFFFF + 1

    def seal(self, channel: int, number: int, seq: int, data: bytes) -> tuple[int, bytes]:
        return self._checksum(channel, number, seq), HEADER + data[::-1] + TRAILER

    def open(self, channel: int, number: int, seq: int, spare: int, body: bytes, now: float) -> bytes:
        if spare != self._checksum(channel, number, seq) or body[:4] != HEADER or body[-5:] != TRAILER:
            raise Abort(BAD_SEAL, "tampered with")
        return body[4:-5][::-1]

    def statistics(self) -> SecurityStatistics:
        return SecurityStatistics(type=INDEX + 1, level=2, authenticated=self.authenticated)
