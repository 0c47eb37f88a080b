"""Cells of stock fileservers on fs1 and fs2 that differ in their vlserver alone: stock's, or ours."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from afs.keys import Key, KeyKind, local_token
from afs.rpc.partitions import VLPartitions
from rx.security.rxkad import Level, RxkadClient
from rx.transport import RxPort
from tests.interop.case import InteropTest
from tests.interop.namespaces import SUBNET, Daemon, Network, Node, NodeFailed, Result
from tests.interop.ours import start_plugin, wait_until_said
from tests.interop.stock import (
    AES256,
    CELL,
    DATABASE_PORTS,
    add_node,
    address_of,
    start_database,
    start_fileserver,
    stop_fileserver,
    wait_for_quorum,
)

SERVERS = ("fs1", "fs2")
PARTITIONS = {"fs1": ("a", "b"), "fs2": ("a", "b", "c")}
SPARE = ("fs2", "c")
"""A place for a partition that comes from elsewhere: not attached while it has a file of this name."""
NEVER_ATTACH = "NeverAttach"
SYSID = "/var/lib/openafs/local/sysid"
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{2}-[0-9a-f]{2}-[0-9a-f]{12}\b")
"""As vos prints one."""


class VldbCell:
    """The vlserver on fs1; `vos` there, with the cell's key."""

    def __init__(self, network: Network, start_vlserver: Callable[[Node], Daemon]) -> None:
        self.network = network
        self.key = os.urandom(32)
        self.nodes = {name: add_node(network, name, key=self.key, partitions=PARTITIONS[name]) for name in SERVERS}
        self.node = self.nodes["fs1"]
        (self.partition(*SPARE) / NEVER_ATTACH).touch()
        ptserver = self.node.start("ptserver", ["/usr/lib/openafs/ptserver"])
        self.vlserver = start_vlserver(self.node)
        wait_for_quorum(self.node, ptserver, DATABASE_PORTS["ptserver"])
        self.fileservers: dict[str, dict[str, Daemon]] = {}
        for name in SERVERS:
            self.start(name)
        self.uuids = {name: self.uuid(name) for name in SERVERS}

    def vos(self, *words: str, stdin: str = "") -> Result:
        """Stock vos -localauth. {fs1} and {fs2} stand for the UUIDs that the servers registered first."""
        filled = [word.format(**self.uuids) if "{" in word else word for word in words]
        return self.node.run_now("vos", *filled, "-localauth", stdin=stdin)

    def start(self, name: str) -> None:
        """Start the fileserver there. It has tried to register then."""
        self.fileservers[name] = start_fileserver(self.nodes[name])

    def stop(self, name: str) -> None:
        """Shut it down."""
        stop_fileserver(self.fileservers.pop(name))

    def restart(self, name: str) -> None:
        """Shut it down and start it."""
        self.stop(name)
        self.start(name)

    def partition(self, name: str, letter: str) -> Path:
        """The host's way to a partition."""
        return self.nodes[name].home / f"vicep{letter}"

    def move_disk(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        """What is on a partition is on another one of another server, as if its disk had been carried there."""
        old, new = self.partition(*source), self.partition(*target)
        for path in new.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in old.iterdir():
            path.replace(new / path.name)
        (old / NEVER_ATTACH).touch()

    def add_address(self, name: str, number: str) -> None:
        """One more of the machine's addresses, which the fileserver sees when it starts."""
        self.nodes[name].run_now("ip", "addr", "add", f"{SUBNET}.{number}/24", "dev", "eth0").check()

    def remove_address(self, name: str, number: str) -> None:
        """One less."""
        self.nodes[name].run_now("ip", "addr", "del", f"{SUBNET}.{number}/24", "dev", "eth0").check()

    def list_database_servers(self, *names: str) -> None:
        """Tell programs on fs1 that these have the databases. fs1 alone has."""
        lines = [f">{CELL} #test", *(f"{address_of(name)} #{name}" for name in names)]
        for directory in ("etc-openafs", "etc-openafs/server"):
            (self.node.home / directory / "CellServDB").write_text("\n".join(lines) + "\n")

    def copy_identity(self, source: str, target: str) -> None:
        """What happens when a machine is cloned from another one's image."""
        self.nodes[target].path(SYSID).write_bytes(self.nodes[source].path(SYSID).read_bytes())

    def registration(self, name: str) -> list[str]:
        """What a fileserver's log says of its registration."""
        lines = (self.nodes[name].home / "log/FileLog").read_text().splitlines()
        return [line[25:] for line in lines if "VL_RegisterAddrs" in line or "conflict" in line or "egister" in line]

    def uuid(self, name: str) -> str:
        """A server's, as vos prints it."""
        found = UUID.search(self.vos("listaddrs", "-host", address_of(name), "-printuuid").check().out)
        if found is None:
            raise NodeFailed(f"{name} has not registered")
        return found[0]


def stock_vlserver(node: Node) -> Daemon:
    """Start stock's."""
    return start_database(node, ["vlserver"])["vlserver"]


def our_vlserver(node: Node) -> Daemon:
    """Start ours on the same configuration, and wait until it answers."""
    options = ["--address", node.address, "--database", f"sqlite:///{node.home}/vldb.sqlite"]
    daemon = start_plugin(node, "afs-vlserver", *options)
    wait_until_said(daemon, "serving VL")
    return daemon


class VldbCase(InteropTest):
    """A test that calls the vlserver itself, beside vos."""

    def administrator(self, node: Node, key: bytes) -> Any:
        """Calls with the cell's key from the vlserver's node."""
        any_reactor: Any = reactor
        port = RxPort(any_reactor, node.address)
        with node.inside():
            port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop()))
        security = RxkadClient(local_token(Key(KeyKind.RXKAD_KRB5, 1, AES256, key)), Level.CRYPT)
        return VLPartitions.client(port.connect((node.address, 7003), VLPartitions.service_id, security))
