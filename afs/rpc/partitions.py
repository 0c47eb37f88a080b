"""Partition objects in the VL service: the RPCs from opcode 74001 (docs/protocol/partitions.xg and .md).

Wire types first, field by field as published, then the service. Opcodes from 74101, the volume service's, are in
volpartitions.py.
"""
# mypy: disable-error-code="empty-body"

from dataclasses import field
from enum import IntEnum, IntFlag
from typing import Annotated

from afs.rpc.vl import VL
from afs.types import NIL_UUID, AfsUuid
from rx.service import rpc
from xdr import Array, FixedArray, Int32, Int64, Opaque, String, UInt32, UInt64, Union, struct

PARTITION_REVISION = 1
PARTITION_MAXNAME = 64
PARTITION_MAXPATH = 1024
PARTITION_MAXTEXT = 256
PARTITION_MAXVALUE = 8192
PARTITION_MAXOTHER = 8192
PARTITION_MAXSITES = 13
PARTITION_MAXSTEPS = 64
PARTITION_PAGE = 256
PHEARTBEAT_UNKNOWN = 0xFFFFFFFF


class PCAP(IntFlag):
    """Groups of RPCs that a vlserver has."""

    DEFINE = 0x1
    OWN = 0x2
    READ = 0x4
    WATCH = 0x8
    LEASES = 0x10


class POBJ(IntFlag):
    """PartitionObject.flags."""

    IMPLICIT = 0x1


class PSTATE(IntEnum):
    """What the owner said last of a partition."""

    UNKNOWN = 0
    MOUNTED = 1
    RELEASED = 2
    FROZEN = 3
    SALVAGING = 4
    FAILED = 5


class PDEF(IntFlag):
    """PartitionDescription.flags."""

    NEW = 0x1
    ADOPT = 0x2


class PVERDICT(IntEnum):
    """What a file server is to make of a partition it has reported."""

    UNKNOWN = 0
    YOURS = 1
    NEWER = 2
    BEHIND = 3
    ANOTHERS = 4
    NOBODYS = 5
    IMPLICIT = 6


class PREASON(IntEnum):
    """Why a request is made."""

    NONE = 0
    MOUNT = 1
    START = 2
    MOVE = 3
    RECOVER = 4
    FAILOVER = 5
    OPERATOR = 6


class PCLAIM(IntFlag):
    """PartitionClaim.flags, and of a release FORCE alone."""

    FORCE = 0x1
    LABELLED = 0x2


class POUT(IntEnum):
    """PartitionOutcome.result."""

    DONE = 0
    ALREADY = 1
    LOST = 2
    NUMBER = 3
    UNDEFINED = 4
    MOUNTED = 5


class PSELECT(IntEnum):
    """The arms of PartitionSelector."""

    ALL = 0
    OWNER = 1
    DEFINED = 2
    PARTITION = 3


class PSITE(IntFlag):
    """PartitionSite.flags."""

    MOUNTED = 0x1


class PSUBJECT(IntEnum):
    """The arms of PartitionSubject."""

    SERVER = 1
    PARTITION = 2
    DEFINITION = 3
    VOLUME = 4
    SETTING = 5


class PCHANGE(IntFlag):
    """PartitionChange.flags."""

    CUT = 0x1


_Name = Annotated[bytes, String(PARTITION_MAXNAME)]
_Path = Annotated[bytes, String(PARTITION_MAXPATH)]
_Text = Annotated[bytes, String(PARTITION_MAXTEXT)]
_Value = Annotated[bytes, String(PARTITION_MAXVALUE)]
_Ids = Annotated[tuple[UInt32, ...], FixedArray(3)]


@struct
class PartitionServer:
    """A server by its UUID, or one that has none by an address. Both are zero for no server."""

    uuid: AfsUuid = NIL_UUID
    address: UInt32 = 0


@struct
class PartitionUnknown:
    """The default arm of a union: what a later revision added."""

    kind: Int32 = 0
    other: Annotated[bytes, Opaque(PARTITION_MAXOTHER)] = b""


@struct
class PartitionRequest:
    """One wish, told apart by its id: repeating it is harmless."""

    id: AfsUuid = NIL_UUID
    reason: Int32 = PREASON.NONE
    text: _Text = b""


@struct
class PartitionTenure:
    """The claim or release that made a partition object what it is. `since` Unix seconds, spans in milliseconds."""

    request: AfsUuid = NIL_UUID
    reason: Int32 = PREASON.NONE
    text: _Text = b""
    since: Int64 = 0
    flags: Int32 = 0
    heartbeat_age: UInt32 = PHEARTBEAT_UNKNOWN
    lease: UInt32 = 0


