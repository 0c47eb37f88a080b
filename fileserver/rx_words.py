"""What Rx has counted on the ports of a server, as xstat has it in struct afs_PerfStats (`viced/fs_stats.h`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fileserver.timings import int32

RX_WORDS = 41

SUMS = {
    5: "bogus_packets",
    14: "data_read",
    15: "acks_read",
    16: "duplicates_read",
    17: "spurious_read",
    21: "acks_sent",
    22: "pings_sent",
    23: "aborts_sent",
    24: "busies_sent",
    25: "data_sent",
    26: "data_resent",
    35: "rtt_samples",
    36: "server_connections",
    37: "client_connections",
    38: "peers",
    39: "calls",
}
"""Place, from the first of these words, and field of struct rx_statistics (rx/packet.py, RX_STATISTICS). What is not
named is of packet buffers and selects, of which there are none here, and stays 0.
"""

BOGUS_HOST, PACKETS_READ, PACKETS_SENT, TOTAL_RTT, MINIMUM_RTT, MAXIMUM_RTT = 6, 11, 18, 29, 31, 33
CLASSES = 3
"""Of packets, stock tells the first three counts by type: data, acknowledgements, BUSY."""

MICROSECONDS = 1_000_000


def rx_words(ports: Iterable[Any]) -> list[int]:
    """Of the statistics of several ports, all together; zeros of none."""
    words = [0] * RX_WORDS
    shown = list(ports)
    for place, name in SUMS.items():
        words[place] = int32(sum(getattr(port, name) for port in shown))
    for kind in range(CLASSES):
        words[PACKETS_READ + kind] = int32(sum(port.packets_read[kind] for port in shown))
        words[PACKETS_SENT + kind] = int32(sum(port.packets_sent[kind] for port in shown))
    words[BOGUS_HOST] = next((int32(port.bogus_host) for port in shown if port.bogus_packets), 0)
    measured = [port for port in shown if port.rtt_samples]
    if measured:
        words[TOTAL_RTT : TOTAL_RTT + 2] = _clock(sum(_microseconds(port.total_rtt) for port in measured))
        words[MINIMUM_RTT : MINIMUM_RTT + 2] = _clock(min(_microseconds(port.minimum_rtt) for port in measured))
        words[MAXIMUM_RTT : MAXIMUM_RTT + 2] = _clock(max(_microseconds(port.maximum_rtt) for port in measured))
    return words


def _microseconds(clock: Any) -> int:
    return int(clock.seconds) * MICROSECONDS + int(clock.microseconds)


def _clock(microseconds: int) -> Sequence[int]:
    return int32(microseconds // MICROSECONDS), microseconds % MICROSECONDS
