"""twistd whose fileserver kills itself, as by kill -9, when an operation comes to a step: `dying.py ORDER ARGUMENTS`.

ORDER is a file: while it says `mount labelled`, the next mount that comes so far is the end. Every step of an operation
is told by `Operation.step`, right after what it names was done.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from twisted.scripts import twistd

from afs.rpc.volpartitions import VSTEP
from fileserver.partitions.operations import Operation


def main() -> None:
    """Run twistd, with a step that may be the last."""
    order = Path(sys.argv.pop(1))
    go_on = Operation.step

    def step(operation: Operation, step: VSTEP) -> None:
        go_on(operation, step)
        if order.exists() and order.read_text() == f"{operation.kind.name} {step.name}".lower():
            os.kill(os.getpid(), signal.SIGKILL)

    Operation.step = step  # type: ignore[assignment, method-assign]
    twistd.run()


if __name__ == "__main__":
    main()
