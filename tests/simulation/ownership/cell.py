"""A cell of servers that reach one directory: real flows and labels on simulated machines, a real VLDB in memory, and
a network between them that loses, doubles, delays and reorders.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from inspect import signature
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import Any
from unittest import mock
from uuid import UUID

from twisted.internet.defer import Deferred, TimeoutError, ensureDeferred  # noqa: A004

from afs.errors import VolumeError
from afs.rpc.partitions import PDEF, PartitionDefinition, PartitionDescription, PartitionRequest, PartitionServer
from fileserver import partitions
from fileserver.interfaces import Fenced
from fileserver.partitions import journal, label, tenure
from fileserver.partitions.keeper import Partitions
from fileserver.partitions.label import Label, label_path
from fileserver.partitions.means import Means
from fileserver.partitions.table import Known
from fileserver.partitions.vldb import Vldb
from fileserver.volser.procedures.partitions import PartitionProcedures
from fileserver.volume.gate import Gate
from fileserver.volume.holding import SERVER
from rx.errors import Abort, CallLost
from tests.simulation.ownership.storage import Inode, Os, Storage
from tests.simulation.ownership.world import Machine, Process, Reactor, Threads, World
from tests.vlserver import support
from vlserver.interfaces import ITransaction
from vlserver.schema import Author
from vlserver.store.memory import MemoryStore

PARTITION = UUID(int=0x9990)
PATH = "/shared"
RX_SECONDS = 2.0
"""After which a call is given up: shorter than Rx's own, so that runs are short."""

LONG_SECONDS = 40.0
"""As long as the peer lives a call may take; then it is given up too."""


class Defect(AssertionError):
    """What must not happen did."""


class Record:
    """What the clients' data are, and who has answered and written last."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.content: dict[int, int] = {}
        self.landed: set[tuple[int, int]] = set()
        self.answers = 0
        self.writes = 0
        self.epochs: set[int] = set()
        self._last: tuple[int, UUID] = (0, UUID(int=0))

    def land(self, server: UUID, epoch: int, client: int, number: int) -> None:
        """A byte is on the storage."""
        self.writes += 1
        self._seen("written", server, epoch)
        self.landed.add((client, number))
        self.content[client] = max(number, self.content.get(client, 0))

    def answer(self, server: UUID, epoch: int) -> None:
        """A client was told something about the content."""
        self.answers += 1
        self._seen("answered", server, epoch)

    def _seen(self, what: str, server: UUID, epoch: int) -> None:
        self.epochs.add(epoch)
        last = self._last
        if epoch < last[0] or (epoch == last[0] and server != last[1]):
            raise Defect(f"{self.world.now:.3f}: {server} has {what} at epoch {epoch} after {last[1]} at {last[0]}")
        self._last = epoch, server


class Partition:
    """A partition as a back end opens it: what was read once is answered from memory."""

    def __init__(self, number: int, ownership: Any, record: Record) -> None:
        self.number = number
        self.uuid = PARTITION
        self.name = "/vicepa"
        self.backend = "namei"
        self.ownership = ownership
        self.cache = dict(record.content)

    async def close(self) -> None:
        """Nothing is open."""

    def space(self) -> SimpleNamespace:
        return SimpleNamespace(total=1000, free=500)


class Volumes(Gate):
    """A partition's volumes, of which only the way in to them is simulated."""

    def __iter__(self) -> Iterator[int]:
        return iter([1])

    def __len__(self) -> int:
        return 1


