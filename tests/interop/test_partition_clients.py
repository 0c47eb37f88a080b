"""Clients at work while a partition and its server go through everything that is not a crash."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater

from afs.client import FileClient
from afs.errors import VolumeError
from afs.rpc.partitions import PartitionRequest
from afs.rpc.volpartitions import VOPS, VolPartitionOrder
from afs.types import AFSFid
from rx.constants import RxCode
from rx.errors import Abort, CallLost
from tests.interop.case import InteropTest, program
from tests.interop.ledger import Event, Ledger
from tests.interop.looking import numbers
from tests.interop.partition_cells import VOLUME, WORLD, PartitionCell
from tests.interop.stock import FuseClient
from tests.support.budget import budget

T = TypeVar("T")

BLOCK = 20_000
"""Bytes of a file: one chunk of a FUSE client, several packets."""
WRITERS, READERS = 3, 2
OTHERS = ("one", "two", "three")
"""Volumes on the same partition, touched in turn by somebody, so that there is never room for all."""
ROOM = ["--max-attached", "2"]
AGAIN_SECONDS = 0.03
AWAY_SECONDS = 30.0
"""How long a volume may be away before a client that waits for it gives up."""
FUSE_RETRY_SECONDS = 3.0
"""After it a FUSE client that has slept for a volume that was away, two seconds at a time, is at work again."""
FUSE_SECONDS = 1.0
"""How long the kernel believes what a FUSE client told it last."""
AWAY = frozenset(
    {
        VolumeError.VNOVOL,
        VolumeError.VMOVED,
        VolumeError.VOFFLINE,
        VolumeError.VBUSY,
        VolumeError.VRESTARTING,
        RxCode.RX_MSGSIZE,
    }
)
"""Refusals that say: again, perhaps elsewhere. Any other is an error."""


@dataclass
class Patient:
    """A client that waits for a volume which is away, as cache managers do."""

    client: FileClient
    volume: int
    longest: float = 0.0

    async def insist(self, act: Callable[[FileClient], Awaitable[T]]) -> T:
        """The call's result; what is no refusal for being away is raised."""
        begun = time.monotonic()
        while True:
            try:
                result = await act(self.client)
            except CallLost:
                if time.monotonic() > begun + AWAY_SECONDS:
                    raise
            except Abort as refusal:
                if refusal.code not in AWAY or time.monotonic() > begun + AWAY_SECONDS:
                    raise
            else:
                self.longest = max(self.longest, time.monotonic() - begun)
                return result
            self.client.locator.forget(self.volume)
            clock: Any = reactor
            await deferLater(clock, AGAIN_SECONDS)


