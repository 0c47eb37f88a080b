"""Codecs: how one annotated Python type travels in XDR.

`codec(annotation)` finds the codec of an annotation. Every codec of fixed size is a `Fixed`: a `struct` format and
two functions between the value and the items of that format, so that neighbours fuse into one `struct.Struct` (see
`xdr.struct`). The rest are small classes. Decoding never allocates for a count before the bytes that must follow it
are known to be there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        length = read_length(data, offset, self.maximum)
        start = offset + 4
        end = start + length + (-length % 4)
        if end > len(data):
            raise Truncated(f"{length} bytes claimed at {offset}, {len(data) - start} there")
        return bytes(data[start : start + length]), end


class String(Opaque):
    """`string x<maximum>`: the wire form of `Opaque`, for text. The value is bytes; AFS names no character set."""


def read_length(data: Buffer, offset: int, maximum: int) -> int:
    """The length, count or discriminant word at `offset`; XdrError above `maximum`."""
    try:
        (length,) = _word.unpack_from(data, offset)
    except error:
        raise Truncated(f"a length needed at {offset}, {len(data) - offset} bytes there") from None
    if length > maximum:
        raise XdrError(f"{length} claimed at {offset} where at most {maximum} fit")
    return int(length)
