"""A cell whose administrators are at one address, and callers from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from twisted.trial.unittest import TestCase

from afs.client import FileClient, store_status
from afs.errors import to_errno
from afs.rpc.fs import RXAFS
from afs.rpc.partitions import VLPartitions
from afs.rpc.vl import VL
from afs.rpc.volser import AFSVol
from afs.types import AFSFid
from afs.users import Authority, UserList
from rx.errors import Abort
from rx.security.interfaces import Identity
from rx.service import Operation, Service
from rx.taps import Tap
from tests.security.wire import Raw
from tests.support.cell import Cell, start_cell

HOME = "127.0.0.1"
"""Where administrators call from, the servers among themselves included."""

FOREIGN = "127.0.0.66"
"""Where everybody is anonymous."""

SECRET = b"nobody else's business"


class AtHome(Authority):
    """Says that callers from HOME are administrators, and refuses all others as ever."""

    def __init__(self) -> None:
        super().__init__(UserList())

    def is_administrator(self, identity: Identity, host: str) -> bool:
        return host == HOME or super().is_administrator(identity, host)


class SecurityTest(TestCase):
    """A cell with one volume, `private`, of administrators only: a file in its root directory, and a directory."""

    tap: Tap | None = None
    settings: Mapping[str, Any] = {}
    """What the fileserver is told besides."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.cell: Cell = await start_cell(self, authority=AtHome(), tap=self.tap, **self.settings)
        self.volume = await self.cell.create_volume(b"private", acl={})
        self.root = AFSFid(self.volume, 1, 1)
        self.fs = self.files(self.cell.tool)
        self.file, *_ = await self.fs.CreateFile(self.root, b"file", store_status(mode=0o644))
        self.directory, *_ = await self.fs.MakeDir(self.root, b"directory", store_status(mode=0o755))
        await self.cell.tool.store(self.file, SECRET, 0, len(SECRET))
        self.stranger = self.cell.client(address=FOREIGN)

    def files(self, client: FileClient) -> RXAFS:
        """The file server, as a client calls it."""
        server = self.cell.fileservers[0]
        return client.fs((str(server.address), server.port))

    async def get_on_well(self, client: FileClient) -> None:
        """A call to the file server that works, since refusals in a row are answered ever later (rx.aborts)."""
        await self.files(client).GetTime()

    def volumes(self, client: FileClient) -> AFSVol:
        """The volume server, as a client calls it."""
        server = self.cell.fileservers[0]
        return client.volser((str(server.address), server.volser_port))

    def locations(self, client: FileClient) -> VLPartitions:
        """The location server, as a client calls it."""
        return client.vl(self.cell.vlserver_address)


class AdvisoryTest(SecurityTest):
    """Calls of any bytes."""

    async def raw(self, service: type[Service], name: str, arguments: bytes, client: Any = None) -> bytes:
        """The reply to an RPC whose arguments are these bytes, by the administrator unless told."""
        (opcode,) = [each.opcode for each in service.operations.values() if each.name == name]
        server = self.cell.fileservers[0]
        port = {VL: self.cell.vlserver_address[1], RXAFS: server.port, AFSVol: server.volser_port}[service]
        if service is RXAFS:
            await self.get_on_well(client or self.cell.tool)
        connection = (client or self.cell.tool).caller((str(server.address), port), service.service_id)
        reply: bytes = await connection.call(cast("Operation", Raw(opcode, arguments)), (), 60.0)
        return reply

    async def refusal(self, call: Any) -> int:
        try:
            await call
        except Abort as refusal:
            return to_errno(refusal.code)
        return 0

    async def served(self) -> None:
        """Everything still answers."""
        await self.locations(self.stranger).ProbeServer()
        await self.volumes(self.stranger).ListPartitions()
        await self.files(self.stranger).GetTime()
