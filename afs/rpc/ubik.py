"""VOTE and DISK, with which copies of a replicated database elect a writer and follow it (ubik_int.xg).

Both run on the database's own port: 7003 for the VLDB, 7002 for the protection database.
"""
# mypy: disable-error-code="empty-body"

from dataclasses import field
from typing import Annotated

from rx.service import Service, rpc
from rx.streams import Counted32, Rest, Sink, Source
from xdr import Array, FixedArray, Int32, Opaque, struct

UBIK_MAX_INTERFACE_ADDR = 256
UBIK_ALTERNATES = 255  # of another server, besides its primary address
IOVEC_MAXBUF = 65536
IOVEC_MAXWRT = 64
BULK_MAX = 20000


@struct
class ubik_version:
    epoch: Int32 = 0
    counter: Int32 = 0


@struct
class ubik_tid:
    epoch: Int32 = 0
    counter: Int32 = 0


@struct
class ubik_debug:
    now: Int32 = 0
    lastYesTime: Int32 = 0
    lastYesHost: Int32 = 0
    lastYesState: Int32 = 0
    lastYesClaim: Int32 = 0
    lowestHost: Int32 = 0
    lowestTime: Int32 = 0
    syncHost: Int32 = 0
    syncTime: Int32 = 0
    syncVersion: ubik_version = field(default_factory=ubik_version)
    syncTid: ubik_tid = field(default_factory=ubik_tid)
    amSyncSite: Int32 = 0
    syncSiteUntil: Int32 = 0
    nServers: Int32 = 0
    lockedPages: Int32 = 0
    writeLockedPages: Int32 = 0
    localVersion: ubik_version = field(default_factory=ubik_version)
    activeWrite: Int32 = 0
    tidCounter: Int32 = 0
    anyReadLocks: Int32 = 0
    anyWriteLocks: Int32 = 0
    recoveryState: Int32 = 0
    currentTrans: Int32 = 0
    writeTrans: Int32 = 0
    epochTime: Int32 = 0
    interfaceAddr: Annotated[tuple[Int32, ...], FixedArray(UBIK_MAX_INTERFACE_ADDR)] = (0,) * UBIK_MAX_INTERFACE_ADDR


@struct
class ubik_sdebug:
    addr: Int32 = 0
    lastVoteTime: Int32 = 0
    lastBeaconSent: Int32 = 0
    lastVote: Int32 = 0
    remoteVersion: ubik_version = field(default_factory=ubik_version)
    currentDB: Int32 = 0
    beaconSinceDown: Int32 = 0
    up: Int32 = 0
    altAddr: Annotated[tuple[Int32, ...], FixedArray(UBIK_ALTERNATES)] = (0,) * UBIK_ALTERNATES


@struct
class ubik_debug_old:
    now: Int32 = 0
    lastYesTime: Int32 = 0
    lastYesHost: Int32 = 0
    lastYesState: Int32 = 0
    lastYesClaim: Int32 = 0
    lowestHost: Int32 = 0
    lowestTime: Int32 = 0
    syncHost: Int32 = 0
    syncTime: Int32 = 0
    syncVersion: ubik_version = field(default_factory=ubik_version)
    syncTid: ubik_tid = field(default_factory=ubik_tid)
    amSyncSite: Int32 = 0
    syncSiteUntil: Int32 = 0
    nServers: Int32 = 0
    lockedPages: Int32 = 0
    writeLockedPages: Int32 = 0
    localVersion: ubik_version = field(default_factory=ubik_version)
    activeWrite: Int32 = 0
    tidCounter: Int32 = 0
    anyReadLocks: Int32 = 0
    anyWriteLocks: Int32 = 0
    recoveryState: Int32 = 0
    currentTrans: Int32 = 0
    writeTrans: Int32 = 0
    epochTime: Int32 = 0


@struct
class ubik_sdebug_old:
    addr: Int32 = 0
    lastVoteTime: Int32 = 0
    lastBeaconSent: Int32 = 0
    lastVote: Int32 = 0
    remoteVersion: ubik_version = field(default_factory=ubik_version)
    currentDB: Int32 = 0
    beaconSinceDown: Int32 = 0
    up: Int32 = 0


