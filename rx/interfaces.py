"""The machine's network interfaces, as far as Rx cares: which networks are near, and how large their packets may be.

What the machine sends to an address of its own does not leave it, whatever network that address is on.
"""

from __future__ import annotations

import socket
from array import array
from fcntl import ioctl
from ipaddress import IPv4Address, IPv4Network
from struct import Struct

from rx.constants import MAXIMUM_MTU, MINIMUM_MTU
from rx.pathmtu import Near

IP_UDP_SIZE = 56
"""Bytes of a packet that stock takes to be lost to IP and UDP headers (rx_packet.h RX_IPUDP_SIZE)."""

MOST_INTERFACES = 1024
"""Addresses asked for: more than a machine that carries a fileserver has."""

LOOPBACK = IPv4Address("127.0.0.1")

_SIOCGIFCONF, _SIOCGIFMTU, _SIOCGIFNETMASK = 0x8912, 0x8921, 0x891B
_CONFIGURATION = Struct("iP")
_REQUEST = Struct("16s24s")  # struct ifreq
_MTU = Struct("16si20x")
_NAME_SIZE = 16
_ADDRESS = slice(20, 24)


def near_networks() -> tuple[Near, ...]:
    """One for each IPv4 address of the machine, and one that is it alone; none where the system cannot tell."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            requests = _requests(asking)
            networks = [_near(asking, request) for request in requests]
        except OSError:
            return ()
    addresses = [IPv4Address(request[_ADDRESS]) for request in requests]
    within = next((near.mtu for near in networks if LOOPBACK in near.network), None)
    own = [] if within is None else [Near(IPv4Network(address), within) for address in addresses]
    return (*networks, *own)


def _requests(asking: socket.socket) -> list[bytes]:
    room = array("B", bytes(MOST_INTERFACES * _REQUEST.size))
    address, _ = room.buffer_info()
    answer = ioctl(asking, _SIOCGIFCONF, _CONFIGURATION.pack(len(room), address))
    size, _ = _CONFIGURATION.unpack(answer)
    taken = room.tobytes()
    return [taken[start : start + _REQUEST.size] for start in range(0, size, _REQUEST.size)]


def _near(asking: socket.socket, request: bytes) -> Near:
    name = request[:_NAME_SIZE]
    _, mtu = _MTU.unpack(ioctl(asking, _SIOCGIFMTU, name + bytes(24)))
    mask = ioctl(asking, _SIOCGIFNETMASK, request)[_ADDRESS]
    network = IPv4Network((request[_ADDRESS], IPv4Address(mask).exploded), strict=False)
    return Near(network, min(max(mtu - IP_UDP_SIZE, MINIMUM_MTU), MAXIMUM_MTU))
