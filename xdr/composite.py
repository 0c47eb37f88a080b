"""Codecs made of others: arrays of either kind, pointers and the linked lists they make, unions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct, error
from typing import Any, get_args, get_origin

from xdr.codec import UNBOUNDED, Buffer, Codec, Fixed, Shape, Truncated, XdrError, codec, read_length

_word = Struct(">I")


class Array(Shape):
    """`T x<maximum>`: a count word and that many elements, a tuple in Python. None: bounded by the bytes present
    alone.
    """

    def __init__(self, maximum: int | None = None) -> None:
        self.maximum = UNBOUNDED if maximum is None else maximum

    def bind(self, annotated: Any) -> Codec[Any]:
        element = _element(annotated)
        if isinstance(element, Fixed):
            return _FixedElements(element, self.maximum)
        return _Elements(element, self.maximum)


class FixedArray(Shape):
    """`T x[count]`: exactly that many elements and no count word, a tuple in Python."""

    def __init__(self, count: int) -> None:
        self.count = count

    def bind(self, annotated: Any) -> Codec[Any]:
        element = _element(annotated)
        return _vector(element, self.count) if isinstance(element, Fixed) else _Vector(element, self.count)


def _element(annotated: Any) -> Codec[Any]:
    """The element codec of `tuple[T, ...]` (or another homogeneous sequence of T)."""
    arguments = get_args(annotated)
    if get_origin(annotated) is not tuple or len(arguments) != 2 or arguments[1] is not Ellipsis:
        raise TypeError(f"an array is annotated tuple[T, ...], not {annotated!r}")
    return codec(arguments[0])


def _vector(element: Fixed, count: int) -> Fixed:
    split_one, join_one, width = element.split, element.join, element.item_count

    def check(values: Sequence[Any]) -> Sequence[Any]:
        if len(values) != count:
            raise XdrError(f"{len(values)} elements where exactly {count} belong")
        return values

    def split(values: Sequence[Any]) -> list[Any]:
        return [item for value in check(values) for item in split_one(value)]

    def join(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple([join_one(items[start : start + width]) for start in range(0, count * width, width)])

    if element.plain and len(element.format) == 1:
        return Fixed(f"{count}{element.format}", check, tuple)
    return Fixed(element.format * count, split, join)


class _Vector(Codec[tuple[Any, ...]]):
    """A `FixedArray` whose elements are not `Fixed`."""

    def __init__(self, element: Codec[Any], count: int) -> None:
        self.element = element
        self.count = count
        self.minimum = count * element.minimum

    def pack(self, value: tuple[Any, ...], out: bytearray) -> None:
        if len(value) != self.count:
            raise XdrError(f"{len(value)} elements where exactly {self.count} belong")
        for each in value:
            self.element.pack(each, out)

    def unpack(self, data: Buffer, offset: int) -> tuple[tuple[Any, ...], int]:
        values = []
        for _ in range(self.count):
            value, offset = self.element.unpack(data, offset)
            values.append(value)
        return tuple(values), offset


class _Elements(Codec[tuple[Any, ...]]):
    """A counted array of elements that vary in size."""

    minimum = 4

    def __init__(self, element: Codec[Any], maximum: int) -> None:
        self.element = element
        self.maximum = maximum

    def pack(self, value: Any, out: bytearray) -> None:
        if len(value) > self.maximum:
            raise XdrError(f"{len(value)} elements where at most {self.maximum} fit")
        out += _word.pack(len(value))
        for each in value:
            self.element.pack(each, out)

    def unpack(self, data: Buffer, offset: int) -> tuple[tuple[Any, ...], int]:
        count = self._count(data, offset)
        offset += 4
        values = []
        for _ in range(count):
            value, offset = self.element.unpack(data, offset)
            values.append(value)
        return tuple(values), offset

    def _count(self, data: Buffer, offset: int) -> int:
        """The count at `offset`, refused unless that many of the smallest elements are there: nothing was allocated
        yet.
        """
        count = read_length(data, offset, self.maximum)
        if count * self.element.minimum > len(data) - offset - 4:
            raise Truncated(f"{count} elements claimed at {offset}, {len(data) - offset - 4} bytes there")
        return count


class _FixedElements(_Elements):
    """A counted array of elements of fixed size, which needs no look at each element's bounds."""

    element: Fixed

    def pack(self, value: Any, out: bytearray) -> None:
        element = self.element
        if not (element.plain and len(element.format) == 1):
            super().pack(value, out)
            return
        if len(value) > self.maximum:
            raise XdrError(f"{len(value)} elements where at most {self.maximum} fit")
        try:
            out += Struct(f">I{len(value)}{element.format}").pack(len(value), *value)
        except error as problem:
            raise XdrError(str(problem)) from None

    def unpack(self, data: Buffer, offset: int) -> tuple[tuple[Any, ...], int]:
        element, count = self.element, self._count(data, offset)
        start = offset + 4
        end = start + count * element.size
        if element.plain and len(element.format) == 1:
            return Struct(f">{count}{element.format}").unpack_from(data, start), end
        join = element.join
        return tuple([join(items) for items in element.struct.iter_unpack(data[start:end])]), end


