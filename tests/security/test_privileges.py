"""One table over all opcodes: what a caller without privilege gets from a cell, over the wire.

2018-001 was a server that forgot to ask. The caller is anonymous, at an address that means nothing; the arguments are
such that an administrator's call would do something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from afs.client import format_acl_text, store_status
from afs.errors import UbikError, VLError, VolserError, VolumeError, describe, to_errno
from afs.rpc.fs import (
    AFS_SETMAXQUOTA,
    RXAFS,
    AFSStoreVolumeStatus,
    FsCmdInputs,
    LockRead,
)
from afs.rpc.partitions import (
    PCLAIM,
    PDEF,
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
from afs.rpc.pr import PR
from afs.rpc.rxstats import RXSTATS
from afs.rpc.ubik import DISK, VOTE, UbikInterfaceAddr, ubik_tid, ubik_version
from afs.rpc.vl import ListAddrByAttributes, VldbListByAttributes, VldbUpdateEntry, nvldbentry, vldbentry
from afs.rpc.volser import AFSVol, ITBusy, destServer, replica, restoreCookie, volintInfo
from afs.types import AFSStoreStatus, AFSVolSync
from rx.constants import RxCode, RxgenCode
from rx.errors import Abort
from rx.service import Service
from rx.streams import Buffer, BytesSource
from tests.security.cell import SECRET, SecurityTest
from vlserver.ubik import NO_SERVER_KEY

OK = 0
VL_PERM = int(VLError.VL_PERM)
ACCESS = int(VolserError.VOLSERBAD_ACCESS)
EPERM, ENOENT, EACCES, EINVAL = 1, 2, 13, 22
NOT_OFFERED = int(RxCode.RX_INVALID_OPERATION)
NOT_SERVED = 1
"""What everybody gets from CallBackRxConnAddr; only by chance EPERM's number."""
WRITABLE = store_status(mode=0o777)

Arguments = Callable[["Table"], tuple[Any, ...]]
Row = tuple[int, Arguments]

EVERYTHING = VldbListByAttributes()
HOME_SERVER = PartitionServer(address=0x7F000001)


def none(table: Table) -> tuple[Any, ...]:
    return ()


# Without -restricted_query the location database, and the list of volumes below, are for everybody to read.
LOCATIONS: dict[str, Row] = {
    "CreateEntry": (VL_PERM, lambda t: (vldbentry(name=b"mine", volumeId=(9, 0, 0)),)),
    "DeleteEntry": (VL_PERM, lambda t: (t.volume, 0)),
    "GetEntryByID": (OK, lambda t: (t.volume, 0)),
    "GetEntryByNameO": (OK, lambda t: (b"private",)),
    "GetNewVolumeId": (VL_PERM, lambda t: (1,)),
    "ReplaceEntry": (VL_PERM, lambda t: (t.volume, 0, vldbentry(name=b"mine", volumeId=(t.volume, 0, 0)), 0)),
    "UpdateEntry": (VL_PERM, lambda t: (t.volume, 0, VldbUpdateEntry(Mask=1, name=b"mine"), 0)),
    "SetLock": (VL_PERM, lambda t: (t.volume, 0, 0x10)),
    "ReleaseLock": (VL_PERM, lambda t: (t.volume, 0, 7)),
    "ListEntry": (OK, lambda t: (0,)),
    "ListAttributes": (OK, lambda t: (EVERYTHING,)),
    "LinkedList": (OK, lambda t: (EVERYTHING,)),
    "GetStats": (OK, none),
    "ProbeServer": (OK, none),
    "GetAddrs": (OK, lambda t: (0, 0)),
    "ChangeAddr": (VL_PERM, lambda t: (0x7F000001, 0x7F000002)),
    "CreateEntryN": (VL_PERM, lambda t: (nvldbentry(name=b"mine", volumeId=(9, 0, 0)),)),
    "GetEntryByIDN": (OK, lambda t: (t.volume, 0)),
    "GetEntryByNameN": (OK, lambda t: (b"private",)),
    "ReplaceEntryN": (VL_PERM, lambda t: (t.volume, 0, nvldbentry(name=b"mine", volumeId=(t.volume, 0, 0)), 0)),
    "ListEntryN": (OK, lambda t: (0,)),
    "ListAttributesN": (OK, lambda t: (EVERYTHING,)),
    "LinkedListN": (OK, lambda t: (EVERYTHING,)),
    "UpdateEntryByName": (VL_PERM, lambda t: (b"private", VldbUpdateEntry(Mask=1, name=b"mine"), 0)),
    "GetEntryByNameU": (OK, lambda t: (b"private",)),
    "RegisterAddrs": (VL_PERM, lambda t: (UUID(int=1), 0, (0x7F000042,))),
    "GetAddrsU": (OK, lambda t: (ListAddrByAttributes(Mask=1, ipaddr=0x7F000001),)),
    "ListAttributesN2": (OK, lambda t: (EVERYTHING, b"", 0)),
    "PartitionCapabilities": (OK, none),
    "DefinePartition": (
        VL_PERM,
        lambda t: (
            PartitionDefinition(server=HOME_SERVER, number=9, path=b"/vicepj"),
            PartitionDescription(flags=PDEF.NEW),
            PartitionRequest(),
        ),
    ),
    "RemoveDefinition": (VL_PERM, lambda t: (UUID(int=1), HOME_SERVER, PartitionRequest())),
    "RegisterPartitions": (VL_PERM, lambda t: (UUID(int=2), ())),
    "ClaimPartition": (VL_PERM, lambda t: (PartitionClaim(server=HOME_SERVER, flags=PCLAIM.FORCE),)),
    "ReleasePartition": (VL_PERM, lambda t: (PartitionRelease(server=HOME_SERVER, flags=PCLAIM.FORCE),)),
    "GetPartition": (int(VLError.VL_NOENT), lambda t: (UUID(int=1),)),
    "ListPartitions": (OK, lambda t: (PartitionAll(), UUID(int=0), 0)),
    "ListDefinitions": (OK, lambda t: (PartitionAll(), PartitionPlace(), 0)),
    "ListPartitionVolumes": (int(VLError.VL_NOENT), lambda t: (UUID(int=1), 0, 0)),
    "GetEntryP": (OK, lambda t: (b"private",)),
    "WatchChanges": (OK, lambda t: (PartitionWatch(),)),
}