@struct
class UbikInterfaceAddr:
    hostAddr: Annotated[tuple[Int32, ...], FixedArray(UBIK_MAX_INTERFACE_ADDR)] = (0,) * UBIK_MAX_INTERFACE_ADDR


@struct
class ubik_iovec:
    file: Int32 = 0
    position: Int32 = 0
    length: Int32 = 0


bulkdata = Annotated[bytes, Opaque(BULK_MAX)]
iovec_buf = Annotated[bytes, Opaque(IOVEC_MAXBUF)]
iovec_wrt = Annotated[tuple[ubik_iovec, ...], Array(IOVEC_MAXWRT)]


class VOTE(Service, service_id=50):
    """Election of the sync site, and its state for udebug."""

    @rpc(10000)
    async def Beacon(self, state: Int32, vote_start: Int32, version: ubik_version, tid: ubik_tid) -> None:
        """A candidate asks for a vote; the answer is the abort code: 0 no, else the time of the vote."""

    @rpc(10001)
    async def DebugOld(self) -> ubik_debug_old:
        """State of the server, first form: returns db."""

    @rpc(10002)
    async def SDebugOld(self, which: Int32) -> ubik_sdebug_old:
        """State of another server as seen here, first form: returns db."""

    @rpc(10003)
    async def GetSyncSite(self, site: Int32) -> None:
        """Broken by design (the result is an input); only in 1.8."""

    @rpc(10004)
    async def Debug(self) -> ubik_debug:
        """State of the server: returns db."""

    @rpc(10005)
    async def SDebug(self, which: Int32) -> ubik_sdebug:
        """State of another server as seen here: returns db."""

    @rpc(10006)
    async def XDebug(self) -> tuple[ubik_debug, Int32]:
        """State of the server, and whether it is a clone: returns (db, is_clone)."""

    @rpc(10007)
    async def XSDebug(self, which: Int32) -> tuple[ubik_sdebug, Int32]:
        """State of another server as seen here, and whether it is a clone: returns (db, is_clone)."""


class DISK(Service, service_id=51):
    """The sync site writes to the other copies."""

    @rpc(20000)
    async def Begin(self, tid: ubik_tid) -> None:
        """Begin a write transaction."""

    @rpc(20001)
    async def Commit(self, tid: ubik_tid) -> None:
        """Commit a write transaction."""

    @rpc(20002)
    async def Lock(self, tid: ubik_tid, file: Int32, position: Int32, length: Int32, lock_type: Int32) -> None:
        """Lock the database."""

    @rpc(20003)
    async def Write(self, tid: ubik_tid, file: Int32, position: Int32, data: bulkdata) -> None:
        """Write one range."""

    @rpc(20004)
    async def GetVersion(self) -> ubik_version:
        """The version of the database here: returns version."""

    @rpc(20005)
    async def GetFile(self, file: Int32, data: Annotated[Sink, Counted32]) -> ubik_version:
        """The whole database; the stream is a length word and the bytes: returns version."""

    @rpc(20006)
    async def SendFile(self, file: Int32, length: Int32, version: ubik_version, data: Annotated[Source, Rest]) -> None:
        """Replace the whole database by the stream."""

    @rpc(20007)
    async def Abort(self, tid: ubik_tid) -> None:
        """Abort a write transaction."""

    @rpc(20008)
    async def ReleaseLocks(self, tid: ubik_tid) -> None:
        """End a transaction."""

    @rpc(20009)
    async def Truncate(self, tid: ubik_tid, file: Int32, length: Int32) -> None:
        """Shorten the database."""

    @rpc(20010)
    async def Probe(self) -> None:
        """Is the server up."""

    @rpc(20011)
    async def WriteV(self, tid: ubik_tid, io_vector: iovec_wrt, io_buffer: iovec_buf) -> None:
        """Write several ranges."""

    @rpc(20012)
    async def UpdateInterfaceAddr(self, in_addr: UbikInterfaceAddr) -> UbikInterfaceAddr:
        """Exchange lists of addresses: returns out_addr."""

    @rpc(20013)
    async def SetVersion(self, tid: ubik_tid, old_version: ubik_version, new_version: ubik_version) -> None:
        """Relabel the database."""
