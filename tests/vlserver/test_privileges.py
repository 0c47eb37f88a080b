"""Who may call what, over every opcode of the service; and what GetStats counts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from afs.errors import VLError
from afs.rpc.partitions import (
    PartitionAll,
    PartitionClaim,
    PartitionDefinition,
    PartitionDescription,
    PartitionPlace,
    PartitionRelease,
    PartitionRequest,
    PartitionServer,
    PartitionWatch,
    VLPartitions,
)
from afs.rpc.vl import (
    ListAddrByAttributes,
    VldbListByAttributes,
    VldbUpdateEntry,
)
from rx.constants import RxgenCode
from rx.errors import Abort
from tests.vlserver.support import SERVED, VldbTest, entry, old_entry, uip
from vlserver.operations.servers import REMOVE
from vlserver.procedures.privileges import PRIVILEGES, Privilege

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "CreateEntry": (old_entry(),),
    "CreateEntryN": (entry(),),
    "ReplaceEntry": (100, 0, old_entry(), 0),
    "ReplaceEntryN": (100, 0, entry(), 0),
    "UpdateEntry": (100, 0, VldbUpdateEntry(), 0),
    "UpdateEntryByName": (b"vol", VldbUpdateEntry(), 0),
    "DeleteEntry": (100, 0),
    "SetLock": (100, 0, 0x10),
    "ReleaseLock": (100, 0, 7),
    "GetNewVolumeId": (1,),
    "ChangeAddr": (1, 2),
    "RegisterAddrs": (UUID(int=1), 0, (1,)),
    "ListEntry": (0,),
    "ListEntryN": (0,),
    "ListAttributes": (VldbListByAttributes(),),
    "ListAttributesN": (VldbListByAttributes(),),
    "ListAttributesN2": (VldbListByAttributes(), b"", 0),
    "LinkedList": (VldbListByAttributes(),),
    "LinkedListN": (VldbListByAttributes(),),
    "GetStats": (),
    "ProbeServer": (),
    "GetAddrs": (0, 0),
    "GetAddrsU": (ListAddrByAttributes(Mask=4),),
    "GetEntryByID": (100, 0),
    "GetEntryByIDN": (100, 0),
    "GetEntryByNameO": (b"vol",),
    "GetEntryByNameN": (b"vol",),
    "GetEntryByNameU": (b"vol",),
}
"""Of the RPCs that stock has too."""

OWN_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "PartitionCapabilities": (),
    "DefinePartition": (PartitionDefinition(), PartitionDescription(), PartitionRequest()),
    "RemoveDefinition": (UUID(int=1), PartitionServer(), PartitionRequest()),
    "RegisterPartitions": (UUID(int=2), ()),
    "ClaimPartition": (PartitionClaim(),),
    "ReleasePartition": (PartitionRelease(),),
    "GetPartition": (UUID(int=1),),
    "ListPartitions": (PartitionAll(), UUID(int=0), 0),
    "ListDefinitions": (PartitionAll(), PartitionPlace(), 0),
    "ListPartitionVolumes": (UUID(int=1), 0, 0),
    "GetEntryP": (b"vol",),
    "WatchChanges": (PartitionWatch(),),
}
ALL_ARGUMENTS = ARGUMENTS | OWN_ARGUMENTS
ANYONES = {
    "GetEntryByID", "GetEntryByIDN", "GetEntryByNameO", "GetEntryByNameN", "GetEntryByNameU",
    "ProbeServer", "GetAddrs", "GetAddrsU", "PartitionCapabilities", "GetEntryP",
}  # fmt: skip
LISTERS = {
    "ListEntry", "ListEntryN", "ListAttributes", "ListAttributesN", "ListAttributesN2",
    "LinkedList", "LinkedListN", "GetStats",
    "GetPartition", "ListPartitions", "ListDefinitions", "ListPartitionVolumes", "WatchChanges",
}  # fmt: skip


class PrivilegeTest(VldbTest):
    """Without -restricted_query."""

    def allowed_to_anyone(self) -> set[str]:
        """What is open without a privilege."""
        return ANYONES | LISTERS

    async def test_every_opcode(self) -> None:
        """Each RPC that is not open answers VL_PERM to anybody but an administrator, before all else."""
        self.assertEqual(set(ALL_ARGUMENTS), {operation.name for operation in VLPartitions.operations.values()})
        for name, arguments in ALL_ARGUMENTS.items():
            try:
                await getattr(self.anyone, name)(*arguments)
                code = 0
            except Abort as refusal:
                code = refusal.code
            self.assertEqual(code != VLError.VL_PERM, name in self.allowed_to_anyone(), name)
        self.assertEqual(self.vldb.store.revision, 0)

    async def test_administrator(self) -> None:
        """Nothing is refused to an administrator for want of privilege."""
        for name, arguments in ALL_ARGUMENTS.items():
            try:
                await getattr(self.admin, name)(*arguments)
            except Abort as refusal:
                self.assertNotEqual(refusal.code, VLError.VL_PERM, name)

    def test_all_are_served(self) -> None:
        """Every RPC the service declares has a procedure and a privilege; reserved numbers have neither."""
        self.assertEqual(set(PRIVILEGES), set(ALL_ARGUMENTS))
        served = {procedure.operation.opcode for procedure in SERVED}
        self.assertEqual(served, set(VLPartitions.operations))
        for opcode in (525, 526, 528, 529, 530, 531, 500, 535, 74000, 74013):
            self.assertEqual(self.assertRaises(Abort, SERVED.find, opcode).code, RxgenCode.RXGEN_OPCODE)
        self.assertEqual({name for name, kind in PRIVILEGES.items() if kind is Privilege.LISTER}, LISTERS)


class RestrictedTest(PrivilegeTest):
    """With -restricted_query admin listing is an administrator's too."""

    restricted = True

    def allowed_to_anyone(self) -> set[str]:
        return ANYONES


class StatisticsTest(VldbTest):
    """GetStats."""

    async def test_counts(self) -> None:
        """Requests and aborts are counted by opcode, with the start time and the header of an equal stock database."""
        await self.admin.CreateEntryN(entry())
        await self.admin.GetNewVolumeId(3)
        for _ in range(3):
            await self.refused(VLError.VL_NOENT, self.anyone.GetEntryByNameU(b"none"))
        await self.refused(VLError.VL_PERM, self.anyone.DeleteEntry(100, 0))
        stats, header = await self.anyone.GetStats()
        self.assertEqual(stats.start_time, 1_000_000)
        requests = {501 + position: count for position, count in enumerate(stats.requests) if count}
        aborts = {501 + position: count for position, count in enumerate(stats.aborts) if count}
        self.assertEqual(requests, {517: 1, 505: 1, 527: 3, 502: 1, 513: 1})
        self.assertEqual(aborts, {527: 3})
        self.assertEqual((header.vldbversion, header.headersize, header.eofPtr), (3, 132120, 132120 + 148))
        self.assertEqual(header.MaxVolumeId, 0x20000003)

    async def test_version(self) -> None:
        """It is that of databases with servers' UUIDs from the first registration on, the removal of all included."""
        for version, call in (
            (3, self.admin.GetNewVolumeId(1)),
            (4, self.admin.RegisterAddrs(UUID(int=1), 0, (uip("10.0.0.1"),))),
            (4, self.admin.ChangeAddr(REMOVE, uip("10.0.0.1"))),
        ):
            await call
            _, header = await self.anyone.GetStats()
            self.assertEqual(header.vldbversion, version)
        self.assertEqual((await self.anyone.GetAddrs(0, 0))[1:], (0, ()))
