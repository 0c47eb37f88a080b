"""Sending a volume's dump to other volume servers, as the client of their Restore: one stream to all of them.

The slowest sets the pace; one that fails drops out, and the others go on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any, Protocol

from twisted.internet.defer import Deferred, ensureDeferred

from afs.errors import VolserError
from afs.rpc.volser import AFSVol, destServer, restoreCookie
from fileserver.volser.dump import WORD, Dump
from rx.errors import Abort, RxError
from rx.service import Operation
from rx.streams import Source

MAX_PORT = 0xFFFF

Breathe = Callable[[], Awaitable[None]]
Restore = Callable[[Source], Awaitable[None]]


class Peer(Protocol):
    """A connection to another volume server."""

    async def call(self, operation: Operation, arguments: tuple[Any, ...], timeout: float | None = None) -> Any: ...

    def close(self) -> None: ...


Connect = Callable[[tuple[str, int]], Peer]


class _AllGone(Exception):
    """Nobody takes the stream any more."""


class Pipe:
    """What a dump writes and a call elsewhere reads. Holds one piece; who writes the next one waits."""

    def __init__(self) -> None:
        self._piece = memoryview(b"")
        self._waiting: Deferred[None] | None = None
        self._ended = False
        self.closed = False

    @property
    def finished(self) -> bool:
        """Whether everything was taken."""
        return self._ended and not self._piece

    async def write(self, data: bytes | memoryview, /) -> None:
        """Goes nowhere once nobody reads."""
        while self._piece and not self.closed:
            await self._wait()
        if not self.closed:
            self._piece = memoryview(data)
            self._wake()

    async def read(self, size: int, /) -> bytes:
        while not self._piece and not self._ended:
            await self._wait()
        found, self._piece = bytes(self._piece[:size]), self._piece[size:]
        self._wake()
        return found

    def end(self) -> None:
        """There is no more to write."""
        self._ended = True
        self._wake()

    def close(self) -> None:
        """Nobody reads any more."""
        self.closed = True
        self._wake()

    async def _wait(self) -> None:
        """Either side waits for the other, never both."""
        assert self._waiting is None, "a pipe with two readers or two writers"
        self._waiting = Deferred(self._forget)
        await self._waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _forget(self, _: Deferred[None]) -> None:
        self._waiting = None


class _Tee:
    """A sink for several pipes."""

    def __init__(self, pipes: Sequence[Pipe]) -> None:
        self._pipes = pipes

    def announce(self, length: int) -> None:
        raise NotImplementedError("a dump does not know its length")

    async def write(self, data: bytes | memoryview, /) -> None:
        if all(pipe.closed for pipe in self._pipes):
            raise _AllGone
        for pipe in self._pipes:
            await pipe.write(data)


async def forward(dump: Dump, restores: Sequence[Restore], breathe: Breathe) -> tuple[int, ...]:
    """The code of each restore, 0 for success. Raises what reading the volume raises; every restore then fails, too."""
    pipes = [Pipe() for _ in restores]
    calls = [ensureDeferred(_restore(restore, pipe)) for restore, pipe in zip(restores, pipes, strict=True)]
    try:
        with suppress(_AllGone):
            await dump.write(_Tee(pipes), breathe)
        for pipe in pipes:
            pipe.end()
        return tuple([await call for call in calls])
    except BaseException:
        for call in calls:
            call.addErrback(_cancelled)
            call.cancel()
        raise


def restore_at(peer: Peer, trans: int, incremental: bool, cookie: restoreCookie) -> Callable[[Source], Awaitable[None]]:
    """A restore into the volume of a transaction on another server."""

    async def restore(source: Source) -> None:
        await AFSVol.client(peer).Restore(trans, int(incremental), cookie, source)

    return restore


def address_of(server: destServer) -> tuple[str, int]:
    """Where it listens: both numbers are in host order. Raises Abort VOLSERBADOP for what is no port."""
    if not 0 < server.destPort <= MAX_PORT:
        raise Abort(VolserError.VOLSERBADOP, f"port {server.destPort}")
    return str(IPv4Address(server.destHost & WORD)), server.destPort


async def _restore(restore: Restore, pipe: Pipe) -> int:
    try:
        await restore(pipe)
    except Abort as refusal:
        return refusal.code
    except RxError:
        return VolserError.VOLSERDUMPERROR
    finally:
        pipe.close()
    return 0 if pipe.finished else VolserError.VOLSERDUMPERROR


def _cancelled(_: object) -> None:
    """What became of it is not asked any more."""
