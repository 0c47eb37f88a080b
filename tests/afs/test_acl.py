"""Access lists: as stored, as text, and what they allow."""

import errno
from random import Random
from struct import pack
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from afs.acl import (
    ACL_MAXENTRIES,
    ACL_SIZE,
    ANONYMOUSID,
    ANYUSERID,
    AUTHUSERID,
    SYSADMINID,
    AccessList,
    BadAccessList,
    BuiltinNames,
    Entry,
    format_rights,
    parse_acl,
    parse_rights,
)
from rx.errors import Abort
from tests.support.budget import budget

NAMES = BuiltinNames()
READ, ALL = parse_rights("read"), parse_rights("all")
USUAL = AccessList.of([Entry(SYSADMINID, ALL), Entry(ANYUSERID, READ)])
USUAL_TEXT = b"2\n0\nsystem:administrators\t127\nsystem:anyuser\t9\n\0"


class StoredTests(SynchronousTestCase):
    """The 192 bytes of a vnode record."""

    def test_layout(self) -> None:
        """Positives from the front, negatives from the end, both ascending; native order; zeros to the end (acl.h)."""
        access_list = AccessList.of([Entry(5, 1), Entry(-101, 9)], [Entry(7, 2), Entry(-3, 4)])
        expected = pack("=5i8i", 52, 1, 4, 2, 2, -101, 9, 5, 1, 7, 2, -3, 4)
        self.assertEqual(access_list.to_bytes(), expected.ljust(ACL_SIZE, b"\0"))
        self.assertEqual(AccessList.from_bytes(expected.ljust(ACL_SIZE, b"\0")), access_list)

    def test_dump_order(self) -> None:
        """In a dump it is big-endian."""
        self.assertEqual(USUAL.to_bytes("big")[:28], pack(">7i", 36, 1, 2, 2, 0, SYSADMINID, ALL))
        self.assertEqual(AccessList.from_bytes(USUAL.to_bytes("big"), "big"), USUAL)

    def test_round_trip(self) -> None:
        """Any list comes back as it was stored, all 32 rights bits included."""
        plan = budget("afs.acl.stored", full=20_000)
        random = Random(plan.seed)
        for _ in range(plan.count):
            entries = [Entry(random.randrange(-(2**31), 2**31), random.randrange(2**32)) for _ in range(20)]
            split, total = random.randrange(11), random.randrange(11, 21)
            access_list = AccessList.of(entries[:split], entries[split:total])
            self.assertEqual(AccessList.from_bytes(access_list.to_bytes()), access_list)

    def test_damage(self) -> None:
        """Counts, version and size that do not fit each other are refused, and so is every truncation."""
        good = USUAL.to_bytes()
        for offset, value in ((0, 28), (0, 193), (4, 2), (8, 21), (8, -1), (8, 2**31 - 1), (12, 3), (12, -1), (16, 1)):
            damaged = good[:offset] + pack("=i", value) + good[offset + 4 :]
            self.assertRaises(BadAccessList, AccessList.from_bytes, damaged)
        for size in range(36):
            self.assertRaises(BadAccessList, AccessList.from_bytes, good[:size])

    def test_too_many(self) -> None:
        """Twenty entries fit, one more does not."""
        entries = [Entry(each, 1) for each in range(ACL_MAXENTRIES + 1)]
        self.assertEqual(len(AccessList.of(entries[:10], entries[10:20]).to_bytes()), ACL_SIZE)
        self.assertEqual(self.assertRaises(Abort, AccessList.of, entries).code, errno.EINVAL)