VOLUMES: dict[str, Row] = {
    "CreateVolume": (ACCESS, lambda t: (0, b"mine", 0, 0, 987654)),
    "DeleteVolume": (ACCESS, lambda t: (t.transaction,)),
    "Restore": (ACCESS, lambda t: (t.transaction, 0, restoreCookie(name=b"private"), BytesSource(SECRET))),
    "Forward": (ACCESS, lambda t: (t.transaction, 0, destServer(), 0, restoreCookie())),
    "EndTrans": (ACCESS, lambda t: (t.transaction,)),
    "Clone": (ACCESS, lambda t: (t.transaction, 0, 2, b"private.backup", 0)),
    "SetFlags": (ACCESS, lambda t: (t.transaction, 0)),
    "GetFlags": (OK, lambda t: (t.transaction,)),
    "TransCreate": (ACCESS, lambda t: (t.volume, 0, ITBusy)),
    "Dump": (ACCESS, lambda t: (t.transaction, 0, Buffer())),
    "GetNthVolume": (int(VolserError.VOLSERNO_OP), lambda t: (0,)),
    "SetForwarding": (ACCESS, lambda t: (t.transaction, 0x7F000042)),
    "GetName": (OK, lambda t: (t.transaction,)),
    "GetStatus": (OK, lambda t: (t.transaction,)),
    "SignalRestore": (OK, lambda t: (b"private", 0, 0, 0)),
    "ListPartitions": (OK, none),
    "ListVolumes": (OK, lambda t: (0, 1)),
    "SetIdsTypes": (ACCESS, lambda t: (t.transaction, b"mine", 0, t.volume, 0, 0)),
    "Monitor": (OK, none),
    "PartitionInfo": (OK, lambda t: (b"/vicepa",)),
    "ReClone": (ACCESS, lambda t: (t.transaction, t.volume + 2)),
    "ListOneVolume": (OK, lambda t: (0, t.volume)),
    "NukeVolume": (ACCESS, lambda t: (0, t.volume)),
    "SetDate": (ACCESS, lambda t: (t.transaction, 1)),
    "XListVolumes": (OK, lambda t: (0, 1)),
    "XListOneVolume": (OK, lambda t: (0, t.volume)),
    "SetInfo": (ACCESS, lambda t: (t.transaction, volintInfo(maxquota=1))),
    "XListPartitions": (OK, none),
    "ForwardMultiple": (ACCESS, lambda t: (t.transaction, 0, (replica(),), 0, restoreCookie())),
    "ConvertROtoRWvolume": (ACCESS, lambda t: (0, t.volume)),
    "GetSize": (ACCESS, lambda t: (t.transaction, 0)),
    "DumpV2": (ACCESS, lambda t: (t.transaction, 0, 0, Buffer())),
    "PartitionInfo64": (OK, lambda t: (b"/vicepa",)),
    "SplitVolume": (EPERM, lambda t: (t.volume, 987654, 1, 0, Buffer())),
}