@struct
class PartitionObject:
    """A partition object. `number` is its number on the owner, else on the last owner; sizes in 1 KiB blocks."""

    uuid: AfsUuid = NIL_UUID
    name: _Name = b""
    flags: Int32 = 0
    epoch: UInt64 = 0
    owner: PartitionServer = field(default_factory=PartitionServer)
    last_owner: PartitionServer = field(default_factory=PartitionServer)
    number: Int32 = 0
    state: Int32 = PSTATE.UNKNOWN
    backend: _Name = b""
    size: UInt64 = 0
    free: UInt64 = 0
    reported: Int64 = 0
    changed: Int64 = 0
    tenure: PartitionTenure = field(default_factory=PartitionTenure)


@struct
class PartitionDefinition:
    """A partition may be mounted on a server, there; the higher priority is tried first."""

    partition: AfsUuid = NIL_UUID
    server: PartitionServer = field(default_factory=PartitionServer)
    number: Int32 = 0
    path: _Path = b""
    priority: Int32 = 0


@struct
class PartitionDescription:
    """What a definition says of the object; an empty text leaves what is known."""

    name: _Name = b""
    backend: _Name = b""
    flags: Int32 = 0


@struct
class PartitionOutcome:
    """What became of a request, and the object as it is now (of POUT.NUMBER: the one in the way)."""

    result: Int32 = POUT.DONE
    object: PartitionObject = field(default_factory=PartitionObject)


@struct
class PartitionReport:
    """A partition as its file server sees it; `epoch` is the label's. Without UUID: one that has no label yet."""

    uuid: AfsUuid = NIL_UUID
    number: Int32 = 0
    epoch: UInt64 = 0
    state: Int32 = PSTATE.UNKNOWN
    backend: _Name = b""
    size: UInt64 = 0
    free: UInt64 = 0


@struct
class PartitionVerdict:
    """What the VLDB says of it."""

    uuid: AfsUuid = NIL_UUID
    verdict: Int32 = PVERDICT.UNKNOWN
    epoch: UInt64 = 0
    owner: PartitionServer = field(default_factory=PartitionServer)
    number: Int32 = 0


@struct
class PartitionClaim:
    """Compare and swap: `server` becomes the owner if the object's epoch is `expected_epoch`."""

    partition: AfsUuid = NIL_UUID
    server: PartitionServer = field(default_factory=PartitionServer)
    request: PartitionRequest = field(default_factory=PartitionRequest)
    expected_epoch: UInt64 = 0
    label_epoch: UInt64 = 0
    heartbeat_age: UInt32 = PHEARTBEAT_UNKNOWN
    lease: UInt32 = 0
    flags: Int32 = 0


@struct
class PartitionRelease:
    """`server` gives up what it owns at `epoch`, to nobody or to a successor."""

    partition: AfsUuid = NIL_UUID
    server: PartitionServer = field(default_factory=PartitionServer)
    request: PartitionRequest = field(default_factory=PartitionRequest)
    epoch: UInt64 = 0
    successor: PartitionServer = field(default_factory=PartitionServer)
    flags: Int32 = 0


@struct
class PartitionAll:
    """Every one. No flags have a meaning yet."""

    flags: Int32 = 0


@struct
class PartitionOwned:
    """Those of a server: which it has, or had last."""

    server: PartitionServer = field(default_factory=PartitionServer)


@struct
class PartitionDefined:
    """Those defined on a server."""

    server: PartitionServer = field(default_factory=PartitionServer)


@struct
class PartitionNamed:
    """One partition's."""

    partition: AfsUuid = NIL_UUID


PartitionSelector = Annotated[
    PartitionAll | PartitionOwned | PartitionDefined | PartitionNamed | PartitionUnknown,
    Union(
        {
            PSELECT.ALL: PartitionAll,
            PSELECT.OWNER: PartitionOwned,
            PSELECT.DEFINED: PartitionDefined,
            PSELECT.PARTITION: PartitionNamed,
        },
        default=PartitionUnknown,
    ),
]


@struct
class PartitionPlace:
    """A partition on a server: the key of a definition."""

    partition: AfsUuid = NIL_UUID
    server: PartitionServer = field(default_factory=PartitionServer)


@struct
class PartitionVolume:
    """A volume that has a site on the partition: `vlsf` are that site's flags, `sites` how many it has in all."""

    key: UInt64 = 0
    name: _Name = b""
    ids: _Ids = (0, 0, 0)
    flags: Int32 = 0
    vlsf: Int32 = 0
    sites: Int32 = 0


@struct
class PartitionSite:
    """A site by its partition object, and where that is now or was last."""

    partition: AfsUuid = NIL_UUID
    epoch: UInt64 = 0
    server: PartitionServer = field(default_factory=PartitionServer)
    number: Int32 = 0
    vlsf: Int32 = 0
    flags: Int32 = 0
    state: Int32 = PSTATE.UNKNOWN


@struct
class PartitionEntry:
    """A volume's entry with the partition objects it is on."""

    name: _Name = b""
    ids: _Ids = (0, 0, 0)
    clone_id: UInt32 = 0
    flags: Int32 = 0
    sites: Annotated[tuple[PartitionSite, ...], Array(PARTITION_MAXSITES)] = ()


