"""The IPv4 addresses of this host, asked of the Linux kernel without root (netdevice(7), SIOCGIFCONF)."""

import fcntl
import struct
from array import array
from ipaddress import IPv4Address
from socket import AF_INET, SOCK_DGRAM, socket

_SIOCGIFCONF = 0x8912
_SIOCGIFFLAGS = 0x8913
_IFF_UP = 0x1
_IFREQ_SIZE = struct.calcsize("@16sLLHBBB0L")  # the largest arm of its union is struct ifmap
_ADDRESS = slice(20, 24)  # after the name, the family and the port

_MAX_INTERFACES = 1024
"""Addresses asked for: far more than a server can register, and 40 KB."""


def own_addresses() -> list[IPv4Address]:
    """Every IPv4 address of an interface that is up, loopback included, in the kernel's order and without repeats."""
    with socket(AF_INET, SOCK_DGRAM) as inquirer:
        addresses = [address for name, address in _interfaces(inquirer) if _is_up(inquirer, name)]
    return list(dict.fromkeys(addresses))


def _interfaces(inquirer: socket) -> list[tuple[bytes, IPv4Address]]:
    room = array("B", bytes(_MAX_INTERFACES * _IFREQ_SIZE))
    location, _ = room.buffer_info()
    ifconf = fcntl.ioctl(inquirer, _SIOCGIFCONF, struct.pack("@iP", len(room), location))
    (filled,) = struct.unpack_from("@i", ifconf)
    records = [room[start : start + _IFREQ_SIZE].tobytes() for start in range(0, filled, _IFREQ_SIZE)]
    return [(record[:16].split(b"\0", 1)[0], IPv4Address(record[_ADDRESS])) for record in records]


def _is_up(inquirer: socket, name: bytes) -> bool:
    try:
        ifreq = fcntl.ioctl(inquirer, _SIOCGIFFLAGS, struct.pack("@16s24x", name))
    except OSError:  # the interface went away since it was listed
        return False
    (flags,) = struct.unpack_from("@H", ifreq, 16)
    return bool(flags & _IFF_UP)
