"""A client's own RXAFSCB service: it says who the client is, and records what file servers tell it."""
# ruff: noqa: N802 (RPC names are the protocol's)

from collections import deque
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal
from uuid import UUID

from twisted.internet.defer import Deferred

from afs.rpc.cb import RXAFSCB
from afs.types import AFS_MAX_INTERFACE_ADDR, AFSCallBack, AFSFid, interfaceAddr
from rx.errors import Abort

HISTORY = 10_000
"""Events kept: more than a test makes, a bound for a client that lives long."""

NOT_ME = 1
"""The abort code for a ProbeUuid that asks for somebody else (afs_callback.c)."""

Address = tuple[str, int]
Kind = Literal["break", "reset", "probe", "identify"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something a file server told the client.

    `break`: the promise for (volume, vnode, uniquifier) is void, vnode 0 standing for the whole volume; `reset`: every
    promise of this server is; `probe` and `identify`: it asked whether, or who, the client is.
    """

    kind: Kind
    server: Address
    fid: tuple[int, int, int] = (0, 0, 0)


class Breaks:
    """What file servers have told this client, in order, and Deferreds for what they will tell it."""

    def __init__(self) -> None:
        self.history: deque[Event] = deque(maxlen=HISTORY)
        self._expected: list[tuple[Kind, tuple[int, int, int] | None, Deferred[Event]]] = []

    def expect(self, fid: AFSFid | None = None, kind: Kind = "break") -> "Deferred[Event]":
        """The next event of that kind from now on; if `fid` is given, about that file or its whole volume."""
        wanted = None if fid is None else (fid.Volume, fid.Vnode, fid.Unique)
        deferred: Deferred[Event] = Deferred(lambda cancelled: self._forget(cancelled))
        self._expected.append((kind, wanted, deferred))
        return deferred

    def of(self, fid: AFSFid) -> list[Event]:
        """The breaks so far of that file."""
        wanted = (fid.Volume, fid.Vnode, fid.Unique)
        return [event for event in self.history if event.kind == "break" and event.fid == wanted]

    def record(self, event: Event) -> None:
        """Keep the event and tell whoever expects it."""
        self.history.append(event)
        for kind, fid, deferred in list(self._expected):
            if kind == event.kind and (fid is None or event.fid in (fid, (fid[0], 0, 0))):
                self._forget(deferred)
                deferred.callback(event)

    def _forget(self, deferred: "Deferred[Event]") -> None:
        self._expected = [each for each in self._expected if each[2] is not deferred]


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Who a client says it is."""

    uuid: UUID
    addresses: tuple[IPv4Address, ...]
    capabilities: int

    def interfaces(self) -> interfaceAddr:
        """The answer to WhoAreYou. Addresses travel as host-order integers."""
        addresses = [_signed(int(address)) for address in self.addresses[:AFS_MAX_INTERFACE_ADDR]]
        padded = tuple(addresses + [0] * (AFS_MAX_INTERFACE_ADDR - len(addresses)))
        return interfaceAddr(numberOfInterfaces=len(addresses), uuid=self.uuid, addr_in=padded)


class CallBackProcedures(RXAFSCB):
    """One call of a file server to the client."""

    def __init__(self, me: ClientIdentity, breaks: Breaks, server: Address) -> None:
        self._me = me
        self._breaks = breaks
        self._server = server

    async def CallBack(self, fids: tuple[AFSFid, ...], callbacks: tuple[AFSCallBack, ...]) -> None:
        for fid in fids:
            self._breaks.record(Event("break", self._server, (fid.Volume, fid.Vnode, fid.Unique)))

    async def InitCallBackState(self) -> None:
        self._breaks.record(Event("reset", self._server))

    async def InitCallBackState3(self, server_uuid: UUID) -> None:
        self._breaks.record(Event("reset", self._server))

    async def Probe(self) -> None:
        self._breaks.record(Event("probe", self._server))

    async def ProbeUuid(self, client_uuid: UUID) -> None:
        self._breaks.record(Event("probe", self._server))
        if client_uuid != self._me.uuid:
            raise Abort(NOT_ME)

    async def WhoAreYou(self) -> interfaceAddr:
        self._breaks.record(Event("identify", self._server))
        return self._me.interfaces()

    async def TellMeAboutYourself(self) -> tuple[interfaceAddr, tuple[int, ...]]:
        self._breaks.record(Event("identify", self._server))
        return self._me.interfaces(), (self._me.capabilities,)


def _signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word
