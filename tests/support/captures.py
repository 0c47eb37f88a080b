"""Rx calls put together again from a packet capture: what was asked, what was answered."""

from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct

from tests.support.pcap import datagrams

VECTORS = Path(__file__).parent.parent / "vectors" / "pcap"

Address = tuple[str, int]

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
    for _, source, target, payload in datagrams(path):
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


def _split_jumbogram(body: bytes, flags: int) -> list[tuple[bytes, bool]]:
    """(data, whether it is the call's last) of each packet in a datagram."""
    packets = []
    while flags & _JUMBO:
        packets.append((body[:_JUMBO_LENGTH], bool(flags & _LAST)))
        flags = body[_JUMBO_LENGTH]
        body = body[_JUMBO_LENGTH + _JUMBO_HEADER :]
    packets.append((body, bool(flags & _LAST)))
    return packets
