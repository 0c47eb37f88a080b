"""Client connections whose calls are awaited. `RxPort.connect` makes them; `SomeService.client(connection)` calls
over them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from rx.call import Call
from rx.constants import RxCode
from rx.dispatch import exchange
from rx.errors import CallLost
from rx.peer import Address
from rx.rpcstats import RpcStatistics
from rx.service import Operation

if TYPE_CHECKING:
    import rx.connection
    from rx.conversation import CallConversation
    from rx.transport import RxPort


class Connection:
    """Four calls at a time to one service of one peer; further ones wait in order.

    `dead_seconds` without a packet from the peer, `idle_seconds` without progress, and `hard_seconds` in all end a
    call in CallLost; None is no bound. The time spent waiting for a channel counts to the last.
    """

    def __init__(self, port: RxPort, engine: rx.connection.Connection, hard_seconds: float | None) -> None:
        """See `RxPort.connect`."""
        self.peer: Address = engine.peer
        self._port = port
        self._engine = engine
        self._hard_seconds = hard_seconds
        self._waiting: deque[Deferred[Call]] = deque()
        self._open: set[CallConversation] = set()
        self._closed = False

    async def call(self, operation: Operation, arguments: tuple[Any, ...], timeout: float | None = None) -> Any:
        """Carry out one call. Raises Abort or CallLost. Cancelling it, or any error of ours, aborts it on the wire."""
        port = self._port
        begun = port.now()
        seconds = self._hard_seconds if timeout is None else timeout
        deadline = None if seconds is None else begun + seconds
        waiting: Deferred[Call] | None = None
        conversation: CallConversation | None = None
        alarm: Any = None

        def expire() -> None:
            nonlocal alarm
            if deadline is not None and (early := deadline - port.now()) > 0:
                alarm = port.reactor.callLater(early, expire)  # somebody has set the machine's clock
                return
            error = CallLost(RxCode.RX_CALL_TIMEOUT, f"{operation.name} took longer than {seconds} s")
            if conversation is not None:
                conversation.lose(error)
            elif waiting is not None:
                self._waiting.remove(waiting)
                waiting.errback(error)

        if seconds is not None:
            alarm = port.reactor.callLater(seconds, expire)
        try:
            call = self._free_call()
            if call is None:
                waiting = Deferred(self._waiting.remove)
                self._waiting.append(waiting)
                call = await waiting
            conversation = port.conversations.begin(call, self._channel_freed)
            self._open.add(conversation)
            return await exchange(operation, arguments, conversation)
        finally:
            if alarm is not None and alarm.active():
                alarm.cancel()
            if conversation is not None:
                conversation.abort(RxCode.RX_USER_ABORT)
                self._open.discard(conversation)
                if port.rpc_statistics is not None and port.rpc_statistics.on:
                    self._note(port.rpc_statistics, operation, conversation, begun)

    def _note(
        self, statistics: RpcStatistics, operation: Operation, conversation: CallConversation, begun: float
    ) -> None:
        started = conversation.call.started
        sent, received = conversation.bytes_sent, conversation.bytes_received
        statistics.note(operation, self.peer, True, sent, received, started - begun, self._port.now() - started)

    def close(self) -> None:
        """End every call of the connection in CallLost and forget it."""
        self._closed = True
        error = CallLost(RxCode.RX_CALL_DEAD, "the connection was closed")
        while self._waiting:
            self._waiting.popleft().errback(error)
        for conversation in list(self._open):
            conversation.lose(error)
        self._port.endpoint.close(self._engine)
        self._port.flush_soon()

    def _free_call(self) -> Call | None:
        if self._closed:
            raise CallLost(RxCode.RX_CALL_DEAD, "the connection was closed")
        return None if self._waiting else self._engine.call(self._port.now())

    def _channel_freed(self) -> None:
        if self._waiting and (call := self._engine.call(self._port.now())) is not None:
            self._waiting.popleft().callback(call)
