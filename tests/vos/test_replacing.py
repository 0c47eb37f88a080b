"""What operations that replace volumes leave, and tell, when they fail or are interrupted between two steps."""

from __future__ import annotations

import io
import re
import signal
import sys
from ipaddress import IPv4Address
from typing import Any

from afs.location import RW
from afs.rpc.vl import nvldbentry
from rx.errors import Abort
from rx.service import Caller, Operation
from tests.vos.cells import FIRST, SECOND, Result
from tests.vos.fuses import Fuse, FuseCase, Interrupt, Silence
from vos.entries import LOCKED, sites_of
from vos.errors import OperationFailed
from vos.operations.copying import copy_volume
from vos.operations.locations import Location
from vos.operations.moving import move_volume
from vos.output import Output
from vos.run import INTERRUPTED

CONTENT = b"all of it"
NO_OPTIONS: Any = None  # sessions here are anonymous
REMEDY = re.compile(r"^vos: go on with: vos (.*)$", re.MULTILINE)


class InterruptAt(Interrupt):
    """SIGINT at the calls of these names, each when it is made for the first time after the one before."""

    def __init__(self, *names: str) -> None:
        super().__init__(0)
        self._left = list(names)

    async def call(
        self, caller: Caller, server: str, operation: Operation, arguments: tuple[Any, ...], timeout: float | None
    ) -> Any:
        """One of them."""
        if self._left and operation.name == self._left[0]:
            self._left.pop(0)
            self._number = len(self.names) + 1
        return await super().call(caller, server, operation, arguments, timeout)


class Broken(io.StringIO):
    """A pipe that nobody reads any more once something was said."""

    def __init__(self, last: str) -> None:
        super().__init__()
        self._last = last
        self._broken = False

    def write(self, text: str, /) -> int:
        """Raises BrokenPipeError."""
        self._broken = re.search(self._last, self.getvalue()) is not None
        self.flush()
        return super().write(text)

    def flush(self) -> None:
        """Raises BrokenPipeError."""
        if self._broken:
            raise BrokenPipeError


class Interrupted(io.StringIO):
    """A terminal where Ctrl-C is the answer."""

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # typeshed has it of bytes
        """Does not return."""
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("nobody took the interrupt")


