"""What an endpoint counts: the figures behind rxdebug's -rxstats."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from rx.constants import PACKET_TYPES
from rx.peer import Address

_TYPE_OFFSET = 20
"""Where a packet's type is."""


class Statistics:
    """Counters since the start. Lists by packet type are indexed by it; index 0 counts types that do not exist."""

    __slots__ = (
        "bogus_host",
        "bogus_packets",
        "calls_executed",
        "data_resent",
        "duplicates_read",
        "packets_read",
        "packets_sent",
        "pings_sent",
        "refused_connections",
        "rtt_maximum",
        "rtt_minimum",
        "rtt_samples",
        "rtt_total",
        "spurious_read",
    )

    def __init__(self) -> None:
        self.packets_read = [0] * (PACKET_TYPES + 1)
        self.packets_sent = [0] * (PACKET_TYPES + 1)
        self.bogus_packets = 0
        self.bogus_host = "0.0.0.0"
        self.spurious_read = 0
        self.duplicates_read = 0
        self.data_resent = 0
        self.pings_sent = 0
        self.calls_executed = 0
        self.refused_connections = 0
        self.rtt_samples = 0
        self.rtt_total = 0.0
        self.rtt_minimum = inf
        self.rtt_maximum = 0.0

    def note_bogus(self, address: Address) -> None:
        """A datagram too short for a header came."""
        self.bogus_packets += 1
        self.bogus_host = address[0]

    def note_sent(self, datagrams: Iterable[bytes]) -> None:
        """These leave."""
        sent = self.packets_sent
        for datagram in datagrams:
            sent[datagram[_TYPE_OFFSET]] += 1

    def note_rtt(self, seconds: float) -> None:
        """A round trip was measured."""
        self.rtt_samples += 1
        self.rtt_total += seconds
        if seconds < self.rtt_minimum:
            self.rtt_minimum = seconds
        if seconds > self.rtt_maximum:
            self.rtt_maximum = seconds
