"""One run: clients at work while everything fails that may, then peace, in which the same command must suffice."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import ensureDeferred

from afs.rpc.partitions import PartitionServer
from afs.rpc.volpartitions import VOPS
from fileserver.partitions.flows import Busy
from fileserver.partitions.means import Order
from fileserver.partitions.operations import Operation
from tests.simulation.ownership.cell import Cell, Defect, Server
from tests.simulation.ownership.world import STOPS

TROUBLE_SECONDS = 20.0
"""How long things fail: several tenures, and time for a takeover and for another on top of it."""

PEACE_SECONDS = 300.0
"""Within this the command must have succeeded: an attempt may first wait a minute for an owner to let go."""

CALL_SECONDS = 3.0
"""How long a client waits for an answer."""

SERVED_SECONDS = 200.0
"""Within this a client that only writes, every two seconds or so, must have been answered: some fifty calls."""


@dataclass
class Outcome:
    """What a run has shown besides that nothing was wrong."""

    answers: int
    epochs: int
    commands: dict[str, int]


@dataclass
class Client:
    """Writes numbered records and reads the last, one call at a time, at the server that answered last."""

    cell: Cell
    number: int
    server: int = 0
    written: int = 0
    acknowledged: set[int] = field(default_factory=set)
    calls: int = 0
    seconds: float = 0.15
    writes: float = 0.5
    """The part of its calls that write: a call that waits for the storage keeps a client from others."""
    roams: bool = False
    """Asks any server, and so the new owner as soon as there is one."""

    def call(self) -> None:
        """The next one."""
        world = self.cell.world
        self.calls += 1
        number = 0
        if world.random.random() < self.writes:
            self.written += 1
            number = self.written
        self._ask(self.calls, number, max(self.acknowledged, default=0))
        world.after(CALL_SECONDS, self._silence, self.calls)

    def _ask(self, call: int, number: int, known: int) -> None:
        cell, server = self.cell, self.cell.servers[self.server]

        def arrive() -> None:
            process = server.process
            if process is not None and server.ready and not cell.lost(server):
                process.post(execute, process)

        def execute(process: Any) -> None:
            serving = ensureDeferred(server.serve(process, self.number, number))
            cell.kept.append(serving)
            serving.addCallbacks(
                lambda value: cell.world.after(cell.seconds() + cell.slack, answered, value),
                lambda failure: cell.world.after(cell.seconds(), refused, failure),
            )

        def answered(value: int) -> None:
            if value < known:
                raise Defect(f"{cell.world.now:.3f}: {server.host} has read {value} after {known} was acknowledged")
            if not cell.lost(server) and call == self.calls:
                if number:
                    self.acknowledged.add(number)
                self._again(self.server)

        def refused(failure: Any) -> None:
            if failure.check(Defect, AssertionError, TypeError, AttributeError):
                cell.defects.append(failure)
            elif call == self.calls:
                self._again(self.server + 1)

        cell.world.after(cell.seconds(), arrive)

    def _silence(self, call: int) -> None:
        if call == self.calls:
            self._again(self.server + 1)

    def _again(self, server: int) -> None:
        self.calls += 1
        if self.roams:
            server = self.cell.world.random.randrange(len(self.cell.servers))
        self.server = server % len(self.cell.servers)
        self.cell.world.after(self.cell.world.random.expovariate(1 / self.seconds), self.call)


class Troubles:
    """What goes wrong, and what administrators order, at random moments."""

    def __init__(self, cell: Cell, only: str = "") -> None:
        self.cell = cell
        self.random = cell.world.random
        self.seconds = 5.0 if only else 1.0
        self.over = False
        self.counts: dict[str, int] = {}
        self.last: tuple[str, Server] = "mount", cell.servers[0]
        self._kinds: tuple[Callable[[], None], ...] = (
            *(self.mount, self.force, self.force, self.force_two, self.unmount, self.move, self.move, self.move),
            *(self.kill, self.stop, self.stall, self.cut, self.vlserver, self.backup, self.restore),
            *(self.fail_over,) * 5,
            *(self.silence,) * 2,
        )
        if only:
            self._kinds = (getattr(self, only),)

    def begin(self) -> None:
        """The next one comes."""
        self.cell.world.after(self.random.expovariate(1 / self.seconds), self._one)

    def _one(self) -> None:
        if not self.over:
            kind = self.random.choice(self._kinds)
            self.counts[kind.__name__] = self.counts.get(kind.__name__, 0) + 1
            self.cell.say(kind.__name__)
            kind()
            self.begin()

    def server(self) -> Server:
        """Any."""
        return self.random.choice(self.cell.servers)

    def busy(self) -> Server:
        """The one that serves, as a rule."""
        serving = [each for each in self.cell.servers if each.believes]
        return self.random.choice(serving) if serving and self.random.random() < 0.8 else self.server()

    def mount(self) -> None:
        self.order("mount", self.server())

    def force(self) -> None:
        self.order("force", self.server())

    def force_two(self) -> None:
        for _ in range(2):
            self.cell.world.after(self.random.choice((0.0, 0.01, 1.0, 2.9)), self.order, "force", self.server())

    def unmount(self) -> None:
        self.order("unmount", self.busy())

    def move(self) -> None:
        self.order("move", self.busy(), self.server())

    def kill(self) -> None:
        server = self.busy()
        server.kill()
        self.cell.world.after(self.random.choice((0.05, 1.0, 3.0, 6.0)), server.start)

    def stop(self) -> None:
        process = self.busy().process
        if process is not None:
            process.stop(self.random.choice(STOPS))

    def stall(self) -> None:
        machine = self.busy().machine
        machine.stalled_until = self.cell.world.now + self.random.choice((0.3, 2.4, 3.0, 7.0))

    def cut(self) -> None:
        self.busy().cut_until = self.cell.world.now + self.random.choice((1.0, 4.0, 8.0))

    def fail_over(self) -> None:
        """Something happens to the one that serves, and soon another is to have the partition."""
        self.random.choice((self.kill, self.stop, self.stop, self.stall, self.cut))()
        for _ in range(self.random.choice((1, 1, 2))):
            self.cell.world.after(self.random.choice((0.0, 0.5, 2.0)), self.order, "force", self.server())

    def silence(self) -> None:
        """The one that serves cannot beat, and answers as long as it may; another waits from the beginning."""
        owner = self.busy()
        owner.machine.stalled_until = self.cell.world.now + 4.0
        other = self.random.choice([each for each in self.cell.servers if each is not owner])
        self.order("force", other)

    def vlserver(self) -> None:
        def up() -> None:
            self.cell.vlserver_up = True

        self.cell.vlserver_up = False
        self.cell.world.after(self.random.choice((0.5, 3.0)), up)

    def backup(self) -> None:
        self.cell.save()

    def restore(self) -> None:
        self.cell.restore()

    def order(self, kind: str, server: Server, other: Server | None = None) -> None:
        """An administrator's command, which may not arrive."""
        if server.process is not None and server.ready and not self.cell.lost(server):
            server.process.post(self._begin, kind, server, other)
        self.last = kind, other or server

    def _begin(self, kind: str, server: Server, other: Server | None) -> None:
        begin(server, kind, other, self.cell)

    def cease(self) -> None:
        """From now on everything works."""
        cell = self.cell
        self.over = True
        cell.world.stop_rate = cell.loss = cell.duplication = 0.0
        cell.vlserver_up = True
        for server in cell.servers:
            server.cut_until = server.machine.stalled_until = 0.0
            if server.process is not None:
                server.process.stopped_until = 0.0
            server.start()


