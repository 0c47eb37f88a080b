"""AFSVol, the volume server's service (volint.xg): volumes as a whole, inside transactions.

Wire types first, then the service. Partition numbers are 0 for /vicepa and so on; dates are seconds since 1970.
"""
# mypy: disable-error-code="empty-body"
# ruff: noqa: N816 (type names are the protocol's)

from dataclasses import field
from typing import Annotated

from rx.service import Service, rpc
from rx.streams import Rest, Sink, Source
from xdr import Array, Char, CharVector, FixedArray, Int32, Int64, Short, String, UChar, UInt32, UInt64, struct

NMAXNSERVERS = 13
VNAMESIZE = 32  # bytes of a volume name with its NUL
VOLINT_STATS_NUM_RWINFO_FIELDS = 4
VOLINT_STATS_NUM_TIME_FIELDS = 6
VOLDUMPV2_OMITDIRS = 1

ITOffline, ITBusy, ITReadOnly, ITCreate = 0x1, 0x2, 0x8, 0x10  # TransCreate flags, transDebugInfo.iflags
VTDeleteOnSalvage, VTOutOfService, VTDeleted = 0x1, 0x2, 0x4  # SetFlags, transDebugInfo.vflags
TTDeleted = 0x1  # transDebugInfo.tflags

_ReadWrite = Annotated[tuple[Int32, ...], FixedArray(VOLINT_STATS_NUM_RWINFO_FIELDS)]
_Ages = Annotated[tuple[Int32, ...], FixedArray(VOLINT_STATS_NUM_TIME_FIELDS)]


@struct
class volser_status:
    volID: UInt32 = 0
    nextUnique: Int32 = 0
    type: Int32 = 0
    parentID: UInt32 = 0
    cloneID: UInt32 = 0
    backupID: UInt32 = 0
    restoredFromID: UInt32 = 0
    maxQuota: Int32 = 0
    minQuota: Int32 = 0
    owner: Int32 = 0
    creationDate: Int32 = 0
    accessDate: Int32 = 0
    updateDate: Int32 = 0
    expirationDate: Int32 = 0
    backupDate: Int32 = 0
    copyDate: Int32 = 0


@struct
class destServer:
    destHost: Int32 = 0
    destPort: Int32 = 0
    destSSID: Int32 = 0


@struct
class volintInfo:
    name: Annotated[bytes, CharVector(VNAMESIZE)] = b""
    volid: UInt32 = 0
    type: Int32 = 0
    backupID: UInt32 = 0
    parentID: UInt32 = 0
    cloneID: UInt32 = 0
    status: Int32 = 0
    copyDate: Int32 = 0
    inUse: UChar = 0
    needsSalvaged: UChar = 0
    destroyMe: UChar = 0
    creationDate: Int32 = 0
    accessDate: Int32 = 0
    updateDate: Int32 = 0
    backupDate: Int32 = 0
    dayUse: Int32 = 0
    filecount: Int32 = 0
    maxquota: Int32 = 0
    size: Int32 = 0
    flags: Int32 = 0
    spare0: Int32 = 0
    spare1: Int32 = 0
    spare2: Int32 = 0
    spare3: Int32 = 0


@struct
class volintXInfo:
    name: Annotated[bytes, CharVector(VNAMESIZE)] = b""
    volid: UInt32 = 0
    type: Int32 = 0
    backupID: UInt32 = 0
    parentID: UInt32 = 0
    cloneID: UInt32 = 0
    status: Int32 = 0
    copyDate: Int32 = 0
    inUse: UChar = 0
    creationDate: Int32 = 0
    accessDate: Int32 = 0
    updateDate: Int32 = 0
    backupDate: Int32 = 0
    dayUse: Int32 = 0
    filecount: Int32 = 0
    maxquota: Int32 = 0
    size: Int32 = 0
    stat_reads: _ReadWrite = (0,) * VOLINT_STATS_NUM_RWINFO_FIELDS
    stat_writes: _ReadWrite = (0,) * VOLINT_STATS_NUM_RWINFO_FIELDS
    stat_fileSameAuthor: _Ages = (0,) * VOLINT_STATS_NUM_TIME_FIELDS
    stat_fileDiffAuthor: _Ages = (0,) * VOLINT_STATS_NUM_TIME_FIELDS
    stat_dirSameAuthor: _Ages = (0,) * VOLINT_STATS_NUM_TIME_FIELDS
    stat_dirDiffAuthor: _Ages = (0,) * VOLINT_STATS_NUM_TIME_FIELDS


