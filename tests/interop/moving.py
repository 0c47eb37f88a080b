"""Clients at work on a partition that goes from server to server, and what they met.

Ours: writers whose numbers rise, a reader, a maker of whole files, the holder of a lock with a rival, and one that asks
all servers all the time whether they have the partition. Stock FUSE clients: cb reads what the writers write, cc makes
and removes files, cd is idle with files in its cache.
"""

from __future__ import annotations

import errno
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import deferLater

from afs.client import FileClient, Place
from afs.types import AFSFid
from rx.errors import Abort, CallLost, RxError
from tests.interop.answers import Answer, Answers
from tests.interop.case import InteropTest, program
from tests.interop.ledger import Event, Ledger
from tests.interop.looking import numbers
from tests.interop.partition_cells import SHARED, VOLUME, PartitionCell
from tests.interop.stock import FuseClient, address_of
from tests.interop.test_partition_clients import AGAIN_SECONDS, AWAY, AWAY_SECONDS, FUSE_SECONDS
from tests.interop.witness import removes

T = TypeVar("T")

NAMES = ("fs1", "fs2", "fs3")
WRITERS = 2
LINE_COUNT = 50
"""Of a writer's file: it fits in one packet and one write of the server, so that a kill leaves all of it or nothing."""
MADE_BYTES = 40_000
"""Of a made file: many packets and several writes."""
MADE_KEPT = 20
"""Files of the maker that are there at a time: the oldest is read for a last time, and removed."""
PAUSE_SECONDS = 0.01
"""Between two turns of a client: a machine with two cores carries all of them."""
ASK_SECONDS = 0.05
"""Between two questions to one server."""
ASKED_SECONDS = 2.0
"""When a server that does not answer is asked anew."""
DEAD_SECONDS = 5.0
"""When our clients take a server for dead. They try again, and find that it has died."""
LOCK_SECONDS = 0.2
"""Between two looks at the lock."""
READ_ONCE = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).read_text().split()[0])"


@dataclass
class Stalls:
    """The longest a client waited for one operation, since `begin`."""

    longest: dict[str, float] = field(default_factory=dict)

    def add(self, who: str, seconds: float) -> None:
        """It waited so long."""
        self.longest[who] = max(self.longest.get(who, 0.0), seconds)

    def take(self) -> dict[str, float]:
        """What was found since the last time."""
        longest, self.longest = self.longest, {}
        return longest


