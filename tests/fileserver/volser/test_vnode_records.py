"""Vnodes of a dump in one struct, beside field by field."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from fileserver.interfaces import Vnode
from fileserver.volser.dump import _vnode_fields
from fileserver.volser.dump_format import DUMP_END, END, END_MAGIC, VNODE_BEGIN
from fileserver.volser.vnode_records import MAX_CONTENT, packed, unpacked
from fileserver.volume.vn import FILE, SYMLINK
from tests.support.budget import budget

RECORDS = budget("volser.vnode-records", full=20_000)
FOLLOWING = END.pack(magic=END_MAGIC)


def anything(rng: random.Random, length: int) -> Vnode:
    """A record with a value of any size in every field."""
    word = lambda: rng.choice((0, 1, rng.randrange(1 << 32), 0xFFFFFFFF))  # noqa: E731
    number = lambda: rng.choice((0, -1, 7, rng.randrange(-(1 << 31), 1 << 31)))  # noqa: E731
    return Vnode(
        rng.choice((FILE, SYMLINK)),
        rng.randrange(1 << 16),
        rng.randrange(-(1 << 15), 1 << 15),
        length,
        word(),
        word(),
        word(),
        number(),
        number(),
        number(),
        word(),
        word(),
    )


class Records(SynchronousTestCase):
    def test_alike(self) -> None:
        """Both ways write the same bytes, and what was written is read back, wherever it is."""
        rng = random.Random(RECORDS.seed)
        for _ in range(RECORDS.count):
            content = rng.randbytes(rng.randrange(50))
            vnode, number = anything(rng, len(content)), rng.randrange(1 << 32)
            whole = packed(number, vnode)
            plain = VNODE_BEGIN.pack(number=number, uniquifier=vnode.uniquifier) + _vnode_fields(1, number, vnode)
            self.assertEqual(whole, plain)
            before = rng.randbytes(rng.randrange(9))
            data = before + whole + content + FOLLOWING
            begin = len(before) + len(whole)
            found = unpacked(data, len(before) + 1)
            self.assertEqual(found, (number, vnode, begin, begin + len(content)))
            self.assertEqual(data[begin + len(content)], DUMP_END)

    def test_truncated(self) -> None:
        """What is not all there, or followed by another field, is for the plain path."""
        rng = random.Random(1)
        for group in (0, 5):
            vnode = anything(rng, 3)
            vnode.group = group
            data = packed(2, vnode) + b"abc"
            for size in range(len(data) + 1):
                self.assertIsNone(unpacked(data[:size], 1), size)
            self.assertIsNone(unpacked(data + b"A", 1))

    def test_large(self) -> None:
        """So is content that is to come in pieces."""
        vnode = anything(random.Random(1), MAX_CONTENT + 1)
        self.assertIsNone(unpacked(packed(2, vnode) + bytes(MAX_CONTENT + 1) + FOLLOWING, 1))
