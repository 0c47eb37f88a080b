"""The process that test_crash kills: works on a partition and prints a dot when an operation is acknowledged.

    python -m tests.fileserver.store.writer PATH KEEPER SEED SKIP

Follows the workload of SEED without doing anything for SKIP operations, then does the rest, without end.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from tests.contracts.ipartition import Workload
from tests.fileserver.store.support import OPENERS


async def work(path: str, keeper: str, seed: str, skip: str) -> None:
    """Never returns."""
    workload = Workload(int(seed), None)
    for _ in range(int(skip)):
        await workload.step()

    async def reopen() -> Any:
        return OPENERS[keeper](path)

    workload.partition = await reopen()
    workload.reopen = reopen
    while True:
        await workload.step()
        os.write(1, b".")


if __name__ == "__main__":
    react(lambda _: ensureDeferred(work(*sys.argv[1:])))
