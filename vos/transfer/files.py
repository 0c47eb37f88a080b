"""The files that dumps go to and come from: read and written in a thread, a large piece at a time and one ahead, so
that a slow disk or a pipe that nobody empties holds up neither the answers to servers nor an interrupt.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")

PIECE = 1 << 20
"""Bytes read or written at a time: a system call and a change of threads cost nothing beside it. Two are in memory."""

BUFFERS = 512
"""Pieces of one writev at most: half of what Linux takes (IOV_MAX)."""

Told = Callable[[int], None]


class Aside:
    """Blocking calls, one after another, in a thread that does not keep the program from ending."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: SimpleQueue[tuple[Deferred[Any], Callable[[], Any]] | None] = SimpleQueue()
        Thread(target=self._run, daemon=True).start()

    def call(self, function: Callable[[], T]) -> Deferred[T]:
        """What the function returns or raises."""
        result: Deferred[T] = Deferred()
        self._calls.put((result, function))
        return result

    def stop(self) -> None:
        """No more calls but those that were asked for."""
        self._calls.put(None)

    def _run(self) -> None:
        while (given := self._calls.get()) is not None:
            result, function = given
            try:
                value = function()
            except OSError:
                self._reactor.callFromThread(result.errback, Failure())
            else:
                self._reactor.callFromThread(result.callback, value)


class FileSink:
    """A sink of a split call. `told` is given the number of bytes of each piece. A descriptor that is `owned` is closed
    at the end. Raises OSError.
    """

    def __init__(self, reactor: Any, descriptor: int, told: Told, *, owned: bool = False) -> None:
        self._descriptor = descriptor
        self._owned = owned
        self._told = told
        self._aside = Aside(reactor)
        self._pieces: list[bytes | memoryview] = []
        self._size = 0
        self._writing: Deferred[None] | None = None

    def announce(self, length: int) -> None:
        """Dumps are not counted."""
        raise TypeError("a dump ends where its call ends")

    async def write(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= PIECE or len(self._pieces) >= BUFFERS:
            await self._pass_on()

    async def finish(self) -> None:
        """Everything is in the file when this returns."""
        await self._pass_on()
        await self._written()
        if self._owned:
            self._owned = False
            await self._aside.call(partial(os.close, self._descriptor))  # which some file systems fail for a full disk

    def stop(self) -> None:
        """No more is coming, and nobody wants to know what comes of what is being written."""
        if self._writing is not None:
            self._writing.addErrback(_unheard)
        _stop(self._aside, self._descriptor if self._owned else None)
        self._owned = False

    async def _pass_on(self) -> None:
        await self._written()
        pieces, size = self._pieces, self._size
        self._pieces, self._size = [], 0
        self._writing = self._aside.call(lambda: _write_all(self._descriptor, pieces))
        self._told(size)

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing


class FileSource:
    """A source of a split call, from where the descriptor is, which is closed at the end if it is `owned`. Raises
    OSError.
    """

    def __init__(self, reactor: Any, descriptor: int, told: Told, *, owned: bool = False) -> None:
        self._descriptor = descriptor
        self._owned = owned
        self._told = told
        self._aside = Aside(reactor)
        self._piece = memoryview(b"")
        self._coming: Deferred[bytes] | None = self._aside.call(self._read)

    async def read(self, size: int, /) -> bytes:
        """The next bytes; none at the end of the file."""
        if not self._piece and self._coming is not None:
            coming, self._coming = self._coming, None
            self._piece = memoryview(await coming)
            self._told(len(self._piece))
            if self._piece:
                self._coming = self._aside.call(self._read)
        data, self._piece = self._piece[:size], self._piece[size:]
        return bytes(data)

    def stop(self) -> None:
        """No more is wanted, whatever comes of what is being read."""
        if self._coming is not None:
            self._coming.addErrback(_unheard)
        _stop(self._aside, self._descriptor if self._owned else None)
        self._owned = False

    def _read(self) -> bytes:
        return os.read(self._descriptor, PIECE)


def _stop(aside: Aside, descriptor: int | None) -> None:
    """A descriptor is closed in the thread that may be using it: another file could have its number sooner."""
    if descriptor is not None:
        aside.call(partial(os.close, descriptor)).addErrback(_unheard)
    aside.stop()


def _unheard(failure: Failure) -> None:
    failure.trap(OSError)


def _write_all(descriptor: int, pieces: list[bytes | memoryview]) -> None:
    while pieces:
        written = os.writev(descriptor, pieces)
        while pieces and written >= len(pieces[0]):
            written -= len(pieces.pop(0))
        if written:
            pieces[0] = memoryview(pieces[0])[written:]
