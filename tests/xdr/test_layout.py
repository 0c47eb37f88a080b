"""xdr.layout: what is derived equals construct, and what cannot be derived is refused at once."""

from typing import Any, ClassVar

from construct import (
    Array,
    Bytes,
    Const,
    Flag,
    Float32b,
    GreedyBytes,
    Int8sb,
    Int8ub,
    Int16sl,
    Int16ub,
    Int16ul,
    Int24ub,
    Int32sb,
    Int32ub,
    Int32ul,
    Int64sb,
    Int64ub,
    Int64ul,
    Padded,
    Padding,
    Struct,
    this,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.xdr.layouts import EqualToConstruct
from xdr import Truncated, XdrError
from xdr.layout import fast

INNER = Struct("low" / Int16ub, Padding(2), "tag" / Bytes(3))


class Equal(EqualToConstruct, SynchronousTestCase):
    """Every element a layout may have, in both byte orders."""

    layouts: ClassVar[dict[str, Any]] = {
        "plain": Struct("a" / Int32ub, "b" / Int32sb, "c" / Int8ub, "d" / Int8sb, "e" / Int64ub, "f" / Int64sb),
        "little": Struct("a" / Int32ul, "b" / Int16sl, "c" / Int64ul, "d" / Array(3, Int16ul), Padding(5)),
        "bytes": Struct(Padding(1), "a" / Bytes(7), "b" / Int8ub, "count" / Int8ub, "index" / Int8ub),
        "nested": Struct("a" / Int8ub, "inner" / INNER, "more" / Array(2, INNER), "blobs" / Array(2, Bytes(2))),
        "constants": Struct(Const(0x12, Int8ub), "a" / Int32ub, "version" / Const(7, Int8ub)),
        "magic": Struct("magic" / Const(b"AFS\0"), "a" / Array(2, Array(2, Int8ub))),
    }


class Records(SynchronousTestCase):
    """What a layout gives and takes."""

    def test_record(self) -> None:
        """A record has its fields as attributes, and packs by itself or as fields."""
        layout = fast(Struct("a" / Int8ub, "b" / Int16ub))
        record = layout.unpack(b"\1\0\2")
        self.assertEqual((record.a, record.b), (1, 2))
        self.assertEqual(layout.pack(record), b"\1\0\2")
        self.assertEqual(layout.pack(a=1, b=2), b"\1\0\2")

    def test_constants_need_not_be_given(self) -> None:
        """A constant fills itself in, and another value for it is refused, in either direction."""
        layout = fast(Struct("magic" / Const(5, Int8ub), "a" / Int8ub))
        self.assertEqual(layout.pack(a=1), b"\5\1")
        with self.assertRaises(XdrError):
            layout.pack(a=1, magic=6)
        with self.assertRaises(XdrError):
            layout.unpack(b"\6\1")

    def test_values_that_do_not_fit(self) -> None:
        """Too large an integer, too many bytes or elements: XdrError, nothing cut."""
        layout = fast(Struct("a" / Int8ub, "b" / Bytes(2), "c" / Array(2, Int8ub)))
        for fields in ({"a": 256}, {"b": b"abc"}, {"b": b"a"}, {"c": (1,)}, {"c": (1, 2, 3)}):
            with self.assertRaises(XdrError, msg=str(fields)):
                layout.pack(**({"a": 1, "b": b"ab", "c": (1, 2)} | fields))

    def test_offset_beyond_the_end(self) -> None:
        """An offset that leaves too few bytes is a truncation."""
        with self.assertRaises(Truncated):
            fast(Struct("a" / Int32ub)).unpack(bytes(8), 5)


class Refused(SynchronousTestCase):
    """Declarations with no equal struct.Struct raise TypeError when derived, so at import."""

    def test_refused(self) -> None:
        """Sizes that vary, mixed byte orders, floats, bits, odd integers, unnamed values, and no fields at all."""
        for declaration in (
            Struct("a" / GreedyBytes),
            Struct("n" / Int8ub, "a" / Bytes(this.n)),
            Struct("n" / Int8ub, "a" / Array(this.n, Int8ub)),
            Struct("a" / Int16ub, "b" / Int16ul),
            Struct("a" / Float32b),
            Struct("a" / Flag),
            Struct("a" / Int24ub),
            Struct("a" / Padded(4, Int8ub)),
            Struct(Int8ub, "a" / Int8ub),
            Struct(Padding(4)),
            Struct("a" / Array(2, Padding(1))),
            Int8ub,
        ):
            with self.assertRaises(TypeError, msg=repr(declaration)):
                fast(declaration)
