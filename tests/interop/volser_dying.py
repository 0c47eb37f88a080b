"""twistd whose volume server kills itself, or waits, at the n-th AFSVol call that changes something since it was asked
to: `volser_dying.py ORDER ARGUMENTS`.

ORDER is a file: `3 begun` is the end of the process when the third such call has come, `3 done` when it is carried out
and not yet answered; `3 done, wait` stops the server there, makes ORDER.there and lets it go on when ORDER is gone. The
names of the calls since ORDER was last written go to ORDER.calls.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.scripts import twistd

from afs.rpc.volser import AFSVol
from fileserver.volser.procedures import ANYONE, Procedures

WAIT = ", wait"
LONGEST_SECONDS = 60.0
"""A test that does not go on is over."""
PAUSE_SECONDS = 0.005

CHANGING = [operation.name for operation in AFSVol.operations.values() if operation.name not in ANYONE]


class Steps:
    """What this process is to do, and how far it is."""

    def __init__(self, order: Path) -> None:
        self._order = order
        self._calls = order.with_name(f"{order.name}.calls")
        self._written = 0
        self._count = 0

    def begin(self, name: str) -> int:
        """The number of a call that has come."""
        written = self._order.stat().st_mtime_ns if self._order.exists() else 0
        if written != self._written:
            self._written, self._count = written, 0
            self._calls.write_text("")
        self._count += 1
        with self._calls.open("a") as calls:
            calls.write(f"{name}\n")
        return self._count

    def come_to(self, step: str) -> None:
        """Die, wait or go on."""
        wanted = self._order.read_text() if self._order.exists() else ""
        if wanted == step:
            os.kill(os.getpid(), signal.SIGKILL)
        if wanted == step + WAIT:
            self._order.with_name(f"{self._order.name}.there").touch()
            until = time.monotonic() + LONGEST_SECONDS
            while self._order.exists() and time.monotonic() < until:
                time.sleep(PAUSE_SECONDS)


def watched(steps: Steps, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, with a step before and after it."""

    async def stepping(*arguments: Any) -> Any:
        number = steps.begin(name)
        steps.come_to(f"{number} begun")
        try:
            return await call(*arguments)
        finally:
            steps.come_to(f"{number} done")

    return stepping


def main() -> None:
    """Run twistd, with calls that may be the last."""
    steps = Steps(Path(sys.argv.pop(1)))
    for name in CHANGING:
        setattr(Procedures, name, watched(steps, name, getattr(Procedures, name)))
    twistd.run()


if __name__ == "__main__":
    main()