ACL = format_acl_text({"system:anyuser": "rlidwka"}, {})

# As in OpenAFS a lock has no owner, so that anybody may extend or release one, and there is none here; and what
# `fs listquota` shows is no secret.
FILES: dict[str, Row] = {
    "FetchData": (EACCES, lambda t: (t.file, 0, 100, Buffer())),
    "FetchACL": (EACCES, lambda t: (t.root,)),
    "FetchStatus": (EACCES, lambda t: (t.file,)),
    "StoreData": (EACCES, lambda t: (t.file, AFSStoreStatus(), 0, 1, 1, BytesSource(b"!"))),
    "OldStoreACL": (EACCES, lambda t: (t.root, ACL)),
    "StoreStatus": (EACCES, lambda t: (t.file, WRITABLE)),
    "RemoveFile": (EACCES, lambda t: (t.root, b"file")),
    "CreateFile": (EACCES, lambda t: (t.root, b"mine", WRITABLE)),
    "Rename": (EACCES, lambda t: (t.root, b"file", t.root, b"mine")),
    "Symlink": (EACCES, lambda t: (t.root, b"mine", b"target", WRITABLE)),
    "Link": (EACCES, lambda t: (t.root, b"mine", t.file)),
    "MakeDir": (EACCES, lambda t: (t.root, b"mine", WRITABLE)),
    "RemoveDir": (EACCES, lambda t: (t.root, b"directory")),
    "OldSetLock": (EACCES, lambda t: (t.file, LockRead, AFSVolSync())),
    "OldExtendLock": (EINVAL, lambda t: (t.file, AFSVolSync())),
    "OldReleaseLock": (OK, lambda t: (t.file, AFSVolSync())),
    "GetStatistics": (OK, none),
    "GiveUpCallBacks": (OK, lambda t: ((t.file,), ())),
    "GetVolumeInfo": (int(VolumeError.VNOVOL), lambda t: (b"private",)),
    "GetVolumeStatus": (OK, lambda t: (t.volume,)),
    "SetVolumeStatus": (EACCES, lambda t: (t.volume, AFSStoreVolumeStatus(Mask=AFS_SETMAXQUOTA), b"", b"", b"")),
    "GetRootVolume": (122, none),
    "CheckToken": (130, lambda t: (1, b"")),
    "GetTime": (OK, none),
    "NGetVolumeInfo": (int(VolumeError.VNOVOL), lambda t: (b"private",)),
    "BulkStatus": (EACCES, lambda t: ((t.file,),)),
    "SetLock": (EACCES, lambda t: (t.file, LockRead)),
    "ExtendLock": (EINVAL, lambda t: (t.file,)),
    "ReleaseLock": (OK, lambda t: (t.file,)),
    "XStatsVersion": (OK, none),
    "GetXStats": (OK, lambda t: (2, 2)),
    "Lookup": (EINVAL, lambda t: (t.root, b"file")),
    "FlushCPS": (EPERM, lambda t: ((1,), (), 0)),
    "DFSSymlink": (EINVAL, lambda t: (t.root, b"mine", b"target", WRITABLE)),
    "StoreACL": (EACCES, lambda t: (t.root, ACL)),
    "FsCmd": (EINVAL, lambda t: (t.root, FsCmdInputs())),
    "InlineBulkStatus": (OK, lambda t: ((t.file,),)),
    "FetchData64": (EACCES, lambda t: (t.file, 0, 100, Buffer())),
    "StoreData64": (EACCES, lambda t: (t.file, AFSStoreStatus(), 0, 1, 1, BytesSource(b"!"))),
    "GiveUpAllCallBacks": (OK, none),
    "GetCapabilities": (OK, none),
    "CallBackRxConnAddr": (NOT_SERVED, lambda t: (0,)),
    "GetStatistics64": (OK, lambda t: (16,)),
}

