"""A reader for classic pcap files, enough for UDP over IPv4 in the captures the tests use. Truncated records are
skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from struct import unpack_from
from typing import NamedTuple

_MAGIC = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}
_ETHERNET, _LINUX_COOKED, _IPV4, _LINUX_COOKED_2 = 1, 113, 228, 276
_LINK_HEADER = {_ETHERNET: (14, 12), _LINUX_COOKED: (16, 14), _IPV4: (0, None), _LINUX_COOKED_2: (20, 0)}
"""Link type -> (bytes before IP, where the ethertype is if anywhere)."""


class Datagram(NamedTuple):
    """One UDP datagram: seconds, (address, port) from and to, payload. `fragment` when it is the first of several."""

    when: float
    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes


def datagrams(path: Path) -> Iterator[Datagram]:
    """The whole UDP datagrams in a capture, in order; fragments and other protocols are left out."""
    content = path.read_bytes()
    order = _MAGIC[content[:4]]
    header, ethertype = _LINK_HEADER[unpack_from(order + "I", content, 20)[0]]
    offset = 24
    while offset + 16 <= len(content):
        seconds, microseconds, captured, length = unpack_from(order + "IIII", content, offset)
        frame = content[offset + 16 : offset + 16 + captured]
        offset += 16 + captured
        if captured < length or (ethertype is not None and unpack_from(">H", frame, ethertype)[0] != 0x0800):
            continue
        ip = frame[header:]
        fragment = unpack_from(">H", ip, 6)[0] & 0x3FFF
        if ip[9] != 17 or fragment:
            continue
        udp = ip[(ip[0] & 15) * 4 :]
        source_port, destination_port, size = unpack_from(">HHH", udp)
        source, destination = ".".join(map(str, ip[12:16])), ".".join(map(str, ip[16:20]))
        yield Datagram(
            seconds + microseconds / 1e6, (source, source_port), (destination, destination_port), udp[8:size]
        )
