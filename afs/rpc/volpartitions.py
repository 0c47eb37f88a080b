"""Partition objects in the volume service: the RPCs from opcode 74101 (docs/protocol/partitions.xg and .md).

Wire types first, field by field as published, then the service. What both services use is in partitions.py.
"""
# mypy: disable-error-code="empty-body"

from dataclasses import field
from enum import IntEnum, IntFlag
from typing import Annotated

from afs.rpc.partitions import (
    PARTITION_MAXNAME,
    PARTITION_MAXPATH,
    PARTITION_MAXSTEPS,
    PARTITION_MAXTEXT,
    PARTITION_PAGE,
    PHEARTBEAT_UNKNOWN,
    PSTATE,
    PartitionRequest,
    PartitionServer,
)
from afs.rpc.volser import AFSVol
from afs.types import NIL_UUID, AfsUuid
from rx.service import rpc
from xdr import Array, Int32, Int64, String, UInt32, UInt64, struct


class VPCAP(IntFlag):
    """Groups of RPCs that a volume server has."""

    MOUNT = 0x1
    SALVAGE = 0x2
    MOVE = 0x4
    TAKEOVER = 0x8


class VPART(IntFlag):
    """VolPartition.flags."""

    WANTED = 0x1
    CREATE = 0x2


class PMOUNT(IntFlag):
    """VolPartitionOrder.flags of a mount, and FORCE of an unmount."""

    FORCE = 0x1
    TAKEOVER = 0x2


class PMOVE(IntFlag):
    """VolPartitionOrder.flags of a move, and VolMove.flags."""

    DRYRUN = 0x4


class VOP(IntEnum):
    """What an operation does."""

    NONE = 0
    MOUNT = 1
    UNMOUNT = 2
    SALVAGE = 3
    MOVE = 4
    TAKE = 5


class VOPS(IntEnum):
    """How an operation stands."""

    RUNNING = 0
    DONE = 1
    ALREADY = 2
    FAILED = 3
    STUCK = 4


class VSTEP(IntEnum):
    """How far an operation has come; which steps it has is up to its kind."""

    BEGUN = 0
    PREPARED = 1
    CLAIMED = 2
    FROZEN = 3
    OFFLINE = 4
    HOOKED = 5
    RELEASED = 6
    LABELLED = 7
    ATTACHED = 8
    TAKEN = 9
    TOLD = 10
    ANSWERED = 11
    SALVAGED = 12
    FENCED = 13
    ADDRESS = 14
    ENDED = 15


class VCOUNT(IntEnum):
    """What an operation counts; LONGEST is in milliseconds."""

    HELD = 1
    TOLD = 2
    UNREACHED = 3
    ATTACHED = 4
    LONGEST = 5
    SALVAGED = 6
    REPAIRED = 7
    LOST = 8


_Name = Annotated[bytes, String(PARTITION_MAXNAME)]
_Path = Annotated[bytes, String(PARTITION_MAXPATH)]
_Text = Annotated[bytes, String(PARTITION_MAXTEXT)]


@struct
class VolPartition:
    """A partition that this server may mount, as its table has it. Defining: a nil UUID is taken from the label."""

    uuid: AfsUuid = NIL_UUID
    path: _Path = b""
    number: Int32 = 0
    backend: _Name = b""
    hook: _Path = b""
    options: _Path = b""
    name: _Name = b""
    priority: Int32 = 0
    flags: Int32 = 0


@struct
class VolPartitionState:
    """The same, its label as last read, and what it does now. `operation` is the last one, nil if there was none."""

    partition: VolPartition = field(default_factory=VolPartition)
    state: Int32 = PSTATE.UNKNOWN
    reason: _Text = b""
    epoch: UInt64 = 0
    label_owner: AfsUuid = NIL_UUID
    label_epoch: UInt64 = 0
    heartbeat_age: UInt32 = PHEARTBEAT_UNKNOWN
    size: UInt64 = 0
    free: UInt64 = 0
    volumes: UInt32 = 0
    attached: UInt32 = 0
    salvaging: UInt32 = 0
    calls: UInt32 = 0
    operation: AfsUuid = NIL_UUID


@struct
class VolStep:
    """When a step was done, in Unix milliseconds."""

    step: Int32 = VSTEP.BEGUN
    at: Int64 = 0


@struct
class VolCount:
    """One of an operation's counters."""

    kind: Int32 = VCOUNT.HELD
    value: UInt64 = 0


@struct
class VolOperation:
    """An operation and its progress: `done` of `total` of what its step works on; `version` rises with every change."""

    id: AfsUuid = NIL_UUID
    kind: Int32 = VOP.NONE
    partition: AfsUuid = NIL_UUID
    peer: PartitionServer = field(default_factory=PartitionServer)
    state: Int32 = VOPS.RUNNING
    step: Int32 = VSTEP.BEGUN
    code: Int32 = 0
    text: _Text = b""
    done: UInt64 = 0
    total: UInt64 = 0
    version: UInt32 = 0
    steps: Annotated[tuple[VolStep, ...], Array(PARTITION_MAXSTEPS)] = ()
    counts: Annotated[tuple[VolCount, ...], Array(PARTITION_MAXSTEPS)] = ()


