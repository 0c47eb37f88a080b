"""Coroutines of calls, driven by hand.

A call whose request is whole and whose procedure never waits runs from packet to reply without a Deferred: its
coroutine is handed to Twisted only if it suspends. A call that another one wakes (by letting go of what it waited for)
goes on when that one waits or ends, not from within it: however many wait for one lock, the stack does not grow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from rx.transport import RxPort


class Steps:
    """Those of one server's calls."""

    def __init__(self, port: RxPort) -> None:
        self._port = port
        self._running = False  # a call, at this moment
        self._waking = False
        self._woken: deque[Deferred[None]] = deque()
        """Of calls that were woken meanwhile."""

    def drive(self, serving: Coroutine[Any, Any, None]) -> None:
        """Begin a call, which raises nothing."""
        awaited = self._run(serving.send, None)
        if awaited is not None:
            self._port.suspended += 1
            Deferred.fromCoroutine(self._resumed(serving, awaited)).addBoth(self._ended)

    def _run(self, step: Callable[[Any], Any], argument: Any) -> Any:
        """A call up to its next wait: what it waits for, None when it has ended. Then those that it woke."""
        self._running = True
        try:
            awaited = step(argument)
        except StopIteration:
            awaited = None
        finally:
            self._running = False
        if self._woken and not self._waking:
            self._waking = True
            while self._woken:
                self._woken.popleft().callback(None)
            self._waking = False
        return awaited

    @coroutine
    def _resumed(self, serving: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
        """The rest of a coroutine that was driven by hand as far as its first `awaited`."""
        while awaited is not None:
            step: Callable[[Any], Any] = serving.send
            argument: Any = None
            try:
                argument = yield awaited
            except GeneratorExit:
                serving.close()
                raise
            except BaseException as problem:  # noqa: BLE001  passed on, not handled
                step, argument = serving.throw, problem
            if self._running:
                turn: Deferred[None] = Deferred()
                self._woken.append(turn)
                yield turn
            awaited = self._run(step, argument)

    def _ended(self, result: object) -> object:
        self._port.suspended -= 1
        return result
