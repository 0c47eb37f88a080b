"""A vlserver in memory whose procedures are called without a network, arguments and results through their wire form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from afs.errors import VLError, describe
from afs.rpc.partitions import VLPartitions
from afs.rpc.vl import NMAXNSERVERS, OMAXNSERVERS, VLF_RWEXISTS, VLSF_RWVOL, nvldbentry, vldbentry
from afs.users import Authority, UserList
from rx.errors import Abort
from rx.security.interfaces import ANONYMOUS, Identity
from rx.service import Procedures as ServedProcedures
from vlserver.database import Database
from vlserver.forms import signed
from vlserver.interfaces import IVLStore
from vlserver.procedures import Procedures
from vlserver.procedures.base import Counters
from vlserver.procedures.privileges import Doorkeeper
from vlserver.store.memory import MemoryStore

ADMIN = Identity("rxkad", "admin")
START = 1_000_000.0
SERVED = ServedProcedures(Procedures)


@dataclass
class FakeConnection:
    """As much of an Rx connection as procedures look at."""

    identity: Identity


@dataclass
class FakeCall:
    """As much of a ServerCall as procedures look at."""

    opcode: int
    connection: FakeConnection
    peer: tuple[str, int] = ("192.0.2.1", 7001)


@dataclass
class Vldb:
    """The server under test: `vldb.as_admin.SetLock(...)`, `vldb.as_anyone.GetEntryByNameU(...)`."""

    store: IVLStore = field(default_factory=lambda: MemoryStore(lambda: START))
    restricted: bool = False

    def __post_init__(self) -> None:
        self.time = START
        uuids = iter(range(1, 1 << 30))
        self.clock = Clock()
        self.database = Database(self.store, lambda: self.time, self.clock, lambda: UUID(int=next(uuids) << 64))
        self.doorkeeper = Doorkeeper(Authority(UserList(["admin"])), self.restricted)
        self.counters = Counters(int(START))

    @property
    def as_admin(self) -> Any:
        """Calls made by an administrator."""
        return Caller(self, ADMIN)

    def as_server(self, host: str) -> Any:
        """Calls made with the cell's key from that address."""
        return Caller(self, ADMIN, host)

    @property
    def as_anyone(self) -> Any:
        """Calls made by nobody in particular."""
        return Caller(self, ANONYMOUS)

    async def call(self, name: str, identity: Identity, arguments: tuple[Any, ...], host: str) -> Any:
        """One RPC as the server would run it."""
        operation = next(each for each in VLPartitions.operations.values() if each.name == name)
        request = operation.encode_request(arguments)
        call: Any = FakeCall(operation.opcode, FakeConnection(identity), (host, 7001))
        instance = Procedures(self.database, self.doorkeeper, self.counters, call)
        procedure = SERVED.find(operation.opcode)
        result = await procedure.function(instance, *operation.decode_request(request)[0])
        return operation.decode_reply(operation.encode_reply(result))


@dataclass
class Caller:
    """The RPCs of a Vldb as methods, called by `identity` from an address."""

    vldb: Vldb
    identity: Identity
    host: str = "192.0.2.1"

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return lambda *arguments: self.vldb.call(name, self.identity, arguments, self.host)


class VldbTest(TestCase):
    """A test of RPCs; `self.vldb` is a fresh server."""

    restricted = False

    def setUp(self) -> None:
        self.vldb = Vldb(restricted=self.restricted)
        self.admin = self.vldb.as_admin
        self.anyone = self.vldb.as_anyone

    async def refused(self, code: VLError, answer: Awaitable[Any]) -> None:
        """The RPC must be refused with this code, and have changed nothing."""
        revision = self.vldb.store.revision
        try:
            result = await answer
        except Abort as refusal:
            self.assertEqual(refusal.code, code, f"{describe(refusal.code)}, not {describe(code)}")
            self.assertEqual(self.vldb.store.revision, revision)
        else:
            self.fail(f"not refused but {result}")

    def now(self, answer: Awaitable[Any]) -> Any:
        """The result of an RPC that does not wait, as none does in memory."""
        return self.successResultOf(Deferred.fromCoroutine(answer))  # type: ignore[arg-type]


def ip(text: str) -> int:
    """An address as it travels in entries."""
    return signed(int(IPv4Address(text)))


def uip(text: str) -> int:
    """An address as it travels in address lists."""
    return int(IPv4Address(text))


def entry(
    name: bytes = b"vol",
    ids: tuple[int, int, int] = (100, 101, 102),
    sites: Sequence[tuple[str, int, int]] = (("10.0.0.1", 0, VLSF_RWVOL),),
    flags: int = VLF_RWEXISTS,
    **fields: Any,
) -> nvldbentry:
    """An N-form entry; sites are (address, partition, flags)."""
    return nvldbentry(
        name=name,
        nServers=len(sites),
        serverNumber=padded([ip(site[0]) for site in sites], NMAXNSERVERS),
        serverPartition=padded([site[1] for site in sites], NMAXNSERVERS),
        serverFlags=padded([site[2] for site in sites], NMAXNSERVERS),
        volumeId=ids,
        flags=flags,
        **fields,
    )


def old_entry(
    name: bytes = b"vol",
    ids: tuple[int, int, int] = (100, 101, 102),
    sites: Sequence[tuple[str, int, int]] = (("10.0.0.1", 0, VLSF_RWVOL),),
    flags: int = VLF_RWEXISTS,
    **fields: Any,
) -> vldbentry:
    """An old-form entry."""
    return vldbentry(
        name=name,
        nServers=len(sites),
        serverNumber=padded([ip(site[0]) for site in sites], OMAXNSERVERS),
        serverPartition=padded([site[1] for site in sites], OMAXNSERVERS),
        serverFlags=padded([site[2] for site in sites], OMAXNSERVERS),
        volumeId=ids,
        flags=flags,
        **fields,
    )


def padded(values: Sequence[int], size: int) -> tuple[int, ...]:
    """The values and zeros behind them."""
    return (*values, *(0,) * (size - len(values)))
