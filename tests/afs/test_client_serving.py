"""The client against servers of ours over real Rx: each coroutine does what it says, and breaks arrive."""

import errno
from typing import Any
from uuid import UUID

from twisted.trial.unittest import TestCase

from afs.client import FileClient
from afs.errors import UnifiedError
from afs.rpc.cb import RXAFSCB
from afs.rpc.fs import RXAFS
from afs.rpc.vl import VL
from afs.rpc.volser import AFSVol
from afs.types import CLIENT_CAPABILITY_ERRORTRANS, AFSFid
from rx.errors import Abort
from rx.streams import Buffer
from tests.support.cell import Cell, start_cell

TIMEOUT = 30.0
LARGE = 3_000_000  # bytes: more than Rx keeps under way at once
SOMEBODY = UUID(int=5)


class ClientTests(TestCase):
    """A cell with root.afs, in which a volume is mounted that everybody may write to."""

    timeout = TIMEOUT

    cell: Cell
    client: FileClient

    async def setUp(self) -> None:  # type: ignore[override]
        self.cell = await start_cell(self)
        self.client = self.cell.client()
        anybody = {"system:anyuser": "rlidwk"}
        await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwka"})
        self.volume = await self.cell.create_volume(b"vol", acl=anybody)
        await self.client.make_mount_point("/afs/vol", b"vol")

    async def refused(self, awaitable: Any) -> int:
        try:
            await awaitable
        except Abort as refusal:
            return refusal.code
        raise AssertionError("was not refused")

    async def test_content(self) -> None:
        """Files are written whole or in part, and read back the same."""
        await self.client.write_file("/afs/vol/file", b"0123456789")
        self.assertEqual(await self.client.read_file("/afs/vol/file"), b"0123456789")
        status = await self.client.store("/afs/vol/file", b"abc", 4, 10)
        self.assertEqual(status.Length, 10)
        self.assertEqual(await self.client.read_file("/afs/vol/file", 3, 5), b"3abc7")
        status = await self.client.store("/afs/vol/file", b"", 0, 4)
        self.assertEqual((status.Length, await self.client.read_file("/afs/vol/file")), (4, b"0123"))
        await self.client.write_file("/afs/vol/file", b"")
        self.assertEqual(await self.client.read_file("/afs/vol/file"), b"")

    async def test_keepalive(self) -> None:
        """The way back from file servers, which make promises, is kept open, and no other."""
        await self.client.status("/afs/vol")
        kept = {each.service_id: each.nat_keepalive for each in self.client._port.endpoint.client_connections}
        self.assertEqual(kept, {RXAFS.service_id: True, VL.service_id: False, AFSVol.service_id: False})

    async def test_large(self) -> None:
        """Large content streams both ways."""
        content = bytes(range(256)) * (LARGE // 256)
        await self.client.write_file("/afs/vol/large", content)
        sink = Buffer()
        await self.client.fetch("/afs/vol/large", sink, 0, 2 * LARGE)
        self.assertEqual((sink.length, bytes(sink)), (len(content), content))

    async def test_names(self) -> None:
        """Names are made, renamed, linked and removed."""
        made = await self.client.mkdir("/afs/vol/dir")
        self.assertEqual(await self.client.resolve("/afs/vol/dir"), made)
        await self.client.write_file("/afs/vol/dir/one", b"one")
        await self.client.link("/afs/vol/dir/one", "/afs/vol/dir/two")
        self.assertEqual((await self.client.status("/afs/vol/dir/two")).LinkCount, 2)
        await self.client.rename("/afs/vol/dir/one", "/afs/vol/dir/three")
        self.assertEqual(set(await self.client.list_directory("/afs/vol/dir")), {b".", b"..", b"two", b"three"})
        self.assertEqual(await self.refused(self.client.rmdir("/afs/vol/dir")), errno.EEXIST)
        await self.client.remove("/afs/vol/dir/two")
        await self.client.remove("/afs/vol/dir/three")
        await self.client.rmdir("/afs/vol/dir")
        self.assertEqual(await self.refused(self.client.resolve("/afs/vol/dir")), errno.ENOENT)
        self.assertEqual(await self.refused(self.client.mkdir("/afs/vol")), errno.EEXIST)

    async def test_links(self) -> None:
        """Symbolic links and mount points are what they were made, and lead where they say."""
        await self.client.write_file("/afs/vol/file", b"content")
        await self.client.symlink(b"vol/file", "/afs/link")
        self.assertEqual(await self.client.read_link("/afs/link"), b"vol/file")
        self.assertEqual(await self.client.read_file("/afs/link"), b"content")
        self.assertEqual(await self.client.read_link("/afs/vol"), b"#vol.")
        self.assertEqual(await self.client.resolve("/afs/vol"), AFSFid(self.volume, 1, 1))
        await self.client.remove("/afs/vol")
        self.assertEqual(await self.refused(self.client.resolve("/afs/vol")), errno.ENOENT)

    async def test_status(self) -> None:
        """Status is changed and read, one file at a time or many."""
        fid = await self.client.create("/afs/vol/file", mode=0o600)
        await self.client.set_status(fid, mode=0o640, mtime=1_000_000)
        status = await self.client.status(fid)
        self.assertEqual((status.UnixModeBits, status.ClientModTime), (0o640, 1_000_000))
        missing = AFSFid(fid.Volume, fid.Vnode + 2000, 1)
        found = await self.client.bulk_status([fid, missing] * 30)
        self.assertEqual(len(found), 60)
        self.assertEqual(found[58].UnixModeBits, 0o640)
        self.assertNotEqual(found[59].errorCode, 0)

    async def test_access_lists(self) -> None:
        """An access list is replaced, positives and negatives; unknown names are refused and change nothing."""
        granted, denied = {"system:anyuser": "rlidwka", "system:authuser": "A"}, {"system:authuser": "w"}
        await self.client.set_acl("/afs", granted, denied)
        expected = ({"system:anyuser": 127, "system:authuser": 1 << 24}, {"system:authuser": 2})
        self.assertEqual(await self.client.get_acl("/afs"), expected)
        self.assertEqual(await self.refused(self.client.set_acl("/afs", {"nobody.knows": "all"})), errno.EINVAL)
        self.assertEqual(await self.client.get_acl("/afs"), expected)

    async def test_locks(self) -> None:
        """A write lock keeps other locks out until it is released."""
        other = self.cell.client()
        fid = await self.client.create("/afs/vol/file")
        await self.client.lock(fid, write=True)
        await self.client.extend_lock(fid)
        self.assertEqual(await self.refused(other.lock(fid)), errno.EAGAIN)
        await self.client.release_lock(fid)
        await other.lock(fid)
        await self.client.lock(fid)
        await other.release_lock(fid)
        await self.client.release_lock(fid)
        self.assertEqual(await self.refused(other.extend_lock(fid)), errno.EINVAL)

    async def test_volume_status(self) -> None:
        """Quota and name of the volume a file is in."""
        await self.client.set_quota("/afs/vol", 1234)
        status, name = await self.client.volume_status("/afs/vol")
        self.assertEqual((status.Vid, status.MaxQuota, name), (self.volume, 1234, b"vol"))

    async def test_breaks(self) -> None:
        """Who has a promise about a file is told when another client changes it, and only then."""
        other = self.cell.client()
        fid = await self.client.create("/afs/vol/file")
        await other.status(fid)
        told = other.breaks.expect(fid)
        await self.client.write_file("/afs/vol/file", b"new")
        event = await told
        self.assertEqual((event.kind, event.fid), ("break", (fid.Volume, fid.Vnode, fid.Unique)))
        self.assertEqual(self.client.breaks.of(fid), [])
        self.assertEqual(len(other.breaks.of(fid)), 1)

    async def test_given_up(self) -> None:
        """A promise that was given up is not broken."""
        other = self.cell.client()
        fid, witness = await self.client.create("/afs/vol/file"), await self.client.create("/afs/vol/witness")
        for each in (fid, witness):
            await other.status(each)
        await other.give_up(fid)
        told = other.breaks.expect(witness)
        await self.client.set_status(fid, mode=0o600)
        await self.client.set_status(witness, mode=0o600)
        await told
        self.assertEqual(other.breaks.of(fid), [])

    async def test_all_given_up(self) -> None:
        """A client that gives up everything is told nothing more."""
        other = self.cell.client()
        fid = await self.client.create("/afs/vol/file")
        await other.status(fid)
        await other.give_up_all()
        told = self.client.breaks.expect(fid)
        await self.client.status(fid)
        await other.set_status(fid, mode=0o600)
        await told
        await self.client.set_status(fid, mode=0o640)
        self.assertEqual(other.breaks.of(fid), [])

    async def test_errors_as_asked(self) -> None:
        """Unified errors come to those who announce the capability; the methods answer errnos either way."""
        for unified, expected in ((True, UnifiedError.UAEISDIR), (False, errno.EISDIR)):
            client = self.cell.client(unified_errors=unified)
            fs = client.fs((str(self.cell.fileservers[0].address), self.cell.fileservers[0].port))
            root = AFSFid(self.volume, 1, 1)
            await client.mkdir("/afs/vol/dir")
            self.assertEqual(await self.refused(fs.RemoveFile(root, b"dir")), expected)
            self.assertEqual(await self.refused(client.remove("/afs/vol/dir")), errno.EISDIR)
            await client.rmdir("/afs/vol/dir")


class CallBackServiceTests(TestCase):
    """What a client answers to file servers."""

    timeout = TIMEOUT

    async def setUp(self) -> None:  # type: ignore[override]
        self.cell = await start_cell(self)
        self.asking, self.asked = self.cell.client(), self.cell.client()
        self.service = RXAFSCB.client(self.asking.caller(self.asked.address, RXAFSCB.service_id))

    async def test_identity(self) -> None:
        """It says who it is, and whether it is somebody."""
        interfaces, capabilities = await self.service.TellMeAboutYourself()
        self.assertEqual((interfaces.uuid, interfaces.numberOfInterfaces), (self.asked.uuid, 1))
        self.assertEqual(interfaces.addr_in[0], 0x7F00_0001)
        self.assertEqual(capabilities, (CLIENT_CAPABILITY_ERRORTRANS,))
        self.assertEqual((await self.service.WhoAreYou()).uuid, self.asked.uuid)
        await self.service.Probe()
        await self.service.ProbeUuid(self.asked.uuid)
        with self.assertRaises(Abort) as caught:
            await self.service.ProbeUuid(SOMEBODY)
        self.assertEqual(caught.exception.code, 1)

    async def test_record(self) -> None:
        """It records what it is told, in order and with who said it; a break of a volume is one of its files too."""
        expected = self.asked.breaks.expect(AFSFid(7, 8, 9))
        reset = self.asked.breaks.expect(kind="reset")
        await self.service.CallBack((AFSFid(1, 2, 3), AFSFid(7, 0, 0)), ())
        await self.service.InitCallBackState3(SOMEBODY)
        self.assertEqual((await expected).fid, (7, 0, 0))
        self.assertEqual((await reset).server, self.asking.address)
        kinds = [event.kind for event in self.asked.breaks.history]
        self.assertEqual(kinds, ["break", "break", "reset"])
        self.assertEqual(len(self.asked.breaks.of(AFSFid(1, 2, 3))), 1)

    async def test_not_served(self) -> None:
        """What it does not answer is RXGEN_OPCODE."""
        with self.assertRaises(Abort) as caught:
            await self.service.InitCallBackState2()
        self.assertEqual(caught.exception.code, -455)