class Pointer(Shape):
    """rxgen's `T *x`, annotating `T | None`: a word saying whether a T follows, then the T.

    Where T's last field is a pointer to T again (a linked list such as vldblist) the links are followed in a loop, so
    that a long list needs no deep stack.
    """

    def bind(self, annotated: Any) -> Codec[Any]:
        targets = [argument for argument in get_args(annotated) if argument is not type(None)]
        if len(targets) != 1 or len(get_args(annotated)) != 2:
            raise TypeError(f"a Pointer annotates T | None, not {annotated!r}")
        return PointerCodec(targets[0])


class PointerCodec(Codec[Any]):
    """See `Pointer`. The target is looked up at use, since a list's node is not complete while its own fields are
    read.
    """

    minimum = 4

    def __init__(self, target: type) -> None:
        self.target = target

    def pack(self, value: Any, out: bytearray) -> None:
        link = self._link()
        while value is not None:
            out += b"\0\0\0\1"
            if link is None:
                codec(self.target).pack(value, out)
                return
            name, head = link
            head.pack(value, out)
            value = getattr(value, name)
        out += bytes(4)

    def unpack(self, data: Buffer, offset: int) -> tuple[Any, int]:
        link = self._link()
        if link is None:
            there = read_length(data, offset, UNBOUNDED)
            return codec(self.target).unpack(data, offset + 4) if there else (None, offset + 4)
        _, head = link
        heads = []
        while read_length(data, offset, UNBOUNDED):
            values, offset = head.unpack(data, offset + 4)
            heads.append(values)
        node = None
        for values in reversed(heads):
            node = self.target(*values, node)
        return node, offset + 4

    def _link(self) -> tuple[str, Codec[Any]] | None:
        """When the target is a node of a linked list: the name of its link, and the codec of the fields before it."""
        link: tuple[str, Codec[Any]] | None = getattr(codec(self.target), "link", None)
        return link


class Union(Shape):
    """A discriminated union, annotating `A | B`: a word, then the arm it names. The value's class names the word when
    packing. A value of the class `default` stands for every other word, which is its own first field.
    """

    def __init__(self, arms: Mapping[int, type], default: type | None = None) -> None:
        self.arms = dict(arms)
        self.default = default

    def bind(self, annotated: Any) -> Codec[Any]:
        if set(get_args(annotated)) != {*self.arms.values(), *([self.default] if self.default else [])}:
            raise TypeError(f"the arms of a Union are those of its type, not {annotated!r}")
        return _UnionCodec(self.arms, self.default)


class _UnionCodec(Codec[Any]):
    def __init__(self, arms: Mapping[int, type], default: type | None) -> None:
        self.arms = {discriminant & UNBOUNDED: codec(arm) for discriminant, arm in arms.items()}
        self.discriminants = {arm: discriminant & UNBOUNDED for discriminant, arm in arms.items()}
        self.default = default
        self.default_codec = codec(default) if default else None
        self.minimum = 4 + min(arm.minimum for arm in self.arms.values())
        if self.default_codec is not None:
            self.minimum = min(self.minimum, self.default_codec.minimum)

    def pack(self, value: Any, out: bytearray) -> None:
        discriminant = self.discriminants.get(type(value))
        if discriminant is None and self.default_codec is not None and type(value) is self.default:
            start = len(out)
            self.default_codec.pack(value, out)
            if read_length(out, start, UNBOUNDED) in self.arms:
                raise XdrError(f"{type(value).__name__} has the word of another arm of the union")
            return
        if discriminant is None:
            raise XdrError(f"{type(value).__name__} is no arm of the union")
        out += _word.pack(discriminant)
        self.arms[discriminant].pack(value, out)

    def unpack(self, data: Buffer, offset: int) -> tuple[Any, int]:
        discriminant = read_length(data, offset, UNBOUNDED)
        arm = self.arms.get(discriminant)
        if arm is None and self.default_codec is not None:
            return self.default_codec.unpack(data, offset)
        if arm is None:
            raise XdrError(f"no arm of the union is {discriminant}")
        return arm.unpack(data, offset + 4)
