"""What is being done to partitions, and what was done last: progress that can be watched, steps with their times.

An operation has the id of the request that began it, so that the same request again finds it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from afs.rpc.partitions import PARTITION_MAXTEXT, PartitionServer
from afs.rpc.volpartitions import VCOUNT, VOP, VOPS, VSTEP, VolCount, VolOperation, VolStep

log = Logger(namespace="fileserver.partitions")

OPERATIONS_KEPT = 256
"""Ended ones that can still be asked for: hours of an administrator's work."""


_COUNTED = {
    VCOUNT.HELD: "{} calls held",
    VCOUNT.TOLD: "{} clients told",
    VCOUNT.UNREACHED: "{} clients not reached",
    VCOUNT.ATTACHED: "{} volumes re-attached",
    VCOUNT.LONGEST: "longest hold {} ms",
    VCOUNT.SALVAGED: "{} volumes checked",
    VCOUNT.REPAIRED: "{} repaired",
    VCOUNT.LOST: "{} lost",
}
"""In the line that ends an operation."""


@dataclass(slots=True, eq=False)
class Operation:
    """One mount, unmount, salvage or move. `now` is Unix time."""

    id: UUID
    kind: VOP
    partition: UUID
    now: Callable[[], float]
    peer: PartitionServer = field(default_factory=PartitionServer)
    state: VOPS = VOPS.RUNNING
    code: int = 0
    text: str = ""
    done: int = 0
    total: int = 0
    version: int = 0
    steps: list[tuple[VSTEP, float]] = field(default_factory=list)
    counts: dict[VCOUNT, int] = field(default_factory=dict)
    long: bool = False
    """It takes as long as a disk is large: the start of the server does not wait for it."""
    cancelled: bool = False
    _waiting: list[Deferred[None]] = field(default_factory=list)

    def cancel(self) -> bool:
        """End it as soon as that leaves nothing half done. Whether it is one that can be."""
        if self.kind is not VOP.SALVAGE:
            return False
        self.cancelled = True
        return True

    def step(self, step: VSTEP) -> None:
        """It has come that far."""
        self.steps.append((step, self.now()))
        if step is not VSTEP.ENDED:
            log.info("{op} {step} at {since:.3f} s", op=self, step=step.name.lower(), since=self._seconds())
        self._changed()

    def progress(self, done: int, total: int) -> None:
        """So much of what the present step works on."""
        self.done, self.total = done, total
        self._changed()

    def count(self, kind: VCOUNT, value: int = 1) -> None:
        """So many more; of LONGEST the largest counts."""
        known = self.counts.get(kind, 0)
        self.counts[kind] = max(known, value) if kind is VCOUNT.LONGEST else known + value

    def end(self, state: VOPS, text: str = "", code: int = 0) -> None:
        """It is over; the line with the counters."""
        self.state, self.text, self.code = state, text, code
        self.step(VSTEP.ENDED)
        counted = "".join(f", {_COUNTED[kind].format(value)}" for kind, value in sorted(self.counts.items()))
        say = log.info if state in (VOPS.DONE, VOPS.ALREADY) else log.error
        say(
            "{op} {state} after {seconds:.3f} s{counted}{reason}",
            op=self,
            state=state.name.lower(),
            seconds=self._seconds(),
            counted=counted,
            reason=f": {text}" if text else "",
        )

    def _seconds(self) -> float:
        """From the first step to the last."""
        return self.steps[-1][1] - self.steps[0][1]

    def __str__(self) -> str:
        return f"{self.kind.name.lower()} {self.id} of partition {self.partition}:"

    def changed(self) -> Deferred[None]:
        """Fires at the next change. Cancel it to stop waiting."""
        waiter: Deferred[None] = Deferred(lambda waiter: self._waiting.remove(waiter))
        self._waiting.append(waiter)
        return waiter

    def _changed(self) -> None:
        self.version += 1
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def to_wire(self) -> VolOperation:
        """As GetOperation answers it."""
        return VolOperation(
            id=self.id,
            kind=self.kind,
            partition=self.partition,
            peer=self.peer,
            state=self.state,
            step=self.steps[-1][0] if self.steps else VSTEP.BEGUN,
            code=self.code,
            text=self.text.encode()[:PARTITION_MAXTEXT],
            done=self.done,
            total=self.total,
            version=self.version,
            steps=tuple(VolStep(step, int(at * 1000)) for step, at in self.steps),
            counts=tuple(VolCount(kind, value) for kind, value in self.counts.items()),
        )


class Operations:
    """Those that run, and the last that ended."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._known: OrderedDict[UUID, Operation] = OrderedDict()

    def begin(self, id: UUID, kind: VOP, partition: UUID, peer: PartitionServer | None = None) -> Operation:  # noqa: A002
        """A new one, begun."""
        operation = Operation(id, kind, partition, self._now, peer or PartitionServer())
        operation.step(VSTEP.BEGUN)
        self._known[id] = operation
        ended = [known for known in self._known.values() if known.state is not VOPS.RUNNING]
        for old in ended[: max(0, len(ended) - OPERATIONS_KEPT)]:
            del self._known[old.id]
        return operation

    def get(self, id: UUID) -> Operation | None:  # noqa: A002
        """The one of that request."""
        return self._known.get(id)

    def of(self, partition: UUID | None) -> Iterator[Operation]:
        """Of one partition or of all, the newest first."""
        return (each for each in reversed(self._known.values()) if partition in (None, each.partition))

    def last(self, partition: UUID) -> Operation | None:
        """The newest of a partition."""
        return next(self.of(partition), None)

    def running(self, partition: UUID) -> Operation | None:
        """The one under way on a partition."""
        return next((each for each in self.of(partition) if each.state is VOPS.RUNNING), None)
