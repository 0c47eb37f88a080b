"""Stock rxdebug, in every mode, sees in our servers what there is to see."""

from __future__ import annotations

import re
import time
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from rx.peer import Address
from rx.security.kerberos.ticket import Ticket
from rx.security.rxkad import Level, RxkadClient, RxkadServer
from rx.server import Server as RxServer
from rx.streams import Buffer
from rx.transport import RxPort
from rx.turns import Turns
from tests.interop.requirements import missing
from tests.rx.example import Example, Server
from tests.support.rxkad import SESSION_KEY, Keys, token

PLACES = 2
CALLS = 5
"""Small ones, before those that wait."""


class RxdebugTests(TestCase):
    """A server with two places and four calls that wait for us."""

    skip = missing() or None
    timeout = 180

    def port(self) -> RxPort:
        port = RxPort(reactor, "127.0.0.1")
        port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop(0.0)))
        return port

    async def serve(self) -> tuple[Address, Address]:
        """A busy server's address and its client's."""
        server, client = self.port(), self.port()
        instance = Server()
        RxServer(server, Turns(total=PLACES)).add(Example, lambda call: instance)
        example: Any = Example.client(client.connect(server.address, Example.service_id))
        for number in range(CALLS):
            await example.Add(number, 1)
        await example.Fetch(300_000, Buffer())
        for number in range(4):
            Deferred.fromCoroutine(example.Wait(number)).addErrback(lambda failure: None)
        while server.endpoint.server_calls < 4:
            await deferLater(reactor, 0.01)
        return server.address, client.address

    async def rxdebug(self, server: Address, *switches: str) -> str:
        out, errors, status = await getProcessOutputAndValue(
            "rxdebug", [server[0], str(server[1]), *switches], env=None
        )
        self.assertEqual((status, errors), (0, b""))
        said: str = out.decode()
        return said

    async def test_security(self) -> None:
        """An authenticated connection is shown with its level, how long its ticket lasts, and what it has carried."""
        server, caller = self.port(), self.port()
        server.endpoint.secure(2, lambda: RxkadServer(Keys(), Random(1).getrandbits))
        instance = Server()
        RxServer(server).add(Example, lambda call: instance, security_indices=(2,))
        ticket = Ticket("alice", "", "LAB.TEST", SESSION_KEY, 0, int(time.time()) + 2 * 3600 + 60)
        security = RxkadClient(token(ticket), Level.CRYPT)
        example: Any = Example.client(caller.connect(server.address, Example.service_id, security))
        await example.Add(1, 2)
        for port, shown in ((server, "server conn"), (caller, "client conn")):
            said = await self.rxdebug(port.address, "-allconnections", "-long")
            self.assertIn(shown, said)
            self.assertIn("rxkad: level crypt", said)
            sent, received = (re.search(rf"{what} (\d+) bytes in (\d+) packets", said) for what in ("Sent", "Received"))
            assert sent is not None
            assert received is not None
            self.assertEqual((sent[2], received[2]), ("1", "1"))
            if port is server:
                self.assertIn("expires in 2.0 hours", said)
                self.assertIn("authenticated", said)
                self.assertEqual(sent[1], "4")  # an integer; what is received is counted as it came, in whole blocks
                self.assertEqual(int(received[1]) % 8, 0)
        said = await self.rxdebug(server.address, "-peers", "-long", "-noconns")
        self.assertIn("congestion window 17, MTU", said)
        free = re.search(r"Free packets: (\d+)/(\d+), .* used FDs: (\d+)", said)
        assert free is not None
        self.assertEqual(free[1], free[2])
        self.assertGreater(int(free[3]), 3)

    async def test_modes(self) -> None:
        """Version, counters, peers, connections and what their calls wait for are as they are."""
        server, client = await self.serve()
        self.assertIn("AFS version: txafs", await self.rxdebug(server, "-version"))

        said = await self.rxdebug(server, "-rxstats", "-noconns")
        for expected in (
            f"calls: {CALLS + 1 + 4},",
            "2 calls waiting for a thread",
            "0 threads are idle",
            "2 calls have waited for a thread",
            "1 server connections, 0 client connections, 1 peer structs",
        ):
            self.assertIn(expected, said)
        read = re.search(r"packets read: data (\d+) ack (\d+) .* debug (\d+) .*version (\d+)", said)
        assert read is not None
        self.assertEqual((read[1], read[4]), (str(CALLS + 1 + 4), "1"))

        said = await self.rxdebug(server, "-peers", "-long", "-noconns")
        self.assertIn(f"Peer at host 127.0.0.1, port {client[1]}", said)
        sent = re.search(r"bytes sent high 0 low (\d+)", said)
        assert sent is not None
        self.assertGreater(int(sent[1]), 300_000)

        said = await self.rxdebug(server, "-allconnections", "-long")
        self.assertIn(f"Connection from host 127.0.0.1, port {client[1]}", said)
        self.assertEqual(said.count("state active"), 4)
        self.assertEqual(said.count("waiting_for_process"), 4 - PLACES)

        self.assertIn("server conn", await self.rxdebug(server, "-onlyserver"))
        self.assertNotIn("Connection from", await self.rxdebug(server, "-onlyclient"))
        self.assertIn("Connection from", await self.rxdebug(server, "-onlyport", str(client[1])))
        self.assertNotIn("Connection from", await self.rxdebug(server, "-onlyport", "1"))
