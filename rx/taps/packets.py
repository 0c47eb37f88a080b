"""A datagram as the tracer shows it and fault rules match it: its header, and which RPC of which service it belongs to.

Only the first DATA packet of a call says its opcode, so opcodes are remembered by call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rx.constants import CHANNEL_MASK, HEADER_SIZE, Flag, PacketType, SecurityIndex
from rx.packet import unpack_header
from rx.peer import Address
from rx.service import OPCODE_SIZE, Service

CHANNELS_REMEMBERED = 65536
"""Channels whose opcode is known, some 10 MB; beyond, the one longest known is forgotten and shows no name."""


class Names:
    """What services and opcodes are called: those `served` on the tapped port, and those `called` from it.

    They differ where one service id means two services, as RXAFS and RXAFSCB do.
    """

    def __init__(self, served: Iterable[type[Service]], called: Iterable[type[Service]] = ()) -> None:
        self._services = {(True, each.service_id): each for each in served}
        self._services |= {(False, each.service_id): each for each in called}
        known = self._services.values()
        self.services = frozenset(each.__name__ for each in known)
        self.opcodes = frozenset(operation.name for each in known for operation in each.operations.values())

    def service(self, served: bool, service_id: int) -> str:
        """The name of a service, the empty string when it has none."""
        service = self._services.get((served, service_id))
        return service.__name__ if service else ""

    def opcode(self, served: bool, service_id: int, opcode: int) -> str:
        """The name of an RPC, the empty string when it has none."""
        service = self._services.get((served, service_id))
        operation = service.operations.get(opcode) if service else None
        return operation.name if operation else ""


@dataclass(slots=True)
class Packet:
    """One datagram and what is known about it."""

    incoming: bool
    peer: Address
    payload: bytes
    epoch: int
    cid: int
    number: int
    seq: int
    serial: int
    type: int
    flags: int
    security_index: int
    service_id: int
    service: str = ""
    opcode: int | None = None
    operation: str = ""

    @property
    def body(self) -> memoryview:
        """What follows the Rx header."""
        return memoryview(self.payload)[HEADER_SIZE:]

    @property
    def type_name(self) -> str:
        """The name of its type, or the number."""
        return PacketType(self.type).name if self.type in PacketType._value2member_map_ else str(self.type)

    @property
    def served(self) -> bool:
        """Whether it is about a call to us, rather than one of ours."""
        return self.incoming == bool(self.flags & Flag.CLIENT_INITIATED)


class Reader:
    """Makes packets of datagrams, in the order they pass one port."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._opcodes: dict[tuple[bool, Address, int, int], tuple[int, int]] = {}
        """(served, peer, epoch, connection and channel) -> (call number, opcode)."""

    def read(self, incoming: bool, peer: Address, payload: bytes) -> Packet | None:
        """None when it is too short to have a header."""
        if len(payload) < HEADER_SIZE:
            return None
        epoch, cid, number, seq, serial, type_, flags, _, security, _, service_id = unpack_header(payload)
        packet = Packet(
            incoming, peer, payload, epoch, cid, number, seq, serial, type_, flags, security, service_id
        )  # fmt: skip
        packet.service = self._names.service(packet.served, service_id)
        if number:
            packet.opcode = self._opcode(packet)
        if packet.opcode is not None:
            packet.operation = self._names.opcode(packet.served, service_id, packet.opcode)
        return packet

    def _opcode(self, packet: Packet) -> int | None:
        channel = (packet.served, packet.peer, packet.epoch, packet.cid)
        number, opcode = self._opcodes.get(channel, (0, 0))
        if number == packet.number:
            return opcode
        first = packet.type == PacketType.DATA and packet.seq == 1 and packet.flags & Flag.CLIENT_INITIATED
        if not first or len(packet.body) < OPCODE_SIZE:
            return None
        opcode = int.from_bytes(packet.body[:OPCODE_SIZE], "big")
        if packet.security_index != SecurityIndex.NULL and not self._is_known(packet, opcode):
            return None  # encrypted
        while len(self._opcodes) >= CHANNELS_REMEMBERED:
            del self._opcodes[next(iter(self._opcodes))]
        self._opcodes[channel] = (packet.number, opcode)
        return opcode

    def _is_known(self, packet: Packet, opcode: int) -> bool:
        return bool(self._names.opcode(packet.served, packet.service_id, opcode))


def channel_of(packet: Packet) -> str:
    """Connection and channel, as rxdebug writes a connection id."""
    return f"{packet.epoch:08x}/{packet.cid & ~CHANNEL_MASK:08x}.{packet.cid & CHANNEL_MASK}"
