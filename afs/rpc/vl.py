"""VL, the volume location service (vldbint.xg): which servers hold a volume.

Wire types first, then the service. Three entry forms travel: ``vldbentry`` (8 sites), ``nvldbentry`` (13 sites) and
``uvldbentry`` (13 sites named by server UUID). Addresses are host-order integers.
"""
# mypy: disable-error-code="empty-body"

from typing import Annotated

from afs.types import NIL_UUID, AfsUuid
from rx.service import Service, rpc
from xdr import Array, CharVector, FixedArray, Int32, Pointer, String, UInt32, struct

VLDBVERSION_4 = 4
"""Once a server has registered a UUID."""
VLDBVERSION = 3
OVLDBVERSION = 2
VL_MAXNAMELEN = 65
OMAXNSERVERS = 8
NMAXNSERVERS = 13
MAXTYPES = 3
VLUPDATE_VOLUMENAME = 0x0001
VLUPDATE_FLAGS = 0x0004
VLUPDATE_READONLYID = 0x0008
VLUPDATE_BACKUPID = 0x0010
VLUPDATE_REPSITES = 0x0020
VLUPDATE_CLONEID = 0x0080
VLUPDATE_VOLNAMEHASH = 0x0100
VLUPDATE_RWID = 0x0200
VLUPDATE_REPS_DELETE = 0x0100
VLUPDATE_REPS_ADD = 0x0200
VLUPDATE_REPS_MODSERV = 0x0400
VLUPDATE_REPS_MODPART = 0x0800
VLUPDATE_REPS_MODFLAG = 0x1000
VLLIST_SERVER = 0x1
VLLIST_PARTITION = 0x2
VLLIST_VOLUMEID = 0x8
VLLIST_FLAG = 0x10
VLADDR_IPADDR = 0x1
VLADDR_INDEX = 0x2
VLADDR_UUID = 0x4
MAX_NUMBER_OPCODES = 50
VLOP_MOVE = 0x10
VLOP_RELEASE = 0x20
VLOP_BACKUP = 0x40
VLOP_DELETE = 0x80
VLOP_DUMP = 0x100
LOCKREL_TIMESTAMP, LOCKREL_OPCODE, LOCKREL_AFSID = 0x1, 0x2, 0x4  # what a release of a lock clears (vlserver.p.h)
VLF_RWEXISTS = 0x1000
VLF_ROEXISTS = 0x2000
VLF_BACKEXISTS = 0x4000
VLF_DFSFILESET = 0x8000
VLSF_NEWREPSITE = 0x01
VLSF_ROVOL = 0x02
VLSF_RWVOL = 0x04
VLSF_BACKVOL = 0x08
VLSF_UUID = 0x10
VLSF_DONTUSE = 0x20
VLSF_RWREPLICA = 0x40
MAX_BULKADDRS = 500  # addresses in one answer, in both stock versions

_Name = Annotated[bytes, CharVector(VL_MAXNAMELEN)]
_Old = Annotated[tuple[Int32, ...], FixedArray(OMAXNSERVERS)]
_Sites = Annotated[tuple[Int32, ...], FixedArray(NMAXNSERVERS)]
_Ids = Annotated[tuple[UInt32, ...], FixedArray(MAXTYPES)]


@struct
class VldbUpdateEntry:
    Mask: UInt32 = 0
    name: _Name = b""
    spares3: Int32 = 0
    flags: Int32 = 0
    ReadOnlyId: UInt32 = 0
    BackupId: UInt32 = 0
    cloneId: UInt32 = 0
    nModifiedRepsites: Int32 = 0
    RepsitesMask: Annotated[tuple[UInt32, ...], FixedArray(OMAXNSERVERS)] = (0,) * OMAXNSERVERS
    RepsitesTargetServer: _Old = (0,) * OMAXNSERVERS
    RepsitesTargetPart: _Old = (0,) * OMAXNSERVERS
    RepsitesNewServer: _Old = (0,) * OMAXNSERVERS
    RepsitesNewPart: _Old = (0,) * OMAXNSERVERS
    RepsitesNewFlags: _Old = (0,) * OMAXNSERVERS


@struct
class VldbListByAttributes:
    Mask: UInt32 = 0
    server: Int32 = 0
    partition: Int32 = 0
    spares3: Int32 = 0
    volumeid: UInt32 = 0
    flag: Int32 = 0


@struct
class vldbentry:
    name: _Name = b""
    spares3: Int32 = 0
    nServers: Int32 = 0
    serverNumber: _Old = (0,) * OMAXNSERVERS
    serverPartition: _Old = (0,) * OMAXNSERVERS
    serverFlags: _Old = (0,) * OMAXNSERVERS
    volumeId: _Ids = (0,) * MAXTYPES
    cloneId: UInt32 = 0
    flags: Int32 = 0


