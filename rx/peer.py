"""One remote address: what all connections with it share."""

from __future__ import annotations

from rx.constants import MAXIMUM_MTU, MINIMUM_MTU, NATURAL_MTU
from rx.jumbo import JUMBO_PACKET
from rx.limits import CONGESTION_START
from rx.pathmtu import PathMtu
from rx.rtt import RoundTrip

Address = tuple[str, int]


class Host:
    """What all peers at one IP address have taken of us together."""

    __slots__ = ("buffered_bytes", "peers")

    def __init__(self) -> None:
        self.buffered_bytes = 0  # received over all their calls and not read
        self.peers = 0


class Peer:
    """Round trip, packet size and reachability of one UDP address."""

    __slots__ = (
        "address",
        "bytes_received",
        "bytes_sent",
        "congestion_window",
        "connections",
        "host",
        "interface_mtu",
        "jumbo_packets",
        "maximum_mtu",
        "packets_resent",
        "packets_sent",
        "path",
        "reachable_until",
        "round_trip",
    )

    def __init__(self, address: Address, interface_mtu: int, host: Host | None = None) -> None:
        self.address = address
        self.host = host or Host()
        self.round_trip = RoundTrip()
        self.interface_mtu = interface_mtu  # our own, where the way to it begins
        self.path = PathMtu(interface_mtu)
        self.maximum_mtu = NATURAL_MTU
        self.jumbo_packets = 1  # at most, in one datagram to this peer
        self.reachable_until = float("-inf")
        self.connections = 0
        self.congestion_window = CONGESTION_START  # what the last call that ended had come to
        self.packets_sent = 0
        self.packets_resent = 0
        self.bytes_sent = 0
        self.bytes_received = 0

    @property
    def mtu(self) -> int:
        """Size of the packets sent, Rx header included. Jumbograms are for peers that take no larger packets."""
        size = self.path.size
        return min(size, JUMBO_PACKET) if self.jumbo_packets > 1 and size <= NATURAL_MTU else size

    def announce_mtu(self, maximum: int, natural: int) -> None:
        """The peer told what it takes. Absurd values are brought into the range Rx allows, as stock does."""
        maximum = min(max(maximum, MINIMUM_MTU), MAXIMUM_MTU)
        natural = min(max(natural, MINIMUM_MTU), MAXIMUM_MTU)
        self.maximum_mtu = maximum
        self.path.allow(min(maximum, natural, self.interface_mtu))
