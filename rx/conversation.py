"""A call of the engine as something to await, and those of one port: what `rx.dispatch` reads from and writes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred

from rx.call import Call
from rx.constants import CallState, RxCode
from rx.errors import CallLost, RxError
from rx.events import CallArrived, CallCompleted, DataArrived, Writable
from rx.peer import Address

if TYPE_CHECKING:
    from rx.transport import RxPort

ANSWERED_SECONDS = 1.0
"""How long `drain` waits for the acknowledgement of an answer alone: a few retransmissions. A `vos` that has exited
after its last call never sends one.
"""


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

    @property
    def ended(self) -> bool:
        return self.call.at_end

    def queue(self, data: bytes | memoryview) -> bytes | memoryview:
        """Queue what there is room for; returns the rest."""
        if self.error is not None:
            raise self.error
        call = self.call
        if self.answered:
            return b""
        room = call.writable
        if not room:
            return data
        piece = bytes(data) if len(data) <= room else bytes(data[:room])
        call.write(piece)
        self.bytes_sent += len(piece)
        self._port.flush_soon()
        return b"" if len(data) <= room else memoryview(data)[room:]

    async def send(self, data: bytes | memoryview) -> None:
        while data:
            data = self.queue(data)
            if data and not self.call.writable:
                assert self._writer is None
                self._writer = Deferred(self._forget_waiters)
                await self._writer

    def finish(self) -> None:
        if self.error is not None:
            raise self.error
        if not self.answered:
            self.call.end_writing()
            self._port.flush_soon()

    def received(self, size: int = -1) -> bytes | None:
        """As `receive`, but None where that would wait."""
        if self.error is not None:
            raise self.error
        call = self.call
        if call.readable or call.error is not None:
            data = call.read(size)
            self.bytes_received += len(data)
            self._port.flush_soon()
            return data
        return b"" if call.at_end else None

    async def receive(self, size: int = -1) -> bytes:
        while (data := self.received(size)) is None:
            assert self._reader is None
            self._reader = Deferred(self._forget_waiters)
            await self._reader
        return data

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


class Conversations:
    """Those of one port: each call's, where new ones go, and how they come to an end."""

    def __init__(self, port: RxPort) -> None:
        self._port = port
        self.by_call: dict[Call, CallConversation] = {}
        self.arrived = 0
        """Calls of clients that are not over."""
        self.refuse_with: int | None = None
        """The code that every new call gets, None while they are welcome."""
        self._acceptors: dict[int, Callable[[CallConversation], None]] = {}
        self._drained: Deferred[None] | None = None

    def accept(self, service_id: int, acceptor: Callable[[CallConversation], None]) -> None:
        """Give the calls to a service, which the endpoint was told to offer, to `acceptor`."""
        self._acceptors[service_id] = acceptor

    def begin(self, call: Call, on_completed: Callable[[], None] | None = None) -> CallConversation:
        """The conversation of a call we made. `on_completed` is called when the engine has ended it."""
        conversation = self.by_call[call] = CallConversation(self._port, call, on_completed)
        return conversation

    async def drain(self, deadline_seconds: float) -> None:
        """Let the clients' calls finish until the deadline, and end the rest, and all of ours."""
        if self.arrived:
            self._drained = Deferred()
            reactor = self._port.reactor
            alarms = [
                reactor.callLater(deadline_seconds, self._stop_waiting),
                reactor.callLater(min(ANSWERED_SECONDS, deadline_seconds), self._stop_if_answered),
            ]
            await self._drained
            for alarm in alarms:
                if alarm.active():
                    alarm.cancel()
        for conversation in list(self.by_call.values()):
            conversation.lose(CallLost(RxCode.RX_CALL_DEAD, "the port was stopped"), RxCode.RX_RESTARTING)

    def _stop_waiting(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.callback(None)

    def _stop_if_answered(self) -> None:
        if all(call.connection.is_client or call.state == CallState.HOLD for call in self.by_call):
            self._stop_waiting()

    def _call_arrived(self, event: CallArrived) -> None:
        call = event.call
        if self.refuse_with is not None:
            call.abort(self.refuse_with)
            return
        conversation = self.by_call[call] = CallConversation(self._port, call, self._arrived_completed)
        self.arrived += 1
        self._acceptors[call.connection.service_id](conversation)

    def _arrived_completed(self) -> None:
        self.arrived -= 1
        if not self.arrived:
            self._stop_waiting()

    def _data_arrived(self, event: DataArrived) -> None:
        if conversation := self.by_call.get(event.call):
            conversation.wake_reader()

    def _writable(self, event: Writable) -> None:
        if conversation := self.by_call.get(event.call):
            conversation.wake_writer()

    def _call_completed(self, event: CallCompleted) -> None:
        if conversation := self.by_call.pop(event.call, None):
            conversation.complete(event.error)


ROUTES = cast(
    "dict[type, Callable[[Conversations, Any], None]]",
    {
        CallArrived: Conversations._call_arrived,
        DataArrived: Conversations._data_arrived,
        Writable: Conversations._writable,
        CallCompleted: Conversations._call_completed,
    },
)
"""Who takes each of the engine's events."""
