"""A disk that does not answer, under one partition of a server whose others are used: nobody there notices."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from threading import Event, get_ident
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from afs.rpc.partitions import PSTATE, PartitionRequest
from afs.rpc.vl import VLF_RWEXISTS, VLSF_RWVOL, nvldbentry
from afs.rpc.volpartitions import PMOUNT, VOPS, VPART, VSTEP, VolOperation, VolPartition, VolPartitionOrder
from afs.types import NIL_UUID, AFSFid
from fileserver.partitions import tenure
from fileserver.partitions.label import SLOT_SIZE, Label
from fileserver.partitions.means import Mounted
from tests.support.cell import Cell, start_cell

POLL_SECONDS = 0.01
PATIENCE_MS = 30_000
DEADLINE_MS = 100
"""For calls to end, when they are to be cut off."""

NO_NEWS_MS = 2000
"""Longer than any step of an unmount takes that waits for nobody but clients."""

MOMENT_SECONDS = 10.0
"""What a call on the other partition may take on a busy machine: nothing beside the disk's silence."""

LARGE = 1 << 20
"""Bytes that are moved in a thread whether the disk answers or not."""

BY_NAME = ("stat", "statvfs", "listdir", "mkdir", "unlink", "rename", "setxattr", "getxattr", "open", "symlink")
BY_NUMBER = ("pread", "pwrite", "write", "ftruncate", "fsync", "fdatasync", "fstat", "posix_fallocate")
"""What may wait for a disk. Not: lseek, locks and close of a local file system, and preadv, which is told not to."""


KINDS = (
    "create",
    "store",
    "cut",
    "large",
    "mkdir",
    "symlink",
    "remove",
    "rename",
    "link",
    "mode",
    "acl",
)
"""Of calls that change something, each in the directory of that name."""


class Disk:
    """What is done to the files below a directory. Stalled, whoever does something in a thread waits."""

    def __init__(self, case: TestCase, directory: Path) -> None:
        self.by_reactor: list[str] = []
        """What the reactor's thread did since the list was last cleared."""
        self.by_threads = 0
        self._home = os.path.realpath(directory)
        self._reactor = get_ident()
        self._answers = Event()
        self._answers.set()
        case.addCleanup(self._answers.set)
        self._readlink = os.readlink
        for name in (*BY_NAME, *BY_NUMBER):
            case.patch(os, name, self._watched(name, getattr(os, name)))
        case.patch(builtins, "open", self._watched("open", builtins.open))

    def stall(self) -> None:
        self._answers.clear()

    def answer(self) -> None:
        self._answers.set()

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(where: Any, *arguments: Any, **named: Any) -> Any:
            if self._is_here(where):
                if get_ident() == self._reactor:
                    self.by_reactor.append(f"{name} {where}")
                else:
                    self.by_threads += 1
                    assert self._answers.wait(60)
            return function(where, *arguments, **named)

        return call

    def _is_here(self, where: Any) -> bool:
        if isinstance(where, int):
            try:
                where = self._readlink(f"/proc/self/fd/{where}")
            except OSError:
                return False
        return str(os.path.abspath(os.fspath(where))).startswith(self._home)


