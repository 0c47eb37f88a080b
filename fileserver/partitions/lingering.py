"""Calls for a partition that was unmounted a moment ago wait: as a rule it is mounted again at once, here or elsewhere.

Refused, an OpenAFS client sleeps 2 s before it looks again, and then takes a name that is not there for a lost volume.
So until the VLDB says that another server serves the partition, or it is mounted here again, its callers are held, for
LINGER_SECONDS at most.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, ensureDeferred  # noqa: A004
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from afs.rpc.partitions import PSTATE
from fileserver.partitions.means import Means
from fileserver.partitions.vldb import VldbError
from fileserver.volume.gate import Refusal
from fileserver.volume.known import Known as KnownVolumes

log = Logger(namespace="fileserver.partitions")

LINGER_SECONDS = 2.0
"""What a client that is refused would sleep anyway: nobody waits longer than without."""

LOOK_SECONDS = 0.1
"""Between two looks at the VLDB."""


@dataclass(frozen=True, slots=True, eq=False)
class Left:
    """What a partition that was taken down leaves: its volumes, whose calls wait, and how those are refused that are
    to look for it at another server.
    """

    volumes: KnownVolumes
    refusal: Refusal


class Lingering:
    """The partitions that were unmounted a moment ago."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._watches: dict[UUID, tuple[Left, Deferred[None]]] = {}

    def leave(self, partition: UUID, left: Left) -> None:
        """It was unmounted."""
        watch = ensureDeferred(self._watch(partition, left))
        self._watches[partition] = left, watch
        watch.addErrback(_failed)

    def returned(self, partition: UUID) -> None:
        """It was mounted here: who waits goes on."""
        left = self._end(partition)
        if left is not None:
            self._means.registry.readmit(left.volumes)

    def stop(self) -> None:
        """The server ends: who waits is refused."""
        for partition in list(self._watches):
            left = self._end(partition)
            assert left is not None
            self._means.registry.dismiss(left.volumes)

    def _end(self, partition: UUID) -> Left | None:
        left, watch = self._watches.pop(partition, (None, None))
        if watch is not None:
            watch.cancel()
        return left

    async def _watch(self, partition: UUID, left: Left) -> None:
        until = self._means.reactor.seconds() + LINGER_SECONDS
        elsewhere = False
        while not elsewhere and self._means.reactor.seconds() < until:
            await deferLater(self._means.reactor, LOOK_SECONDS)
            looking = ensureDeferred(self._is_served(partition))
            left_over = max(LOOK_SECONDS, until - self._means.reactor.seconds())
            with suppress(TimeoutError):  # a vlserver that is silent makes nobody wait longer
                elsewhere = await looking.addTimeout(left_over, self._means.reactor)
        del self._watches[partition]
        if elsewhere:
            self._means.registry.dismiss(left.volumes, left.refusal)
        else:
            self._means.registry.dismiss(left.volumes)

    async def _is_served(self, partition: UUID) -> bool:
        """Whether the VLDB says that a server, which is not this one, has it and serves it."""
        try:
            if not await self._means.vldb.has_partitions():
                return False
            found = await self._means.vldb.get(partition)
        except VldbError:
            return False
        if found is None or not found.owner.uuid.int or found.owner.uuid == self._means.own:
            return False
        return found.state == PSTATE.MOUNTED


def _failed(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("calls of an unmounted partition were left waiting", failure)