class Moving:
    """See the module. Any step of our clients that does not succeed ends its flow: see `check`. Only once servers die
    (`deaths`) they try again while the volume is away.
    """

    def __init__(self, case: InteropTest, seed: random.Random) -> None:
        self.case = case
        self.cell = PartitionCell(case, names=NAMES)
        self.ledger = Ledger()
        self.answers = Answers()
        self.stalls = Stalls()
        self.turns = 0
        """Of all our clients."""
        self.deaths = False
        self._seed = seed
        self._stopping = False
        self._flows: list[Deferred[None]] = []
        self._made: dict[str, int] = {}
        self._programs: dict[str, Deferred[Any]] = {}

    async def start(self) -> None:
        """Servers, a volume on fs1, and everybody at work."""
        cell = self.cell
        await cell.start(self.twistd)
        await cell.share()
        creator = cell.client("ca")
        files = {f"file{number}": await creator.create(f"/file{number}") for number in range(WRITERS)}
        self._files = files
        root = await creator.resolve("/")
        self._volume = root.Volume
        for name in ("idle", "locked"):
            await creator.write_file(f"/{name}", self._content(name, 0))
        await creator.mkdir("/made")
        self._fuses = {name: cell.fuse(name) for name in ("cb", "cc", "cd")}
        self._start_program("cb", "looking", *files)
        self._start_program("cc", "churn")
        for name, fid in files.items():
            self._start(self._write(self._client(), name, fid))
        self._start(self._read(self._client(), files))
        self._start(self._make(self._client()))
        self._start(self._hold(self._client(), self._client(), await creator.resolve("/locked")))
        asking = cell.client("ca", dead_seconds=ASKED_SECONDS)
        for name in NAMES:
            self._start(self._ask(asking, name, root))
        self.case.addCleanup(self._give_up)

    @property
    def twistd(self) -> list[str]:
        """With what fileservers are started."""
        return [sys.executable, str(Path(__file__).with_name("witness.py")), SHARED]

    async def check(self) -> None:
        """Raises what has ended one of our clients."""
        for flow in self._flows:
            if flow.called:
                await flow

    async def worked(self, turns: int) -> None:
        """Wait until our clients have made so many turns more."""
        wanted = self.turns + turns
        while self.turns < wanted:
            await self.check()
            await self.cell.pause()

    async def fuses_worked(self, seconds: float) -> None:
        """Wait until the FUSE clients at work have made a turn that ends from now on."""
        now = time.time()
        for name in self._programs:
            turns = Path(f"{self._stop(name)}.turns")
            await self.case.until(lambda turns=turns: turns.exists() and turns.stat().st_mtime > now, seconds)  # type: ignore[misc]

    async def idle_reads(self) -> int:
        """What the idle client finds in its file; from now on it has it in its cache, with a new promise."""
        fuse = self._fuses["cd"]
        begun = time.monotonic()
        read = await fuse.node.run(sys.executable, "-Ic", READ_ONCE, f"{fuse.volume(VOLUME)}/idle", seconds=100)
        number = int(read.check().out)
        self.stalls.add("FUSE idle", time.monotonic() - begun)
        return number

    async def change_idle(self, number: int) -> None:
        """Write another content behind the idle client's back."""
        await self._client().write_file("/idle", self._content("idle", number))

    async def stop(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Let everybody come to an end; what the FUSE clients at work tell: (reader, churn). Raises what has ended one
        of ours before.
        """
        self._stopping = True
        for flow in self._flows:
            await flow
        for name in self._programs:
            self._stop(name).touch()
        reader, churn = [json.loads((await self._programs[name]).check().out) for name in ("cb", "cc")]
        for name, number, begun, ended in reader["seen"]:
            self.ledger.reads.append(Event("FUSE", name, number, begun, ended, FUSE_SECONDS))
        return reader, churn

    async def verify(self) -> None:
        """By a client that knows nothing: all that was answered is there."""
        client = self.cell.client("ca")
        for name in self._files:
            self.case.assertEqual(numbers(await client.read_file(f"/{name}")), {self.ledger.last(name)})
        there = await client.list_directory("/made")
        self.case.assertEqual({name.decode() for name in there} - {".", ".."}, set(self._made))
        for name, seed in self._made.items():
            self.case.assertEqual(await client.read_file(f"/made/{name}"), _made_content(seed), name)

    def died_since(self, begun: float) -> bool:
        """Whether a server died while something that was begun then was under way, and is over now."""
        return any(change.died is not None and change.died >= begun for change in self.answers.changes)

    def removed_by(self, server: str) -> set[str]:
        """The names that a server was asked to remove."""
        written = removes(self.cell.storage, server)
        return set(written.read_text().splitlines()) if written.exists() else set()

    def _give_up(self) -> None:
        """Of a test that failed."""
        for flow in self._flows:
            flow.addErrback(lambda failure: failure.trap(CancelledError))
            flow.cancel()

    def _start(self, flow: Any) -> None:
        self._flows.append(ensureDeferred(flow))

    def _start_program(self, name: str, what: str, *words: str) -> None:
        fuse: FuseClient = self._fuses[name]
        directory = fuse.volume(VOLUME)
        command = (*program(what), directory, str(self._stop(name)), *words)
        self._programs[name] = ensureDeferred(fuse.node.run(*command, seconds=self.case.timeout))

    def _stop(self, name: str) -> Path:
        return self._fuses[name].node.home / "stop"

    def _client(self) -> FileClient:
        return self.cell.client("ca", dead_seconds=DEAD_SECONDS)

    async def _insist(self, client: FileClient, act: Callable[[FileClient], Awaitable[T]]) -> T:
        """The call's result. Raises RxError, but where the volume may be away."""
        begun = time.monotonic()
        while True:
            try:
                return await act(client)
            except RxError as problem:
                away = isinstance(problem, CallLost) or (isinstance(problem, Abort) and problem.code in AWAY)
                if not (self.deaths and away) or time.monotonic() > begun + AWAY_SECONDS:
                    raise
            client.locator.forget(self._volume)
            await _pause(AGAIN_SECONDS)

    def _done(self, who: str, begun: float) -> float:
        """A turn; now."""
        ended = time.monotonic()
        self.turns += 1
        self.stalls.add(who, ended - begun)
        return ended

    def _content(self, name: str, number: int) -> bytes:
        return f"{number:08} {name}\n".encode() * LINE_COUNT

    async def _write(self, client: FileClient, name: str, fid: AFSFid) -> None:
        number = 0
        while not self._stopping:
            number += 1
            content = self._content(name, number)
            begun = self.ledger.begun[name, number] = time.monotonic()
            await self._store(client, fid, content)
            self.ledger.writes.append(Event("writer", name, number, begun, self._done("own writer", begun)))
            await _pause(PAUSE_SECONDS)

    async def _read(self, client: FileClient, files: dict[str, AFSFid]) -> None:
        while not self._stopping:
            name = self._seed.choice(list(files))
            begun = time.monotonic()
            content = await self._load(client, files[name])
            found = numbers(content)
            assert len(found) <= 1, f"{name} is torn: {found}"
            ended = self._done("own reader", begun)
            self.ledger.reads.append(Event("reader", name, max(found, default=0), begun, ended))
            await _pause(PAUSE_SECONDS)

    async def _make(self, client: FileClient) -> None:
        """New files, each written once. A creation or removal that is repeated may have been executed before."""
        number = 0
        while not self._stopping:
            number += 1
            name, content = f"made{number}", _made_content(number)
            begun = time.monotonic()
            fid = await self._new(client, f"/made/{name}")
            await self._store(client, fid, content)
            self._made[name] = number
            self._done("own maker", begun)
            if len(self._made) > MADE_KEPT:
                oldest, seed = next(iter(self._made.items()))
                read = await self._load(client, f"/made/{oldest}")
                assert read == _made_content(seed), f"{oldest} is not as it was written"
                await self._gone(client, f"/made/{oldest}")
                del self._made[oldest]
            await _pause(PAUSE_SECONDS)

    async def _store(self, client: FileClient, fid: AFSFid, content: bytes) -> None:
        await self._insist(client, lambda client: client.store(fid, content, 0, len(content)))

    async def _load(self, client: FileClient, place: Place) -> bytes:
        return await self._insist(client, lambda client: client.read_file(place))

    async def _new(self, client: FileClient, path: str) -> AFSFid:
        """Made, perhaps by a server that could not say so any more."""
        begun = time.monotonic()
        try:
            return await self._insist(client, lambda client: client.create(path))
        except Abort as refusal:
            if refusal.code != errno.EEXIST or not self.died_since(begun):
                raise
        return await self._insist(client, lambda client: client.resolve(path))

    async def _gone(self, client: FileClient, path: str) -> None:
        """As `_new`."""
        begun = time.monotonic()
        try:
            await self._insist(client, lambda client: client.remove(path))
        except Abort as refusal:
            if refusal.code != errno.ENOENT or not self.died_since(begun):
                raise

    async def _hold(self, holder: FileClient, rival: FileClient, fid: AFSFid) -> None:
        """A lock for writing that is kept all the time, and that nobody else gets."""
        await self._insist(holder, lambda client: client.lock(fid, write=True))
        while not self._stopping:
            begun = time.monotonic()
            await self._insist(holder, lambda client: client.extend_lock(fid))
            self._done("own lock", begun)
            try:
                await self._insist(rival, lambda client: client.lock(fid))
            except Abort as refusal:
                assert refusal.code == errno.EAGAIN, refusal
            else:
                raise AssertionError("two clients have the lock")
            await _pause(LOCK_SECONDS)
        await self._insist(holder, lambda client: client.release_lock(fid))
        await self._insist(rival, lambda client: client.lock(fid))

    async def _ask(self, client: FileClient, name: str, root: AFSFid) -> None:
        """One server, always anew, whether it has the partition."""
        fs = client.fs((address_of(name), 7000))
        while not self._stopping:
            begun = time.monotonic()
            with suppress(CallLost):  # a refusal in the reply: of calls that end by refusals Rx delays every tenth
                ((status,), _, _) = await fs.InlineBulkStatus((root,))
                if not status.errorCode:
                    self.answers.answers.append(Answer(name, begun, time.monotonic()))
            await _pause(ASK_SECONDS)


def _made_content(number: int) -> bytes:
    return random.Random(number).randbytes(MADE_BYTES)


def longest(gaps: Iterable[tuple[float, float]], since: float, until: float) -> float:
    """Of the gaps that end in this time."""
    return max((end - begin for begin, end in gaps if since <= end <= until), default=0.0)


async def _pause(seconds: float) -> None:
    clock: Any = reactor
    await deferLater(clock, seconds)
