"""One connection as its packets see it: the numbers in every header, the serial counter, where datagrams go."""

from __future__ import annotations

from rx.constants import CHANNEL_MASK, HEADER_SIZE, Flag
from rx.packet import pack_header
from rx.peer import Peer
from rx.security.interfaces import ISecurity

Outbox = dict[tuple[str, int], list[bytes]]
"""Datagrams that wait for the next flush, by address, in the order they are to leave."""

WORD_MASK = 0xFFFF_FFFF
CID_MASK = WORD_MASK ^ CHANNEL_MASK


class Wire:
    """The sending side of a connection, shared by its calls."""

    __slots__ = (
        "cid",
        "client_flag",
        "epoch",
        "outbox",
        "overhead",
        "peer",
        "sealing",
        "security",
        "security_index",
        "serial",
        "service_id",
    )

    def __init__(
        self, outbox: Outbox, peer: Peer, epoch: int, cid: int, service_id: int, is_client: bool, security: ISecurity
    ) -> None:
        self.outbox = outbox
        self.peer = peer
        self.epoch = epoch
        self.cid = cid
        self.service_id = service_id
        self.client_flag = int(Flag.CLIENT_INITIATED) if is_client else 0
        self.security = security
        self.security_index: int = security.index
        self.sealing: bool = security.sealing
        self.serial = 0
        self.adopt_level()

    def adopt_level(self) -> None:
        """Leave room in packets for what the security class adds. A server's end knows it once the client is known."""
        self.overhead: int = self.security.header_size + self.security.trailer_size

    def queue(self) -> list[bytes]:
        """Where this connection's datagrams are appended."""
        address = self.peer.address
        queue = self.outbox.get(address)
        if queue is None:
            queue = self.outbox[address] = []
        return queue

    def header(
        self, cid: int, number: int, seq: int, type_: int, flags: int, user_status: int = 0, spare: int = 0
    ) -> bytes:
        """A packet's header, with the present serial."""
        return pack_header(
            self.epoch,
            cid,
            number,
            seq,
            self.serial & WORD_MASK,
            type_,
            flags,
            user_status,
            self.security_index,
            spare,
            self.service_id,
        )

    def send(self, cid: int, number: int, type_: int, body: bytes = b"", flags: int = 0, user_status: int = 0) -> None:
        """Send one packet that is not data."""
        self.serial += 1
        self.queue().append(self.header(cid, number, 0, type_, flags | self.client_flag, user_status) + body)

    def seal(self, cid: int, number: int, seq: int, body: bytes) -> tuple[int, bytes]:
        """What the security class makes of one data packet: the spare field and the body."""
        sealed: tuple[int, bytes] = self.security.seal(cid & CHANNEL_MASK, number, seq, body)
        return sealed

    def room(self) -> int:
        """Data bytes of a full packet."""
        return self.peer.mtu - HEADER_SIZE - self.overhead
