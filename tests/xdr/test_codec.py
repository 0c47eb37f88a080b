"""xdr.codec and xdr.struct: every type against a second implementation, every truncation, and absurd claims."""

from __future__ import annotations

import random
import struct as stdlib_struct
import uuid
from dataclasses import fields, is_dataclass
from typing import Annotated, Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.budget import budget
from tests.xdr.reference import Type, encode, some_value
from xdr import (
    Array,
    Bool,
    Char,
    CharVector,
    Codec,
    Fixed,
    FixedArray,
    FixedOpaque,
    Int32,
    Int64,
    Opaque,
    Pointer,
    Short,
    String,
    Struct,
    Truncated,
    UChar,
    UInt32,
    UInt64,
    Union,
    UShort,
    XdrError,
    codec,
    sequence,
    struct,
)


@struct
class Fid(Struct):
    """A struct of words alone."""

    Volume: UInt32
    Vnode: UInt32
    Unique: UInt32 = 7


@struct
class Everything(Struct):
    """Every kind of field, fixed runs and variable fields by turns, nested structs in both."""

    flag: Bool
    char: Char
    uchar: UChar
    name: Annotated[bytes, CharVector(5)]
    fid: Fid
    text: Annotated[bytes, String(9)]
    short: Short
    ushort: UShort
    disk: Annotated[bytes, FixedOpaque(6)]
    triple: Annotated[tuple[Int64, ...], FixedArray(3)]
    fids: Annotated[tuple[Fid, ...], FixedArray(2)]
    words: Annotated[tuple[UInt32, ...], Array(4)]
    counted: Annotated[tuple[Fid, ...], Array(3)]
    blobs: Annotated[tuple[Annotated[bytes, Opaque(5)], ...], Array(2)]
    flags: Annotated[tuple[Bool, ...], Array(3)]
    maybe: Annotated[Fid | None, Pointer()]
    tail: Int32


@struct
class Node(Struct):
    """An element of a linked list."""

    name: Annotated[bytes, Opaque(8)]
    value: UInt32
    next: Annotated[Node | None, Pointer()] = None


@struct
class Unknown(Struct):
    """What a union's other arms are not."""

    kind: Int32
    value: Annotated[bytes, Opaque(8)]


@struct
class Head(Struct):
    """What points to the list, as vldb_list does."""

    node: Annotated[Node | None, Pointer()] = None


FID: Type = ("struct", (("Volume", ("uint", 32)), ("Vnode", ("uint", 32)), ("Unique", ("uint", 32))))
EVERYTHING: Type = (
    "struct",
    (
        ("flag", ("bool",)),
        ("char", ("int", 8)),
        ("uchar", ("uint", 8)),
        ("name", ("chars", 5)),
        ("fid", FID),
        ("text", ("opaque", 9)),
        ("short", ("int", 16)),
        ("ushort", ("uint", 16)),
        ("disk", ("fixed_opaque", 6)),
        ("triple", ("vector", ("int", 64), 3)),
        ("fids", ("vector", FID, 2)),
        ("words", ("array", ("uint", 32), 4)),
        ("counted", ("array", FID, 3)),
        ("blobs", ("array", ("opaque", 5), 2)),
        ("flags", ("array", ("bool",), 3)),
        ("maybe", ("optional", FID)),
        ("tail", ("int", 32)),
    ),
)

TYPES: list[tuple[Any, Type]] = [
    (Int32, ("int", 32)),
    (UInt32, ("uint", 32)),
    (Int64, ("int", 64)),
    (UInt64, ("uint", 64)),
    (Short, ("int", 16)),
    (UShort, ("uint", 16)),
    (Char, ("int", 8)),
    (UChar, ("uint", 8)),
    (Bool, ("bool",)),
    (Annotated[bytes, Opaque(17)], ("opaque", 17)),
    (Annotated[bytes, String(3)], ("opaque", 3)),
    (Annotated[bytes, FixedOpaque(7)], ("fixed_opaque", 7)),
    (Annotated[bytes, CharVector(65)], ("chars", 65)),
    (Annotated[tuple[UInt32, ...], Array(50)], ("array", ("uint", 32), 50)),
    (Annotated[tuple[Annotated[bytes, CharVector(4)], ...], Array(6)], ("array", ("chars", 4), 6)),
    (Annotated[tuple[UShort, ...], FixedArray(8)], ("vector", ("uint", 16), 8)),
    (Annotated[tuple[Annotated[bytes, Opaque(4)], ...], FixedArray(2)], ("vector", ("opaque", 4), 2)),
    (Fid, FID),
    (Everything, EVERYTHING),
]


