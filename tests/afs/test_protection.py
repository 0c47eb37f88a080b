"""The protection client against servers of its own kind, over real Rx on loopback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from afs.acl import ANONYMOUSID, ANYUSERID, AUTHUSERID, SYSADMINID
from afs.errors import PrError, RxkadError, UbikError
from afs.protection import ProtectionServers, unavailable
from afs.rpc.pr import PR
from rx.client import Connection
from rx.constants import RxCode
from rx.errors import Abort, CallLost, RxError
from rx.server import Server, ServerCall
from rx.transport import RxPort

SECONDS = 1.0
"""Given to a server that says nothing."""

ALICE, STAFF, LAB = 101, -207, -208
NAMES = {b"alice": ALICE, b"staff": STAFF, b"lab": LAB}
GROUPS = {ALICE: (ALICE, AUTHUSERID, SYSADMINID, ANYUSERID, STAFF), ANONYMOUSID: (ANYUSERID, ANONYMOUSID)}
HOSTS = {0x7F000001: (LAB,), 0xC0000201 - 2**32: (STAFF, LAB)}


class Ptserver:
    """A protection server on loopback. `asked` is every call; `refusal` is what it answers instead, while it is set."""

    def __init__(self) -> None:
        self.port = RxPort(reactor, "127.0.0.1", 0)
        self.asked: list[tuple[Any, ...]] = []
        self.refusal: int | None = None
        self.cut = 0
        self.connections: set[Any] = set()
        self.port.start()
        Server(self.port).add(PR, lambda call: _Procedures(self, call))

    @property
    def address(self) -> tuple[str, int]:
        return self.port.address


class _Procedures(PR):
    def __init__(self, server: Ptserver, call: ServerCall) -> None:
        self._server = server
        server.connections.add(call.connection)

    def _asked(self, *what: Any) -> None:
        self._server.asked.append(what)
        if self._server.refusal is not None:
            raise Abort(self._server.refusal)

    async def NameToID(self, nlist: tuple[bytes, ...]) -> tuple[int, ...]:
        self._asked("NameToID", *nlist)
        return tuple(NAMES.get(name, ANONYMOUSID) for name in nlist)[self._server.cut :]

    async def IDToName(self, ilist: tuple[int, ...]) -> tuple[bytes, ...]:
        self._asked("IDToName", *ilist)
        names = {number: name for name, number in NAMES.items()}
        return tuple(names.get(each, b"%d" % each) for each in ilist)

    async def GetCPS(self, entry_id: int) -> tuple[tuple[int, ...], int]:
        self._asked("GetCPS", entry_id)
        if entry_id not in GROUPS:
            raise Abort(PrError.PRNOENT)
        return GROUPS[entry_id], 0

    async def GetHostCPS(self, host: int) -> tuple[tuple[int, ...], int]:
        self._asked("GetHostCPS", host)
        if host not in HOSTS:
            raise Abort(PrError.PRNOENT)
        return HOSTS[host], 0


class Asking(TestCase):
    """Two servers and a client that asks them in order."""

    def setUp(self) -> None:
        self.first, self.second = self.server(), self.server()
        self.port = RxPort(reactor, "127.0.0.1", 0)
        self.port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.port.stop(0)))
        self.made: list[tuple[str, int]] = []
        self.names = self.client(self.first.address, self.second.address)

    def server(self) -> Ptserver:
        made = Ptserver()
        self.addCleanup(lambda: Deferred.fromCoroutine(made.port.stop(0)))
        return made

    def client(self, *servers: tuple[str, int]) -> ProtectionServers:
        names = ProtectionServers(servers, self.connect, SECONDS)
        self.addCleanup(names.close)
        return names

    def connect(self, server: tuple[str, int]) -> Connection:
        self.made.append(server)
        return self.port.connect(server, PR.service_id)

    async def test_names_both_ways(self) -> None:
        """Ids of names in any case and names of ids, unknown ones as the protection server has them."""
        found = await self.names.names_to_ids([b"Alice", b"STAFF", b"nobody at all"])
        self.assertEqual(found, [ALICE, STAFF, ANONYMOUSID])
        self.assertEqual(await self.names.ids_to_names([STAFF, 4711, ALICE]), [b"staff", b"4711", b"alice"])

    async def test_names_that_cannot_be(self) -> None:
        """A name that no entry can have is unknown, and nobody is asked about it."""
        self.assertEqual(await self.names.names_to_ids([b"x" * 64, b""]), [ANONYMOUSID, ANONYMOUSID])
        self.assertEqual(await self.names.ids_to_names([]), [])
        self.assertEqual(self.first.asked, [])
        self.assertEqual(await self.names.names_to_ids([b"x" * 64, b"alice"]), [ANONYMOUSID, ALICE])
        self.assertEqual(self.first.asked, [("NameToID", b"alice")])

    async def test_groups(self) -> None:
        """A user's groups come in order, himself among them; who is not there has none."""
        self.assertEqual(await self.names.groups(ALICE), (STAFF, SYSADMINID, AUTHUSERID, ANYUSERID, ALICE))
        await self.refused(PrError.PRNOENT, self.names.groups(4711))

    async def test_groups_of_addresses(self) -> None:
        """The groups of an address, in the half of the numbers with the high bit too; an unknown one has none."""
        self.assertEqual(await self.names.host_groups("127.0.0.1"), (LAB,))
        self.assertEqual(await self.names.host_groups("192.0.2.1"), (LAB, STAFF))
        self.assertEqual(await self.names.host_groups("192.0.2.2"), ())

    async def test_a_silent_server(self) -> None:
        """When the first server is gone the second is asked, and first from then on."""
        await self.first.port.stop(0)
        self.assertEqual(await self.names.names_to_ids([b"alice"]), [ALICE])
        self.made.clear()
        self.assertEqual(await self.names.groups(ANONYMOUSID), (ANYUSERID, ANONYMOUSID))
        self.assertEqual(self.made, [])
        self.assertEqual([what[0] for what in self.second.asked], ["NameToID", "GetCPS"])

    async def test_without_a_quorum(self) -> None:
        """A server that may not answer for its database counts as silent."""
        for code in (UbikError.UNOQUORUM, UbikError.UNOTSYNC, RxCode.RX_RESTARTING):
            self.first.refusal = code
            names = self.client(self.first.address, self.second.address)
            self.assertEqual(await names.names_to_ids([b"alice"]), [ALICE])

    async def test_a_refusal_is_an_answer(self) -> None:
        """Nobody else is asked when a server says no."""
        self.first.refusal = PrError.PRPERM
        await self.refused(PrError.PRPERM, self.names.groups(ALICE))
        self.assertEqual(self.second.asked, [])

    async def test_too_few_answers(self) -> None:
        """A server that leaves answers out is not believed."""
        self.first.cut = 1
        self.assertEqual(await self.names.names_to_ids([b"alice", b"staff"]), [ALICE, STAFF])
        self.assertEqual(len(self.second.asked), 1)

    async def test_all_gone(self) -> None:
        """When none answers the last failure is raised, and they are found again when they are back."""
        self.first.refusal = self.second.refusal = UbikError.UNOQUORUM
        error = await self.refused(UbikError.UNOQUORUM, self.names.groups(ALICE))
        self.assertTrue(unavailable(error))
        self.first.refusal = None
        self.assertIn(STAFF, await self.names.groups(ALICE))

    async def test_a_new_key(self) -> None:
        """A ticket that is no good any more is tried once more over a new connection."""
        await self.names.groups(ALICE)
        self.assertEqual(len(self.first.connections), 1)
        self.first.refusal = RxkadError.RXKADUNKNOWNKEY
        await self.refused(RxkadError.RXKADUNKNOWNKEY, self.names.groups(ALICE))
        self.assertEqual(self.made, [self.first.address] * 2)
        self.first.refusal = None
        await self.names.groups(ALICE)

    async def refused(self, code: int, work: Any) -> RxError:
        try:
            await work
        except RxError as error:
            refusal = error
        else:
            self.fail("was answered")
        self.assertEqual(refusal.code, code)
        return refusal


class Codes(TestCase):
    def test_which_are_no_answers(self) -> None:
        """Silence and a lost quorum are no answers; refusals are, and bad tickets."""
        missing: Callable[[RxError], bool] = unavailable
        self.assertTrue(missing(CallLost(RxCode.RX_CALL_DEAD)))
        self.assertTrue(missing(Abort(-455)))
        self.assertFalse(missing(Abort(PrError.PRNOENT)))
        self.assertFalse(missing(Abort(RxkadError.RXKADEXPIRED)))
