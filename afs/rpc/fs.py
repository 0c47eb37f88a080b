"""RXAFS, the file server's service (afsint.xg): files, directories, access lists, locks and promises.

Wire types first, then the service. What the calls mean is in docs/protocol; types shared with clients are in afs.types.
"""
# mypy: disable-error-code="empty-body"

from dataclasses import field
from typing import Annotated

from afs.types import (
    AFSCBMAX,
    AFSOPAQUEMAX,
    AFSPATHMAX,
    AFSCallBack,
    AFSCBFids,
    AFSCBs,
    AFSFetchStatus,
    AFSFid,
    AFSName,
    AFSOpaque,
    AFSStoreStatus,
    AFSVolSync,
    Capabilities,
)
from rx.service import Service, rpc
from rx.streams import Counted32, Counted64, Rest, Sink, Source
from xdr import Array, Char, CharVector, FixedArray, FixedOpaque, Int32, Int64, String, UInt32, UInt64, UShort, struct

AFS_SETMINQUOTA = 1
AFS_SETMAXQUOTA = 2
FLUSHMAX = 10
STATS64_VERSION = 16
VICECONNBAD = 1234
VICETOKENDEAD = 1235
AFS_LOCKWAIT = 5 * 60  # seconds a lock lasts
LockRead = 0
LockWrite = 1
LockExtend = 2
LockRelease = 3
MAXCMDINT64S = 3
MAXCMDINT32S = 200
MAXCMDCHARS = 256
STATS64_CURRENTTIME = 0
STATS64_BOOTTIME = 1
STATS64_STARTTIME = 2
STATS64_CURRENTCONNECTIONS = 3
STATS64_TOTALFETCHES = 4
STATS64_FETCHDATAS = 5
STATS64_FETCHEDBYTES = 6
STATS64_FETCHDATARATE = 7
STATS64_TOTALSTORES = 8
STATS64_STOREDATAS = 9
STATS64_STOREDBYTES = 10
STATS64_STOREDATARATE = 11
STATS64_TOTALVICECALLS = 12
STATS64_WORKSTATIONS = 13
STATS64_ACTIVEWORKSTATIONS = 14
STATS64_PROCESSSIZE = 15
AFS_DISKNAMESIZE = 32
AFS_MAX_XSTAT_LONGS = 1024
AFS_XSTAT_VERSION = 2

AFSPath = Annotated[bytes, String(AFSPATHMAX)]
AFSMessage = Annotated[bytes, String(AFSOPAQUEMAX)]
DiskName = Annotated[bytes, FixedOpaque(AFS_DISKNAMESIZE)]
ViceLockType = Int32


@struct
class ViceDisk:
    BlocksAvailable: Int32 = 0
    TotalBlocks: Int32 = 0
    Name: DiskName = bytes(AFS_DISKNAMESIZE)


