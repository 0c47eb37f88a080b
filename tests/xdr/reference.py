"""XDR written a second time, slowly and with nothing shared: one word at a time through int.to_bytes, for comparison.

A type is described by a tuple, for instance ("array", ("uint", 32), 50) or ("struct", (("Volume", ("uint", 32)), ...)).
"""

import random
from typing import Any

Type = tuple[Any, ...]


def encode(kind: Type, value: Any) -> bytes:
    """The wire form of a plain value: ints, bytes, lists, and dicts for structs."""
    match kind:
        case ("uint" | "int", bits):
            return int(value).to_bytes(max(int(bits), 32) // 8, "big", signed=kind[0] == "int")
        case ("bool",):
            return (1 if value else 0).to_bytes(4, "big")
        case ("fixed_opaque", size):
            return bytes(value) + bytes(-size % 4)
        case ("opaque", _):
            return len(value).to_bytes(4, "big") + bytes(value) + bytes(-len(value) % 4)
        case ("chars", count):
            padded = value + bytes(count - len(value))
            return b"".join((byte - 256 if byte > 127 else byte).to_bytes(4, "big", signed=True) for byte in padded)
        case ("array", element, _):
            return len(value).to_bytes(4, "big") + b"".join(encode(element, each) for each in value)
        case ("vector", element, _):
            return b"".join(encode(element, each) for each in value)
        case ("optional", target):
            return bytes(4) if value is None else b"\0\0\0\1" + encode(target, value)
        case ("struct", fields):
            return b"".join(encode(field, value[name]) for name, field in fields)
    raise AssertionError(kind)


def some_value(kind: Type, random: random.Random) -> Any:
    """A value of the type, edges more often than chance would have them."""
    match kind:
        case ("uint", bits):
            return random.choice((0, 1, (1 << bits) - 1, random.getrandbits(bits)))
        case ("int", bits):
            return random.choice((0, -1, -(1 << bits - 1), (1 << bits - 1) - 1, random.getrandbits(bits - 1)))
        case ("bool",):
            return random.random() < 0.5
        case ("fixed_opaque", size):
            return random.randbytes(size)
        case ("opaque", maximum):
            return random.randbytes(random.choice((0, maximum, random.randint(0, maximum))))
        case ("chars", count):
            return random.randbytes(random.randint(0, count)).replace(b"\0", b"\1")
        case ("array", element, maximum):
            return tuple(some_value(element, random) for _ in range(random.choice((0, 1, maximum))))
        case ("vector", element, count):
            return tuple(some_value(element, random) for _ in range(count))
        case ("optional", target):
            return some_value(target, random) if random.random() < 0.7 else None
        case ("struct", fields):
            return {name: some_value(field, random) for name, field in fields}
    raise AssertionError(kind)
