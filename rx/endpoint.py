"""The sans-I/O engine: finds the connection of each datagram, owns connections and peers, collects what is to be sent.

The driver's turn is: `receive_datagrams` or `handle_timeout`; then `events()`, each given to whoever waits, who may
call methods of its Call; then `datagrams_to_send`, and the last two again while they yield anything; then sleep until
`next_timeout`. Extra calls are harmless. Connectionless packets (VERSION, DEBUG) are answered by `rx/debug.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from random import Random
from typing import Any, NamedTuple

from rx.connection import Connection, Key
from rx.constants import CHANNEL_MASK, EPOCH_ANY_ADDRESS, HEADER_SIZE, Flag, PacketType, RxCode
from rx.debug import DEFAULT_VERSION, DebugAnswers, answer_version
from rx.errors import Abort
from rx.events import Event
from rx.jumbo import join
from rx.keepalive import NatKeepalive
from rx.limits import EVICTION_SCAN, STRAY_ANSWERS, Limits
from rx.output import Datagrams, Output, runs
from rx.packet import Fields, abort_body, pack_header, unpack_header
from rx.pathmtu import Near, mtu_towards
from rx.peer import Address, Peer
from rx.quota import Quota
from rx.security import KEYLESS
from rx.security.interfaces import Binding, ISecurity, SecurityFactory
from rx.security.null import Null
from rx.stateless import Nonces
from rx.timers import DEAD_SECONDS, IDLE_SECONDS, Patience
from rx.turns import Turns
from rx.wire import Outbox, Wire

_CLIENT_INITIATED = int(Flag.CLIENT_INITIATED)
_VERSION = int(PacketType.VERSION)
_DEBUG = int(PacketType.DEBUG)
_ABORT = int(PacketType.ABORT)
_DATA = int(PacketType.DATA)
_CHALLENGE = int(PacketType.CHALLENGE)
_RESPONSE = int(PacketType.RESPONSE)

CID_MASK = 0xFFFF_FFFF ^ CHANNEL_MASK
EPOCH_CLEARED_BIT = 0x4000_0000
"""Clients clear this bit of the epoch they choose (rx.c rx_InitHost)."""


class Offer(NamedTuple):
    """A service offered to clients."""

    service_id: int
    security_indices: tuple[int, ...]
    check_reach: bool
    patience: Patience


class Endpoint:
    """One UDP port's worth of Rx: the calls it makes and the calls it answers."""

    def __init__(self, random: Random, limits: Limits | None = None, version: bytes = DEFAULT_VERSION) -> None:
        self.limits = limits or Limits()
        self.version = version
        self.turns: Turns[Any] | None = None
        """What decides which calls run, for rxdebug to tell of."""
        self.networks: Sequence[Near] = ()
        """The networks this machine is on; datagrams to others are no larger than every path carries."""
        self._output = Output(self.limits)
        self.statistics = self._output.statistics
        self._quota = Quota(self.limits.server_calls, self.limits.server_calls_per_host)
        self._connection_quota = Quota(self.limits.server_connections, self.limits.server_connections_per_host)
        self._offers: dict[int, Offer] = {}
        self._security: dict[int, SecurityFactory] = dict(KEYLESS)
        self._peers: dict[Address, Peer] = {}
        self._servers: dict[Key, Connection] = {}
        self._clients: dict[Key, Connection] = {}
        self._debug = DebugAnswers(self._servers, self._clients, self._peers, self._output)
        self._epoch = (random.getrandbits(32) | EPOCH_ANY_ADDRESS) & ~EPOCH_CLEARED_BIT
        self._next_cid = random.getrandbits(32) & CID_MASK
        self._nonces = Nonces(random)
        self._nat_keepalive = NatKeepalive(self._output.deadlines, self._output.outbox)
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
        patience = Patience(dead_seconds, inf if idle_seconds is None else idle_seconds)
        for index in security_indices:
            if index not in self._security:
                raise ValueError(f"no security class {index}: call secure() first")
        self._offers[service_id] = Offer(service_id, tuple(security_indices), check_reach, patience)

    def secure(self, security_index: int, factory: SecurityFactory) -> None:
        """Make the server's end of connections with this security index so."""
        self._security[security_index] = factory

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
        while self._epoch << 32 | cid in self._clients:
            cid = (cid + CHANNEL_MASK + 1) & CID_MASK
        self._next_cid = (cid + CHANNEL_MASK + 1) & CID_MASK
        patience = Patience(
            dead_seconds, inf if idle_seconds is None else idle_seconds, inf if hard_seconds is None else hard_seconds
        )
        security.bind(Binding(self._epoch, cid, security.index))
        connection = self._make(address, self._epoch, cid, service_id, security, patience, is_client=True)
        self._clients[self._epoch << 32 | cid] = connection
        if nat_keepalive:
            connection.nat_keepalive = True
            self._nat_keepalive.hold(address, self._now)
        return connection

    def close(self, connection: Connection) -> None:
        """Forget a client connection; its calls end with RX_USER_ABORT."""
        connection.close()
        self._forget(self._clients, connection)

    def _make(
        self,
        address: Address,
        epoch: int,
        cid: int,
        service_id: int,
        security: ISecurity,
        patience: Patience,
        *,
        is_client: bool,
        check_reach: bool = False,
    ) -> Connection:
        peer = self._peers.get(address)
        if peer is None:
            interface_mtu = min(mtu_towards(address[0], self.networks), self.limits.packet_size)
            peer = self._peers[address] = Peer(address, interface_mtu)
        peer.connections += 1
        wire = Wire(self._output.outbox, peer, epoch, cid, service_id, is_client, security)
        return Connection(self._output, wire, patience, self._quota, is_client, check_reach, self._now)

    def _forget(self, table: dict[Key, Connection], connection: Connection) -> None:
        key = _key(connection.epoch, connection.cid, connection.peer)
        if table.get(key) is not connection:
            return
        del table[key]
        self._output.deadlines.forget(connection)
        connection.forget()
        peer = connection.wire.peer
        if connection.nat_keepalive:
            self._nat_keepalive.release(peer.address)
        if not connection.is_client:
            self._connection_quota.give_back(peer.address[0])
        peer.connections -= 1
        if not peer.connections and self._peers.get(peer.address) is peer:
            del self._peers[peer.address]

    # What the driver calls.

    def receive_datagrams(self, batch: Iterable[tuple[bytes, Address]], now: float) -> None:
        """Take datagrams that have arrived."""
        self._now = now
        servers, clients = self._servers, self._clients
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
                    connection.receive(fields, datagram, now)
            else:
                self._receive_stray(fields, datagram, address, now)
        for call in self._output.unflushed:
            call.settle(now)

    def _receive_stray(self, fields: Fields, datagram: bytes, address: Address, now: float) -> None:
        """A packet of no connection we know: a question about ourselves, or a new client."""
        type_, flags = fields[5], fields[6]
        if not flags & _CLIENT_INITIATED:
            return  # an answer to nothing we asked; also what NAT keepalives look like
        if type_ == _VERSION:
            self._send(address, answer_version(fields, self.version))
        elif type_ == _DEBUG:
            self._send(address, self._debug.answer(fields, datagram, now, self.turns))
        elif type_ <= _VERSION:
            self._receive_new(fields, datagram, address, now)

    def _receive_new(self, fields: Fields, datagram: bytes, address: Address, now: float) -> None:
        """The first packet of a connection, as far as we know."""
        offer = self._offers.get(fields[10])
        if offer is None or fields[8] not in offer.security_indices:
            if fields[5] != _ABORT:
                self._send(address, _raw_abort(fields, RxCode.RX_INVALID_OPERATION))
            return
        if fields[5] == _DATA and fields[2] and fields[3] <= self.limits.window:
            security = self._security[fields[8]]()
            security.bind(Binding(fields[0], fields[1] & CID_MASK, security.index))
            if not security.authenticated and not self._output.unproven.admits(address[0]):
                self._challenge(fields, address, security, now)
            elif connection := self._welcome(fields, address, offer, security, now):
                connection.receive(fields, datagram, now)
        elif fields[5] == _RESPONSE and not fields[2]:
            self._receive_proof(fields, datagram, address, offer, now)
        # Nothing else can begin anything; stock keeps a connection for such packets, to no use.

    def _challenge(self, fields: Fields, address: Address, security: ISecurity, now: float) -> None:
        """Too many are yet to prove who they are: challenge this one too, but keep nothing of it."""
        epoch, cid = fields[0], fields[1] & CID_MASK
        security.meet(fields[9])
        security.adopt((self._nonces.give(address, epoch, cid, now),))
        header = pack_header(epoch, cid, 0, 0, 1, _CHALLENGE, 0, 0, fields[8], 0, fields[10])
        self._send(address, header + security.challenge())

    def _receive_proof(self, fields: Fields, datagram: bytes, address: Address, offer: Offer, now: float) -> None:
        """The answer to a challenge of which nothing was kept, if any was sent."""
        epoch, cid = fields[0], fields[1] & CID_MASK
        nonces = self._nonces.good(address, epoch, cid, now)
        security = self._security[fields[8]]()
        if not nonces or security.authenticated:
            return
        security.bind(Binding(epoch, cid, security.index))
        security.adopt(nonces)
        try:
            numbers = security.check_response(datagram[HEADER_SIZE:], now + self.unix_offset)
        except Abort as refusal:
            self._send(address, _raw_abort(fields, refusal.code))
            return
        if connection := self._welcome(fields, address, offer, security, now):
            connection.prove(numbers)

    def _welcome(
        self, fields: Fields, address: Address, offer: Offer, security: ISecurity, now: float
    ) -> Connection | None:
        """A new connection of a client, None when there are too many."""
        if not self._admit(address, now):
            self.statistics.refused_connections += 1
            return None
        epoch, cid = fields[0], fields[1] & CID_MASK
        connection = self._make(
            address,
            epoch,
            cid,
            offer.service_id,
            security,
            offer.patience,
            is_client=False,
            check_reach=offer.check_reach,
        )
        connection.arm(now + self.limits.connection_idle_seconds)
        self._servers[_key(epoch, cid, address)] = connection
        return connection

    def _admit(self, address: Address, now: float) -> bool:
        """Count one more connection of this host, in place of an idle one if need be. False when that is too many."""
        quota, host = self._connection_quota, address[0]
        return quota.take(host) or (self._evict(now, host if quota.used_up(host) else None) and quota.take(host))

    def _evict(self, now: float, host: str | None) -> bool:
        """Make room for one connection by forgetting an idle one, of this host if its share is used up, the oldest
        first. False when none is idle enough.
        """
        for _ in range(min(EVICTION_SCAN, len(self._servers))):
            key = next(iter(self._servers))
            connection = self._servers[key]
            mine = host is None or connection.peer[0] == host
            if mine and connection.idle_since() + self.limits.eviction_idle_seconds <= now:
                self._forget(self._servers, connection)
                return True
            del self._servers[key]  # and to the end of the queue
            self._servers[key] = connection
        return False

    def handle_timeout(self, now: float) -> None:
        """Run what is due."""
        self._now = now
        self._output.deadlines.run(now)
        idle = self._output.idle
        while idle:
            self._forget(self._servers, idle.pop())

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
                call.flush(now)
        if not output.outbox:
            return []
        if output.jumbograms:
            self._join(output.outbox)
        result = runs(output.outbox, self.limits)
        output.outbox.clear()
        for run in result:
            self.statistics.note_sent(run.payloads)
            peer = self._peers.get(run.address)
            if peer is not None:
                peer.bytes_sent += run.segment_size * (len(run.payloads) - 1) + len(run.payloads[-1])
        return result

    def _join(self, outbox: Outbox) -> None:
        """Make jumbograms for the peers that take them."""
        for address, datagrams in outbox.items():
            peer = self._peers.get(address)
            if peer is not None and peer.jumbo_packets > 1 and len(datagrams) > 1:
                outbox[address] = join(datagrams, peer.jumbo_packets)

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` next; None for never. The past when something waits to be drained."""
        output = self._output
        if output.events or output.unflushed or output.outbox:
            return self._now
        return output.deadlines.next()

    def _send(self, address: Address, datagram: bytes | None) -> None:
        """Answer a packet of no connection, unless too many such answers wait already."""
        if datagram is None:
            return
        queue = self._output.outbox.setdefault(address, [])
        if len(queue) < STRAY_ANSWERS:
            queue.append(datagram)

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
        return self._servers.values()

    @property
    def client_connections(self) -> Iterable[Connection]:
        return self._clients.values()

    @property
    def peers(self) -> Iterable[Peer]:
        return self._peers.values()

    @property
    def calls_executed(self) -> int:
        """Calls handed to the application since the start."""
        return self.statistics.calls_executed

    @property
    def server_calls(self) -> int:
        """Calls of clients in progress."""
        return self._quota.count

    @property
    def buffered_bytes(self) -> int:
        """Bytes received and not read."""
        return self._output.buffered_bytes


def _key(epoch: int, cid: int, address: Address) -> Key:
    key = epoch << 32 | cid
    return key if epoch >= EPOCH_ANY_ADDRESS else (key, address)


def _raw_abort(fields: Fields, code: int) -> bytes:
    """An abort for a packet of no connection, made from its own header (rxi_SendRawAbort)."""
    epoch, cid, number, _, _, _, flags, _, security_index, _, service_id = fields
    header = pack_header(epoch, cid, number, 0, 0, _ABORT, ~flags & _CLIENT_INITIATED, 0, security_index, 0, service_id)
    return header + abort_body(code)
