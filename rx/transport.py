"""The driver: one UDP socket, one `Endpoint`, and the reactor between them.

A *turn* is: give the engine what came (datagrams or the time), give its events to whoever awaits them, write its
datagrams, arm one timer. What the application does between turns is flushed by a turn of its own, soon, so that
several writes leave together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from errno import EADDRINUSE
from os import sched_getaffinity, strerror
from random import Random, SystemRandom
from time import perf_counter
from typing import TYPE_CHECKING, Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from rx.clock import clock_of
from rx.constants import RxCode
from rx.conversation import ROUTES, Conversations
from rx.endpoint import Endpoint
from rx.interfaces import near_networks
from rx.limits import Limits
from rx.output import Datagrams
from rx.pace import Pace
from rx.peer import Address
from rx.rpcstats import RpcStatistics
from rx.taps import Tap
from rx.timers import DEAD_SECONDS
from rx.udp import Datagram, DatagramPort, UdpSocket, count_descriptors

if TYPE_CHECKING:
    from rx.client import Connection
    from rx.security.interfaces import ISecurity

RECEIVE_BATCH = 256
"""Datagrams taken in one turn: some 2 ms of work, so that the reactor's other descriptors are not kept waiting."""

TURNS_PER_READ = 16
"""Turns taken before the reactor looks at its other descriptors again, 5 ms of work and waiting at most."""

LATE_SECONDS = 150e-6
"""Answers of one turn leave together, but none waits longer than this for what the others' procedures do meanwhile."""

STOP_SECONDS = 5.0
"""How long `RxPort.stop` lets running calls finish unless told: below the 10 s systemd-minded operators begin to
wonder at.
"""


