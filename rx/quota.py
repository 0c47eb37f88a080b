"""How much of something clients may have: in all, and from one host."""

from __future__ import annotations


class Quota:
    """Counts one kind of thing, shared by all connections of an endpoint."""

    __slots__ = ("_by_host", "_in_all", "_per_host", "count")

    def __init__(self, in_all: int, per_host: int) -> None:
        self._in_all = in_all
        self._per_host = per_host
        self._by_host: dict[str, int] = {}
        self.count = 0

    def take(self, host: str) -> bool:
        """Count one more of this host. False when that is too many."""
        if not self.admits(host):
            return False
        self._by_host[host] = self._by_host.get(host, 0) + 1
        self.count += 1
        return True

    def admits(self, host: str) -> bool:
        """Whether `take` would succeed."""
        return self.count < self._in_all and not self.used_up(host)

    def used_up(self, host: str) -> bool:
        """Whether this host has all that one may have."""
        return self._by_host.get(host, 0) >= self._per_host

    def give_back(self, host: str) -> None:
        """One fewer."""
        self.count -= 1
        mine = self._by_host[host] - 1
        if mine:
            self._by_host[host] = mine
        else:
            del self._by_host[host]