class Registry:
    """The gate to the partition and the count of calls, as the flows drive a registry of volumes."""

    def __init__(self, reactor: Reactor) -> None:
        self.salvages = None
        self.met: object = None
        self.serving: Partition | None = None
        self.gate = Volumes()
        self.running = 0
        self._reactor = reactor
        self._drained: list[Deferred[None]] = []
        self._vacated: list[Volumes] = []

    async def add_partition(self, partition: Partition, ids: object = None) -> None:
        assert self.serving is None
        self.serving, self.gate = partition, Volumes()

    def partition(self, number: int) -> Partition | None:
        return self.serving

    def volumes(self, partition: Partition) -> list[Any]:
        return []

    def ids(self, partition: Partition) -> list[int]:
        return [1]

    def used(self, number: int) -> list[Any]:
        return []

    def count(self, number: int) -> int:
        return 1

    def freeze(self, number: int) -> Gate:
        self.gate.freeze()
        return self.gate

    async def thin(self, number: int) -> None:
        """Nothing is idle."""

    async def drained(self, number: int, seconds: float, force: bool = False) -> bool:
        if self.running:
            waiting: Deferred[None] = Deferred()
            self._drained.append(waiting)
            waiting.addTimeout(seconds, self._reactor)  # type: ignore[arg-type]
            try:
                await waiting
            except TimeoutError:
                return force
        return True

    def enter(self) -> None:
        self.running += 1

    def leave(self) -> None:
        self.running -= 1
        if not self.running:
            waiting, self._drained = self._drained, []
            for each in waiting:
                if not each.called:
                    each.callback(None)

    async def vacate(self, number: int) -> Volumes:
        partition, gate = self.serving, self.gate
        assert partition is not None
        gate.freeze()
        while self.running:
            waiting: Deferred[None] = Deferred()
            self._drained.append(waiting)
            await waiting
        self.serving = None
        self._vacated.append(gate)
        await partition.close()
        return gate

    def dismiss(self, gate: Volumes, refusal: Any = None) -> None:
        self._vacated.remove(gate)
        gate.shut(*(refusal,) if refusal else ())

    def readmit(self, gate: Volumes) -> None:
        self._vacated.remove(gate)
        gate.thaw()

    async def remove_partition(self, number: int) -> None:
        self.dismiss(await self.vacate(number))

    async def shutdown(self) -> None:
        if self.serving is not None:
            await self.remove_partition(0)


class Teller:
    """No client has a promise."""

    def hosts(self, registry: object, number: int) -> dict[Any, set[int]]:
        return {}


class Journal:
    """No client is noted."""

    full = False

    def __init__(self, partition: str, guard: Callable[[], None]) -> None:
        self._guard = guard

    def rewrite(self, contacts: object) -> None:
        self._guard()

    def close(self) -> None:
        """Nothing is open."""


class Table:
    """What one machine keeps over restarts."""

    def __init__(self, known: Known) -> None:
        self.known = known

    def __iter__(self) -> Iterator[Known]:
        return iter([self.known])

    def get(self, uuid: UUID) -> Known:
        return self.known

    def put(self, row: Known) -> None:
        self.known = row


