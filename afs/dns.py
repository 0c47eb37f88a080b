"""The database servers of a cell by the DNS (RFC 5864): SRV records, and where there are none AFSDB ones.

Blocking, as the look-up of hosts' names is: for programs that cannot begin without the answer.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

RESOLVER = Path("/etc/resolv.conf")
PORT = 53
TYPE_AFSDB, TYPE_SRV, CLASS_IN = 18, 33, 1
SUBTYPE_VLDB = 1
"""Of an AFSDB record: a host with the location database (RFC 1183)."""
SERVICE = "_afs3-vlserver._udp"
VLSERVER_PORT = 7003

ANSWER_SECONDS = 2.0
"""How long one server is waited for; resolvers of the C library wait five."""
ATTEMPTS = 2
"""How often each is asked."""
MESSAGE_MAX = 4096
"""Bytes of an answer, which are asked for with EDNS: cells have a handful of servers."""
JUMPS_MAX = 64
"""Pointers in one name: a loop of them is no name."""

_HEADER = struct.Struct(">6H")
_QUESTION = struct.Struct(">2H")
_RECORD = struct.Struct(">2HIH")
_EDNS = struct.pack(">BHHIH", 0, 41, MESSAGE_MAX, 0, 0)
_RECURSION, _RESPONSE = 0x0100, 0x8000

Server = tuple[str, int]


class BadAnswer(ValueError):
    """What came is no answer to what was asked."""


@dataclass(frozen=True, slots=True)
class Target:
    """A database server by name. The lower ranks are asked first."""

    host: str
    port: int
    rank: int


def nameservers(path: Path = RESOLVER) -> list[Server]:
    """Whom this machine asks."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [(each[1], PORT) for each in words if len(each) > 1 and each[0] == "nameserver" and ":" not in each[1]]


def find_vlservers(cell: str, servers: Sequence[Server]) -> list[tuple[IPv4Address, int]]:
    """Addresses and ports of a cell's vlservers, in the order in which they should be asked; empty for none."""
    targets = [*_asked(f"{SERVICE}.{cell}", TYPE_SRV, servers)] or [*_asked(cell, TYPE_AFSDB, servers)]
    found = []
    for target in sorted(targets, key=lambda each: each.rank):
        try:
            _, _, numbers = socket.gethostbyname_ex(target.host)
        except (OSError, UnicodeError):
            continue
        found += [(IPv4Address(number), target.port) for number in numbers]
    return found


def _asked(name: str, kind: int, servers: Sequence[Server]) -> list[Target]:
    """What the first server says that answers."""
    for server in [*servers] * ATTEMPTS:
        number = secrets.randbelow(1 << 16)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.settimeout(ANSWER_SECONDS)
            try:
                channel.connect(server)
                channel.send(query(number, name, kind))
                return [*answers(channel.recv(MESSAGE_MAX), number, kind)]
            except (OSError, BadAnswer, UnicodeError):  # the last of a name that none can be
                continue
    return []


def query(number: int, name: str, kind: int) -> bytes:
    """A question about a name."""
    header = _HEADER.pack(number, _RECURSION, 1, 0, 0, 1)
    labels = b"".join(bytes([len(label)]) + label for label in name.encode("idna").strip(b".").split(b"."))
    return header + labels + b"\0" + _QUESTION.pack(kind, CLASS_IN) + _EDNS


def answers(message: bytes, number: int, kind: int) -> Iterator[Target]:
    """The records of an answer that are of that kind. Raises BadAnswer."""
    try:
        identity, flags, questions, records, _, _ = _HEADER.unpack_from(message)
        if identity != number or not flags & _RESPONSE:
            raise BadAnswer("not an answer to this question")
        offset = _HEADER.size
        for _ in range(questions):
            offset = _name(message, offset)[1] + _QUESTION.size
        for _ in range(records):
            _, offset = _name(message, offset)
            found, _, _, size = _RECORD.unpack_from(message, offset)
            offset += _RECORD.size
            target = _target(message, offset, found)
            if found == kind and target is not None:
                yield target
            offset += size
    except (struct.error, IndexError, UnicodeError) as problem:
        raise BadAnswer("the answer is cut off or malformed") from problem


def _target(message: bytes, offset: int, kind: int) -> Target | None:
    """The server a record names; None for one that names none."""
    if kind == TYPE_SRV:
        priority, _, port = struct.unpack_from(">3H", message, offset)
        host, _ = _name(message, offset + 6)
        return Target(host, port, priority) if host else None
    if kind == TYPE_AFSDB:
        (subtype,) = struct.unpack_from(">H", message, offset)
        host, _ = _name(message, offset + 2)
        return Target(host, VLSERVER_PORT, 0) if subtype == SUBTYPE_VLDB else None
    return None


def _name(message: bytes, offset: int) -> tuple[str, int]:
    """A name, which may go on elsewhere in the message, and the offset after it."""
    labels: list[str] = []
    end = None
    for _ in range(JUMPS_MAX):
        while (length := message[offset]) and length < 0xC0:
            labels.append(message[offset + 1 : offset + 1 + length].decode("ascii"))
            offset += 1 + length
        if not length:
            return ".".join(labels), offset + 1 if end is None else end
        end = offset + 2 if end is None else end
        offset = (length & 0x3F) << 8 | message[offset + 1]
    raise BadAnswer("a name goes round in circles")
