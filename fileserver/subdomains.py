"""Who is in which groups (current protection subdomains), as far as it is remembered from one call to the next.

A user's groups are asked for with every connection, so that a new token brings new groups; who calls without one, and
what a machine's address may, is remembered for `refresh` seconds or until it is flushed (viced/host.c, FlushCPS).
While no protection server can say, what was known of the latter two stays; before, it is what everybody has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import DeferredLock, ensureDeferred
from twisted.logger import Logger
from zope.interface import implementer

from afs.acl import ANONYMOUSID, ANYUSERID
from afs.interfaces import INames
from afs.protection import unavailable
from rx.errors import RxError

REFRESH_SECONDS = 2 * 3600
"""How long groups are believed: OpenAFS's default `-hr`."""

RETRY_SECONDS = 30.0
"""How long it is believed that no protection server answers, for what need not be known (viced.c InitPR)."""

ADDRESS_LIMIT = 20_000
"""Addresses whose groups are remembered, as many as hosts."""

EVERYBODY = (ANYUSERID, ANONYMOUSID)

log = Logger(namespace="fileserver")


@dataclass(slots=True)
class _Known:
    """What was last heard, good until then; `asking` is held while somebody asks anew. `missed`: in vain, last time."""

    groups: tuple[int, ...]
    until: float = 0.0
    missed: bool = False
    asking: DeferredLock = field(default_factory=DeferredLock)


@implementer(INames)
class Subdomains:
    """INames, kept where it may be. What it says of the anonymous user and of addresses never fails."""

    def __init__(self, names: INames, now: Callable[[], float], refresh: float = REFRESH_SECONDS) -> None:
        self.refresh = refresh
        self._names = names
        self._now = now
        self._anonymous = _Known(EVERYBODY)
        self._addresses: dict[str, _Known] = {}

    async def names_to_ids(self, names: Sequence[bytes]) -> list[int]:
        return await self._names.names_to_ids(names)

    async def ids_to_names(self, ids: Sequence[int]) -> list[bytes]:
        return await self._names.ids_to_names(ids)

    async def groups(self, user_id: int) -> tuple[int, ...]:
        """A user's as the protection server says now: nobody's as it said at most `refresh` seconds ago."""
        if user_id != ANONYMOUSID:
            return await self._names.groups(user_id)
        return await self._remembered(self._anonymous, lambda: self._names.groups(ANONYMOUSID), "the anonymous user")

    async def host_groups(self, address: str) -> tuple[int, ...]:
        known = self._addresses.get(address)
        if known is None:
            if len(self._addresses) >= ADDRESS_LIMIT:
                del self._addresses[next(iter(self._addresses))]
            known = self._addresses[address] = _Known(())
        return await self._remembered(known, lambda: self._names.host_groups(address), address)

    def good_until(self, user_id: int, address: str) -> float:
        """When the groups of a user at an address, heard just now, are to be asked for again."""
        known = [self._addresses[address].until if address in self._addresses else 0.0]
        known.append(self._anonymous.until if user_id == ANONYMOUSID else self._now() + self.refresh)
        return min(known)

    def flush(self, users: Iterable[int], addresses: Iterable[str]) -> None:
        """Ask anew at the next occasion, and believe nothing until then."""
        if ANONYMOUSID in users:
            self._anonymous.until = 0.0
        for address in addresses:
            self._addresses.pop(address, None)

    async def _remembered(
        self, known: _Known, question: Callable[[], Awaitable[tuple[int, ...]]], whose: str
    ) -> tuple[int, ...]:
        """Wait for the answer, unless there was none the last time: then somebody else learns it."""
        if not known.missed:
            await self._renewed(known, question, whose)
        elif not known.asking.locked:
            ensureDeferred(self._renewed(known, question, whose)).addErrback(
                lambda failure: log.failure("asking for the groups of {whose}", failure, whose=whose)
            )
        return known.groups

    async def _renewed(self, known: _Known, question: Callable[[], Awaitable[tuple[int, ...]]], whose: str) -> None:
        async with known.asking:
            if self._now() < known.until:
                return
            try:
                known.groups = await question()
                known.missed = False
            except RxError as error:
                known.missed = unavailable(error)
                if not known.missed:
                    known.groups = EVERYBODY if known is self._anonymous else ()
                log.warn("the groups of {whose} are not to be had: {error}", whose=whose, error=error)
            known.until = self._now() + (RETRY_SECONDS if known.missed else self.refresh)