@struct
class transDebugInfo:
    tid: Int32 = 0
    time: Int32 = 0
    creationTime: Int32 = 0
    returnCode: Int32 = 0
    volid: UInt32 = 0
    partition: Int32 = 0
    iflags: Short = 0
    vflags: Char = 0
    tflags: Char = 0
    lastProcName: Annotated[bytes, CharVector(30)] = b""
    callValid: Int32 = 0
    readNext: Int32 = 0
    transmitNext: Int32 = 0
    lastSendTime: Int32 = 0
    lastReceiveTime: Int32 = 0


@struct
class pIDs:
    partIds: Annotated[tuple[Int32, ...], FixedArray(26)] = (0,) * 26


@struct
class diskPartition:
    name: Annotated[bytes, CharVector(32)] = b""
    devName: Annotated[bytes, CharVector(32)] = b""
    lock_fd: Int32 = 0
    totalUsable: Int32 = 0
    free: Int32 = 0
    minFree: Int32 = 0


@struct
class diskPartition64:
    name: Annotated[bytes, CharVector(256)] = b""
    devName: Annotated[bytes, CharVector(256)] = b""
    lock_fd: Int32 = 0
    totalUsable: Int64 = 0
    free: Int64 = 0
    minFree: Int64 = 0


@struct
class restoreCookie:
    name: Annotated[bytes, CharVector(32)] = b""
    type: Int32 = 0
    clone: UInt32 = 0
    parent: UInt32 = 0


@struct
class replica:
    trans: Int32 = 0
    server: destServer = field(default_factory=destServer)


@struct
class volintSize:
    dump_size: UInt64 = 0


VolumeName = Annotated[bytes, String(VNAMESIZE)]
LongName = Annotated[bytes, String(256)]
PartitionPath = Annotated[bytes, String(4096)]
manyDests = Annotated[tuple[replica, ...], Array(NMAXNSERVERS)]
manyResults = Annotated[tuple[Int32, ...], Array(None)]
transDebugEntries = Annotated[tuple[transDebugInfo, ...], Array(None)]
volEntries = Annotated[tuple[volintInfo, ...], Array(None)]
partEntries = Annotated[tuple[Int32, ...], Array(None)]
volXEntries = Annotated[tuple[volintXInfo, ...], Array(None)]


