"""The fileserver's end of a salvage: start the program, read its lines, end it at its deadline or when nobody waits.

A group that makes the program crash or hang costs that group's salvage alone. Volumes in memory are salvaged here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from fileserver.interfaces import (
    Fenced,
    IPartition,
    ISalvager,
    ISalvageSession,
    SalvageFailed,
    SalvageReport,
    StoreError,
)
from fileserver.salvager.child import Child, Run, failed
from fileserver.salvager.memory import salvage_in_memory
from fileserver.salvager.salvage import FORCE_SALVAGE, groups
from fileserver.salvager.session import InMemory, Session

DEADLINE_SECONDS = 3600.0
"""For one group, between two of its lines: the largest volumes are read in minutes, unless the disk hangs."""
FILE_BACKENDS = ("namei", "namei-user")

_MODULE = "fileserver.salvager"
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@implementer(ISalvager)
class SalvagerProcess:
    """Salvages in a process of their own each. `program` is for tests."""

    def __init__(
        self, reactor: Any, deadline: float = DEADLINE_SECONDS, program: tuple[str, ...] | None = None
    ) -> None:
        self._reactor = reactor
        self._deadline = deadline
        self._program = program or (sys.executable, "-m", _MODULE)

    async def salvage(self, partition: IPartition, group: int, tell: Callable[[str], None]) -> SalvageReport:
        if partition.backend not in FILE_BACKENDS:
            try:
                return await salvage_in_memory(partition, group, tell)
            except (StoreError, OSError) as problem:
                raise SalvageFailed(f"group {group}: {problem}") from problem
        run = Run(tell, lambda done, of: None)
        await self._run(partition, run, "--volume", str(group))
        if run.reports:
            return run.reports[0]
        raise SalvageFailed(f"group {group}: {run.reason}")

    async def salvage_partition(
        self, partition: IPartition, tell: Callable[[str], None], progress: Callable[[int, int], None]
    ) -> list[SalvageReport]:
        if partition.backend not in FILE_BACKENDS:
            return await self._partition_in_memory(partition, tell, progress)
        reports: list[SalvageReport] = []
        after = done = 0
        while True:
            run = Run(tell, lambda here, of, done=done: progress(done + here, done + of))  # type: ignore[misc]
            await self._run(partition, run, "--after", str(after))
            reports += run.reports + run.failures
            if run.finished:
                return reports
            if not run.group:
                raise SalvageFailed(f"{partition.name}: {run.reason}")
            if run.group not in {report.group for report in reports}:
                reports.append(failed(run.group, run.reason))
            done += run.done + 1
            after = run.group

    async def _partition_in_memory(
        self, partition: IPartition, tell: Callable[[str], None], progress: Callable[[int, int], None]
    ) -> list[SalvageReport]:
        groups = sorted({each.parent for each in await partition.volumes()})
        reports = []
        for done, group in enumerate(groups):
            progress(done, len(groups))
            try:
                reports.append(await self.salvage(partition, group, tell))
            except SalvageFailed as problem:
                reports.append(failed(group, str(problem)))
        progress(len(groups), len(groups))
        return reports

    async def _run(self, partition: Any, run: Run, *options: str) -> None:
        """One run of the program to its end."""
        await self._start(partition, run, *options).ended

    def _start(self, partition: Any, run: Run, *options: str) -> Child:
        """The program on a partition. Raises SalvageFailed."""
        paths = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            partition.ownership.check()
        except Fenced as problem:
            raise SalvageFailed(f"{partition.name}: {problem}") from problem
        child = Child(self._reactor, run, self._deadline, partition.ownership)
        arguments = [*self._program, partition.path, "--json", "--locked", *options]
        try:
            self._reactor.spawnProcess(
                child, arguments[0], arguments, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
            )
        except OSError as problem:
            child.never_started()
            raise SalvageFailed(f"the salvager cannot be started: {problem}") from problem
        return child

    async def groups(self, partition: Any) -> dict[int, tuple[int, ...]]:
        found: dict[int, list[int]] = {}
        if partition.backend in FILE_BACKENDS:
            pool = self._reactor.getThreadPool()
            found = {group: [] for group in await deferToThreadPool(self._reactor, pool, groups, partition.path)}
        for volume in await partition.volumes():
            found.setdefault(volume.parent, []).append(volume.id)
        return {group: tuple(found[group]) for group in sorted(found)}

    def session(self, partition: IPartition) -> ISalvageSession:
        session: ISalvageSession = (
            Session(partial(self._start, partition), partition.name)
            if partition.backend in FILE_BACKENDS
            else InMemory(partial(self.salvage, partition))
        )
        return session

    def wanted(self, partition: Any) -> bool:
        return partition.backend in FILE_BACKENDS and os.path.exists(os.path.join(partition.path, FORCE_SALVAGE))