class Server:
    """One file server: a machine, what is on its own disk, and its process while it runs."""

    def __init__(self, cell: Cell, number: int, rate: float) -> None:
        self.cell = cell
        self.uuid = UUID(int=0x500 + number)
        self.host = f"10.0.0.{number + 1}"
        self.machine = Machine(self.host, rate, cell.world.random.uniform(0, 1e6))
        self.table = Table(Known(PARTITION, PATH, 0, "namei"))
        self.cut_until = 0.0
        self.process: Process | None = None
        self.ready = False
        """It has started, and takes calls."""
        self.partitions: Partitions
        self.registry: Registry

    @property
    def up(self) -> bool:
        return self.process is not None

    def start(self) -> None:
        if self.process is None:
            self.process = Process(self.cell.world, self.machine)
            self.process.post(self._begin, self.process)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.cell.dead.append(self.process)
            self.process, self.ready = None, False

    def _begin(self, process: Process) -> None:
        reactor = Reactor(process)
        self.registry = Registry(reactor)
        record = self.cell.record
        vlserver: Any = Peer(lambda name, arguments: self.cell.ask_vlserver(self, process, name, arguments))
        means = Means(
            reactor=reactor,
            own=self.uuid,
            table=self.table,  # type: ignore[arg-type]
            vldb=Vldb([("db", vlserver)], self.uuid),
            registry=self.registry,  # type: ignore[arg-type]
            openers={"namei": lambda known, tenancy: Partition(known.number, tenancy.ownership, record)},  # type: ignore[dict-item,return-value]
            teller=Teller(),  # type: ignore[arg-type]
            volser=lambda address: self._volser(process, address[0]),
            takeovers=None,  # type: ignore[arg-type]
        )
        self.partitions = Partitions(means, process.clock)
        self.cell.kept.append(self.partitions)
        self.cell.watch(self._start(process))

    async def _start(self, process: Process) -> None:
        await self.partitions.start()
        if self.process is process:
            self.ready = True

    def _volser(self, process: Process, host: str) -> Any:
        other = next(each for each in self.cell.servers if each.host == host)
        return Peer(lambda name, arguments: self.cell.ask_server(self, process, other, name, arguments))

    def volser(self, caller: Server) -> PartitionProcedures:
        """What a call of another server meets."""
        procedures = PartitionProcedures()
        names = signature(procedures.serve_partitions).parameters
        peer = {"peer": (caller.host, 7005)} if "peer" in names else {}
        procedures.serve_partitions(self.partitions, **peer)
        return procedures

    @property
    def busy(self) -> bool:
        """Whether it starts, or carries out an order."""
        return self.process is not None and not (self.ready and self.partitions.operations.running(PARTITION) is None)

    @property
    def believes(self) -> bool:
        """Whether it would answer now."""
        if self.process is None or not hasattr(self, "registry") or self.registry.serving is None:
            return False
        with self.process.looked_at():
            try:
                CHECK(self.registry.serving.ownership)
            except Fenced:
                return False
        return True

    async def serve(self, process: Process, client: int, number: int) -> int:
        """A client's call: write a record, or with number 0 read its last. Raises Abort."""
        partition = await self._admitted()
        self.registry.enter()
        try:
            if number:
                await self.partitions.means.in_thread(self._write, partition, client, number)
                partition.cache[client] = max(number, partition.cache.get(client, 0))
            value = partition.cache.get(client, 0)
            await self._answerable(partition)
        except (Fenced, OSError) as problem:
            self.registry.leave()
            raise Abort(VolumeError.VSALVAGE, str(problem)) from problem
        except Abort:
            self.registry.leave()
            raise
        self.cell.only(self)
        self._answer(process, partition.ownership.label.epoch)
        return value

    def _answer(self, process: Process, epoch: int) -> None:
        """The answer leaves a moment after it was checked, and before anything else is done in the reactor's thread."""
        world = self.cell.world

        def leave() -> None:
            if process.alive:
                self.cell.record.answer(self.uuid, epoch)
                process.post(self.registry.leave)

        world.after(world.random.choice((0.0, 0.0, 0.5, 0.999)) * self.cell.slack, leave)

    def _write(self, partition: Partition, client: int, number: int) -> None:
        partition.ownership.check()
        self.cell.only(self)
        epoch = partition.ownership.label.epoch
        self.cell.world.system_call(
            lambda: self.cell.record.land(self.uuid, epoch, client, number), bound=self.cell.slack
        )

    async def _admitted(self) -> Partition:
        while True:
            gate, partition = self.registry.gate, self.registry.serving
            if gate.frozen:
                waiting = gate.changed().addTimeout(RX_SECONDS, self.partitions.means.reactor)
                try:
                    await waiting
                except TimeoutError:
                    raise Abort(VolumeError.VBUSY) from None
                await gate.check(SERVER)
            elif partition is None:
                raise Abort(VolumeError.VNOVOL)
            else:
                await self._answerable(partition)
                if self.registry.serving is partition and not self.registry.gate.frozen:
                    return partition

    async def _answerable(self, partition: Partition) -> None:
        while True:
            try:
                partition.ownership.check()
            except Fenced as unsure:
                if not await partition.ownership.settled():
                    raise Abort(VolumeError.VNOVOL, str(unsure)) from unsure
            else:
                return


class Peer:
    """The RPCs of a service as methods that cross the network."""

    def __init__(self, ask: Callable[[str, tuple[Any, ...]], Deferred[Any]]) -> None:
        self._ask = ask

    def __getattr__(self, name: str) -> Callable[..., Deferred[Any]]:
        return lambda *arguments: self._ask(name, arguments)


