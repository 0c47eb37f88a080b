"""A file server in memory, its clients by name, and a channel to them that records what they are told."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar
from uuid import UUID, uuid5

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from afs.acl import ALL_RIGHTS, ANONYMOUSID, ANYUSERID, AUTHUSERID, SYSADMINID, AccessList, Entry, parse_rights
from afs.interfaces import INames
from afs.types import AFSFid, AFSStoreStatus
from afs.users import Authority, UserList
from fileserver.callbacks import Fid
from fileserver.channel import Address, Introduction
from fileserver.directory import Directory
from fileserver.interfaces import IVolumeFiles, Vnode, VolumeHeader
from fileserver.procedures import Procedures, procedures
from fileserver.server import FileServer
from fileserver.store.memory import MemoryPartition
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.registry import Registry
from rx.constants import RxCode
from rx.errors import Abort, CallLost
from rx.security.interfaces import ANONYMOUS, Identity

T = TypeVar("T")

VOLUME, READONLY = 100, 101
ROOT = AFSFid(VOLUME, 1, 1)
NOTHING = AFSStoreStatus()
NAMESPACE = UUID(int=7)
LOCAL = ("10.0.1.1", 7000)

USERS = {b"alice": 1, b"bob": 2, b"carol": 3, b"admin": 4}
GROUPS = {
    b"system:administrators": SYSADMINID,
    b"system:authuser": AUTHUSERID,
    b"system:anyuser": ANYUSERID,
    b"staff": -300,
}
MEMBERS = {-300: {3}}


@implementer(INames)
class Names:
    """The protection server these tests have: a few users, and the group staff with carol in it."""

    known = USERS | GROUPS

    async def names_to_ids(self, names: Sequence[bytes]) -> list[int]:
        return [self.known.get(name.lower(), ANONYMOUSID) for name in names]

    async def ids_to_names(self, ids: Sequence[int]) -> list[bytes]:
        names = {number: name for name, number in self.known.items()}
        return [names.get(each, b"%d" % each) for each in ids]

    async def groups(self, user_id: int) -> tuple[int, ...]:
        if user_id == ANONYMOUSID:
            return (ANYUSERID, ANONYMOUSID)
        member = [group for group, members in MEMBERS.items() if user_id in members]
        return tuple(sorted((user_id, ANYUSERID, AUTHUSERID, *member)))

    async def host_groups(self, address: str) -> tuple[int, ...]:
        return ()


class Machine:
    """A cache manager as the channel meets it. `uuid` None: it knows neither of the RPCs that ask."""

    def __init__(self, address: Address, uuid: UUID | None, capabilities: int = 0) -> None:
        self.address = address
        self.uuid = uuid
        self.capabilities = capabilities
        self.interfaces: tuple[str, ...] = (address[0],)
        self.up = True
        self.told: list[tuple[Any, ...]] = []
        self.stuck: Deferred[None] | None = None


class Channel:
    """CallbackChannel to the machines of a test. `said` is everything that arrived, in order."""

    def __init__(self) -> None:
        self.machines: dict[Address, Machine] = {}
        self.closed: list[Address] = []
        self.routes: dict[Address, Address] = {}

    async def introduce(self, address: Address) -> Introduction:
        machine = await self._reach(address, "introduce")
        if machine.uuid is None:
            return Introduction()
        return Introduction(machine.uuid, machine.interfaces, machine.capabilities)

    async def reset(self, address: Address, *, has_uuid: bool) -> None:
        await self._reach(address, "reset", has_uuid)

    async def tell(self, address: Address, fids: Sequence[Fid]) -> None:
        await self._reach(address, "break", *fids)

    async def is_openafs(self, address: Address) -> bool:
        return False

    async def probe(self, address: Address, uuid: UUID | None) -> None:
        machine = await self._reach(address, "probe")
        if machine.uuid != uuid:
            raise Abort(1)

    def heard(self, address: Address, local: Address) -> None:
        self.routes[address] = local

    def route(self, address: Address) -> Address | None:
        return self.routes.get(address)

    def close(self, address: Address) -> None:
        self.routes.pop(address, None)
        self.closed.append(address)

    async def _reach(self, address: Address, *what: Any) -> Machine:
        machine = self.machines.get(address)
        if machine is None or not machine.up:
            raise CallLost(RxCode.RX_CALL_DEAD)
        if machine.stuck is not None:
            await machine.stuck
        machine.told.append(what)
        return machine


class Connection:
    """What the procedures see of an Rx connection."""

    def __init__(self, peer: Address, identity: Identity) -> None:
        self.peer = peer
        self.identity = identity
        self.client: object = None


class Call:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.local = LOCAL
        self.user_status = 0
        self.aborted: int | None = None

    def abort(self, code: int) -> None:
        self.aborted = code


class Bytes:
    """A Sink: what FetchData sent, and the length it announced."""

    def __init__(self) -> None:
        self.length: int | None = None
        self.data = b""

    def announce(self, length: int) -> None:
        assert self.length is None, "announced twice"
        self.length = length

    async def write(self, data: bytes | memoryview) -> None:
        assert self.length is not None, "written before it was announced"
        self.data += bytes(data)


class Pieces:
    """A Source of given pieces. An exception among them is raised, a Deferred waited for."""

    length: int | None = None

    def __init__(self, *pieces: bytes | Exception | Deferred[None]) -> None:
        self.pieces = list(pieces)

    async def read(self, size: int = 1 << 30, /) -> bytes:
        while self.pieces:
            piece = self.pieces.pop(0)
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, Deferred):
                await piece
                continue
            if len(piece) > size:
                self.pieces.insert(0, piece[size:])
            return piece[:size]
        return b""


class World(SynchronousTestCase):
    """A server with volume 100 (read-write, `ACL` on its root) and 101 (its read-only clone, empty)."""

    acl: dict[str, str] = {"system:anyuser": "rlidwk"}
    capabilities = 0

    def setUp(self) -> None:
        self.time = 1_700_000_000.0
        self.channel = Channel()
        self.partition = MemoryPartition()
        self.registry = Registry(Surroundings(lambda: self.time))
        self.header = VolumeHeader(VOLUME, VOLUME, b"test", 0, creation_date=11, owner=-300)
        for header in (self.header, VolumeHeader(READONLY, VOLUME, b"test.readonly", 1, creation_date=22)):
            self.run_now(self._make_volume(header))
        self.run_now(self.registry.add_partition(self.partition))
        self.names = Names()
        self.server = FileServer(
            self.registry, self.channel, Authority(UserList(["admin"])), self.names, lambda: self.time
        )
        self._begin = procedures(self.server)
        self._connections: dict[tuple[str, Address], Connection] = {}
        self.calls: list[Call] = []

    async def _make_volume(self, header: VolumeHeader) -> None:
        files: IVolumeFiles = await self.partition.create_volume(header)
        root = Directory.new((1, 1), (1, 1)).to_bytes()
        record = Vnode(2, 0o777, 2, len(root), 1, 1, 5, 0, 0, 0, 0, 5, acl=self.list_of(self.acl).to_bytes())
        header.disk_used = 2
        header.file_count = 1
        await files.write_header(header)
        await files.create_vnode(1, record, root)
        await files.close()

    def list_of(self, acl: dict[str, str], negative: dict[str, str] | None = None) -> AccessList:
        known = Names.known

        def entries(rights: dict[str, str]) -> list[Entry]:
            return [Entry(known[name.encode()], parse_rights(letters) & ALL_RIGHTS) for name, letters in rights.items()]

        return AccessList.of(entries(acl), entries(negative or {}))

    def machine(self, number: int = 1, *, port: int = 7001) -> Machine:
        """The machine 10.0.0.NUMBER, made when first named."""
        address = (f"10.0.0.{number}", port)
        if address not in self.channel.machines:
            uuid = uuid5(NAMESPACE, str(address))
            self.channel.machines[address] = Machine(address, uuid, self.capabilities)
        return self.channel.machines[address]

    def on(self, number: int, user: str = "", *, port: int = 7001) -> Procedures:
        """One call by a user ("" is anonymous) on a machine, over the connection that pair always has."""
        machine = self.machine(number, port=port)
        key = user, machine.address
        if key not in self._connections:
            identity = Identity("rxkad", name=user) if user else ANONYMOUS
            self._connections[key] = Connection(machine.address, identity)
        call = Call(self._connections[key])
        self.calls.append(call)
        return self._begin(call)

    def reconnect(self) -> None:
        """Every client makes new connections from now on."""
        self._connections.clear()

    def run_now(self, work: Awaitable[T]) -> T:
        """The result of what does not wait for anything."""
        assert isinstance(work, Coroutine)
        result: T = self.successResultOf(ensureDeferred(work))
        return result

    def begin(self, work: Awaitable[T]) -> Deferred[T]:
        assert isinstance(work, Coroutine)
        return ensureDeferred(work)

    def refused(self, code: int, work: Awaitable[Any]) -> None:
        """The call is aborted with that code."""
        assert isinstance(work, Coroutine)
        failure = self.failureResultOf(ensureDeferred(work), Abort)
        self.assertEqual(failure.value.code, code)

    def create(self, name: bytes = b"f", *, user: str = "", directory: AFSFid = ROOT, content: bytes = b"") -> AFSFid:
        """A file, made and filled from machine 1."""
        fid = self.run_now(self.on(1, user).CreateFile(directory, name, NOTHING))[0]
        if content:
            self.store(fid, content, user=user)
        return fid

    def mkdir(self, name: bytes = b"d", *, user: str = "", directory: AFSFid = ROOT) -> AFSFid:
        return self.run_now(self.on(1, user).MakeDir(directory, name, NOTHING))[0]

    def store(self, fid: AFSFid, content: bytes, *, pos: int = 0, user: str = "", machine: int = 1) -> None:
        length = len(content)
        self.run_now(self.on(machine, user).StoreData64(fid, NOTHING, pos, length, pos + length, Pieces(content)))

    def fetch(self, fid: AFSFid, *, pos: int = 0, length: int = 1 << 40, user: str = "", machine: int = 1) -> bytes:
        sink = Bytes()
        self.run_now(self.on(machine, user).FetchData64(fid, pos, length, sink))
        self.assertEqual(sink.length, len(sink.data))
        return sink.data

    def watch(self, fid: AFSFid, machine: int = 2) -> None:
        """Another machine gets a promise for the object; what it heard so far is forgotten."""
        self.run_now(self.on(machine).FetchStatus(fid))
        self.machine(machine).told.clear()

    def heard(self, machine: int = 2) -> list[Fid]:
        """The fids a machine was told to have changed, since it was last asked."""
        told = self.machine(machine).told
        fids = [fid for what in told if what[0] == "break" for fid in what[1:]]
        told.clear()
        return sorted(fids)

    def set_acl(self, acl: dict[str, str], negative: dict[str, str] | None = None, fid: AFSFid = ROOT) -> None:
        """Replace a directory's access list, as an administrator."""
        text = self.run_now(self.list_of(acl, negative).to_text(self.names))
        self.run_now(self.on(9, "admin").StoreACL(fid, text))


def key(fid: AFSFid) -> Fid:
    """A fid as the promises know it."""
    return fid.Volume, fid.Vnode, fid.Unique
