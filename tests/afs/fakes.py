"""A cell in memory for tests of the client: volumes as dictionaries, behind the real service declarations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from uuid import UUID

from twisted.internet.task import Clock

from afs.client import FileClient
from afs.errors import VLError, VolumeError
from afs.location import RO, RW
from afs.rpc.fs import RXAFS
from afs.rpc.vl import (
    MAXTYPES,
    NMAXNSERVERS,
    VL,
    VLF_ROEXISTS,
    VLF_RWEXISTS,
    VLSF_ROVOL,
    VLSF_RWVOL,
    VLSF_UUID,
    ListAddrByAttributes,
    uvldbentry,
)
from afs.types import (
    DIRECTORY,
    FILE,
    NIL_UUID,
    AFSCallBack,
    AFSFetchStatus,
    AFSFid,
    AFSVolSync,
)
from fileserver.directory import Directory
from rx.errors import Abort, CallLost
from rx.service import Caller, InProcess, Service
from rx.streams import Sink

Address = tuple[str, int]
Content = bytes | dict[bytes, tuple[int, int]]
ROOT = (1, 1)


@dataclass
class FakeVolume:
    """Files by (vnode, uniquifier): status, and content or, of a directory, entries."""

    volume_id: int
    files: dict[tuple[int, int], tuple[AFSFetchStatus, Content]] = field(default_factory=dict)

    def add(self, path: str, content: bytes = b"", kind: int = FILE, mode: int = 0o644) -> AFSFid:
        """Add a file, link or directory; the directories above it must be there."""
        *parents, name = path.strip("/").split("/")
        directory = self.files[ROOT][1]
        for parent in parents:
            assert isinstance(directory, dict)
            directory = self.files[directory[parent.encode()]][1]
        assert isinstance(directory, dict)
        vnode = 2 * len(self.files) + (1 if kind == DIRECTORY else 0)
        directory[name.encode()] = (vnode, vnode)
        status = AFSFetchStatus(InterfaceVersion=1, FileType=kind, Length=len(content), UnixModeBits=mode)
        self.files[vnode, vnode] = (status, {} if kind == DIRECTORY else content)
        return AFSFid(self.volume_id, vnode, vnode)

    @classmethod
    def make(cls, volume_id: int) -> "FakeVolume":
        """An empty volume."""
        return cls(volume_id, {ROOT: (AFSFetchStatus(InterfaceVersion=1, FileType=DIRECTORY, UnixModeBits=0o755), {})})

    def content(self, key: tuple[int, int]) -> bytes:
        """What FetchData gives."""
        content = self.files[key][1]
        if isinstance(content, bytes):
            return content
        pages = Directory.new(key, ROOT)
        for name, entry in content.items():
            pages.insert(name, *entry)
        return pages.to_bytes()


class FakeFileServer(RXAFS):
    """Serves volumes for reading. `refuse` maps a volume id to the code its calls are refused with."""

    def __init__(self, volumes: list[FakeVolume]) -> None:
        self.volumes = {volume.volume_id: volume for volume in volumes}
        self.refuse: dict[int, int] = {}
        self.calls = 0

    async def FetchStatus(self, fid: AFSFid) -> tuple[AFSFetchStatus, AFSCallBack, AFSVolSync]:
        volume, key = self._find(fid)
        status = volume.files[key][0]
        status.Length = len(volume.content(key))
        return status, AFSCallBack(), AFSVolSync()

    async def FetchData64(
        self, fid: AFSFid, pos: int, length: int, data: Sink
    ) -> tuple[AFSFetchStatus, AFSCallBack, AFSVolSync]:
        volume, key = self._find(fid)
        content = volume.content(key)[pos : pos + length]
        data.announce(len(content))
        await data.write(content)
        return volume.files[key][0], AFSCallBack(), AFSVolSync()

    def _find(self, fid: AFSFid) -> tuple[FakeVolume, tuple[int, int]]:
        self.calls += 1
        if fid.Volume in self.refuse:
            raise Abort(self.refuse[fid.Volume])
        if fid.Volume not in self.volumes:
            raise Abort(VolumeError.VNOVOL)
        key = (fid.Vnode, fid.Unique)
        if key not in self.volumes[fid.Volume].files:
            raise Abort(VolumeError.VNOVNODE)
        return self.volumes[fid.Volume], key


@dataclass
class FakeEntry:
    """A volume with perhaps a read-only clone, each at one address."""

    name: bytes
    readwrite: int
    readwrite_at: str
    readonly: int = 0
    readonly_at: tuple[str, ...] = ()


class FakeVL(VL):
    """Answers lookups. A server with an even last byte of its address is known by UUID, the others by address."""

    def __init__(self, entries: list[FakeEntry]) -> None:
        self.entries = entries
        self.lookups = 0

    async def GetEntryByNameU(self, volumename: bytes) -> uvldbentry:
        self.lookups += 1
        base = volumename.removesuffix(b".readonly").removesuffix(b".backup")
        for entry in self.entries:
            ids = (b"%d" % entry.readwrite, b"%d" % entry.readonly)
            if base == entry.name or volumename in ids:
                return _uvldbentry(entry)
        raise Abort(VLError.VL_NOENT)

    async def GetAddrsU(self, inaddr: ListAddrByAttributes) -> tuple[UUID, int, int, tuple[int, ...]]:
        address = inaddr.uuid.node & 0xFFFF_FFFF
        return inaddr.uuid, 1, 1, (address,)


class FakeClient(FileClient):
    """A client whose servers are in this process; an address without one is silent."""

    def __init__(self, servers: Mapping[tuple[str, int], Service]) -> None:
        super().__init__(Clock(), [("10.0.0.1", 7003)])
        self.servers = dict(servers)

    def caller(self, server: Address, service_id: int) -> Caller:
        instance = self.servers.get(server)
        return Silent() if instance is None else InProcess(instance)


class Silent:
    """A server that does not answer."""

    async def call(self, operation: object, arguments: object, timeout: float | None) -> None:
        raise CallLost(-1)


def _uvldbentry(entry: FakeEntry) -> uvldbentry:
    sites = [(entry.readwrite_at, VLSF_RWVOL), *((address, VLSF_ROVOL) for address in entry.readonly_at)]
    numbers = [int(IPv4Address(address)) for address, _ in sites]
    uuids = [
        UUID(fields=(1, 0, 0, 0, 0, number)) if number % 2 == 0 else UUID(fields=(number, 0, 0, 0, 0, 0))
        for number in numbers
    ]
    flags = [flag | (VLSF_UUID if number % 2 == 0 else 0) for (_, flag), number in zip(sites, numbers, strict=True)]
    empty = NMAXNSERVERS - len(sites)
    ids = [0] * MAXTYPES
    ids[RW], ids[RO] = entry.readwrite, entry.readonly
    return uvldbentry(
        name=entry.name,
        nServers=len(sites),
        serverNumber=(*uuids, *[NIL_UUID] * empty),
        serverFlags=(*flags, *[0] * empty),
        volumeId=(ids[0], ids[1], ids[2]),
        flags=VLF_RWEXISTS | (VLF_ROEXISTS if entry.readonly else 0),
    )