class Cell:
    """Three servers, one vlserver, one directory. `skew` is by how much a clock may go wrong."""

    def __init__(self, seed: int, servers: int = 3) -> None:
        self.world = World(seed)
        random = self.world.random
        self.skew = random.choice((0.0, 0.001, 0.05))
        self.slack = slack(self.skew)
        self.storage = Storage(self.world)
        self.record = Record(self.world)
        self.loss = self.duplication = 0.0
        self.delay = random.choice((0.001, 0.02, 0.3))
        self.dead: list[Process] = []
        self.kept: list[object] = []
        """What dead processes waited for: what hangs on it is not to be unwound before the end."""
        self.defects: list[Any] = []
        self.history: list[str] | None = None
        self._ids = itertools.count(1)
        self.servers = [Server(self, n, 1 + random.choice((-1, 0, 1)) * self.skew) for n in range(servers)]
        self.vlserver_up = True
        self.vldb = support.Vldb(store=MemoryStore(lambda: support.START))
        self._begin()
        self.backup = self._rows()

    def _begin(self) -> None:
        admin = self.vldb.as_admin
        for server in self.servers:
            _now(admin.RegisterAddrs(server.uuid, 0, (support.uip(server.host),)))
            place = PartitionDefinition(PARTITION, PartitionServer(server.uuid), 0, PATH.encode())
            _now(admin.DefinePartition(place, PartitionDescription(b"", b"namei", PDEF.NEW), self.request()))
        self.storage.names[label_path(PATH)] = inode = Inode()
        inode.data += Label(PARTITION, "namei").to_bytes()

    def new_id(self) -> UUID:
        """Instead of uuid4."""
        return UUID(int=next(self._ids) << 32)

    def request(self) -> PartitionRequest:
        return PartitionRequest(self.new_id())

    def say(self, text: str) -> None:
        """Into the history of the run, where one is kept."""
        if self.history is not None:
            process = self.world.task.process if self.world.task is not None else None
            host = process.machine.name if process is not None else "-"
            self.history.append(f"{self.world.now:8.3f} {host:9} {text}")

    def watch(self, flow: Coroutine[Any, Any, Any]) -> None:
        """Run a flow that must not fail."""
        ensureDeferred(flow).addErrback(self.defects.append)

    def only(self, server: Server) -> None:
        """The server answers or writes now: no other believes that it may."""
        others = [each.host for each in self.servers if each is not server and each.believes]
        if others:
            raise Defect(f"{self.world.now:.3f}: {server.host} answers, and so would {', '.join(others)}")

    def save(self) -> None:
        """Back the VLDB up."""
        self.backup = self._rows()

    def restore(self) -> None:
        """What was changed since the backup is forgotten."""
        store = MemoryStore(lambda: support.START)
        _now(store.load(self.backup, {}, (), Author("restore", "test")))
        self.vldb = support.Vldb(store=store)

    def _rows(self) -> list[Any]:
        def rows(transaction: ITransaction) -> list[Any]:
            places = [place for each in transaction.servers() for place in transaction.definitions_on(each.slot)]
            return [*transaction.servers(), *transaction.partitions(), *places]

        found: list[Any] = _now(self.vldb.store.read(rows))
        return found

    def lost(self, server: Server, other: Server | None = None) -> bool:
        if self.world.random.random() < self.loss:
            return True
        return any(each is not None and each.cut_until > self.world.now for each in (server, other))

    def seconds(self) -> float:
        return self.world.random.expovariate(1 / self.delay)

    def ask_vlserver(self, server: Server, process: Process, name: str, arguments: tuple[Any, ...]) -> Deferred[Any]:
        """An RPC; a message that is lost or doubled is."""
        answer = _Answer(process, RX_SECONDS)
        self.kept.append(answer)

        def arrive() -> None:
            if not self.vlserver_up:
                return
            done = ensureDeferred(self.vldb.call(name, support.ADMIN, arguments, server.host))
            if not self.lost(server):
                done.addBoth(lambda result: self.world.after(self.seconds(), answer.come, result))
            done.addErrback(lambda _: None)

        for _ in range(2 if self.world.random.random() < self.duplication else 1):
            if process.alive and not self.lost(server):
                self.world.after(self.seconds(), arrive)
        return answer.deferred

    def ask_server(
        self, server: Server, process: Process, other: Server, name: str, arguments: tuple[Any, ...]
    ) -> Deferred[Any]:
        """An RPC between servers, which Rx lets happen once at most."""
        answer = _Answer(process, LONG_SECONDS)
        self.kept.append(answer)

        def arrive() -> None:
            called = other.process
            if called is None or not other.ready:
                return

            def execute() -> None:
                done = ensureDeferred(getattr(other.volser(server), name)(*arguments))
                if not self.lost(server, other):
                    done.addBoth(lambda result: self.world.after(self.seconds(), answer.come, result))
                done.addErrback(lambda _: None)

            called.post(execute)

        if process.alive and not self.lost(server, other):
            self.world.after(self.seconds(), arrive)
        else:
            self.world.after(RX_SECONDS, answer.lose)
        return answer.deferred

    def end(self) -> None:
        """Unwind what still runs."""
        for process in (*self.dead, *(server.process for server in self.servers if server.process is not None)):
            process.end()


