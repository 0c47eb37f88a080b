"""Moves, releases and restores interrupted, or their vos killed, at each of their calls: no volume is lost, none is
there twice, and what docs/vos.md says finishes the job.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from afs.location import RO, RW
from afs.rpc.vl import VLSF_ROVOL, VLSF_RWVOL
from afs.rpc.volser import ITBusy, volintInfo
from rx.errors import RxError
from rx.streams import Buffer
from tests.support.budget import budget
from tests.vos.cells import FIRST, SECOND
from tests.vos.fuses import Fuse, FuseCase, Interrupt, Silence
from vos.entries import LOCKED, sites_of

CONTENT = b"all of it"
OK = 2
"""volintInfo.status of a volume that nobody has in a transaction."""

DUMP_END = b"\x04\x3a\x21\x4b\x6e"
"""As a whole dump ends."""

_REMEDY = re.compile(r"^vos: go on with: vos (.*)$", re.MULTILINE)

AT_ONCE = 5
"""Calls of each operation that are tried in a usual run, of some fifty."""

TRIES, PAUSE_SECONDS = 200, 0.05
"""How long a server may take to notice that its caller has gone."""

any_reactor: Any = reactor


class InterruptCase(FuseCase):
    """A volume with a file."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.volume = await self.cell.create_volume(b"vol")
        self.client = self.cell.client()
        self.client.root_volume = b"vol"
        await self.client.write_file("/file", CONTENT)

    def numbers(self, name: str, calls: int) -> list[int]:
        """The calls to be interrupted: all under soak, else some."""
        spent = budget(f"vos.{name}", full=250, least=AT_ONCE)
        if spent.count >= calls:
            return list(range(1, calls + 1))
        return sorted(Random(spent.seed).sample(range(1, calls + 1), spent.count))

    async def listed(self, number: int) -> list[volintInfo]:
        """What is on a server."""
        return list(await self.cell.volser(number).ListVolumes(0, 1))

    async def online(self, volume: int) -> list[int]:
        """The servers that have the volume in service."""
        return [
            number
            for number in range(2)
            for info in await self.listed(number)
            if info.volid == volume and info.status == OK and info.inUse
        ]

    async def transactions(self) -> list[tuple[str, int]]:
        """(server, transaction) of all that are open."""
        return [
            (address, each.tid)
            for number, address in enumerate((FIRST, SECOND))
            for each in await self.cell.volser(number).Monitor()
        ]

    async def no_transactions(self) -> None:
        """None is left but those that a call is about to leave, which vos has broken off."""
        for _ in range(TRIES):
            if not await self.transactions():
                return
            await deferLater(any_reactor, PAUSE_SECONDS)
        self.fail(f"still open: {await self.transactions()}")

    async def tidy(self) -> None:
        """What docs/vos.md says is to be done after a vos was killed, before the command is repeated."""
        for server, trans in await self.transactions():
            await self.succeeds("endtrans", server, str(trans))
        await self.succeeds("unlock", "vol")
        entry = await self.cell.vl.GetEntryByNameN(b"vol")
        server = str(next(at for at, _, flags in sites_of(entry) if flags & VLSF_RWVOL))
        if (FIRST, SECOND).index(server) not in await self.online(self.volume):
            await self.succeeds("online", server, "a", "vol")

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """A failure in here says what had happened."""
        try:
            yield
        except (self.failureException, RxError) as problem:
            raise self.failureException(f"{what}: {problem}") from problem

    async def zap_hidden(self) -> None:
        """Delete what only a fast listing shows: volumes that would go at the next salvage."""
        for number, server in enumerate((FIRST, SECOND)):
            seen = {info.volid for info in await self.listed(number)}
            for info in await self.cell.volser(number).ListVolumes(0, 0):
                if info.volid not in seen:
                    await self.succeeds("zap", server, "a", str(info.volid))

    async def check_content(self, volume: str = "vol") -> None:
        """It is there, and only once."""
        entry = await self.cell.vl.GetEntryByNameN(volume.encode())
        self.assertEqual(len(await self.online(entry.volumeId[RW])), 1, volume)
        client = self.cell.client()
        client.root_volume = volume.encode()
        self.assertEqual(await client.read_file("/file"), CONTENT)
        self.assertEqual(entry.flags & LOCKED, 0, "still locked")


