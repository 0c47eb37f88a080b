"""Every RXAFS and AFSVol call with arguments nobody expects, many at a time, through the real dispatch.

Whatever a client sends is answered or refused with a code; no call is left over, nothing grows without bound, and every
volume that is left fits together.
"""

from __future__ import annotations

import errno
from collections.abc import Coroutine, Iterator
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from afs.errors import VolserError
from afs.rpc.fs import RXAFS
from afs.rpc.volser import AFSVol
from afs.types import AFSFid
from afs.users import Authority, UserList
from fileserver.interfaces import IPartition
from fileserver.procedures import Procedures, procedures
from fileserver.rules import Rules
from fileserver.server import FileServer
from fileserver.store.memory import Disk, MemoryPartition
from fileserver.store.namei_user import open_namei_user
from fileserver.volser.procedures import VolumeServer
from fileserver.volser.procedures.clones import Clones
from fileserver.volser.transactions import TIMEOUT_SECONDS, Transactions
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.registry import Registry
from fileserver.volume.vn import VnodeCache
from rx.dispatch import answer
from rx.errors import Abort, CallLost, RxError
from rx.security.interfaces import ANONYMOUS, Identity
from rx.service import OPCODE_SIZE, Service
from rx.service import Procedures as Table
from tests.fileserver.consistency import contradictions
from tests.fileserver.hostile import VOLUMES, Requests
from tests.fileserver.procedures.support import Call, Channel, Connection, Machine, Names
from tests.fileserver.volser.support import unreachable
from tests.support.budget import budget

AT_ONCE = 12
"""Calls under way at the same time."""

PROMISES = 200
"""The table of promises is this small, so that it overflows."""

CACHE_SIZE = 100_000
"""The cache of vnodes too."""


class Conversation:
    """A client that sends its request in pieces, and may stop in the middle of it."""

    answered = False
    peer = ("10.0.0.1", 7001)

    def __init__(self, pieces: list[bytes], lost: bool) -> None:
        self._pieces = pieces
        self._lost = lost
        self.sent = 0

    async def send(self, data: bytes | memoryview) -> None:
        self.sent += len(data)

    def finish(self) -> None:
        return None

    @property
    def ended(self) -> bool:
        return not self._pieces and not self._lost

    async def receive(self, size: int = -1) -> bytes:
        if not self._pieces:
            if self._lost:
                raise CallLost(-1)
            return b""
        piece = self._pieces.pop(0)
        if 0 <= size < len(piece):
            self._pieces.insert(0, piece[size:])
            piece = piece[:size]
        return piece


