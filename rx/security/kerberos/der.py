"""The part of ASN.1's DER that Kerberos tickets are written in: definite lengths, explicit context tags.

Every length is checked against the bytes present before anything is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

INTEGER, BIT_STRING, OCTET_STRING = 0x02, 0x03, 0x04
GENERALIZED_TIME, GENERAL_STRING, SEQUENCE = 0x18, 0x1B, 0x30
APPLICATION, CONTEXT = 0x60, 0xA0

MAX_LENGTH_BYTES = 3
"""Of a length in the long form: 16 MiB, far beyond any ticket."""
MAX_INTEGER_BYTES = 5
"""A 32-bit number with a zero byte before it; Kerberos's integers are no larger."""


class DerError(Exception):
    """The bytes are not DER, or not of the type that belongs here."""


def read(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the element that `data` begins with, which must have this tag; and what follows it."""
    found, content, rest = _element(data)
    if found != tag:
        raise DerError(f"tag {found:#x} where {tag:#x} belongs")
    return content, rest


def whole(data: bytes, tag: int) -> bytes:
    """The content of the element that `data` is."""
    content, rest = read(data, tag)
    if rest:
        raise DerError(f"{len(rest)} bytes after the end")
    return content


def fields(sequence: bytes) -> dict[int, bytes]:
    """The elements in a SEQUENCE of explicitly tagged fields, by field number. They must be in order."""
    found: dict[int, bytes] = {}
    for tag, content in _elements(sequence):
        number = tag - CONTEXT
        if not 0 <= number < 0x1F or (found and number <= max(found)):
            raise DerError(f"tag {tag:#x} is no field, or out of order")
        found[number] = content
    return found


def field(of: dict[int, bytes], number: int, tag: int) -> bytes:
    """The content of a field that must be there."""
    if number not in of:
        raise DerError(f"field {number} is missing")
    return whole(of[number], tag)


def integer(content: bytes) -> int:
    """The value of an INTEGER."""
    if not 1 <= len(content) <= MAX_INTEGER_BYTES:
        raise DerError(f"an integer of {len(content)} bytes")
    return int.from_bytes(content, "big", signed=True)


def strings(sequence: bytes) -> list[bytes]:
    """The GeneralStrings in a SEQUENCE OF them."""
    found = []
    for tag, content in _elements(sequence):
        if tag != GENERAL_STRING:
            raise DerError(f"tag {tag:#x} where a GeneralString belongs")
        found.append(content)
    return found


def bits(content: bytes) -> int:
    """The first 32 bits of a BIT STRING, bit 0 the highest."""
    if not content or content[0] > 7:
        raise DerError("an impossible bit string")
    return int.from_bytes(content[1:5].ljust(4, b"\0"), "big")


def time(content: bytes) -> int:
    """The Unix time of a KerberosTime, YYYYMMDDhhmmssZ."""
    if len(content) != 15 or not content[:14].isdigit() or content[14:] != b"Z":
        raise DerError("an impossible time")
    text = content.decode("ascii")
    try:
        return int(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise DerError("an impossible time") from None


def element(tag: int, content: bytes) -> bytes:
    """An element."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(values: dict[int, bytes]) -> bytes:
    """A SEQUENCE of explicitly tagged fields: number -> element."""
    return element(SEQUENCE, b"".join(element(CONTEXT | number, values[number]) for number in sorted(values)))


def encode_integer(value: int) -> bytes:
    """An INTEGER."""
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def encode_time(seconds: int) -> bytes:
    """A KerberosTime."""
    return element(GENERALIZED_TIME, datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%SZ").encode())


def encode_bits(value: int) -> bytes:
    """A BIT STRING of 32 bits."""
    return element(BIT_STRING, b"\0" + value.to_bytes(4, "big"))


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        tag, content, data = _element(data)
        yield tag, content


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """(tag, content, rest)."""
    if len(data) < 2:
        raise DerError("cut short")
    tag, size, start = data[0], data[1], 2
    if tag & 0x1F == 0x1F:
        raise DerError("a tag of several bytes")
    if size >= 0x80:
        count = size & 0x7F
        start += count
        if not 1 <= count <= MAX_LENGTH_BYTES or len(data) < start:
            raise DerError("an impossible length")
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        raise DerError("cut short")
    return tag, data[start : start + size], data[start + size :]
