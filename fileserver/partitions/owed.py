"""Clients that are told that a partition has come to another server, since they may believe what the last one promised.

Who cannot be reached is told again, and when it calls, until it has heard or no such promise can be left. Nobody waits
for that; whoever has the partition next is given those that are left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, ensureDeferred, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from fileserver.callbacks import LIFETIMES, SERVER_BIAS
from fileserver.channel import Address
from fileserver.partitions.journal import Contact
from fileserver.partitions.tell import Teller

log = Logger(namespace="fileserver.partitions")

FIRST_SECONDS = 2.0
"""Before the second attempt: a cable that was out, a client whose network is being restarted."""

LONGEST_SECONDS = 300.0
"""Between two attempts at last; the pause doubles until then. Who calls before is told then."""

KEEP_SECONDS = float(LIFETIMES[0][1] + SERVER_BIAS)
"""How long a promise can be believed that was made by whoever had the partition before."""

PARALLEL = 64
"""Clients told again at the same time: some are gone for good, and each of those costs some packets."""

Key = tuple[Address, UUID | None]


class Owed:
    """Those of one partition."""

    def __init__(self, reactor: Any, teller: Teller) -> None:
        self._reactor = reactor
        self._teller = teller
        self._contacts: dict[Key, Contact] = {}
        self._until = 0.0
        self._pause = FIRST_SECONDS
        self._due: IDelayedCall | None = None
        self._stopped = False
        self._telling: dict[Key, Deferred[None]] = {}

    @property
    def contacts(self) -> list[Contact]:
        """Those who have not heard."""
        return list(self._contacts.values())

    async def tell(self, contacts: Iterable[Contact]) -> None:
        """Tell these, all at once, one without volumes that everything is void; returns when each has heard or did not
        answer. Raises CancelledError when it was stopped meanwhile.
        """
        keys = []
        for contact in contacts:
            key = contact.address, contact.uuid
            known = self._contacts.setdefault(key, contact)
            known.volumes = known.volumes | contact.volumes if known.volumes and contact.volumes else set()
            keys.append(key)
        self._until = self._reactor.seconds() + KEEP_SECONDS
        self._pause = FIRST_SECONDS
        self._stopped = False
        await gatherResults([self._attempt(key) for key in keys])
        if self._stopped:
            raise CancelledError
        self._go_on()

    def resume(self) -> None:
        """Go on after `stop`."""
        self._stopped = False
        self._go_on()

    def called(self, address: Address, uuid: UUID | None) -> None:
        """A client uses the partition: if it is one of these, it can be reached now."""
        for key, contact in list(self._contacts.items()):
            if key[0] == address or (uuid is not None and key[1] == uuid):
                contact.address = address
                self._attempt(key)

    def stop(self) -> None:
        """Go no further; `contacts` stay."""
        self._stopped = True
        if self._due is not None:
            self._due.cancel()
            self._due = None
        for telling in list(self._telling.values()):
            telling.cancel()

    def _go_on(self) -> None:
        """Those who have not heard are told again, after a pause."""
        if self._contacts and self._due is None and not self._stopped:
            self._due = self._reactor.callLater(self._pause, self._again)

    def _again(self) -> None:
        self._due = None
        if self._reactor.seconds() > self._until:
            log.info("{count} clients were never told, and believe no promise any more", count=len(self._contacts))
            self._contacts.clear()
            return
        self._pause = min(2 * self._pause, LONGEST_SECONDS)
        room = DeferredSemaphore(PARALLEL)
        gatherResults([room.run(self._attempt, key) for key in list(self._contacts)]).addCallback(
            lambda _: self._go_on()
        )

    def _attempt(self, key: Key) -> Deferred[None]:
        """One, or that which is under way. Nothing where the client has heard meanwhile, or after `stop`."""
        if self._stopped or key not in self._contacts:
            return succeed(None)
        telling = self._telling.get(key)
        if telling is None:
            telling = self._telling[key] = ensureDeferred(self._told(key))
            telling.addErrback(_not_told).addCallback(self._tried, key)
        return telling

    def _tried(self, _: None, key: Key) -> None:
        del self._telling[key]

    async def _told(self, key: Key) -> None:
        contact = self._contacts[key]
        volumes = frozenset(contact.volumes)
        heard = await self._teller.tell_contact(contact) and contact.volumes == volumes
        if heard and self._contacts.get(key) is contact:  # else given up meanwhile, and perhaps owed something new
            del self._contacts[key]


def _not_told(failure: Failure) -> None:
    """The server ends or lets go meanwhile; what else it may be is a defect."""
    if not failure.check(CancelledError):
        log.failure("a client was not told", failure)
