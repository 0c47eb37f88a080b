"""The fast path of a construct declaration: `fast(Struct(...))` gives the equal `struct.Struct` and a slotted record.

It understands what fixed layouts are made of (integers, Bytes, Array, Const, Padding, nested Struct) in one byte
order, and raises TypeError at import for anything else. construct stays the declaration;
`tests.xdr.layouts` shows both equal.
"""

from __future__ import annotations

import struct
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import construct

from xdr.codec import Buffer, Truncated, XdrError


class Layout:
    """A fixed layout. `declaration` is the construct it was derived from, `record` the named tuple its values are."""

    __slots__ = ("_constants", "_join", "_split", "_struct", "declaration", "record", "size")

    def __init__(self, declaration: Any, name: str = "Record") -> None:
        part = _record(declaration, name)
        self.declaration = declaration
        self.record: Any = part.record
        self._struct = struct.Struct(_order(declaration) + part.form)
        self._split, self._join, self._constants = part.split, part.join, part.constants
        self.size = self._struct.size

    def unpack(self, data: Buffer, offset: int = 0) -> Any:
        """The record at `offset`. Raises Truncated, or XdrError where a constant is another."""
        try:
            items = self._struct.unpack_from(data, offset)
        except struct.error:
            raise Truncated(f"{self.size} bytes needed at {offset}, {len(data) - offset} there") from None
        return self._join(items)

    def pack(self, record: Any = None, **fields: Any) -> bytes:
        """The bytes of a record, or of the fields given (constants need not be). XdrError when something does not
        fit.
        """
        if record is None:
            record = self.record(**(self._constants | fields))
        try:
            return self._struct.pack(*self._split(record))
        except struct.error as problem:
            raise XdrError(str(problem)) from None


def fast(declaration: Any, name: str = "Record") -> Layout:
    """The layout equal to a construct Struct of fixed size; TypeError when there is none. `name` is the record's."""
    return Layout(declaration, name)


class _Part:
    """A piece of a layout: a struct format, its number of items, and how a value becomes the items and back.

    Without `split` the value is the one item to pack; without `join` it is the one item unpacked.
    """

    def __init__(
        self, form: str, count: int, split: Callable[[Any], Any] | None = None, join: Callable[[Any], Any] | None = None
    ) -> None:
        self.form = form
        self.count = count
        self.split: Any = split
        self.join: Any = join
        self.record: Any = None
        self.constants: dict[str, Any] = {}
        self.constant: Any = None


def _part(declaration: Any) -> _Part:
    if isinstance(declaration, construct.FormatField):
        form = declaration.fmtstr[1:]
        if form not in "BbHhLlQq":
            raise TypeError(f"{declaration!r} is no integer")
        return _Part(form, 1)
    if isinstance(declaration, construct.Bytes):
        return _bytes(_fixed_number(declaration.length, declaration))
    if isinstance(declaration, construct.Array):
        return _array(_part(declaration.subcon), _fixed_number(declaration.count, declaration))
    if isinstance(declaration, construct.Const):
        return _constant(_part(declaration.subcon), declaration.value)
    if _is_padding(declaration):
        return _Part(f"{_fixed_number(declaration.length, declaration)}x", 0)
    if isinstance(declaration, construct.Struct):
        return _record(declaration, "Record")
    raise TypeError(f"{declaration!r} is nothing a fixed layout is made of")


def _is_padding(declaration: Any) -> bool:
    return isinstance(declaration, construct.Padded) and declaration.subcon is construct.Pass


def _fixed_number(number: Any, declaration: Any) -> int:
    if not isinstance(number, int):
        raise TypeError(f"{declaration!r} is not of fixed size")
    return number


def _only(items: tuple[Any, ...]) -> Any:
    return items[0]


def _bytes(size: int) -> _Part:
    def split(value: bytes) -> tuple[bytes]:
        if len(value) != size:
            raise XdrError(f"{len(value)} bytes where exactly {size} belong")
        return (value,)

    return _Part(f"{size}s", 1, split)