@struct
class PartitionWatch:
    """Changes wanted: beyond a revision, of one partition or (nil) all, waiting up to so many milliseconds."""

    since: UInt64 = 0
    partition: AfsUuid = NIL_UUID
    limit: Int32 = PARTITION_PAGE
    wait: UInt32 = 0


@struct
class PartitionVolumeName:
    """A volume's entry by its names."""

    key: UInt64 = 0
    name: _Name = b""
    ids: _Ids = (0, 0, 0)


@struct
class PartitionSetting:
    """A number that the database keeps by a name."""

    name: _Name = b""


PartitionSubject = Annotated[
    PartitionOwned | PartitionNamed | PartitionPlace | PartitionVolumeName | PartitionSetting | PartitionUnknown,
    Union(
        {
            PSUBJECT.SERVER: PartitionOwned,
            PSUBJECT.PARTITION: PartitionNamed,
            PSUBJECT.DEFINITION: PartitionPlace,
            PSUBJECT.VOLUME: PartitionVolumeName,
            PSUBJECT.SETTING: PartitionSetting,
        },
        default=PartitionUnknown,
    ),
]


@struct
class PartitionRow:
    """One row before and after a change, as JSON; empty where there was none."""

    subject: PartitionSubject
    before: _Value = b""
    after: _Value = b""


@struct
class PartitionChange:
    """One committed write."""

    revision: UInt64 = 0
    time: Int64 = 0
    who: _Text = b""
    operation: _Text = b""
    flags: Int32 = 0
    rows: Annotated[tuple[PartitionRow, ...], Array(PARTITION_PAGE)] = ()


PartitionObjects = Annotated[tuple[PartitionObject, ...], Array(PARTITION_PAGE)]
PartitionDefinitions = Annotated[tuple[PartitionDefinition, ...], Array(PARTITION_PAGE)]
PartitionReports = Annotated[tuple[PartitionReport, ...], Array(PARTITION_PAGE)]
PartitionVerdicts = Annotated[tuple[PartitionVerdict, ...], Array(PARTITION_PAGE)]
PartitionVolumes = Annotated[tuple[PartitionVolume, ...], Array(PARTITION_PAGE)]
PartitionChanges = Annotated[tuple[PartitionChange, ...], Array(PARTITION_PAGE)]


class VLPartitions(VL, service_id=VL.service_id):
    """VL as our vlserver has it: the stock RPCs, and those about partition objects."""

    @rpc(74001)
    async def PartitionCapabilities(self) -> tuple[UInt32, UInt64]:
        """What this vlserver can do; others answer RXGEN_OPCODE: returns (revision, bits)."""

    @rpc(74002)
    async def DefinePartition(
        self, definition: PartitionDefinition, description: PartitionDescription, request: PartitionRequest
    ) -> PartitionOutcome:
        """A partition may be mounted on a server: returns outcome."""

    @rpc(74003)
    async def RemoveDefinition(
        self, partition: AfsUuid, server: PartitionServer, request: PartitionRequest
    ) -> PartitionOutcome:
        """It may no more; refused while it is mounted there: returns outcome."""

    @rpc(74004)
    async def RegisterPartitions(
        self, server: AfsUuid, reports: PartitionReports
    ) -> tuple[PartitionVerdicts, PartitionObjects]:
        """A file server says what it has, and is told what it should have: returns (verdicts, besides)."""

    @rpc(74005)
    async def ClaimPartition(self, claim: PartitionClaim) -> PartitionOutcome:
        """Become the owner: returns outcome."""

    @rpc(74006)
    async def ReleasePartition(self, release: PartitionRelease) -> PartitionOutcome:
        """Own it no more, or hand it over: returns outcome."""

    @rpc(74007)
    async def GetPartition(self, partition: AfsUuid) -> PartitionObject:
        """The object: returns object."""

    @rpc(74008)
    async def ListPartitions(
        self, selector: PartitionSelector, after: AfsUuid, limit: Int32
    ) -> tuple[PartitionObjects, AfsUuid]:
        """Objects by UUID, a page at a time; a nil next is the end: returns (objects, next)."""

    @rpc(74009)
    async def ListDefinitions(
        self, selector: PartitionSelector, after: PartitionPlace, limit: Int32
    ) -> tuple[PartitionDefinitions, PartitionPlace]:
        """Definitions by partition and server, a page at a time: returns (definitions, next)."""

    @rpc(74010)
    async def ListPartitionVolumes(
        self, partition: AfsUuid, after: UInt64, limit: Int32
    ) -> tuple[PartitionVolumes, UInt64]:
        """Volumes with a site on the partition, a page at a time; next 0 is the end: returns (volumes, next)."""

    @rpc(74011)
    async def GetEntryP(self, volumename: Annotated[bytes, String(PARTITION_MAXNAME)]) -> PartitionEntry:
        """An entry by name or id with its partition objects: returns entry."""

    @rpc(74012)
    async def WatchChanges(self, watch: PartitionWatch) -> tuple[PartitionChanges, UInt64, UInt64]:
        """What has changed, waiting for something if need be: returns (changes, revision, oldest)."""
