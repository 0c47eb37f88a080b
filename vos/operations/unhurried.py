"""Calls that an interrupt waits for: what they make must be known to be taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from rx.service import Caller, Operation

T = TypeVar("T")
R = TypeVar("R")


async def unhurried(call: Awaitable[T], made: Callable[[T], R]) -> R:
    """What `made` returns of the call's result, for it to note how that is taken back. Raises what the call raises.

    An interrupt meanwhile takes effect after it, also when it fails; a second one cancels the call.
    """
    outcome: list[T | Failure] = []
    waiting: Deferred[None] = Deferred()

    def end(value: T | Failure) -> None:
        outcome.append(value)
        waiting.callback(None)  # which nobody waits for any more after an interrupt

    running = Deferred.fromCoroutine(_awaited(call))
    running.addBoth(end)
    interrupt: CancelledError | None = None
    while not outcome:
        try:
            await waiting
        except CancelledError as problem:
            if interrupt is not None:
                running.cancel()
            interrupt = problem
            waiting = Deferred()
    (result,) = outcome
    if isinstance(result, Failure):
        if interrupt is not None:
            raise interrupt from result.value
        result.raiseException()
    value = made(result)
    if interrupt is not None:
        raise interrupt
    return value


async def _awaited(call: Awaitable[T]) -> T:
    return await call


class Patient:
    """A `Caller` whose calls that change something are unhurried, but for those that last as long as there is data:
    a server that is interrupted in the middle of a change has to take it back, or cannot.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def call(self, operation: Operation, arguments: tuple[Any, ...], timeout: float | None) -> Awaitable[Any]:
        """See `Caller`."""
        made = self._caller.call(operation, arguments, timeout)
        return unhurried(made, _same) if operation.name in CHANGES else made


CHANGES = frozenset(
    {
        *("TransCreate", "EndTrans", "CreateVolume", "DeleteVolume", "NukeVolume", "Clone", "ReClone"),
        *("ConvertROtoRWvolume", "SplitVolume", "SetFlags", "SetForwarding", "SetIdsTypes", "SetDate", "SetInfo"),
        *("SetLock", "ReleaseLock", "CreateEntryN", "ReplaceEntryN", "DeleteEntry", "GetNewVolumeId"),
    }
)
"""RPCs of VL and AFSVol that change something and are over soon, if the server is up."""


def _same(result: T) -> T:
    return result
