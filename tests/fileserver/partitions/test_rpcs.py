"""The RPCs about partitions over the wire: which are served, to whom, and those between servers by themselves."""

from __future__ import annotations

from errno import ENOENT
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.trial.unittest import TestCase

from afs.errors import VolserError
from afs.rpc.partitions import PartitionRequest, PartitionServer
from afs.rpc.vl import NMAXNSERVERS, VLF_ROEXISTS, VLF_RWEXISTS, VLSF_ROVOL, VLSF_RWVOL, nvldbentry
from afs.rpc.volpartitions import (
    VOPS,
    VPART,
    VPCAP,
    AFSVolPartitions,
    VolHost,
    VolMove,
    VolPartition,
    VolPartitionOrder,
)
from afs.rpc.volser import AFSVol
from afs.types import NIL_UUID, AFSFid
from afs.users import Authority, UserList
from fileserver.volser.procedures import ANYONE
from rx.constants import RxgenCode
from rx.errors import Abort
from tests.fileserver.partitions.test_keeper import SharedCase
from tests.support.cell import start_cell

OURS = [
    each
    for each in AFSVolPartitions.operations.values()
    if each.name not in {o.name for o in AFSVol.operations.values()}
]
"""Those of partitions.xg."""


def arguments(name: str) -> list[Any]:
    """Some that mean nothing to the server."""
    stranger, request = uuid4(), PartitionRequest(uuid4())
    order, move = VolPartitionOrder(stranger, request), VolMove(uuid4(), stranger)
    known: dict[str, list[Any]] = {
        "PartitionCapabilities": [],
        "DefinePartition": [VolPartition(path=b"/nowhere", number=9), request],
        "RemovePartition": [stranger, request],
        "ListKnownPartitions": [NIL_UUID, 0],
        "GetPartition": [stranger],
        "GetOperation": [stranger, 0, 0],
        "ListOperations": [NIL_UUID],
        "MovePartition": [order, PartitionServer(uuid4())],
        "PrepareMove": [move],
        "TakePartition": [move],
        "TellHosts": [move, ()],
        "EndTakeover": [1, request],
        "CancelOperation": [stranger, request],
    }
    return known.get(name, [order])


async def code_of(volser: AFSVolPartitions, name: str) -> int:
    try:
        await getattr(volser, name)(*arguments(name))
    except Abort as refusal:
        return refusal.code
    return 0


class Privileges(TestCase):
    async def test_strangers(self) -> None:
        """Whoever is no administrator may ask what ANYONE lists, and nothing else."""
        authority = Authority(UserList(), noauth=True, own=[])
        cell = await start_cell(self, authority=authority)
        self.patch(authority, "is_administrator", lambda *_: False)
        for operation in OURS:
            refused = await code_of(cell.volser(), operation.name) == VolserError.VOLSERBAD_ACCESS
            self.assertEqual(refused, operation.name not in ANYONE, operation.name)

    async def test_served(self) -> None:
        """Every published RPC is served; of partitions and operations that nobody knows it says ENOENT."""
        cell = await start_cell(self)
        codes = {operation.name: await code_of(cell.volser(), operation.name) for operation in OURS}
        self.assertNotIn(RxgenCode.RXGEN_OPCODE, codes.values())
        answered = {"PartitionCapabilities", "DefinePartition", "ListKnownPartitions", "ListOperations", "TellHosts"}
        self.assertEqual({name for name, code in codes.items() if code == 0}, answered)
        self.assertEqual({code for name, code in codes.items() if name not in answered}, {ENOENT})

    async def test_capabilities(self) -> None:
        """A server without a salvager does not say that it has one."""
        cell = await start_cell(self)
        _, bits, _ = await cell.volser().PartitionCapabilities()
        self.assertFalse(bits & VPCAP.SALVAGE)
        self.assertTrue(bits & VPCAP.MOUNT and bits & VPCAP.MOVE)


class BetweenServers(SharedCase):
    async def test_prepare(self) -> None:
        """The target of a move says whether it could mount the partition, and changes nothing."""
        await self.define(1, self.shared, 1)
        move = VolMove(uuid4(), self.uuid)
        self.assertEqual((await self.volser(1).PrepareMove(move)).reason, b"")
        self.assertIn(b"in use", (await self.volser(0).PrepareMove(move)).reason)
        self.assertEqual(self.label().owner, self.server_uuid(0))

    async def test_take(self) -> None:
        """What the VLDB does not give it a server does not take, and says why."""
        await self.define(1, self.shared, 1)
        done = await self.volser(1).TakePartition(VolMove(uuid4(), self.uuid, text=b"nobody's move"))
        self.assertEqual(done.state, VOPS.FAILED)
        self.assertNotEqual(done.text, b"")
        self.assertEqual(self.label().owner, self.server_uuid(0))

    async def test_tell(self) -> None:
        """A server tells clients it never met that volumes are elsewhere, at the ports that the source names."""
        client = self.cell.client()
        address, port = client.address
        told = client.breaks.expect(AFSFid(7, 0, 0))
        host = VolHost(address=int.from_bytes(bytes(map(int, address.split("."))), "big"), port=port, volumes=(7,))
        await self.volser(1).TellHosts(VolMove(uuid4(), self.uuid), (host,))
        await told


class TwoSites(SharedCase):
    """One server, two of its partitions, one read-only volume on both."""

    async def test_clients_do_not_notice(self) -> None:
        """The VLDB has both sites, both partitions list the volume, and a client reads on when the first leaves."""
        volume = await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rl"})
        clone = volume + 1
        second = Path(self.mktemp()).absolute()
        second.mkdir(mode=0o700)
        state: Any = await self.define(0, second, 1, backend=b"namei-user", flags=VPART.CREATE)
        order = VolPartitionOrder(state.partition.uuid, PartitionRequest(uuid4()))
        self.assertEqual((await self.ended(0, await self.volser(0).MountPartition(order))).state, VOPS.DONE)
        for partition in (0, 1):
            _, transaction = await self.volser(0).CreateVolume(partition, b"root.afs.readonly", 1, volume, clone)
            await self.volser(0).SetFlags(transaction, 0)
            await self.volser(0).EndTrans(transaction)
        await self.vl.ReplaceEntryN(volume, 0, self.entry(volume), 0)
        found = await self.vl.GetEntryByNameU(b"root.afs")
        sites = zip(found.serverFlags, found.serverPartition, strict=True)
        self.assertEqual(sorted(number for flags, number in sites if flags & VLSF_ROVOL), [0, 1])
        for partition in (0, 1):
            self.assertIn(clone, [each.volid for each in await self.volser(0).XListVolumes(partition, 1)])
        client = self.cell.client()
        before = await client.status(AFSFid(clone, 1, 1))
        self.assertEqual((await self.unmount(0)).state, VOPS.DONE)
        self.assertEqual((await client.status(AFSFid(clone, 1, 1))).FileType, before.FileType)
        with self.assertRaises(Abort):
            await client.status(AFSFid(volume, 1, 1))

    def entry(self, volume: int) -> nvldbentry:
        rest = (0,) * (NMAXNSERVERS - 3)
        server = int(self.cell.fileservers[0].address)
        return nvldbentry(
            name=b"root.afs",
            nServers=3,
            serverNumber=(server, server, server, *rest),
            serverPartition=(0, 0, 1, *rest),
            serverFlags=(VLSF_RWVOL, VLSF_ROVOL, VLSF_ROVOL, *rest),
            volumeId=(volume, volume + 1, volume + 2),
            flags=VLF_RWEXISTS | VLF_ROEXISTS,
        )