def plain(value: Any) -> Any:
    """A decoded value as the reference has it."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return tuple(plain(each) for each in value) if isinstance(value, tuple) else value


def built(value: Any, kind: Type) -> Any:
    """A value of the reference as our types have it."""
    match kind:
        case ("array" | "vector", element, _):
            return tuple(built(each, element) for each in value)
        case ("optional", target):
            return None if value is None else built(value, target)
        case ("struct", named):
            made = {name: built(value[name], field) for name, field in named}
            return (Fid if kind is FID else Everything)(**made)
    return value


class AgainstReference(SynchronousTestCase):
    """Both implementations agree."""

    def test_random_values(self) -> None:
        """Every type encodes to what the reference encodes, and decodes to what it was; so do all in one struct."""
        spent = budget("xdr.values", full=10_000, least=200)
        source = random.Random(spent.seed)
        for _ in range(spent.count):
            for annotation, kind in TYPES:
                value = some_value(kind, source)
                wire = encode(kind, value)
                each = codec(annotation)
                self.assertEqual(each.encode(built(value, kind)), wire, kind)
                self.assertEqual(plain(each.decode(wire)), value, kind)
                self.assertGreaterEqual(len(wire), each.minimum)

    def test_every_truncation(self) -> None:
        """Any beginning of a value is Truncated, never another value and never another error."""
        source = random.Random(budget("xdr.truncations", full=1).seed)
        for annotation, kind in TYPES:
            wire = encode(kind, some_value(kind, source))
            for size in range(len(wire)):
                for data in (wire[:size], memoryview(wire)[:size]):
                    with self.assertRaises(Truncated):
                        codec(annotation).unpack(data, 0)

    def test_random_bytes(self) -> None:
        """Garbage decodes to something or raises XdrError; what it decodes to encodes to as many bytes."""
        spent = budget("xdr.garbage", full=200_000, least=2000)
        source = random.Random(spent.seed)
        for _ in range(spent.count):
            annotation, _kind = source.choice(TYPES)
            data = bytes(
                source.choice((0, 0, 0, 1, 2, 255, source.getrandbits(8))) for _ in range(source.randint(0, 300))
            )
            each: Codec[Any] = codec(annotation)
            try:
                value, end = each.unpack(data, 0)
            except XdrError:
                continue
            self.assertEqual(len(each.encode(value)), end)


class Claims(SynchronousTestCase):
    """Counts and lengths that cannot be true are refused before anything is made of them."""

    def refused(self, annotation: Any, data: bytes) -> XdrError:
        with self.assertRaises(XdrError) as caught:
            codec(annotation).unpack(data, 0)
        problem: XdrError = caught.exception
        return problem

    def test_array_of_4_gib_in_50_bytes(self) -> None:
        """An unbounded array that claims four billion elements is refused at its count."""
        data = b"\xff\xff\xff\xff" + bytes(46)
        for array in (
            Annotated[tuple[UInt32, ...], Array()],
            Annotated[tuple[Bool, ...], Array()],
            Annotated[tuple[Everything, ...], Array()],
            Annotated[tuple[Annotated[bytes, Opaque()], ...], Array()],
        ):
            self.assertIn("4294967295", str(self.refused(array, data)))

    def test_one_element_too_many(self) -> None:
        """A count that the bytes hold but the type does not allow is an error that more bytes cannot cure."""
        problem = self.refused(Annotated[tuple[UInt32, ...], Array(2)], b"\0\0\0\3" + bytes(12))
        self.assertNotIsInstance(problem, Truncated)

    def test_opaque_length(self) -> None:
        """An opaque longer than its bound, or than its bytes, is refused."""
        self.assertNotIsInstance(self.refused(Annotated[bytes, Opaque(3)], b"\0\0\0\4abcd"), Truncated)
        self.assertIsInstance(self.refused(Annotated[bytes, Opaque()], b"\xff\xff\xff\xffabcd"), Truncated)

    def test_padding_must_be_there(self) -> None:
        """The bytes that fill an opaque's last word belong to it."""
        self.refused(Annotated[bytes, Opaque(8)], b"\0\0\0\1a\0\0")
        self.assertEqual(codec(Annotated[bytes, Opaque(8)]).decode(b"\0\0\0\1a\0\0\0"), b"a")

    def test_leftovers(self) -> None:
        """from_bytes takes a record and nothing after it."""
        with self.assertRaises(XdrError):
            Fid.from_bytes(bytes(16))

    def test_no_type_without_size(self) -> None:
        """A type of no bytes would make a count mean nothing; it cannot be declared."""
        with self.assertRaises(TypeError):
            FixedOpaque(0)


