"""A tap that writes a readable line for every packet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rx.constants import HEADER_SIZE, AckReason, Flag, PacketType
from rx.packet import ACK_ACKS, ACK_HEAD, abort_code, unpack_trailer
from rx.peer import Address
from rx.taps import Recorder, Tap
from rx.taps.packets import Names, Packet, Reader, channel_of
from rx.taps.recording import Recording, private
from rx.udp import DatagramPort

SHOWN_OF_GARBAGE = 16
"""Bytes shown of a datagram that is too short for an Rx header: enough to recognise what it is."""

_FLAGS = (
    (Flag.CLIENT_INITIATED, "CLIENT"),
    (Flag.REQUEST_ACK, "REQUEST-ACK"),
    (Flag.LAST_PACKET, "LAST"),
    (Flag.MORE_PACKETS, "MORE"),
)
_BIT_5: dict[int, str] = {PacketType.DATA: "JUMBO", PacketType.ACK: "SLOW-START-OK"}


class Trace(Tap):
    """See the module. `now` is Unix time, `describe` the name and meaning of an abort code; `report` is told when the
    file ends early. Raises OSError.

    Lines go to the end of the file, each at once, so several ports and servers may share one.
    """

    def __init__(
        self,
        path: Path,
        names: Names,
        describe: Callable[[int], str],
        now: Callable[[], float],
        report: Callable[[str], None],
    ) -> None:
        self._path = path
        self._recording = Recording(path, report)
        self._names = names
        self._describe = describe
        self._now = now
        open(path, "ab", opener=private).close()

    def wrap(self, port: DatagramPort, readable: Callable[[], None]) -> DatagramPort:
        return _TracedPort(port, self._path, self._recording, self._names, self._describe, self._now)


class _TracedPort(Recorder):
    def __init__(
        self,
        port: DatagramPort,
        path: Path,
        recording: Recording,
        names: Names,
        describe: Callable[[int], str],
        now: Callable[[], float],
    ) -> None:
        super().__init__(port)
        self._recording = recording
        self._file = path.open("ab", buffering=0)
        self._reader = Reader(names)
        self._describe = describe
        self._now = now
        self._write(f"# {datetime.fromtimestamp(now(), UTC):%Y-%m-%d} UTC, port {port.address[0]}:{port.address[1]}")

    def note(self, incoming: bool, peer: Address, payload: bytes) -> None:
        when = datetime.fromtimestamp(self._now(), UTC)
        packet = self._reader.read(incoming, peer, payload)
        what = line(packet, self._describe) if packet else f"? {_sized(payload)}: {payload[:SHOWN_OF_GARBAGE].hex()}"
        self._write(f"{when:%H:%M:%S.%f} {'<' if incoming else '>'} {peer[0]}:{peer[1]} {what}")

    def _write(self, text: str) -> None:
        self._recording.write(self._file, text.encode() + b"\n")

    def close(self) -> None:
        super().close()
        self._file.close()


def line(packet: Packet, describe: Callable[[int], str]) -> str:
    """A packet in words: type, connection and channel, numbers, flags, RPC, and what its type adds."""
    numbers = f"call {packet.number} seq {packet.seq} serial {packet.serial}"
    words = [packet.type_name, channel_of(packet), numbers, *_flags(packet), _called(packet)]
    return " ".join([*words, _DETAILS.get(packet.type, _size)(packet, describe)])


def _flags(packet: Packet) -> Iterator[str]:
    yield from (f"+{name}" for flag, name in _FLAGS if packet.flags & flag)
    if packet.flags & Flag.JUMBO:
        yield f"+{_BIT_5.get(packet.type, '0x20')}"


def _called(packet: Packet) -> str:
    service = packet.service or f"service {packet.service_id}"
    if packet.opcode is None:
        return service
    return f"{service}.{packet.operation or packet.opcode}"


def _size(packet: Packet, describe: Callable[[int], str]) -> str:
    return _sized(packet.body)


def _sized(payload: bytes | memoryview) -> str:
    return f"{len(payload)} bytes"


def _acks(packet: Packet, describe: Callable[[int], str]) -> str:
    if len(packet.body) < ACK_HEAD.size:
        return f"cut short: {_sized(packet.body)}"
    head = ACK_HEAD.unpack(packet.payload, HEADER_SIZE)
    reason = AckReason(head.reason).name if head.reason in AckReason._value2member_map_ else str(head.reason)
    soft = packet.payload[ACK_ACKS : ACK_ACKS + head.count]
    words = [f"{reason} of serial {head.serial}, all before {head.first_packet}"]
    if ranges := _ranges(head.first_packet, soft):
        words.append(f"also {ranges}")
    trailer = unpack_trailer(packet.payload[ACK_ACKS + head.count :])
    if len(trailer) > 2:
        words.append(f"window {trailer[2]}")
    return ", ".join(words)


def _ranges(first: int, acks: bytes) -> str:
    """The sequence numbers acknowledged, as `5-7,9`."""
    got = {first + index for index, ack in enumerate(acks) if ack}
    starts = sorted(seq for seq in got if seq - 1 not in got)
    ends = sorted(seq for seq in got if seq + 1 not in got)
    return ",".join(str(start) if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=True))


def _abort(packet: Packet, describe: Callable[[int], str]) -> str:
    code = abort_code(packet.payload)
    return "without a code" if code is None else f"{code} {describe(code)}"


_DETAILS: dict[int, Callable[[Packet, Callable[[int], str]], str]] = {
    PacketType.ACK: _acks,
    PacketType.ABORT: _abort,
}
