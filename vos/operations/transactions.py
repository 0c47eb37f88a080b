"""Transactions of volume servers, ended whatever happens; and volumes that are busy for a moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from typing import TypeVar

from twisted.internet.task import deferLater

from afs.errors import VolserError
from rx.errors import Abort
from vos.operations.unhurried import unhurried
from vos.session import Session
from vos.undo import Step, Undo

T = TypeVar("T")

BUSY_SECONDS = (1, 2, 3)
"""How long to wait before a volume in another transaction is tried again; after the last there is no further try
(vsprocs.c).
"""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One that is open on a server. `id` goes into the calls of `session.volser(server)`."""

    session: Session
    server: IPv4Address
    id: int
    undo: Undo
    ending: Step

    async def end(self) -> None:
        """End it. Raises RxError, also for what the server says of the transaction itself."""
        await self.undo.now(self.ending)


async def begin(
    session: Session,
    undo: Undo,
    server: IPv4Address,
    partition: int,
    volume: int,
    flags: int,
    *,
    unended: str = "",
) -> Transaction:
    """Open a transaction; at the end of what the `undo` is for it is ended. Raises RxError.

    `flags` are one of the IT values; `unended` is said when ending it fails.
    """
    opening = while_busy(session, lambda: session.volser(server).TransCreate(volume, partition, flags))
    return await unhurried(opening, lambda tid: adopt(session, undo, server, tid, volume, unended=unended))


def adopt(
    session: Session, undo: Undo, server: IPv4Address, tid: int, volume: int, *, unended: str = ""
) -> Transaction:
    """A transaction that a call has opened."""
    name = session.name(server)
    ending = undo.finally_(
        partial(end, session, server, tid),
        left=f"transaction {tid} on volume {volume} at {name}, which ends by itself in some minutes",
        remedy=f"vos endtrans {name} {tid}",
        failed=unended,
    )
    return Transaction(session, server, tid, undo, ending)


async def end(session: Session, server: IPv4Address, tid: int) -> None:
    """End a transaction. Raises RxError, also for what the server says of the transaction itself."""
    code = await session.volser(server).EndTrans(tid)
    if code:
        raise Abort(code)


async def while_busy(session: Session, call: Callable[[], Awaitable[T]]) -> T:
    """Try again for as long as the volume is in another transaction, but not for ever. Raises RxError."""
    for seconds in BUSY_SECONDS:
        try:
            return await call()
        except Abort as refusal:
            if refusal.code != VolserError.VOLSERVOLBUSY:
                raise
            busy = refusal
        await deferLater(session.reactor, seconds)
    raise busy
