"""Back ends behind IVLStore, and the URL that chooses one."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorFromThreads

from vlserver.interfaces import IVLStore, StoreError
from vlserver.store.memory import MemoryStore
from vlserver.store.sqlite import SqliteStore

SQLITE_PREFIX = "sqlite:///"


def open_store(url: str, reactor: IReactorFromThreads, now: Callable[[], float]) -> IVLStore:
    """The store that `url` names: ``memory:``, ``sqlite:///RELATIVE`` or ``sqlite:////ABSOLUTE``. Raises StoreError."""
    if url == "memory:":
        return MemoryStore(now)
    if url.startswith(SQLITE_PREFIX) and len(url) > len(SQLITE_PREFIX):
        return SqliteStore(url[len(SQLITE_PREFIX) :], reactor, now)
    raise StoreError(f"not a database URL: {url!r} (sqlite:///PATH, sqlite:////ABSOLUTE/PATH or memory:)")
