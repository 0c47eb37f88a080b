"""The wire form of our own RPCs, proven from outside: a C program made by OpenAFS's rxgen from the published .xg."""

from __future__ import annotations

import shutil
from ipaddress import IPv4Network
from pathlib import Path
from subprocess import run
from typing import Any
from uuid import UUID

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from afs.rpc.partitions import VLPartitions
from afs.users import Authority, UserList
from rx.transport import RxPort
from tests.vlserver.support import entry
from vlserver.server import VLServer
from vlserver.store.memory import MemoryStore

HERE = Path(__file__).parent
XG = HERE.parents[1] / "docs" / "protocol" / "partitions.xg"
SOURCE = HERE / "partitions_client.c"
EXPECTED = HERE / "partitions_client.expected"
RXGEN = (("-h", "partitions.h"), ("-C", "partitions.cs.c"), ("-c", "partitions.xdr.c"))
S, T, P = UUID(int=0x501), UUID("80000502-8001-8002-8003-ff00fe80fd01"), UUID("f0000001-fff2-4003-bf04-0506f7f8f9fa")
ANY_REACTOR: Any = reactor
HOME = "127.0.0.1"


def build(directory: Path) -> Path:
    """The program, made in a directory. Raises CalledProcessError."""
    for name in ("afsconfig.h", "roken.h"):  # what rxgen's output includes and libopenafs-dev does not have
        (directory / name).touch()
    for switch, name in RXGEN:
        run(["rxgen", "-A", switch, "-o", str(directory / name), str(XG)], check=True, capture_output=True)
    program = directory / "partitions_client"
    sources = [str(SOURCE), *(str(directory / name) for _, name in RXGEN if name.endswith(".c"))]
    options = ["-DAFS_PTHREAD_ENV", f"-I{directory}", "-w", "-o", str(program)]
    run(["gcc", *options, *sources, "-lafsrpc", "-lpthread"], check=True, capture_output=True)
    return program


def now() -> float:
    """The server's clock, so that replies are the same every time."""
    return 1_000_000.0


class WireTest(TestCase):
    """The program against our vlserver."""

    if not (shutil.which("rxgen") and shutil.which("gcc") and Path("/usr/include/rx/rx.h").exists()):
        skip = "needs gcc and libopenafs-dev (scripts/install-test-prerequisites)"
    timeout = 180

    async def setUp(self) -> None:  # type: ignore[override]
        directory = Path(self.mktemp())
        directory.mkdir()
        self.program = build(directory)
        authority = Authority(UserList(), noauth=True, noauth_from=[IPv4Network(f"{HOME}/32")])
        self.server = VLServer(MemoryStore(now), [RxPort(ANY_REACTOR, HOME, 0)], authority, now)
        uuids = iter(range(1, 9))
        self.server.database.new_uuid = lambda: UUID(int=next(uuids))
        self.server.startService()
        self.addCleanup(self.server.stopService)
        client = RxPort(ANY_REACTOR, HOME, 0)
        client.start()
        self.addCleanup(client.stop)
        self.vl = VLPartitions.client(client.connect(self.server.ports[0].address, VLPartitions.service_id))

    async def test_every_rpc(self) -> None:
        """Each RPC is understood and its reply read, field by field, by a program that has only the description."""
        await self.vl.RegisterAddrs(S, 0, (0x7F000001,))
        await self.vl.RegisterAddrs(T, 0, (0x0A000002,))
        await self.vl.CreateEntryN(entry(b"stock", (60, 0, 0), [("10.0.0.2", 4, 4)]))
        await self.vl.CreateEntryN(entry(b"other", (70, 71, 72), [("10.0.0.2", 4, 2), ("127.0.0.1", 7, 4)]))
        port = str(self.server.ports[0].address[1])
        words = [HOME, port, str(S), str(T), str(P), "other"]
        out, err, code = await getProcessOutputAndValue(str(self.program), words)
        self.assertEqual((code, err), (0, b""))
        self.assertEqual(out.decode().splitlines(), EXPECTED.read_text().splitlines())
