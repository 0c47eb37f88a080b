"""Challenges that the server need not remember: while too many clients are yet to prove who they are, the nonce of a
challenge is a keyed hash of who is asked and when, and is found again when the answer comes.

Nothing of the client's first packets is kept; it sends them again.
"""

from __future__ import annotations

from hashlib import blake2s
from random import Random
from struct import Struct

from rx.peer import Address

PERIOD_SECONDS = 15.0
"""A nonce is good in the period it was made in and in the next: time for many retransmissions, and not so long that a
connection could be forgotten (`Limits.eviction_idle_seconds` after its last packet) and a recorded response replayed.
"""

_KEY_BITS = 256
_NONCE_SIZE = 4
_place = Struct(">qII").pack


class Nonces:
    """One endpoint's nonces, 32 bits each."""

    __slots__ = ("_key", "_newest")

    def __init__(self, random: Random) -> None:
        self._key = random.getrandbits(_KEY_BITS).to_bytes(_KEY_BITS // 8, "big")
        self._newest = -2  # the last period in which one was given out

    def give(self, address: Address, epoch: int, cid: int, now: float) -> int:
        """The nonce to challenge this client's connection with."""
        self._newest = period = _period(now)
        return self._nonce(period, address, epoch, cid)

    def good(self, address: Address, epoch: int, cid: int, now: float) -> tuple[int, ...]:
        """The nonces that this client may have been given and can still answer. Usually none was given to anybody."""
        period = _period(now)
        periods = range(period - 1, min(period, self._newest) + 1)
        return tuple(self._nonce(each, address, epoch, cid) for each in periods)

    def _nonce(self, period: int, address: Address, epoch: int, cid: int) -> int:
        place = _place(period, epoch, cid) + f"{address[0]}:{address[1]}".encode()
        return int.from_bytes(blake2s(place, digest_size=_NONCE_SIZE, key=self._key).digest(), "big")


def _period(now: float) -> int:
    return int(now // PERIOD_SECONDS)
