"""A server: services offered on a port, and what becomes of each call to them.

How their coroutines are driven is `rx/steps.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from twisted.logger import Logger

from rx.connection import Connection
from rx.constants import RxCode
from rx.conversation import CallConversation
from rx.dispatch import answer, read_opcode
from rx.errors import RxError
from rx.peer import Address
from rx.rpcstats import RpcStatistics
from rx.service import OPCODE_SIZE, Operation, Procedure, Procedures, Service
from rx.steps import Steps
from rx.timers import DEAD_SECONDS, IDLE_SECONDS
from rx.transport import RxPort
from rx.turns import Turns

log = Logger()


class ServerCall:
    """The call a procedure serves, as its factory gets it."""

    __slots__ = ("_conversation", "_port", "opcode")

    def __init__(self, port: RxPort, conversation: CallConversation, opcode: int) -> None:
        self._port = port
        self._conversation = conversation
        self.opcode = opcode

    @property
    def peer(self) -> Address:
        """(address, port) the caller sends from."""
        return self._conversation.peer

    @property
    def local(self) -> Address:
        """(address, port) of ours that it sends to."""
        return self._port.local(self._conversation.peer)

    @property
    def connection(self) -> Connection:
        """The engine's connection: hashable, lives as long as the peer keeps it, knows the caller's `identity`."""
        return self._conversation.call.connection

    @property
    def user_status(self) -> int:
        """The byte that travels in every packet we send (the fileserver sets 1 during StoreData)."""
        return self._conversation.call.user_status

    @user_status.setter
    def user_status(self, value: int) -> None:
        self._conversation.call.user_status = value

    def abort(self, code: int) -> None:
        """End the call with `code`; its procedure finds out at its next read or write of a stream, or never."""
        self._conversation.abort(code)

    def when_over(self, act: Callable[[], None]) -> None:
        """Call `act` when the call has ended, by its reply or before."""
        then = self._conversation.on_completed

        def completed() -> None:
            act()
            if then is not None:
                then()

        self._conversation.on_completed = completed


Factory = Callable[[ServerCall], Service]


class Server:
    """Services on a port. `turns` bounds how many of their procedures run at a time, in all and of one host."""

    def __init__(self, port: RxPort, turns: Turns[Callable[[], None]] | None = None) -> None:
        self._port = port
        self._turns: Turns[Callable[[], None]] = turns or Turns()
        port.endpoint.turns = self._turns
        self.services: list[Offered] = []
        self._steps = Steps(port)

    @property
    def rpc_statistics(self) -> RpcStatistics | None:
        """Where the port's calls are counted; None while nobody can ask."""
        return self._port.rpc_statistics

    @rpc_statistics.setter
    def rpc_statistics(self, statistics: RpcStatistics) -> None:
        self._port.rpc_statistics = statistics

    def add(
        self,
        service: type[Service],
        factory: Factory,
        *,
        security_indices: Sequence[int] = (0,),
        check_reach: bool = False,
        dead_seconds: float = DEAD_SECONDS,
        idle_seconds: float | None = IDLE_SECONDS,
    ) -> None:
        """Serve `service` by what `factory` makes for each call. The rest as in `Endpoint.offer`."""
        offered = Offered(service, factory)
        self.services.append(offered)
        self._port.endpoint.offer(service.service_id, security_indices, check_reach, dead_seconds, idle_seconds)
        self._port.conversations.accept(service.service_id, partial(self._accept, offered))

    def _accept(self, offered: Offered, conversation: CallConversation) -> None:
        host = conversation.peer[0]

        def start() -> None:
            conversation.call.queued = False
            self._steps.drive(self._serve(offered, conversation))

        if self._turns.enter(host, start):
            start()
            return
        conversation.call.queued = True
        completed = conversation.on_completed

        def withdraw() -> None:
            self._turns.withdraw(host, start)
            if completed is not None:
                completed()

        conversation.on_completed = withdraw

    async def _serve(self, offered: Offered, conversation: CallConversation) -> None:
        """One call from its first bytes to the end of its reply, or its abort. Raises nothing."""
        procedure: Procedure | None = None
        started = perf_counter()
        try:
            request = conversation.received() or await conversation.receive()
            while len(request) < OPCODE_SIZE and (more := await conversation.receive()):
                request += more
            opcode = read_opcode(request)
            call = ServerCall(self._port, conversation, opcode)
            if self._port.tap is not None:
                await self._port.tap.admit(offered.service, call)
                if conversation.error is not None:
                    raise conversation.error
            instance = offered.factory(call)
            procedure = offered.procedures(type(instance)).find(opcode)
            reply = await answer(procedure, instance, request, conversation)
            if reply and (rest := conversation.queue(reply)):
                await conversation.send(rest)
            conversation.finish()
        except RxError as refusal:
            self._refuse(offered, procedure, conversation, refusal)
        except Exception:  # noqa: BLE001  a procedure's defect ends its call, never the server; it is logged in full
            log.failure(
                "{service}.{name} from {peer} failed",
                service=offered.service.__name__,
                name=procedure.operation.name if procedure else "?",
                peer=conversation.peer,
            )
            self._count_error(procedure)
            conversation.abort(RxCode.RX_USER_ABORT)
        finally:
            if procedure is not None:
                seconds = perf_counter() - started
                procedure.calls += 1
                procedure.seconds += seconds
                statistics = self._port.rpc_statistics
                if statistics is not None and statistics.on:
                    self._note(statistics, procedure.operation, conversation, seconds)
            if (waiting := self._turns.leave(conversation.peer[0])) is not None:
                self._port.reactor.callLater(0, waiting)

    def _refuse(
        self, offered: Offered, procedure: Procedure | None, conversation: CallConversation, refusal: RxError
    ) -> None:
        log.debug(
            "{service}.{name} from {peer}: {refusal}",
            service=offered.service.__name__,
            name=procedure.operation.name if procedure else "?",
            peer=conversation.peer,
            refusal=refusal,
        )
        self._count_error(procedure)
        conversation.abort(refusal.code)

    def _note(
        self, statistics: RpcStatistics, operation: Operation, conversation: CallConversation, seconds: float
    ) -> None:
        queued = self._port.now() - conversation.call.started - seconds
        sent, received = conversation.bytes_sent, conversation.bytes_received
        statistics.note(operation, conversation.peer, False, sent, received, queued, seconds)

    def _count_error(self, procedure: Procedure | None) -> None:
        if procedure is not None:
            procedure.errors += 1


class Offered:
    """A service as one server offers it."""

    def __init__(self, service: type[Service], factory: Factory) -> None:
        self.service = service
        self.factory = factory
        self._procedures: dict[type, Procedures] = {}

    def procedures(self, implementation: type[Service]) -> Procedures:
        """The procedures of one of the classes the factory makes, with their counters."""
        known = self._procedures.get(implementation)
        if known is None:
            known = self._procedures[implementation] = Procedures(implementation)
        return known

    def statistics(self) -> list[Procedure]:
        """Every procedure called so far, with its counters."""
        return [each for procedures in self._procedures.values() for each in procedures if each.calls]
