"""Our client with stock servers and with ours: what its coroutines say happens, whoever answers."""

import errno
from typing import Any

from twisted.internet.threads import deferToThread

from afs.client import FileClient
from afs.errors import UnifiedError, VolumeError
from afs.rpc.fs import RXAFS
from afs.rpc.vl import ListAddrByAttributes
from afs.types import VICED_CAPABILITY_64BITFILES, VICED_CAPABILITY_ERRORTRANS, VICED_CAPABILITY_WRITELOCKACL, AFSFid
from rx.constants import RxgenCode
from rx.errors import Abort
from tests.interop.case import InteropTest
from tests.interop.namespaces import Network
from tests.interop.ours import OurServers
from tests.interop.stock import StockCell, add_node, address_of

VOLUMES = ("scratch", "other")
LARGE = bytes(range(256)) * 20_000
ALWAYS = VICED_CAPABILITY_ERRORTRANS | VICED_CAPABILITY_64BITFILES | VICED_CAPABILITY_WRITELOCKACL


class OwnClientTests(InteropTest):
    """The same conversation with a stock cell and with ours."""

    async def refused(self, awaitable: Any) -> int:
        try:
            await awaitable
        except Abort as refusal:
            return refusal.code
        raise AssertionError("was not refused")

    async def test_stock_servers(self) -> None:
        """Stock servers do what the client says: files, names, access lists, locks, promises, locations."""
        network = self.new_network()
        await deferToThread(StockCell, network, VOLUMES)
        fs = await self.everything(network)
        self.assertEqual(await self.refused(fs.StoreACL(AFSFid(1, 1, 1), b"")), RxgenCode.RXGEN_OPCODE)

    async def test_our_servers(self) -> None:
        """Ours do the same, and know the newer StoreACL."""
        network = self.new_network()
        servers = await deferToThread(OurServers, network)
        administrator = self.own_client(servers.node)
        for volume in VOLUMES:
            (await servers.node.run("vos", "create", "fs1", "a", volume, "-maxquota", "0", "-noauth")).check()
            administrator.root_volume = volume.encode()
            await administrator.set_acl("/", {"system:administrators": "all", "system:anyuser": "all"})
        fs = await self.everything(network)
        self.assertEqual(await self.refused(fs.StoreACL(AFSFid(1, 1, 1), b"")), VolumeError.VNOVOL)

    async def everything(self, network: Network) -> RXAFS:
        """The whole conversation; the file service at the end of it."""
        client = self.own_client(add_node(network, "ca"))
        other = self.own_client(add_node(network, "cb"))
        client.root_volume = other.root_volume = b"scratch"
        await self.files(client)
        await self.names(client)
        await self.access_lists(client)
        await self.locks(client, other)
        await self.promises(client, other)
        return await self.servers(client)

    async def files(self, client: FileClient) -> None:
        await client.write_file("/large", LARGE)
        self.assertEqual(await client.read_file("/large"), LARGE)
        status = await client.store("/large", b"abc", 4, 10)
        self.assertEqual((status.Length, await client.read_file("/large")), (10, b"\0\1\2\3abc\7\x08\t"))
        await client.set_status("/large", mode=0o600, mtime=1_000_000)
        status = await client.status("/large")
        self.assertEqual((status.UnixModeBits, status.ClientModTime), (0o600, 1_000_000))
        found = await client.bulk_status([await client.resolve("/large"), AFSFid(await self.volume(client), 9000, 1)])
        self.assertEqual((found[0].Length, found[1].errorCode), (10, 102))

    async def names(self, client: FileClient) -> None:
        await client.mkdir("/dir")
        for number in range(200):
            await client.create(f"/dir/{'n' * (number % 100)}{number}")
        self.assertEqual(len(await client.list_directory("/dir")), 202)
        await client.write_file("/dir/one", b"one")
        await client.link("/dir/one", "/dir/two")
        await client.rename("/dir/one", "/dir/three")
        await client.symlink(b"dir/three", "/link")
        self.assertEqual(await client.read_file("/link"), b"one")
        self.assertEqual(await self.refused(client.rmdir("/dir")), errno.EEXIST)
        self.assertEqual(await self.refused(client.mkdir("/dir")), errno.EEXIST)
        self.assertEqual(await self.refused(client.remove("/dir")), errno.EISDIR)
        await client.make_mount_point("/mounted", b"other")
        await client.write_file("/mounted/file", b"in the other volume")
        self.assertEqual(await client.read_link("/mounted"), b"#other.")
        status, name = await client.volume_status("/mounted")
        self.assertEqual((name, status.MaxQuota), (b"other", 0))
        self.assertEqual(await self.refused(client.set_quota("/mounted", 5)), errno.EACCES)
        self.assertEqual(await self.refused(client.rename("/dir/two", "/mounted/two")), errno.EXDEV)

    async def access_lists(self, client: FileClient) -> None:
        nobody: dict[str, int] = {}
        expected = ({"system:administrators": 127, "system:anyuser": 127}, nobody)
        self.assertEqual(await client.get_acl("/dir"), expected)
        await client.set_acl("/dir", {"system:anyuser": "rlda"}, {"system:authuser": "w"})
        self.assertEqual(await client.get_acl("/dir"), ({"system:anyuser": 1 + 8 + 16 + 64}, {"system:authuser": 2}))
        self.assertEqual(await self.refused(client.write_file("/dir/two", b"")), errno.EACCES)
        self.assertEqual(await self.refused(client.set_acl("/dir", {"nobody.knows": "all"})), errno.EINVAL)

    async def locks(self, client: FileClient, other: FileClient) -> None:
        await client.lock("/large", write=True)
        await client.extend_lock("/large")
        self.assertEqual(await self.refused(other.lock("/large")), errno.EAGAIN)
        await client.release_lock("/large")
        await other.lock("/large")
        await other.release_lock("/large")
        self.assertEqual(await self.refused(other.extend_lock("/large")), errno.EINVAL)

    async def promises(self, client: FileClient, other: FileClient) -> None:
        fid = await client.create("/promised")
        await other.status(fid)
        told = other.breaks.expect(fid)
        await client.write_file("/promised", b"changed")
        self.assertEqual((await told).server, (address_of("fs1"), 7000))
        self.assertEqual(await other.read_file(fid), b"changed")
        kinds = {event.kind for event in other.breaks.history}
        self.assertLessEqual({"identify", "reset", "break"}, kinds)

    async def servers(self, client: FileClient) -> RXAFS:
        fs = client.fs((address_of("fs1"), 7000))
        (capabilities,) = await fs.GetCapabilities()
        self.assertEqual(capabilities & ALWAYS, ALWAYS)
        seconds, _ = await fs.GetTime()
        self.assertGreater(seconds, 1_600_000_000)
        root = AFSFid(await self.volume(client), 1, 1)
        self.assertEqual(await self.refused(fs.RemoveFile(root, b"dir")), UnifiedError.UAEISDIR)
        for nowhere in (AFSFid(0, 1, 1), AFSFid(root.Volume, 0, 1)):
            self.assertEqual(await self.refused(fs.RemoveFile(nowhere, b"x")), UnifiedError.UAEINVAL)
            self.assertEqual(await self.refused(fs.FetchStatus(nowhere)), UnifiedError.UAEINVAL)
        self.assertEqual(len(await fs.GetStatistics64(16)), 16)
        vl = client.vl((address_of("fs1"), 7003))
        _, _, count, addresses = await vl.GetAddrsU(ListAddrByAttributes(Mask=2, index=1))
        self.assertEqual((count, [f"{each:08x}" for each in addresses]), (1, [_hex(address_of("fs1"))]))
        volser = client.volser((address_of("fs1"), 7005))
        self.assertEqual(await volser.XListPartitions(), (0,))
        names = {each.name for each in await volser.ListVolumes(0, 1)}
        self.assertLessEqual({b"scratch", b"other"}, names)
        return fs

    async def volume(self, client: FileClient) -> int:
        return await client.locator.volume_id(b"scratch")


def _hex(address: str) -> str:
    return "".join(f"{int(byte):02x}" for byte in address.split("."))
