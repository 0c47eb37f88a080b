"""The database a command works on, from its URL; and a store to write to while no server has it."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python.failure import Failure

from vlserver.interfaces import IVLStore, StoreError
from vlserver.schema import Author
from vlserver.store import SQLITE_PREFIX, open_store

T = TypeVar("T")


def file_of(url: str) -> str:
    """The file behind a database URL, or a plain path. Raises StoreError when there is none."""
    if url.startswith(SQLITE_PREFIX) and len(url) > len(SQLITE_PREFIX):
        return url[len(SQLITE_PREFIX) :]
    if ":" in url:
        raise StoreError(f"{url} is not in a file that this command could work on (sqlite:///PATH)")
    return url


def own_file_of(url: str) -> str:
    """As `file_of`, for a command that makes files there: they must be the server's. Raises StoreError."""
    path = Path(file_of(url))
    owned = next((each for each in (path, path.parent) if each.exists()), None)
    if owned is not None and owned.stat().st_uid != os.geteuid():
        raise StoreError(f"{owned} is {owned.owner()}'s: run this as that user, who will have to open what it makes")
    return str(path)


def with_store(path: str, work: Callable[[IVLStore], Awaitable[T]]) -> T:
    """Run `work` on the database in this file, in a reactor of its own; nobody else may have it open.

    To be called once in a process. Raises StoreError and what `work` raises.
    """
    outcome: list[Any] = []

    async def run(reactor: Any) -> None:
        store = open_store(SQLITE_PREFIX + path, reactor, time.time)
        try:
            outcome.append(await work(store))
        finally:
            await store.close()

    def main(reactor: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(run(reactor)).addErrback(outcome.append)

    with suppress(SystemExit):
        react(main)
    if not outcome:
        raise KeyboardInterrupt  # a signal has ended the reactor
    (result,) = outcome
    if isinstance(result, Failure):
        result.raiseException()
    return cast(T, result)


def author(operation: str) -> Author:
    """Whoever runs the command, as the change log names him."""
    return Author(f"{getpass.getuser()} (vldb)", operation)
