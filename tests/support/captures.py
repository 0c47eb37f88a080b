"""Rx calls put together again from a packet capture: what was asked, what was answered."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct

VECTORS = Path(__file__).parent.parent / "vectors" / "pcap"

Address = tuple[str, int]

_FILE_HEADER = Struct("<I20x")
_RECORD = Struct("<4I")
_MAGIC = 0xA1B2C3D4
_ETHERNET = 14
_IPV4 = b"\x08\x00"
_UDP = 17
_RX = Struct(">5I4B2H")
_DATA, _ABORT = 1, 4
_CLIENT, _LAST, _JUMBO = 1, 4, 32
_JUMBO_LENGTH = 1412  # data in every packet of a jumbogram but the last
_JUMBO_HEADER = 4


@dataclass
class CapturedCall:
    """One call. `request` and `reply` are the whole data of each direction; None where the capture lacks a part."""

    client: Address
    server: Address
    service_id: int
    security_index: int
    packets: dict[bool, dict[int, tuple[bytes, bool]]] = field(default_factory=lambda: {True: {}, False: {}})
    abort: int | None = None

    @property
    def request(self) -> bytes | None:
        return self._joined(True)

    @property
    def reply(self) -> bytes | None:
        return self._joined(False)

    def _joined(self, from_client: bool) -> bytes | None:
        packets = self.packets[from_client]
        whole = [packets[sequence] for sequence in range(1, len(packets) + 1) if sequence in packets]
        if len(whole) < len(packets) or not whole or not whole[-1][1]:
            return None
        return b"".join(data for data, _ in whole)


def captured_calls(path: Path) -> list[CapturedCall]:
    """The calls of a capture in the order in which they began."""
    calls: dict[tuple[Address, Address, int, int, int], CapturedCall] = {}
    for source, target, payload in datagrams(path):
        if len(payload) < _RX.size:
            continue
        epoch, cid, number, sequence, _, kind, flags, _, security_index, _, service_id = _RX.unpack_from(payload)
        if kind not in (_DATA, _ABORT) or not number:
            continue
        from_client = bool(flags & _CLIENT)
        client, server = (source, target) if from_client else (target, source)
        key = (client, server, epoch, cid, number)
        call = calls.setdefault(key, CapturedCall(client, server, service_id, security_index))
        body = payload[_RX.size :]
        if kind == _ABORT:
            call.abort = int.from_bytes(body[:4], "big", signed=True)
            continue
        for offset, (data, last) in enumerate(_split_jumbogram(body, flags)):
            call.packets[from_client][sequence + offset] = (data, last)
    return list(calls.values())


def datagrams(path: Path) -> Iterator[tuple[Address, Address, bytes]]:
    """(source, target, payload) of every UDP datagram over IPv4, fragments put together, in a pcap of an Ethernet."""
    content = path.read_bytes()
    (magic,) = _FILE_HEADER.unpack_from(content)
    assert magic == _MAGIC, f"{path}: not a little-endian pcap with microseconds"
    position = _FILE_HEADER.size
    fragments: dict[tuple[bytes, bytes], bytes] = {}
    while position < len(content):
        _, _, size, _ = _RECORD.unpack_from(content, position)
        frame = content[position + _RECORD.size : position + _RECORD.size + size]
        position += _RECORD.size + size
        packet = frame[_ETHERNET:]
        if frame[12:14] != _IPV4 or packet[9] != _UDP:
            continue
        header, total = 4 * (packet[0] & 15), int.from_bytes(packet[2:4], "big")
        where = int.from_bytes(packet[6:8], "big")
        key = (packet[12:20], packet[4:6])
        data = fragments.pop(key, b"") + packet[header:total]
        if where & 0x2000:
            fragments[key] = data
            continue
        source_port, target_port = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        yield (_dotted(packet[12:16]), source_port), (_dotted(packet[16:20]), target_port), data[8:]


def _split_jumbogram(body: bytes, flags: int) -> list[tuple[bytes, bool]]:
    """(data, whether it is the call's last) of each packet in a datagram."""
    packets = []
    while flags & _JUMBO:
        packets.append((body[:_JUMBO_LENGTH], bool(flags & _LAST)))
        flags = body[_JUMBO_LENGTH]
        body = body[_JUMBO_LENGTH + _JUMBO_HEADER :]
    packets.append((body, bool(flags & _LAST)))
    return packets


def _dotted(address: bytes) -> str:
    return ".".join(map(str, address))
