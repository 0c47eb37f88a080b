"""Stock udebug tells of our vlserver what it tells of a stock one that is alone."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from afs.errors import UbikError
from afs.rpc.ubik import DISK, VOTE, UbikInterfaceAddr, ubik_debug, ubik_debug_old, ubik_tid, ubik_version
from rx.errors import Abort
from rx.transport import RxPort
from tests.interop.case import InteropTest
from tests.interop.namespaces import Node
from tests.interop.ours import OurServers
from tests.interop.stock import add_node, start_database

SWITCHES = ((), ("-long",))
TID = ubik_tid(5, 6)
UNTRANSACTED: dict[str, tuple[Any, ...]] = {
    "Commit": (TID,),
    "Lock": (TID, 0, 1, 1, 1),
    "Write": (TID, 0, 0, b"data"),
    "WriteV": (TID, (), b""),
    "Truncate": (TID, 0, 0),
    "Abort": (TID,),
    "ReleaseLocks": (TID,),
    "SetVersion": (TID, ubik_version(), ubik_version(9, 9)),
    "GetVersion": (),
    "UpdateInterfaceAddr": (UbikInterfaceAddr(),),
    "Probe": (),
}
"""DISK calls that a stock server which is alone answers as ours does. Begin, SendFile and GetFile it obeys."""


class UbikTests(InteropTest):
    """A stock vlserver that is alone, and ours."""

    def setUp(self) -> None:
        network = self.new_network()
        self.stock = add_node(network, "fs1")
        start_database(self.stock, ["vlserver"])
        self.ours = OurServers(self.new_network()).node

    def client(self, node: Node, service: type[VOTE | DISK]) -> Any:
        """Calls from the server's own node, anonymous."""
        any_reactor: Any = reactor
        port = RxPort(any_reactor, node.address)
        with node.inside():
            port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop()))
        return service.client(port.connect((node.address, 7003), service.service_id, dead_seconds=10))

    def udebug(self, node: Node, *words: str) -> str:
        """What it prints, without what differs between any two servers: times, versions, counts of calls."""
        out = node.run_now("udebug", *words).check().out
        out = re.sub(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", "DATE", out)
        out = re.sub(r"\b[12]\d{9}\.\d+", "VERSION", out)
        return re.sub(r"-?\d+ secs", "N secs", out)

    async def test_udebug(self) -> None:
        """Every line of udebug, with every switch, by port and by name of the service."""
        for switches in SWITCHES:
            for port in ("7003", "vlserver"):
                words = [self.ours.address, port, *switches]
                said = self.udebug(self.ours, *words)
                self.assertIn("I am sync site forever (1 server)\nRecovery state 1f\n", said)
                # Ours has changed since it was made, for a fileserver has registered with it.
                expected = self.udebug(self.stock, *words).replace("version is 2.1", "version is VERSION")
                self.assertEqual(said, expected)

    async def test_raw(self) -> None:
        """Every word of the states, but times and versions; and that there is no other server."""
        states = []
        for node in (self.stock, self.ours):
            vote = self.client(node, VOTE)
            state, is_clone = await vote.XDebug()
            old = await vote.DebugOld()
            states.append((is_clone, self.timeless(state), self.timeless(await vote.Debug()), self.timeless(old)))
            for call in (vote.SDebug(0), vote.XSDebug(0), vote.SDebugOld(0), vote.XSDebug(1)):
                with self.assertRaises(Abort) as caught:
                    await call
                self.assertEqual(caught.exception.code, 2)
            await vote.GetSyncSite(0)
            await vote.Beacon(1, 0, ubik_version(), TID)
        self.assertEqual(*states)

    def timeless(self, state: ubik_debug | ubik_debug_old) -> Any:
        """Without what differs between any two servers; the times are those of a server that has just started."""
        for moment in (state.lastYesTime, state.epochTime):
            self.assertLess(state.now - moment, 120)
        return replace(state, now=0, lastYesTime=0, epochTime=0, localVersion=ubik_version(), tidCounter=0)

    async def test_disk(self) -> None:
        """What another copy would ask is refused as a stock server refuses strangers, whoever asks."""
        anonymous = self.client(self.stock, DISK)
        ours = self.client(self.ours, DISK)  # --noauth: an administrator
        stock = self.client(self.as_noauth(), DISK)
        for name, arguments in UNTRANSACTED.items():
            codes = [await self.code(getattr(disk, name)(*arguments)) for disk in (stock, ours)]
            self.assertEqual(codes[1], codes[0], name)
            code = await self.code(getattr(anonymous, name)(*arguments))
            self.assertEqual(code, {"Probe": 0, "UpdateInterfaceAddr": UbikError.UBADHOST}.get(name, 10029), name)
        self.assertEqual(await self.code(ours.Begin(TID)), UbikError.UDEADLOCK)

    def as_noauth(self) -> Node:
        """A stock vlserver to which everybody is an administrator."""
        node = add_node(self.new_network(), "fs1")
        (node.home / "var-lib-openafs/local/NoAuth").touch()
        start_database(node, ["vlserver"])
        return node

    async def code(self, answer: Any) -> int:
        """What it is refused with, 0 when it is not."""
        try:
            await answer
        except Abort as refusal:
            return refusal.code
        return 0
