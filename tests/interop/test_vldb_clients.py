"""What clients other than vos ask of a vlserver, in the order they do, is answered by ours as by stock's."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from afs.rpc.vl import VL, VLADDR_UUID, ListAddrByAttributes
from rx.constants import RxCode, RxgenCode
from rx.transport import RxPort
from tests.interop.case import InteropTest
from tests.interop.stock import add_node
from tests.interop.vldb_cells import VldbCell, our_vlserver, stock_vlserver
from tests.vlserver.test_differential import Refused, Strangers, outcome

YFS_SERVICE = 2503


class ClientTests(InteropTest):
    """A volume on two stock fileservers, one of which has two addresses."""

    async def test_kafs(self) -> None:
        """The kernel's client: what is the server, where is the volume, which addresses do its servers have."""
        ours = await self.asked(await deferToThread(self.cell, our_vlserver))
        self.assertEqual(ours, await self.asked(await deferToThread(self.cell, stock_vlserver)))

    def cell(self, start: Any) -> VldbCell:
        """The cell and its volume."""
        cell = VldbCell(self.new_network(), start)
        cell.add_address("fs2", "112")
        cell.restart("fs2")
        for words in ("create fs1 a vol", "addsite fs1 a vol", "addsite fs2 b vol", "release vol"):
            cell.vos(*words.split()).check()
        return cell

    async def asked(self, cell: VldbCell) -> list[Any]:
        """The sequence of net/afs/vl_probe.c, vlclient.c and addr_list; UUIDs as the server's name."""
        any_reactor: Any = reactor
        node = add_node(cell.network, "ca")
        port = RxPort(any_reactor, node.address)
        with node.inside():
            port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop()))
        address = (cell.node.address, 7003)
        connection = port.connect(address, VL.service_id, dead_seconds=10)
        vl, stranger = VL.client(connection), Strangers.client(connection)
        yfs = Strangers.client(port.connect(address, YFS_SERVICE, dead_seconds=10))
        said: list[Any] = [await outcome(stranger.GetCapabilities()), await outcome(yfs.GetCapabilities())]
        self.assertEqual(said, [Refused(RxgenCode.RXGEN_OPCODE), Refused(RxCode.RX_INVALID_OPERATION)])
        entry = await vl.GetEntryByNameU(b"vol")
        for uuid, uniquifier in zip(entry.serverNumber[: entry.nServers], entry.serverUnique, strict=False):
            wanted = ListAddrByAttributes(Mask=VLADDR_UUID, uuid=uuid)
            _, now, count, addresses = await vl.GetAddrsU(wanted)
            said.append((uniquifier, now, count, addresses))
        self.assertEqual({count for _, _, count, _ in said[2:]}, {1, 2})
        entry.serverNumber = ()
        said += [entry, await outcome(stranger.GetEndpoints()), await outcome(stranger.GetCellName())]
        await vl.ProbeServer()
        said.append(await outcome(vl.GetEntryByNameU(b"nosuch")))
        return said