class Moves(InterruptCase):
    """`vos move` from the first server to the second."""

    MOVE = ("move", "vol", FIRST, "a", SECOND, "a")

    async def calls(self) -> int:
        """How many calls it makes."""
        fuse = Fuse()
        await self.fused(fuse, *self.MOVE)
        await self.succeeds("move", "vol", SECOND, "a", FIRST, "a")
        return len(fuse.names)

    async def back(self) -> None:
        """As it was, for the next time."""
        await self.zap_hidden()
        if await self.online(self.volume) == [1]:
            await self.succeeds("move", "vol", SECOND, "a", FIRST, "a")
        self.assertEqual([info.volid for info in await self.listed(0)], [self.volume])
        self.assertEqual(await self.listed(1), [])

    async def test_interrupted(self) -> None:
        """It takes back, or finishes, what it had begun; nothing is left, and no transaction."""
        for number in self.numbers("move.interrupted", await self.calls()):
            fuse = Interrupt(number)
            result = await self.fused(fuse, *self.MOVE)
            assert result is not None
            with self.told(f"interrupted at call {number}, {fuse.names[number - 1]}: {result}"):
                await self.no_transactions()
                self.assertNotIn("left as it is", result.err)
                await self.check_content()
                await self.back()

    async def killed(self, answered: bool) -> None:
        for number in self.numbers(f"move.killed.{answered}", await self.calls()):
            fuse = Fuse(number, answered=answered)
            await self.fused(fuse, *self.MOVE)
            with self.told(f"killed at call {number}, {fuse.names[number - 1]}"):
                await self.tidy()
                again = await self.vos(*self.MOVE)
                self.assertEqual(await self.online(self.volume), [1], again)
                await self.check_content()
                await self.back()

    async def test_killed(self) -> None:
        """Killed before a call."""
        await self.killed(answered=False)

    async def test_killed_unanswered(self) -> None:
        """Killed when a call has been carried out, and it does not know."""
        await self.killed(answered=True)

    async def silent(self, server: str) -> None:
        for number in self.numbers(f"move.silent.{server}", await self.calls()):
            fuse = Silence(number, server)
            result = await self.fused(fuse, *self.MOVE)
            assert result is not None
            with self.told(f"{server} is silent from call {number} on, {fuse.names[number - 1]}: {result}"):
                for words in _REMEDY.findall(result.err):
                    await self.vos(*words.split())
                await self.tidy()
                again = await self.vos(*self.MOVE)
                self.assertEqual(await self.online(self.volume), [1], again)
                await self.check_content()
                await self.back()

    async def test_source_silent(self) -> None:
        """The source does not answer any more: what vos then says is to be done, and the same command again, do it."""
        await self.silent(FIRST)

    async def test_target_silent(self) -> None:
        """The target does not answer any more."""
        await self.silent(SECOND)


class Releases(InterruptCase):
    """`vos release` to a site beside the volume and to one elsewhere."""

    RELEASE = ("release", "vol")

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        for server in (FIRST, SECOND):
            await self.succeeds("addsite", server, "a", "vol")
        await self.succeeds(*self.RELEASE)
        self.content = b""

    async def change(self, number: int) -> None:
        """Something to be released."""
        self.content = b"changed for the %d-th time" % number
        await self.client.write_file("/file", self.content)

    async def calls(self) -> int:
        """How many calls it makes."""
        fuse = Fuse()
        await self.change(0)
        await self.fused(fuse, *self.RELEASE)
        return len(fuse.names)

    async def check(self) -> None:
        """The volume and its read-only copies are all there, once each; the copies have it."""
        entry = await self.cell.vl.GetEntryByNameN(b"vol")
        self.assertEqual(await self.online(entry.volumeId[RW]), [0])
        self.assertEqual(await self.online(entry.volumeId[RO]), [0, 1])
        self.assertEqual(entry.flags & LOCKED, 0, "still locked")
        self.assertEqual([flags for _, _, flags in sites_of(entry)], [VLSF_RWVOL, VLSF_ROVOL, VLSF_ROVOL])
        for number in range(2):
            stream = Buffer()
            volser = self.cell.volser(number)
            trans = await volser.TransCreate(entry.volumeId[RO], 0, ITBusy)
            await volser.Dump(trans, 0, stream)
            await volser.EndTrans(trans)
            self.assertIn(self.content, bytes(stream), f"server {number}")

    async def test_interrupted(self) -> None:
        """No transaction and no lock is left, a read-only copy is in service, and the next release does the rest."""
        for number in self.numbers("release.interrupted", await self.calls()):
            await self.change(number)
            fuse = Interrupt(number)
            result = await self.fused(fuse, *self.RELEASE)
            assert result is not None
            with self.told(f"interrupted at call {number}, {fuse.names[number - 1]}: {result}"):
                await self.no_transactions()
                entry = await self.cell.vl.GetEntryByNameN(b"vol")
                self.assertEqual(entry.flags & LOCKED, 0, "still locked")
                self.assertTrue(await self.online(entry.volumeId[RO]))
                await self.succeeds(*self.RELEASE)
                await self.check()

    async def killed(self, answered: bool) -> None:
        for number in self.numbers(f"release.killed.{answered}", await self.calls()):
            await self.change(number)
            fuse = Fuse(number, answered=answered)
            await self.fused(fuse, *self.RELEASE)
            with self.told(f"killed at call {number}, {fuse.names[number - 1]}"):
                await self.tidy()
                await self.succeeds(*self.RELEASE)
                await self.check()

    async def test_killed(self) -> None:
        """Killed before a call."""
        await self.killed(answered=False)

    async def test_killed_unanswered(self) -> None:
        """Killed when a call has been carried out, and it does not know."""
        await self.killed(answered=True)

    async def test_site_silent(self) -> None:
        """A site does not answer any more: the release says so, the others have it, and the next one does the rest."""
        for number in self.numbers("release.silent", await self.calls()):
            await self.change(number)
            fuse = Silence(number, SECOND)
            result = await self.fused(fuse, *self.RELEASE)
            assert result is not None
            with self.told(f"silent from call {number} on, {fuse.names[number - 1]}: {result}"):
                await self.tidy()
                await self.succeeds(*self.RELEASE)
                await self.check()