@struct
class ViceStatistics:
    CurrentMsgNumber: UInt32 = 0
    OldestMsgNumber: UInt32 = 0
    CurrentTime: UInt32 = 0
    BootTime: UInt32 = 0
    StartTime: UInt32 = 0
    CurrentConnections: Int32 = 0
    TotalViceCalls: UInt32 = 0
    TotalFetchs: UInt32 = 0
    FetchDatas: UInt32 = 0
    FetchedBytes: UInt32 = 0
    FetchDataRate: Int32 = 0
    TotalStores: UInt32 = 0
    StoreDatas: UInt32 = 0
    StoredBytes: UInt32 = 0
    StoreDataRate: Int32 = 0
    TotalRPCBytesSent: UInt32 = 0
    TotalRPCBytesReceived: UInt32 = 0
    TotalRPCPacketsSent: UInt32 = 0
    TotalRPCPacketsReceived: UInt32 = 0
    TotalRPCPacketsLost: UInt32 = 0
    TotalRPCBogusPackets: UInt32 = 0
    SystemCPU: Int32 = 0
    UserCPU: Int32 = 0
    NiceCPU: Int32 = 0
    IdleCPU: Int32 = 0
    TotalIO: Int32 = 0
    ActiveVM: Int32 = 0
    TotalVM: Int32 = 0
    EtherNetTotalErrors: Int32 = 0
    EtherNetTotalWrites: Int32 = 0
    EtherNetTotalInterupts: Int32 = 0
    EtherNetGoodReads: Int32 = 0
    EtherNetTotalBytesWritten: Int32 = 0
    EtherNetTotalBytesRead: Int32 = 0
    ProcessSize: Int32 = 0
    WorkStations: Int32 = 0
    ActiveWorkStations: Int32 = 0
    Spare1: Int32 = 0
    Spare2: Int32 = 0
    Spare3: Int32 = 0
    Spare4: Int32 = 0
    Spare5: Int32 = 0
    Spare6: Int32 = 0
    Spare7: Int32 = 0
    Spare8: Int32 = 0
    Disk1: ViceDisk = field(default_factory=ViceDisk)
    Disk2: ViceDisk = field(default_factory=ViceDisk)
    Disk3: ViceDisk = field(default_factory=ViceDisk)
    Disk4: ViceDisk = field(default_factory=ViceDisk)
    Disk5: ViceDisk = field(default_factory=ViceDisk)
    Disk6: ViceDisk = field(default_factory=ViceDisk)
    Disk7: ViceDisk = field(default_factory=ViceDisk)
    Disk8: ViceDisk = field(default_factory=ViceDisk)
    Disk9: ViceDisk = field(default_factory=ViceDisk)
    Disk10: ViceDisk = field(default_factory=ViceDisk)


@struct
class AFSFetchVolumeStatus:
    Vid: Int32 = 0
    ParentId: Int32 = 0
    Online: Char = 0
    InService: Char = 0
    Blessed: Char = 0
    NeedsSalvage: Char = 0
    Type: Int32 = 0
    MinQuota: Int32 = 0
    MaxQuota: Int32 = 0
    BlocksInUse: Int32 = 0
    PartBlocksAvail: Int32 = 0
    PartMaxBlocks: Int32 = 0


@struct
class AFSStoreVolumeStatus:
    Mask: Int32 = 0
    MinQuota: Int32 = 0
    MaxQuota: Int32 = 0


@struct
class AFSVolumeInfo:
    Vid: UInt32 = 0
    Type: Int32 = 0
    Type0: UInt32 = 0
    Type1: UInt32 = 0
    Type2: UInt32 = 0
    Type3: UInt32 = 0
    Type4: UInt32 = 0
    ServerCount: UInt32 = 0
    Server0: UInt32 = 0
    Server1: UInt32 = 0
    Server2: UInt32 = 0
    Server3: UInt32 = 0
    Server4: UInt32 = 0
    Server5: UInt32 = 0
    Server6: UInt32 = 0
    Server7: UInt32 = 0
    Port0: UShort = 0
    Port1: UShort = 0
    Port2: UShort = 0
    Port3: UShort = 0
    Port4: UShort = 0
    Port5: UShort = 0
    Port6: UShort = 0
    Port7: UShort = 0


@struct
class VolumeInfo:
    Vid: UInt32 = 0
    Type: Int32 = 0
    Type0: UInt32 = 0
    Type1: UInt32 = 0
    Type2: UInt32 = 0
    Type3: UInt32 = 0
    Type4: UInt32 = 0
    ServerCount: UInt32 = 0
    Server0: UInt32 = 0
    Server1: UInt32 = 0
    Server2: UInt32 = 0
    Server3: UInt32 = 0
    Server4: UInt32 = 0
    Server5: UInt32 = 0
    Server6: UInt32 = 0
    Server7: UInt32 = 0


@struct
class FsCmdInputs:
    command: Int32 = 0
    fid: AFSFid = field(default_factory=AFSFid)
    int64s: Annotated[tuple[Int64, ...], FixedArray(MAXCMDINT64S)] = (0,) * MAXCMDINT64S
    int32s: Annotated[tuple[UInt32, ...], FixedArray(MAXCMDINT32S)] = (0,) * MAXCMDINT32S
    chars: Annotated[bytes, CharVector(MAXCMDCHARS)] = b""