@implementer(IReadWriteDescriptor)
class RxPort:
    """One UDP port that carries Rx: client and server connections alike.

    `reactor` provides IReactorTime and IReactorFDSet. `tap` wraps the socket and sees the calls served: a pcap writer,
    a tracer, a fault injector (`rx.taps`).
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        address: str = "0.0.0.0",
        port: int = 0,
        *,
        limits: Limits | None = None,
        random: Random | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.reactor = reactor
        self._clock = clock_of(reactor)
        self.now = self._clock.steady
        """The engine's time, in seconds since some moment."""
        self.endpoint = Endpoint(random or SystemRandom(), limits=limits or Limits())
        self._bind_to: Address = (address, port)
        self.tap = tap
        self._socket: DatagramPort | None = None
        self.conversations = Conversations(self)
        """Of the calls in progress, ours and our clients'."""
        self.rpc_statistics: RpcStatistics | None = None
        """Where calls are counted, made and served, as the RXSTATS service tells them; the ports of a process share
        one.
        """
        self.suspended = 0
        """Calls being served that wait for something else than the network: then the port sleeps rather than looks."""
        self._pace = Pace()
        self._looks = len(sched_getaffinity(0)) > 1  # on one processor the client could not send meanwhile
        self._in_turn = False
        self._unsent: deque[Datagrams] = deque()
        self._soon: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        self._timer_deadline = 0.0

    def start(self) -> None:
        """Bind and begin to receive. Raises CannotListenError, which names the port."""
        host, number = self._bind_to
        try:
            bound = UdpSocket(self._bind_to, self._report)
        except OSError as problem:
            reason = "in use" if problem.errno == EADDRINUSE else strerror(problem.errno or 0)
            raise CannotListenError(host, number, f"UDP port {number} of {host}: {reason}") from problem
        self._socket = self.tap.wrap(bound, self.doRead) if self.tap is not None else bound
        self.endpoint.networks = near_networks()
        self.endpoint.debug.count_descriptors = count_descriptors
        if not bound.sends_batches:
            self.endpoint.send_jumbograms()
        self.reactor.addReader(self)

    @property
    def address(self) -> Address:
        """(address, port) bound to."""
        assert self._socket is not None, "the port was not started"
        return self._socket.address

    def local(self, peer: Address) -> Address:
        """Which of our addresses `peer` speaks to."""
        assert self._socket is not None, "the port was not started"
        return self._socket.local(peer)

    def connect(
        self,
        peer: Address,
        service_id: int,
        security: ISecurity | None = None,
        *,
        dead_seconds: float = DEAD_SECONDS,
        idle_seconds: float | None = None,
        hard_seconds: float | None = None,
        nat_keepalive: bool = False,
    ) -> Connection:
        """A client connection; what bounds its calls is told in `rx.client.Connection`. `security` None is rxnull.

        `nat_keepalive`: send the peer a packet now and then, so that translators between let it call us.
        """
        from rx.client import Connection

        engine = self.endpoint.connect(
            peer, service_id, security, dead_seconds, idle_seconds, nat_keepalive=nat_keepalive
        )
        if nat_keepalive:
            self.flush_soon()
        return Connection(self, engine, hard_seconds)

    def tranquil(self, code: int = RxCode.RX_RESTARTING) -> None:
        """From now on refuse every new call with `code`; those that run go on."""
        self.conversations.refuse_with = code

    async def stop(self, deadline_seconds: float = STOP_SECONDS) -> None:
        """Refuse new calls, let the running ones finish until the deadline, abort the rest, and close the socket."""
        if self._socket is None:
            return
        if self.conversations.refuse_with is None:
            self.tranquil()
        await self.conversations.drain(deadline_seconds)
        self._flush()
        self._close()

    def _close(self) -> None:
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        for delayed in (self._timer, self._soon):
            if delayed is not None and delayed.active():
                delayed.cancel()
        self._timer = self._soon = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _report(self, what: str, problem: OSError) -> None:
        self._log.debug("{what} on {bound}: {problem}", what=what, bound=self._bind_to, problem=problem)

    def flush_soon(self) -> None:
        """The application has done something to a call: take a turn before long."""
        if not self._in_turn and self._soon is None and self._socket is not None:
            self._soon = self.reactor.callLater(0, self._turn_soon)

    def _turn_soon(self) -> None:
        self._soon = None
        self._turn()

    def _turn(self) -> None:
        """Events out, datagrams out, timer armed. Nothing happens when it is called within itself."""
        if self._in_turn or self._socket is None:
            return
        self._in_turn = True
        try:
            self._dispatch()
            self._flush()
            while self._dispatch():  # sending may have made room
                self._flush()
        finally:
            self._in_turn = False
        self._arm()

    def _dispatch(self) -> bool:
        """Give out the engine's events. Whether there were any."""
        events = self.endpoint.events()
        if not events:
            return False
        conversations = self.conversations
        begun = perf_counter()
        for event in events:
            ROUTES[type(event)](conversations, event)
            if (now := perf_counter()) - begun > LATE_SECONDS:
                begun = now
                self._flush()
        return True

    def _flush(self) -> None:
        """Write what the engine has to send. While the socket is full the rest waits for `doWrite`."""
        if self._socket is not None and not self._unsent:
            self._unsent.extend(self.endpoint.datagrams_to_send(self.now()))
            if self._unsent and not self._write():
                self.reactor.addWriter(self)

    def _write(self) -> bool:
        """Whether the socket took all there was."""
        assert self._socket is not None
        unsent = self._unsent
        while unsent:
            address, size, payloads = unsent.popleft()
            sent = self._socket.send(address, size, payloads)
            if sent < len(payloads):
                unsent.appendleft(Datagrams(address, size, payloads[sent:]))
                return False
        return True

    def _arm(self) -> None:
        if self._unsent or self._socket is None:
            return  # the engine has not been drained; `doWrite` goes on
        deadline = self.endpoint.next_timeout()
        if deadline is None:
            return
        if self._timer is None:
            self._timer = self.reactor.callLater(max(0.0, deadline - self.now()), self._timed_out)
        elif deadline < self._timer_deadline:
            self._timer.reset(max(0.0, deadline - self.now()))
        else:
            return  # fires early, which does no harm, and is armed again then
        self._timer_deadline = deadline

    def _timed_out(self) -> None:
        self._timer = None
        self.endpoint.handle_timeout(self.now())
        self._turn()

    def fileno(self) -> int:
        return self._socket.fileno() if self._socket is not None else -1

    def logPrefix(self) -> str:
        return f"rx {self._bind_to[0]}:{self._bind_to[1]}"

    def doRead(self) -> None:
        self._survive(self._read)

    def doWrite(self) -> None:
        self._survive(self._write_on)

    def _survive(self, turn: Callable[[], None]) -> None:
        """Run what the reactor asks for. It would close a port that raises, for all clients and for good."""
        try:
            turn()
        except Exception:  # noqa: BLE001  a defect costs one batch of datagrams, never the port; it is logged in full
            self._log.failure("{bound}: a turn failed", bound=self._bind_to)
            self.flush_soon()

    def _read(self) -> None:
        """Take turns while datagrams come."""
        if self._socket is None:
            return
        batch = self._socket.receive(RECEIVE_BATCH)
        if not batch:
            self._turn()
            return
        self._pace.came()
        for _ in range(TURNS_PER_READ):
            self._take(batch)
            self._turn()
            batch = self._look()
            if not batch:
                return
        self._take(batch)
        self._turn()
        self._pace.rest()

    def _look(self) -> list[Datagram]:
        """Fast path beside the reactor's own waiting: what comes soon, if anything is expected to."""
        pace = self._pace
        if self._socket is None or not pace.rest() or not self._looks or self.suspended or self._unsent:
            return []
        receive, limit = self._socket.receive, RECEIVE_BATCH
        while pace.looking():
            if batch := receive(limit):
                pace.came()
                return batch
            limit = 1  # what comes while we look comes alone, and asking for more takes a microsecond of the answer's
        pace.missed()
        return []

    def _take(self, batch: list[Datagram]) -> None:
        now = self.now()
        self.endpoint.unix_offset = self._clock.unix() - now
        self.endpoint.receive_datagrams(batch, now)

    def _write_on(self) -> None:
        if self._socket is not None and self._write():
            self.reactor.removeWriter(self)
            self._turn()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has given up on the socket, or is stopping."""
        if self._socket is not None:
            self._close()
