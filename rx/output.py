"""What the engine has to say: events, datagrams, deadlines, and which calls want to be flushed.

Connections and calls write here; the endpoint owns it and drains it. It is the small thing between them that keeps
them from knowing the endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rx.constants import MAX_ACKS
from rx.events import Event
from rx.limits import Limits
from rx.packet import pack_trailer
from rx.peer import Address
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
        "buffered_bytes",
        "closed_trailer",
        "deadlines",
        "events",
        "idle",
        "limits",
        "outbox",
        "statistics",
        "trailer",
        "unflushed",
        "unix_offset",
        "unproven",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.events: list[Event] = []
        self.outbox: Outbox = {}
        self.deadlines = Deadlines()
        self.unflushed: list[Call] = []
        self.idle: list[Connection] = []
        self.buffered_bytes = 0  # received over all calls and not read
        self.statistics = Statistics()
        self.unix_offset = 0.0  # what `now` lacks to Unix time
        self.unproven = Quota(limits.unproven_connections, limits.unproven_connections_per_host)
        self.trailer = self._trailer(min(limits.window, MAX_ACKS))
        self.closed_trailer = self._trailer(1)

    def _trailer(self, window: int) -> bytes:
        size = self.limits.receive_size
        return pack_trailer(size, size, window, self.limits.jumbo_packets)

    def ack_trailer(self) -> bytes:
        """What acknowledgements end with: our sizes and window, one packet when memory is short."""
        return self.closed_trailer if self.buffered_bytes > self.limits.buffered_bytes // 2 else self.trailer


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