STATISTICS: dict[str, Row] = {
    "RetrieveProcessRPCStats": (OK, lambda t: (1,)),
    "RetrievePeerRPCStats": (OK, lambda t: (1,)),
    "QueryProcessRPCStats": (OK, none),
    "QueryPeerRPCStats": (OK, none),
    "EnableProcessRPCStats": (EPERM, none),
    "EnablePeerRPCStats": (EPERM, none),
    "DisableProcessRPCStats": (EPERM, none),
    "DisablePeerRPCStats": (EPERM, none),
    "QueryRPCStatsVersion": (OK, none),
    "ClearProcessRPCStats": (EPERM, lambda t: (1,)),
    "ClearPeerRPCStats": (EPERM, lambda t: (1,)),
}

TID = ubik_tid(1, 1)

VOTES: dict[str, Row] = {
    "Beacon": (OK, lambda t: (1, 1, ubik_version(), TID)),
    "DebugOld": (OK, none),
    "SDebugOld": (ENOENT, lambda t: (0,)),
    "GetSyncSite": (OK, lambda t: (0,)),
    "Debug": (OK, none),
    "SDebug": (ENOENT, lambda t: (0,)),
    "XDebug": (OK, none),
    "XSDebug": (ENOENT, lambda t: (0,)),
}

COPIES: dict[str, Row] = {
    "Begin": (NO_SERVER_KEY, lambda t: (TID,)),
    "Commit": (NO_SERVER_KEY, lambda t: (TID,)),
    "Lock": (NO_SERVER_KEY, lambda t: (TID, 0, 1, 1, 1)),
    "Write": (NO_SERVER_KEY, lambda t: (TID, 0, 0, b"data")),
    "GetVersion": (NO_SERVER_KEY, none),
    "GetFile": (NO_SERVER_KEY, lambda t: (0, Buffer())),
    "SendFile": (NO_SERVER_KEY, lambda t: (0, 1, ubik_version(), BytesSource(b"!"))),
    "Abort": (NO_SERVER_KEY, lambda t: (TID,)),
    "ReleaseLocks": (NO_SERVER_KEY, lambda t: (TID,)),
    "Truncate": (NO_SERVER_KEY, lambda t: (TID, 0, 0)),
    "Probe": (OK, none),
    "WriteV": (NO_SERVER_KEY, lambda t: (TID, (), b"")),
    "UpdateInterfaceAddr": (int(UbikError.UBADHOST), lambda t: (UbikInterfaceAddr(),)),
    "SetVersion": (NO_SERVER_KEY, lambda t: (TID, ubik_version(), ubik_version())),
}

TABLES: dict[type[Service], dict[str, Row]] = {
    VLPartitions: LOCATIONS,
    AFSVol: VOLUMES,
    RXAFS: FILES,
    RXSTATS: STATISTICS,
    VOTE: VOTES,
    DISK: COPIES,
}

WITHOUT_TABLES = (PR,)
"""Not served yet: a table comes with the service."""


class Complete(SynchronousTestCase):
    def test_every_opcode(self) -> None:
        """The tables have every RPC that the services declare."""
        for service, table in TABLES.items():
            self.assertEqual(set(table), {operation.name for operation in service.operations.values()})


