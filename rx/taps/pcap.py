"""A tap that writes what passes as a capture file, which wireshark, tshark and tcpdump read.

The IP and UDP headers are made up around the payload: a socket never sees them. A record is written whole, at once,
at the end of the file, so several ports, servers and runs may share one.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from struct import Struct

from rx.peer import Address
from rx.taps import Recorder, Tap
from rx.taps.recording import Recording, private
from rx.udp import DatagramPort

LINK_TYPE = 228
"""LINKTYPE_IPV4: a record begins with the IP header."""

FILE_HEADER = Struct("<IHHiIII").pack(0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, LINK_TYPE)

_record = Struct("<IIII")
_ip = Struct(">BBHHHBBH4s4s")
_udp = Struct(">HHHH")

_NO_OPTIONS = 0x45
_TIME_TO_LIVE = 64
_UDP = 17


class NotACapture(ValueError):
    """The file is there and something else."""


class Pcap(Tap):
    """See the module. `now` is Unix time; `report` is told when the file ends early. Raises OSError and NotACapture."""

    def __init__(self, path: Path, now: Callable[[], float], report: Callable[[str], None]) -> None:
        self._path = path
        self._recording = Recording(path, report)
        self._now = now
        with open(path, "a+b", opener=private) as file:
            file.seek(0)
            beginning = file.read(len(FILE_HEADER))
            if not beginning:
                file.write(FILE_HEADER)
            elif beginning != FILE_HEADER:
                raise NotACapture(f"{path} is not a capture of this kind: give another name")

    def wrap(self, port: DatagramPort, readable: Callable[[], None]) -> DatagramPort:
        return _CapturedPort(port, self._path, self._recording, self._now)


class _CapturedPort(Recorder):
    def __init__(self, port: DatagramPort, path: Path, recording: Recording, now: Callable[[], float]) -> None:
        super().__init__(port)
        self._recording = recording
        self._file = path.open("ab", buffering=0)
        self._now = now

    def note(self, incoming: bool, peer: Address, payload: bytes) -> None:
        ours = self.port.local(peer)
        source, destination = (peer, ours) if incoming else (ours, peer)
        self._recording.write(self._file, record(self._now(), source, destination, payload))

    def close(self) -> None:
        super().close()
        self._file.close()


def record(when: float, source: Address, destination: Address, payload: bytes) -> bytes:
    """One datagram as a record of the file. `when` is Unix time."""
    size = _ip.size + _udp.size + len(payload)
    addresses = IPv4Address(source[0]).packed, IPv4Address(destination[0]).packed
    fields = (_NO_OPTIONS, 0, size, 0, 0, _TIME_TO_LIVE, _UDP)
    ip = _ip.pack(*fields, _checksum(_ip.pack(*fields, 0, *addresses)), *addresses)
    udp = _udp.pack(source[1], destination[1], size - _ip.size, 0)  # 0: no checksum
    seconds, microseconds = divmod(round(when * 1e6), 1_000_000)
    return _record.pack(seconds, microseconds, size, size) + ip + udp + payload


def _checksum(header: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
