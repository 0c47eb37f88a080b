"""What one of our servers puts right on its disks, as stock programs see it: sites, broken restores, salvages."""

from __future__ import annotations

import os
import re
import sys
from ipaddress import IPv4Address

from twisted.internet.threads import deferToThread

from afs.client import FileClient
from afs.errors import VolumeError
from afs.rpc.vl import VLSF_ROVOL
from rx.errors import Abort
from tests.fileserver.salvager.damages import files
from tests.interop.case import InteropTest
from tests.interop.namespaces import CHECKOUT, Node, Result
from tests.interop.salvage import findings
from tests.interop.stock import add_node, key_file_ext, start_database, start_fileserver, stop_fileserver
from tests.interop.test_within_server import TwoPartitions

RWVOL = 0
"""The kind of a volume id."""

FILES = 40
SIZE = 30_000
DUMP = "/var/log/openafs/dump"
"""In the node."""


class RepairTests(InteropTest):
    """Node fs1 with two partitions."""

    async def test_one_server(self) -> None:
        """Read-only sites of a volume on both partitions of a server are released to alike. A restore that broke off
        leaves a volume that clients may ask for and that can be restored again. What our salvager has repaired
        while nobody served it a stock server attaches and serves.
        """
        network = self.new_network()
        self.node = add_node(network, "fs1", partitions=("a", "b"))
        self.servers = await deferToThread(TwoPartitions, network, self.node)
        client = self.own_client(self.node)
        await self.vos("create", "fs1", "a", "plants", "-maxquota", "0")
        client.root_volume = b"plants"
        await client.set_acl("/", {"system:anyuser": "rlidwk", "system:administrators": "rlidwka"})
        await client.mkdir("/beds")
        contents = {f"/beds/{number}": os.urandom(SIZE) for number in range(FILES)}
        for path, content in contents.items():
            await client.write_file(path, content)
        await self.sites(client)
        await self.restored_again(client, contents)
        await self.repaired(client, contents)

    async def vos(self, *words: str) -> str:
        return (await deferToThread(self.servers.vos, *words)).check().out

    async def sites(self, client: FileClient) -> None:
        """One on each partition. Stock vos refuses to make a second on a server, and releases to it all the same."""
        await self.vos("addsite", "fs1", "a", "plants")
        vl = client.vl((self.node.address, 7003))
        entry = await vl.GetEntryByNameN(b"plants")
        self.assertEqual(entry.nServers, 2)
        entry.nServers = 3
        for field, value in (
            ("serverNumber", int(IPv4Address(self.node.address))),
            ("serverPartition", 1),
            ("serverFlags", VLSF_ROVOL),
        ):
            values = list(getattr(entry, field))
            values[2] = value
            setattr(entry, field, tuple(values))
        await vl.ReplaceEntryN(entry.volumeId[0], RWVOL, entry, 0)
        for turn in range(2):
            await client.write_file("/turn", b"%d" % turn)
            await self.vos("release", "plants")
            updates = set()
            for partition in ("a", "b"):
                listed = await self.vos("listvol", "fs1", partition, "-long")
                (update,) = re.findall(r"plants\.readonly .*?Last Update ([^\n]*)", listed, re.DOTALL)
                updates.add(update)
            self.assertEqual(len(updates), 1)
            reader = self.own_client(self.node)
            reader.root_volume = b"plants.readonly"
            self.assertEqual(await reader.read_file("/turn"), b"%d" % turn)
        examined = await self.vos("examine", "plants")
        self.assertEqual(len(re.findall(r"partition /vicep[ab] RO Site", examined)), 2, examined)

    async def restored_again(self, client: FileClient, contents: dict[str, bytes]) -> None:
        """Over a volume that is there, from a file that ends too early; with and without a client in between."""
        await self.vos("dump", "plants", "-file", DUMP)
        dump = self.node.path(DUMP)
        whole = dump.read_bytes()
        for asks in (False, True):
            dump.write_bytes(whole[: len(whole) // 2])
            restored = await deferToThread(self.restore)
            self.assertNotEqual(restored.status, 0)
            if asks:  # half a volume is not served
                with self.assertRaises(Abort) as refused:
                    await client.list_directory("/")
                self.assertEqual(refused.exception.code, VolumeError.VNOVOL)
            dump.write_bytes(whole)
            (await deferToThread(self.restore)).check()
            for path, content in contents.items():
                self.assertEqual(await client.read_file(path), content)

    def restore(self) -> Result:
        return self.servers.vos("restore", "fs1", "a", "plants", "-file", DUMP, "-overwrite", "full")

    async def repaired(self, client: FileClient, contents: dict[str, bytes]) -> None:
        """A directory and the index of files lose a page each."""
        await client.stop()
        await deferToThread(self.servers.stop)
        partition = str(self.node.path("/vicepa"))
        found = files(partition)
        (index,) = [path for path in found["SMALL_INDEX"] if os.path.getsize(path) > FILES * 64][:1]
        beds = max(found["directory"], key=os.path.getsize)
        for path in (index, beds):
            with open(path, "r+b") as file:
                file.seek(2048)
                file.write(bytes(1024))
        salvager = [sys.executable, "-m", "fileserver.salvager", "/vicepa"]
        environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", str(CHECKOUT))}
        said = await deferToThread(run_with, self.node, salvager, environment)
        self.assertEqual(said.status, 1, said.out + said.err)
        self.assertEqual([line for line in findings(self.node) if "CHECKING CLONED VOLUME" not in line], [])
        (self.node.home / "etc-openafs/server/KeyFileExt").write_bytes(key_file_ext(os.urandom(32)))
        start_database(self.node)
        stock = await deferToThread(start_fileserver, self.node)
        self.node.run_now("vos", "syncvldb", "fs1", "-localauth").check()
        reader = self.own_client(self.node)
        reader.root_volume = b"plants"
        listed = await reader.list_directory("/")
        self.assertIn(b"turn", listed)
        names = [name for name in await reader.list_directory("/beds") if name not in (b".", b"..")]
        kept = [name.decode() for name in names if f"/beds/{name.decode()}" in contents]
        self.assertGreater(len(kept), FILES // 4)
        for name in kept:
            self.assertEqual(await reader.read_file(f"/beds/{name}"), contents[f"/beds/{name}"])
        stop_fileserver(stock)


def run_with(node: Node, command: list[str], environment: dict[str, str]) -> Result:
    """A program of ours to its end."""
    words = ["env", *(f"{name}={value}" for name, value in environment.items()), *command]
    return node.run_now(*words, seconds=120)
