"""A process for the kill tests: writes pairs of rows, prints the first number of each pair once it is answered.

With a second argument it kills itself between the two rows of that pair.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from tests.contracts.ivlstore import BY, A, a_volume, furnish
from vlserver.interfaces import ITransaction
from vlserver.store.sqlite import SqliteStore


async def write_pairs(path: str, fatal: int) -> None:
    """Go on from what the file holds, until killed."""
    store = SqliteStore(path, reactor, lambda: 1.0)  # type: ignore[arg-type]
    if not store.revision:
        await store.write(furnish, BY)
    number = 2 * (store.revision - 1) + 1
    while True:
        await store.write(pair(number, fatal), BY)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += 2


def pair(number: int, fatal: int) -> Callable[[ITransaction], None]:
    """The work that adds two rows in one transaction."""

    def work(transaction: ITransaction) -> None:
        transaction.add_volume(a_volume(b"first", number, A))
        if number == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        transaction.add_volume(a_volume(b"second", number + 1, A))

    return work


if __name__ == "__main__":
    ensureDeferred(write_pairs(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    reactor.run()
