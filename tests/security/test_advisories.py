"""OpenAFS's security advisories that concern servers we have, each by its number, over the wire.

Here is what clients can send in calls; packets are in test_advisory_packets, crowds of clients in
test_advisory_crowds. What rxkad must refuse (2003-001, 2011-001, 2013-003, CVE-2014-2852) is tested there;
2018-001 is the table in test_privileges. Services that are not served yet have no test: 2013-002 and 2016-001
(ptserver), 2015-002 (bosserver).
"""

from __future__ import annotations

import resource

from afs.client import format_acl_text, store_status
from afs.errors import VLError
from afs.rpc.fs import RXAFS, STATS64_VERSION
from afs.rpc.vl import VL, VL_MAXNAMELEN, ListAddrByAttributes, VldbListByAttributes
from afs.rpc.volser import AFSVol, ITBusy
from fileserver.rules import Rules
from rx.constants import RxgenCode
from rx.errors import Abort
from rx.service import Service
from rx.streams import Buffer
from tests.security.cell import AdvisoryTest
from tests.security.wire import words

EINVAL = 22
UNMARSHAL = int(RxgenCode.RXGEN_SS_UNMARSHAL)

COUNTS = (0xFFFFFFFF, 0x40000001, 0x80000000, 0x7FFFFFFF)
"""2002-001: each, times the size of an element, wraps around 32 bits."""

ARRAYS: tuple[tuple[type[Service], str, bytes], ...] = (
    (RXAFS, "BulkStatus", b""),
    (RXAFS, "InlineBulkStatus", b""),
    (RXAFS, "GiveUpCallBacks", b""),
    (RXAFS, "GiveUpCallBacks", words(0)),
    (RXAFS, "FlushCPS", b""),
    (RXAFS, "FlushCPS", words(0)),
    (RXAFS, "StoreACL", words(1, 1, 1)),
    (RXAFS, "CheckToken", words(1)),
    (RXAFS, "CreateFile", words(1, 1, 1)),
    (VL, "GetEntryByNameU", b""),
    (VL, "RegisterAddrs", bytes(4 * 11) + words(0)),
    (VL, "ListAttributesN2", bytes(4 * 6)),
    (AFSVol, "PartitionInfo", b""),
    (AFSVol, "CreateVolume", words(0)),
)
"""Service, RPC, and its arguments as far as the count of an array, opaque or string."""

BUSY_PATTERNS = (
    b"(((((a*)*)*)*",
    b"(" * 64,
    b"a*" * 32,
    b".*" * 32 + b"b",
    b"[" * 60,
    b"\\(a*\\)*\\1",
    b"*" * 64,
)

MEMORY = 64 << 20
"""Bytes by which the process may grow while it is sent nonsense."""


