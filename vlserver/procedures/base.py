"""What the procedures of one call share: the database, who calls, and how its transactions are run and counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, TypeVar

from afs.rpc.partitions import VLPartitions
from afs.rpc.vl import MAX_NUMBER_OPCODES
from rx.errors import Abort
from rx.server import ServerCall
from vlserver.database import Database
from vlserver.interfaces import ITransaction
from vlserver.procedures.privileges import Doorkeeper
from vlserver.schema import Author

P = ParamSpec("P")
T = TypeVar("T")

FIRST_OPCODE = 501
"""GetStats counts opcodes from here (VL_LOWEST_OPCODE)."""

UNCOUNTED = (514,)
"""ProbeServer, which stock leaves out of its counts."""


@dataclass(slots=True)
class Counters:
    """Calls and aborted transactions by opcode since `started`, in Unix seconds."""

    started: int
    requests: list[int] = field(default_factory=lambda: [0] * MAX_NUMBER_OPCODES)
    aborts: list[int] = field(default_factory=lambda: [0] * MAX_NUMBER_OPCODES)

    def total(self) -> int:
        """Calls in all."""
        return sum(self.requests)

    def count(self, counters: list[int], opcode: int) -> None:
        """One more; what GetStats has no room for, or leaves out, is not counted. Wraps as a 32-bit counter does."""
        position = opcode - FIRST_OPCODE
        if 0 <= position < MAX_NUMBER_OPCODES and opcode not in UNCOUNTED:
            counters[position] = (counters[position] + 1) & 0x7FFFFFFF


class VLProcedures(VLPartitions):
    """One call's procedures; the themes inherit from this. Making one admits the call, or raises VL_PERM."""

    def __init__(self, database: Database, doorkeeper: Doorkeeper, counters: Counters, call: ServerCall) -> None:
        counters.count(counters.requests, call.opcode)
        doorkeeper.admit(call)
        self.call = call
        self._database = database
        self._doorkeeper = doorkeeper
        self._counters = counters

    async def _read(
        self, operation: Callable[Concatenate[ITransaction, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        try:
            return await self._database.read(operation, *arguments, **named)
        except Abort:
            self._counters.count(self._counters.aborts, self.call.opcode)
            raise

    async def _survey(
        self, operation: Callable[Concatenate[ITransaction, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        try:
            return await self._database.survey(operation, *arguments, **named)
        except Abort:
            self._counters.count(self._counters.aborts, self.call.opcode)
            raise

    async def _write(
        self, operation: Callable[Concatenate[ITransaction, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        try:
            return await self._database.write(self._author(), operation, *arguments, **named)
        except Abort:
            self._counters.count(self._counters.aborts, self.call.opcode)
            raise

    def _author(self) -> Author:
        """Who calls, for the change log: the name it has proved, if any, and the address."""
        identity = self.call.connection.identity
        name = ".".join(part for part in (identity.name, identity.instance) if part) or identity.kind
        realm = f"@{identity.realm}" if identity.realm else ""
        return Author(f"{name}{realm} {self.call.peer[0]}", VLPartitions.operations[self.call.opcode].name)
