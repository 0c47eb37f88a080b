"""The vlserver on a real UDP port, and the command line that starts it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from afs.errors import VLError
from afs.rpc.vl import VL, VldbListByAttributes
from afs.users import Authority, UserList
from rx.constants import RxCode, RxgenCode
from rx.errors import Abort, CallLost
from rx.service import Service, rpc
from rx.transport import RxPort
from tests.vlserver.support import entry, uip
from vlserver.server import VLServer
from vlserver.store import open_store
from vlserver.tap import Options, makeService

ROOT = str(Path(__file__).parents[2])
SERVER = UUID(int=0x123456 << 64)
ANY_REACTOR: Any = reactor


class Reserved(Service, service_id=52):
    """Opcodes that VL reserves and does not serve, and one of ours that does not exist."""

    @rpc(526)
    async def GetEntryByIDU(self) -> None:
        """Reserved number."""

    @rpc(70000)
    async def Nonsense(self) -> None:
        """No such opcode."""


class ServedTest(TestCase):
    """Our own client and server over loopback."""

    def setUp(self) -> None:
        self.url = f"sqlite:///{self.mktemp()}"
        self.vlserver = self.started(noauth=True)
        self.port = RxPort(ANY_REACTOR, "127.0.0.1")
        self.port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.stop()))
        self.vl = VL.client(self.connection())

    async def stop(self) -> None:
        """The client, then the server."""
        await self.port.stop()
        await self.vlserver.stopService()

    def started(self, noauth: bool, port: int = 0) -> VLServer:
        """A vlserver on the test's database."""
        store = open_store(self.url, ANY_REACTOR, time.time)
        authority = Authority(UserList(), noauth=noauth, own=[])
        vlserver = VLServer(store, [RxPort(ANY_REACTOR, "127.0.0.1", port)], authority, time.time)
        vlserver.privilegedStartService()
        vlserver.startService()
        return vlserver

    def connection(self) -> Any:
        """A connection to it."""
        return self.port.connect(self.vlserver.ports[0].address, VL.service_id, dead_seconds=10)

    async def refused(self, code: int, answer: Any) -> None:
        """The call must end in this abort."""
        with self.assertRaises(Abort) as caught:
            await answer
        self.assertEqual(caught.exception.code, code)

    async def test_entries(self) -> None:
        """An entry is created, found in each form, listed, locked and deleted over the wire."""
        await self.vl.RegisterAddrs(SERVER, 0, (uip("10.0.0.1"),))
        volume_id = await self.vl.GetNewVolumeId(1)
        written = entry(ids=(volume_id, 0, 0))
        await self.vl.CreateEntryN(written)
        self.assertEqual(await self.vl.GetEntryByNameN(b"vol"), written)
        self.assertEqual((await self.vl.GetEntryByNameU(b"vol")).serverNumber[0], SERVER)
        _, listed, _ = await self.vl.ListAttributesN2(VldbListByAttributes(), b"", 0)
        self.assertEqual([each.name for each in listed], [b"vol"])
        await self.vl.SetLock(volume_id, 0, 0x10)
        await self.refused(VLError.VL_ENTRYLOCKED, self.vl.SetLock(volume_id, 0, 0x10))
        await self.vl.DeleteEntry(volume_id, 0)
        await self.refused(VLError.VL_NOENT, self.vl.GetEntryByNameU(b"vol"))

    async def test_unknown_opcodes(self) -> None:
        """Reserved and unknown opcodes answer RXGEN_OPCODE, and another service is refused; the server goes on."""
        reserved = Reserved.client(self.connection())
        await self.refused(RxgenCode.RXGEN_OPCODE, reserved.GetEntryByIDU())
        await self.refused(RxgenCode.RXGEN_OPCODE, reserved.Nonsense())
        other = VL.client(self.port.connect(self.vlserver.ports[0].address, 99, dead_seconds=10))
        with self.assertRaises((Abort, CallLost)) as caught:
            await other.ProbeServer()
        self.assertEqual(caught.exception.code, RxCode.RX_INVALID_OPERATION)
        await self.vl.ProbeServer()

    async def test_big_listing(self) -> None:
        """A page of 500 entries, 238 KB, arrives whole; so do 600 entries in one unpaged list."""
        for number in range(1, 601):
            await self.vl.CreateEntryN(entry(b"v%d" % number, (number, 0, 0)))
        count, listed, following = await self.vl.ListAttributesN2(VldbListByAttributes(), b"", 0)
        self.assertEqual((count, len(listed), listed[-1].name), (500, 500, b"v500"))
        count, rest, following = await self.vl.ListAttributesN2(VldbListByAttributes(), b"", following)
        self.assertEqual((count, len(rest), following), (100, 100, -1))
        count, whole = await self.vl.ListAttributesN(VldbListByAttributes())
        self.assertEqual((count, [each.name for each in whole]), (600, [each.name for each in (*listed, *rest)]))

    async def test_restart(self) -> None:
        """Stopped and started again on its port, the server has every entry, and the same client goes on."""
        await self.vl.CreateEntryN(entry())
        address = self.vlserver.ports[0].address
        await self.vlserver.stopService()
        self.vlserver = self.started(noauth=True, port=address[1])
        fresh = VL.client(self.connection())
        self.assertEqual(await fresh.GetEntryByNameN(b"vol"), entry())

    async def test_anonymous(self) -> None:
        """Without --noauth an anonymous caller reads and changes nothing."""
        await self.vl.CreateEntryN(entry())
        await self.vlserver.stopService()
        self.vlserver = self.started(noauth=False)
        anonymous = VL.client(self.connection())
        await self.refused(VLError.VL_PERM, anonymous.DeleteEntry(100, 0))
        self.assertEqual((await anonymous.GetEntryByNameN(b"vol")).name, b"vol")

    async def test_port_in_use(self) -> None:
        """A port that is taken is named."""
        with self.assertRaisesRegex(CannotListenError, str(self.vlserver.ports[0].address[1])):
            RxPort(ANY_REACTOR, *self.vlserver.ports[0].address).start()

    async def test_store_fails(self) -> None:
        """When the database cannot be written the call answers VL_IO and the server goes on."""
        await self.vl.CreateEntryN(entry())
        store: Any = self.vlserver.database.store
        store._writing.execute("PRAGMA query_only = ON")
        await self.refused(VLError.VL_IO, self.vl.DeleteEntry(100, 0))
        store._writing.execute("PRAGMA query_only = OFF")
        await self.vl.DeleteEntry(100, 0)


