"""Calls that an interrupt waits for: what they make must be known to be taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

T = TypeVar("T")
R = TypeVar("R")


async def unhurried(call: Awaitable[T], made: Callable[[T], R]) -> R:
    """What `made` returns of the call's result, for it to note how that is taken back. Raises what the call raises.

    An interrupt meanwhile takes effect after it; a second one cancels the call.
    """
    result = Deferred.fromCoroutine(_awaited(call))
    interrupt: CancelledError | None = None
    while not result.called:
        try:
            await _end_of(result)
        except CancelledError as problem:
            if interrupt is not None:
                result.cancel()
            interrupt = problem
    value = made(await result)
    if interrupt is not None:
        raise interrupt
    return value


async def _awaited(call: Awaitable[T]) -> T:
    return await call


def _end_of(result: Deferred[Any]) -> Deferred[None]:
    """Fires when the other has, and can be cancelled without that."""
    ended: Deferred[None] = Deferred()

    def tell(value: T) -> T:
        ended.callback(None)
        return value

    result.addBoth(tell)
    return ended
