"""PR, the protection server's service (ptint.xg): users, groups and who is in which."""
# mypy: disable-error-code="empty-body"

from typing import Annotated

from rx.service import Service, rpc
from xdr import Array, CharVector, FixedArray, Int32, String, UInt32, struct

PR_MAXNAMELEN = 64
PR_MAXGROUPS = 5000
PR_MAXLIST = 5000
PRSIZE = 10
OPENAFS_MAXPRLIST = 500000
PRUPDATE_NAME, PRUPDATE_ID, PRUPDATE_FLAGS, PRUPDATE_NAMEHASH, PRUPDATE_IDHASH = 0x1, 0x2, 0x4, 0x8, 0x10
PR_SF_ALLBITS = 0xFF
PR_SF_NGROUPS = 1 << 31
PR_SF_NUSERS = 1 << 30

prname = Annotated[bytes, CharVector(PR_MAXNAMELEN)]
_Reserved = Annotated[tuple[Int32, ...], FixedArray(5)]


@struct
class prdebugentry:
    flags: Int32 = 0
    id: Int32 = 0
    cellid: Int32 = 0
    next: Int32 = 0
    reserved: _Reserved = (0,) * 5
    entries: Annotated[tuple[Int32, ...], FixedArray(PRSIZE)] = (0,) * PRSIZE
    nextID: Int32 = 0
    nextname: Int32 = 0
    owner: Int32 = 0
    creator: Int32 = 0
    ngroups: Int32 = 0
    nusers: Int32 = 0
    count: Int32 = 0
    instance: Int32 = 0
    owned: Int32 = 0
    nextOwned: Int32 = 0
    parent: Int32 = 0
    sibling: Int32 = 0
    child: Int32 = 0
    name: prname = b""


@struct
class prcheckentry:
    flags: Int32 = 0
    id: Int32 = 0
    owner: Int32 = 0
    creator: Int32 = 0
    ngroups: Int32 = 0
    nusers: Int32 = 0
    count: Int32 = 0
    reserved: _Reserved = (0,) * 5
    name: prname = b""


@struct
class prlistentries:
    flags: Int32 = 0
    id: Int32 = 0
    owner: Int32 = 0
    creator: Int32 = 0
    ngroups: Int32 = 0
    nusers: Int32 = 0
    count: Int32 = 0
    reserved: _Reserved = (0,) * 5
    name: prname = b""


@struct
class PrUpdateEntry:
    Mask: UInt32 = 0
    flags: Int32 = 0
    id: Int32 = 0
    owner: Int32 = 0
    creator: Int32 = 0
    ngroups: Int32 = 0
    nusers: Int32 = 0
    count: Int32 = 0
    reserved: _Reserved = (0,) * 5
    name: prname = b""


Name = Annotated[bytes, String(PR_MAXNAMELEN)]
namelist = Annotated[tuple[prname, ...], Array(OPENAFS_MAXPRLIST)]
idlist = Annotated[tuple[Int32, ...], Array(OPENAFS_MAXPRLIST)]
prlist = Annotated[tuple[Int32, ...], Array(OPENAFS_MAXPRLIST)]
prentries = Annotated[tuple[prlistentries, ...], Array(OPENAFS_MAXPRLIST)]
# What a caller may ask at once is bounded by what the server would look up anyway (OPENAFS-SA-2013-002).
NamesAsked = Annotated[tuple[prname, ...], Array(PR_MAXLIST)]
IdsAsked = Annotated[tuple[Int32, ...], Array(PR_MAXLIST)]


class PR(Service, service_id=73):
    """The protection server. Port 7002."""

    @rpc(500)
    async def INewEntry(self, name: Name, entry_id: Int32, oid: Int32) -> None:
        """Make a user or group with this id."""

    @rpc(501)
    async def WhereIsIt(self, entry_id: Int32) -> Int32:
        """Offset of an entry in the database: returns ps."""

    @rpc(502)
    async def DumpEntry(self, pos: Int32) -> prdebugentry:
        """The database record at an offset: returns entry."""

    @rpc(503)
    async def AddToGroup(self, uid: Int32, gid: Int32) -> None:
        """Add a user to a group."""

    @rpc(504)
    async def NameToID(self, nlist: NamesAsked) -> idlist:
        """Ids of names; unknown ones are 32766: returns ilist."""

    @rpc(505)
    async def IDToName(self, ilist: IdsAsked) -> namelist:
        """Names of ids; unknown ones are their number: returns nlist."""

    @rpc(506)
    async def Delete(self, entry_id: Int32) -> None:
        """Remove an entry."""

    @rpc(507)
    async def RemoveFromGroup(self, entry_id: Int32, gid: Int32) -> None:
        """Take a user out of a group."""

    @rpc(508)
    async def GetCPS(self, entry_id: Int32) -> tuple[prlist, Int32]:
        """Every group of an id, and the id: returns (elist, over)."""

    @rpc(509)
    async def NewEntry(self, name: Name, flag: Int32, oid: Int32) -> Int32:
        """Make a user (flag 0) or group (flag 1): returns id."""

    @rpc(510)
    async def ListMax(self) -> tuple[Int32, Int32]:
        """The highest ids in use: returns (uid, gid)."""

    @rpc(511)
    async def SetMax(self, entry_id: Int32, gflag: Int32) -> None:
        """Set the highest user id or group id."""

    @rpc(512)
    async def ListEntry(self, entry_id: Int32) -> prcheckentry:
        """One entry: returns entry."""

    @rpc(513)
    async def ChangeEntry(self, entry_id: Int32, name: Name, oid: Int32, newid: Int32) -> None:
        """Change name, owner or id."""

    @rpc(514)
    async def ListElements(self, entry_id: Int32) -> tuple[prlist, Int32]:
        """Members of a group, or groups of a user: returns (elist, over)."""

    @rpc(515)
    async def IsAMemberOf(self, uid: Int32, gid: Int32) -> Int32:
        """Is a user in a group: returns flag."""

    @rpc(516)
    async def SetFieldsEntry(
        self, entry_id: Int32, mask: Int32, flags: Int32, ngroups: Int32, nusers: Int32, spare1: Int32, spare2: Int32
    ) -> None:
        """Change flags and quotas of an entry."""

    @rpc(517)
    async def ListOwned(self, entry_id: Int32, lastp: Int32) -> tuple[prlist, Int32]:
        """The groups an id owns: returns (elist, lastp)."""

    @rpc(518)
    async def GetCPS2(self, entry_id: Int32, host: Int32) -> tuple[prlist, Int32]:
        """As GetCPS, joined with the groups of a host: returns (elist, over)."""

    @rpc(519)
    async def GetHostCPS(self, host: Int32) -> tuple[prlist, Int32]:
        """Every group of a host and its networks: returns (elist, over)."""

    @rpc(520)
    async def UpdateEntry(self, entry_id: Int32, name: Name, uentry: PrUpdateEntry) -> None:
        """Change the parts of an entry that its Mask names."""

    @rpc(521)
    async def ListEntries(self, flags: Int32, startindex: Int32) -> tuple[prentries, Int32]:
        """The entries, a page at a time: returns (bulkentries, nextstartindex)."""

    @rpc(530)
    async def ListSuperGroups(self, entry_id: Int32) -> tuple[prlist, Int32]:
        """The groups a group is in: returns (elist, over)."""
