"""A cell in this very process: a vlserver and fileservers on loopback addresses, with clients to talk to them.

async def setUp(self):
    self.cell = await start_cell(self)              # stopped at the end of the test
async def test_it(self):
    volume = await self.cell.create_volume(b"vol")
    status = await self.cell.client().status(AFSFid(volume, 1, 1))
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import TestCase

from afs.client import FileClient
from afs.rpc.partitions import VLPartitions
from afs.rpc.vl import NMAXNSERVERS, VLF_RWEXISTS, VLSF_RWVOL, nvldbentry
from afs.rpc.volpartitions import AFSVolPartitions
from afs.rpc.volser import volintInfo
from afs.types import AFSFid
from afs.users import Authority, UserList
from fileserver.interfaces import IPartition
from fileserver.partitions.define import Seed
from fileserver.partitions.means import Opener, openers
from fileserver.partitions.table import Known
from fileserver.service import FileserverService, Settings
from fileserver.store.memory import Disk, MemoryPartition
from fileserver.store.namei import Tenancy
from rx.taps import Tap
from rx.transport import RxPort
from vlserver.server import VLServer
from vlserver.store.memory import MemoryStore

VLSERVER = IPv4Address("127.0.0.1")

UNCHANGED = -1
"""In a field of volintInfo: SetInfo leaves it."""

ANY_PORT = 0


async def start_cell(
    case: TestCase,
    *,
    backend: str = "memory",
    fileservers: int = 1,
    noauth: bool = True,
    authority: Authority | None = None,
    tap: Tap | None = None,
    **settings: Any,
) -> Cell:
    """A cell that serves; it is stopped, and everything in it closed, at the end of the test.

    `backend` is memory or namei-user; fileserver n has the address 127.0.0.n and the one partition /vicepa. An
    `authority` replaces the one that `noauth` means. `tap` is on every server's ports. `settings` are further ones of
    the fileservers (`fileserver.service.Settings`), `authentication` of the vlserver too.
    """
    cell = Cell(Path(case.mktemp()), backend, noauth, authority=authority, tap=tap, settings=settings)
    case.addCleanup(lambda: maybeDeferred(cell.stop))
    await cell.start(fileservers)
    return cell


class KeptStore(MemoryStore):
    """What is in it stays when its vlserver ends."""

    async def close(self) -> None:
        """Keep all."""


class Fileserver:
    """One fileserver: what it keeps while it is stopped, and its service while it runs."""

    def __init__(
        self,
        home: Path,
        address: IPv4Address,
        backend: str,
        authority: Authority,
        tap: Tap | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.address = address
        self.more: list[IPv4Address] = []
        """Further addresses it serves on, from its next start."""
        self.disk = Disk()
        self.port = ANY_PORT
        self.volser_port = ANY_PORT
        self._home = home
        self._backend = backend
        self._authority = authority
        self._tap = tap
        self._settings = settings or {}
        self._service: FileserverService | None = None
        (home / "vicepa").mkdir(parents=True)

    @property
    def service(self) -> FileserverService:
        assert self._service is not None, "the fileserver does not run"
        return self._service

    @property
    def partition_path(self) -> Path:
        """Where its volumes are, with the namei-user back end."""
        return self._home / "vicepa"

    async def start(self, vlserver: tuple[str, int], ready: bool = True) -> None:
        """Start it, on the same ports as before; it serves afterwards unless `ready` is False."""
        from twisted.internet import reactor

        settings = Settings(
            state=self._home / "state",
            partitions=[self._seed()],
            openers=self._openers(reactor),
            vlservers=[vlserver],
            addresses=[self.address, *self.more],
            port=self.port,
            volser_port=self.volser_port,
            tap=self._tap,
            **self._settings,
        )
        self._service = FileserverService(settings, self._authority, reactor)
        self._service.startService()
        self.port = self._service.ports[0].address[1]
        self.volser_port = self._service.volser_ports[0].address[1]
        if ready:
            await self._service.ready

    async def stop(self) -> None:
        if self._service is not None:
            service, self._service = self._service, None
            await service.stopService()

    def _seed(self) -> Seed:
        if self._backend == "memory":
            return Seed("", 0, "memory", self.disk.uuid)
        return Seed(str(self.partition_path.absolute()), 0, self._backend)

    def _openers(self, reactor: Any) -> dict[str, Opener]:
        """The usual ones, but that what is in memory survives a restart."""

        def open_memory(known: Known, tenancy: Tenancy) -> IPartition:
            memory: IPartition = MemoryPartition(known.number, known.name, self.disk)
            return memory

        return openers(reactor) | {"memory": open_memory}


class Cell:
    """See the module."""

    def __init__(
        self,
        home: Path,
        backend: str,
        noauth: bool,
        *,
        authority: Authority | None = None,
        tap: Tap | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.fileservers: list[Fileserver] = []
        self._home = home
        self._backend = backend
        self._authority = authority or Authority(UserList(), noauth=noauth, own=[])
        self._tap = tap
        self._settings = settings
        self._clients: list[FileClient] = []
        self._vlserver: VLServer | None = None
        self._vlserver_port = ANY_PORT
        self._store = KeptStore(time.time)

    async def start(self, fileservers: int) -> None:
        """Run a vlserver and as many fileservers, all serving."""
        self.start_vlserver()
        for number in range(fileservers):
            await self.add_fileserver(number)

    def start_vlserver(self) -> None:
        """Run the vlserver, on the port it had before and with the entries it had."""
        from twisted.internet import reactor

        any_reactor: Any = reactor
        port = RxPort(any_reactor, str(VLSERVER), self._vlserver_port, tap=self._tap)
        authentication = (self._settings or {}).get("authentication")
        self._vlserver = VLServer(self._store, [port], self._authority, time.time, authentication=authentication)
        self._vlserver.startService()
        self._vlserver_port = port.address[1]

    async def stop_vlserver(self) -> None:
        if self._vlserver is not None:
            vlserver, self._vlserver = self._vlserver, None
            await vlserver.stopService()

    async def add_fileserver(self, number: int) -> Fileserver:
        """Run another fileserver, on the ports the others have."""
        home = self._home / f"fileserver{number}"
        fileserver = Fileserver(home, VLSERVER + number, self._backend, self._authority, self._tap, self._settings)
        if self.fileservers:
            fileserver.port, fileserver.volser_port = self.fileservers[0].port, self.fileservers[0].volser_port
        self.fileservers.append(fileserver)
        await fileserver.start(self.vlserver_address)
        return fileserver

    async def restart(self, number: int = 0) -> None:
        """Stop a fileserver cleanly and start it again on the same ports and volumes."""
        await self.fileservers[number].stop()
        await self.fileservers[number].start(self.vlserver_address)

    async def stop(self) -> None:
        """Stop everything; the clients first."""
        while self._clients:
            await self._clients.pop().stop()
        for fileserver in self.fileservers:
            await fileserver.stop()
        await self.stop_vlserver()

    @property
    def vlserver_address(self) -> tuple[str, int]:
        return str(VLSERVER), self._vlserver_port

    def client(self, **options: Any) -> FileClient:
        """A new client, a host of its own to the fileservers; the arguments are FileClient's."""
        from twisted.internet import reactor

        chosen: dict[str, Any] = {"address": str(VLSERVER), "fileserver_port": self.fileservers[0].port} | options
        client = FileClient(reactor, [self.vlserver_address], **chosen)
        client.start()
        self._clients.append(client)
        return client

    @property
    def tool(self) -> FileClient:
        """The client that the helpers below use."""
        return self._clients[0] if self._clients else self.client()

    @property
    def vl(self) -> VLPartitions:
        return self.tool.vl(self.vlserver_address)

    def volser(self, number: int = 0) -> AFSVolPartitions:
        """The volume server of a fileserver."""
        fileserver = self.fileservers[number]
        return self.tool.volser((str(fileserver.address), fileserver.volser_port))

    async def create_volume(
        self, name: bytes, *, number: int = 0, quota: int = 5000, acl: dict[str, str] | None = None
    ) -> int:
        """A volume made by the calls `vos create` makes; with `acl` set on its root. Returns its id."""
        volser = self.volser(number)
        volume_id = await self.vl.GetNewVolumeId(1)
        clones = await self.vl.GetNewVolumeId(2)
        _, transaction = await volser.CreateVolume(0, name, 0, 0, volume_id)
        keep = volintInfo(dayUse=UNCHANGED, creationDate=UNCHANGED, updateDate=UNCHANGED, spare2=UNCHANGED)
        keep.maxquota = quota
        await volser.SetInfo(transaction, keep)
        await volser.SetFlags(transaction, 0)
        rest = (0,) * (NMAXNSERVERS - 1)
        await self.vl.CreateEntryN(
            nvldbentry(
                name=name,
                nServers=1,
                serverNumber=(int(self.fileservers[number].address), *rest),
                serverPartition=(0, *rest),
                serverFlags=(VLSF_RWVOL, *rest),
                volumeId=(volume_id, clones, clones + 1),
                flags=VLF_RWEXISTS,
            )
        )
        await volser.EndTrans(transaction)
        if acl is not None:
            await self.tool.set_acl(AFSFid(volume_id, 1, 1), {"system:administrators": "rlidwka"} | acl)
        return volume_id
