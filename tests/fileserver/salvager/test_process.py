"""The fileserver's end of the salvager: a crash, a hang or a cancellation costs one salvage and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from fileserver.interfaces import Fenced, ISalvager, OursAlone, SalvageFailed
from fileserver.salvager.process import SalvagerProcess
from fileserver.store.inodes import Special
from fileserver.store.memory import MemoryPartition
from tests.contracts.ipartition import BK, RO, RW, header
from tests.fileserver.salvager.damages import GROUPS, OTHER, build, special
from tests.fileserver.store.support import OPENERS
from tests.fileserver.store.tree import Tree

_ANSWER = """
import json, os, sys, time
say = lambda **event: print(json.dumps(event), flush=True)
"""
_REPORT = "say(event='report', group=g, volumes=[g], lost=[], messages=[])\n"


def _ignore(*_: object) -> None:
    return None


class Lost(OursAlone):
    """An owner until told otherwise."""

    lost = False

    def check(self) -> None:
        if self.lost:
            raise Fenced("another's now")


class Salvages(TestCase):
    """On a namei-user partition, so that anybody can run it."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.path = os.path.abspath(self.mktemp())
        os.mkdir(self.path, 0o700)
        opener = OPENERS["xattr"]
        await build(self.path, 7, lambda path, number, reactor: opener(path))
        self.partition = opener(self.path)
        self.addCleanup(self.partition.close)
        self.told: list[str] = []

    def salvager(self, program: str = "", **options: Any) -> SalvagerProcess:
        """Ours, or one that runs this program instead."""
        if program:
            options["program"] = (sys.executable, "-c", _ANSWER + program)
        return SalvagerProcess(reactor, **options)

    async def test_group(self) -> None:
        """What was damaged is told and reported, and the volume can be opened by the server that asked."""
        verifyObject(ISalvager, self.salvager())
        os.unlink(special(self.path, RW, RW, Special.LINK_TABLE))
        report = await self.salvager().salvage(self.partition, RW, self.told.append)
        self.assertEqual((report.group, report.volumes, report.lost), (RW, (RW, RO, BK), ()))
        self.assertEqual(report.messages, ("the link table is missing",))
        self.assertEqual(self.told, ["the link table is missing"])
        files = await self.partition.open_volume(RW)
        await files.close()
        again = await self.salvager().salvage(self.partition, RW, self.told.append)
        self.assertEqual(again.messages, ())

    async def test_open_volume(self) -> None:
        """A group of which somebody has a volume open is refused, and nothing is touched."""
        files = await self.partition.open_volume(RO)
        failure = await self.assertFailure(
            ensureDeferred(self.salvager().salvage(self.partition, RW, _ignore)), SalvageFailed
        )
        self.assertIn(f"byte {RO}", str(failure))
        await files.close()

    async def test_partition(self) -> None:
        """All groups in order, with progress."""
        os.unlink(special(self.path, OTHER, OTHER, Special.LINK_TABLE))
        progress: list[tuple[int, int]] = []
        reports = await self.salvager().salvage_partition(self.partition, _ignore, lambda *done: progress.append(done))
        self.assertEqual([report.group for report in reports], list(GROUPS))
        self.assertEqual([len(report.messages) for report in reports], [0, 1])
        self.assertEqual(progress, [(0, 2), (1, 2), (2, 2)])

    async def test_crash(self) -> None:
        """A program that raises is a failed salvage with its last line as the reason."""
        salvage = self.salvager("raise MemoryError('no room')").salvage(self.partition, RW, _ignore)
        failure = await self.assertFailure(ensureDeferred(salvage), SalvageFailed)
        self.assertIn("MemoryError: no room", str(failure))
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    async def test_crash_at_one_group(self) -> None:
        """Of a partition's groups the one at which the program dies is lost, and those behind it are salvaged."""
        program = (
            "after = int(sys.argv[-1])\n"
            "todo = [g for g in (5, 6, 7) if g > after]\n"
            "for done, g in enumerate(todo):\n"
            "    say(event='progress', done=done, of=len(todo))\n"
            "    say(event='begin', group=g)\n"
            "    if g == 6: os.kill(os.getpid(), 9)\n"
            f"    {_REPORT}"
            "say(event='progress', done=len(todo), of=len(todo))\n"
        )
        progress: list[tuple[int, int]] = []
        reports = await self.salvager(program).salvage_partition(
            self.partition, _ignore, lambda *done: progress.append(done)
        )
        self.assertEqual([(report.group, report.volumes) for report in reports], [(5, (5,)), (6, ()), (7, (7,))])
        self.assertIn("signal 9", reports[1].messages[0])
        self.assertEqual(progress, [(0, 3), (1, 3), (2, 3), (3, 3)])

    async def test_deadline(self) -> None:
        """A program that goes silent is killed."""
        salvage = self.salvager("time.sleep(1000)", deadline=0.5).salvage(self.partition, RW, _ignore)
        failure = await self.assertFailure(ensureDeferred(salvage), SalvageFailed)
        self.assertIn("silent for 0.5 s", str(failure))

    async def test_fenced(self) -> None:
        """A program is killed when the partition is another server's, and not started then."""
        owner = Lost()
        self.patch(self.partition, "ownership", owner)
        program = "say(event='tell', message='begun'); time.sleep(1000)"
        salvage = self.salvager(program).salvage(self.partition, RW, lambda _: setattr(owner, "lost", True))
        failure = await self.assertFailure(ensureDeferred(salvage), SalvageFailed)
        self.assertIn("another's now", str(failure))
        salvage = self.salvager("raise AssertionError").salvage(self.partition, RW, _ignore)
        failure = await self.assertFailure(ensureDeferred(salvage), SalvageFailed)
        self.assertIn("another's now", str(failure))

    async def test_nonsense(self) -> None:
        """A program that says what is no event is killed."""
        salvage = self.salvager("print('{}', flush=True); time.sleep(1000)").salvage(self.partition, RW, _ignore)
        failure = await self.assertFailure(ensureDeferred(salvage), SalvageFailed)
        self.assertIn("no event", str(failure))

    async def test_cancel(self) -> None:
        """Who stops waiting ends the program."""
        begun: Deferred[str] = Deferred()
        program = "say(event='tell', message=str(os.getpid())); time.sleep(1000)"
        salvage = ensureDeferred(self.salvager(program).salvage(self.partition, RW, begun.callback))
        pid = int(await begun)
        salvage.cancel()
        await self.assertFailure(salvage, CancelledError)
        gone: Deferred[None] = Deferred()
        self._wait_for_end(pid, gone)
        await gone

    def _wait_for_end(self, pid: int, gone: Deferred[None]) -> None:
        if os.path.exists(f"/proc/{pid}"):
            reactor.callLater(0.01, self._wait_for_end, pid, gone)
        else:
            gone.callback(None)

    def test_without_twisted(self) -> None:
        """The program starts without Twisted, which takes longer to import than a small group to salvage."""
        program = "import sys, fileserver.salvager.__main__; print([m for m in sys.modules if m.startswith('twisted')])"
        done = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, cwd=_root())
        self.assertEqual(done.stdout.strip(), b"[]")


class InMemory(TestCase):
    """Volumes of the memory back end are salvaged where they are."""

    async def test_memory(self) -> None:
        """A broken directory is put together again, its lost file has a name, the counts are right."""
        partition = MemoryPartition()
        tree = Tree(await partition.create_volume(header()))
        await tree.begin()
        sub = await tree.mkdir(1, b"sub")
        inside = await tree.create(sub, b"inside", b"content")
        await tree.finish()
        await tree.files.write(sub, 0, bytes(2048))
        await tree.files.write_header(replace(await tree.files.read_header(), file_count=77))
        salvager = SalvagerProcess(reactor)
        report = await salvager.salvage(partition, RW, _ignore)
        self.assertEqual((report.volumes, report.lost), ((RW,), ()))
        self.assertTrue(any("__ORPHANFILE__" in message for message in report.messages), report.messages)
        found = await tree.files.read_header()
        self.assertEqual((found.file_count, found.needs_callback), (3, True))
        self.assertEqual(await tree.files.read(inside, 0, 100), b"content")
        reports = await salvager.salvage_partition(partition, _ignore, _ignore)
        self.assertEqual([each.messages for each in reports], [()])


def _root() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