def begin(server: Server, kind: str, other: Server | None, cell: Cell) -> Operation | None:
    """Carry out an order at a server; None when it is busy."""
    partitions = server.partitions
    known = server.table.known
    order = Order(cell.request(), force=kind == "force", deadline=None)
    try:
        if kind == "unmount":
            return partitions.unmount(known, order)
        if kind == "move":
            assert other is not None
            return partitions.move(known, order, PartitionServer(other.uuid))
        return partitions.mount(known, order)
    except Busy:
        return None


def run(seed: int, history: list[str] | None = None, only: str = "") -> Outcome:
    """Raises Defect. What happened is added to the history. `only` names the one kind of trouble there is to be."""
    cell = Cell(seed)
    cell.history = history
    with _current(cell), unwound(cell):
        return _run(cell, only)


def _run(cell: Cell, only: str) -> Outcome:
    world, random = cell.world, cell.world.random
    world.stop_rate = random.choice((0.0, 0.002, 0.02))
    cell.loss = random.choice((0.0, 0.05, 0.3))
    cell.duplication = random.choice((0.0, 0.2))
    for server in cell.servers:
        server.start()
    clients = [Client(cell, number, number, writes=share) for number, share in enumerate((0.5, 0.1, 0.02))]
    clients.append(Client(cell, len(clients), seconds=0.05, writes=0.0, roams=True))
    for client in clients:
        world.after(0.5, client.call)
    troubles = Troubles(cell, only)
    world.after(0.5, troubles.order, "force", cell.servers[0])
    world.after(3.0, troubles.begin)
    world.run(TROUBLE_SECONDS)
    troubles.cease()
    for client in clients:
        client.seconds, client.writes, client.roams = 2.0, 0.5, False
    world.run(world.now + max(STOPS))
    world.run(world.now + PEACE_SECONDS, lambda: not any(each.busy for each in cell.servers))
    chosen = troubles.last[1]
    _insist(cell, chosen)
    _check(cell, chosen, clients)
    return Outcome(cell.record.answers, len(cell.record.epochs), troubles.counts)


