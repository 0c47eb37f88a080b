"""The operations under way, one at a time on a partition. Each goes on when whoever asked for it goes away."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred, FirstError, ensureDeferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from afs.rpc.volpartitions import VOPS
from fileserver.interfaces import StoreError
from fileserver.partitions.move import Down
from fileserver.partitions.operations import Operation, Operations
from rx.errors import RxError

log = Logger(namespace="fileserver.partitions")

Flow = Coroutine[Any, Any, VOPS]


class Busy(StoreError):
    """Another operation is under way on the partition."""


class Flows:
    """See the module. `over` is called with each operation that has ended."""

    def __init__(self, operations: Operations, over: Callable[[Operation], None]) -> None:
        self._operations = operations
        self._over = over
        self._running: dict[UUID, tuple[Operation, Deferred[VOPS], Deferred[None]]] = {}
        """By partition: what is done, the flow, and what fires when it is over."""

    def __iter__(self) -> Iterator[Operation]:
        """Those that are under way now."""
        return iter([operation for operation, _, _ in self._running.values()])

    def repeated(self, partition: UUID, request: UUID) -> Operation | None:
        """The operation of the same request, if there is one. Raises Busy while another is under way."""
        running = self._operations.running(partition)
        if running is not None and running.id != request:
            raise Busy(f"{running} is under way")
        return running or self._operations.get(request)

    def run(self, operation: Operation, flow: Flow) -> None:
        """Carry out an operation that has begun."""

        def failed(failure: Failure) -> None:
            if isinstance(failure.value, FirstError):
                failure = failure.value.subFailure
            if not failure.check(StoreError, OSError, RxError, CancelledError):
                log.failure("{op} a defect", failure, op=operation)
            state = VOPS.STUCK if failure.check(Down) else VOPS.FAILED
            ended(state, failure.getErrorMessage() or repr(failure.value))

        def ended(state: VOPS, text: str = "") -> None:
            """Whoever waits for the end may begin the next operation at once."""
            del self._running[operation.partition]
            operation.end(state, text or operation.text)
            self._over(operation)

        over: Deferred[None] = Deferred()
        task = ensureDeferred(flow)
        self._running[operation.partition] = operation, task, over
        task.addCallbacks(ended, failed).chainDeferred(over)

    def give_up(self) -> Deferred[list[None]]:
        """Cancel all. Fires when all are over."""
        running = list(self._running.values())
        for _, task, _ in running:
            task.cancel()
        return gatherResults([over for _, _, over in running])