class Packing(SynchronousTestCase):
    """Values that do not fit are refused, not cut."""

    def test_values_out_of_range(self) -> None:
        """An integer too large, a negative unsigned one, a name too long, an array of another length: XdrError."""
        for annotation, value in [
            (UInt32, 1 << 32),
            (UInt32, -1),
            (Int32, 1 << 31),
            (UInt64, -1),
            (Short, 1 << 15),
            (UShort, -1),
            (Char, 128),
            (Annotated[bytes, CharVector(3)], b"abcd"),
            (Annotated[bytes, Opaque(3)], b"abcd"),
            (Annotated[bytes, FixedOpaque(3)], b"ab"),
            (Annotated[tuple[UInt32, ...], FixedArray(3)], (1, 2)),
            (Annotated[tuple[UInt32, ...], Array(1)], (1, 2)),
            (Annotated[tuple[UInt32, ...], Array(1)], (-1,)),
        ]:
            with self.assertRaises(XdrError):
                codec(annotation).encode(value)

    def test_two_arrays_cannot_make_up_for_each_other(self) -> None:
        """Fused arrays are counted one by one: 2 + 4 elements are not 3 + 3."""

        both = sequence([codec(Annotated[tuple[UInt32, ...], FixedArray(3)])] * 2)
        assert both is not None
        with self.assertRaises(XdrError):
            both.encode(((1, 2), (3, 4, 5, 6)))

    def test_narrow_integers_are_decoded_as_c_does(self) -> None:
        """Only the low bits of a word count for a short or a char, as in xdr_short and xdr_char."""
        self.assertEqual(codec(Short).decode(b"\0\1\x80\1"), -0x7FFF)
        self.assertEqual(codec(UChar).decode(b"\xff\xff\xff\x80"), 0x80)
        self.assertEqual(codec(Annotated[bytes, CharVector(2)]).decode(b"\0\0\1a\xff\xff\xff\xe9"), b"a\xe9")

    def test_char_vector_ends_at_the_first_nul(self) -> None:
        """What follows the first NUL of a name is not part of it."""
        wire = codec(Annotated[bytes, CharVector(4)]).encode(b"a\0bc")
        self.assertEqual(codec(Annotated[bytes, CharVector(4)]).decode(wire), b"a")


class Records(SynchronousTestCase):
    """What @struct makes of a class."""

    def test_record(self) -> None:
        """A record has slots, defaults, equality and a readable repr."""
        fid = Fid(1, 2)
        self.assertEqual(fid, Fid(1, 2, 7))
        self.assertEqual(repr(fid), "Fid(Volume=1, Vnode=2, Unique=7)")
        with self.assertRaises(AttributeError):
            fid.colour = 1  # type: ignore[attr-defined]

    def test_fixed_runs_fuse(self) -> None:
        """A struct of fixed fields, nested ones included, is one struct.Struct, and so an element of fixed arrays."""
        self.assertIsInstance(codec(Fid), Fixed)
        self.assertEqual(codec(Fid).minimum, 12)

    def test_long_list(self) -> None:
        """A linked list of 20 000 nodes is packed and unpacked without a stack of that depth."""
        node = None
        for value in range(20_000):
            node = Node(b"n", value, node)
        head = Head.from_bytes(Head(node).to_bytes())
        values = []
        at = head.node
        while at is not None:
            values.append(at.value)
            at = at.next
        self.assertEqual(values, list(reversed(range(20_000))))

    def test_list_truncated(self) -> None:
        """A list is truncated wherever it is cut."""
        wire = Head(Node(b"abc", 1, Node(b"", 2))).to_bytes()
        for size in range(len(wire)):
            with self.assertRaises(Truncated):
                Head.from_bytes(wire[:size])

    def test_tree_is_refused(self) -> None:
        """A struct that points to itself elsewhere than at its end cannot be declared: its depth has no bound."""
        with self.assertRaisesRegex(TypeError, "last field"):

            @struct
            class Tree:
                left: Annotated[Tree | None, Pointer()]
                value: UInt32

    def test_unannotated_type_is_refused(self) -> None:
        """A plain int has no wire form: declaring it raises at once."""
        with self.assertRaises(TypeError):
            codec(int)


class Hooks(SynchronousTestCase):
    """Types of one's own."""

    def test_fixed_hook(self) -> None:
        """A Fixed with a split and a join fuses like any other."""
        stamp = Annotated[
            uuid.UUID, Fixed("16s", lambda value: (value.bytes,), lambda items: uuid.UUID(bytes=items[0]))
        ]
        both = sequence([codec(UInt32), codec(stamp)])
        assert isinstance(both, Fixed)
        value = (5, uuid.UUID(int=1 << 100))
        self.assertEqual(both.decode(both.encode(value)), value)
        self.assertEqual(both.size, 20)

    def test_union(self) -> None:
        """A union's arm is named by its discriminant; unknown ones and foreign values are refused."""
        either = codec(Annotated[Fid | Node, Union({2: Fid, -4: Node})])
        for value, word in ((Fid(1, 2, 3), 2), (Node(b"x", 1), 0xFFFF_FFFC)):
            wire = either.encode(value)
            self.assertEqual(stdlib_struct.unpack_from(">I", wire)[0], word)
            self.assertEqual(either.decode(wire), value)
        with self.assertRaises(XdrError):
            either.decode(bytes(16))
        with self.assertRaises(XdrError):
            either.encode(Head())

    def test_union_default(self) -> None:
        """A union's default arm keeps every word that no other arm has, and is not one of theirs."""
        either = codec(Annotated[Fid | Node | Unknown, Union({2: Fid, -4: Node}, default=Unknown)])
        for value in (Fid(1, 2, 3), Node(b"x", 1), Unknown(7, b"later"), Unknown(-1, b"")):
            self.assertEqual(either.decode(either.encode(value)), value)
        self.assertEqual(either.encode(Unknown(7, b"abcd")), b"\0\0\0\7\0\0\0\4abcd")
        self.assertEqual(either.minimum, 8)
        for wrong in (Unknown(2, b""), Unknown(-4, b""), Head()):
            with self.assertRaises(XdrError):
                either.encode(wrong)
