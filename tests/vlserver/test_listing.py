"""Entries listed by index and by attributes; name patterns."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from afs.errors import VLError
from afs.rpc.vl import (
    VLF_BACKEXISTS,
    VLF_ROEXISTS,
    VLF_RWEXISTS,
    VLLIST_FLAG,
    VLLIST_PARTITION,
    VLLIST_SERVER,
    VLLIST_VOLUMEID,
    VLOP_MOVE,
    VLSF_BACKVOL,
    VLSF_ROVOL,
    VLSF_RWVOL,
    VldbListByAttributes,
    nvldbentry,
)
from tests.support.budget import budget
from tests.vlserver.support import VldbTest, entry, ip, old_entry
from vlserver.operations.listing import ENTRIES_PER_REPLY
from vlserver.operations.pattern import BadPattern, Pattern

BOTH = VLF_RWEXISTS | VLF_ROEXISTS
RW_AND_RO = [("10.0.0.1", 0, VLSF_RWVOL), ("10.0.0.1", 0, VLSF_ROVOL), ("10.0.0.2", 1, VLSF_ROVOL)]


class ListingTest(VldbTest):
    """Three entries: alpha on server 1, beta read-write on 1 and read-only on 1 and 2, gamma on 2 and locked."""

    def setUp(self) -> None:
        super().setUp()
        self.entries = [
            entry(b"alpha", (1, 0, 0)),
            entry(b"beta", (2, 3, 4), RW_AND_RO, BOTH | VLF_BACKEXISTS),
            entry(b"gamma", (5, 0, 6), [("10.0.0.2", 0, VLSF_RWVOL)], VLF_BACKEXISTS),
        ]
        for each in self.entries:
            self.now(self.admin.CreateEntryN(each))

    async def names(self, answer: Awaitable[tuple[int, tuple[nvldbentry, ...]]]) -> list[bytes]:
        """The names of the entries in an answer, whose count must be right."""
        count, entries, *_ = await answer
        self.assertEqual(count, len(entries))
        return [each.name for each in entries]


class AttributesTest(ListingTest):
    """ListAttributes(N) and LinkedList(N)."""

    async def test_attributes(self) -> None:
        """All four calls select alike: by id alone, by the first site on the server, by number, by any flag bit."""
        cases: list[tuple[dict[str, int], list[bytes]]] = [
            ({}, [b"alpha", b"beta", b"gamma"]),
            ({"Mask": VLLIST_VOLUMEID | VLLIST_SERVER, "volumeid": 3}, [b"beta"]),
            ({"Mask": VLLIST_SERVER, "server": ip("10.0.0.2")}, [b"beta", b"gamma"]),
            ({"Mask": VLLIST_SERVER, "server": ip("10.0.0.3")}, []),
            ({"Mask": VLLIST_SERVER, "server": 0}, []),
            ({"Mask": VLLIST_SERVER | VLLIST_PARTITION, "server": ip("10.0.0.2"), "partition": 1}, [b"beta"]),
            ({"Mask": VLLIST_SERVER | VLLIST_PARTITION, "server": ip("10.0.0.1"), "partition": 1}, []),
            ({"Mask": VLLIST_PARTITION, "partition": 1}, [b"beta"]),
            ({"Mask": VLLIST_PARTITION, "partition": 300}, []),
            ({"Mask": VLLIST_FLAG, "flag": VLF_BACKEXISTS | VLOP_MOVE}, [b"beta", b"gamma"]),
            ({"Mask": VLLIST_FLAG | VLLIST_PARTITION, "flag": VLF_ROEXISTS, "partition": 0}, [b"beta"]),
        ]
        for fields, expected in cases:
            wanted = VldbListByAttributes(**fields)
            self.assertEqual(await self.names(self.anyone.ListAttributesN(wanted)), expected)
            self.assertEqual(await self.names(self.anyone.ListAttributes(wanted)), expected)
            self.assertEqual(await self.linked(self.anyone.LinkedListN(wanted)), expected)
            self.assertEqual(await self.linked(self.anyone.LinkedList(wanted)), expected)

    async def linked(self, answer: Awaitable[tuple[int, Any]]) -> list[bytes]:
        """The names in a linked list."""
        count, chain = await answer
        names, node = [], chain.node
        while node is not None:
            names.append(node.VldbEntry.name)
            node = node.next_vldb
        self.assertEqual(count, len(names))
        return names

    async def test_whole_entries(self) -> None:
        """The entries listed are those that a lookup returns, in both forms."""
        _, entries = await self.anyone.ListAttributesN(VldbListByAttributes())
        self.assertEqual(list(entries), self.entries)
        _, old = await self.anyone.ListAttributes(VldbListByAttributes())
        self.assertEqual(old[1], old_entry(b"beta", (2, 3, 4), RW_AND_RO, BOTH | VLF_BACKEXISTS))

    async def test_old_form_sees_eight(self) -> None:
        """The old calls look at the sites their form has; the new ones at all thirteen."""
        sites = [(f"10.0.1.{number}", number, VLSF_ROVOL) for number in range(1, 14)]
        await self.admin.CreateEntryN(entry(b"wide", (50, 0, 0), sites))
        wanted = VldbListByAttributes(Mask=VLLIST_SERVER, server=ip("10.0.1.9"))
        self.assertEqual(await self.names(self.anyone.ListAttributes(wanted)), [])
        self.assertEqual(await self.names(self.anyone.ListAttributesN(wanted)), [b"wide"])

    async def test_missing_id(self) -> None:
        """An id that nobody has is VL_NOENT."""
        wanted = VldbListByAttributes(Mask=VLLIST_VOLUMEID, volumeid=99)
        for listed in (self.anyone.ListAttributes, self.anyone.ListAttributesN, self.anyone.LinkedListN):
            await self.refused(VLError.VL_NOENT, listed(wanted))
        await self.refused(VLError.VL_NOENT, self.anyone.ListAttributesN2(wanted, b"", 0))


class PagedTest(ListingTest):
    """ListAttributesN2."""

    async def matches(self, pattern: bytes = b"", **fields: int) -> list[tuple[bytes, int, int]]:
        """(name, VLSF type, site) of everything listed."""
        count, found, following = await self.admin.ListAttributesN2(VldbListByAttributes(**fields), pattern, 0)
        self.assertEqual((count, following), (len(found), -1))
        return [(each.name, each.matchindex >> 16, each.matchindex & 0xFFFF) for each in found]

    async def test_everything(self) -> None:
        """Without conditions every entry is listed, by its read-write site if it exists, else by its backup."""
        everything = [(b"alpha", VLSF_RWVOL, 0), (b"beta", VLSF_RWVOL, 0), (b"gamma", VLSF_BACKVOL, 0)]
        self.assertEqual(await self.matches(), everything)
        self.assertEqual(await self.matches(b".*"), everything)

    async def test_conditions(self) -> None:
        """Server, partition and flags must hold for the site that matches."""
        here: dict[str, Any] = {"Mask": VLLIST_SERVER, "server": ip("10.0.0.2")}
        self.assertEqual(await self.matches(**here), [(b"beta", VLSF_ROVOL, 2), (b"gamma", VLSF_BACKVOL, 0)])
        here |= {"Mask": VLLIST_SERVER | VLLIST_PARTITION, "partition": 1}
        self.assertEqual(await self.matches(**here), [(b"beta", VLSF_ROVOL, 2)])
        self.assertEqual(await self.matches(Mask=VLLIST_FLAG, flag=VLF_ROEXISTS), [(b"beta", VLSF_RWVOL, 0)])
        self.assertEqual(await self.matches(Mask=VLLIST_SERVER, server=ip("10.0.0.9")), [])
        self.assertEqual(await self.matches(Mask=VLLIST_VOLUMEID, volumeid=4), [(b"beta", 0, 0)])

    async def test_patterns(self) -> None:
        """A pattern describes the whole name, of the volume or of its backup or read-only clone."""
        self.assertEqual(await self.matches(b"a.*"), [(b"alpha", VLSF_RWVOL, 0)])
        self.assertEqual(await self.matches(b"beta"), [(b"beta", VLSF_RWVOL, 0)])
        self.assertEqual(await self.matches(b"be"), [])
        self.assertEqual(await self.matches(b"gamma"), [])
        self.assertEqual(await self.matches(rb".*\.backup"), [(b"beta", VLSF_BACKVOL, 0), (b"gamma", VLSF_BACKVOL, 0)])
        self.assertEqual(await self.matches(rb".*\.readonly"), [(b"beta", VLSF_ROVOL, 1)])

    async def test_bad_patterns(self) -> None:
        """What the matcher refuses is VL_BADNAME, after the privilege was checked."""
        for pattern in (rb"\(a\)", rb"a\{2\}", b"[a", rb"a\1", rb"\\"[:1]):
            await self.refused(VLError.VL_BADNAME, self.admin.ListAttributesN2(VldbListByAttributes(), pattern, 0))
        await self.refused(VLError.VL_PERM, self.anyone.ListAttributesN2(VldbListByAttributes(), b"[a", 0))

    async def test_pages(self) -> None:
        """A page holds 500 entries; the index it ends with begins the next; a bad index finds nothing."""
        count = 2 * ENTRIES_PER_REPLY
        for number in range(100, 100 + count):
            await self.admin.CreateEntryN(entry(b"v%d" % number, (number, 0, 0)))
        names: list[bytes] = []
        sizes = []
        index = 0
        while index != -1:
            size, found, index = await self.anyone.ListAttributesN2(VldbListByAttributes(), b"", index)
            sizes.append(size)
            names += [each.name for each in found]
        self.assertEqual(sizes, [ENTRIES_PER_REPLY, ENTRIES_PER_REPLY, 3])
        self.assertEqual(names, [b"alpha", b"beta", b"gamma", *(b"v%d" % number for number in range(100, 100 + count))])
        for bad in (1, -1, 132119, 1 << 30):
            answer = await self.anyone.ListAttributesN2(VldbListByAttributes(), b"", bad)
            self.assertEqual(answer, (0, (), -1))


class WalkTest(ListingTest):
    """ListEntry(N)."""

    async def test_walk(self) -> None:
        """Each answer's index leads to the next entry, with how many may be left; 0 is the end."""
        index, seen = 0, []
        while True:
            count, index, found = await self.anyone.ListEntryN(index)
            if index == 0:
                break
            seen.append((count, found))
        self.assertEqual(seen, [(2, self.entries[0]), (1, self.entries[1]), (0, self.entries[2])])
        self.assertEqual((count, found), (0, nvldbentry()))

    async def test_old_form(self) -> None:
        """The old call walks the same entries."""
        _, index, first = await self.anyone.ListEntry(0)
        self.assertEqual(first, old_entry(b"alpha", (1, 0, 0)))
        _, _, second = await self.anyone.ListEntry(index)
        self.assertEqual(second.name, b"beta")

    async def test_bad_index(self) -> None:
        """An index where no entry can be answers count -1."""
        for index in (1, 148, -1, 132119, 132120 + 148 * 3, (1 << 31) - 1):
            self.assertEqual(await self.anyone.ListEntryN(index), (-1, 0, nvldbentry()))

    async def test_over_gaps(self) -> None:
        """A deleted entry is passed over, and its place is used again."""
        await self.admin.DeleteEntry(2, 0)
        _, index, _ = await self.anyone.ListEntryN(0)
        _, _, found = await self.anyone.ListEntryN(index)
        self.assertEqual(found.name, b"gamma")
        await self.admin.CreateEntryN(entry(b"delta", (9, 0, 0)))
        _, _, found = await self.anyone.ListEntryN(index)
        self.assertEqual(found.name, b"delta")


