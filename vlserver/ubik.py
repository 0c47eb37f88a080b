"""Ubik's face: VOTE and DISK, by which the copies of a stock database elect a writer and follow it.

A VLDB of ours is one copy, its own sync site for ever. So it tells its state to whoever asks (udebug), votes for
nobody, and takes part in no other server's transactions: what would change anything is refused.
"""
# ruff: noqa: N802 (RPC names are the protocol's)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import Enum, auto
from errno import ENOENT
from ipaddress import IPv4Address

from twisted.logger import Logger

from afs.errors import UbikError
from afs.rpc.ubik import (
    DISK,
    UBIK_MAX_INTERFACE_ADDR,
    VOTE,
    ubik_debug,
    ubik_debug_old,
    ubik_sdebug,
    ubik_sdebug_old,
    ubik_tid,
    ubik_version,
)
from rx.errors import Abort
from rx.server import ServerCall
from vlserver.database import Database
from vlserver.forms import signed
from vlserver.interfaces import ITransaction

FOREVER = 0x7FFFFFFF
"""Until when the only server of a database is its sync site."""

RECOVERED = 0x1F
"""Recovery state of a sync site whose database is found, fetched, labelled and everywhere (ubik.h UBIK_REC*)."""

NEVER_VOTED = -1
"""The host voted for last where none was."""

UNWRITTEN = ubik_version(2, 1)
"""The version of a stock database that is its own quorum, before the first write."""

NO_SERVER_KEY = 10029
"""What stock answers to DISK calls without the cell's key (userok.c afsconf_CheckAuth); it has no name there."""

RIVALS = 20
"""Servers whose beacons are mentioned in the log, once each: as many as a ubik database can have."""

log = Logger()


class Caller(Enum):
    """Whom a DISK call is taken from."""

    ANYONE = auto()
    SERVER = auto()
    """Those with the cell's key, and administrators."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a DISK call asks of its caller, and the code it is refused with for all that."""

    caller: Caller
    code: int


REFUSALS: dict[str, Refusal | None] = {
    "Begin": Refusal(Caller.SERVER, UbikError.UDEADLOCK),  # two sync sites: stock would begin
    "Commit": Refusal(Caller.SERVER, UbikError.USYNC),  # this and what follows belong to a transaction begun
    "Lock": Refusal(Caller.SERVER, UbikError.USYNC),
    "Write": Refusal(Caller.SERVER, UbikError.USYNC),
    "WriteV": Refusal(Caller.SERVER, UbikError.USYNC),
    "Truncate": Refusal(Caller.SERVER, UbikError.USYNC),
    "Abort": Refusal(Caller.SERVER, UbikError.USYNC),
    "ReleaseLocks": Refusal(Caller.SERVER, UbikError.USYNC),
    "SetVersion": Refusal(Caller.SERVER, UbikError.USYNC),
    "SendFile": Refusal(Caller.SERVER, UbikError.USYNC),  # from one that is no sync site: stock would take it
    "GetVersion": Refusal(Caller.SERVER, UbikError.UDEADLOCK),  # is for those that follow
    "GetFile": Refusal(Caller.SERVER, UbikError.UNOENT),  # there is no file of ubik's
    "UpdateInterfaceAddr": Refusal(Caller.ANYONE, UbikError.UBADHOST),  # from a server that is none of this cell's
    "Probe": None,
}
"""Every RPC of DISK; None is served."""

_BY_OPCODE = {opcode: REFUSALS[operation.name] for opcode, operation in DISK.operations.items()}


class Site:
    """This copy of the database, as both services tell of it.

    `addresses` gives where it is served, the primary address first; `calls` how many calls it has had.
    """

    def __init__(
        self,
        database: Database,
        addresses: Callable[[], Sequence[str]],
        calls: Callable[[], int],
        is_administrator: Callable[[ServerCall], bool],
    ) -> None:
        self._database = database
        self._addresses = addresses
        self._calls = calls
        self.is_administrator = is_administrator
        self._started = database.now()
        self._rivals: set[str] = set()

    async def state(self, local: str) -> ubik_debug:
        """What udebug prints. `local` stands for an address that is served by way of every interface."""
        writing = int(self._database.writing > 0)
        return ubik_debug(
            now=self._database.now(),
            lastYesTime=self._started,
            lastYesHost=NEVER_VOTED,
            lowestHost=NEVER_VOTED,
            amSyncSite=1,
            syncSiteUntil=FOREVER,
            nServers=1,
            localVersion=await self._database.read(version),
            activeWrite=writing,
            tidCounter=2 * self._calls() & 0x7FFFFFFF,  # stock counts each transaction's beginning and end
            anyWriteLocks=writing,
            recoveryState=RECOVERED,
            epochTime=self._started,
            interfaceAddr=self._interfaces(local),
        )

    def _interfaces(self, local: str) -> tuple[int, ...]:
        bound = dict.fromkeys(local if IPv4Address(each).is_unspecified else each for each in self._addresses())
        words = [signed(int(IPv4Address(each))) for each in bound][:UBIK_MAX_INTERFACE_ADDR]
        return (*words, *(0,) * (UBIK_MAX_INTERFACE_ADDR - len(words)))

    def note_rival(self, host: str) -> None:
        """Somebody asks for a vote: another server is configured to share this database."""
        if host in self._rivals or len(self._rivals) >= RIVALS:
            return
        self._rivals.add(host)
        log.warn(
            "{host} wants to be elected to write this database, which has one server: is this one in its CellServDB?",
            host=host,
        )


def version(transaction: ITransaction) -> ubik_version:
    """The time of the last change and its number. Like stock's it grows with each change and outlives a restart."""
    for change in transaction.changes(transaction.revision - 1, 1):
        return ubik_version(change.time & 0x7FFFFFFF, change.revision & 0x7FFFFFFF)
    return ubik_version(UNWRITTEN.epoch, UNWRITTEN.counter)


class Vote(VOTE):
    """Serves one call; anybody may ask."""

    def __init__(self, site: Site, call: ServerCall) -> None:
        self._site = site
        self._call = call

    async def Beacon(self, state: int, vote_start: int, version: ubik_version, tid: ubik_tid) -> None:
        """A result of 0 is a vote against."""
        self._site.note_rival(self._call.peer[0])

    async def GetSyncSite(self, site: int) -> None:
        """The interface has no way to answer; stock's clients go on with the server they have."""

    async def Debug(self) -> ubik_debug:
        return await self._site.state(self._call.local[0])

    async def XDebug(self) -> tuple[ubik_debug, int]:
        return await self.Debug(), 0

    async def DebugOld(self) -> ubik_debug_old:
        state = await self.Debug()
        return ubik_debug_old(**{each.name: getattr(state, each.name) for each in fields(ubik_debug_old)})

    async def SDebug(self, which: int) -> ubik_sdebug:
        """There is no other server to tell of."""
        raise Abort(ENOENT)

    async def XSDebug(self, which: int) -> tuple[ubik_sdebug, int]:
        raise Abort(ENOENT)

    async def SDebugOld(self, which: int) -> ubik_sdebug_old:
        raise Abort(ENOENT)


class Disk(DISK):
    """Serves one call. Making one refuses it, as the table says, before its arguments are looked at."""

    def __init__(self, site: Site, call: ServerCall) -> None:
        refusal = _BY_OPCODE.get(call.opcode)
        if refusal is None:
            return
        if refusal.caller is Caller.SERVER and not site.is_administrator(call):
            raise Abort(NO_SERVER_KEY)
        raise Abort(refusal.code)

    async def Probe(self) -> None:
        """It is up."""
