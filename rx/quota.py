"""How much of something clients may have: in all, and from one host."""

from __future__ import annotations


class Quota:
    """How many calls the server end may run, shared by all connections of an endpoint."""

    __slots__ = ("_by_host", "_in_all", "_per_host", "count")

    def __init__(self, in_all: int, per_host: int) -> None:
        self._in_all = in_all
        self._per_host = per_host
        self._by_host: dict[str, int] = {}
        self.count = 0

    def take(self, host: str) -> bool:
        """Count one more of this host. False when that is too many."""
        mine = self._by_host.get(host, 0)
        if self.count >= self._in_all or mine >= self._per_host:
            return False
        self._by_host[host] = mine + 1
        self.count += 1
        return True

    @property
    def full(self) -> bool:
        """Whether no host could take one more."""
        return self.count >= self._in_all

    def give_back(self, host: str) -> None:
        """One fewer."""
        self.count -= 1
        mine = self._by_host[host] - 1
        if mine:
            self._by_host[host] = mine
        else:
            del self._by_host[host]