class PatternTest(SynchronousTestCase):
    """Basic regular expressions of characters, dots, brackets and stars."""

    def test_known(self) -> None:
        """Examples of each element."""
        cases = [
            (rb"a\.b", b"a.b", b"axb"),
            (b"a.b", b"axb", b"ab"),
            (b"ab*c", b"abbbc", b"abd"),
            (b"ab*c", b"ac", b"bc"),
            (b"[a-c]x", b"bx", b"dx"),
            (b"[^a-c]x", b"dx", b"bx"),
            (b"[]a]", b"]", b"b"),
            (b"[a-]", b"-", b"b"),
            (b"[[:digit:]_]*", b"12_3", b"1a"),
            (b"*a", b"*a", b"a"),
            (b"(a|b)+", b"(a|b)+", b"a"),
        ]
        for pattern, whole, other in cases:
            self.assertTrue(Pattern(pattern).matches(whole), (pattern, whole))
            self.assertFalse(Pattern(pattern).matches(other), (pattern, other))

    def test_refused(self) -> None:
        """What is malformed or not supported says so when it is compiled."""
        for pattern in (b"[", b"[]", b"[z-a]", b"[[:foo:]]", b"[[:digit:]", rb"\w", rb"\(", b"a\\", b"x" * 66):
            self.assertRaises(BadPattern, Pattern, pattern)

    def test_no_blow_up(self) -> None:
        """Patterns that keep a backtracking matcher busy for years are decided in a bounded number of steps."""
        for pattern in (b"(((((a*)*)*)*", b"a*" * 32 + b"b", b".*" * 31 + b"x"):
            self.assertFalse(Pattern(pattern).matches(b"a" * 64))

    def test_as_re(self) -> None:
        """Random patterns of the common elements match as Python's re does."""
        allowance = budget("vlserver.pattern", full=100_000)
        random_ = random.Random(allowance.seed)
        elements = (b"a", b"b", rb"\.", b".", b"[ab]", b"[^a]", b"[a-c.]")
        for _ in range(allowance.count):
            parts = [random_.choice(elements) + random_.choice((b"", b"", b"*")) for _ in range(random_.randrange(5))]
            pattern = b"".join(parts)
            name = bytes(random_.choice(b"abc.") for _ in range(random_.randrange(6)))
            expected = re.fullmatch(pattern, name, re.DOTALL) is not None
            self.assertEqual(Pattern(pattern).matches(name), expected, (pattern, name))
