"""Cells for volumes on their way: two fileservers with two partitions each."""

from __future__ import annotations

import os
import random
from typing import Any

from twisted.trial.unittest import TestCase

from afs.rpc.volser import ITBusy
from rx.streams import Buffer
from tests.interop.namespaces import Network, Result
from tests.interop.ours import start_plugin, wait_until_said
from tests.interop.stock import add_node
from tests.support.cell import start_cell

PARTITIONS = ("a", "b")
SERVERS = ("fs1", "fs2")
LARGE = 300_000
MANY = 40
"""Bytes of a file, and files in a directory: several packets of each, and quickly dumped."""


class OurDataCell:
    """Our vlserver on fs1, our fileservers on fs1 and fs2. The cell's key makes an administrator."""

    def __init__(self, network: Network, *options: str) -> None:
        self.network = network
        self.key = os.urandom(32)
        self.nodes = {name: add_node(network, name, key=self.key, partitions=PARTITIONS) for name in SERVERS}
        self.node = self.nodes["fs1"]
        self._options = options
        database = f"sqlite:///{self.node.home}/vldb.sqlite"
        self.vlserver = start_plugin(self.node, "afs-vlserver", "--address", self.node.address, "--database", database)
        wait_until_said(self.vlserver, "serving VL")
        self.fileservers = {name: self.start(name) for name in SERVERS}
        for name in SERVERS:
            self.ready(name)

    def start(self, name: str) -> Any:
        """Start a fileserver there."""
        node = self.nodes[name]
        places = [word for letter in PARTITIONS for word in ("--partition", f"/vicep{letter}")]
        options = ["--address", node.address, "--state", str(node.home / "state"), "--protection", "none"]
        return start_plugin(node, "afs-fileserver", *options, *places, *self._options)

    def ready(self, name: str) -> None:
        """Wait until it is registered and its volume server serves."""
        wait_until_said(self.fileservers[name], "serving AFSVol")

    def vos(self, *words: str) -> Result:
        """Stock vos with the cell's key."""
        return self.node.run_now("vos", *words, "-localauth")


async def some_dump(case: TestCase) -> bytes:
    """A dump of a volume that holds some of everything, made by servers in this process."""
    cell = await start_cell(case)
    volume = await cell.create_volume(b"given")
    client = cell.client()
    client.root_volume = b"given"
    await client.set_acl("/", {"system:administrators": "all", "system:anyuser": "read"})
    await client.write_file("/large", random.Random(0).randbytes(LARGE))
    await client.mkdir("/directory")
    for number in range(MANY):
        await client.write_file(f"/directory/file-{number}", b"%d" % number)
    await client.symlink(b"directory/file-1", "/link")
    volser = client.volser((str(cell.fileservers[0].address), cell.fileservers[0].volser_port))
    trans = await volser.TransCreate(volume, 0, ITBusy)
    stream = Buffer()
    await volser.Dump(trans, 0, stream)
    await volser.EndTrans(trans)
    return bytes(stream)
