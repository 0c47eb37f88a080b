"""A cell of real servers in simulated processes: a vlserver, two file servers that reach the same partitions, and
clients, with everything between them from the datagrams up.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from twisted.internet.defer import ensureDeferred
from twisted.logger import ILogObserver, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from afs.acl import ALL_RIGHTS, ANYUSERID, AccessList, Entry
from afs.users import Authority, UserList
from fileserver.partitions.journal import Contact
from fileserver.partitions.label import Label, label_path
from fileserver.partitions.table import Known
from fileserver.volser.cloning import ROOT_VNODE, create_root, new_header
from rx.transport import RxPort
from tests.simulation.clients.network import Network, Reactor
from tests.simulation.clients.server import VLSERVER, Options, Server
from tests.simulation.clients.storage import Storage
from tests.simulation.ownership.storage import Inode
from tests.simulation.ownership.storage import Storage as Directory
from tests.simulation.ownership.world import Machine, Process, World
from vlserver.server import VLServer
from vlserver.store.memory import MemoryStore

UNIX = 1_700_000_000.0
"""When the world begins."""

SERVERS = ("10.0.0.1", "10.0.0.2")
TRUSTED = IPv4Network("10.0.0.0/24")
"""Whose callers are administrators; clients are elsewhere."""

VOLUMES = ((101, 102, 103, 104), (201, 202, 203))
"""By partition."""

SALVAGED = "is to be salvaged"
"""In what servers log of a volume that they take out of service."""

ALL_VOLUMES = tuple(volume for ids in VOLUMES for volume in ids)

LEASE_SECONDS = 12
"""Of locks, so that runs see the end of many."""


@dataclass
class Cell:
    """See the module. Everything that happens comes from the seed."""

    seed: int
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        self.world = World(self.seed)
        self.network = Network(self.world)
        self.directory = Directory(self.world)
        self.contacts: dict[str, dict[Any, Contact]] = {}
        self.storages: dict[UUID, Storage] = {}
        self.authority = Authority(UserList(), noauth=True, noauth_from=[TRUSTED], own=[])
        self.dead: list[Process] = []
        self.kept: list[Any] = []
        """What dead processes waited for: what hangs on it is not to be unwound before the end."""
        self.defects: list[str] = []
        self.history: list[str] | None = None
        self.clients: list[Any] = []
        self._moments = 0
        self._upsets: dict[str, float] = {}
        rows = [self._partition(number) for number in range(len(VOLUMES))]
        self.servers = [
            Server(self, number, host, [replace(row, wanted=row.number == number) for row in rows])
            for number, host in enumerate(SERVERS)
        ]
        self.vlserver = Process(self.world, Machine("vlserver", 1.0, 0.0))
        self.vlserver.post(self._begin_vlserver)

    def _partition(self, number: int) -> Known:
        path = f"/shared/{number}"
        partition = UUID(int=0x9900 + number)
        storage = self.storages[partition] = Storage(self.world, partition, path)
        storage.seconds = 0.0
        for volume_id in VOLUMES[number]:
            run_now(make_volume(storage.quietly(), volume_id))
        self.directory.names[label_path(path)] = inode = Inode()
        inode.data += Label(partition, "namei").to_bytes()
        return Known(partition, path, number, "namei")

    def _begin_vlserver(self) -> None:
        reactor = Reactor(self.vlserver, self.network)
        server = VLServer(MemoryStore(self.now), [RxPort(reactor, *VLSERVER)], self.authority, self.now)
        server.startService()
        self.kept.append(server)

    def now(self) -> float:
        """Unix time."""
        return UNIX + self.world.now

    def storage_of(self, volume_id: int) -> Storage:
        """That of the partition a volume is on."""
        number = next(number for number, ids in enumerate(VOLUMES) if volume_id in ids)
        return list(self.storages.values())[number]

    def tick(self) -> int:
        """The number of this moment: no two are the same."""
        self._moments += 1
        return self._moments

    def upset(self, *hosts: str) -> None:
        """What these servers have promised may be broken by others, who do not wait for long until all have heard."""
        for host in hosts:
            self._upsets[host] = self.world.now
        if self.network.poor:
            for client in self.clients:
                client.doubt(lambda _, copy: copy.promised_by in hosts)

    def unsettled(self, host: str, since: float) -> bool:
        """Whether that has happened since then."""
        return self.network.poor and self._upsets.get(host, -1.0) >= since

    def volumes_of(self, storage: Storage) -> tuple[int, ...]:
        """By id."""
        return VOLUMES[list(self.storages.values()).index(storage)]

    def owner(self, storage: Storage) -> Server | None:
        """The server that has it mounted."""
        return next((server for server in self.servers if storage.uuid in server.mounted), None)

    def process(self, name: str) -> Process:
        """One more machine, with a process on it."""
        return Process(self.world, Machine(name, 1.0, self.world.random.uniform(0, 1e6)))

    def bury(self, process: Process) -> None:
        """It is killed, and its sockets are closed."""
        process.kill()
        self.dead.append(process)
        for socket in list(self.network.sockets.values()):
            if socket.process is process:
                self.kept.append(socket.reader)
                socket.close()

    def say(self, text: str) -> None:
        """Into the history of the run, where one is kept."""
        if self.history is not None:
            process = self.world.task.process if self.world.task is not None else None
            host = process.machine.name if process is not None else "-"
            self.history.append(f"{self.world.now:9.4f} {host:9} {text}")

    def defect(self, text: str) -> None:
        """What must not happen did."""
        self.say(f"DEFECT {text}")
        self.defects.append(f"{self.world.now:.4f}: {text}")

    def watch(self, flow: Coroutine[Any, Any, Any]) -> None:
        """Run what must not fail."""
        ensureDeferred(flow).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self.defect(failure.getTraceback())

    def hear(self, event: Any) -> None:
        """What servers log: a failure is a defect of theirs."""
        if event.get("log_level") is LogLevel.critical and event.get("log_failure") is not None:
            self.defect(f"logged: {event['log_failure'].getTraceback()}")
        if SALVAGED in (event.get("log_format") or "") and not any(self._harmed(event["volume"].id)):
            self.defect(f"{event['volume']} is salvaged: {event['reason']}")
        if self.history is not None and event.get("log_level") != LogLevel.debug and event.get("log_format"):
            try:
                text = event["log_format"].format(**event)
            except (KeyError, AttributeError, ValueError):
                text = event["log_format"]
            self.say(text)

    def _harmed(self, volume_id: int) -> Iterator[object]:
        """What was wrong with a volume, so that it may need a salvage."""
        return self.storage_of(volume_id).met(0.0, volume_id, "damage", "EIO", "ENOSPC", "fence")

    def end(self) -> None:
        """Unwind what still runs."""
        living = [server.process for server in self.servers if server.process is not None]
        for process in (*self.dead, *living, self.vlserver):
            process.end()


async def make_volume(partition: Any, volume_id: int) -> None:
    """An empty volume in which everybody may do everything."""
    header = new_header(volume_id, volume_id, b"volume.%d" % volume_id, 0, int(UNIX))
    header.destroy_me, header.in_service, header.max_quota = False, True, 0
    files = await partition.create_volume(header)
    made: Any = SimpleNamespace(header=header, files=files)
    await create_root(made)
    header.file_count = 1
    root = await files.read_vnode(ROOT_VNODE)
    root.acl = AccessList(positive=(Entry(ANYUSERID, ALL_RIGHTS),)).to_bytes()
    await files.write_vnode(ROOT_VNODE, root)
    await files.write_header(header)


def run_now(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of what does not wait."""
    results: list[Any] = []
    ensureDeferred(work).addBoth(results.append)
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


_cells: list[Cell] = []


def current() -> Cell:
    """The cell of the run that is under way."""
    return _cells[-1]


@contextmanager
def the_current(cell: Cell) -> Iterator[None]:
    """While a run of it is under way."""
    _cells.append(cell)
    observer = cast(ILogObserver, cell.hear)
    globalLogPublisher.addObserver(observer)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)
        _cells.pop()