class SlowCase(TestCase):
    """A server with /vicepa, whose disk is watched, and /vicepb, each with a volume."""

    timeout = 120
    cell: Cell

    async def setUp(self) -> None:  # type: ignore[override]
        self.patch(tenure, "TENURE_SECONDS", 60.0)  # else nobody answers for the partition, disk or no disk
        self.cell = await start_cell(self, backend="namei-user")
        self.path = self.cell.fileservers[0].partition_path.absolute()
        other = Path(self.mktemp()).absolute()
        other.mkdir()
        wanted = VolPartition(path=str(other).encode(), number=1, flags=VPART.CREATE)
        state = await self.cell.volser().DefinePartition(wanted, PartitionRequest(uuid4()))
        self.assertEqual(state.reason, b"")
        order = VolPartitionOrder(state.partition.uuid, PartitionRequest(uuid4()))
        await self.ended(await self.cell.volser().MountPartition(order))
        self.slow = await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwka"})
        self.client = self.cell.client()
        for name in KINDS:
            await self.client.mkdir(f"/{name}")
            await self.client.write_file(f"/{name}/old", b"content")
        await self.volume_on_b()
        self.disk = Disk(self, self.path)

    async def volume_on_b(self) -> None:
        """A volume of the second partition, with a mount point for it at /other of the cell's root."""
        volser, vl = self.cell.volser(), self.cell.vl
        number = await vl.GetNewVolumeId(1)
        _, transaction = await volser.CreateVolume(1, b"other", 0, 0, number)
        await volser.SetFlags(transaction, 0)
        await volser.EndTrans(transaction)
        server = (int(self.cell.fileservers[0].address), *(0,) * 12)
        await vl.CreateEntryN(
            nvldbentry(
                name=b"other",
                nServers=1,
                serverNumber=server,
                serverPartition=(1, *(0,) * 12),
                serverFlags=(VLSF_RWVOL, *(0,) * 12),
                volumeId=(number, number + 1, number + 2),
                flags=VLF_RWEXISTS,
            )
        )
        await self.client.set_acl(AFSFid(number, 1, 1), {"system:anyuser": "rlidwka"})
        self.other = self.cell.client()
        self.other.root_volume = b"other"

    async def ended(self, operation: VolOperation) -> VolOperation:
        while operation.state == VOPS.RUNNING:
            operation = await self.cell.volser().GetOperation(operation.id, operation.version, PATIENCE_MS)
        self.assertEqual((operation.state, operation.text), (VOPS.DONE, b""))
        return operation

    def mounted(self) -> Mounted:
        partitions = self.cell.fileservers[0].service.partitions
        assert partitions is not None
        return next(each for each in partitions.mounted.values() if each.known.number == 0)

    def prompt(self) -> bool:
        partition: Any = self.mounted().partition
        answers: bool = partition._threads.prompt()
        return answers

    def take_for(self, *, slow: bool) -> None:
        """What the disk of the first partition is taken to be from now on, however busy the machine is."""
        self.patch(self.mounted().tenure, "_timed", lambda job: job())
        self.patch(self.mounted().tenure, "_slow", slow)
        self.patch(self.mounted().tenure, "_busy_since", None)
        partition: Any = self.mounted().partition
        self.patch(partition._threads, "_reads_slowly", lambda: False)
        self.assertEqual(self.prompt(), not slow)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await deferLater(reactor, POLL_SECONDS)

    def work(self, number: int) -> dict[str, Coroutine[Any, Any, Any]]:
        """Calls of all kinds on the first partition, each in a directory of its own; for the how many-th time."""
        client = self.client
        return {
            "create": client.create(f"/create/new{number}"),
            "store": client.write_file("/store/old", b"stored%d" % number),
            "cut": client.store("/cut/old", b"", 0, 3),
            "large": client.write_file("/large/old", bytes([number]) * LARGE),
            "mkdir": client.mkdir(f"/mkdir/new{number}"),
            "symlink": client.symlink(b"target", f"/symlink/new{number}"),
            "remove": client.remove(f"/remove/old{number or ''}"),
            "rename": client.rename(f"/rename/old{number or ''}", f"/rename/old{number + 1}"),
            "link": client.link("/link/old", f"/link/new{number}"),
            "mode": client.set_status("/mode/old", mode=0o600),
            "acl": client.set_acl("/acl", {"system:anyuser": "rlidwka"}),
            "quota": client.volume_status("/"),
            "stranger": self.cell.client().read_file("/store/old"),
        }