@struct
class nvldbentry:
    name: _Name = b""
    nServers: Int32 = 0
    serverNumber: _Sites = (0,) * NMAXNSERVERS
    serverPartition: _Sites = (0,) * NMAXNSERVERS
    serverFlags: _Sites = (0,) * NMAXNSERVERS
    volumeId: _Ids = (0,) * MAXTYPES
    cloneId: UInt32 = 0
    flags: Int32 = 0
    matchindex: Int32 = 0
    spares2: Int32 = 0
    spares3: Int32 = 0
    spares4: Int32 = 0
    spares5: Int32 = 0
    spares6: Int32 = 0
    spares7: Int32 = 0
    spares8: Int32 = 0
    spares9: Int32 = 0


@struct
class ListAddrByAttributes:
    Mask: Int32 = 0
    ipaddr: UInt32 = 0
    index: Int32 = 0
    spare1: Int32 = 0
    uuid: AfsUuid = NIL_UUID


@struct
class uvldbentry:
    name: _Name = b""
    nServers: Int32 = 0
    serverNumber: Annotated[tuple[AfsUuid, ...], FixedArray(NMAXNSERVERS)] = (NIL_UUID,) * NMAXNSERVERS
    serverUnique: _Sites = (0,) * NMAXNSERVERS
    serverPartition: _Sites = (0,) * NMAXNSERVERS
    serverFlags: _Sites = (0,) * NMAXNSERVERS
    volumeId: _Ids = (0,) * MAXTYPES
    cloneId: UInt32 = 0
    flags: Int32 = 0
    matchindex: Int32 = 0
    spares2: Int32 = 0
    spares3: Int32 = 0
    spares4: Int32 = 0
    spares5: Int32 = 0
    spares6: Int32 = 0
    spares7: Int32 = 0
    spares8: Int32 = 0
    spares9: Int32 = 0


@struct
class vital_vlheader:
    vldbversion: Int32 = 0
    headersize: Int32 = 0
    freePtr: Int32 = 0
    eofPtr: Int32 = 0
    allocs: Int32 = 0
    frees: Int32 = 0
    MaxVolumeId: UInt32 = 0
    totalEntries: Annotated[tuple[Int32, ...], FixedArray(MAXTYPES)] = (0,) * MAXTYPES


@struct
class vldstats:
    start_time: UInt32 = 0
    requests: Annotated[tuple[Int32, ...], FixedArray(MAX_NUMBER_OPCODES)] = (0,) * MAX_NUMBER_OPCODES
    aborts: Annotated[tuple[Int32, ...], FixedArray(MAX_NUMBER_OPCODES)] = (0,) * MAX_NUMBER_OPCODES
    reserved: Annotated[tuple[Int32, ...], FixedArray(5)] = (0,) * 5


@struct
class VLCallBack:
    CallBackVersion: UInt32 = 0
    ExpirationTime: UInt32 = 0
    CallBackType: UInt32 = 0
    Handle: UInt32 = 0


@struct
class single_vldbentry:
    VldbEntry: vldbentry
    next_vldb: Annotated["single_vldbentry | None", Pointer()] = None


@struct
class vldb_list:
    node: Annotated[single_vldbentry | None, Pointer()] = None


@struct
class single_nvldbentry:
    VldbEntry: nvldbentry
    next_vldb: Annotated["single_nvldbentry | None", Pointer()] = None


@struct
class nvldb_list:
    node: Annotated[single_nvldbentry | None, Pointer()] = None


VolumeName = Annotated[bytes, String(VL_MAXNAMELEN)]
bulkentries = Annotated[tuple[vldbentry, ...], Array(None)]
nbulkentries = Annotated[tuple[nvldbentry, ...], Array(None)]
bulkaddrs = Annotated[tuple[UInt32, ...], Array(MAX_BULKADDRS)]


