"""twistd whose server kills itself, as by kill -9, or waits, at a step of its work: `dying.py ORDER ARGUMENTS`.

ORDER is a file. While it says `mount labelled`, the next mount of a fileserver that comes so far is the end: every step
of an operation is told by `Operation.step`, right after what it names was done. With `, wait` behind it that mount
stops there, whole server and all but its label's beat, makes ORDER.there, and goes on when ORDER is gone. A vlserver
comes to `ClaimPartition begun` and `ClaimPartition done`, with what it has written durable and not yet answered.
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

from afs.rpc.volpartitions import VSTEP
from fileserver.partitions.operations import Operation
from vlserver.procedures.addresses import AddressProcedures
from vlserver.procedures.partitions import PartitionProcedures

WAIT = ", wait"
LONGEST_SECONDS = 60.0
"""A test that does not go on is over."""
PAUSE_SECONDS = 0.01

CALLS = (
    (AddressProcedures, "GetAddrsU"),
    (PartitionProcedures, "GetPartition"),
    (PartitionProcedures, "ClaimPartition"),
    (PartitionProcedures, "ReleasePartition"),
    (PartitionProcedures, "RegisterPartitions"),
)
"""What a vlserver is asked while partitions move."""


def main() -> None:
    """Run twistd, with a step that may be the last."""
    order = Path(sys.argv.pop(1))
    go_on = Operation.step

    def step(operation: Operation, step: VSTEP) -> None:
        go_on(operation, step)
        come_to(order, f"{operation.kind.name} {step.name}".lower())

    Operation.step = step  # type: ignore[assignment, method-assign]
    for procedures, name in CALLS:
        setattr(procedures, name, watched(order, name, getattr(procedures, name)))
    twistd.run()


def watched(order: Path, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, with a step before and after it."""

    async def stepping(*arguments: Any) -> Any:
        come_to(order, f"{name} begun")
        result = await call(*arguments)
        come_to(order, f"{name} done")
        return result

    return stepping


def come_to(order: Path, step: str) -> None:
    """Die, wait or go on."""
    try:
        wanted = order.read_text()
    except FileNotFoundError:
        return
    if wanted == step:
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == step + WAIT:
        order.with_name(f"{order.name}.there").touch()
        until = time.monotonic() + LONGEST_SECONDS
        while order.exists() and time.monotonic() < until:
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
