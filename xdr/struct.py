"""`@struct`: a slotted dataclass whose annotations are its wire layout.

Neighbouring fields of fixed size fuse into one `struct.Struct`, through nested structs and fixed arrays: uvldbentry,
1048 bytes in 19 fields, is packed by a single call. What moves between attributes and that call is one generated
expression each way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform, get_type_hints

from xdr.codec import Buffer, Codec, Fixed, codec
from xdr.composite import PointerCodec

T = TypeVar("T")


class Struct:
    """What `@struct` adds to a class. Inherit it where a type checker shall see these methods; the decorator works
    without.
    """

    __slots__ = ()
    __xdr__: ClassVar[Codec[Any]]

    def to_bytes(self) -> bytes:
        """The wire form; XdrError when a field does not fit its type."""
        return self.__xdr__.encode(self)

    @classmethod
    def from_bytes(cls, data: Buffer) -> Self:
        """The record that `data` is exactly; XdrError otherwise."""
        value: Self = cls.__xdr__.decode(data)
        return value


@dataclass_transform()
def struct(cls: type[T]) -> type[T]:
    """Make `cls` a slotted dataclass with a codec (`__xdr__`), `to_bytes` and `from_bytes`."""
    record: Any = dataclass(slots=True)(cls)
    for name in ("to_bytes", "from_bytes"):
        if not hasattr(record, name):
            setattr(record, name, Struct.__dict__[name])
    hints = get_type_hints(record, localns={record.__name__: record}, include_extras=True)
    named = [(field.name, codec(hints[field.name])) for field in fields(record)]
    record.__xdr__ = _record(named, record)
    result: type[T] = record
    return result


def sequence(codecs: Sequence[Codec[Any]]) -> Codec[Any] | None:
    """The codec of several values one after another, a tuple in Python; None for no values at all."""
    return _fused([(f"[{index}]", each) for index, each in enumerate(codecs)], None) if codecs else None


def _record(named: Sequence[tuple[str, Codec[Any]]], cls: type) -> Codec[Any]:
    fused = _fused([(f".{name}", each) for name, each in named], cls)
    if any(isinstance(each, PointerCodec) and each.target is cls for _, each in named[:-1]):
        raise TypeError(
            f"{cls.__name__} may point to itself in its last field only: a list is followed in a loop, a tree is not"
        )
    name, last = named[-1]
    if isinstance(last, PointerCodec) and last.target is cls:
        head = _fused([(f".{each}", one) for each, one in named[:-1]], None)
        fused.link = (name, head)  # type: ignore[attr-defined]
    return fused


def _fused(named: Sequence[tuple[str, Codec[Any]]], make: type | None) -> Codec[Any]:
    """The codec of fields reached by `accessor` suffixes (".name" or "[0]"), joined by `make` or into a tuple."""
    if not named:
        raise TypeError("a struct needs a field")
    runs: list[list[tuple[str, Codec[Any]]]] = []
    for accessor, each in named:
        if runs and isinstance(each, Fixed) and isinstance(runs[-1][-1][1], Fixed):
            runs[-1].append((accessor, each))
        else:
            runs.append([(accessor, each)])
    if len(runs) == 1 and isinstance(runs[0][0][1], Fixed):
        return _run(runs[0], make)
    return _Mixed([_part(run) for run in runs], make)


def _run(run: Sequence[tuple[str, Any]], make: Callable[..., Any] | None) -> Fixed:
    """One `Fixed` for neighbouring fixed fields. `make` takes the fields' values; None leaves them a tuple."""
    names: dict[str, Any] = {"make": make}
    splits, joins, start = [], [], 0
    for index, (accessor, each) in enumerate(run):
        end = start + each.item_count
        if each.plain:
            splits.append(f"value{accessor}")
            joins.append(f"items[{start}]")
        else:
            names[f"split{index}"], names[f"join{index}"] = each.split, each.join
            splits.append(f"*split{index}(value{accessor})")
            joins.append(f"join{index}(items[{start}:{end}])")
        start = end
    joined = "*items" if all(each.plain for _, each in run) else ", ".join(joins)
    split = eval(f"lambda value: ({', '.join(splits)},)", names)
    join = eval(f"lambda items: make({joined})" if make else f"lambda items: ({joined},)", names)
    return Fixed("".join(each.format for _, each in run), split, join)


def _part(run: Sequence[tuple[str, Codec[Any]]]) -> tuple[Callable[[Any], Any], Codec[Any], bool]:
    """(what to pack of a record, how, whether unpacking gives a tuple of several fields)."""
    accessor, first = run[0]
    if isinstance(first, Fixed):
        return (lambda value: value), _run(run, None), True
    return eval(f"lambda value: value{accessor}"), first, False


class _Mixed(Codec[Any]):
    """A record with fields that vary in size: a few parts in order, each a run of fixed fields or one other field."""

    def __init__(self, parts: Sequence[tuple[Callable[[Any], Any], Codec[Any], bool]], make: type | None) -> None:
        self.parts = list(parts)
        self.make = make
        self.minimum = sum(part.minimum for _, part, _ in parts)

    def pack(self, value: Any, out: bytearray) -> None:
        for pick, part, _ in self.parts:
            part.pack(pick(value), out)

    def unpack(self, data: Buffer, offset: int) -> tuple[Any, int]:
        values: list[Any] = []
        for _, part, several in self.parts:
            value, offset = part.unpack(data, offset)
            if several:
                values += value
            else:
                values.append(value)
        return (self.make(*values) if self.make else tuple(values)), offset