class Table(SecurityTest):
    """What the stranger gets, and that nothing has changed for it."""

    transaction = 0

    async def test_locations(self) -> None:
        """VL: everybody may look, and nobody else may change anything."""
        before = await self.entries()
        await self.check(self.locations(self.stranger), LOCATIONS)
        self.assertEqual(await self.entries(), before)

    async def test_volumes(self) -> None:
        """AFSVol: an open transaction of an administrator's is no way in either."""
        server = self.volumes(self.cell.tool)
        self.transaction = await server.TransCreate(self.volume, 0, ITBusy)
        before = [await server.ListVolumes(0, 1), await server.GetStatus(self.transaction)]
        await self.check(self.volumes(self.stranger), VOLUMES)
        self.assertEqual([await server.ListVolumes(0, 1), await server.GetStatus(self.transaction)], before)
        await server.EndTrans(self.transaction)

    async def test_files(self) -> None:
        """RXAFS: an access list that does not name anybody lets nobody in."""
        before = await self.contents()
        await self.check(self.files(self.stranger), FILES)
        self.assertEqual(await self.contents(), before)

    async def test_statistics(self) -> None:
        """RXSTATS, where it is served: everybody may look, and nobody else may reset."""
        for address in self.addresses():
            client = RXSTATS.client(self.stranger.caller(address, RXSTATS.service_id))
            got = {name: await self.code(client, STATISTICS, name) for name in STATISTICS}
            if set(got.values()) != {NOT_OFFERED}:
                self.assertEqual(got, {name: code for name, (code, _) in STATISTICS.items()})

    async def test_ubik(self) -> None:
        """VOTE tells anybody how the database does; DISK takes part in nobody's transactions."""
        before = await self.entries()
        for service, table in ((VOTE, VOTES), (DISK, COPIES)):
            await self.check(
                service.client(self.stranger.caller(self.cell.vlserver_address, service.service_id)), table
            )
        self.assertEqual(await self.entries(), before)

    async def test_what_is_served(self) -> None:
        """No server answers for a service that has no table here."""
        for service in WITHOUT_TABLES:
            for address in self.addresses():
                client: Any = service.client(self.stranger.caller(address, service.service_id), timeout=5)
                first = min(service.operations.values(), key=lambda each: len(each.parameters))
                with self.assertRaises(Abort) as refused:
                    await getattr(client, first.name)(*(0 for _ in first.parameters))
                self.assertEqual(refused.exception.code, NOT_OFFERED, service)

    def addresses(self) -> list[tuple[str, int]]:
        server = self.cell.fileservers[0]
        host = str(server.address)
        return [self.cell.vlserver_address, (host, server.port), (host, server.volser_port)]

    async def test_inline(self) -> None:
        """InlineBulkStatus, which fails for no file, says EACCES in the place of each."""
        statuses, _, _ = await self.files(self.stranger).InlineBulkStatus((self.file, self.root))
        self.assertEqual([to_errno(each.errorCode) for each in statuses], [EACCES, 0])
        self.assertEqual(statuses[0].Length, 0)

    async def test_administrator(self) -> None:
        """No row is refused to an administrator for want of privilege: the tables test what they say."""
        refusals = {VL_PERM, ACCESS, EACCES, EPERM, NO_SERVER_KEY}
        server = self.volumes(self.cell.tool)
        for client, table in (
            (self.locations(self.cell.tool), LOCATIONS),
            (self.files(self.cell.tool), FILES),
            (server, VOLUMES),
            (DISK.client(self.cell.tool.caller(self.cell.vlserver_address, DISK.service_id)), COPIES),
        ):
            self.transaction = await server.TransCreate(self.volume, 0, ITBusy) if table is VOLUMES else 0
            for name in sorted(set(table) - {"CallBackRxConnAddr"}):
                self.assertNotIn(await self.code(client, table, name), refusals, name)

    async def check(self, client: Any, table: dict[str, Row]) -> None:
        got = {name: await self.code(client, table, name) for name in table}
        wrong = {name: describe(code) for name, code in got.items() if code != table[name][0]}
        self.assertEqual(wrong, {})

    async def code(self, client: Any, table: dict[str, Row], name: str) -> int:
        await self.get_on_well(self.stranger)
        await self.get_on_well(self.cell.tool)
        try:
            await getattr(client, name)(*table[name][1](self))
        except Abort as refusal:
            self.assertNotEqual(refusal.code, RxgenCode.RXGEN_SS_UNMARSHAL, name)
            return to_errno(refusal.code)
        return OK

    async def entries(self) -> Any:
        locations = self.locations(self.cell.tool)
        return await locations.ListAttributesN2(EVERYTHING, b"", 0), await locations.GetAddrs(0, 0)

    async def contents(self) -> Any:
        tool = self.cell.tool
        status, name = await tool.volume_status(self.root)
        listing = await tool.list_directory(self.root)
        statuses = await tool.bulk_status([self.root, self.file, self.directory])
        return status, name, listing, statuses, await tool.read_file(self.file), await tool.get_acl(self.root)
