"""What one endpoint allows itself and others: every bound with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from rx.constants import MAX_ACKS, MAXIMUM_MTU


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one Endpoint. The defaults suit a server of a few thousand clients."""

    server_connections: int = 65_536
    """In all: about 100 MB of Python objects at the worst."""

    server_connections_per_host: int = 16_384
    """From one IP address: a quarter of all, so that one host cannot shut the others out."""

    server_calls: int = 8_192
    """Calls of all clients at a time, arrived or waiting to: more than stock's largest thread pool (16 384 / 2). Over
    it: BUSY.
    """

    server_calls_per_host: int = 2_048
    """The same from one IP address: a quarter of all."""

    buffered_bytes: int = 256 << 20
    """Received and not yet read, over all calls. Near it windows shrink; over it data packets are dropped, to be sent
    again.
    """

    buffered_bytes_per_host: int = 64 << 20
    """The same from one IP address: a quarter of all, so that one host that sends and is not read leaves room to
    the others.
    """

    unproven_connections: int = 4_096
    """In all, that were challenged and have yet to answer. Beyond it nothing is kept of a client until it has answered:
    16 packets of each are 90 MB at the worst, well below `buffered_bytes`.
    """

    unproven_connections_per_host: int = 256
    """The same from one IP address: what some hundred users behind one address begin at a time."""

    early_packets: int = 16
    """Packets kept of one connection until its client has answered the challenge: one initial window."""

    window: int = MAX_ACKS
    """Our receive window and largest send window, in packets. Stock peers clamp what we advertise to their own 32."""

    send_buffer: int = 256 << 10
    """Bytes a call takes from its writer before `writable` is zero: what keeps a window of 180 packets full."""

    packet_size: int = MAXIMUM_MTU
    """Largest datagram sent, Rx header included, however much more the peer and the network would take."""

    receive_size: int = MAXIMUM_MTU
    """Largest datagram advertised to peers as what we take; the network between may set less."""

    window_bytes: int = 1 << 20
    """Of the largest datagrams that a receive window admits: a quarter of the socket's buffer. Twice as much loses
    packets on loopback, and half of it is 10 MB/s at 50 ms.
    """

    jumbo_packets: int = 1
    """Packets per jumbogram advertised to peers. 1, as stock: jumbograms travel as IP fragments. We split them all the
    same.
    """

    abort_threshold: int = 0
    """Equal aborts in a row, on a channel or of a connection, that leave at once; further ones wait. 0: no limit, as
    stock servers have it, but for the fileserver (10).
    """

    jumbograms: bool = False
    """Send jumbograms to peers that take them. They save sends and cost IP fragments, so they pay where the socket
    cannot send runs by itself; there the driver turns this on.
    """

    segments: int = 64
    """Datagrams in one run: UDP_MAX_SEGMENTS of Linux before 6.9."""

    run_bytes: int = 65_000
    """Bytes in one run: what fits one UDP send (65507) with room for IP options."""

    connection_idle_seconds: float = 700.0
    """A server connection unused this long is forgotten, as stock does (rx_idleConnectionTime)."""

    dead_connection_seconds: float = 30.0
    """A server connection that failed is kept this long to say so to what its client still sends. Less, and a delayed
    duplicate of a call it ran could run again.
    """

    eviction_idle_seconds: float = 30.0
    """At the limit of connections one unused this long makes room. Less, and a delayed duplicate could run a call
    twice.
    """


CONGESTION_START = 16
"""Packets sent before the first acknowledgement: the window every Rx peer starts with, RFC 6928's ten and a little."""

EVICTION_SCAN = 32
"""Connections looked at to find one to evict: a bound on the work one packet of a flood can cause."""

STRAY_ANSWERS = 64
"""Answers to strangers that wait for one flush, per address: one batch of received datagrams. The rest goes
unanswered.
"""
