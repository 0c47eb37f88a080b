"""What is to be taken back when an operation of several steps fails or is interrupted, and what is done at its end in
any case: one stack, last in, first out.

An operation adds a step once there is something to take back, and forgets it, or has it done, when that is over. What
could not be taken back is told as what is left, with the command that goes on from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from twisted.internet.defer import CancelledError

from rx.errors import RxError
from vos.errors import OperationFailed, error_text
from vos.output import Output

_TOLD = "vos: interrupted: taking back what was begun; again to leave it as it is"

Act = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """How something is taken back, what is left if it is not, and the command that then takes it back or goes on.

    `failed` is what is said when it could not be done, in stock's words where stock has some. One that is `always`
    carried out is so at the end of an operation that succeeded too.
    """

    act: Act
    left: str
    remedy: str
    failed: str = ""
    always: bool = False


class Undo:
    """See the module. In use:

    async with Undo(session.output) as undo:
        clone = await make_clone()
        undo.add(partial(delete, clone), left=f"clone {clone}", remedy=f"vos zap SERVER PARTITION {clone}")
        ...
        undo.keep()
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._steps: list[Step] = []

    def add(self, act: Act, *, left: str, remedy: str, failed: str = "") -> Step:
        """Take something back, should the operation fail."""
        return self._put(Step(act, left, remedy, failed))

    def finally_(self, act: Act, *, left: str, remedy: str, failed: str = "") -> Step:
        """Do something at the end of the operation, however it ends: end a transaction, release a lock."""
        return self._put(Step(act, left, remedy, failed, always=True))

    def note(self, *, left: str, remedy: str) -> Step:
        """Something that cannot be taken back, should the operation fail: it is told."""

        async def tell() -> None:
            self._tell_left([step])

        step = self._put(Step(tell, left, remedy))
        return step

    def forget(self, step: Step) -> None:
        """It is not to be carried out any more, since it has been done otherwise."""
        self._steps.remove(step)

    async def now(self, step: Step) -> None:
        """Carry a step out before the others. Raises what it raises; it is not tried again then."""
        self.forget(step)
        await step.act()

    def keep(self) -> None:
        """Nothing is to be taken back from here on, even if something fails: only the ends are made."""
        self._steps = [each for each in self._steps if each.always]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            await self._end()
        elif isinstance(error, CancelledError):
            await self._interrupted(error)
        elif isinstance(error, Exception):
            await self._take_back()

    async def _end(self) -> None:
        self.keep()
        failure: OperationFailed | None = None
        while self._steps:
            step = self._steps.pop()
            try:
                await step.act()
            except CancelledError:
                self._tell_left([*self._steps, step])
                raise
            except (RxError, OperationFailed) as problem:
                self._tell_failed(step, problem)
                failure = failure or OperationFailed(problem.code, step.failed or f"could not take back {step.left}")
        if failure is not None:
            raise failure

    async def _interrupted(self, interrupt: CancelledError) -> None:
        if not self._steps:
            return
        if _TOLD not in interrupt.args:  # by one that is within this one
            interrupt.args = (_TOLD,)
            self._output.complain(_TOLD)
        await self._take_back()

    async def _take_back(self) -> None:
        """Whatever fails of it is told: the operation's own error is what counts."""
        while self._steps:
            step = self._steps.pop()
            try:
                await step.act()
            except CancelledError:
                self._tell_left([*self._steps, step])
                self._steps.clear()
                raise
            except (RxError, OperationFailed) as problem:
                self._tell_failed(step, problem)

    def _put(self, step: Step) -> Step:
        self._steps.append(step)
        return step

    def _tell_failed(self, step: Step, problem: RxError | OperationFailed) -> None:
        """What has not been said yet: an operation has told what it could not do."""
        if step.failed and isinstance(problem, RxError):
            self._output.complain(step.failed)
            self._output.complain(error_text(problem.code))
        self._tell_left([step])

    def _tell_left(self, steps: list[Step]) -> None:
        for step in reversed(steps):
            self._output.left(step.left, step.remedy)
