"""Answers to packets that belong to no connection: VERSION, and DEBUG as rxdebug asks (protocol page rx.md, section 7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rx.constants import VERSION_SIZE, PacketType
from rx.output import Datagrams
from rx.packet import pack_header
from rx.peer import Address

if TYPE_CHECKING:
    from rx.endpoint import Endpoint

DEFAULT_VERSION = b"txafs"

_KNOWN_TYPES = int(PacketType.VERSION) + 1


class Statistics:
    """Counters of one endpoint, by packet type where that matters. Index 0 counts types nobody knows."""

    __slots__ = ("bogus_host", "bogus_packets", "packets_read", "packets_sent", "refused_connections")

    def __init__(self) -> None:
        self.packets_read = [0] * _KNOWN_TYPES
        self.packets_sent = [0] * _KNOWN_TYPES
        self.bogus_packets = 0
        self.bogus_host = "0.0.0.0"
        self.refused_connections = 0

    def note_bogus(self, address: Address) -> None:
        """A datagram too short for a header."""
        self.bogus_packets += 1
        self.bogus_host = address[0]

    def note_sent(self, datagrams: Iterable[Datagrams]) -> None:
        """Count what leaves."""


def answer_version(fields: tuple[int, ...], version: bytes) -> bytes:
    """Our version text, under the question's own header."""
    epoch, cid, number, seq, serial, type_, flags, user_status, security_index, spare, service_id = fields
    header = pack_header(
        epoch, cid, number, seq, serial, type_, flags & 0xFE, user_status, security_index, spare, service_id
    )
    return header + version[: VERSION_SIZE - 1].ljust(VERSION_SIZE, b"\0")


def answer_debug(endpoint: Endpoint, fields: tuple[int, ...], datagram: bytes) -> bytes | None:
    """TODO"""
    return None