class OptionsTest(SynchronousTestCase):
    """The command line."""

    def parsed(self, *words: str) -> Options:
        """The options these words give."""
        options = Options()
        options.parseOptions(words)
        return options

    def test_defaults(self) -> None:
        """Without options: the system's configuration directory, database and port, and authentication."""
        options = self.parsed()
        self.assertEqual(options["config"], "/etc/openafs/server")
        self.assertEqual(options["database"], "sqlite:////var/lib/txafs/vldb.sqlite")
        self.assertEqual((options["port"], options["address"], options["noauth"]), (7003, [], 0))

    def test_given(self) -> None:
        """Addresses and networks repeat."""
        options = self.parsed(
            "--noauth", "--address", "10.0.0.1", "--address", "10.0.0.2", "--noauth-from", "10.0.0.0/8", "--port", "99"
        )
        self.assertEqual(options["address"], [IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")])
        self.assertEqual((options["noauth-from"], options["port"]), ([IPv4Network("10.0.0.0/8")], 99))

    def test_refused(self) -> None:
        """What cannot be is refused with the reason."""
        for words, reason in (
            (("--address", "host"), "'host' is not an IPv4 address"),
            (("--noauth", "--noauth-from", "10.0.0.1/8"), "is not an IPv4 network"),
            (("--noauth-from", "10.0.0.0/8"), "without --noauth"),
            (("--port", "70000"), "not a UDP port"),
            (("--port", "x"), "invalid literal"),
            (("--log-level", "loud"), "log-level|one of"),
            (("--restricted_query", "nobody"), "anyuser or admin"),
        ):
            with self.assertRaisesRegex(UsageError, reason):
                self.parsed(*words)

    def test_restricted_query(self) -> None:
        """Who may list is told as stock is told; by default it is anybody."""
        self.assertEqual(self.parsed()["restricted_query"], "anyuser")
        for word in ("anyuser", "admin"):
            self.assertEqual(self.parsed("--restricted_query", word)["restricted_query"], word)

    def test_bad_database(self) -> None:
        """A database that cannot be had ends the program with one line."""
        for url in ("nonsense", "sqlite:////dev/null/x"):
            with self.assertRaisesRegex(SystemExit, r"^afs-vlserver: .*(URL|cannot open).*$"):
                makeService(self.parsed("--config", ".", "--database", url))

    def test_no_configuration(self) -> None:
        """A configuration directory that is not there ends the program with one line, and no database is made."""
        database = Path(self.mktemp())
        with self.assertRaisesRegex(SystemExit, r"^afs-vlserver: /nowhere: no such directory$"):
            makeService(self.parsed("--config", "/nowhere", "--database", f"sqlite:///{database}"))
        self.assertFalse(database.exists())


class _Command(ProcessProtocol):
    """Collects what a program prints."""

    def __init__(self) -> None:
        self.ended: Deferred[int | None] = Deferred()
        self.printed: Deferred[None] = Deferred()
        self.text = ""

    def outReceived(self, data: bytes) -> None:
        self.text += data.decode()
        if "serving VL on" in self.text and not self.printed.called:
            self.printed.callback(None)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        reason.trap(ConnectionDone, ProcessTerminated)
        error: Any = reason.value
        if not self.printed.called:
            self.printed.callback(None)
        self.ended.callback(error.exitCode)


class CommandTest(TestCase):
    """`twistd -n afs-vlserver` as a process."""

    timeout = 180

    def run_command(self, *words: str) -> tuple[_Command, Any]:
        """Start it on a database of its own."""
        command = _Command()
        database = f"sqlite:///{Path(self.mktemp()).absolute()}"
        config = Path(self.mktemp())
        config.mkdir()
        arguments = ["-n", "--pidfile=", "afs-vlserver", "--config", str(config), "--database", database, *words]
        program = "from twisted.scripts.twistd import run; run()"
        process = reactor.spawnProcess(
            command,
            sys.executable,
            [sys.executable, "-c", program, *arguments],
            env=os.environ | {"PYTHONPATH": ROOT},
        )
        return command, process

    async def test_clean_end(self) -> None:
        """It serves; SIGTERM stops its services before twistd ends by that signal."""
        command, process = self.run_command("--noauth", "--address", "127.0.0.1", "--port", "0")
        await command.printed
        self.assertIn("serving VL on 127.0.0.1:", command.text)
        self.assertIn("NO AUTHENTICATION", command.text)
        number = int(command.text.partition("serving VL on 127.0.0.1:")[2].split()[0])
        port = RxPort(ANY_REACTOR, "127.0.0.1")
        port.start()
        await VL.client(port.connect(("127.0.0.1", number), VL.service_id, dead_seconds=10)).ProbeServer()
        await port.stop()
        process.signalProcess(signal.SIGTERM.name.removeprefix("SIG"))
        self.assertEqual(await command.ended, None)
        self.assertIn("Server Shut Down.", command.text)
        self.assertNotIn("Traceback", command.text)

    async def test_restricted_query(self) -> None:
        """With --restricted_query admin somebody without a key is refused a listing, and looks entries up."""
        command, process = self.run_command("--restricted_query", "admin", "--address", "127.0.0.1", "--port", "0")
        await command.printed
        number = int(command.text.partition("serving VL on 127.0.0.1:")[2].split()[0])
        port = RxPort(ANY_REACTOR, "127.0.0.1")
        port.start()
        vl = VL.client(port.connect(("127.0.0.1", number), VL.service_id, dead_seconds=10))
        for answer, code in (
            (vl.ListAttributesN2(VldbListByAttributes(), b"", 0), VLError.VL_PERM),
            (vl.GetEntryByNameU(b"vol"), VLError.VL_NOENT),
        ):
            with self.assertRaises(Abort) as caught:
                await answer
            self.assertEqual(caught.exception.code, code)
        await port.stop()
        process.signalProcess("TERM")
        await command.ended

    async def test_port_in_use(self) -> None:
        """A port in use is one line that names it, without a traceback, and exit status 1."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            number = str(taken.getsockname()[1])
            command, _ = self.run_command("--address", "127.0.0.1", "--port", number)
            self.assertEqual(await command.ended, 1)
        complaints = [line for line in command.text.splitlines() if line.startswith("afs-vlserver:")]
        self.assertEqual(len(complaints), 1, command.text)
        self.assertIn(number, complaints[0])
        self.assertNotIn("Traceback", command.text)
