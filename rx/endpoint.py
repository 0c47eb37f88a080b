"""The sans-I/O engine: finds the connection of each datagram, and collects what is to be sent.

The driver's turn is: `receive_datagrams` or `handle_timeout`; then `events()`, each given to whoever waits, who may
call methods of its Call; then `datagrams_to_send`, and the last two again while they yield anything; then sleep until
`next_timeout`. Extra calls are harmless. Connections and peers are in `rx/connections.py`,
new clients are met by `rx/admission.py`, and connectionless packets (VERSION, DEBUG) are answered by `rx/debug.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from random import Random
from typing import Any

from rx.admission import Admission
from rx.call_input import settle
from rx.call_output import flush
from rx.connection import Connection
from rx.connection_input import receive
from rx.connections import Connections
from rx.constants import CHANNEL_MASK, EPOCH_ANY_ADDRESS, HEADER_SIZE, Flag, PacketType
from rx.debug import DEFAULT_VERSION, DebugAnswers, answer_version
from rx.events import Event
from rx.jumbo import join
from rx.limits import Limits
from rx.output import Datagrams, Output, runs
from rx.packet import Fields, unpack_header
from rx.pathmtu import Near
from rx.peer import Address, Peer
from rx.security.interfaces import Binding, ISecurity, SecurityFactory
from rx.security.null import Null
from rx.timers import DEAD_SECONDS, IDLE_SECONDS, Patience
from rx.turns import Turns
from rx.wire import CID_MASK, Outbox

_CLIENT_INITIATED = int(Flag.CLIENT_INITIATED)
_VERSION = int(PacketType.VERSION)
_DEBUG = int(PacketType.DEBUG)
_ABORT = int(PacketType.ABORT)
_DATA = int(PacketType.DATA)
_CHALLENGE = int(PacketType.CHALLENGE)
_RESPONSE = int(PacketType.RESPONSE)

EPOCH_CLEARED_BIT = 0x4000_0000
"""Clients clear this bit of the epoch they choose (rx.c rx_InitHost)."""


class Endpoint:
    """One UDP port's worth of Rx: the calls it makes and the calls it answers."""

    def __init__(self, random: Random, limits: Limits | None = None, version: bytes = DEFAULT_VERSION) -> None:
        self.limits = limits or Limits()
        self.version = version
        self.turns: Turns[Any] | None = None
        """What decides which calls run, for rxdebug to tell of."""
        self._output = Output(self.limits)
        self.statistics = self._output.statistics
        self._connections = Connections(self._output)
        self._epoch = (random.getrandbits(32) | EPOCH_ANY_ADDRESS) & ~EPOCH_CLEARED_BIT
        self._next_cid = random.getrandbits(32) & CID_MASK
        self._admission = Admission(self._connections, self._output, random)
        self.debug = DebugAnswers(self._connections, self._output)
        self._now = 0.0

    # Both ends.

    def offer(
        self,
        service_id: int,
        security_indices: Sequence[int] = (0,),
        check_reach: bool = False,
        dead_seconds: float = DEAD_SECONDS,
        idle_seconds: float | None = IDLE_SECONDS,
    ) -> None:
        """Take calls for this service, on connections with one of these security indices.

        `check_reach`: a call runs only after its client has answered a ping. `idle_seconds` None: no limit.
        """
        self._admission.offer(service_id, security_indices, check_reach, dead_seconds, idle_seconds)

    def secure(self, security_index: int, factory: SecurityFactory) -> None:
        """Make the server's end of connections with this security index so."""
        self._admission.secure(security_index, factory)

    def connect(
        self,
        address: Address,
        service_id: int,
        security: ISecurity | None = None,
        dead_seconds: float = DEAD_SECONDS,
        idle_seconds: float | None = None,
        hard_seconds: float | None = None,
        nat_keepalive: bool = False,
    ) -> Connection:
        """A client connection. Nothing is sent before its first call. `security` None is rxnull.

        `nat_keepalive`: while it exists, keep the way back open through address translators.
        """
        security = Null() if security is None else security
        cid = self._next_cid
        while self._epoch << 32 | cid in self._connections.clients:
            cid = (cid + CHANNEL_MASK + 1) & CID_MASK
        self._next_cid = (cid + CHANNEL_MASK + 1) & CID_MASK
        patience = Patience(
            dead_seconds, inf if idle_seconds is None else idle_seconds, inf if hard_seconds is None else hard_seconds
        )
        security.bind(Binding(self._epoch, cid, security.index))
        return self._connections.add_client(
            address, self._epoch, cid, service_id, security, patience, nat_keepalive, self._now
        )

    def close(self, connection: Connection) -> None:
        """Forget a client connection; its calls end with RX_USER_ABORT."""
        connection.close()
        self._connections.forget(connection)

    @property
    def networks(self) -> Sequence[Near]:
        """The networks this machine is on; datagrams to others are no larger than every path carries."""
        return self._connections.networks

    @networks.setter
    def networks(self, networks: Sequence[Near]) -> None:
        self._connections.networks = networks

    # What the driver calls.

    def receive_datagrams(self, batch: Iterable[tuple[bytes, Address]], now: float) -> None:
        """Take datagrams that have arrived."""
        self._now = now
        servers, clients = self._connections.servers, self._connections.clients
        read = self.statistics.packets_read
        for datagram, address in batch:
            if len(datagram) < HEADER_SIZE:
                self.statistics.note_bogus(address)
                continue
            fields: Fields = unpack_header(datagram)
            epoch, cid, type_ = fields[0], fields[1], fields[5]
            read[type_ if type_ <= _VERSION else 0] += 1
            identity = (epoch << 32 | cid) & ~CHANNEL_MASK
            key = identity if epoch >= EPOCH_ANY_ADDRESS else (identity, address)
            connection = servers.get(key) if fields[6] & _CLIENT_INITIATED else clients.get(key)
            if connection is not None and type_ != _DEBUG and type_ != _VERSION:
                if connection.wire.security_index == fields[8]:
                    receive(connection, fields, datagram, now)
            else:
                self._receive_stray(fields, datagram, address, now)
        for call in self._output.unflushed:
            settle(call, now)

    def _receive_stray(self, fields: Fields, datagram: bytes, address: Address, now: float) -> None:
        """A packet of no connection we know: a question about ourselves, or a new client."""
        type_, flags = fields[5], fields[6]
        if not flags & _CLIENT_INITIATED:
            return  # an answer to nothing we asked; also what NAT keepalives look like
        if type_ == _VERSION:
            self._output.answer_stray(address, answer_version(fields, self.version))
        elif type_ == _DEBUG:
            self._answer_debug(fields, datagram, address, now)
        elif type_ <= _VERSION:
            self._admission.receive_new(fields, datagram, address, now)

    def _answer_debug(self, fields: Fields, datagram: bytes, address: Address, now: float) -> None:
        answer = self.debug.answer(fields, datagram, now, self.turns)
        if answer is not None:
            self._output.answer_stray(address, answer)

    def handle_timeout(self, now: float) -> None:
        """Run what is due."""
        self._now = now
        self._output.deadlines.run(now)
        idle = self._output.idle
        while idle:
            self._connections.forget(idle.pop())

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        output = self._output
        events, output.events = output.events, []
        return events

    def datagrams_to_send(self, now: float) -> list[Datagrams]:
        """Everything that is to leave now, in runs of one address and one size."""
        self._now = now
        output = self._output
        while output.unflushed:
            unflushed, output.unflushed = output.unflushed, []
            for call in unflushed:
                flush(call, now)
        if not output.outbox:
            return []
        if output.jumbograms:
            self._join(output.outbox)
        result = runs(output.outbox, self.limits)
        output.outbox.clear()
        for run in result:
            self.statistics.note_sent(run.payloads)
            peer = self._connections.peers.get(run.address)
            if peer is not None:
                peer.bytes_sent += run.segment_size * (len(run.payloads) - 1) + len(run.payloads[-1])
        return result

    def _join(self, outbox: Outbox) -> None:
        """Make jumbograms for the peers that take them."""
        for address, datagrams in outbox.items():
            peer = self._connections.peers.get(address)
            if peer is not None and peer.jumbo_packets > 1 and len(datagrams) > 1:
                outbox[address] = join(datagrams, peer.jumbo_packets)

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` next; None for never. The past when something waits to be drained."""
        output = self._output
        if output.events or output.unflushed or output.outbox:
            return self._now
        return output.deadlines.next()

    def send_jumbograms(self) -> None:
        """From now on, to peers that take them: the driver has no better way to send many packets at once."""
        self._output.jumbograms = True

    @property
    def unix_offset(self) -> float:
        """What the driver's `now` lacks to Unix time, in seconds; security classes date tickets by it. At first 0."""
        return self._output.unix_offset

    @unix_offset.setter
    def unix_offset(self, seconds: float) -> None:
        self._output.unix_offset = seconds

    # What debugging shows.

    @property
    def server_connections(self) -> Iterable[Connection]:
        return self._connections.servers.values()

    @property
    def client_connections(self) -> Iterable[Connection]:
        return self._connections.clients.values()

    @property
    def peers(self) -> Iterable[Peer]:
        return self._connections.peers.values()

    @property
    def calls_executed(self) -> int:
        """Calls handed to the application since the start."""
        return self.statistics.calls_executed

    @property
    def server_calls(self) -> int:
        """Calls of clients in progress."""
        return self._connections.call_quota.count

    @property
    def buffered_bytes(self) -> int:
        """Bytes received and not read."""
        return self._output.buffered_bytes