def _array(element: _Part, count: int) -> _Part:
    width = element.count

    def check(values: Any) -> Any:
        if len(values) != count:
            raise XdrError(f"{len(values)} elements where exactly {count} belong")
        return values

    if not width:
        raise TypeError("an array of padding has no values")
    if element.split is None:
        return _Part(f"{count}{element.form}", count, check, tuple)
    join = element.join or _only
    return _Part(
        element.form * count,
        width * count,
        lambda values: [item for value in check(values) for item in element.split(value)],
        lambda items: tuple([join(items[at : at + width]) for at in range(0, width * count, width)]),
    )


def _constant(part: _Part, constant: Any) -> _Part:
    items = tuple(part.split(constant)) if part.split else (constant,)

    def split(value: Any) -> tuple[Any, ...]:
        if value not in (None, constant):
            raise XdrError(f"{value!r} where {constant!r} belongs")
        return items

    def join(found: tuple[Any, ...]) -> Any:
        if found != items:
            raise XdrError(f"{found!r} where the constant {items!r} belongs")
        return constant

    result = _Part(part.form, part.count, split, join)
    result.constant = constant
    return result


def _record(declaration: Any, name: str) -> _Part:
    """The part of a Struct: one generated expression each way, over its named fields. Only padding and constants lack
    names.
    """
    if not isinstance(declaration, construct.Struct):
        raise TypeError(f"{declaration!r} is no Struct")
    scope: dict[str, Any] = {}
    names, forms, splits, joins, checks, start = [], [], [], [], [], 0
    constants = {}
    for index, each in enumerate(declaration.subcons):
        named = isinstance(each, construct.Renamed)
        part = _part(each.subcon if named else each)
        end = start + part.count
        scope[f"split{index}"], scope[f"join{index}"] = part.split, part.join
        joined = f"join{index}(items[{start}:{end}])" if part.join else f"items[{start}]"
        if named:
            names.append(each.name)
            splits.append(f"*split{index}(value.{each.name})" if part.split else f"value.{each.name}")
            joins.append(joined)
        elif part.constant is not None:
            splits.append(f"*split{index}(None)")
            checks.append(joined)
        elif part.count:
            raise TypeError(f"{each!r} has no name")
        if named and part.constant is not None:
            constants[each.name] = part.constant
        forms.append(part.form)
        start = end
    if not names:
        raise TypeError("a layout needs a named field")
    record: Any = namedtuple(name, names)  # type: ignore[misc]  # noqa: PYI024  fields known at run time only
    scope["record"], scope["make"] = record, record._make
    plain = start == len(names) and not any(scope[f"join{index}"] for index in range(len(declaration.subcons)))
    made = "make(items)" if plain else f"record({', '.join(joins)})"
    if checks:
        made = f"({', '.join(checks)}, {made})[-1]"
    split, join = eval(f"lambda value: ({', '.join(splits)},)", scope), eval(f"lambda items: {made}", scope)
    result = _Part("".join(forms), start, split, join)
    result.record, result.constants = record, constants
    return result


def _order(declaration: Any) -> str:
    """The one byte order of all integers in it; ">" when no integer has more than a byte."""
    orders = {_MACHINE if order == "=" else order for order in _orders(declaration)}
    if len(orders) > 1:
        raise TypeError("a layout has one byte order")
    return orders.pop() if orders else ">"


_MACHINE = "<" if sys.byteorder == "little" else ">"


def _orders(declaration: Any) -> Iterator[str]:
    if isinstance(declaration, construct.FormatField):
        if declaration.length > 1:
            yield declaration.fmtstr[0]
        return
    if isinstance(declaration, construct.Struct):
        for each in declaration.subcons:
            yield from _orders(each)
    elif hasattr(declaration, "subcon"):
        yield from _orders(declaration.subcon)
