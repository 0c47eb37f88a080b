"""The VLDB as the procedures use it: operations as transactions, failures of the store as wire codes, replies kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID, uuid4

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from afs.errors import VLError
from rx.errors import Abort
from vlserver.interfaces import ITransaction, IVLStore, StoreError
from vlserver.replies import Replies
from vlserver.schema import Author
from vlserver.watchers import Watchers

P = ParamSpec("P")
T = TypeVar("T")

log = Logger()


class Database:
    """Runs operations, functions of a transaction and their arguments, on a store.

    `now` gives Unix seconds, `clock` keeps the time that `watchers` wait, `new_uuid` gives identities for new partition
    objects. What the store raises becomes VL_IO. `writing` is how many writes have not been answered yet.
    """

    def __init__(
        self, store: IVLStore, now: Callable[[], float], clock: IReactorTime, new_uuid: Callable[[], UUID] = uuid4
    ) -> None:
        self.store = store
        self.watchers = Watchers(clock)
        self.replies = Replies(store)
        self.new_uuid = new_uuid
        self.writing = 0
        self._now = now

    def now(self) -> int:
        """Unix seconds."""
        return int(self._now())

    async def read(
        self, operation: Callable[Concatenate[ITransaction, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Run a short operation on a snapshot."""
        try:
            return await self.store.read(lambda transaction: operation(transaction, *arguments, **named))
        except StoreError as problem:
            raise _refusal(operation, problem) from problem

    async def survey(
        self, operation: Callable[Concatenate[ITransaction, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Run an operation that may look at every entry."""
        try:
            return await self.store.survey(lambda transaction: operation(transaction, *arguments, **named))
        except StoreError as problem:
            raise _refusal(operation, problem) from problem

    async def write(
        self, by: Author, operation: Callable[Concatenate[ITransaction, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Run an operation as one transaction, durable when this returns."""
        self.writing += 1
        try:
            return await self.store.write(lambda transaction: operation(transaction, *arguments, **named), by)
        except StoreError as problem:
            raise _refusal(operation, problem) from problem
        finally:
            self.writing -= 1
            self.watchers.wake()


def _refusal(operation: Callable[..., object], problem: StoreError) -> Abort:
    log.error("{operation}: {problem}", operation=operation.__name__, problem=problem)
    return Abort(VLError.VL_IO, str(problem))
