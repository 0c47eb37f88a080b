"""What goes wrong in a run, and what an administrator orders meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

from afs.rpc.partitions import PartitionRequest, PartitionServer
from fileserver.partitions.flows import Busy
from fileserver.partitions.means import Order
from tests.simulation.clients.cell import Cell
from tests.simulation.clients.excuses import Excuses
from tests.simulation.clients.server import Server
from tests.simulation.clients.storage import Storage

LOOK_SECONDS = 0.3
"""How often the administrator looks whether partitions are mounted."""

FORCE_SECONDS = 6.0
"""What cannot be mounted for so long is mounted by force: its owner in the VLDB may have failed to take it."""

LONG_SECONDS = 20.0
"""After which clients have given up a server that is gone, and ask the other."""


class Administrator:
    """Has every partition mounted where it is wanted, and mounts it again when it is nowhere."""

    def __init__(self, cell: Cell, excuses: Excuses) -> None:
        self.cell = cell
        self.excuses = excuses
        self.wanted: dict[UUID, Server] = {}
        self.force: set[UUID] = set()
        self.begun = False
        self._nowhere: dict[UUID, float] = {}
        for storage, server in zip(cell.storages.values(), cell.servers, strict=True):
            self.wanted[storage.uuid] = server

    def begin(self) -> None:
        """Look now and then."""
        self.begun = True
        self.cell.world.after(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        for storage in self.cell.storages.values():
            owner, server = self.cell.owner(storage), self.wanted[storage.uuid]
            if owner is not None:
                self._nowhere.pop(storage.uuid, None)
            if owner is None and not any(self.running(each, storage) for each in self.cell.servers):
                since = self._nowhere.setdefault(storage.uuid, self.cell.world.now)
                tried = self.cell.world.now - since > FORCE_SECONDS
                self.order(server, storage, "mount", force=tried or storage.uuid in self.force)
            elif owner is not None and not self.running(owner, storage):
                self.force.discard(storage.uuid)
                self.excuses.end("move", "unmount", subject=storage.uuid)
        self.begin()

    @staticmethod
    def running(server: Server, storage: Storage) -> bool:
        """Whether a server is doing something to a partition."""
        if not server.ready or server.service is None or server.service.partitions is None:
            return False
        return server.service.partitions.operations.running(storage.uuid) is not None

    def order(self, server: Server, storage: Storage, what: str, to: Server | None = None, force: bool = False) -> None:
        """Carried out by the server, if it can."""
        if server.process is not None and server.ready and not server.stopping:
            server.process.post(self._carry_out, server, storage, what, to, force)

    def _carry_out(self, server: Server, storage: Storage, what: str, to: Server | None, force: bool) -> None:
        if server.service is None or server.service.partitions is None:
            return
        known, partitions = server.table.get(storage.uuid), server.service.partitions
        assert known is not None
        order = Order(PartitionRequest(uuid4()), force=force)
        try:
            if what == "move":
                assert to is not None
                partitions.move(known, order, PartitionServer(to.uuid))
            else:
                getattr(partitions, what)(known, order)
        except Busy:
            self.cell.say(f"{what} of {storage.path}: busy")


class Troubles:
    """One after the other, and several at a time. `only` names the kinds there are to be."""

    def __init__(self, cell: Cell, excuses: Excuses, only: tuple[str, ...] = ()) -> None:
        self.cell = cell
        self.excuses = excuses
        self.random = cell.world.random
        self.administrator = Administrator(cell, excuses)
        self.counts: dict[str, int] = {}
        self.seconds = 2.0
        self.over = False
        self.vanish: Callable[[], None]
        self.newcomer: Callable[[], None]
        self._kinds = only or self.gentle + self.rough

    gentle = ("remount", "hand_over", "move", "move", "damage", "damage")
    rough = ("restart", "kill", "take_over", "stall", "fail", "fill", "cut", "cut", "vanish", "stop", "hush")

    def begin(self) -> None:
        """The next one comes."""
        self.cell.world.after(self.random.expovariate(1 / self.seconds), self._one)

    def _one(self) -> None:
        if not self.over:
            name = self.random.choice(self._kinds)
            self.counts[name] = self.counts.get(name, 0) + 1
            self.cell.say(f"trouble: {name}")
            getattr(self, name)()
            self.begin()

    def storage(self) -> Storage:
        return self.random.choice(list(self.cell.storages.values()))

    def other(self, server: Server | None) -> Server:
        return next(each for each in self.cell.servers if each is not server)

    def volume(self, storage: Storage) -> int:
        return self.random.choice(self.cell.volumes_of(storage))

    # What an administrator orders.

    def remount(self) -> None:
        storage = self.storage()
        owner = self.cell.owner(storage)
        if owner is not None:
            self.excuses.begin("unmount", storage.uuid)
            self.administrator.wanted[storage.uuid] = owner
            self.administrator.order(owner, storage, "unmount")

    def hand_over(self) -> None:
        storage = self.storage()
        owner = self.cell.owner(storage)
        if owner is not None:
            self.excuses.begin("unmount", storage.uuid)
            self.administrator.wanted[storage.uuid] = self.other(owner)
            self.administrator.order(owner, storage, "unmount")

    def move(self) -> None:
        storage = self.storage()
        owner = self.cell.owner(storage)
        if owner is not None:
            target = self.other(owner)
            self.excuses.begin("move", storage.uuid)
            self.cell.upset(owner.host)
            self.administrator.wanted[storage.uuid] = target
            self.administrator.order(owner, storage, "move", target)

    # What befalls servers.

    def restart(self) -> None:
        server = self.random.choice(self.cell.servers)
        if server.ready and not server.stopping:
            self.excuses.begin("restart", server.host)
            server.stop()
            self._start_again(server, self.random.choice((1.0, 3.0)))

    def kill(self) -> None:
        server = self.random.choice(self.cell.servers)
        if server.ready:
            self._kill(server)
            self._start_again(server, self.random.choice((1.0, 3.0)))

    def _kill(self, server: Server) -> None:
        self.excuses.begin("kill", server.host)
        self.cell.upset(server.host)
        server.kill()

    def _start_again(self, server: Server, seconds: float) -> None:
        """Once it is gone; and nothing of what was sent to its last life comes to this one as a surprise."""

        def again() -> None:
            if server.process is None:
                server.start()
                self.cell.world.after(0.5, look)
            else:
                self.cell.world.after(0.5, again)

        def look() -> None:
            if server.ready:
                self.excuses.end("kill", "restart", subject=server.host)
            elif server.process is not None:
                self.cell.world.after(0.5, look)

        self.cell.world.after(seconds, again)

    def take_over(self) -> None:
        """A server dies, or stands still, and the other takes what it had."""
        storage = self.storage()
        owner = self.cell.owner(storage)
        if owner is None or owner.process is None:
            return
        other = self.other(owner)
        if not other.ready:
            return
        if self.random.random() < 0.5:
            self._kill(owner)
            self._start_again(owner, self.random.choice((6.0, LONG_SECONDS)))
        else:
            self.excuses.begin("kill", owner.host)
            self.cell.upset(owner.host)
            owner.process.stop(6.0)
            self.cell.world.after(7.0, lambda: self.excuses.end("kill", subject=owner.host))
        self.excuses.begin("unmount", storage.uuid)
        self.administrator.wanted[storage.uuid] = other
        self.administrator.force.add(storage.uuid)
        self.administrator.order(other, storage, "mount", force=True)
        self.cell.world.after(1.0, self.newcomer)

    def stop(self) -> None:
        """A server stands still for a moment."""
        server = self.random.choice(self.cell.servers)
        if server.process is not None:
            seconds = self.random.choice((0.1, 0.5, 1.5))
            self.excuses.begin("stop", server.host, seconds)
            server.process.stop(seconds)

    def hush(self) -> None:
        """A server cannot read its labels for a while, and so does not know whether its partitions are its own."""
        server = self.random.choice(self.cell.servers)
        seconds = self.random.choice((1.5, 3.0, 7.0))
        self.excuses.begin("hush", server.host, seconds)
        server.machine.stalled_until = self.cell.world.now + seconds

    # What befalls partitions.

    def damage(self) -> None:
        storage = self.storage()
        storage.damages[self.volume(storage)] = self.random.choice((1, 1, 2))

    def stall(self) -> None:
        storage = self.storage()
        storage.stalled_until = self.cell.world.now + self.random.choice((0.5, 3.0, 6.0))

    def fail(self) -> None:
        storage = self.storage()
        storage.failing = 0.05
        self.cell.world.after(self.random.choice((0.5, 3.0)), setattr, storage, "failing", 0.0)

    def fill(self) -> None:
        storage = self.storage()
        storage.full = 0.7
        self.cell.world.after(self.random.choice((0.5, 3.0)), setattr, storage, "full", 0.0)

    # What befalls clients.

    def cut(self) -> None:
        client = self.random.choice(self.cell.clients)
        seconds = self.random.choice((0.5, 3.0, 8.0, 20.0))
        until = self.cell.world.now + seconds
        self.excuses.begin("cut", client.host, seconds)
        hears, speaks = self.random.choice(((False, False), (True, False), (False, True)))
        self.cell.network.cut(client.host, until, hears=hears, speaks=speaks)
        client.doubt()

    def cease(self) -> None:
        """From now on everything works."""
        self.over = True
        self.cell.network.heal()
        for storage in self.cell.storages.values():
            storage.cure()
        for server in self.cell.servers:
            server.machine.stalled_until = min(server.machine.stalled_until, self.cell.world.now)
            if server.process is not None:
                server.process.stopped_until = min(server.process.stopped_until, self.cell.world.now)
