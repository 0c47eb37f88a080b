"""The channel to cache managers over real Rx: new ones, old ones, and those that are somebody else."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from afs.rpc.cb import RXAFSCB
from afs.types import AFSCallBack, AFSFid, interfaceAddr
from fileserver.channel import Address, Introduction
from fileserver.rxchannel import RxChannel
from rx.constants import RxCode
from rx.errors import Abort, CallLost
from rx.server import Server, ServerCall
from rx.service import Service
from rx.transport import RxPort

OURS, CLIENT = UUID(int=7), UUID(int=0x42)
INTERFACES = interfaceAddr(2, CLIENT, (0x7F000001, 0x0A000001, *(0,) * 30))


class Old(RXAFSCB):
    """A cache manager from before there were UUIDs."""

    def __init__(self, told: list[tuple[Any, ...]]) -> None:
        self.told = told

    async def InitCallBackState(self) -> None:
        self.told.append(("InitCallBackState",))

    async def Probe(self) -> None:
        self.told.append(("Probe",))

    async def CallBack(self, fids: tuple[AFSFid, ...], callbacks: tuple[AFSCallBack, ...]) -> None:
        self.told.append(("CallBack", fids, callbacks))


class Middle(Old):
    """One that knows who it is, but has no capabilities to tell."""

    async def WhoAreYou(self) -> interfaceAddr:
        return INTERFACES

    async def InitCallBackState3(self, server_uuid: UUID) -> None:
        self.told.append(("InitCallBackState3", server_uuid))

    async def ProbeUuid(self, client_uuid: UUID) -> None:
        self.told.append(("ProbeUuid", client_uuid))
        if client_uuid != CLIENT:
            raise Abort(1)


class New(Middle):
    async def TellMeAboutYourself(self) -> tuple[interfaceAddr, tuple[int, ...]]:
        return INTERFACES, (1,)


class Channels(TestCase):
    def setUp(self) -> None:
        self.port = self.new_port()
        self.channel = RxChannel([self.port], OURS)
        self.told: list[tuple[Any, ...]] = []

    def new_port(self) -> RxPort:
        port = RxPort(reactor, "127.0.0.1", 0)
        port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop(0)))
        return port

    def client(self, kind: type[Old]) -> Address:
        port = self.new_port()
        service: type[Service] = RXAFSCB

        def serve(call: ServerCall) -> Old:
            return kind(self.told)

        Server(port).add(service, serve)
        return port.address

    async def test_a_client_of_today(self) -> None:
        """It tells who it is, where else it is, and what it can; it is reset by UUID and probed by its own."""
        address = self.client(New)
        found = await self.channel.introduce(address)
        self.assertEqual(found, Introduction(CLIENT, ("127.0.0.1", "10.0.0.1"), 1))
        await self.channel.reset(address, has_uuid=True)
        await self.channel.probe(address, CLIENT)
        self.assertEqual(self.told, [("InitCallBackState3", OURS), ("ProbeUuid", CLIENT)])

    async def test_without_capabilities(self) -> None:
        """One that does not know TellMeAboutYourself is asked WhoAreYou."""
        found = await self.channel.introduce(self.client(Middle))
        self.assertEqual(found, Introduction(CLIENT, ("127.0.0.1", "10.0.0.1"), 0))

    async def test_without_a_uuid(self) -> None:
        """One that knows neither is taken as it is, and reset and probed by the calls it knows."""
        address = self.client(Old)
        self.assertEqual(await self.channel.introduce(address), Introduction())
        await self.channel.reset(address, has_uuid=False)
        await self.channel.probe(address, None)
        self.assertEqual(self.told, [("InitCallBackState",), ("Probe",)])

    async def test_somebody_else(self) -> None:
        """A probe for another UUID than the client's is refused."""
        with self.assertRaises(Abort):
            await self.channel.probe(self.client(New), UUID(int=1))

    async def test_breaks(self) -> None:
        """Many fids travel in one message, without records, as every client takes them."""
        address = self.client(New)
        await self.channel.tell(address, [(5, number, 1) for number in range(50)])
        fids = tuple(AFSFid(5, number, 1) for number in range(50))
        self.assertEqual(self.told, [("CallBack", fids, ())])

    async def test_route_of_a_port_that_was_stopped(self) -> None:
        """Where a client called is known also when that port takes no more calls, for the note that is left of it."""
        local = self.port.address
        self.channel.heard(("192.0.2.1", 7001), local)
        await self.port.stop(0)
        self.assertEqual(self.channel.route(("192.0.2.1", 7001)), local)

    async def test_closed(self) -> None:
        """A channel that was closed under a message says that it did not arrive."""
        silent = self.new_port()
        telling = Deferred.fromCoroutine(self.channel.tell(silent.address, [(5, 1, 1)]))
        self.channel.close(silent.address)
        with self.assertRaises((CallLost, Abort)) as lost:
            await telling
        self.assertIn(lost.exception.code, (RxCode.RX_CALL_DEAD, RxCode.RX_INVALID_OPERATION))