class Calls(SlowCase):
    """On files."""

    async def test_nothing_waits(self) -> None:
        """While the disk is slow to answer the reactor's thread does nothing to its files, whatever is called; while
        it answers, small things are done there.
        """
        await self.client.write_file("/remove/old1", b"content")
        self.take_for(slow=False)
        self.disk.by_reactor.clear()
        for call in self.work(0).values():
            await call
        self.assertGreater(len(self.disk.by_reactor), len(KINDS))
        self.take_for(slow=True)
        self.disk.by_reactor.clear()
        before = self.disk.by_threads
        for call in self.work(1).values():
            await call
        self.assertEqual(self.disk.by_reactor, [])
        self.assertGreater(self.disk.by_threads - before, len(KINDS))

    async def test_another_partition(self) -> None:
        """While the disk under one partition does not answer, calls on another are served as ever, and what is known of
        both is told; as soon as it answers the calls that waited for it are, too.
        """
        self.disk.stall()
        await self.until(lambda: not self.prompt())
        self.disk.by_reactor.clear()
        running = {name: ensureDeferred(call) for name, call in self.work(0).items()}
        longest = 0.0
        for number in range(50):
            began = monotonic()
            await self.other.write_file(f"/file{number % 5}", b"%d" % number)
            self.assertEqual(await self.other.read_file(f"/file{number % 5}"), b"%d" % number)
            longest = max(longest, monotonic() - began)
        self.assertLess(longest, MOMENT_SECONDS)
        began = monotonic()
        states, _ = await self.cell.volser().ListKnownPartitions(NIL_UUID, 0)
        self.assertEqual([state.state for state in states], [PSTATE.MOUNTED] * 2)
        self.assertLess(monotonic() - began, MOMENT_SECONDS)
        waiting = {name for name, call in running.items() if not call.called}
        self.assertLessEqual(set(KINDS) - {"quota"}, waiting | {"stranger"})
        self.assertEqual(self.disk.by_reactor, [])
        self.disk.answer()
        for call in running.values():
            await call
        await self.until(self.prompt)
        self.assertEqual(await self.client.read_file("/large/old"), bytes(LARGE))
        self.assertEqual(await self.client.read_file("/store/old"), b"stored0")


class Closing(SlowCase):
    """Unmounting while something is being written."""

    async def test_forced(self) -> None:
        """A write that is under way in a thread when its call is cut off ends before the label is let go of, and
        nothing is written afterwards.
        """
        written: list[UUID | None] = []
        begun, goes_on = Event(), Event()
        self.addCleanup(goes_on.set)
        pwrite: Any = os.pwrite

        def slow(fd: int, data: bytes, offset: int) -> int:
            if len(data) > SLOT_SIZE:  # not the label itself, which is changed at once
                begun.set()
                assert goes_on.wait(60)
                written.append(self.label().owner)
            count: int = pwrite(fd, data, offset)
            return count

        self.patch(os, "pwrite", slow)
        self.take_for(slow=True)
        uuid = self.mounted().known.uuid
        store = ensureDeferred(self.client.write_file("/large/old", bytes(LARGE)))
        await self.until(begun.is_set)
        order = VolPartitionOrder(uuid, PartitionRequest(uuid4()), deadline=DEADLINE_MS, flags=PMOUNT.FORCE)
        operation = await self.cell.volser().UnmountPartition(order)
        version = -1
        while operation.version > version:  # until there is no news
            version = operation.version
            operation = await self.cell.volser().GetOperation(operation.id, version, NO_NEWS_MS)
        self.assertEqual([step.step for step in operation.steps], [VSTEP.BEGUN, VSTEP.FROZEN])
        store.cancel()
        goes_on.set()
        await self.ended(operation)
        await self.assertFailure(store, CancelledError)
        self.assertIsNone(self.label().owner)
        self.assertTrue(written)
        self.assertNotIn(None, written)

    def label(self) -> Label:
        label = Label.read(str(self.path))
        assert label is not None
        return label