@struct
class FsCmdOutputs:
    code: Int32 = 0
    status: AFSFetchStatus = field(default_factory=AFSFetchStatus)
    int64s: Annotated[tuple[Int64, ...], FixedArray(MAXCMDINT64S)] = (0,) * MAXCMDINT64S
    int32s: Annotated[tuple[UInt32, ...], FixedArray(MAXCMDINT32S)] = (0,) * MAXCMDINT32S
    chars: Annotated[bytes, CharVector(MAXCMDCHARS)] = b""


AFS_CollData = Annotated[tuple[Int32, ...], Array(AFS_MAX_XSTAT_LONGS)]
AFSBulkStats = Annotated[tuple[AFSFetchStatus, ...], Array(AFSCBMAX)]
ViceIds = Annotated[tuple[Int32, ...], Array(FLUSHMAX)]
IPAddrs = Annotated[tuple[Int32, ...], Array(FLUSHMAX)]
ViceStatistics64 = Annotated[tuple[UInt64, ...], Array(STATS64_VERSION)]


class RXAFS(Service, service_id=1):
    """The file server. Port 7000."""

    @rpc(130)
    async def FetchData(
        self, fid: AFSFid, pos: Int32, length: Int32, data: Annotated[Sink, Counted32]
    ) -> tuple[AFSFetchStatus, AFSCallBack, AFSVolSync]:
        """File or directory content, 32-bit; the stream is a length word and the bytes.

        Returns (out_status, call_back, sync).
        """

    @rpc(131)
    async def FetchACL(self, fid: AFSFid) -> tuple[AFSOpaque, AFSFetchStatus, AFSVolSync]:
        """The access list of a directory as text with a NUL: returns (access_list, out_status, sync)."""

    @rpc(132)
    async def FetchStatus(self, fid: AFSFid) -> tuple[AFSFetchStatus, AFSCallBack, AFSVolSync]:
        """The status of one object: returns (out_status, call_back, sync)."""

    @rpc(133)
    async def StoreData(
        self,
        fid: AFSFid,
        status: AFSStoreStatus,
        pos: UInt32,
        length: UInt32,
        file_length: UInt32,
        data: Annotated[Source, Rest],
    ) -> tuple[AFSFetchStatus, AFSVolSync]:
        """Write a range of a file, 32-bit: returns (out_status, sync)."""

    @rpc(134)
    async def OldStoreACL(self, fid: AFSFid, access_list: AFSOpaque) -> tuple[AFSFetchStatus, AFSVolSync]:
        """Set an access list as clients before CVE-2018-7168 do: returns (out_status, sync)."""

    @rpc(135)
    async def StoreStatus(self, fid: AFSFid, status: AFSStoreStatus) -> tuple[AFSFetchStatus, AFSVolSync]:
        """Change owner, group, mode or date: returns (out_status, sync)."""

    @rpc(136)
    async def RemoveFile(self, dir_fid: AFSFid, name: AFSName) -> tuple[AFSFetchStatus, AFSVolSync]:
        """Remove a name that is not a directory: returns (out_status, sync)."""

    @rpc(137)
    async def CreateFile(
        self, dir_fid: AFSFid, name: AFSName, status: AFSStoreStatus
    ) -> tuple[AFSFid, AFSFetchStatus, AFSFetchStatus, AFSCallBack, AFSVolSync]:
        """Make an empty file: returns (out_fid, out_fid_status, out_dir_status, call_back, sync)."""

    @rpc(138)
    async def Rename(
        self, old_dir_fid: AFSFid, old_name: AFSName, new_dir_fid: AFSFid, new_name: AFSName
    ) -> tuple[AFSFetchStatus, AFSFetchStatus, AFSVolSync]:
        """Rename within a volume: returns (out_old_dir_status, out_new_dir_status, sync)."""

    @rpc(139)
    async def Symlink(
        self, dir_fid: AFSFid, name: AFSName, link_contents: AFSPath, status: AFSStoreStatus
    ) -> tuple[AFSFid, AFSFetchStatus, AFSFetchStatus, AFSVolSync]:
        """Make a symbolic link; without x bits it is a mount point.

        Returns (out_fid, out_fid_status, out_dir_status, sync).
        """

    @rpc(140)
    async def Link(
        self, dir_fid: AFSFid, name: AFSName, existing_fid: AFSFid
    ) -> tuple[AFSFetchStatus, AFSFetchStatus, AFSVolSync]:
        """Make a hard link within one directory: returns (out_fid_status, out_dir_status, sync)."""

    @rpc(141)
    async def MakeDir(
        self, dir_fid: AFSFid, name: AFSName, status: AFSStoreStatus
    ) -> tuple[AFSFid, AFSFetchStatus, AFSFetchStatus, AFSCallBack, AFSVolSync]:
        """Make a directory: returns (out_fid, out_fid_status, out_dir_status, call_back, sync)."""

    @rpc(142)
    async def RemoveDir(self, dir_fid: AFSFid, name: AFSName) -> tuple[AFSFetchStatus, AFSVolSync]:
        """Remove an empty directory: returns (out_dir_status, sync)."""

    @rpc(143)
    async def OldSetLock(self, fid: AFSFid, lock_type: ViceLockType, sync: AFSVolSync) -> None:
        """SetLock as AFS 3.0 declared it: sync is an input."""

    @rpc(144)
    async def OldExtendLock(self, fid: AFSFid, sync: AFSVolSync) -> None:
        """ExtendLock as AFS 3.0 declared it: sync is an input."""

    @rpc(145)
    async def OldReleaseLock(self, fid: AFSFid, sync: AFSVolSync) -> None:
        """ReleaseLock as AFS 3.0 declared it: sync is an input."""

    @rpc(146)
    async def GetStatistics(self) -> ViceStatistics:
        """Counters and disks of the server: returns statistics."""

    @rpc(147)
    async def GiveUpCallBacks(self, fids: AFSCBFids, callbacks: AFSCBs) -> None:
        """The client forgets these promises."""

    @rpc(148)
    async def GetVolumeInfo(self, volume_name: AFSName) -> VolumeInfo:
        """Obsolete: every server answers VNOVOL: returns volumeinfo."""

    @rpc(149)
    async def GetVolumeStatus(self, volume_id: Int32) -> tuple[AFSFetchVolumeStatus, AFSName, AFSMessage, AFSMessage]:
        """Quota and space of a volume, its name and messages: returns (volume_status, name, offline_msg, motd)."""

    @rpc(150)
    async def SetVolumeStatus(
        self,
        volume_id: Int32,
        volume_status: AFSStoreVolumeStatus,
        name: AFSName,
        offline_msg: AFSMessage,
        motd: AFSMessage,
    ) -> None:
        """Change quota, name or messages of a volume."""

    @rpc(151)
    async def GetRootVolume(self) -> AFSName:
        """Obsolete: every server answers 122: returns volume_name."""

    @rpc(152)
    async def CheckToken(self, vice_id: Int32, token: AFSOpaque) -> None:
        """Obsolete: every server answers 130."""

    @rpc(153)
    async def GetTime(self) -> tuple[UInt32, UInt32]:
        """The server's clock; also a sign of life of the client: returns (seconds, useconds)."""

    @rpc(154)
    async def NGetVolumeInfo(self, volume_name: AFSName) -> AFSVolumeInfo:
        """Obsolete: every server answers VNOVOL: returns stuff."""

    @rpc(155)
    async def BulkStatus(self, fids: AFSCBFids) -> tuple[AFSBulkStats, AFSCBs, AFSVolSync]:
        """The status of up to 50 objects; the first error fails the call: returns (statuses, callbacks, sync)."""

    @rpc(156)
    async def SetLock(self, fid: AFSFid, lock_type: ViceLockType) -> AFSVolSync:
        """Take a lock of 300 s: returns sync."""

    @rpc(157)
    async def ExtendLock(self, fid: AFSFid) -> AFSVolSync:
        """Renew a lock: returns sync."""

    @rpc(158)
    async def ReleaseLock(self, fid: AFSFid) -> AFSVolSync:
        """Give a lock back: returns sync."""

    @rpc(159)
    async def XStatsVersion(self) -> Int32:
        """Version of the extended statistics: returns version."""

    @rpc(160)
    async def GetXStats(
        self, client_version_number: Int32, collection_number: Int32
    ) -> tuple[Int32, Int32, AFS_CollData]:
        """One collection of the extended statistics: returns (srv_version, time, data)."""

    @rpc(161)
    async def Lookup(
        self, dir_fid: AFSFid, name: AFSName
    ) -> tuple[AFSFid, AFSFetchStatus, AFSFetchStatus, AFSCallBack, AFSVolSync]:
        """Of the DFS translator: every server answers EINVAL.

        Returns (out_fid, out_fid_status, out_dir_status, call_back, sync).
        """

    @rpc(162)
    async def FlushCPS(self, ids: ViceIds, addresses: IPAddrs, spare1: Int32) -> tuple[Int32, Int32]:
        """Forget the groups of these users and hosts: returns (spare2, spare3)."""

    @rpc(163)
    async def DFSSymlink(
        self, dir_fid: AFSFid, name: AFSName, link_contents: AFSPath, status: AFSStoreStatus
    ) -> tuple[AFSFid, AFSFetchStatus, AFSFetchStatus, AFSCallBack, AFSVolSync]:
        """Of the DFS translator: every server answers EINVAL.

        Returns (out_fid, out_fid_status, out_dir_status, call_back, sync).
        """

    @rpc(164)
    async def StoreACL(self, fid: AFSFid, access_list: AFSOpaque) -> tuple[AFSFetchStatus, AFSVolSync]:
        """Set an access list: returns (out_status, sync)."""

    @rpc(220)
    async def FsCmd(self, fid: AFSFid, inputs: FsCmdInputs) -> FsCmdOutputs:
        """Of MR-AFS: every server answers EINVAL: returns outputs."""

    @rpc(65536)
    async def InlineBulkStatus(self, fids: AFSCBFids) -> tuple[AFSBulkStats, AFSCBs, AFSVolSync]:
        """The status of up to 50 objects, errors inline in errorCode: returns (statuses, callbacks, sync)."""

    @rpc(65537)
    async def FetchData64(
        self, fid: AFSFid, pos: Int64, length: Int64, data: Annotated[Sink, Counted64]
    ) -> tuple[AFSFetchStatus, AFSCallBack, AFSVolSync]:
        """File or directory content; the stream is a 64-bit length and the bytes.

        Returns (out_status, call_back, sync).
        """

    @rpc(65538)
    async def StoreData64(
        self,
        fid: AFSFid,
        status: AFSStoreStatus,
        pos: UInt64,
        length: UInt64,
        file_length: UInt64,
        data: Annotated[Source, Rest],
    ) -> tuple[AFSFetchStatus, AFSVolSync]:
        """Write a range of a file and set its length: returns (out_status, sync)."""

    @rpc(65539)
    async def GiveUpAllCallBacks(self) -> None:
        """The client forgets all its promises."""

    @rpc(65540)
    async def GetCapabilities(self) -> Capabilities:
        """Words of VICED_CAPABILITY bits: returns capabilities."""

    @rpc(65541)
    async def CallBackRxConnAddr(self, addr: Int32) -> None:
        """Experimental: servers answer 1."""

    @rpc(65542)
    async def GetStatistics64(self, stats_version: Int32) -> ViceStatistics64:
        """Sixteen 64-bit counters: returns statistics."""
