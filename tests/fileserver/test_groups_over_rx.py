"""A whole fileserver that asks a protection server over Rx, with a second one to fall back on."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from afs.acl import ANONYMOUSID, ANYUSERID, AUTHUSERID
from afs.client import FileClient
from afs.errors import PrError, UbikError
from afs.rpc.pr import PR
from afs.types import AFSFid
from rx.errors import Abort
from rx.server import Server
from rx.transport import RxPort
from tests.support.cell import start_cell

LAB = -208


class Ptserver(PR):
    """Knows the group `lab`, in which every caller from loopback is."""

    async def NameToID(self, nlist: tuple[bytes, ...]) -> tuple[int, ...]:
        known = {b"lab": LAB, b"system:anyuser": ANYUSERID, b"system:authuser": AUTHUSERID}
        return tuple(known.get(name, ANONYMOUSID) for name in nlist)

    async def IDToName(self, ilist: tuple[int, ...]) -> tuple[bytes, ...]:
        return tuple(b"lab" if each == LAB else b"%d" % each for each in ilist)

    async def GetCPS(self, entry_id: int) -> tuple[tuple[int, ...], int]:
        if entry_id != ANONYMOUSID:
            raise Abort(PrError.PRNOENT)
        return (ANYUSERID, ANONYMOUSID), 0

    async def GetHostCPS(self, host: int) -> tuple[tuple[int, ...], int]:
        return (LAB,), 0


class Served(TestCase):
    def new_port(self) -> RxPort:
        any_reactor: Any = reactor
        port = RxPort(any_reactor, "127.0.0.1", 0)
        port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop(0)))
        return port

    async def serving(self, *ptservers: tuple[str, int]) -> tuple[FileClient, AFSFid]:
        """A client and the root of a volume that nobody has rights to but administrators."""
        cell = await start_cell(self, ptservers=ptservers)
        volume = await cell.create_volume(b"vol")
        return cell.client(), AFSFid(volume, 1, 1)

    async def test_rights_of_a_machine(self) -> None:
        """A list that names a group of machines lets those in; a server without a quorum is passed over."""
        lonely, voted = self.new_port(), self.new_port()
        Server(lonely).add(PR, lambda call: Ptserver())
        lonely.tranquil(UbikError.UNOQUORUM)
        Server(voted).add(PR, lambda call: Ptserver())
        client, root = await self.serving(lonely.address, voted.address)
        await client.set_acl(root, {"lab": "rlidwk"})
        granted, _ = await client.get_acl(root)
        self.assertEqual(list(granted), ["lab"])
        status = await client.status(root)
        self.assertEqual((status.CallerAccess & 63, status.AnonymousAccess), (63, 63))

    async def test_without_one(self) -> None:
        """Without protection servers the name of such a group is unknown."""
        client, root = await self.serving()
        with self.assertRaises(Abort):
            await client.set_acl(root, {"lab": "rlidwk"})
