"""A UDP socket that receives and sends in batches. Not Twisted's: `rx.transport` waits for it to be ready.

Where the kernel has them, UDP_GRO hands over many datagrams of one sender in one call and UDP_SEGMENT sends many to
one receiver. Both are tested when the socket is made, and everything works without them.
"""

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EINVAL, EIO, EMSGSIZE
from struct import Struct
from typing import Protocol

from rx.peer import Address

Datagram = tuple[bytes, Address]

RECEIVE_SIZE = 65536
"""Bytes taken by one receive. Less would cut a GRO batch short, which may measure as much as the largest UDP
datagram.
"""

SOCKET_BUFFER = 4 << 20
"""Asked of the kernel each way (it gives less if net.core.*mem_max is less): 20 ms of a 10 Gbit/s burst while we are
busy.
"""

LOCAL_ADDRESSES = 65536
"""Peers whose way to us is remembered, as many as connections are; beyond, the one longest known is forgotten."""

DESCRIPTORS = 64
"""Of the lowest, which are open is told to rxdebug (rx_packet.c rxi_ReceiveDebugPacket)."""

_SOL_UDP = 17
_UDP_SEGMENT = 103
_UDP_GRO = 104
_IP_PKTINFO = 8
_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_DONT = 0
_ANCILLARY_SIZE = 128  # both control messages with their headers measure 52
_ANY = "0.0.0.0"

_segment = Struct("H")
_gro = Struct("i")
_pktinfo = Struct("i4s4s")


class DatagramPort(Protocol):
    """What an RxPort needs of its socket. A tap (pcap writer, tracer, fault injector) has the same shape and wraps
    another.
    """

    address: Address
    """What it is bound to."""

    def fileno(self) -> int: ...

    def receive(self, limit: int) -> list[Datagram]:
        """The datagrams that wait, about `limit` at most; empty when none does."""

    def send(self, address: Address, segment_size: int, payloads: Sequence[bytes]) -> int:
        """Send a run of datagrams of `segment_size` bytes, the last maybe shorter. How many were taken; fewer: wait
        for room.
        """

    def local(self, peer: Address) -> Address:
        """The address of ours that `peer` last sent to, and that our datagrams to it come from."""

    def close(self) -> None: ...


class UdpSocket:
    """The DatagramPort that is a socket. `report(what, error)` is told of datagrams the network refused; they count
    as lost.
    """

    def __init__(self, address: Address, report: Callable[[str, OSError], None]) -> None:
        """Bind. Raises OSError when the address is in use or not ours."""
        self._report = report
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise
        self.address: Address = self._socket.getsockname()
        self._locals: dict[Address, bytes] | None = {} if self.address[0] == _ANY else None
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        # As stock does: a router may fragment our datagrams rather than drop them.
        self._accepts(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
        self.receives_batches = self._accepts(_SOL_UDP, _UDP_GRO, 1)
        self.sends_batches = self._accepts(_SOL_UDP, _UDP_SEGMENT, 0)
        if self._locals is not None:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def _accepts(self, level: int, option: int, value: int) -> bool:
        try:
            self._socket.setsockopt(level, option, value)
        except OSError:
            return False
        return True

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def receive(self, limit: int) -> list[Datagram]:
        batch: list[Datagram] = []
        receive = self._socket.recvmsg
        for _ in range(limit):
            try:
                data, ancillary, _flags, address = receive(RECEIVE_SIZE, _ANCILLARY_SIZE)
            except BlockingIOError:
                break
            except OSError as problem:  # an ICMP error about something sent before
                self._report("receive", problem)
                continue
            if ancillary:
                self._take(batch, data, ancillary, address)
            else:
                batch.append((data, address))
            if len(batch) >= limit:
                break
        return batch

    def _take(
        self, batch: list[Datagram], data: bytes, ancillary: list[tuple[int, int, bytes]], address: Address
    ) -> None:
        size = len(data)
        for level, kind, value in ancillary:
            if level == _SOL_UDP and kind == _UDP_GRO:
                (size,) = _gro.unpack(value)
            elif level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
                self._remember(address, _pktinfo.unpack(value)[1])
        if size >= len(data):
            batch.append((data, address))
        else:
            batch += [(data[start : start + size], address) for start in range(0, len(data), size)]

    def _remember(self, peer: Address, local: bytes) -> None:
        assert self._locals is not None
        if peer not in self._locals and len(self._locals) >= LOCAL_ADDRESSES:
            del self._locals[next(iter(self._locals))]
        self._locals[peer] = local

    def local(self, peer: Address) -> Address:
        known = self._locals.get(peer) if self._locals is not None else None
        return (socket.inet_ntoa(known), self.address[1]) if known else self.address

    def send(self, address: Address, segment_size: int, payloads: Sequence[bytes]) -> int:
        ancillary = []
        known = self._locals.get(address) if self._locals is not None else None
        if known:
            ancillary.append((socket.IPPROTO_IP, _IP_PKTINFO, _pktinfo.pack(0, known, bytes(4))))
        if len(payloads) == 1 or not self.sends_batches:
            return self._send_each(address, payloads, ancillary)
        try:
            self._socket.sendmsg(
                payloads, [*ancillary, (_SOL_UDP, _UDP_SEGMENT, _segment.pack(segment_size))], 0, address
            )
        except BlockingIOError:
            return 0
        except OSError as problem:
            if problem.errno not in (EIO, EINVAL, EMSGSIZE):
                self._report("send", problem)
                return len(payloads)
            # EIO: the device cannot checksum segments, and never will. The others: this path's MTU is smaller than a
            # segment.
            self.sends_batches = self.sends_batches and problem.errno != EIO
            return self._send_each(address, payloads, ancillary)
        return len(payloads)

    def _send_each(self, address: Address, payloads: Sequence[bytes], ancillary: list[tuple[int, int, bytes]]) -> int:
        for index, payload in enumerate(payloads):
            try:
                if ancillary:
                    self._socket.sendmsg((payload,), ancillary, 0, address)
                else:
                    self._socket.sendto(payload, address)
            except BlockingIOError:
                return index
            except OSError as problem:
                self._report("send", problem)
        return len(payloads)


def count_descriptors() -> int:
    """How many of the first DESCRIPTORS files are open."""
    count = 0
    for descriptor in range(DESCRIPTORS):
        with suppress(OSError):
            os.fstat(descriptor)
            count += 1
    return count