class Hasty:
    """The reactor's clock, a thousand times as fast."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def callLater(self, delay: float, *call: Any, **named: Any) -> Any:
        return self._reactor.callLater(delay / 1000, *call, **named)

    def seconds(self) -> float:
        seconds: float = self._reactor.seconds()
        return seconds * 1000


class VolserCall(Call):
    def __init__(self, connection: Connection, opcode: int) -> None:
        super().__init__(connection)
        self.opcode = opcode


class Fuzz(TestCase):
    """Over the memory store, with a disk that takes its time, fails now and then, and is full now and then."""

    timeout = 7200.0
    name = "fileserver.fuzz.memory"

    def setUp(self) -> None:
        from twisted.internet import reactor

        share = budget(self.name, full=100_000)
        self.reactor: Any = reactor
        self.count = share.count
        self.random = Random(share.seed)
        self.disk = Disk(capacity=1 << 26)
        self.time = 1_700_000_000.0
        self.channel = Channel()
        for number in range(4):
            address = (f"10.0.0.{number}", 7001)
            self.channel.machines[address] = Machine(address, None, 1)
        hasty: Any = Hasty(reactor)
        self.surroundings = Surroundings(lambda: self.time, vnodes=VnodeCache(CACHE_SIZE), clock=hasty)
        self.registry = Registry(self.surroundings)
        self.transactions = Transactions(self.registry, self.surroundings.seconds)
        authority = Authority(UserList(["admin"]))
        self.server = FileServer(
            self.registry, self.channel, authority, Names(), lambda: self.time, Rules(callbacks=PROMISES)
        )
        self.server.callbacks.excess = PROMISES // 10
        self.begin = procedures(self.server)
        self.volser = VolumeServer(
            self.registry, self.transactions, lambda _: True, self.surroundings.seconds, unreachable
        )
        self.connections = [
            Connection(address, identity)
            for address in self.channel.machines
            for identity in (ANONYMOUS, Identity("rxkad", name="alice"), Identity("rxkad", name="admin"))
        ]
        self.tables: dict[type[Service], Table] = {RXAFS: Table(Procedures), AFSVol: Table(Clones)}
        self.requests = Requests(self.random)
        self.answered = 0
        self.open_partition()

    def open_partition(self) -> None:
        self.partition: IPartition = MemoryPartition(disk=self.disk)
        self.disk.fault = self.fault

    async def fault(self, operation: str, volume_id: int, number: int) -> None:
        """Every operation may take a while; a few fail where the store may."""
        chance = self.random.random()
        if chance < 0.05:
            await deferLater(self.reactor, 0)
        if operation in ("write", "truncate") and chance > 0.998:
            raise OSError(errno.ENOSPC, "No space left on device")

    async def test_everything(self) -> None:
        """No unexpected exception, nothing left over, and every volume is consistent at the end."""
        await self.registry.add_partition(self.partition)
        for volume in VOLUMES[:3]:
            await self.make_volume(volume)
        work = self.calls(self.count)
        await gatherResults([ensureDeferred(self.serve(work)) for _ in range(AT_ONCE)])
        self.assertGreater(self.answered, self.count // 10, "most of it was refused: this says little")
        await self.nothing_left()
        await self.registry.shutdown()
        self.disk.fault = None
        self.open_again()
        await self.all_consistent()
        await self.partition.close()

    def open_again(self) -> None:
        self.partition = MemoryPartition(disk=self.disk)

    async def serve(self, work: Iterator[Coroutine[Any, Any, None]]) -> None:
        for call in work:
            try:
                await call
            except RxError as refusal:
                self.assertIsInstance(refusal, (Abort, CallLost))
            if self.random.random() < 0.05:
                await deferLater(self.reactor, 0)

    def calls(self, count: int) -> Iterator[Coroutine[Any, Any, None]]:
        for number in range(count):
            self.time += 0.1
            if number % 500 == 499:
                yield self.recreate()
            yield self.call(AFSVol if self.random.random() < 0.1 else RXAFS)

    async def call(self, service: type[Service]) -> None:
        """One random call of a service."""
        procedure = self.random.choice(list(self.tables[service]))
        request = self.requests.make(procedure.operation)
        connection = self.random.choice(self.connections)
        instance: Service
        if service is RXAFS:
            instance = self.begin(Call(connection))
        else:
            call: Any = VolserCall(connection, procedure.operation.opcode)
            instance = self.volser.procedures(call)
        cut = self.random.randrange(len(request) + 1) if self.random.random() < 0.3 else len(request)
        cut = max(cut, OPCODE_SIZE)
        conversation = Conversation([request[cut:]] if request[cut:] else [], self.random.random() < 0.02)
        reply = await answer(procedure, instance, request[:cut], conversation)
        self.answered += 1
        self.requests.learn(procedure.operation.decode_reply(reply))
        self.requests.transactions = [each.id for each in self.transactions] or [1]

    async def make_volume(self, volume: int) -> None:
        call: Any = VolserCall(self.connections[0], 100)
        procedures = self.volser.procedures(call)
        _, transaction = await procedures.CreateVolume(0, b"v%d" % volume, 0, 0, volume)
        await procedures.SetFlags(transaction, 0)
        await procedures.EndTrans(transaction)
        admin = next(each for each in self.connections if each.identity.name == "admin")
        await self.begin(Call(admin)).StoreACL(AFSFid(volume, 1, 1), b"1\n0\nsystem:anyuser\t127\n\0")

    async def recreate(self) -> None:
        """End what nobody ended, and make good volumes of those that are gone or spoilt."""
        call: Any = VolserCall(self.connections[0], 100)
        for each in self.transactions:
            try:
                await self.volser.procedures(call).EndTrans(each.id)
            except Abort:
                continue
        for volume in VOLUMES[:3]:
            try:
                await self.volser.procedures(call).NukeVolume(0, volume)
            except Abort as refusal:
                if refusal.code == VolserError.VOLSERVOLBUSY:
                    continue
            try:
                await self.make_volume(volume)
            except Abort:
                continue

    async def nothing_left(self) -> None:
        """Every lock is free, every user has left, the tables are within their bounds."""
        self.time += TIMEOUT_SECONDS + 1
        await self.transactions.sweep()
        self.assertEqual(list(self.transactions), [])
        await self.server.breaks.drain()
        for volume in self.registry.volumes():
            self.assertEqual((volume.users, volume.borrowed), (0, False), volume)
        self.assertLessEqual(self.surroundings.vnodes.size, CACHE_SIZE)
        self.assertLessEqual(self.server.callbacks.count, PROMISES + PROMISES // 10)
        self.assertLessEqual(len(self.server.hosts), len(self.channel.machines))

    async def all_consistent(self) -> None:
        checked = 0
        for ids in await self.partition.volumes():
            files = await self.partition.open_volume(ids.id)
            header = await files.read_header()
            found = await contradictions(files)
            await files.close()
            if await self.complete(header):
                self.assertEqual(found, [], header)
                checked += 1
        self.assertGreater(checked, 0)

    async def complete(self, header: Any) -> bool:
        """Not something that its maker left unfinished."""
        return not (header.needs_salvaged or header.destroy_me)


class FuzzOnFiles(Fuzz):
    """Over namei-user files."""

    name = "fileserver.fuzz.files"

    def open_partition(self) -> None:
        self.path = Path(self.mktemp()) / "vicepa"
        self.path.mkdir(parents=True)
        self.open_again()

    def open_again(self) -> None:
        self.partition = open_namei_user(str(self.path), 0, self.reactor)
