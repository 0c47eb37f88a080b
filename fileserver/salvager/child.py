"""The salvager's process as its parent sees it: the lines it says, and its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from fileserver.interfaces import Fenced, Ownership, SalvageReport

log = Logger(namespace="fileserver.salvage")

MAX_LINE = 1 << 22
"""Bytes of a report with the most messages, each with a name of 255 escaped bytes."""
MAX_COMPLAINT = 2000
"""Bytes kept of what the program says as it crashes."""
WATCH_SECONDS = 0.5
"""Between two looks whether the partition is still ours: a program that writes to it must end with that."""


def failed(group: int, reason: str) -> SalvageReport:
    """What a partition's salvage reports of a group that could not be salvaged."""
    return SalvageReport(group, (), (group,), (f"not salvaged: {reason}",))


class Run:
    """What a program has said so far."""

    def __init__(self, tell: Callable[[str], None], progress: Callable[[int, int], None]) -> None:
        self.reports: list[SalvageReport] = []
        self.failures: list[SalvageReport] = []  # of groups that the program gave up, and went on
        self.reason = "the salvager said nothing"
        self.group = 0  # which one it is at
        self.done = 0
        self.finished = False
        self.failed = False
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
            self.failed, self.reason = True, event["reason"]
            if event["group"] is not None:
                self.failures.append(failed(int(event["group"]), self.reason))


class Child(ProcessProtocol):
    """The process. `ended` fires when it is gone, whatever it was; cancelling that kills it."""

    def __init__(self, reactor: Any, run: Run, deadline: float, ownership: Ownership) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self._kill("nobody waits for it any more"))
        self.run = run
        self._answer: Deferred[None] | None = None
        self._buffer = b""
        self._complaint = b""
        self._reactor = reactor
        self._seconds = deadline
        self._timer: IDelayedCall | None = None
        self.work()
        self._killed = ""
        self._ownership = ownership
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor
        self._watch.start(WATCH_SECONDS, now=False)

    def work(self) -> None:
        """From now on it has something to say, and so many seconds to do that."""
        self.rest()
        self._timer = self._reactor.callLater(self._seconds, self._kill, f"killed: silent for {self._seconds:g} s")

    def rest(self) -> None:
        """It is asked for nothing."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def order(self, line: str, run: Run) -> Deferred[None]:
        """Tell a program of a session what to do next; fires when that is done, or the program dead. Cancelling kills
        it.
        """
        self.run = run
        self.work()
        self._answer = Deferred(lambda _: self._kill("nobody waits for it any more"))
        self.transport.write(line.encode() + b"\n")  # type: ignore[union-attr]
        return self._answer

    def no_more_orders(self) -> None:
        """A program of a session ends."""
        self.transport.closeStdin()  # type: ignore[union-attr]

    def _answered(self) -> None:
        self.rest()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.called:
            answer.callback(None)

    def _look(self) -> None:
        try:
            self._ownership.check()
        except Fenced as problem:
            self._kill(f"killed: {problem}")

    def outReceived(self, data: bytes) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.reset(self._seconds)
        try:
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                self.run.line(json.loads(line))
                if self.run.finished and self._answer is not None:
                    self._answered()
            if len(self._buffer) > MAX_LINE:
                raise ValueError(f"a line of more than {MAX_LINE} bytes")
        except (KeyError, TypeError, ValueError) as problem:
            self._kill(f"killed: it said what is no event: {problem!r}")

    def errReceived(self, data: bytes) -> None:
        self._complaint = (self._complaint + data)[-MAX_COMPLAINT:]

    def never_started(self) -> None:
        """Wait for nothing."""
        self._watch.stop()
        self.rest()

    def processEnded(self, reason: Failure) -> None:
        self._watch.stop()
        self.rest()
        # What the program has reported stands, however it ended then.
        if self._killed:
            self.run.reason = self._killed
        elif self._complaint or not reason.check(ProcessDone):
            complaint = self._complaint.decode(errors="replace")
            if complaint:
                log.error("the salvager crashed:\n{complaint}", complaint=complaint)
                self.run.reason = f"the salvager crashed: {complaint.strip().splitlines()[-1]}"
            elif isinstance(reason.value, ProcessTerminated) and reason.value.signal is not None:
                self.run.reason = f"the salvager was ended by signal {reason.value.signal}"
        if not self.ended.called:
            self.ended.callback(None)
        self._answered()

    def _kill(self, why: str) -> None:
        self._killed = self._killed or why
        try:
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]
        except ProcessExitedAlready:
            return