class Restores(InterruptCase):
    """`vos restore` over a volume that is on the other server."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.path = str(self.directory("dumps") / "dump")
        self.assertEqual((await self.vos("dump", "vol", "-file", self.path)).status, 0)
        self.assertEqual((await self.vos("restore", FIRST, "a", "copy", "-file", self.path)).status, 0)
        self.servers = [SECOND, FIRST]

    def words(self) -> tuple[str, ...]:
        """To the server where it is not."""
        return ("restore", self.servers[0], "a", "copy", "-file", self.path, "-overwrite", "full")

    async def calls(self) -> int:
        """How many calls it makes."""
        fuse = Fuse()
        await self.fused(fuse, *self.words())
        self.servers.reverse()
        return len(fuse.names)

    async def finish(self) -> None:
        """The same again does it, whatever was left."""
        result = await self.vos(*self.words())
        self.assertEqual(result.status, 0, result)
        await self.check_content("copy")
        self.servers.reverse()

    async def test_interrupted(self) -> None:
        """Nothing half is left, and no transaction; the same again does it."""
        for number in self.numbers("restore.interrupted", await self.calls()):
            fuse = Interrupt(number)
            result = await self.fused(fuse, *self.words())
            assert result is not None
            with self.told(f"interrupted at call {number}, {fuse.names[number - 1]}: {result}"):
                await self.no_transactions()
                await self.nothing_hidden()
                if result.status:
                    await self.finish()
                else:
                    self.servers.reverse()

    async def test_remedy(self) -> None:
        """What is to be given again is what was given, to the last switch: without -readonly, say, it would be
        another volume.
        """
        words = (*self.words()[:-2], "-creation", "keep", "-offline", "-nodelete", "-overwrite", "full")
        made = await self.vos(*words)
        self.assertEqual(made.status, 0, made)
        told: list[str] = []
        for number in range(1, 40):
            result = await self.fused(Interrupt(number), *words)
            assert result is not None
            told = [remedy for remedy in _REMEDY.findall(result.err) if remedy.startswith("restore")]
            if told:
                break
        self.assertEqual([sorted(remedy.split()) for remedy in told], [sorted(words)])

    async def nothing_hidden(self) -> None:
        """No volume that is not complete."""
        for number in range(2):
            ids = {info.volid for info in await self.cell.volser(number).ListVolumes(0, 0)}
            self.assertEqual(ids, {info.volid for info in await self.listed(number)})

    async def test_killed(self) -> None:
        """The same again does it, when the transactions have been ended."""
        for answered in (False, True):
            for number in self.numbers(f"restore.killed.{answered}", await self.calls()):
                fuse = Fuse(number, answered=answered)
                await self.fused(fuse, *self.words())
                with self.told(f"killed at call {number}, {fuse.names[number - 1]}"):
                    for server, trans in await self.transactions():
                        await self.succeeds("endtrans", server, str(trans))
                    await self.succeeds("unlock", "copy")
                    await self.finish()

    async def test_damaged(self) -> None:
        """A dump that ends too early, or is none, is refused before or after it is sent; nothing half is left."""
        whole = Path(self.path).read_bytes()
        for size in (0, 1, 100, len(whole) - 1):
            for end in (b"", DUMP_END):
                Path(self.path).write_bytes(whole[:size] + end)
                result = await self.vos("restore", FIRST, "a", "broken", "-file", self.path)
                self.assertEqual(result.status, 1, result)
                await self.nothing_hidden()
                self.assertNotIn(b"broken", [info.name for info in await self.listed(0)])
                result = await self.vos(*self.words())
                self.assertEqual(result.status, 1, result)
                if not end:
                    await self.check_content("copy")  # which was looked at before anything was deleted for it
        Path(self.path).write_bytes(whole)
        await self.finish()