class TextTests(SynchronousTestCase):
    """The text of FetchACL and StoreACL."""

    def parse(self, text: bytes) -> AccessList:
        return self.successResultOf(parse_deferred(text))

    def test_fetched(self) -> None:
        """Counts, then positives, then negatives; an unknown id is a number; a NUL at the end."""
        self.assertEqual(self.text(USUAL), USUAL_TEXT)
        access_list = AccessList.of([Entry(1234, 1)], [Entry(ANYUSERID, 0x8000_0000)])
        self.assertEqual(self.text(access_list), b"1\n1\n1234\t1\nsystem:anyuser\t-2147483648\n\0")

    def test_stored(self) -> None:
        """What was fetched can be stored; the order of entries and the case of names do not matter."""
        self.assertEqual(self.parse(USUAL_TEXT), USUAL)
        self.assertEqual(self.parse(b"2\n0\nSystem:AnyUser 9\nsystem:administrators 127\n\0"), USUAL)
        self.assertEqual(self.parse(b"0\n0\n\0"), AccessList())

    def test_negative(self) -> None:
        """Negative entries stay negative (CVE-2018-7168)."""
        parsed = self.parse(b"1\n2\nsystem:anyuser\t9\nsystem:authuser\t2\nsystem:administrators\t1\n\0")
        self.assertEqual(parsed, AccessList.of([Entry(ANYUSERID, 9)], [Entry(SYSADMINID, 1), Entry(AUTHUSERID, 2)]))

    def test_hostile(self) -> None:
        """Text that is no access list is EINVAL (OPENAFS-SA-2013-001, 2024-002)."""
        hostile = [
            b"",
            b"\0",
            b"1 2",
            b"1 2\0",
            b"1\n2\0",
            b"0\n0\n",
            b"1\n0\nsystem:anyuser\t9\n",
            b"1\n0\n\0system:anyuser\t9\n",
            b"-1\n1\nsystem:anyuser\t9\n\0",
            b"1\n-1\nsystem:anyuser\t9\n\0",
            b"1000\n0\n" + b"system:anyuser\t9\n" * 20 + b"\0",
            b"21\n0\n" + b"system:anyuser\t9\n" * 21 + b"\0",
            b"2147483647\n2147483647\nsystem:anyuser\t9\n\0",
            b"99999999999999999999\n0\n\0",
            b"2\n0\nsystem:anyuser\t9\n\0",
            b"1\n0\n" + b"x" * 1000 + b"\t9\n\0",
            b"1\n0\nsystem:anyuser\n\0",
            b"1\n0\nsystem:anyuser\tnine\n\0",
            b"1\n0\nsystem:anyuser\t4294967296\n\0",
            b"1\n0\nsystem:anyuser\t9 9\n\0",
            b"1\n0\nalice\t9\n\0",
            b"1\n0\n32766\t9\n\0",
        ]
        for text in hostile:
            failure = self.failureResultOf(parse_deferred(text), Abort)
            self.assertEqual(failure.value.code, errno.EINVAL, text)

    def test_garbage(self) -> None:
        """Bytes at random are refused with a code, never with another exception."""
        plan = budget("afs.acl.garbage", full=50_000)
        random = Random(plan.seed)
        pieces = [b"1", b"0", b"\n", b"\t", b"system:anyuser", b"\0", b"-", b" ", b"9", b"\xff", b"20"]
        for _ in range(plan.count):
            text = b"".join(random.choices(pieces, k=random.randrange(16)))
            parse_deferred(text).addErrback(lambda failure: failure.trap(Abort) and None)

    def test_too_long_to_fetch(self) -> None:
        """A text of more than 1024 bytes is E2BIG."""

        class LongNames(BuiltinNames):
            async def ids_to_names(self, ids: Any) -> list[bytes]:
                return [b"n" * 63 for _ in ids]

        access_list = AccessList.of([Entry(each, 1) for each in range(20)])
        failure = self.failureResultOf(ensureDeferred(access_list.to_text(LongNames())), Abort)
        self.assertEqual(failure.value.code, errno.E2BIG)

    def text(self, access_list: AccessList) -> bytes:
        return self.successResultOf(ensureDeferred(access_list.to_text(NAMES)))


class RightsTests(SynchronousTestCase):
    """Who may do what."""

    def test_union(self) -> None:
        """The rights of all groups add up; what any negative entry denies is gone."""
        access_list = AccessList.of([Entry(ANYUSERID, 9), Entry(3, 2), Entry(4, 16)], [Entry(3, 8)])
        self.assertEqual(access_list.rights((ANYUSERID, ANONYMOUSID)), 9)
        self.assertEqual(access_list.rights((ANYUSERID, 3)), 1 | 2)
        self.assertEqual(access_list.rights((ANYUSERID, 4)), 9 | 16)
        self.assertEqual(access_list.rights((5,)), 0)
        self.assertEqual(access_list.rights(()), 0)

    def test_repeated(self) -> None:
        """Entries for one id add up."""
        self.assertEqual(AccessList.of([Entry(3, 1), Entry(3, 2)]).rights((3,)), 3)

    def test_administrators(self) -> None:
        """Administrators have what the list says, unless the group is the last of the CPS (aclprocs.c)."""
        self.assertEqual(AccessList().rights((SYSADMINID, ANYUSERID)), 0)
        self.assertEqual(AccessList().rights((SYSADMINID,)), 0xFFFF_FFFF)

    def test_letters(self) -> None:
        """Letters and words stand for rights, in the order of fs listacl."""
        self.assertEqual((parse_rights("read"), parse_rights("write"), parse_rights("none")), (9, 63, 0))
        self.assertEqual(format_rights(127), "rlidwka")
        self.assertEqual(format_rights(parse_rights("Ha")), "aH")
        self.assertRaises(ValueError, parse_rights, "x")


class BuiltinNamesTests(SynchronousTestCase):
    """A cell without a protection server."""

    def test_known(self) -> None:
        """The three system groups are known, nobody else is."""
        ids = self.successResultOf(ensureDeferred(NAMES.names_to_ids([b"system:authuser", b"alice", b"-101"])))
        self.assertEqual(ids, [AUTHUSERID, ANONYMOUSID, ANONYMOUSID])
        names = self.successResultOf(ensureDeferred(NAMES.ids_to_names([ANYUSERID, 77, -77])))
        self.assertEqual(names, [b"system:anyuser", b"77", b"-77"])

    def test_groups(self) -> None:
        """Everybody is in anyuser; who is somebody is in authuser too. The result is sorted."""
        self.assertEqual(self.successResultOf(ensureDeferred(NAMES.groups(ANONYMOUSID))), (ANYUSERID, ANONYMOUSID))
        self.assertEqual(self.successResultOf(ensureDeferred(NAMES.groups(1))), (AUTHUSERID, ANYUSERID, 1))


def parse_deferred(text: bytes) -> "Deferred[AccessList]":
    return ensureDeferred(parse_acl(text, NAMES))
