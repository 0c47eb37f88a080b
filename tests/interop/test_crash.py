"""kill -9 of our fileserver in the middle of writes loses nothing that was answered."""

from __future__ import annotations

import random
import re
import signal
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, gatherResults

from afs.client import FileClient
from afs.types import AFSFid
from fileserver.volume.durability import Sync
from rx.errors import CallLost
from tests.interop.case import InteropTest
from tests.interop.namespaces import Node
from tests.interop.ours import OurServers
from tests.interop.salvage import OLD_STATUS, findings
from tests.interop.stock import add_node
from tests.support.budget import budget

WRITERS = 4
FILES = 8
"""Files of each writer."""
BLOCK = 40_000
"""Bytes of one store: several packets, so that a kill may fall into one."""
DEAD_SECONDS = 3.0
"""When a writer takes the killed server for dead."""

ORPHANS = re.compile(r"Found \d+ orphaned files and directories \(approx. \d+ KB\)$")
"""A file whose creation or removal was cut off between its directory entry and its record, and so never answered.
Recovery keeps it, as the stock salvager does unless it is told to remove orphans.
"""
STOCK_REPAIRS = re.compile(
    rf"{OLD_STATUS.pattern}|Vnode \d+: length incorrect; changed from \d+ to \d+$|{ORPHANS.pattern}"
)
"""What the salvager repairs after stock servers died in the middle of these same writes, and what no order of two
writes prevents.
"""


@dataclass
class Record:
    """What one writer knows of one file: the last store that was answered, and one that may or may not be there."""

    fid: AFSFid
    answered: bytes = b""
    in_doubt: bytes | None = None


@dataclass
class Writer:
    """Stores new content over its files, in turn, until the server dies, and makes names as it goes."""

    client: FileClient
    name: str
    random: random.Random
    records: list[Record] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    stores: int = 0

    async def run(self) -> None:
        """Ends when the server is lost."""
        try:
            await self.client.mkdir(f"/{self.name}")
            while True:
                await self._step()
        except CallLost:
            return

    async def _step(self) -> None:
        if len(self.records) < FILES:
            self.records.append(Record(await self.client.create(f"/{self.name}/file{len(self.records)}")))
        record = self.random.choice(self.records)
        content = b"%d of %s " % (self.stores, self.name.encode()) + self.random.randbytes(self.random.randrange(BLOCK))
        record.in_doubt = content
        await self.client.store(record.fid, content, 0, len(content))
        record.answered, record.in_doubt = content, None
        self.stores += 1
        if self.stores % 5 == 0:
            name = f"/{self.name}/made{self.stores}"
            await self.client.create(name)
            self.names.append(name)


class CrashTests(InteropTest):
    """Our servers on fs1, our clients on ca."""

    async def test_answered_stores_survive(self) -> None:
        """After a restart every store and every name that was answered is there, whatever the `--sync` mode, and the
        stock salvager is content.
        """
        chosen = budget("interop.crash", full=50, least=1)
        network = self.new_network()
        servers = OurServers(network)
        servers.vos("create", "fs1", "a", "written", "-maxquota", "0").check()
        administrator = self._client(servers.node)
        await administrator.set_acl("/", {"system:anyuser": "rlidwk", "system:administrators": "rlidwka"})
        node = add_node(network, "ca")
        for turn in range(chosen.count):
            seed = random.Random(chosen.seed + turn)
            servers.fileserver.stop(signal.SIGTERM)
            servers.fileserver = servers.start_fileserver("--sync", seed.choice([*Sync]).value)
            client = self._client(node)
            writers = [
                Writer(client, f"turn{turn}w{number}", random.Random(seed.random())) for number in range(WRITERS)
            ]
            await self._kill_in_the_middle(servers, writers, least=seed.randrange(20, 200))
            crashed = findings(servers.node)
            self.assertEqual([line for line in crashed if not STOCK_REPAIRS.match(line)], [])
            servers.fileserver = servers.start_fileserver()
            await self._everything_is_there(self._client(node), writers)
        servers.stop()
        self.assertEqual([line for line in findings(servers.node) if not ORPHANS.match(line)], [])

    async def _kill_in_the_middle(self, servers: OurServers, writers: list[Writer], least: int) -> None:
        """Kill the fileserver at the first moment when `least` stores were answered and another is on its way."""
        running = [Deferred.fromCoroutine(writer.run()) for writer in writers]
        await self.until(lambda: sum(writer.stores for writer in writers) >= least)
        servers.fileserver.stop(signal.SIGKILL)
        await gatherResults(running)

    async def _everything_is_there(self, client: FileClient, writers: list[Writer]) -> None:
        for writer in writers:
            self.assertTrue(writer.records)
            for record in writer.records:
                content = await client.read_file(record.fid)
                self.assertTrue(
                    _explained(content, record), f"{_told(content, record)} in {record.fid} of {writer.name}"
                )
            present = await client.list_directory(f"/{writer.name}")
            missing = [name for name in writer.names if name.rpartition("/")[2].encode() not in present]
            self.assertEqual(missing, [])

    def _client(self, node: Node) -> FileClient:
        client = self.own_client(node, dead_seconds=DEAD_SECONDS)
        client.root_volume = b"written"
        return client


def _explained(content: bytes, record: Record) -> bool:
    """Whether the answered store, or some of the one in doubt over it, explains what is there.

    A store first cuts the file to its new length, then writes from the front, in pieces that may end beyond the old
    length; what it cut off may read as zeros.
    """
    if content == record.answered or record.in_doubt is None:
        return content == record.answered
    old, new = record.answered, record.in_doubt
    if len(old) < len(content) < len(new):
        return new.startswith(content)
    if len(content) not in (len(old), len(new)):
        return False
    written = next((at for at, pair in enumerate(zip(content, new, strict=False)) if pair[0] != pair[1]), len(content))
    written = min(written, len(new))
    kept = old[: len(new)].ljust(len(old), b"\0")
    return content[written:] in (old[written : len(content)], kept[written : len(content)])


def _told(content: bytes, record: Record) -> str:
    """What is there and what was expected, for whoever reads a failure."""
    expected = [("answered", record.answered), ("in doubt", record.in_doubt)]
    return f"{len(content)} bytes {content[:20]!r}, " + ", ".join(
        f"{what} {len(wanted)} bytes {wanted[:20]!r}" for what, wanted in expected if wanted is not None
    )
