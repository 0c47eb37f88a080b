"""Transactions of the volume server: at most one per volume and partition, each with a volume in its hands or about to.

A transaction that nobody touches for TIMEOUT_SECONDS is ended as if its client had; one on a temporary volume takes
that along. A temporary volume that is left behind, a clone whose client was killed before it took it up again or whose
transaction was ended by hand, goes when nobody has had it for as long.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from errno import EIO, ENOENT

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from afs.errors import VolserError
from afs.rpc.volser import VTDeleted, transDebugInfo
from fileserver.interfaces import StoreError
from fileserver.volume.checkout import Checkout, Mode
from fileserver.volume.registry import Registry
from rx.errors import Abort

log = Logger(namespace="fileserver.volser")

TIMEOUT_SECONDS = 600
"""An idle transaction is ended after this: its client is gone (voltrans.c OLDTRANSTIME)."""

WARNING_SECONDS = 300
"""An idle or slow transaction is mentioned in the log from this age on (voltrans.c OLDTRANSWARN)."""

SWEEP_SECONDS = 30
"""How often idle transactions are looked for (volser.h GCWAKEUP)."""

LAST_ID = 2**31 - 1
"""Transaction ids are positive 32-bit integers and start again after this."""


@dataclass(slots=True, eq=False)
class Transaction:
    """One volume in the volume server's hands. `iflags` are IT bits, `vflags` VT bits (volser.h)."""

    id: int
    volume_id: int
    partition: int
    created: int
    used: int
    iflags: int = 0
    vflags: int = 0
    procedure: bytes = b""
    users: int = 0
    ended: bool = False
    turn: DeferredLock = field(default_factory=DeferredLock)
    """Had by the one call that works on the volume; others of the same transaction wait."""
    _checkout: Checkout | None = field(default=None)

    @property
    def checkout(self) -> Checkout:
        """The volume. Abort ENOENT while, or because, there is none to work on."""
        if self._checkout is None or not self._checkout.usable:
            raise Abort(ENOENT)
        return self._checkout

    def hold(self, checkout: Checkout) -> None:
        self._checkout = checkout

    def let_go(self) -> Checkout | None:
        checkout, self._checkout = self._checkout, None
        return checkout

    def describe(self) -> transDebugInfo:
        """What `vos status` shows."""
        return transDebugInfo(
            tid=self.id,
            time=self.used,
            creationTime=self.created,
            volid=self.volume_id,
            partition=self.partition,
            iflags=self.iflags,
            vflags=self.vflags,
            lastProcName=self.procedure,
            callValid=0,
        )


