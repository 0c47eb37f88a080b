"""What survives a power cut, and when: the `--sync` modes (docs/decisions/0010-sync.md).

Whatever the mode, a written change is in the operating system's hands before the client hears of it, and a kill of the
server loses nothing. This is about the machine. Syncs of one partition that are wanted at the same time are one.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.logger import Logger

if TYPE_CHECKING:
    from fileserver.interfaces import IPartition
    from fileserver.volume.volume import Volume

DELAY_SECONDS = 10.0
"""`delayed`: how often what clients asked to be on disk goes there, as in OpenAFS 1.6."""

log = Logger(namespace="fileserver.volume")


class Sync(Enum):
    """When a change is on disk. The words are OpenAFS's, but for the first."""

    EVERY = "every"
    """Before its own call is answered, whether the client asked for it or not."""

    ALWAYS = "always"
    """Before a call is answered that asks for it: StoreData of a file that is being fsynced."""

    DELAYED = "delayed"
    """Within DELAY_SECONDS after such a call."""

    ONCLOSE = "onclose"
    """When the volume is detached, as it is for volume operations, for being idle, and at a clean stop."""

    NEVER = "never"
    """When the operating system gets to it."""


class _Turns:
    """The syncs of one partition: one runs, and all that are wanted meanwhile share the next."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], Coroutine[Any, Any, None]], Deferred[None]]] = []
        self._running = False

    async def join(self, sync: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Everything written before this call is on disk when it returns. Raises OSError."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append((sync, waiter))
        if not self._running:
            ensureDeferred(self._run())  # by itself: whoever began it may be cancelled, and others wait
        await waiter

    async def _run(self) -> None:
        """One turn, by the means of the first who waits for it; and the next in the background, if others came."""
        self._running = True
        turn, self._waiting = self._waiting, []
        [(_, outcome)] = await DeferredList([ensureDeferred(turn[0][0]())], consumeErrors=True)
        self._running = False
        if self._waiting:
            ensureDeferred(self._run())
        for _, waiter in turn:
            waiter.callback(outcome)  # a Failure is raised where it is waited for


class Durability:
    """Of all volumes of a server, in one mode."""

    def __init__(self, mode: Sync = Sync.ALWAYS) -> None:
        self.mode = mode
        self._turns: WeakKeyDictionary[IPartition, _Turns] = WeakKeyDictionary()
        self._written: set[Volume] = set()
        self._asked: set[Volume] = set()

    def wrote(self, volume: Volume) -> None:
        """Something in the volume changed."""
        self._written.add(volume)

    async def asked(self, volume: Volume) -> None:
        """A client wants what it stored to be on disk; in mode `every` that is so anyway. Raises OSError."""
        if self.mode is Sync.ALWAYS:
            await self._sync(volume)
        elif self.mode is Sync.DELAYED:
            self._asked.add(volume)

    async def answering(self, volume: Volume) -> None:
        """A call that changed the volume is about to be answered. Raises OSError."""
        if self.mode is Sync.EVERY:
            await self._sync(volume)

    async def closing(self, volume: Volume) -> None:
        """Its header is about to say that it was closed cleanly. Raises OSError."""
        if self.mode is not Sync.NEVER and volume in self._written:
            await self._sync(volume)

    async def ahead(self, volumes: Iterable[Volume]) -> None:
        """These, of one partition and open, are soon to be closed while clients wait: sync what was written so far, so
        that little is left for then. Raises OSError.
        """
        written = next((volume for volume in volumes if volume in self._written), None)
        if self.mode is not Sync.NEVER and written is not None:
            await self._sync(written)

    def closed(self, volume: Volume) -> None:
        """Its files are not open any more."""
        self._written.discard(volume)
        self._asked.discard(volume)

    async def pass_on(self) -> None:
        """Every DELAY_SECONDS: sync what was asked for since the last time."""
        by_partition = {volume.partition: volume for volume in self._asked}
        for volume in by_partition.values():
            try:
                await self._sync(volume)
            except OSError as problem:
                log.critical("{partition} does not sync: {problem}", partition=volume.partition.name, problem=problem)

    async def _sync(self, volume: Volume) -> None:
        """Everything on the volume's partition, as it is now. Volumes in use may be written to in this very moment."""
        partition = volume.partition
        written = {each for each in self._written if each.partition is partition and not each.users}
        asked = {each for each in self._asked if each.partition is partition}
        self._written -= written
        self._asked -= asked
        try:
            await self._turns.setdefault(partition, _Turns()).join(volume.files.sync)
        except OSError:
            self._written |= written
            self._asked |= asked
            raise
