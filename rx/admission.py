"""Who may begin a connection with us: the services offered, how their clients are challenged, and what is answered to
packets that can begin nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from random import Random
from typing import NamedTuple

from rx.connection import Connection
from rx.connection_input import receive
from rx.connections import Connections
from rx.constants import HEADER_SIZE, MAX_ACKS, AckReason, Flag, PacketType, RxCode
from rx.errors import Abort
from rx.output import Output
from rx.packet import ACK_ACKS, Fields, abort_body, pack_header, unpack_ack
from rx.peer import Address
from rx.security import KEYLESS
from rx.security.interfaces import Binding, ISecurity, SecurityFactory
from rx.stateless import Nonces
from rx.timers import Patience
from rx.wire import CID_MASK

_CLIENT_INITIATED = int(Flag.CLIENT_INITIATED)
_ABORT = int(PacketType.ABORT)
_ACK = int(PacketType.ACK)
_DATA = int(PacketType.DATA)
_CHALLENGE = int(PacketType.CHALLENGE)
_RESPONSE = int(PacketType.RESPONSE)
_PING = int(AckReason.PING)


class Offer(NamedTuple):
    """A service offered to clients."""

    service_id: int
    security_indices: tuple[int, ...]
    check_reach: bool
    patience: Patience


class Admission:
    """Makes the connections that clients begin."""

    def __init__(self, connections: Connections, output: Output, random: Random) -> None:
        self._connections = connections
        self._output = output
        self._nonces = Nonces(random)
        self._offers: dict[int, Offer] = {}
        self._security: dict[int, SecurityFactory] = dict(KEYLESS)

    def offer(
        self,
        service_id: int,
        security_indices: Sequence[int],
        check_reach: bool,
        dead_seconds: float,
        idle_seconds: float | None,
    ) -> None:
        """See `Endpoint.offer`."""
        patience = Patience(dead_seconds, inf if idle_seconds is None else idle_seconds)
        for index in security_indices:
            if index not in self._security:
                raise ValueError(f"no security class {index}: call secure() first")
        self._offers[service_id] = Offer(service_id, tuple(security_indices), check_reach, patience)

    def secure(self, security_index: int, factory: SecurityFactory) -> None:
        """See `Endpoint.secure`."""
        self._security[security_index] = factory

    def receive_new(self, fields: Fields, datagram: bytes, address: Address, now: float) -> None:
        """The first packet of a connection, as far as we know."""
        if not self._offers:
            return  # a server that is still starting: its clients try again in a moment
        offer = self._offers.get(fields[10])
        if offer is None or fields[8] not in offer.security_indices:
            if fields[5] != _ABORT:
                self._output.answer_stray(address, _raw_abort(fields, RxCode.RX_INVALID_OPERATION))
            return
        if fields[5] == _DATA and fields[2] and fields[3] <= self._output.limits.window:
            security = self._security[fields[8]]()
            security.bind(Binding(fields[0], fields[1] & CID_MASK, security.index))
            if not security.authenticated and not self._output.unproven.admits(address[0]):
                self._challenge(fields, address, security, now)
            elif connection := self._welcome(fields, address, offer, security, now):
                receive(connection, fields, datagram, now)
        elif fields[5] == _RESPONSE and not fields[2]:
            self._receive_proof(fields, datagram, address, offer, now)
        elif fields[2] and (fields[3] > MAX_ACKS or _is_ping(fields, datagram)):
            self._output.answer_stray(address, _raw_abort(fields, RxCode.RX_MSGSIZE))
        # Nobody has more than MAX_ACKS packets under way: who sends one beyond was answered by somebody.
        # Nothing else can begin anything; stock keeps a connection for such packets, to no use.

    def _welcome(
        self, fields: Fields, address: Address, offer: Offer, security: ISecurity, now: float
    ) -> Connection | None:
        return self._connections.add_server(
            address,
            fields[0],
            fields[1] & CID_MASK,
            offer.service_id,
            security,
            offer.patience,
            offer.check_reach,
            now,
        )

    def _challenge(self, fields: Fields, address: Address, security: ISecurity, now: float) -> None:
        """Too many are yet to prove who they are: challenge this one too, but keep nothing of it."""
        epoch, cid = fields[0], fields[1] & CID_MASK
        security.meet(fields[9])
        security.adopt((self._nonces.give(address, epoch, cid, now),))
        header = pack_header(epoch, cid, 0, 0, 1, _CHALLENGE, 0, 0, fields[8], 0, fields[10])
        self._output.answer_stray(address, header + security.challenge())

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
            numbers = security.check_response(datagram[HEADER_SIZE:], now + self._output.unix_offset)
        except Abort as refusal:
            self._output.answer_stray(address, _raw_abort(fields, refusal.code))
            return
        if connection := self._welcome(fields, address, offer, security, now):
            connection.prove(numbers)


def _is_ping(fields: Fields, datagram: bytes) -> bool:
    """Somebody waits for a call that we know nothing of: a server that was here before had it. Told with this code that
    it is over, an OpenAFS client makes it again at once; left alone, it would wait for its dead time.
    """
    return fields[5] == _ACK and len(datagram) >= ACK_ACKS and unpack_ack(datagram, HEADER_SIZE)[5] == _PING


def _raw_abort(fields: Fields, code: int) -> bytes:
    """An abort for a packet of no connection, made from its own header (rxi_SendRawAbort)."""
    epoch, cid, number, _, _, _, flags, _, security_index, _, service_id = fields
    header = pack_header(epoch, cid, number, 0, 0, _ABORT, ~flags & _CLIENT_INITIATED, 0, security_index, 0, service_id)
    return header + abort_body(code)
