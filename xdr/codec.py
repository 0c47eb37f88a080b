"""Codecs: how one annotated Python type travels in XDR.

`codec(annotation)` finds the codec of an annotation. Every codec of fixed size is a `Fixed`: a `struct` format and
two functions between the value and the items of that format, so that neighbours fuse into one `struct.Struct` (see
`xdr.struct`). The rest are small classes. Decoding never allocates for a count before the bytes that must follow it
are known to be there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct, error
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin

Buffer = bytes | bytearray | memoryview

T = TypeVar("T")

UNBOUNDED = 0xFFFF_FFFF
"""The largest count an XDR length word can state: what `<>` means."""

_word = Struct(">I")


class XdrError(ValueError):
    """The bytes are not what the type says, or the value does not fit the type."""


class Truncated(XdrError):
    """The bytes end before the value does; with more of them it might decode."""


class Codec(Generic[T]):
    """Packs and unpacks values of one type. `minimum` is the smallest number of bytes a value takes, never 0."""

    minimum: int

    def pack(self, value: T, out: bytearray) -> None:
        """Append the wire form of `value` to `out`; XdrError when it does not fit."""
        raise NotImplementedError

    def unpack(self, data: Buffer, offset: int) -> tuple[T, int]:
        """Read a value at `offset`: the value and the offset after it. Truncated or XdrError otherwise."""
        raise NotImplementedError

    def encode(self, value: T) -> bytes:
        """The wire form of `value` alone."""
        out = bytearray()
        self.pack(value, out)
        return bytes(out)

    def decode(self, data: Buffer) -> T:
        """The value that `data` is exactly; XdrError when bytes are left over."""
        value, end = self.unpack(data, 0)
        if end != len(data):
            raise XdrError(f"{len(data) - end} bytes left over")
        return value


class Shape:
    """An annotation whose codec also depends on the type it annotates, such as the element type of an array."""

    def bind(self, annotated: Any) -> Codec[Any]:
        """The codec of `annotated` under this shape; TypeError when they do not go together."""
        raise NotImplementedError


def codec(annotation: Any) -> Codec[Any]:
    """The codec of an annotation: an `Annotated[...]` of this module, or a `@struct` class. TypeError for anything
    else.
    """
    if get_origin(annotation) is Annotated:
        annotated, *metadata = get_args(annotation)
        for item in reversed(metadata):
            if isinstance(item, Codec):
                return item
            if isinstance(item, Shape):
                return item.bind(annotated)
    own = getattr(annotation, "__xdr__", None)
    if isinstance(own, Codec):
        return own
    raise TypeError(f"{annotation!r} has no wire form; annotate it with a codec")


def _only(items: Sequence[Any]) -> Any:
    return items[0]


def _alone(value: Any) -> tuple[Any]:
    return (value,)


class Fixed(Codec[Any]):
    """A type of fixed size: a big-endian `struct` format, and how its value splits into the format's items and joins
    again.

    This is also the hook for types of one's own: `Annotated[uuid.UUID, Fixed("44s", split, join)]`, where
    `split(value)` gives a sequence of items (one `bytes` here) and `join(items)` takes a tuple of them. Without them
    the value is the single item. `split` may raise XdrError (or the `struct` module's own error) for a value that
    does not fit.
    """

    def __init__(
        self,
        form: str,
        split: Callable[[Any], Sequence[Any]] | None = None,
        join: Callable[[Any], Any] | None = None,
    ) -> None:
        self.format = form
        self.struct = Struct(">" + form)
        self.size = self.minimum = self.struct.size
        self.item_count = len(self.struct.unpack(bytes(self.size)))
        self.plain = split is None and join is None
        """The value is the format's single item: nothing to convert."""
        if self.size == 0 or (self.item_count != 1 and self.plain):
            raise TypeError(f"format {form!r} needs a size, and a split and join unless it is one item")
        self.split = split or _alone
        self.join = join or _only

    def pack(self, value: Any, out: bytearray) -> None:
        try:
            out += self.struct.pack(*self.split(value))
        except error as problem:
            raise XdrError(f"{value!r} does not fit: {problem}") from None

    def unpack(self, data: Buffer, offset: int) -> tuple[Any, int]:
        try:
            items = self.struct.unpack_from(data, offset)
        except error:
            raise Truncated(f"{self.size} bytes needed at {offset}, {len(data) - offset} there") from None
        return self.join(items), offset + self.size


def _narrow(bits: int, signed: bool) -> Fixed:
    """An integer narrower than the word it travels in. As C does, decoding looks at the low `bits` only."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    mask, sign = (1 << bits) - 1, low & ((1 << bits) - 1)

    def split(value: int) -> tuple[int]:
        if not low <= value <= high:
            raise XdrError(f"{value} does not fit {bits} bits")
        return (value,)

    def join(items: tuple[int]) -> int:
        return ((items[0] & mask) ^ sign) - sign

    return Fixed("i" if signed else "I", split, join)


def _truth(items: tuple[int]) -> bool:
    return items[0] != 0


Int32 = Annotated[int, Fixed("i")]
UInt32 = Annotated[int, Fixed("I")]
Int64 = Annotated[int, Fixed("q")]
UInt64 = Annotated[int, Fixed("Q")]
Short = Annotated[int, _narrow(16, signed=True)]
UShort = Annotated[int, _narrow(16, signed=False)]
Char = Annotated[int, _narrow(8, signed=True)]
UChar = Annotated[int, _narrow(8, signed=False)]
Bool = Annotated[bool, Fixed("I", lambda value: (1 if value else 0,), _truth)]


class FixedOpaque(Fixed):
    """`opaque x[size]`: exactly `size` bytes, padded to a word, no length."""

    def __init__(self, size: int) -> None:
        def split(value: bytes) -> tuple[bytes]:
            if len(value) != size:
                raise XdrError(f"{len(value)} bytes where exactly {size} belong")
            return (value,)

        super().__init__(f"{size}s{-size % 4}x", split, _only)


_SIGN = bytes(0xFF if byte & 0x80 else 0 for byte in range(256))


class CharVector(Fixed):
    """rxgen's `char x[count]`: every byte a sign-extended word, so 65 characters are 260 bytes (rpc-structs.md).

    The value is bytes without the NULs that fill it up. Decoding looks at the low byte of each word and cuts at the
    first NUL.
    """

    def __init__(self, count: int) -> None:
        def split(value: bytes) -> tuple[bytes]:
            if len(value) > count:
                raise XdrError(f"{len(value)} characters where {count} fit")
            words = bytearray(4 * count)
            end = 4 * len(value)
            words[3:end:4] = value
            if not value.isascii():
                words[0:end:4] = words[1:end:4] = words[2:end:4] = value.translate(_SIGN)
            return (bytes(words),)

        def join(items: tuple[bytes]) -> bytes:
            return items[0][3::4].split(b"\0", 1)[0]

        super().__init__(f"{4 * count}s", split, join)


class Opaque(Codec[bytes]):
    """`opaque x<maximum>`: a length word, the bytes, zeros to the next word. None: bounded by the bytes present
    alone.
    """

    minimum = 4

    def __init__(self, maximum: int | None = None) -> None:
        self.maximum = UNBOUNDED if maximum is None else maximum

    def pack(self, value: Any, out: bytearray) -> None:
        length = len(value)
        if length > self.maximum:
            raise XdrError(f"{length} bytes where at most {self.maximum} fit")
        out += _word.pack(length)
        out += value
        out += bytes(-length % 4)

    def unpack(self, data: Buffer, offset: int) -> tuple[bytes, int]:
        length = _length(data, offset, self.maximum)
        start = offset + 4
        end = start + length + (-length % 4)
        if end > len(data):
            raise Truncated(f"{length} bytes claimed at {offset}, {len(data) - start} there")
        return bytes(data[start : start + length]), end


class String(Opaque):
    """`string x<maximum>`: the wire form of `Opaque`, for text. The value is bytes; AFS names no character set."""


def _length(data: Buffer, offset: int, maximum: int) -> int:
    """The length or count word at `offset`, refused above `maximum`."""
    try:
        (length,) = _word.unpack_from(data, offset)
    except error:
        raise Truncated(f"a length needed at {offset}, {len(data) - offset} bytes there") from None
    if length > maximum:
        raise XdrError(f"{length} claimed at {offset} where at most {maximum} fit")
    return int(length)


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
        count = _length(data, offset, self.maximum)
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
            there = _length(data, offset, UNBOUNDED)
            return codec(self.target).unpack(data, offset + 4) if there else (None, offset + 4)
        _, head = link
        heads = []
        while _length(data, offset, UNBOUNDED):
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
    packing.
    """

    def __init__(self, arms: Mapping[int, type]) -> None:
        self.arms = dict(arms)

    def bind(self, annotated: Any) -> Codec[Any]:
        if set(get_args(annotated)) != set(self.arms.values()):
            raise TypeError(f"the arms of a Union are those of its type, not {annotated!r}")
        return _UnionCodec(self.arms)


class _UnionCodec(Codec[Any]):
    def __init__(self, arms: Mapping[int, type]) -> None:
        self.arms = {discriminant & UNBOUNDED: codec(arm) for discriminant, arm in arms.items()}
        self.discriminants = {arm: discriminant & UNBOUNDED for discriminant, arm in arms.items()}
        self.minimum = 4 + min(arm.minimum for arm in self.arms.values())

    def pack(self, value: Any, out: bytearray) -> None:
        discriminant = self.discriminants.get(type(value))
        if discriminant is None:
            raise XdrError(f"{type(value).__name__} is no arm of the union")
        out += _word.pack(discriminant)
        self.arms[discriminant].pack(value, out)

    def unpack(self, data: Buffer, offset: int) -> tuple[Any, int]:
        discriminant = _length(data, offset, UNBOUNDED)
        arm = self.arms.get(discriminant)
        if arm is None:
            raise XdrError(f"no arm of the union is {discriminant}")
        return arm.unpack(data, offset + 4)
