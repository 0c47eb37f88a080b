"""A cache manager: copies of objects, each good while the server's promise to tell of changes holds.

It believes a promise as OpenAFS's does: from before it asked until the time it was given for, unless the server has
broken it, or was breaking it while the answer was on its way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from afs.breaks import Breaks, Event
from afs.client import FileClient
from afs.rpc.fs import RXAFS
from afs.types import AFSCallBack, AFSFetchStatus, AFSFid
from rx.errors import RxError
from rx.streams import Buffer
from tests.simulation.clients.cell import Cell
from tests.simulation.clients.history import Floor, Thing
from tests.simulation.clients.network import Reactor
from tests.simulation.clients.server import VLSERVER
from tests.simulation.ownership.world import Process

Key = tuple[int, int, int]

PORT = 7001
DEAD_SECONDS = 15.0
"""A silent server is given up; see `server.HOLD_SECONDS`."""

OPERATOR = 90
"""From this number on clients are among those the servers trust."""

LONGEST = 1 << 24
"""More than any file has."""


def key_of(fid: AFSFid) -> Key:
    """What copies are kept by."""
    return fid.Volume, fid.Vnode, fid.Unique


@dataclass(eq=False, slots=True)
class Call:
    """One that is under way. `void`: what its answer may promise that the server has broken meanwhile."""

    keys: frozenset[Key]
    since: float
    server: str = ""
    void: set[Key] = field(default_factory=set)


@dataclass(slots=True)
class Copy:
    """Of one object. `promised_by` is empty once it may have changed; `doubtful`: it may have without our hearing."""

    version: int
    content: bytes
    promised_by: str = ""
    expires: float = 0.0
    doubtful: bool = False


class CacheManager(FileClient):
    """One client. `process` is its machine's."""

    def __init__(self, cell: Cell, number: int, process: Process) -> None:
        self.cell = cell
        self.number = number
        self.host = f"10.1.0.{number + 1}" if number < OPERATOR else f"10.0.0.{number}"
        self.process = process
        self.copies: dict[Key, Copy] = {}
        self.versions: dict[Key, int] = {}
        """The least that each can have, since we have changed it."""
        self.seen: dict[Thing, Floor] = {}
        self.calls: dict[Call, None] = {}
        self.hits = self.fetches = 0
        reactor = Reactor(process, cell.network)
        super().__init__(
            reactor, [VLSERVER], address=self.host, port=PORT, fileserver_port=7000, dead_seconds=DEAD_SECONDS
        )
        self.breaks = _Heard(self)
        self.answered: Callable[[str, int, float], None]

    def floor(self, thing: Thing) -> Floor:
        """How much of a thing this client has seen itself."""
        return self.seen.setdefault(thing, Floor())

    def heard(self, event: Event) -> None:
        """A server has said something."""
        if event.kind == "break":
            volume, vnode, _ = event.fid
            if not vnode:
                self.locator.forget(volume)
            self._void(lambda key, _: key == event.fid or (not vnode and key[0] == volume))
        elif event.kind == "reset":
            self._void(lambda _, server: server in ("", event.server[0]))

    def _void(self, concerns: Callable[[Key, str], bool]) -> None:
        for key, copy in self.copies.items():
            if copy.promised_by and concerns(key, copy.promised_by):
                copy.promised_by = ""
        for call in self.calls:
            call.void.update(key for key in call.keys if concerns(key, call.server))

    async def ask(
        self, fid: AFSFid, make: Callable[[RXAFS], Awaitable[Any]], others: Sequence[AFSFid] = ()
    ) -> tuple[Any, Call]:
        """One attempt at one call about objects of one volume. Raises RxError."""
        call = Call(frozenset(map(key_of, (fid, *others))), self.cell.world.now)

        def start(fs: Any) -> Awaitable[Any]:
            call.server = fs._connection.peer[0]
            return make(fs)

        self.calls[call] = None
        try:
            result = await self.on_volume(fid.Volume, start, once=True)
        except RxError as problem:
            problem.call = call  # type: ignore[attr-defined]
            raise
        finally:
            del self.calls[call]
        self._reconciled(call)
        self.answered(self.host, fid.Volume, call.since)
        return result, call

    def _reconciled(self, call: Call) -> None:
        """The server has answered, and so had told us before all that we did not hear."""
        cell = self.cell
        if cell.network.cut_since(self.host, call.since) or cell.unsettled(call.server, call.since):
            return
        for copy in self.copies.values():
            if copy.promised_by == call.server:
                copy.doubtful = False

    def doubt(self, concerns: Callable[[Key, Copy], bool] = lambda *_: True) -> None:
        """What is promised may be broken without our hearing."""
        for key, copy in self.copies.items():
            if concerns(key, copy):
                copy.doubtful = True

    def valid(self, fid: AFSFid) -> Copy | None:
        """The copy, if its promise holds."""
        copy = self.copies.get(key_of(fid))
        return copy if copy is not None and copy.promised_by and copy.expires > self.cell.world.now else None

    async def fetch_all(self, fid: AFSFid) -> bytes:
        """The content, from the server. Raises RxError."""

        async def all_of_it(fs: RXAFS) -> tuple[bytes, AFSFetchStatus, AFSCallBack]:
            content = Buffer(LONGEST)
            status, promise, _ = await fs.FetchData64(fid, 0, LONGEST, content)
            return bytes(content), status, promise

        (content, status, promise), call = await self.ask(fid, all_of_it)
        self.fetches += 1
        self.keep(fid, content, status, promise, call)
        return bytes(content)

    async def refresh(self, fid: AFSFid) -> None:
        """The status; a copy of the same version is good again. Raises RxError."""
        (status, promise, _), call = await self.ask(fid, lambda fs: fs.FetchStatus(fid))
        copy = self.copies.get(key_of(fid))
        if copy is not None and copy.version == status.DataVersion:
            self.keep(fid, copy.content, status, promise, call)

    async def refresh_many(self, fids: list[AFSFid]) -> None:
        """The same, in one call about files of one volume. Raises RxError."""
        (statuses, promises, _), call = await self.ask(fids[0], lambda fs: fs.InlineBulkStatus(tuple(fids)), fids)
        for fid, status, promise in zip(fids, statuses, promises, strict=True):
            copy = self.copies.get(key_of(fid))
            if copy is not None and not status.errorCode and copy.version == status.DataVersion:
                self.keep(fid, copy.content, status, promise, call)

    def keep(self, fid: AFSFid, content: bytes, status: AFSFetchStatus, promise: AFSCallBack, call: Call) -> None:
        """A copy, as an answer has it."""
        key = key_of(fid)
        old = self.copies.get(key)
        if status.DataVersion < max(self.versions.get(key, 0), old.version if old is not None else 0):
            return  # it has come late
        holds = promise.ExpirationTime > 0 and key not in call.void
        copy = Copy(status.DataVersion, content, call.server if holds else "", call.since + promise.ExpirationTime)
        copy.doubtful = self.cell.network.cut_since(self.host, call.since) or self.cell.unsettled(
            call.server, call.since
        )
        self.copies[key] = copy

    def changed(self, fid: AFSFid, status: AFSFetchStatus, call: Call, content: bytes | None = None) -> None:
        """We have changed it: our copy is as good as before, if we know how it is now, and nobody else has."""
        key = key_of(fid)
        self.versions[key] = max(status.DataVersion, self.versions.get(key, 0))
        copy = self.copies.get(key)
        if copy is None:
            return
        good = copy.promised_by == call.server and key not in call.void and copy.version + 1 == status.DataVersion
        if good and content is not None:
            copy.version, copy.content = status.DataVersion, content
        elif copy.version < status.DataVersion:
            copy.promised_by = ""


class _Heard(Breaks):
    """What servers tell, at the moment they do."""

    def __init__(self, manager: CacheManager) -> None:
        super().__init__()
        self._manager = manager

    def record(self, event: Event) -> None:
        self._manager.heard(event)
        super().record(event)