class Replacing(FuseCase):
    """A volume with a file on the first server."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.volume = await self.cell.create_volume(b"vol")
        client = self.cell.client()
        client.root_volume = b"vol"
        await client.write_file("/file", CONTENT)

    async def volumes(self, number: int) -> list[int]:
        """All that a server has, whether complete or not."""
        return sorted(info.volid for info in await self.cell.volser(number).ListVolumes(0, 0))

    async def entry(self, name: bytes) -> nvldbentry | None:
        """What the VLDB has of it."""
        try:
            return await self.cell.vl.GetEntryByNameN(name)
        except Abort:
            return None

    async def interrupted(self, fuse: InterruptAt, *words: str) -> Result:
        """What a subcommand said that was interrupted."""
        result = await self.fused(fuse, *words)
        assert result is not None
        self.assertEqual((result.status, fuse.blown), (INTERRUPTED, True), (result, fuse.names))
        return result

    async def finish(self, result: Result) -> None:
        """Carry out what it tells."""
        (remedy,) = REMEDY.findall(result.err)
        done = await self.vos(*remedy.split())
        self.assertEqual(done.status, 0, (remedy, done))

    async def test_restored(self) -> None:
        """A restore that was interrupted while it deleted what it replaces tells that this is gone."""
        path = str(self.directory("dumps") / "dump")
        self.assertEqual((await self.vos("dump", "vol", "-file", path)).status, 0)
        for name in ("DeleteVolume", "EndTrans"):
            result = await self.interrupted(
                InterruptAt(name), "restore", FIRST, "a", "vol", "-file", path, "-overwrite", "full"
            )
            self.assertEqual(await self.volumes(0), [])
            self.assertIn(f"left as it is: nothing of volume {self.volume} at {FIRST} /vicepa: it was del", result.err)
            await self.finish(result)
            self.assertEqual(await self.volumes(0), [self.volume])

    async def test_unanswered(self) -> None:
        """Where the server falls silent while it deletes, it tells that this may be gone."""
        path = str(self.directory("dumps") / "dump")
        self.assertEqual((await self.vos("dump", "vol", "-file", path)).status, 0)
        words = ("restore", FIRST, "a", "vol", "-file", path, "-overwrite", "full")
        calls = Fuse()
        await self.fused(calls, *words)
        result = await self.fused(Silence(calls.names.index("DeleteVolume") + 1, FIRST), *words)
        assert result is not None
        self.assertIn(f"left as it is: perhaps nothing of volume {self.volume} at {FIRST} /vicepa", result.err)

    async def test_shadowed(self) -> None:
        """So does a shadow, which can be made again by what is told."""
        words = ("shadow", "vol", FIRST, "a", SECOND, "a", "-offline", "-live")
        self.assertEqual((await self.vos(*words)).status, 0)
        for name in ("DeleteVolume", "CreateVolume"):
            result = await self.interrupted(InterruptAt(name), *words)
            self.assertEqual(await self.volumes(1), [])
            self.assertIn(f"left as it is: nothing of volume {self.volume} at {SECOND} /vicepa: it was d", result.err)
            self.assertIn(" -offline -live", result.err)
            await self.finish(result)
            self.assertEqual(await self.volumes(1), [self.volume])

    async def test_copied(self) -> None:
        """A copy whose entry is being made when the interrupt comes has none afterwards, and is not there."""
        result = await self.interrupted(InterruptAt("CreateEntryN"), "copy", "vol", FIRST, "a", "new", SECOND, "a")
        self.assertNotIn("left as it is", result.err)
        self.assertIsNone(await self.entry(b"new"))
        self.assertEqual((await self.volumes(0), await self.volumes(1)), ([self.volume], []))

    def started(self, out: io.StringIO, err: io.StringIO) -> tuple[Location, Location]:
        """The partitions of the two servers, in a session that says everything."""
        session = self.session(NO_OPTIONS, Output(out, err, verbose=True))
        session.start()
        self.addCleanup(session.stop)
        return Location(session, IPv4Address(FIRST), 0), Location(session, IPv4Address(SECOND), 0)

    async def test_refused(self) -> None:
        """Where the copy's entry is refused there is none to be taken back: the one of that name is somebody else's."""
        await self.cell.create_volume(b"other")
        before, volumes, err = await self.entry(b"other"), await self.volumes(0), io.StringIO()
        source, target = self.started(io.StringIO(), err)
        with self.assertRaises(OperationFailed):
            await copy_volume(self.volume, source, target, b"other")
        self.assertNotIn("left as it is", err.getvalue())
        self.assertEqual(await self.entry(b"other"), before)
        self.assertEqual((await self.volumes(0), await self.volumes(1)), (volumes, []))

    async def test_moved_unheard(self) -> None:
        """A move whose output breaks once the VLDB has changed is finished: the target stays, the source goes."""
        source, target = self.started(Broken("Releasing lock on VLDB entry"), io.StringIO())
        with self.assertRaises(BrokenPipeError):
            await move_volume(self.volume, source, target)
        self.assertEqual((await self.volumes(0), await self.volumes(1)), ([], [self.volume]))
        await self.check_place(SECOND)

    async def test_move_unheard(self) -> None:
        """One whose output breaks before is taken back."""
        source, target = self.started(Broken("Setting volume flags on old"), io.StringIO())
        with self.assertRaises(BrokenPipeError):
            await move_volume(self.volume, source, target)
        self.assertEqual((await self.volumes(0), await self.volumes(1)), ([self.volume], []))
        await self.check_place(FIRST)

    async def test_copied_unheard(self) -> None:
        """A copy whose output breaks is taken back, with its entry."""
        source, target = self.started(io.StringIO(), io.StringIO())
        for last in (r"Deleting cloned volume \d+ \.\.\. done", "Doing the incremental dump"):
            source.session.output = Output(Broken(last), io.StringIO(), verbose=True)
            with self.assertRaises(BrokenPipeError):
                await copy_volume(self.volume, source, target, b"new")
            self.assertIsNone(await self.entry(b"new"))
            self.assertEqual((await self.volumes(0), await self.volumes(1)), ([self.volume], []))

    async def test_moved_interrupted_twice(self) -> None:
        """A second interrupt, while the VLDB is asked how far the move is, deletes nothing, and the rest is told."""
        fuse = InterruptAt("ReplaceEntryN", "GetEntryByIDN")
        result = await self.interrupted(fuse, "move", "vol", FIRST, "a", SECOND, "a")
        self.assertIn(self.volume, await self.volumes(0))
        self.assertIn(self.volume, await self.volumes(1))
        self.assertIn("the VLDB says which is the volume", result.err)
        for remedy in REMEDY.findall(result.err)[1:]:
            await self.vos(*remedy.split())
        self.assertEqual((await self.volumes(0), await self.volumes(1)), ([], [self.volume]))
        await self.check_place(SECOND)

    async def check_place(self, server: str) -> None:
        """The entry names the server, is not locked, and the file is there."""
        entry = await self.entry(b"vol")
        assert entry is not None
        self.assertEqual((entry.volumeId[RW], entry.flags & LOCKED), (self.volume, 0))
        self.assertEqual([str(at) for at, _, _ in sites_of(entry)], [server])
        client = self.cell.client()
        client.root_volume = b"vol"
        self.assertEqual(await client.read_file("/file"), CONTENT)

    async def test_asked(self) -> None:
        """Ctrl-C at a question ends the program as anywhere else, and the handler is as it was before."""
        path = str(self.directory("dumps") / "dump")
        self.assertEqual((await self.vos("dump", "vol", "-file", path)).status, 0)
        taken: list[int] = []
        before = signal.signal(signal.SIGINT, lambda number, _: taken.append(number))
        self.addCleanup(signal.signal, signal.SIGINT, before)
        self.patch(sys, "stdin", Interrupted())
        volumes = await self.volumes(0)
        for words in (
            ("restore", FIRST, "a", "vol", "-file", path),
            ("convertROtoRW", FIRST, "a", "vol"),
        ):
            result = await self.vos(*words)
            self.assertEqual((result.status, taken), (INTERRUPTED, []), result)
        self.assertEqual(await self.volumes(0), volumes)
        signal.raise_signal(signal.SIGINT)
        self.assertEqual(taken, [signal.SIGINT])
