"""Our fileservers that reach one partition: nodes fs1 and fs2, or more, with our vlserver on another.

What the servers are told they are told by AFSVol's RPCs, with the cell's key, from the vlserver's node.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from afs.client import FileClient
from afs.keys import Key, KeyKind, local_token
from afs.rpc.partitions import (
    PREASON,
    PSTATE,
    PartitionObject,
    PartitionRequest,
    PartitionServer,
    VLPartitions,
)
from afs.rpc.volpartitions import (
    PMOUNT,
    VOPS,
    VPART,
    AFSVolPartitions,
    VolOperation,
    VolPartition,
    VolPartitionOrder,
    VolPartitionState,
)
from fileserver.partitions.label import Label
from fileserver.store.namei_user import ALWAYS_ATTACH
from rx.security.rxkad import Level, RxkadClient
from tests.interop.case import InteropTest
from tests.interop.namespaces import POLL_SECONDS, Daemon, Network, NodeFailed, Result
from tests.interop.ours import START_SECONDS, TWISTD, start_plugin
from tests.interop.stock import AES256, FuseClient, add_node, address_of

SHARED = "/shared"
"""In both fileservers' nodes: the storage that both can reach."""
PATH = f"{SHARED}/vicepd"
NUMBER = 3
"""Of the shared partition on both: /vicepd."""
SERVERS = ("fs1", "fs2")
VOLUME = "shared"
WORLD = {"system:anyuser": "rlidwk", "system:administrators": "rlidwka"}
OPERATION_MS = 60_000
"""For how long one GetOperation waits for news."""
DEAD_SECONDS = 8.0
"""When a client of these tests takes a server for dead: longer than a partition may take to change hands."""