class Transactions:
    """All transactions of this server."""

    def __init__(self, registry: Registry, now: Callable[[], int]) -> None:
        self._registry = registry
        self._now = now
        self._by_id: dict[int, Transaction] = {}
        self._by_volume: dict[tuple[int, int], Transaction] = {}
        self._temporary: dict[tuple[int, int], int] = {}
        """Volumes marked for deletion that were given back -> when. Those of an earlier process are for a salvage."""
        self._last_id = 0

    def __iter__(self) -> Iterator[Transaction]:
        return iter(list(self._by_id.values()))

    def begin(self, volume_id: int, partition: int, procedure: bytes) -> Transaction:
        """Raises Abort VOLSERVOLBUSY when the volume is in another transaction. Use `opening` or `brief`, which also
        make it last as long as the call that began it.
        """
        if (volume_id, partition) in self._by_volume:
            raise Abort(VolserError.VOLSERVOLBUSY)
        transaction = Transaction(self._new_id(), volume_id, partition, self._now(), self._now(), procedure=procedure)
        self._by_id[transaction.id] = self._by_volume[volume_id, partition] = transaction
        return transaction

    def deleted(self, volume_id: int, partition: int) -> bool:
        """Whether the volume was deleted in a transaction that is still open: nothing of it is left."""
        transaction = self._by_volume.get((volume_id, partition))
        return transaction is not None and bool(transaction.vflags & VTDeleted)

    @asynccontextmanager
    async def opening(self, volume_id: int, partition: int, procedure: bytes) -> AsyncIterator[Transaction]:
        """A transaction that stays open after the context, unless that fails. Nobody can end it before."""
        transaction = self.begin(volume_id, partition, procedure)
        transaction.users += 1
        try:
            with failures(procedure, volume_id):
                yield transaction
        except BaseException:
            transaction.ended = True
            raise
        finally:
            await self._release(transaction)

    @asynccontextmanager
    async def brief(self, volume_id: int, partition: int, procedure: bytes) -> AsyncIterator[Transaction]:
        """A transaction that ends with the context."""
        transaction = self.begin(volume_id, partition, procedure)
        transaction.users += 1
        try:
            with failures(procedure, volume_id):
                yield transaction
        finally:
            transaction.ended = True
            await self._release(transaction)

    @asynccontextmanager
    async def use(self, tid: int, procedure: bytes = b"", *, wait: bool = True) -> AsyncIterator[Transaction]:
        """An open transaction, for one call, which it has in mind unless that is yet to be said. Raises Abort ENOENT
        when there is none, or its volume was deleted; VOLSERVOLBUSY when another call has it, and this shall not
        `wait`.
        """
        transaction = self._by_id.get(tid)
        if transaction is None or transaction.ended or transaction.vflags & VTDeleted:
            raise Abort(ENOENT)
        if transaction.turn.locked and not wait:
            raise Abort(VolserError.VOLSERVOLBUSY)
        transaction.users += 1
        transaction.procedure = procedure or transaction.procedure
        transaction.used = self._now()
        try:
            async with transaction.turn:
                if transaction.vflags & VTDeleted:
                    raise Abort(ENOENT)
                with failures(procedure, transaction.volume_id):
                    yield transaction
        finally:
            transaction.used = self._now()
            await self._release(transaction)

    async def end(self, tid: int) -> None:
        """Give the volume back, as soon as no call uses the transaction. Raises Abort ENOENT."""
        transaction = self._by_id.get(tid)
        if transaction is None or transaction.ended:
            raise Abort(ENOENT)
        transaction.ended = True
        if not transaction.users:
            await self._close(transaction)

    async def sweep(self) -> None:
        """End those whose client is gone."""
        for transaction in self:
            idle = self._now() - transaction.used
            if idle > WARNING_SECONDS:
                log.warn("{transaction} is idle or busy for {idle} s", transaction=transaction, idle=idle)
            if idle > TIMEOUT_SECONDS and not transaction.users and not transaction.ended:
                transaction.ended = True
                await self._discard_temporary(transaction)
                await self._close(transaction)
        for (volume_id, partition), since in list(self._temporary.items()):
            if self._now() - since > TIMEOUT_SECONDS and (volume_id, partition) not in self._by_volume:
                del self._temporary[volume_id, partition]
                await self._discard_left(volume_id, partition)

    async def _discard_left(self, volume_id: int, partition: int) -> None:
        """Unless somebody has deleted it, or keeps it, since."""
        try:
            async with self.brief(volume_id, partition, b"Discard") as transaction:
                transaction.hold(await self._registry.check_out(volume_id, partition, Mode.VOLUPD))
                await self._discard_temporary(transaction)
        except Abort as refusal:
            log.info("temporary volume {id} not deleted: {refusal}", id=volume_id, refusal=refusal)

    async def close(self) -> None:
        """End all of them: the server stops."""
        for transaction in self:
            transaction.ended = True
            await self._close(transaction)

    async def _discard_temporary(self, transaction: Transaction) -> None:
        checkout = transaction._checkout
        if checkout is None or checkout.destroyed or not checkout.header.destroy_me:
            return
        log.warn("deleting temporary volume {id}", id=transaction.volume_id)
        try:
            await checkout.destroy()
        except (OSError, StoreError) as problem:
            log.error("volume {id} not deleted: {problem}", id=transaction.volume_id, problem=problem)

    async def _release(self, transaction: Transaction) -> None:
        transaction.users -= 1
        if transaction.ended and not transaction.users:
            await self._close(transaction)

    async def _close(self, transaction: Transaction) -> None:
        """The volume goes back before its place here is free: nobody else may take it in between."""
        checkout = transaction.let_go()
        place = transaction.volume_id, transaction.partition
        self._temporary.pop(place, None)
        if checkout is not None and not checkout.destroyed and checkout.header.destroy_me:
            self._temporary[place] = self._now()
        try:
            if checkout is not None:
                await checkout.give_back()
                self._registry.forget(checkout.volume)
        finally:
            if self._by_id.pop(transaction.id, None) is not None:
                del self._by_volume[transaction.volume_id, transaction.partition]

    def _new_id(self) -> int:
        while True:
            self._last_id = self._last_id + 1 if self._last_id < LAST_ID else 1
            if self._last_id not in self._by_id:
                return self._last_id


@contextmanager
def failures(procedure: bytes, volume_id: int) -> Iterator[None]:
    """What the store cannot do is Abort EIO to whoever asked for it, and in the log."""
    try:
        yield
    except (OSError, StoreError) as problem:
        log.error(
            "{procedure} of volume {id} failed: {problem}",
            procedure=procedure.decode(),
            id=volume_id,
            problem=problem,
        )
        raise Abort(EIO, str(problem)) from problem
