"""A vos that is interrupted, or dies, at a call of its own: nothing of it goes on, and nobody is told."""

from __future__ import annotations

import io
from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred

from afs.rpc.vl import VL
from rx.constants import RxCode
from rx.errors import CallLost
from rx.service import Caller, Operation
from tests.vos.cells import FIRST, Result, VosCase
from vos.main import exact
from vos.options import Options
from vos.output import Output
from vos.run import carry_out
from vos.session import Session
from vos.syntax import parse


class Fuse:
    """Blows at the call of a number, counted from 1: `cut` is called then. `names` are those that were made."""

    def __init__(self, number: int = 0, *, answered: bool = False) -> None:
        """With `answered` it blows when the call has been answered, which nobody comes to know, otherwise before it."""
        self.names: list[str] = []
        self.blown = False
        self._number = number
        self._answered = answered
        self._dead: list[Deferred[Any]] = []

    def cut(self) -> None:
        """What happens then."""

    def wrap(self, caller: Caller, server: str = "") -> Caller:
        """The calls to a server are counted."""
        return _Fused(self, caller, server)

    async def call(
        self, caller: Caller, server: str, operation: Operation, arguments: tuple[Any, ...], timeout: float | None
    ) -> Any:
        """One of them."""
        self.names.append(operation.name)
        last = len(self.names) == self._number
        if not last or self._answered:
            result = await caller.call(operation, arguments, timeout)
        if last:
            self.blown = True
            self.cut()
            await self._nothing()
        return result

    def _nothing(self) -> Deferred[None]:
        """Is kept, or what waits for it would be closed by the garbage collector, and run its ends."""
        self._dead.append(Deferred())
        return self._dead[-1]


class Interrupt(Fuse):
    """SIGINT while the call is under way; it is let through, since a call is not over before its answer."""

    def __init__(self, number: int) -> None:
        super().__init__(number, answered=True)
        self.running: Deferred[Any] | None = None

    def _interrupt(self) -> None:
        assert self.running is not None
        self.running.cancel()

    async def call(
        self, caller: Caller, server: str, operation: Operation, arguments: tuple[Any, ...], timeout: float | None
    ) -> Any:
        """One of them."""
        self.names.append(operation.name)
        if len(self.names) != self._number:
            return await caller.call(operation, arguments, timeout)
        self.blown = True
        from twisted.internet import reactor

        any_reactor: Any = reactor
        any_reactor.callLater(0, self._interrupt)
        return await caller.call(operation, arguments, timeout)


class Silence(Fuse):
    """From the call on a server is silent, to vos alone; what was asked last it may have done."""

    def __init__(self, number: int, server: str) -> None:
        super().__init__(number)
        self._server = server

    async def call(
        self, caller: Caller, server: str, operation: Operation, arguments: tuple[Any, ...], timeout: float | None
    ) -> Any:
        """One of them."""
        self.names.append(operation.name)
        result = await caller.call(operation, arguments, timeout) if not self.blown or server != self._server else None
        self.blown = self.blown or len(self.names) >= self._number
        if self.blown and server == self._server:
            raise CallLost(RxCode.RX_CALL_DEAD)
        return result


class _Fused:
    """A `Caller`."""

    def __init__(self, fuse: Fuse, caller: Caller, server: str) -> None:
        self._fuse = fuse
        self._caller = caller
        self._server = server

    def call(self, operation: Operation, arguments: tuple[Any, ...], timeout: float | None) -> Awaitable[Any]:
        """See `Caller`."""
        return self._fuse.call(self._caller, self._server, operation, arguments, timeout)


class FusedSession(Session):
    """Every call goes through the fuse."""

    def __init__(self, fuse: Fuse, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._fuse = fuse
        self.vl = VL.client(fuse.wrap(self._any_vlserver))

    def _volser(self, server: Any) -> Caller:
        return self._fuse.wrap(super()._volser(server), str(server))

    def vanish(self) -> None:
        """The process is no more: its socket is closed without a word."""
        self._connections._port._close()


class FuseCase(VosCase):
    """Runs subcommands that a fuse may end."""

    async def fused(self, fuse: Fuse, name: str, *words: str) -> Result | None:
        """What one said; None if it died."""
        command = exact(name)
        assert command is not None
        out, err = io.StringIO(), io.StringIO()
        from twisted.internet import reactor

        values = parse("vos", command.syntax, words)
        session = FusedSession(
            fuse,
            reactor,
            "test",
            [self.cell.vlserver_address],
            Output(out, err, Options.of(values).verbose),
            noresolve=True,
            volser_port=self.cell.fileservers[0].volser_port,
            address=FIRST,
        )
        died: Deferred[None] = Deferred()

        def die() -> None:
            session.vanish()
            died.callback(None)

        fuse.cut = die  # type: ignore[method-assign]
        running = Deferred.fromCoroutine(carry_out(command, session, values))
        if isinstance(fuse, Interrupt):
            fuse.running = running
        if not died.called:
            await first_of(died, running)
        if not died.called:
            return Result(await running, out.getvalue(), err.getvalue())
        self.addCleanup(lambda: (fuse, running))  # kept until the test is over
        return None


def first_of(one: Deferred[Any], other: Deferred[Any]) -> Deferred[None]:
    """Fires with the first; what the other comes to is left as it is."""
    first: Deferred[None] = Deferred()

    def fire(result: Any) -> Any:
        if not first.called:
            first.callback(None)
        return result

    one.addBoth(fire)
    other.addBoth(fire)
    return first