class AFSVol(Service, service_id=4):
    """The volume server. Port 7005."""

    @rpc(100)
    async def CreateVolume(
        self, partition: Int32, name: VolumeName, volume_type: Int32, parent: UInt32, volid: UInt32
    ) -> tuple[UInt32, Int32]:
        """Make an empty volume and open a transaction on it: returns (volid, trans)."""

    @rpc(101)
    async def DeleteVolume(self, trans: Int32) -> None:
        """Delete the transaction's volume."""

    @rpc(102)
    async def Restore(
        self, to_trans: Int32, flags: Int32, cookie: restoreCookie, data: Annotated[Source, Rest]
    ) -> None:
        """Fill the volume from a dump stream."""

    @rpc(103)
    async def Forward(
        self, from_trans: Int32, from_date: Int32, destination: destServer, dest_trans: Int32, cookie: restoreCookie
    ) -> None:
        """Send the volume to another volume server."""

    @rpc(104)
    async def EndTrans(self, trans: Int32) -> Int32:
        """End a transaction: returns rcode."""

    @rpc(105)
    async def Clone(
        self, trans: Int32, purge_vol: UInt32, new_type: Int32, new_name: VolumeName, new_vol: UInt32
    ) -> UInt32:
        """Clone the transaction's volume, optionally in place of another clone: returns new_vol."""

    @rpc(106)
    async def SetFlags(self, trans: Int32, flags: Int32) -> None:
        """Set the VT flags of the transaction's volume."""

    @rpc(107)
    async def GetFlags(self, trans: Int32) -> Int32:
        """The VT flags of the transaction: returns flags."""

    @rpc(108)
    async def TransCreate(self, volume: UInt32, partition: Int32, flags: Int32) -> Int32:
        """Open a transaction on a volume; flags are one of the IT values: returns trans."""

    @rpc(109)
    async def Dump(self, from_trans: Int32, from_date: Int32, data: Annotated[Sink, Rest]) -> None:
        """Stream the changes since a date."""

    @rpc(110)
    async def GetNthVolume(self, index: Int32) -> tuple[UInt32, Int32]:
        """Obsolete: every server answers VOLSERNO_OP: returns (volume, partition)."""

    @rpc(111)
    async def SetForwarding(self, tid: Int32, newsite: Int32) -> None:
        """Later callers learn that the volume moved."""

    @rpc(112)
    async def GetName(self, tid: Int32) -> LongName:
        """The name of the transaction's volume: returns tname."""

    @rpc(113)
    async def GetStatus(self, tid: Int32) -> volser_status:
        """The header of the transaction's volume: returns status."""

    @rpc(114)
    async def SignalRestore(self, name: VolumeName, volume_type: Int32, pid: UInt32, cloneid: UInt32) -> None:
        """Obsolete: does nothing."""

    @rpc(115)
    async def ListPartitions(self) -> pIDs:
        """26 partition ids, -1 where there is none: returns part_ids."""

    @rpc(116)
    async def ListVolumes(self, partid: Int32, flags: Int32) -> volEntries:
        """The volumes of a partition: returns entries."""

    @rpc(117)
    async def SetIdsTypes(
        self, tid: Int32, name: VolumeName, volume_type: Int32, parent_id: UInt32, clone_id: UInt32, backup_id: UInt32
    ) -> None:
        """Set name, type and related ids."""

    @rpc(118)
    async def Monitor(self) -> transDebugEntries:
        """The open transactions: returns result."""

    @rpc(119)
    async def PartitionInfo(self, name: PartitionPath) -> diskPartition:
        """Space of a partition, 32-bit: returns partition."""

    @rpc(120)
    async def ReClone(self, tid: Int32, clone_id: UInt32) -> None:
        """Bring an existing clone up to date."""

    @rpc(121)
    async def ListOneVolume(self, partid: Int32, volid: UInt32) -> volEntries:
        """One volume of a partition: returns entries."""

    @rpc(122)
    async def NukeVolume(self, partid: Int32, vol_id: UInt32) -> None:
        """Remove every trace of a volume."""

    @rpc(123)
    async def SetDate(self, tid: Int32, new_date: Int32) -> None:
        """Set the creation date."""

    @rpc(124)
    async def XListVolumes(self, partid: Int32, flags: Int32) -> volXEntries:
        """The volumes of a partition with statistics: returns entries."""

    @rpc(125)
    async def XListOneVolume(self, partid: Int32, volid: UInt32) -> volXEntries:
        """One volume of a partition with statistics: returns entries."""

    @rpc(126)
    async def SetInfo(self, tid: Int32, status: volintInfo) -> None:
        """Set quota, dates and counters; -1 leaves a field alone."""

    @rpc(127)
    async def XListPartitions(self) -> partEntries:
        """The partition ids: returns part_ids."""

    @rpc(128)
    async def ForwardMultiple(
        self, from_trans: Int32, from_date: Int32, destinations: manyDests, spare: Int32, cookie: restoreCookie
    ) -> manyResults:
        """Send the volume to several volume servers: returns results."""

    @rpc(65536)
    async def ConvertROtoRWvolume(self, partid: Int32, volid: UInt32) -> None:
        """Make a read-only clone the read-write volume."""

    @rpc(65537)
    async def GetSize(self, from_trans: Int32, from_date: Int32) -> volintSize:
        """How large a dump would be: returns size."""

    @rpc(65538)
    async def DumpV2(self, from_trans: Int32, from_date: Int32, flags: Int32, data: Annotated[Sink, Rest]) -> None:
        """Stream the changes since a date; flags are VOLDUMPV2_OMITDIRS."""

    @rpc(65539)
    async def PartitionInfo64(self, name: PartitionPath) -> diskPartition64:
        """Space of a partition: returns partition."""

    @rpc(65547)
    async def SplitVolume(
        self, vid: UInt32, newid: UInt32, where: UInt32, verbose: Int32, report: Annotated[Sink, Rest]
    ) -> None:
        """Move a directory into a volume of its own; streams lines of text."""
