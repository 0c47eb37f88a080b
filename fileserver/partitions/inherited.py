"""What clients were promised about a partition by the server that had it before: nothing of that holds.

In a move that server tells them; we follow how it does, and if it ends without having told them, or died, we do it from
the journal, as after any crash. Until they know, calls are held, so that nobody changes what another still believes:
for HOLD_SECONDS at most, because a client that does not answer must not stop the others. That one is `owed` the news.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, ensureDeferred  # noqa: A004
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from afs.rpc.volpartitions import VOPS, VSTEP, AFSVolPartitions
from fileserver.partitions.journal import read_journal
from fileserver.partitions.owed import Owed
from fileserver.partitions.tell import TELL_SECONDS, Teller
from fileserver.volume.gate import Gate
from rx.errors import RxError

log = Logger(namespace="fileserver.partitions")

HOLD_SECONDS = 0.25
"""Clients that live answer within milliseconds; this is half of what a move may stall anybody."""

FOLLOW_SECONDS = 2 * TELL_SECONDS
"""What a source needs to tell all clients, those that do not answer included, and as much again."""

WAIT_MS = 10_000
"""How long the source may wait for news of its move before it answers that there are none."""


class Inherited:
    """The promises of one partition's last owner. Its calls are held from the beginning, by `gate`."""

    def __init__(self, reactor: Any, teller: Teller, gate: Gate, path: str) -> None:
        self.untold = True
        """Not all clients have been tried."""
        self.owed = Owed(reactor, teller)
        self._reactor = reactor
        self._gate = gate
        self._path = path
        self._opening = reactor.callLater(HOLD_SECONDS, gate.thaw)
        self._telling: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []

    def tell(self) -> None:
        """Begin to tell the clients, whom the journal knows."""
        self._begin(None, None)

    def follow(self, source: AFSVolPartitions, move: UUID) -> None:
        """Begin to follow the server that tells them as a part of this move."""
        self._begin(source, move)

    def resume(self) -> None:
        """Go on after `leave`: the partition stays."""
        if self.untold:
            self.tell()
        else:
            self.owed.resume()

    def over(self) -> Deferred[None]:
        """Fires when all have been told, or are known not to answer, or when it was left."""
        waiter: Deferred[None] = Deferred(lambda waiter: self._waiting.remove(waiter))
        self._waiting.append(waiter)
        if not self.untold:
            self._end()
        return waiter

    def leave(self) -> None:
        """Go no further; who has the partition next is to tell them."""
        self.owed.stop()
        if self._telling is not None:
            self._telling.cancel()
        self._end()

    def _begin(self, source: AFSVolPartitions | None, move: UUID | None) -> None:
        self._telling = ensureDeferred(self._tell(source, move))
        self._telling.addErrback(_not_told).addCallback(lambda _: self._end())

    async def _tell(self, source: AFSVolPartitions | None, move: UUID | None) -> None:
        if source is None or move is None or not await self._followed(source, move):
            pool = self._reactor.getThreadPool()
            contacts = await deferToThreadPool(self._reactor, pool, read_journal, self._path)
            await self.owed.tell(contacts)
            owed = len(self.owed.contacts)
            log.info("{path}: {all} clients told but {owed}", path=self._path, all=len(contacts), owed=owed)
        self.untold = False

    async def _followed(self, source: AFSVolPartitions, move: UUID) -> bool:
        """Whether the source has told them: one that is silent is not waited for until its connection is dead."""
        try:
            return await ensureDeferred(_told_by(source, move)).addTimeout(FOLLOW_SECONDS, self._reactor)
        except TimeoutError:
            log.warn("move {id}: its source is silent; its clients are told from here", id=move)
            return False

    def _end(self) -> None:
        if self._opening.active():
            self._opening.cancel()
            self._gate.thaw()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)


async def _told_by(source: AFSVolPartitions, move: UUID) -> bool:
    """Whether the source of a move has told the clients; when that is known."""
    version = 0
    while True:
        try:
            operation = await source.GetOperation(move, version, WAIT_MS)
        except RxError as problem:
            log.warn("move {id}: what its source does is not known: {problem}", id=move, problem=problem)
            return False
        if any(each.step == VSTEP.TOLD for each in operation.steps):
            return True
        if operation.state != VOPS.RUNNING:
            return False
        version = operation.version


def _not_told(failure: Failure) -> None:
    """The server ends or lets go while clients are being told; what else it may be is a defect."""
    if not failure.check(CancelledError):
        log.failure("clients were not told", failure)
