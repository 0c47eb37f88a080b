"""What a vlserver says as a ubik site: its state to anybody, and to other copies no."""

from __future__ import annotations

from errno import ENOENT
from typing import Any

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from afs.errors import UbikError
from afs.rpc.ubik import DISK, VOTE, UbikInterfaceAddr, ubik_debug_old, ubik_tid, ubik_version
from rx.constants import RxgenCode
from rx.errors import Abort
from rx.security.interfaces import ANONYMOUS, Identity
from rx.service import Procedures as ServedProcedures
from rx.streams import BytesSource
from tests.vlserver.support import ADMIN, START, FakeCall, FakeConnection, Vldb, entry
from vlserver.ubik import NO_SERVER_KEY, REFUSALS, RIVALS, UNWRITTEN, Disk, Site, Vote

TID = ubik_tid(5, 6)
HOST = "192.0.2.10"
VOTE_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "Beacon": (1, 7, ubik_version(9, 9), TID),
    "DebugOld": (),
    "SDebugOld": (0,),
    "GetSyncSite": (0,),
    "Debug": (),
    "SDebug": (0,),
    "XDebug": (),
    "XSDebug": (0,),
}
DISK_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "Begin": (TID,),
    "Commit": (TID,),
    "Lock": (TID, 0, 1, 1, 1),
    "Write": (TID, 0, 0, b"data"),
    "GetVersion": (),
    "GetFile": (0,),
    "SendFile": (0, 4, ubik_version(9, 9)),
    "Abort": (TID,),
    "ReleaseLocks": (TID,),
    "Truncate": (TID, 0, 0),
    "Probe": (),
    "WriteV": (TID, (), b""),
    "UpdateInterfaceAddr": (UbikInterfaceAddr(),),
    "SetVersion": (TID, ubik_version(), ubik_version(9, 9)),
}
UNPRIVILEGED = {"Probe", "UpdateInterfaceAddr"}


class Call(FakeCall):
    """A call that came in by an address."""

    local = ("192.0.2.77", 7003)


