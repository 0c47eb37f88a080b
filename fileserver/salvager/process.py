"""The fileserver's end of a salvage: start the program, read its lines, end it at its deadline or when nobody waits.

A group that makes the program crash or hang costs that group's salvage alone. Volumes in memory are salvaged here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from fileserver.interfaces import Fenced, IPartition, ISalvager, Ownership, SalvageFailed, SalvageReport, StoreError
from fileserver.salvager.memory import salvage_in_memory

log = Logger(namespace="fileserver.salvage")

DEADLINE_SECONDS = 3600.0
"""For one group, between two of its lines: the largest volumes are read in minutes, unless the disk hangs."""
MAX_LINE = 1 << 22
"""Bytes of a report with the most messages, each with a name of 255 escaped bytes."""
MAX_COMPLAINT = 2000
"""Bytes kept of what the program says as it crashes."""
WATCH_SECONDS = 0.5
"""Between two looks whether the partition is still ours: a program that writes to it must end with that."""
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
        run = _Run(tell, lambda done, of: None)
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
            run = _Run(tell, lambda here, of, done=done: progress(done + here, done + of))  # type: ignore[misc]
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

    async def _run(self, partition: Any, run: _Run, *options: str) -> None:
        """One run of the program to its end."""
        paths = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            partition.ownership.check()
        except Fenced as problem:
            raise SalvageFailed(f"{partition.name}: {problem}") from problem
        child = _Child(self._reactor, run, self._deadline, partition.ownership)
        arguments = [*self._program, partition.path, "--json", "--locked", *options]
        try:
            self._reactor.spawnProcess(
                child, arguments[0], arguments, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
            )
        except OSError as problem:
            child.never_started()
            raise SalvageFailed(f"the salvager cannot be started: {problem}") from problem
        await child.ended


def failed(group: int, reason: str) -> SalvageReport:
    """What a partition's salvage reports of a group that could not be salvaged."""
    return SalvageReport(group, (), (group,), (f"not salvaged: {reason}",))


class _Run:
    """What a program has said so far."""

    def __init__(self, tell: Callable[[str], None], progress: Callable[[int, int], None]) -> None:
        self.reports: list[SalvageReport] = []
        self.failures: list[SalvageReport] = []  # of groups that the program gave up, and went on
        self.reason = "the salvager said nothing"
        self.group = 0  # which one it is at
        self.done = 0
        self.finished = False
        self._tell = tell
        self._progress = progress

    def line(self, event: dict[str, Any]) -> None:
        """One event. Raises KeyError, TypeError, ValueError when it is none."""
        kind = event["event"]
        if kind == "tell":
            self._tell(event["message"])
        elif kind == "begin":
            self.group = int(event["group"])
        elif kind == "progress":
            self.done = int(event["done"])
            self.finished = self.done == int(event["of"])
            self._progress(self.done, int(event["of"]))
        elif kind == "report":
            volumes, lost, messages = (tuple(event[name]) for name in ("volumes", "lost", "messages"))
            self.reports.append(SalvageReport(int(event["group"]), volumes, lost, messages))
        elif kind == "failed":
            self.reason = event["reason"]
            if event["group"] is not None:
                self.failures.append(failed(int(event["group"]), self.reason))


class _Child(ProcessProtocol):
    """The process. `ended` fires when it is gone, whatever it was; cancelling that kills it."""

    def __init__(self, reactor: Any, run: _Run, deadline: float, ownership: Ownership) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self._kill("nobody waits for it any more"))
        self._run = run
        self._buffer = b""
        self._complaint = b""
        self._seconds = deadline
        self._timer = reactor.callLater(deadline, self._kill, f"killed: silent for {deadline:g} s")
        self._killed = ""
        self._ownership = ownership
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor
        self._watch.start(WATCH_SECONDS, now=False)

    def _look(self) -> None:
        try:
            self._ownership.check()
        except Fenced as problem:
            self._kill(f"killed: {problem}")

    def outReceived(self, data: bytes) -> None:
        self._timer.reset(self._seconds)
        try:
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                self._run.line(json.loads(line))
            if len(self._buffer) > MAX_LINE:
                raise ValueError(f"a line of more than {MAX_LINE} bytes")
        except (KeyError, TypeError, ValueError) as problem:
            self._kill(f"killed: it said what is no event: {problem!r}")

    def errReceived(self, data: bytes) -> None:
        self._complaint = (self._complaint + data)[-MAX_COMPLAINT:]

    def never_started(self) -> None:
        """Wait for nothing."""
        self._watch.stop()
        self._timer.cancel()

    def processEnded(self, reason: Failure) -> None:
        self._watch.stop()
        if self._timer.active():
            self._timer.cancel()
        # What the program has reported stands, however it ended then.
        if self._killed:
            self._run.reason = self._killed
        elif self._complaint or not reason.check(ProcessDone):
            complaint = self._complaint.decode(errors="replace")
            if complaint:
                log.error("the salvager crashed:\n{complaint}", complaint=complaint)
                self._run.reason = f"the salvager crashed: {complaint.strip().splitlines()[-1]}"
            elif isinstance(reason.value, ProcessTerminated) and reason.value.signal is not None:
                self._run.reason = f"the salvager was ended by signal {reason.value.signal}"
        if not self.ended.called:
            self.ended.callback(None)

    def _kill(self, why: str) -> None:
        self._killed = self._killed or why
        try:
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]
        except ProcessExitedAlready:
            return
