"""The test that a fast layout equals the construct it was derived from: subclass, name the layouts, done."""

import random
from typing import Any, ClassVar

import construct
from twisted.trial.unittest import SynchronousTestCase

from tests.support.budget import budget
from xdr import XdrError
from xdr.layout import Layout, fast


class EqualToConstruct:
    """Mixin. `layouts` are fast layouts or construct Structs of fixed size."""

    layouts: ClassVar[dict[str, Any]]

    def _each(self) -> list[tuple[str, Layout]]:
        return [(name, each if isinstance(each, Layout) else fast(each)) for name, each in self.layouts.items()]

    def test_equal_on_random_bytes(self: Any) -> None:
        """The layout reads what construct reads, and refuses what it refuses; both write the same again."""
        spent = budget(f"{type(self).__name__}.bytes", full=20_000, least=200)
        source = random.Random(spent.seed)
        for name, layout in self._each():
            self.assertEqual(layout.size, layout.declaration.sizeof(), name)
            for _ in range(spent.count):
                self._compare(name, layout, source.randbytes(layout.size))

    def _compare(self: Any, name: str, layout: Layout, data: bytes) -> None:
        try:
            expected = layout.declaration.parse(data)
        except construct.ConstError:
            with self.assertRaises(XdrError):
                layout.unpack(data)
            return
        record = layout.unpack(data)
        self.assertEqual(plain(record), plain(expected), name)
        self.assertEqual(layout.unpack(b"abc" + data + b"d", 3), record)
        wire = layout.declaration.build(expected)
        self.assertEqual(layout.pack(record), wire, name)
        self.assertEqual(layout.pack(**record._asdict()), wire, name)

    def test_every_truncation(self: Any) -> None:
        """Every beginning of a layout is refused, by both."""
        for name, layout in self._each():
            data = layout.declaration.build(layout.declaration.parse(_valid(layout)))
            self.assertEqual(layout.pack(layout.unpack(data)), data)
            for size in range(layout.size):
                with self.assertRaises(XdrError, msg=name):
                    layout.unpack(data[:size])
                with self.assertRaises(construct.StreamError, msg=name):
                    layout.declaration.parse(data[:size])


def plain(value: Any) -> Any:
    """A record or a construct container as the same plain values."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if not name.startswith("_") and each is not None}
    if hasattr(value, "_asdict"):
        return {name: plain(each) for name, each in value._asdict().items()}
    return [plain(each) for each in value] if isinstance(value, tuple | list) else value


def _valid(layout: Layout) -> bytes:
    """Bytes the declaration accepts: zeros, but for its constants."""
    data = b""
    for each in layout.declaration.subcons:
        inner = each.subcon if isinstance(each, construct.Renamed) else each
        data += inner.build(inner.value) if isinstance(inner, construct.Const) else bytes(each.sizeof())
    return data


__all__ = ["EqualToConstruct", "SynchronousTestCase"]
