"""A fileserver as a whole, with its vlserver, over real sockets on loopback."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from uuid import UUID

from twisted.internet.error import CannotListenError
from twisted.trial.unittest import TestCase

import rx.connection
from afs.acl import parse_rights
from afs.client import store_status
from afs.errors import VolumeError
from afs.rpc.vl import VLADDR_UUID, ListAddrByAttributes
from afs.types import AFSFid
from afs.users import Authority, UserList
from fileserver.interfaces import Damaged
from fileserver.registration import own_uuid, read_sysid, write_sysid
from rx.errors import Abort, RxError
from tests.support.cell import Fileserver, start_cell

DEAD_SECONDS = 1.0
"""Silence after which a client takes a server for dead here."""


class Serving(TestCase):
    backend = "memory"

    async def test_a_volume_from_making_to_reading(self) -> None:
        """A volume made as vos makes one has a root directory that clients can read and write."""
        cell = await start_cell(self, backend=self.backend)
        volume = await cell.create_volume(b"vol", acl={"system:anyuser": "rlidwk"})
        client = cell.client()
        root = AFSFid(volume, 1, 1)
        status = await client.status(root)
        self.assertEqual((status.FileType, status.LinkCount), (2, 2))
        granted, _ = await client.get_acl(root)
        self.assertEqual(
            granted, {"system:administrators": parse_rights("all"), "system:anyuser": parse_rights("write")}
        )

    async def test_two_addresses(self) -> None:
        """What a client is told comes from the address that it called."""
        cell = await start_cell(self, backend=self.backend)
        volume = await cell.create_volume(b"vol", acl={"system:anyuser": "rlidwk"})
        fileserver = cell.fileservers[0]
        await fileserver.stop()
        fileserver.more = [IPv4Address("127.0.0.77")]
        await fileserver.start(cell.vlserver_address)
        root = AFSFid(volume, 1, 1)
        for address in ("127.0.0.77", str(fileserver.address)):
            client, writer = cell.client(), cell.client()
            await client.fs((address, fileserver.port)).FetchStatus(root)
            told = client.breaks.expect(root)
            await writer.fs((str(fileserver.address), fileserver.port)).MakeDir(root, address.encode(), store_status())
            self.assertEqual((await told).server, (address, fileserver.port))

    async def test_it_is_all_there_after_a_restart(self) -> None:
        """What was stored before a clean stop is served after the next start, under the same UUID."""
        cell = await start_cell(self, backend=self.backend)
        volume = await cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        await cell.client().write_file("/greeting", b"hello")
        sysid = cell.fileservers[0].service.settings.state / "sysid"
        uuid = read_sysid(sysid)
        await cell.restart()
        self.assertEqual(await cell.client().read_file("/greeting"), b"hello")
        self.assertEqual(read_sysid(sysid), uuid)
        header = (await cell.volser().ListOneVolume(0, volume))[0]
        self.assertEqual(header.name, b"root.afs")

    async def test_a_stopped_fileserver_left_its_volumes_closed(self) -> None:
        """After a clean stop no volume is marked in use."""
        cell = await start_cell(self)
        volume = await cell.create_volume(b"vol")
        await cell.client().status(AFSFid(volume, 1, 1))
        disk = cell.fileservers[0].disk
        self.assertEqual(disk.volumes[volume].header.in_use, 1)
        await cell.fileservers[0].stop()
        self.assertEqual(disk.volumes[volume].header.in_use, 0)


class ServingNamei(Serving):
    """The same with volumes on disk."""

    backend = "namei-user"

    async def test_a_stopped_fileserver_left_its_volumes_closed(self) -> None:
        """The partition can be opened by the next server at once."""
        cell = await start_cell(self, backend=self.backend)
        await cell.create_volume(b"vol")
        await cell.restart()


class Registering(TestCase):
    async def test_registered(self) -> None:
        """A fileserver that serves is known to the vlserver by UUID and address."""
        cell = await start_cell(self)
        uuid = read_sysid(cell.fileservers[0].service.settings.state / "sysid")
        assert uuid is not None
        found, _, _, addresses = await cell.vl.GetAddrsU(ListAddrByAttributes(Mask=VLADDR_UUID, uuid=uuid))
        self.assertEqual((found, addresses), (uuid, (int(IPv4Address("127.0.0.1")),)))

    async def test_nothing_is_served_before(self) -> None:
        """Without a vlserver nothing is served; once there is one, the fileserver comes by itself."""
        cell = await start_cell(self)
        fileserver = cell.fileservers[0]
        await fileserver.stop()
        await cell.stop_vlserver()
        await fileserver.start(cell.vlserver_address, ready=False)
        self.patch(rx.connection, "LEAST_DEAD_SECONDS", DEAD_SECONDS)
        client = cell.client(dead_seconds=DEAD_SECONDS)
        fs = client.fs((str(fileserver.address), fileserver.port))
        with self.assertRaises(RxError):
            await fs.GetTime()
        self.assertFalse(fileserver.service.ready.called)
        cell.start_vlserver()
        await fileserver.service.ready
        await fs.GetTime()

    async def test_a_port_in_use_is_named(self) -> None:
        """Two fileservers cannot have one port, and the second says which."""
        cell = await start_cell(self)
        first = cell.fileservers[0]
        second = Fileserver(Path(self.mktemp()), first.address, "memory", Authority(UserList(), noauth=True, own=[]))
        second.port, second.volser_port = first.port, first.volser_port
        with self.assertRaises(CannotListenError) as refused:
            await second.start(cell.vlserver_address)
        self.assertIn(str(first.port), str(refused.exception))


class Stopping(TestCase):
    async def test_clients_are_told(self) -> None:
        """A server that is stopping refuses with VRESTARTING, which makes clients wait and not give up."""
        cell = await start_cell(self)
        volume = await cell.create_volume(b"vol")
        client = cell.client()
        await client.status(AFSFid(volume, 1, 1))
        for port in cell.fileservers[0].service.ports:
            port.tranquil(VolumeError.VRESTARTING)
        with self.assertRaises(Abort) as refused:
            await client.status(AFSFid(volume, 1, 1))
        self.assertEqual(refused.exception.code, VolumeError.VRESTARTING)


class Sysid(TestCase):
    UUID = UUID("01234567-89ab-cdef-0123-456789abcdef")

    def test_layout(self) -> None:
        """The file has stock's layout: native magic, version and count; UUID and addresses in network order."""
        path = Path(self.mktemp())
        write_sysid(path, self.UUID, [IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")])
        self.assertEqual(
            path.read_bytes().hex(),
            "ccbbaa88010000000123456789abcdef0123456789abcdef020000000a0000010a000002",
        )
        self.assertEqual(read_sysid(path), self.UUID)

    def test_kept(self) -> None:
        """A server's UUID is chosen once."""
        path = Path(self.mktemp()) / "state" / "sysid"
        self.assertEqual(own_uuid(path, []), own_uuid(path, []))

    def test_damaged(self) -> None:
        """A file that is something else is not overwritten."""
        path = Path(self.mktemp())
        for content in (b"", b"garbage", bytes(60)):
            path.write_bytes(content)
            self.assertRaises(Damaged, own_uuid, path, [])
            self.assertEqual(path.read_bytes(), content)
