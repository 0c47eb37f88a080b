"""A service that several servers provide alike, called as if it were one: the databases that ubik keeps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from afs.errors import UbikError
from rx.errors import Abort, CallLost
from rx.service import Caller, Operation

ASK_ANOTHER = frozenset({UbikError.UNOTSYNC, UbikError.UNOQUORUM})
"""What a server answers that cannot do it, where another may: it is not the one that writes, or knows of none."""


class AnyServer:
    """A `Caller` that asks one server after the other until one is up and can do it, and stays with that one.

    `callers` make the connections, those that are needed. A call is lost when every server was silent or unable; what
    the last one said is raised.
    """

    def __init__(self, callers: Sequence[Callable[[], Caller]]) -> None:
        self._callers = list(callers)

    def call(self, operation: Operation, arguments: tuple[Any, ...], timeout: float | None) -> Awaitable[Any]:
        """See `Caller`."""
        return self._call(operation, arguments, timeout)

    async def _call(self, operation: Operation, arguments: tuple[Any, ...], timeout: float | None) -> Any:
        for tried in range(len(self._callers)):
            caller = self._callers[0]
            try:
                return await caller().call(operation, arguments, timeout)
            except (Abort, CallLost) as problem:
                unable = isinstance(problem, CallLost) or problem.code in ASK_ANOTHER
                if not unable or tried == len(self._callers) - 1:
                    raise
            if caller is self._callers[0]:  # several calls may find it out at once
                self._callers.append(self._callers.pop(0))
        raise AssertionError("no server at all")
