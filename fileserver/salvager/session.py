"""A salvage of many groups by one process, told one number after the other: to start it costs more than a small group.

If it dies at a group that is one failed salvage, and the next group has another process.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from zope.interface import implementer

from fileserver.interfaces import ISalvageSession, SalvageFailed, SalvageReport
from fileserver.salvager.child import Child, Run
from fileserver.salvager.salvage import READY, TIDY

Tell = Callable[[str], None]


@implementer(ISalvageSession)
class Session:
    """Over files. `start` starts the program, `name` is the partition's."""

    def __init__(self, start: Callable[..., Child], name: str) -> None:
        self._start = start
        self._name = name
        self._child: Child | None = None

    async def begin(self) -> None:
        run = await self._order(READY, _ignore)
        if not run.finished:
            raise SalvageFailed(f"{self._name}: {run.reason}")

    async def salvage(self, group: int, tell: Tell) -> SalvageReport:
        run = await self._order(str(group), tell)
        if run.reports:
            return run.reports[0]
        raise SalvageFailed(f"group {group}: {run.reason}")

    async def tidy(self, tell: Tell) -> None:
        run = await self._order(TIDY, tell)
        if run.failed or not run.finished:
            raise SalvageFailed(f"{self._name}: {run.reason}")

    async def end(self) -> None:
        if self._child is not None and not self._child.ended.called:
            self._child.no_more_orders()
            await self._child.ended

    async def _order(self, order: str, tell: Tell) -> Run:
        """What the program has said to it, when it is done or dead."""
        run = Run(tell, _ignore)
        if self._child is None or self._child.ended.called:
            self._child = self._start(run, "--session")
        await self._child.order(order, run)
        return run


@implementer(ISalvageSession)
class InMemory:
    """Over volumes in this process."""

    def __init__(self, salvage: Callable[[int, Tell], Coroutine[Any, Any, SalvageReport]]) -> None:
        self._salvage = salvage

    async def begin(self) -> None:
        """There is nothing to start."""

    async def salvage(self, group: int, tell: Tell) -> SalvageReport:
        return await self._salvage(group, tell)

    async def tidy(self, tell: Tell) -> None:
        """There are no header files."""

    async def end(self) -> None:
        """There is no process."""


def _ignore(*_: object) -> None:
    return None