class _Answer:
    """One call's outcome at its caller."""

    def __init__(self, process: Process, seconds: float) -> None:
        self.deferred: Deferred[Any] = Deferred()
        self._process = process
        self._over = False
        process.world.after(seconds, self.lose)

    def come(self, result: Any) -> None:
        self._fire(self.deferred.callback, result)

    def lose(self) -> None:
        self._fire(self.deferred.errback, CallLost(-1))

    def _fire(self, tell: Callable[[Any], None], result: Any) -> None:
        if not self._over and self._process.alive:
            self._over = True
            self._process.post(lambda: None if self.deferred.called else tell(result))


def slack(skew: float) -> float:
    """What is left between the end of a tenure by the slowest clock and the claimant's patience by the fastest."""
    patience = (TENURE + MARGIN) / (1 + skew)
    return patience - TENURE / (1 - skew)


TENURE, MARGIN = tenure.TENURE_SECONDS, tenure.MARGIN_SECONDS
CHECK = tenure.Tenure.check
"""As it is, whatever a mutant puts in its place."""


class Silent:
    """A log that only keeps defects."""

    def __init__(self, cell: Callable[[], Cell]) -> None:
        self._cell = cell

    def info(self, text: str, **values: Any) -> None:
        cell = self._cell()
        cell.say(text.format(**values))

    warn = error = info

    def failure(self, text: str, failure: Any = None, **__: object) -> None:
        self._cell().defects.append(failure or text)


@contextmanager
def simulated(current: Callable[[], Cell]) -> Iterator[None]:
    """The modules of the flows work on the machines of the cell that is current."""
    system = Os(lambda: current().storage)
    threads = Threads(lambda: current().world)
    time = SimpleNamespace(
        CLOCK_BOOTTIME=7, clock_gettime=lambda _: current().world.process.clock(), time=lambda: current().world.now
    )
    stands = {
        "os": system,
        "fcntl": system,
        "Path": system.path_class(),
        "time": time,
        "Thread": threads.Thread,
        "Event": threads.Event,
        "SimpleQueue": threads.SimpleQueue,
        "Journal": Journal,
        "read_journal": lambda _: [],
        "leave_listing": lambda *_: None,
        "read_listing": lambda *_: None,
        "uuid4": lambda: current().new_id(),
        "log": Silent(current),
    }
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(label, "open", system.open_file, create=True))
        for each in iter_modules(partitions.__path__):
            module = import_module(f"{partitions.__name__}.{each.name}")
            if module is not journal:
                names = {name: stand for name, stand in stands.items() if hasattr(module, name)}
                patches.enter_context(mock.patch.multiple(module, **names))  # type: ignore[call-overload]
        yield


def _now(answer: Coroutine[Any, Any, Any]) -> Any:
    """The result of what does not wait."""
    results: list[Any] = []
    ensureDeferred(answer).addBoth(results.append)
    return results[0]
