"""Tenure: how the owner of a partition knows, at every write and every answer, that it still is the owner.

A thread of its own rewrites the label every second and reads it back. Only what began less than a tenure before now
counts, on a clock that goes on while the process or the machine sleeps. Another server that has won the partition in
the VLDB says so in a claim beside the label and waits: the owner then has time to close its volumes and let go. One
that neither lets go nor beats has lost the partition after a tenure and a margin. docs/protocol/fencing.md has the
argument.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self
from uuid import UUID

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from fileserver.interfaces import PROMPT_SECONDS, Damaged, Fenced
from fileserver.partitions.label import HeldLabel, Label, LabelState, write_atomically

log = Logger(namespace="fileserver.partitions")

BEAT_SECONDS = 1.0

TENURE_SECONDS = 2.5
"""For how long one reading of the label counts: a beat may fail or come late, and a takeover stays within seconds."""

MARGIN_SECONDS = 0.5
"""What a claimant waits beyond the tenure: the clocks of two machines run at rates that differ by far less."""

ASKED_SECONDS = 5.0
"""An owner that was asked to let go does so within this, or ceases to beat."""

CLAIM_FILE = ".txafs-claim"


def boottime() -> float:
    """Seconds on a clock that nobody sets and that counts suspended time too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Claim:
    """Beside the label: who has won the partition in the VLDB, with which epoch."""

    epoch: int
    owner: UUID

    @classmethod
    def read(cls, partition: str) -> Self | None:
        """None where there is none. Raises Damaged, OSError."""
        path = os.path.join(partition, CLAIM_FILE)
        try:
            values = json.loads(Path(path).read_bytes())
            return cls(int(values["epoch"]), UUID(values["owner"]))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"{path} is not a claim: {error!r}") from error

    def write(self, partition: str) -> None:
        """Put the claim where the owner looks every second."""
        values = {"epoch": self.epoch, "owner": str(self.owner)}
        path = os.path.join(partition, CLAIM_FILE)
        write_atomically(path, json.dumps(values).encode() + b"\n", tag=f".{self.epoch}.{self.owner}")

    @staticmethod
    def remove(partition: str) -> None:
        """Whoever has the label needs no claim."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(partition, CLAIM_FILE))


class Tenure:
    """Ownership by a label that this server holds and has made its own.

    `ended(reason)` is called in the reactor's thread, once: when another server asks for the partition, or has it.
    """

    def __init__(
        self,
        partition: str,
        held: HeldLabel,
        label: Label,
        reactor: IReactorFromThreads,
        ended: Callable[[str], None],
        clock: Callable[[], float] = boottime,
    ) -> None:
        self.label = label
        self._partition = partition
        self._held = held
        self._reactor = reactor
        self._ended = ended
        self._clock = clock
        self._confirmed = float("-inf")
        self._lost = ""
        self._over = False
        self.unwanted = ""
        """Why this server is to let go of the partition, once another has claimed or taken it."""
        self._asked: float | None = None
        self._failing = False
        self._stopping = False
        self._waiting: list[Deferred[bool]] = []
        self._busy_since: float | None = None
        self._slow = False
        self._jobs: SimpleQueue[tuple[Callable[[], None] | None, Deferred[None]]] = SimpleQueue()
        self._thread = Thread(target=self._run, name=f"tenure of {partition}", daemon=True)

    def start(self) -> None:
        """Confirm the ownership, at once, and begin to beat. Raises Fenced, OSError, Damaged."""
        self._beat()
        self.check()
        self._thread.start()

    def check(self) -> None:
        if self._clock() - self._confirmed >= TENURE_SECONDS:
            raise Fenced(self._lost or f"{self._partition}: the label was not read for {TENURE_SECONDS} s")

    @property
    def lost(self) -> bool:
        """Whether the partition is another server's, for good."""
        return bool(self._lost)

    def settled(self) -> Deferred[bool]:
        answer: Deferred[bool] = Deferred(lambda waiter: self._waiting.remove(waiter))
        self._waiting.append(answer)
        if self._over or self._clock() - self._confirmed < TENURE_SECONDS:
            self._tell()
        return answer

    def prompt(self) -> bool:
        busy_since = self._busy_since
        return not self._slow and (busy_since is None or self._clock() - busy_since <= PROMPT_SECONDS)

    def write(self, **changes: Any) -> Deferred[None]:
        """Change fields of the label; fires when that is durable. Fails with Fenced, OSError, Damaged."""
        return self.run(lambda: self._write(replace(self.label, **changes)))

    def run(self, job: Callable[[], None]) -> Deferred[None]:
        """Do something brief on the partition, between two beats. Fails with Fenced, and as the job does."""
        return self._submit(job)

    def release(self, **changes: Any) -> Deferred[None]:
        """Say on the label that nobody owns the partition, and let go of it. Fails as `write`, having let go."""
        done = self.write(owner=None, state=LabelState.RELEASED, **changes)
        return done.addBoth(lambda outcome: self.stop().addCallback(lambda _: outcome))

    def stop(self) -> Deferred[None]:
        """Cease to beat and give up the lock, with the label as it is."""
        return self._submit(None)

    def _submit(self, job: Callable[[], None] | None) -> Deferred[None]:
        if self._stopping:
            return succeed(None) if job is None else fail(Fenced(f"{self._partition}: it was let go of"))
        self._stopping = job is None
        done: Deferred[None] = Deferred()
        self._jobs.put((job, done))
        return done

    def _run(self) -> None:
        """The thread."""
        due = self._clock() + BEAT_SECONDS
        while True:
            try:
                job, done = self._jobs.get(timeout=max(0.0, due - self._clock()))
            except Empty:
                due = self._clock() + BEAT_SECONDS
                self._timed(self._beat_or_complain)
                continue
            if job is None:
                self._confirmed = float("-inf")
                self._cease()
                self._held.close()
                self._reactor.callFromThread(done.callback, None)
                return
            try:
                self.check()
                self._timed(job)
            except (OSError, Damaged, Fenced) as problem:
                self._reactor.callFromThread(done.errback, problem)
            else:
                self._reactor.callFromThread(done.callback, None)

    def _timed(self, job: Callable[[], None]) -> None:
        """Whoever asks `prompt` learns how long the storage takes. Once slow, it is so until a beat is not: another job
        may need no disk.
        """
        self._busy_since = began = self._clock()
        try:
            job()
        finally:
            took = self._clock() - began
            self._slow = took > PROMPT_SECONDS or (self._slow and job != self._beat_or_complain)
            self._busy_since = None

    def _beat_or_complain(self) -> None:
        if self._over:
            return
        if self._asked is not None and self._clock() - self._asked > ASKED_SECONDS:
            self._cease()
            return
        try:
            self._beat()
        except (OSError, Damaged) as problem:
            if not self._failing:
                log.error("{path}: the label cannot be kept: {problem}", path=self._partition, problem=problem)
            self._failing = True
        else:
            self._failing = False

    def _beat(self) -> None:
        """Say that we live, and look whether the label is ours. Raises OSError, Damaged."""
        began = self._clock()
        self._write(replace(self.label, beat=self.label.beat + 1, beaten=time.time(), tenure=TENURE_SECONDS))
        found = self._held.read_in_place()
        claim = Claim.read(self._partition)
        if found is None or (found.epoch, found.owner) != (self.label.epoch, self.label.owner):
            self._lose(f"{self._partition}: another server has taken the partition")
            return
        self._confirmed = began
        if claim is not None and claim.epoch > self.label.epoch and self._asked is None:
            self._asked = began
            reason = f"{self._partition}: server {claim.owner} has claimed the partition with epoch {claim.epoch}"
            self._end(reason)
        if self._waiting:
            self._reactor.callFromThread(self._tell)

    def _write(self, label: Label) -> None:
        self._held.write(label)
        self.label = label

    def _lose(self, reason: str) -> None:
        self._lost = reason
        self._confirmed = float("-inf")
        self._cease()
        if self._asked is None:
            self._end(reason)

    def _cease(self) -> None:
        """It is not going to be confirmed again, and whoever waits for that hears so."""
        self._over = True
        self._reactor.callFromThread(self._tell)

    def _end(self, reason: str) -> None:
        self.unwanted = reason
        self._reactor.callFromThread(self._ended, reason)

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(not self._over)