class UbikTest(TestCase):
    """Both services of one vlserver in memory."""

    def setUp(self) -> None:
        self.vldb = Vldb()
        self.addresses = [HOST, "10.0.0.1"]
        doorkeeper = self.vldb.doorkeeper

        def is_administrator(call: Any) -> bool:
            try:
                doorkeeper.require_administrator(call)
            except Abort:
                return False
            return True

        self.site = Site(self.vldb.database, lambda: self.addresses, self.vldb.counters.total, is_administrator)

    async def call(
        self, kind: type[VOTE | DISK], name: str, arguments: tuple[Any, ...], identity: Identity = ANONYMOUS
    ) -> Any:
        """One RPC as the server would run it."""
        operation = next(each for each in kind.operations.values() if each.name == name)
        call: Any = Call(operation.opcode, FakeConnection(identity))
        instance: Any = Vote(self.site, call) if kind is VOTE else Disk(self.site, call)
        procedure = ServedProcedures(type(instance)).find(operation.opcode)
        return await procedure.function(instance, *arguments)

    async def code(self, *what: Any) -> int:
        """The code it is refused with, 0 when it is not."""
        try:
            await self.call(*what)
        except Abort as refusal:
            return refusal.code
        return 0

    async def test_vote(self) -> None:
        """Anybody may ask every RPC of VOTE; a beacon gets a vote against, and there is no other server to tell of."""
        self.assertEqual(set(VOTE_ARGUMENTS), {each.name for each in VOTE.operations.values()})
        for name, arguments in VOTE_ARGUMENTS.items():
            expected = ENOENT if "SDebug" in name else 0
            self.assertEqual(await self.code(VOTE, name, arguments), expected, name)
        self.assertEqual(self.vldb.store.revision, 0)

    async def test_disk_table(self) -> None:
        """Every RPC of DISK is in the table, and what the table does not refuse is served."""
        self.assertEqual(set(REFUSALS), {each.name for each in DISK.operations.values()})
        self.assertEqual(set(REFUSALS), set(DISK_ARGUMENTS))
        served = {each.operation.name for each in ServedProcedures(Disk)}
        self.assertEqual(served, {name for name, refusal in REFUSALS.items() if refusal is None})

    async def test_disk_without_key(self) -> None:
        """Without the cell's key DISK says whether the server is up, and that it knows no other."""
        for name, arguments in DISK_ARGUMENTS.items():
            expected = {"Probe": 0, "UpdateInterfaceAddr": UbikError.UBADHOST}.get(name, NO_SERVER_KEY)
            self.assertEqual(await self.code(DISK, name, arguments), expected, name)

    async def test_disk_with_key(self) -> None:
        """With the key the database is neither read nor changed."""
        for name, arguments in DISK_ARGUMENTS.items():
            code = await self.code(DISK, name, arguments, ADMIN)
            self.assertEqual(code == 0, name == "Probe", name)
            self.assertNotEqual(code, NO_SERVER_KEY)
        self.assertEqual(self.vldb.store.revision, 0)

    async def test_unknown_opcode(self) -> None:
        """An opcode that DISK does not have is left to the dispatcher."""
        Disk(self.site, Call(20014, FakeConnection(ANONYMOUS)))  # type: ignore[arg-type]
        with self.assertRaises(Abort) as caught:
            ServedProcedures(Disk).find(20014)
        self.assertEqual(caught.exception.code, RxgenCode.RXGEN_OPCODE)

    async def test_version(self) -> None:
        """The version grows with each change, not with refusals or time, and is that of an empty database at first."""
        self.assertEqual((await self.call(VOTE, "Debug", ())).localVersion, UNWRITTEN)
        versions = []
        for number in (1, 2, 2):
            await self.tried(number)
            self.vldb.time += 1
            found = (await self.call(VOTE, "Debug", ())).localVersion
            versions.append((found.epoch, found.counter))
        self.assertEqual(versions[1:], [versions[1]] * 2)
        self.assertLess(versions[0], versions[1])
        self.assertEqual(versions[0][0], int(START))

    async def tried(self, number: int) -> None:
        """Make an entry, or be refused because there is one."""
        try:
            await self.vldb.as_admin.CreateEntryN(entry(b"v%d" % number, (number, 0, 0)))
        except Abort as refusal:
            self.assertEqual(number, 2, refusal)

    async def test_state(self) -> None:
        """The state is that of the only server, with its addresses, its start and the calls it has had."""
        await self.vldb.as_anyone.GetAddrs(0, 0)
        self.vldb.time += 9
        state, is_clone = await self.call(VOTE, "XDebug", ())
        self.assertEqual((is_clone, state.amSyncSite, state.nServers), (0, 1, 1))
        self.assertEqual((state.now, state.epochTime, state.tidCounter), (int(START) + 9, int(START), 2))
        self.assertEqual(state.interfaceAddr[:3], (0xC000020A - (1 << 32), 0x0A000001, 0))
        old = await self.call(VOTE, "DebugOld", ())
        self.assertIsInstance(old, ubik_debug_old)
        self.assertEqual((old.now, old.localVersion), (state.now, state.localVersion))

    async def test_every_interface(self) -> None:
        """Of a server on all interfaces the address is told that was called."""
        self.addresses = ["0.0.0.0"]
        state = await self.call(VOTE, "Debug", ())
        self.assertEqual(state.interfaceAddr[:2], (0xC000024D - (1 << 32), 0))

    async def test_many_addresses(self) -> None:
        """More addresses than the form holds are cut off."""
        self.addresses = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(300)]
        self.assertEqual(len((await self.call(VOTE, "Debug", ())).interfaceAddr), 256)

    async def test_writing(self) -> None:
        """While a write is not durable yet, the state says so."""
        states = []

        async def write(work: Any, by: Any) -> Any:
            state = await self.call(VOTE, "Debug", ())
            states.append((state.activeWrite, state.anyWriteLocks))
            return await durable(work, by)

        durable = self.vldb.store.write
        self.patch(self.vldb.store, "write", write)
        await self.tried(1)
        state = await self.call(VOTE, "Debug", ())
        self.assertEqual([*states, (state.activeWrite, state.anyWriteLocks)], [(1, 1), (0, 0)])

    async def test_rivals(self) -> None:
        """A server that wants to be elected is mentioned in the log once, and no more than so many."""
        said: list[LogEvent] = []

        @implementer(ILogObserver)
        def observer(event: LogEvent) -> None:
            said.append(event)

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for number in [1, 1, *range(2, 2 * RIVALS)]:
            self.site.note_rival(f"10.0.0.{number}")
        hosts = [event["host"] for event in said if event.get("log_namespace") == "vlserver.ubik"]
        self.assertEqual(hosts, [f"10.0.0.{number}" for number in range(1, RIVALS + 1)])

    async def test_source_untouched(self) -> None:
        """The copy that SendFile brings is refused unread."""
        source = BytesSource(b"abcd")
        arguments = (*DISK_ARGUMENTS["SendFile"], source)
        self.assertEqual(await self.code(DISK, "SendFile", arguments, ADMIN), UbikError.USYNC)
        self.assertEqual(await source.read(4), b"abcd")