def _insist(cell: Cell, chosen: Server) -> None:
    """Give the same command until it says that it is done."""
    world = cell.world
    ends = world.now + PEACE_SECONDS
    said: list[object] = []

    def once() -> None:
        if world.now > ends:
            raise Defect(f"{chosen.host} does not bring the partition up: {said[-3:]}")
        assert chosen.process is not None
        chosen.process.post(ask)

    def ask() -> None:
        operation = begin(chosen, "force", None, cell) if chosen.ready else None
        if operation is None:
            world.after(1.0, once)
            return
        ensureDeferred(chosen.partitions.ended(operation)).addCallback(ended)

    def ended(operation: Operation) -> None:
        said.append((operation.state.name, operation.text))
        if operation.state not in (VOPS.DONE, VOPS.ALREADY):
            world.after(0.5, once)
            return
        world.after(8.0, settled)

    def settled() -> None:
        if chosen.believes:
            said.append("up")
        else:
            once()

    once()
    world.run(ends + 100.0, lambda: said[-1:] == ["up"])
    if said[-1:] != ["up"]:
        raise Defect(f"{chosen.host} does not bring the partition up: {said[-3:]}")


def _check(cell: Cell, chosen: Server, clients: list[Client]) -> None:
    """One server serves, everybody is served, nothing acknowledged is lost."""
    world = cell.world
    before = [client.acknowledged.copy() for client in clients]
    for client in clients:
        client.writes = 1.0
    world.run(
        world.now + SERVED_SECONDS,
        lambda: all(len(c.acknowledged) > len(b) for c, b in zip(clients, before, strict=True)),
    )
    serving = [each.host for each in cell.servers if each.believes]
    if serving != [chosen.host]:
        raise Defect(f"{serving} serve after {chosen.host} was told to")
    for client, known in zip(clients, before, strict=True):
        if len(client.acknowledged) == len(known):
            raise Defect(f"client {client.number} gets no answer in peace")
        lost = [number for number in client.acknowledged if (client.number, number) not in cell.record.landed]
        if lost:
            raise Defect(f"acknowledged and lost: {lost}")
    if cell.defects:
        raise Defect(str(cell.defects[0]))


_cell: list[Cell] = []


def current() -> Cell:
    """The cell of the run that is under way."""
    return _cell[-1]


@contextmanager
def _current(cell: Cell) -> Iterator[None]:
    _cell.append(cell)
    try:
        yield
    finally:
        _cell.pop()


@contextmanager
def unwound(cell: Any) -> Iterator[None]:
    """What waits for ever is thrown away at the end, not before: that runs code. Coroutines complain of it."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        cell.end()
        cell.kept.clear()
        gc.collect()
        gc.enable()
        sys.unraisablehook = hook