class VL(Service, service_id=52):
    """Volume location. Port 7003."""

    @rpc(501)
    async def CreateEntry(self, newentry: vldbentry) -> None:
        """Add an entry in the 8-site form."""

    @rpc(502)
    async def DeleteEntry(self, volid: UInt32, voltype: Int32) -> None:
        """Remove the entry that has this id; voltype -1 looks among all three kinds."""

    @rpc(503)
    async def GetEntryByID(self, volid: UInt32, voltype: Int32) -> vldbentry:
        """The 8-site form by id: returns entry."""

    @rpc(504)
    async def GetEntryByNameO(self, volumename: VolumeName) -> vldbentry:
        """The 8-site form by name; an all-digit name is an id: returns entry."""

    @rpc(505)
    async def GetNewVolumeId(self, bumpcount: UInt32) -> UInt32:
        """Reserve ``bumpcount`` consecutive volume ids: returns newvolumid."""

    @rpc(506)
    async def ReplaceEntry(self, volid: UInt32, voltype: Int32, newentry: vldbentry, release_type: Int32) -> None:
        """Replace an entry, 8-site form."""

    @rpc(507)
    async def UpdateEntry(
        self, volid: UInt32, voltype: Int32, update_entry: VldbUpdateEntry, release_type: Int32
    ) -> None:
        """Change the parts of an entry that its Mask names."""

    @rpc(508)
    async def SetLock(self, volid: UInt32, voltype: Int32, voloper: Int32) -> None:
        """Lock an entry for one of the VLOP operations."""

    @rpc(509)
    async def ReleaseLock(self, volid: UInt32, voltype: Int32, release_type: Int32) -> None:
        """Unlock an entry; the bits of release_type say what is cleared."""

    @rpc(510)
    async def ListEntry(self, previous_index: Int32) -> tuple[Int32, Int32, vldbentry]:
        """Walk the entries by index, 8-site form; next index 0 is the end: returns (count, next_index, entry)."""

    @rpc(511)
    async def ListAttributes(self, attributes: VldbListByAttributes) -> tuple[Int32, bulkentries]:
        """The matching entries, 8-site form: returns (nentries, blkentries)."""

    @rpc(512)
    async def LinkedList(self, attributes: VldbListByAttributes) -> tuple[Int32, vldb_list]:
        """As ListAttributes, as a linked list: returns (nentries, linkedentries)."""

    @rpc(513)
    async def GetStats(self) -> tuple[vldstats, vital_vlheader]:
        """Counters and the database header: returns (stats, vital_header)."""

    @rpc(514)
    async def ProbeServer(self) -> None:
        """Is the server up."""

    @rpc(515)
    async def GetAddrs(self, handle: Int32, spare2: Int32) -> tuple[VLCallBack, Int32, bulkaddrs]:
        """Every server slot; multihomed ones as pointers 0xffBBIIII: returns (spare3, nentries, blkaddrs)."""

    @rpc(516)
    async def ChangeAddr(self, ip1: UInt32, ip2: UInt32) -> None:
        """Give a single-homed server another address, or remove one (ip1 = 0xffffffff)."""

    @rpc(517)
    async def CreateEntryN(self, newentry: nvldbentry) -> None:
        """Add an entry."""

    @rpc(518)
    async def GetEntryByIDN(self, volid: UInt32, voltype: Int32) -> nvldbentry:
        """An entry by id; voltype -1 looks among all three kinds: returns entry."""

    @rpc(519)
    async def GetEntryByNameN(self, volumename: VolumeName) -> nvldbentry:
        """An entry by name; an all-digit name is an id: returns entry."""

    @rpc(520)
    async def ReplaceEntryN(self, volid: UInt32, voltype: Int32, newentry: nvldbentry, release_type: Int32) -> None:
        """Replace an entry."""

    @rpc(521)
    async def ListEntryN(self, previous_index: Int32) -> tuple[Int32, Int32, nvldbentry]:
        """Walk the entries by index; next index 0 is the end: returns (count, next_index, entry)."""

    @rpc(522)
    async def ListAttributesN(self, attributes: VldbListByAttributes) -> tuple[Int32, nbulkentries]:
        """The matching entries: returns (nentries, blkentries)."""

    @rpc(523)
    async def LinkedListN(self, attributes: VldbListByAttributes) -> tuple[Int32, nvldb_list]:
        """As ListAttributesN, as a linked list: returns (nentries, linkedentries)."""

    @rpc(524)
    async def UpdateEntryByName(
        self, volumename: VolumeName, update_entry: VldbUpdateEntry, release_type: Int32
    ) -> None:
        """As UpdateEntry, by name."""

    @rpc(527)
    async def GetEntryByNameU(self, volumename: VolumeName) -> uvldbentry:
        """An entry with server UUIDs, as cache managers ask for it: returns entry."""

    @rpc(532)
    async def RegisterAddrs(self, uuidp: AfsUuid, spare1: Int32, ipaddr: bulkaddrs) -> None:
        """A file server announces its UUID and addresses."""

    @rpc(533)
    async def GetAddrsU(self, inaddr: ListAddrByAttributes) -> tuple[AfsUuid, Int32, Int32, bulkaddrs]:
        """One server's UUID and addresses, by address, index or UUID.

        Returns (uuidp1, uniquifier, nentries, blkaddrs).
        """

    @rpc(534)
    async def ListAttributesN2(
        self, attributes: VldbListByAttributes, volumename: VolumeName, startindex: Int32
    ) -> tuple[Int32, nbulkentries, Int32]:
        """The matching entries a page at a time; next index -1 is the end.

        Returns (nentries, blkentries, nextstartindex).
        """
