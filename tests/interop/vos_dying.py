"""Our vos that gets a signal when it makes its call of a number: `vos_dying.py SIGNAL NUMBER WORDS`, as by
`vos WORDS`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable
from typing import Any

from rx.client import Connection
from rx.service import Operation
from vos.main import main


def die_at(number: int, which: signal.Signals) -> None:
    """From now on calls are counted."""
    made = 0
    go_on = Connection.call

    def call(
        self: Connection, operation: Operation, arguments: tuple[Any, ...], timeout: float | None
    ) -> Awaitable[Any]:
        nonlocal made
        made += 1
        if made == number:
            os.kill(os.getpid(), which)
        return go_on(self, operation, arguments, timeout)

    Connection.call = call  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    die_at(int(sys.argv[2]), signal.Signals[sys.argv[1]])
    sys.exit(main(sys.argv[3:]))
