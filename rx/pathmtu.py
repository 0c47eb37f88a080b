"""Which datagram size to use towards one peer: what both ends take, as far as the path was seen to carry it.

Sizes that every path carries are used at once. A larger one is probed first, with a padded ping, once a call has enough
to send for it to pay; the first try is the largest size, then the search halves (RFC 8899, PLPMTUD). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from math import inf
from typing import NamedTuple

from rx.constants import NATURAL_MTU

TRIES = 3
"""Probes of one size that may be lost before it counts as too large (RFC 8899 MAX_PROBES)."""

PROBE_SECONDS = 1.0
"""After a probe without an answer, the next (RFC 8899 PROBE_TIMER at its least)."""

AGAIN_SECONDS = 600.0
"""After a search that ended below what both ends take, or a path that stopped carrying, the next search (RFC 8899
PMTU_RAISE_TIMER).
"""

PRECISION = 256
"""Bytes of a possible gain that no further probe is worth."""


class Near(NamedTuple):
    """A network that an interface of this machine is on, and the datagram size of Rx there."""

    network: IPv4Network
    mtu: int


def mtu_towards(host: str, networks: Iterable[Near]) -> int:
    """The largest datagram that may come from an address: its network's when it is near, the most particular one's of
    several; else what every path carries.
    """
    address = IPv4Address(host)
    found = [near for near in networks if address in near.network]
    return min(found, key=lambda near: (-near.network.prefixlen, near.mtu)).mtu if found else NATURAL_MTU


class PathMtu:
    """`size` is in use, `limit` what both ends take, `probe_at` when a call with much to send should probe."""

    __slots__ = ("_bound", "_tries", "_trying", "limit", "probe_at", "size")

    def __init__(self, limit: int) -> None:
        self.limit = self.size = min(limit, NATURAL_MTU)
        self.probe_at = inf
        self._bound = self.limit + 1  # the smallest size that did not arrive
        self._trying = 0
        self._tries = 0

    def allow(self, limit: int) -> None:
        """Both ends take so much now."""
        if limit == self.limit:
            return
        self.limit = limit
        self._begin()
        if self.size > limit or limit <= NATURAL_MTU:
            self.size = limit
        self.probe_at = inf if self.size == limit else -inf

    def _begin(self) -> None:
        self._bound = self.limit + 1
        self._tries = 0

    def probe(self, now: float) -> int:
        """The size of a probe that is to leave now; 0 when there is nothing to find out for the present."""
        if self._tries == TRIES:
            self._bound, self._tries = self._trying, 0
        if self._bound > self.limit:
            self._trying = self.limit
        elif self._bound - self.size > PRECISION:
            self._trying = (self.size + self._bound) // 2
        else:
            self._begin()
            self.probe_at = now + AGAIN_SECONDS
            return 0
        self._tries += 1
        self.probe_at = now + PROBE_SECONDS
        return self._trying

    def answered(self, size: int) -> None:
        """A probe of this size has arrived."""
        if self.size < size <= self.limit:
            self.size = size
            self._tries = 0
            self.probe_at = inf if size == self.limit else -inf

    def stalled(self, now: float) -> None:
        """Nothing arrives any more: perhaps the path has changed."""
        if self.size > NATURAL_MTU:
            self.size = NATURAL_MTU
            self._begin()
            self.probe_at = now + AGAIN_SECONDS
