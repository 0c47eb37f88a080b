"""A subcommand carried out: the reactor runs for as long as it does, and an interrupt cancels it."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from rx.errors import Abort, CallLost
from vos.command import Command, CommandError
from vos.errors import OperationFailed, diagnostics
from vos.options import Options
from vos.output import Output
from vos.session import Session
from vos.syntax import USAGE_STATUS, Values

INTERRUPTED = 130
"""The exit status of a program that an interrupt has ended, as shells count."""


def run(command: Command, values: Values, options: Options, output: Output) -> int:
    """The exit status. Raises CommandError when there is no session to be had, BrokenPipeError."""
    any_reactor: Any = reactor
    session = Session.of(any_reactor, options, output)
    running = Deferred.fromCoroutine(carry_out(command, session, values))
    ended: list[int | Failure] = []

    def end(result: int | Failure) -> None:
        ended.append(result)
        any_reactor.callLater(0, any_reactor.stop)

    running.addBoth(end)
    with _interrupts(any_reactor, running):
        any_reactor.run(installSignalHandlers=False)
    (result,) = ended
    if isinstance(result, Failure):
        result.raiseException()
    output.out.flush()
    assert isinstance(result, int)
    return result


async def carry_out(command: Command, session: Session, values: Values) -> int:
    """The exit status of a subcommand in a session that is started for it and stopped after it."""
    session.start()
    try:
        await command.run(session, values)
    except CommandError as failure:
        if failure.text:
            session.output.complain(failure.text.removesuffix("\n"))
        return failure.status
    except OperationFailed as failure:
        session.output.complain(diagnostics(command.syntax.name, failure.code).removesuffix("\n"))
        return command.failure
    except (Abort, CallLost) as problem:
        session.output.complain(diagnostics(command.syntax.name, problem.code).removesuffix("\n"))
        return USAGE_STATUS
    except CancelledError:
        return INTERRUPTED
    finally:
        await session.stop()
    return 0


CANCELS = 2
"""SIGINTs that cancel what runs: the first ends the work, the second the taking back of what was begun."""


class _interrupts:  # noqa: N801  # reads as the statement it is
    """While it lasts the first SIGINTs cancel what runs, a further one ends the program."""

    def __init__(self, any_reactor: Any, running: Deferred[Any]) -> None:
        self._reactor = any_reactor
        self._running = running
        self._count = 0

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, self._caught)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count == CANCELS:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._reactor.callFromThread(self._running.cancel)