class Requests(AdvisoryTest):
    """Arguments."""

    async def test_2002_001(self) -> None:
        """Absurd counts in every array are refused at once, and nothing is allocated for them."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for service, name, arguments in ARRAYS:
            for count in COUNTS:
                code = await self.refusal(self.raw(service, name, arguments + words(count) + bytes(64)))
                self.assertEqual(code, UNMARSHAL, f"{name} {count:#x}")
        self.assertLess((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10, MEMORY)
        await self.served()

    async def test_2018_003(self) -> None:
        """Strings that go on for ever, from anybody, are refused before much of them has come."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        endless = words(100 << 20) + bytes(1 << 20)
        for service, name, arguments in ARRAYS:
            code = await self.refusal(self.raw(service, name, arguments + endless, self.stranger))
            self.assertNotEqual(code, 0, name)
        self.assertLess((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10, MEMORY)
        await self.served()

    async def test_2013_001(self) -> None:
        """Access lists with long names, and more or fewer entries than can be, are EINVAL; the old one stays."""
        await self.check_acls(
            b"1\n0\n" + b"x" * 1000 + b"\t1\n\0",
            b"1000\n0\n" + b"a\t1\n" * 200 + b"\0",
            b"1000\n1000\nsystem:anyuser\t127\n\0",
            b"-1\n0\nsystem:anyuser\t127\n\0",
            b"0\n-1\nsystem:anyuser\t127\n\0",
            b"99999999999999999999\n0\nsystem:anyuser\t127\n\0",
            b"21\n0\n" + b"system:anyuser\t1\n" * 21 + b"\0",
        )

    async def test_2024_002(self) -> None:
        """Access lists without a NUL, of no length, or without lines are EINVAL; what is fetched ends with a NUL."""
        await self.check_acls(b"1\n0\nsystem:anyuser\t127", b"", b"1 2", b"1 2\0", b"\0", b"1\n", b"1")
        text, _, _ = await self.fs.FetchACL(self.root)
        self.assertEqual((text[-1:], text.count(b"\0")), (b"\0", 1))

    async def check_acls(self, *texts: bytes) -> None:
        before = await self.cell.tool.get_acl(self.root)
        for text in texts:
            for store in (self.fs.StoreACL, self.fs.OldStoreACL):
                await self.get_on_well(self.cell.tool)
                self.assertEqual(await self.refusal(store(self.root, text)), EINVAL, text[:40])
        self.assertEqual(await self.cell.tool.get_acl(self.root), before)

    async def test_2018_7168(self) -> None:
        """Negative entries stay negative, whether they come by opcode 164 or 134 (CVE-2018-7168)."""
        for store in (self.fs.StoreACL, self.fs.OldStoreACL):
            granted, denied = {"system:administrators": 127}, {"system:anyuser": 9}
            await store(self.root, format_acl_text(granted, denied))
            self.assertEqual(await self.cell.tool.get_acl(self.root), (granted, denied))
            await store(self.root, format_acl_text({}, {}))
            self.assertEqual(await self.cell.tool.get_acl(self.root), ({}, {}))

    async def test_2014_001(self) -> None:
        """Whatever version of statistics a stranger asks for, there are as many as there are."""
        files = self.files(self.stranger)
        for version in (-(2**31), -1, 0, 1, STATS64_VERSION, STATS64_VERSION + 1, 2**31 - 1):
            try:
                self.assertLessEqual(len(await files.GetStatistics64(version)), STATS64_VERSION)
            except Abort as refusal:
                self.assertNotEqual(refusal.code, 0)
            for collection in (-(2**31), -1, 0, 3, 4, 2**31 - 1):
                await self.refusal(files.GetXStats(version, collection))
                await self.get_on_well(self.stranger)

    async def test_2015_006(self) -> None:
        """Patterns that kept a server busy for hours are answered like others, and only to administrators."""
        everything = VldbListByAttributes()
        strangers, locations = self.locations(self.stranger), self.locations(self.cell.tool)
        for pattern in BUSY_PATTERNS:
            code = await self.refusal(strangers.ListAttributesN2(everything, pattern, 0))
            self.assertEqual(code, VLError.VL_PERM, pattern)
            code = await self.refusal(locations.ListAttributesN2(everything, pattern, 0))
            self.assertIn(code, (0, VLError.VL_BADNAME), pattern)


class Enforced(AdvisoryTest):
    """A server with --cve-2018-7168-enforce."""

    settings = {"rules": Rules(refuse_old_store_acl=True)}

    async def test_2018_7168(self) -> None:
        """StoreACL by opcode 134 is unknown to it and changes nothing; by 164 it is as ever."""
        text = format_acl_text({"system:administrators": 127}, {"system:anyuser": 9})
        before = await self.cell.tool.get_acl(self.root)
        self.assertEqual(await self.refusal(self.fs.OldStoreACL(self.root, text)), RxgenCode.RXGEN_OPCODE)
        self.assertEqual(await self.cell.tool.get_acl(self.root), before)
        await self.fs.StoreACL(self.root, text)
        self.assertEqual(
            await self.cell.tool.get_acl(self.root), ({"system:administrators": 127}, {"system:anyuser": 9})
        )


class Replies(AdvisoryTest):
    """What leaves the servers."""

    async def test_2015_001(self) -> None:
        """Names are followed by zeros to the end of their field, and the same question has the same answer
        (2015-001, 2016-002, 2018-002, 2019-002).
        """
        transaction = await self.volumes(self.cell.tool).TransCreate(self.volume, 0, ITBusy)
        name = words(7) + b"private\0"
        for service, rpc, arguments, fields in (
            (VL, "GetEntryByNameO", name, [(0, VL_MAXNAMELEN)]),
            (VL, "GetEntryByNameN", name, [(0, VL_MAXNAMELEN)]),
            (VL, "GetEntryByNameU", name, [(0, VL_MAXNAMELEN)]),
            (VL, "GetAddrsU", words(1, 0x7F000001) + bytes(4 * 13), []),
            (AFSVol, "PartitionInfo", words(7) + b"/vicepa\0", [(0, 32), (32, 32)]),
            (AFSVol, "PartitionInfo64", words(7) + b"/vicepa\0", [(0, 256), (256, 256)]),
            (AFSVol, "ListOneVolume", words(0, self.volume), [(1, 32)]),
            (AFSVol, "XListOneVolume", words(0, self.volume), [(1, 32)]),
            (AFSVol, "Monitor", b"", [(10, 30)]),
        ):
            replies = [await self.raw(service, rpc, arguments) for _ in range(2)]
            self.assertEqual(replies[0], replies[1], rpc)
            for start, count in fields:
                field = replies[0][4 * start : 4 * (start + count)]
                letters = [int.from_bytes(field[at : at + 4], "big") for at in range(0, len(field), 4)]
                self.assertEqual(len(letters), count)
                self.assertIn(0, letters, rpc)
                self.assertEqual(set(letters[letters.index(0) :]), {0}, rpc)
        await self.volumes(self.cell.tool).EndTrans(transaction)

    async def test_2016_003(self) -> None:
        """A name that was removed, or renamed, is nowhere in the directory that is fetched."""
        names = [b"a-secret-plan-%02d-which-takes-more-than-a-blob" % number for number in range(40)]
        for name in names:
            await self.fs.MakeDir(self.directory, name, store_status(mode=0o755))
        for name in names[::2]:
            await self.fs.RemoveDir(self.directory, name)
        await self.fs.Rename(self.directory, names[1], self.directory, b"short")
        content = Buffer()
        await self.fs.FetchData64(self.directory, 0, 1 << 20, content)
        kept = set(names[1::2]) - {names[1]}
        for name in names:
            self.assertEqual(name in bytes(content), name in kept, name)
            self.assertEqual(name[8:] in bytes(content), name in kept, name)

    async def test_2024_003(self) -> None:
        """Counts beside arrays are their lengths, and arrays have as many elements as were asked for."""
        locations, volumes = self.locations(self.cell.tool), self.volumes(self.cell.tool)
        self.assertEqual(len(await volumes.ListOneVolume(0, self.volume)), 1)
        self.assertEqual(len(await volumes.XListOneVolume(0, self.volume)), 1)
        _, _, count, addresses = await locations.GetAddrsU(ListAddrByAttributes(Mask=1, ipaddr=0x7F000001))
        self.assertEqual(count, len(addresses))
        _, count, slots = await locations.GetAddrs(0, 0)
        self.assertEqual(count, len(slots))
        count, entries = await locations.ListAttributesN(VldbListByAttributes())
        self.assertEqual(count, len(entries))
        for many in (1, 2, 50):
            statuses, promises, _ = await self.fs.InlineBulkStatus((self.root,) * many)
            self.assertEqual((len(statuses), len(promises)), (many, many))
        _, name, offline, motd = await self.fs.GetVolumeStatus(self.volume)
        self.assertEqual((name, offline, motd), (b"private", b"", b""))