@struct
class VolPartitionOrder:
    """Do it to this partition. `deadline` in milliseconds for running calls and hooks, 0 for the server's own."""

    partition: AfsUuid = NIL_UUID
    request: PartitionRequest = field(default_factory=PartitionRequest)
    deadline: UInt32 = 0
    flags: Int32 = 0


@struct
class VolMove:
    """A move between two servers. `epoch` is the source's, and when taking the one the VLDB gave the target."""

    id: AfsUuid = NIL_UUID
    partition: AfsUuid = NIL_UUID
    source: PartitionServer = field(default_factory=PartitionServer)
    target: PartitionServer = field(default_factory=PartitionServer)
    epoch: UInt64 = 0
    text: _Text = b""
    flags: Int32 = 0


@struct
class VolHost:
    """A client the source has not reached, and the volumes it used; none: too many to name."""

    uuid: AfsUuid = NIL_UUID
    address: UInt32 = 0
    port: UInt32 = 0
    volumes: Annotated[tuple[UInt32, ...], Array(PARTITION_PAGE)] = ()


VolPartitionStates = Annotated[tuple[VolPartitionState, ...], Array(PARTITION_PAGE)]
VolOperations = Annotated[tuple[VolOperation, ...], Array(PARTITION_PAGE)]
VolHosts = Annotated[tuple[VolHost, ...], Array(PARTITION_PAGE)]


class AFSVolPartitions(AFSVol, service_id=AFSVol.service_id):
    """AFSVol as our volume server has it: the stock RPCs, and those about partition objects.

    Mount, unmount, salvage and move answer as soon as they are begun; GetOperation by the request's id tells how they
    go on, and they end also when nobody asks. The same id again is the same operation.
    """

    @rpc(74101)
    async def PartitionCapabilities(self) -> tuple[UInt32, UInt64, AfsUuid]:
        """What this server can do, and who it is: returns (revision, bits, server)."""

    @rpc(74102)
    async def DefinePartition(self, partition: VolPartition, request: PartitionRequest) -> VolPartitionState:
        """Clear a partition for mounting here, and say so in the VLDB: returns state."""

    @rpc(74103)
    async def RemovePartition(self, partition: AfsUuid, request: PartitionRequest) -> None:
        """Take that back; refused while it is mounted here."""

    @rpc(74104)
    async def MountPartition(self, order: VolPartitionOrder) -> VolOperation:
        """Claim it and serve it: returns operation."""

    @rpc(74105)
    async def UnmountPartition(self, order: VolPartitionOrder) -> VolOperation:
        """Serve it no more and let go of it: returns operation."""

    @rpc(74106)
    async def ListKnownPartitions(self, after: AfsUuid, limit: Int32) -> tuple[VolPartitionStates, AfsUuid]:
        """The server's table by UUID, a page at a time; a nil next is the end: returns (states, next)."""

    @rpc(74107)
    async def GetPartition(self, partition: AfsUuid) -> VolPartitionState:
        """One of them: returns state."""

    @rpc(74108)
    async def SalvagePartition(self, order: VolPartitionOrder) -> VolOperation:
        """Check all its volumes while it and all others are served: returns operation."""

    @rpc(74109)
    async def GetOperation(self, operation_id: AfsUuid, version: UInt32, wait: UInt32) -> VolOperation:
        """An operation past that version, waiting up to so many milliseconds for it: returns operation."""

    @rpc(74110)
    async def ListOperations(self, partition: AfsUuid) -> VolOperations:
        """What runs, and the last that ended, of one partition or (nil) all: returns operations."""

    @rpc(74111)
    async def MovePartition(self, order: VolPartitionOrder, target: PartitionServer) -> VolOperation:
        """To the source: give the partition to that server: returns operation."""

    @rpc(74112)
    async def PrepareMove(self, move: VolMove) -> VolPartitionState:
        """Source to target: could you mount it; nothing changes: returns state."""

    @rpc(74113)
    async def TakePartition(self, move: VolMove) -> VolOperation:
        """Source to target: it is yours in the VLDB; answered when it serves or has failed: returns operation."""

    @rpc(74114)
    async def TellHosts(self, move: VolMove, hosts: VolHosts) -> None:
        """Source to target: tell those I could not reach."""

    @rpc(74115)
    async def EndTakeover(self, address: UInt32, request: PartitionRequest) -> None:
        """Stop answering at a dead server's address."""

    @rpc(74116)
    async def CancelOperation(self, operation_id: AfsUuid, request: PartitionRequest) -> None:
        """Give a salvage up after the group it is at."""
