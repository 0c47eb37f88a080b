"""A call of the engine as something to await: what `rx.service` reads its requests from and writes its replies to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from rx.call import Call
from rx.constants import RxCode
from rx.errors import RxError
from rx.peer import Address

if TYPE_CHECKING:
    from rx.transport import RxPort


class CallConversation:
    """The `rx.streams.Conversation` of both ends.

    One reader and one writer may wait at a time. After the call has ended in an error, everything here raises it.
    """

    __slots__ = (
        "_port",
        "_reader",
        "_writer",
        "bytes_received",
        "bytes_sent",
        "call",
        "completed",
        "error",
        "on_completed",
        "peer",
    )

    def __init__(self, port: RxPort, call: Call, on_completed: Callable[[], None] | None = None) -> None:
        self.call = call
        self.peer: Address = call.connection.peer
        self.completed = False
        self.error: RxError | None = None
        self.on_completed = on_completed
        self.bytes_sent = 0
        self.bytes_received = 0
        self._port = port
        self._reader: Deferred[None] | None = None
        self._writer: Deferred[None] | None = None

    @property
    def answered(self) -> bool:
        return self.call.completed and self.call.error is None

    async def send(self, data: bytes | memoryview) -> None:
        call = self.call
        self.bytes_sent += len(data)
        while data:
            if self.error is not None:
                raise self.error
            if self.answered:
                return
            if room := call.writable:
                call.write(bytes(data) if len(data) <= room else bytes(data[:room]))
                data = memoryview(data)[room:]
                self._port.flush_soon()
            else:
                assert self._writer is None
                self._writer = Deferred(self._forget_waiters)
                await self._writer

    def finish(self) -> None:
        if self.error is not None:
            raise self.error
        if not self.answered:
            self.call.end_writing()
            self._port.flush_soon()

    async def receive(self, size: int = -1) -> bytes:
        call = self.call
        while True:
            if self.error is not None:
                raise self.error
            if call.readable or call.error is not None:
                data = call.read(size)
                self.bytes_received += len(data)
                self._port.flush_soon()
                return data
            if call.at_end:
                return b""
            assert self._reader is None
            self._reader = Deferred(self._forget_waiters)
            await self._reader

    def abort(self, code: int) -> None:
        """End the call with `code`, unless it is over. Whoever waits gets the error the engine reports for it."""
        if not self.completed:
            self.call.abort(code)
            self._port.flush_soon()

    def lose(self, error: RxError, code: int = RxCode.RX_USER_ABORT) -> None:
        """End the call with `code` on the wire and `error` here."""
        if not self.completed:
            self.error = error
            self.abort(code)
            self.wake_reader()
            self.wake_writer()

    def complete(self, error: RxError | None) -> None:
        """The engine says that the call is over."""
        self.completed = True
        self.error = self.error or error
        self.wake_reader()
        self.wake_writer()
        if self.on_completed is not None:
            self.on_completed()

    def wake_reader(self) -> None:
        waiter, self._reader = self._reader, None
        if waiter is not None:
            waiter.callback(None)

    def wake_writer(self) -> None:
        waiter, self._writer = self._writer, None
        if waiter is not None:
            waiter.callback(None)

    def _forget_waiters(self, cancelled: Deferred[None]) -> None:
        if self._reader is cancelled:
            self._reader = None
        if self._writer is cancelled:
            self._writer = None