class PartitionCell:
    """See the module. After `start` all servers run; nothing is defined but /vicepa of each."""

    def __init__(
        self,
        case: InteropTest,
        hooks: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        names: Sequence[str] = SERVERS,
    ) -> None:
        """`hooks`: name -> text of a program that the servers find in /shared; `options`: further ones of theirs."""
        self.case = case
        self.options = options
        self.names = names
        self.network: Network = case.new_network()
        self.storage = self.network.directory / "storage"
        self.partition = self.storage / "vicepd"
        self.partition.mkdir(parents=True)
        for name, text in (hooks or {}).items():
            (self.storage / name).write_text(text)
            (self.storage / name).chmod(0o755)
        self.key = os.urandom(32)
        self.database = add_node(self.network, "db", "db", self.key)
        shared = {SHARED: self.storage}
        self.nodes = {name: add_node(self.network, name, "db", self.key, shared=shared) for name in names}
        self.daemons: dict[str, Daemon] = {}
        self.servers: dict[str, UUID] = {}
        self.uuid = UUID(int=0)
        self.admin = self.client("db", security=self._security)

    def _security(self) -> RxkadClient:
        return RxkadClient(local_token(Key(KeyKind.RXKAD_KRB5, 1, AES256, self.key)), Level.CRYPT)

    async def start(self, twistd: Sequence[str] = (str(TWISTD),)) -> None:
        """Start everything and learn the servers' UUIDs. `twistd` starts the fileservers."""
        await self.start_vlserver()
        await self.start_servers(*self.names, twistd=twistd)

    async def start_vlserver(self, twistd: Sequence[str] = (str(TWISTD),)) -> None:
        """Start it and wait until it serves."""
        log = self.database.home / "afs-vlserver.log"
        before = log.stat().st_size if log.exists() else 0
        options = ["--address", self.database.address, "--database", f"sqlite:///{self.database.home}/vldb.sqlite"]
        self.daemons["db"] = start_plugin(self.database, "afs-vlserver", *options, twistd=twistd)
        await self.said("db", "serving VL", before)

    async def start_servers(self, *names: str, twistd: Sequence[str] = (str(TWISTD),)) -> None:
        """Start these fileservers at once and wait until they serve."""
        before = {name: self.launch(name, twistd) for name in names}
        for name, size in before.items():
            await self.said(name, "serving AFSVol", size)
            _, _, self.servers[name] = await self.volser(name).PartitionCapabilities()

    def launch(self, name: str, twistd: Sequence[str] = (str(TWISTD),)) -> int:
        """Start a fileserver; returns where its log begins."""
        node = self.nodes[name]
        log = node.home / "afs-fileserver.log"
        before = log.stat().st_size if log.exists() else 0
        options = ["--address", node.address, "--state", str(node.home / "state"), "--partition", "/vicepa"]
        options += ["--protection", "none", *self.options]
        self.daemons[name] = start_plugin(node, "afs-fileserver", *options, twistd=twistd)
        return before

    async def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """End a server and wait for that; the exit status."""
        status: int = await deferToThread(self.daemons[name].stop, number)
        return status

    async def restart(self, name: str) -> None:
        """Shut a fileserver down and start it."""
        await self.stop(name)
        await self.start_servers(name)

    def log(self, name: str) -> str:
        """What a server has said."""
        return self.daemons[name].log.read_text(errors="replace")

    def volser(self, name: str) -> AFSVolPartitions:
        """A server's volume server, called as an administrator."""
        return self.admin.volser((address_of(name), 7005))

    @property
    def vl(self) -> VLPartitions:
        """The vlserver, called so."""
        return self.admin.vl((address_of("db"), 7003))

    def client(self, name: str = "ca", **options: Any) -> FileClient:
        """Our client on a node, whose paths begin in the volume."""
        node = self.network.nodes.get(name) or add_node(self.network, name, "db")
        options = {"dead_seconds": DEAD_SECONDS} | options
        client = FileClient(reactor, [(address_of("db"), 7003)], address=node.address, **options)
        client.root_volume = VOLUME.encode()
        with node.inside():
            client.start()
        self.case.addCleanup(lambda: Deferred.fromCoroutine(client.stop()))
        return client

    def administrator(self) -> FileClient:
        """One with the cell's key."""
        return self.client("db", security=self._security)

    def fuse(self, name: str = "ca") -> FuseClient:
        """A stock FUSE client on a node of its own."""
        client = FuseClient(add_node(self.network, name, "db"))
        client.start()
        return client

    async def vos(self, *words: str) -> Result:
        """Stock vos with the cell's key."""
        return await self.database.run("vos", *words, "-localauth")

    async def share(self, backend: str = "namei", **changes: Any) -> None:
        """Make the shared partition, clear it for all servers, mount it on fs1 and make a volume for everybody."""
        if backend == "namei":
            (self.partition / ALWAYS_ATTACH).touch()
        made = await self.define("fs1", backend=backend.encode(), flags=VPART.CREATE, **changes)
        self.uuid = made.partition.uuid
        for name in self.names[1:]:
            await self.define(name, uuid=self.uuid, backend=backend.encode(), **changes)
        await self.mount("fs1")
        (await self.vos("create", "fs1", "d", VOLUME, "-maxquota", "0")).check()
        await self.administrator().set_acl("/", WORLD)

    async def define(self, name: str, **changes: Any) -> VolPartitionState:
        """On a server; NodeFailed with the reason of a refusal."""
        wanted = replace(VolPartition(path=PATH.encode(), number=NUMBER), **changes)
        state = await self.volser(name).DefinePartition(wanted, PartitionRequest(uuid4()))
        if state.reason:
            raise NodeFailed(f"{name}: {state.reason.decode()}")
        return state

    def order(self, force: bool = False, deadline: float = 0.0) -> VolPartitionOrder:
        """For the shared partition; `deadline` in seconds."""
        flags = PMOUNT.FORCE if force else PMOUNT(0)
        request = PartitionRequest(uuid4(), PREASON.OPERATOR)
        return VolPartitionOrder(self.uuid, request, int(deadline * 1000), flags)

    async def mount(
        self, name: str, *, force: bool = False, takeover: bool = False, deadline: float = 0.0, may: bool = True
    ) -> VolOperation:
        """On a server, to the end. NodeFailed when it fails and `may`, when it succeeds otherwise."""
        order = self.order(force, deadline)
        if takeover:
            order.flags |= PMOUNT.TAKEOVER
        begun = await self.volser(name).MountPartition(order)
        return self._expected(name, await self.ended(name, begun), may)

    async def unmount(self, name: str, *, force: bool = False, deadline: float = 0.0, may: bool = True) -> VolOperation:
        """As `mount`."""
        begun = await self.volser(name).UnmountPartition(self.order(force, deadline))
        return self._expected(name, await self.ended(name, begun), may)

    async def move(self, source: str, target: str) -> VolOperation:
        """From server to server, to the end. NodeFailed when it fails."""
        order = VolPartitionOrder(self.uuid, PartitionRequest(uuid4()))
        begun = await self.volser(source).MovePartition(order, PartitionServer(self.servers[target]))
        return self._expected(source, await self.ended(source, begun), True)

    async def ended(self, name: str, operation: VolOperation) -> VolOperation:
        """The operation once it is over."""
        while operation.state == VOPS.RUNNING:
            operation = await self.volser(name).GetOperation(operation.id, operation.version, OPERATION_MS)
        return operation

    async def state(self, name: str) -> VolPartitionState:
        """What a server says of the shared partition."""
        return await self.volser(name).GetPartition(self.uuid)

    async def object(self) -> PartitionObject:
        """What the VLDB says of it."""
        return await self.vl.GetPartition(self.uuid)

    def label(self) -> Label:
        """What it says of itself."""
        label = Label.read(str(self.partition))
        if label is None:
            raise NodeFailed(f"{self.partition} has no label")
        return label

    async def owner(self) -> str | None:
        """The server that has it, upon which VLDB, label and all servers must agree; None when nobody has."""
        found, label = await self.object(), self.label()
        running = [name for name in self.names if self.daemons[name].running()]
        serving = [name for name in running if (await self.state(name)).state == PSTATE.MOUNTED]
        named = {uuid: name for name, uuid in self.servers.items()}
        owner = named.get(found.owner.uuid)
        case = self.case
        case.assertEqual(serving, [owner] if owner else [])
        case.assertEqual((named.get(label.owner) if label.owner else None, label.epoch), (owner, found.epoch))
        return owner

    async def left(self, name: str) -> None:
        """Wait until a server does not have the partition any more."""
        while (await self.state(name)).state == PSTATE.MOUNTED:
            await self.pause()

    async def pause(self) -> None:
        """Between two looks."""
        clock: Any = reactor
        await deferLater(clock, POLL_SECONDS)

    def keep_database(self) -> Path:
        """A copy of the stopped vlserver's database."""
        return Path(shutil.copy(self.database.home / "vldb.sqlite", self.network.directory / "vldb.kept"))

    def restore_database(self, kept: Path) -> None:
        """Put such a copy in its place."""
        for journal in self.database.home.glob("vldb.sqlite-*"):
            journal.unlink()
        shutil.copy(kept, self.database.home / "vldb.sqlite")

    async def said(self, name: str, words: str, start: int) -> None:
        """Wait for words in a server's log, from `start` on. NodeFailed when the server ends."""
        daemon = self.daemons[name]

        def said() -> bool:
            if words in daemon.log.read_text(errors="replace")[start:]:
                return True
            if not daemon.running():
                raise NodeFailed(f"{name} ended: {daemon.tail()}")
            return False

        await self.case.until(said, START_SECONDS)

    def _expected(self, name: str, operation: VolOperation, may: bool) -> VolOperation:
        if (operation.state in (VOPS.DONE, VOPS.ALREADY)) is not may:
            raise NodeFailed(f"{name}: {VOPS(operation.state).name}: {operation.text.decode()}")
        return operation
