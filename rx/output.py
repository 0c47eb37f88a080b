"""What the engine has to say: events, datagrams, deadlines, and which calls want to be flushed.

Connections and calls write here; the endpoint owns it and drains it. It is the small thing between them that keeps
them from knowing the endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rx.constants import MAX_ACKS
from rx.events import Event
from rx.limits import STRAY_ANSWERS, Limits
from rx.packet import pack_trailer
from rx.peer import Address, Host
from rx.quota import Quota
from rx.statistics import Statistics
from rx.timers import Deadlines
from rx.wire import Outbox

if TYPE_CHECKING:
    from rx.call import Call
    from rx.connection import Connection


class Datagrams(NamedTuple):
    """A run of datagrams to one address: all `segment_size` bytes but the last, which may be shorter."""

    address: Address
    segment_size: int
    payloads: list[bytes]


class Output:
    """The engine's outgoing side, and the counts its limits are about."""

    __slots__ = (
        "_trailers",
        "buffered_bytes",
        "deadlines",
        "events",
        "idle",
        "jumbograms",
        "limits",
        "outbox",
        "statistics",
        "unflushed",
        "unix_offset",
        "unproven",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.jumbograms = limits.jumbograms
        self.events: list[Event] = []
        self.outbox: Outbox = {}
        self.deadlines = Deadlines()
        self.unflushed: list[Call] = []
        self.idle: list[Connection] = []
        self.buffered_bytes = 0  # received over all calls and not read
        self.statistics = Statistics()
        self.unix_offset = 0.0  # what `now` lacks to Unix time
        self.unproven = Quota(limits.unproven_connections, limits.unproven_connections_per_host)
        self._trailers: dict[int, tuple[bytes, bytes]] = {}

    def answer_stray(self, address: Address, datagram: bytes) -> None:
        """Answer a packet of no connection, unless too many such answers wait already."""
        queue = self.outbox.setdefault(address, [])
        if len(queue) < STRAY_ANSWERS:
            queue.append(datagram)

    def hold(self, host: Host, size: int) -> None:
        """So many bytes more from this host wait to be read; fewer when negative."""
        self.buffered_bytes += size
        host.buffered_bytes += size

    def room(self, host: Host) -> int:
        """How many bytes from this host may still come; negative when there are too many already."""
        limits = self.limits
        return min(limits.buffered_bytes - self.buffered_bytes, limits.buffered_bytes_per_host - host.buffered_bytes)

    def ack_trailer(self, interface_mtu: int, host: Host) -> bytes:
        """What acknowledgements end with: our sizes and window; one packet when memory or the host's share is short."""
        trailers = self._trailers.get(interface_mtu)
        if trailers is None:
            trailers = self._trailers[interface_mtu] = self._pack_trailers(interface_mtu)
        limits = self.limits
        short = self.buffered_bytes > limits.buffered_bytes // 2
        return trailers[short or host.buffered_bytes > limits.buffered_bytes_per_host // 2]

    def _pack_trailers(self, interface_mtu: int) -> tuple[bytes, bytes]:
        limits = self.limits
        size = min(limits.receive_size, interface_mtu)
        window = max(1, min(limits.window, MAX_ACKS, limits.window_bytes // size))
        opened, closed = (pack_trailer(size, size, each, limits.jumbo_packets) for each in (window, 1))
        return opened, closed


def runs(outbox: Outbox, limits: Limits) -> list[Datagrams]:
    """Cut each address's datagrams into runs that one UDP send with segmentation takes."""
    result = []
    for address, payloads in outbox.items():
        if len(payloads) == 1:
            result.append(Datagrams(address, len(payloads[0]), payloads))
        else:
            _cut_runs(result, address, payloads, limits)
    return result


def _cut_runs(result: list[Datagrams], address: Address, payloads: list[bytes], limits: Limits) -> None:
    begin, count = 0, len(payloads)
    while begin < count:
        size = len(payloads[begin])
        most = min(count, begin + limits.segments, begin + max(1, limits.run_bytes // size))
        end = begin + 1
        while end < most and len(payloads[end]) == size:
            end += 1
        if end < most and len(payloads[end]) < size:
            end += 1
        result.append(Datagrams(address, size, payloads[begin:end]))
        begin = end
