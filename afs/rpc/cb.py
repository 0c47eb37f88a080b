"""RXAFSCB, the service of every cache manager (afscbint.xg): file servers break promises and ask who it is."""
# mypy: disable-error-code="empty-body"
# ruff: noqa: N816 (type names are the protocol's)

from dataclasses import field
from typing import Annotated

from afs.types import AFSMAXCELLHOSTS, AFSCBFids, AFSCBs, AFSFid, AFSName, AfsUuid, Capabilities, interfaceAddr
from rx.service import Service, rpc
from xdr import Array, Char, CharVector, Int32, Int64, Short, UInt32, struct

AFSCB_MAX_XSTAT_LONGS = 2048
AFSCB_XSTAT_VERSION = 2


@struct
class AFSDBLockDesc:
    waitStates: Char = 0
    exclLocked: Char = 0
    readersReading: Short = 0
    numWaiting: Short = 0
    spare: Short = 0
    pid_last_reader: Int32 = 0
    pid_writer: Int32 = 0
    src_indicator: Int32 = 0


@struct
class AFSDBCacheEntry:
    addr: Int32 = 0
    cell: Int32 = 0
    netFid: AFSFid = field(default_factory=AFSFid)
    Length: Int32 = 0
    DataVersion: Int32 = 0
    lock: AFSDBLockDesc = field(default_factory=AFSDBLockDesc)
    callback: Int32 = 0
    cbExpires: Int32 = 0
    refCount: Short = 0
    opens: Short = 0
    writers: Short = 0
    mvstat: Char = 0
    states: Char = 0


@struct
class AFSDBCacheEntry64:
    addr: Int32 = 0
    cell: Int32 = 0
    netFid: AFSFid = field(default_factory=AFSFid)
    Length: Int64 = 0
    DataVersion: Int32 = 0
    lock: AFSDBLockDesc = field(default_factory=AFSDBLockDesc)
    callback: Int32 = 0
    cbExpires: Int32 = 0
    refCount: Short = 0
    opens: Short = 0
    writers: Short = 0
    mvstat: Char = 0
    states: Char = 0


@struct
class AFSDBLock:
    name: Annotated[bytes, CharVector(16)] = b""
    lock: AFSDBLockDesc = field(default_factory=AFSDBLockDesc)


AFSCB_CollData = Annotated[tuple[Int32, ...], Array(AFSCB_MAX_XSTAT_LONGS)]
serverList = Annotated[tuple[Int32, ...], Array(AFSMAXCELLHOSTS)]
cacheConfig = Annotated[tuple[UInt32, ...], Array(None)]


class RXAFSCB(Service, service_id=1):
    """The cache manager. Port 7001, or wherever its calls come from."""

    @rpc(204)
    async def CallBack(self, fids: AFSCBFids, callbacks: AFSCBs) -> None:
        """Promises are broken; vnode 0 stands for its whole volume."""

    @rpc(205)
    async def InitCallBackState(self) -> None:
        """Every promise of this server is void (clients without UUID)."""

    @rpc(206)
    async def Probe(self) -> None:
        """Is the client up (clients without UUID)."""

    @rpc(207)
    async def GetLock(self, index: Int32) -> AFSDBLock:
        """A lock of the cache manager, by index; abort 1 past the end: returns lock."""

    @rpc(208)
    async def GetCE(self, index: Int32) -> AFSDBCacheEntry:
        """A cache entry, by index: returns ce."""

    @rpc(209)
    async def XStatsVersion(self) -> Int32:
        """Version of the extended statistics: returns version."""

    @rpc(210)
    async def GetXStats(
        self, client_version_number: Int32, collection_number: Int32
    ) -> tuple[Int32, Int32, AFSCB_CollData]:
        """One collection of the extended statistics: returns (srv_version, time, data)."""

    @rpc(211)
    async def InitCallBackState2(self) -> interfaceAddr:
        """Of AFS 3.5 beta: clients answer RXGEN_OPCODE: returns addr."""

    @rpc(212)
    async def WhoAreYou(self) -> interfaceAddr:
        """The client's UUID and interfaces: returns addr."""

    @rpc(213)
    async def InitCallBackState3(self, server_uuid: AfsUuid) -> None:
        """Every promise of this server is void."""

    @rpc(214)
    async def ProbeUuid(self, client_uuid: AfsUuid) -> None:
        """Is the client with this UUID up; abort 1 when it is another."""

    @rpc(215)
    async def GetServerPrefs(self, server_index: Int32) -> tuple[Int32, Int32]:
        """A server and its rank, by index: returns (srvr_addr, srvr_rank)."""

    @rpc(216)
    async def GetCellServDB(self, cell_index: Int32) -> tuple[AFSName, serverList]:
        """A cell and its database servers, by index: returns (cell_name, cell_hosts)."""

    @rpc(217)
    async def GetLocalCell(self) -> AFSName:
        """The cell the client belongs to: returns cell_name."""

    @rpc(218)
    async def GetCacheConfig(self, caller_version: UInt32) -> tuple[UInt32, UInt32, cacheConfig]:
        """How the cache is configured: returns (server_version, config_count, config)."""

    @rpc(65536)
    async def GetCE64(self, index: Int32) -> AFSDBCacheEntry64:
        """As GetCE with a 64-bit length: returns ce."""

    @rpc(65537)
    async def GetCellByNum(self, cell_number: Int32) -> tuple[AFSName, serverList]:
        """A cell and its database servers, by cell number: returns (cell_name, cell_hosts)."""

    @rpc(65538)
    async def TellMeAboutYourself(self) -> tuple[interfaceAddr, Capabilities]:
        """The client's UUID, interfaces and capabilities: returns (addr, capabilities)."""
