"""Encoded replies kept for as long as the database stays at one revision."""

from __future__ import annotations

from collections.abc import Hashable

from rx.service import Encoded
from vlserver.interfaces import IVLStore

REPLIES_KEPT = 100_000
"""Replies kept at most: 140 MB of the largest form. A full cache is emptied; filling it again costs one read each."""


class Replies:
    """Replies by any key, forgotten together as soon as the store's revision is another."""

    def __init__(self, store: IVLStore, limit: int = REPLIES_KEPT) -> None:
        self._store = store
        self._limit = limit
        self._revision = store.revision
        self._kept: dict[Hashable, Encoded] = {}

    def get(self, key: Hashable) -> Encoded | None:
        """The reply kept under `key`, if the database has not changed since."""
        if self._store.revision != self._revision:
            self._kept.clear()
            self._revision = self._store.revision
            return None
        return self._kept.get(key)

    def keep(self, key: Hashable, reply: Encoded, revision: int) -> None:
        """Keep a reply that was read at `revision`, unless the database has moved on."""
        if revision != self._store.revision or revision != self._revision:
            return
        if len(self._kept) >= self._limit:
            self._kept.clear()
        self._kept[key] = reply