class Work:
    """Own clients that write, read and go round, with what they did in a ledger."""

    def __init__(self, ledger: Ledger, files: dict[str, AFSFid]) -> None:
        self._ledger = ledger
        self.files = files
        self._stopping = False
        self._running: list[Deferred[None]] = []

    def start(self, flow: Any) -> None:
        """One more flow, which ends when `going` is false."""
        self._running.append(ensureDeferred(flow))

    @property
    def going(self) -> bool:
        """Whether it is to go on. Nothing goes on once one of the flows has failed."""
        return not self._stopping and not any(flow.called for flow in self._running)

    async def check(self) -> None:
        """Raises what has ended a flow."""
        for flow in self._running:
            if flow.called:
                await flow

    async def stop(self) -> None:
        """Let every flow come to its end; raises what ended one before."""
        self._stopping = True
        for flow in self._running:
            await flow

    async def write(self, patient: Patient, name: str) -> None:
        """Numbers into one file."""
        fid, number = self.files[name], self._ledger.last(name)
        while self.going:
            number += 1
            line = f"{number:08} {name}\n".encode()
            content = line * (BLOCK // len(line))
            begun = self._ledger.begun[name, number] = time.monotonic()
            await patient.insist(lambda client, content=content: client.store(fid, content, 0, len(content)))  # type: ignore[misc]
            self._ledger.writes.append(Event("writer", name, number, begun, time.monotonic()))

    async def read(self, patient: Patient, who: str, seed: random.Random) -> None:
        """Any file, any time."""
        while self.going:
            name = seed.choice(list(self.files))
            fid = self.files[name]
            begun = time.monotonic()
            content = await patient.insist(lambda client, fid=fid: client.read_file(fid))  # type: ignore[misc]
            found = numbers(content)
            assert len(found) <= 1, f"{name} is torn: {found}"
            self._ledger.reads.append(Event(who, name, max(found, default=0), begun, time.monotonic()))

    async def go_round(self, client: FileClient, roots: list[AFSFid]) -> None:
        """Touch volumes in turn."""
        while self.going:
            for root in roots:
                await Patient(client, root.Volume).insist(lambda client, root=root: client.status(root))  # type: ignore[misc]


class ClientTests(InteropTest):
    """Own clients on ca, FUSE clients on cb and cc."""

    timeout = 1200.0

    async def test_own_clients(self) -> None:
        """Restarts, salvages, unmounts, other servers and soft detaches, of which own clients notice nothing but that
        they had to wait: no error, no stale read, no lost update.
        """
        chosen = budget("interop.clients", full=50, least=1)
        cell, ledger, work = await self._working()
        for _ in range(chosen.count):
            for change in (self._restart, self._salvage, self._unmount_and_mount, self._change_server):
                await self._pause(0.5)
                await change(cell)
                await work.check()
        await self._end(cell, ledger, work)

    async def test_fuse_clients(self) -> None:
        """The same with stock FUSE clients, one that reads what own clients write, one that makes and removes files:
        no error, no stale read. The partition is on no server for a moment only: in the long run they give up.
        """
        chosen = budget("interop.clients.fuse", full=20, least=1)
        cell, ledger, work = await self._working()
        reader, churner = cell.fuse("cb"), cell.fuse("cc")
        looking = self._program(reader, "looking", *work.files)
        churning = self._program(churner, "churn")
        for _ in range(chosen.count):
            for change in (self._restart, self._salvage, self._unmount_and_mount, self._change_server):
                await self._pause(0.5)
                await change(cell)
                await work.check()
        number = min(ledger.last(name) for name in work.files)
        await self._pause(FUSE_RETRY_SECONDS)
        for client in (reader, churner):
            (client.node.home / "stop").touch()
        seen, churned = json.loads((await looking).check().out), json.loads((await churning).check().out)
        self.assertEqual((seen["errors"], churned["errors"]), ([], []))
        self.assertGreater(seen["seen"][-1][1], number, "nothing was read after the last change")
        for name, shown, begun, ended in seen["seen"]:
            ledger.reads.append(Event("fuse", name, shown, begun, ended, FUSE_SECONDS))
        await self._end(cell, ledger, work)

    def _program(self, fuse: FuseClient, name: str, *words: str) -> Deferred[Any]:
        """Run a program of this directory on a FUSE client, in the volume, until its stop file is there."""
        stop = str(fuse.node.home / "stop")
        return ensureDeferred(fuse.node.run(*program(name), fuse.volume(VOLUME), stop, *words, seconds=self.timeout))

    async def _working(self) -> tuple[PartitionCell, Ledger, Work]:
        cell = PartitionCell(self, options=ROOM)
        await cell.start()
        await cell.share()
        administrator = cell.administrator()
        roots = []
        for name in OTHERS:
            (await cell.vos("create", "fs1", "d", name, "-maxquota", "0")).check()
            administrator.root_volume = name.encode()
            await administrator.set_acl("/", WORLD)
            roots.append(await administrator.resolve("/"))
        creator = cell.client("ca")
        files = {f"file{number}": await creator.create(f"/file{number}") for number in range(WRITERS)}
        volume = next(iter(files.values())).Volume
        ledger = Ledger()
        work = Work(ledger, files)
        for name in files:
            work.start(work.write(Patient(cell.client("ca"), volume), name))
        for number in range(READERS):
            seed = random.Random(number)
            work.start(work.read(Patient(cell.client("ca"), volume), f"reader{number}", seed))
        work.start(work.go_round(cell.client("ca"), roots))
        return cell, ledger, work

    async def _end(self, cell: PartitionCell, ledger: Ledger, work: Work) -> None:
        await self._pause(0.5)
        await work.stop()
        owner = await cell.owner()
        assert owner is not None
        state = await cell.state(owner)
        self.assertEqual(state.volumes, 1 + len(OTHERS))
        self.assertLessEqual(state.attached, int(ROOM[1]))
        self.assertEqual(ledger.problems(), [])
        fresh = cell.client("ca")
        for name in {event.file for event in ledger.writes}:
            self.assertEqual(numbers(await fresh.read_file(f"/{name}")), {ledger.last(name)})

    async def _restart(self, cell: PartitionCell) -> None:
        owner = await cell.owner()
        assert owner is not None
        await cell.restart(owner)

    async def _salvage(self, cell: PartitionCell) -> None:
        owner = await cell.owner()
        assert owner is not None
        order = VolPartitionOrder(cell.uuid, PartitionRequest(uuid4()))
        done = await cell.ended(owner, await cell.volser(owner).SalvagePartition(order))
        self.assertEqual((done.state, done.text), (VOPS.DONE, b""))

    async def _unmount_and_mount(self, cell: PartitionCell) -> None:
        owner = await cell.owner()
        assert owner is not None
        await cell.unmount(owner)
        await cell.mount(owner)

    async def _change_server(self, cell: PartitionCell) -> None:
        old, new = ("fs1", "fs2") if await cell.owner() == "fs1" else ("fs2", "fs1")
        await cell.unmount(old)
        await cell.mount(new)

    async def _pause(self, seconds: float) -> None:
        """Let the clients work."""
        clock: Any = reactor
        await deferLater(clock, seconds)
