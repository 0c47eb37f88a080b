"""Stock OpenAFS in nodes: configuration, database servers, fileserver, FUSE client.

No bosserver and no Kerberos: the servers are started one by one, and `-localauth` works from a KeyFileExt we write.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.interop.namespaces import SUBNET, Daemon, Network, Node, NodeFailed, Result, wait_for

CELL = "txafs.test"
NUMBERS = {"db": 10, "fs1": 11, "fs2": 12, "fs3": 13, "ca": 21, "cb": 22, "cc": 23, "cd": 24}
"""The last byte of each node's address."""
CACHE_BLOCKS = 500_000
"""Of the FUSE client's disk cache, 1 KiB each: two of the large test files."""
CACHE_FILES = 3000
"""Chunks it may hold, of 256 KiB at most. The client creates so many files before it serves; its default takes 10 s."""
STOCK_SECONDS = 120.0
"""For a stock server to come up: some of them try again after a wait of half a minute."""
DATABASE_PORTS = {"ptserver": 7002, "vlserver": 7003}
RXKAD_KRB5, AES256 = 2, 18
ANYUSER, ADMINISTRATORS, ALL_RIGHTS = -101, -204, 0x7F


def key_file_ext(key: bytes) -> bytes:
    """A KeyFileExt with one rxkad_krb5 aes256 key of kvno 1 (the 52 bytes asetkey writes)."""
    return struct.pack(">6I", 1, 16, RXKAD_KRB5, 1, AES256, len(key)) + key


def address_of(name: str) -> str:
    """A node's address."""
    return f"{SUBNET}.{NUMBERS[name]}"


def add_node(
    network: Network,
    name: str,
    database: str = "fs1",
    key: bytes | None = None,
    partitions: Sequence[str] = ("a",),
    shared: Mapping[str, Path] | None = None,
) -> Node:
    """A node with an OpenAFS file tree of its own, in the cell whose database server is on node `database`. `shared`:
    where in the node -> a directory that others have too.
    """
    home = network.directory / name
    directories = {
        "/etc/openafs": "etc-openafs/server",
        "/var/lib/openafs": "var-lib-openafs/db",
        "/var/log/openafs": "log",
        "/var/cache/openafs": "cache",
    } | {f"/vicep{letter}": f"vicep{letter}" for letter in partitions}
    binds = dict(shared or {})
    for at, what in directories.items():
        (home / what).mkdir(parents=True)
        binds[at] = home / what.split("/")[0]
    (home / "var-lib-openafs/local").mkdir(mode=0o700)
    for letter in partitions:
        (home / f"vicep{letter}/AlwaysAttach").touch()
    hosts = [f"{address_of(node)} {node}.{CELL} {node}" for node in NUMBERS]
    files = {"hosts": "\n".join(["127.0.0.1 localhost", *hosts]), "nsswitch.conf": "hosts: files", "resolv.conf": ""}
    for file, text in files.items():
        (home / file).write_text(text + "\n")
        if Path("/etc", file).exists():
            binds[f"/etc/{file}"] = home / file
    for directory in (home / "etc-openafs", home / "etc-openafs/server"):
        (directory / "ThisCell").write_text(CELL + "\n")
        (directory / "CellServDB").write_text(f">{CELL} #test\n{address_of(database)} #{database}\n")
    (home / "etc-openafs/cacheinfo").write_text(f"/afs:/var/cache/openafs:{CACHE_BLOCKS}\n")
    (home / "etc-openafs/server/UserList").write_text("admin\n")
    if key is not None:
        (home / "etc-openafs/server/KeyFileExt").write_bytes(key_file_ext(key))
    return network.add(name, NUMBERS[name], binds)


def start_database(node: Node, programs: Sequence[str] = ("vlserver", "ptserver")) -> dict[str, Daemon]:
    """Start stock database servers and wait until they accept writes (udebug's recovery state 1f), which takes 4 s."""
    daemons = {name: node.start(name, [f"/usr/lib/openafs/{name}"]) for name in programs}
    for name, daemon in daemons.items():
        wait_for_quorum(node, daemon, DATABASE_PORTS[name])
    return daemons


def wait_for_quorum(node: Node, daemon: Daemon, port: int) -> None:
    """Until a stock database server that was started accepts writes."""
    words = ("udebug", node.address, str(port))
    _wait_with(
        {daemon.name: daemon},
        f"{daemon.name} to have a quorum",
        lambda: "Recovery state 1f" in node.run_now(*words, seconds=5).out,
    )


def start_fileserver(node: Node, options: Sequence[str] = ()) -> dict[str, Daemon]:
    """Start a stock demand-attach fileserver, with options of its own, and wait until its volume server answers.

    One by one: who finds no socket of the one before sleeps for three seconds.
    """
    commands = {
        "salvageserver": ([], "salvsync.sock"),
        "dafileserver": (["-L", *options], "fssync.sock"),
        "davolserver": ([], ""),
    }
    log = node.path("/var/log/openafs/FileLog")
    log.unlink(missing_ok=True)
    daemons: dict[str, Daemon] = {}
    for name, (words, socket) in commands.items():
        path = node.path("/var/lib/openafs/local") / socket
        if socket:
            path.unlink(missing_ok=True)
        daemons[name] = node.start(name, [f"/usr/lib/openafs/{name}", *words])
        _wait_with(daemons, f"{name} to make {path}", path.exists)
    _wait_with(daemons, "the fileserver to have started", lambda: "File Server started" in log.read_text())
    _wait_with(daemons, "the servers to have their ports", lambda: node.udp_ports() >= {7000, 7005})
    _wait_with(
        daemons,
        "the volume server to answer",
        lambda: "Free space" in node.run_now("vos", "partinfo", node.address, "-noauth", seconds=10).out,
    )
    return daemons


def _wait_with(daemons: Mapping[str, Daemon], what: str, condition: Callable[[], bool]) -> None:
    """Wait for what stock servers that run do; NodeFailed when one of them ends."""

    def fulfilled() -> bool:
        for daemon in daemons.values():
            if not daemon.running():
                raise NodeFailed(f"{daemon.name} ended: {daemon.tail()}")
        return condition()

    wait_for(what, fulfilled, STOCK_SECONDS)


def stop_fileserver(daemons: dict[str, Daemon]) -> None:
    """Shut a stock fileserver down cleanly, in bosserver's order."""
    for name, number in (
        ("salvageserver", signal.SIGTERM),
        ("davolserver", signal.SIGTERM),
        ("dafileserver", signal.SIGQUIT),
    ):
        daemons[name].stop(number)


@dataclass
class FuseClient:
    """A stock `afsd.fuse` in a node of its own. Always anonymous; its callback port is ephemeral."""

    node: Node
    options: Sequence[str] = ("-dynroot", "-fakestat", "-files", str(CACHE_FILES))
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.path = self.node.path("/afs")

    def start(self) -> None:
        """Mount /afs in the node, with an empty cache."""
        self.node.run_now("find", "/var/cache/openafs", "-mindepth", "1", "-delete").check()
        directories = ["-mountdir", "/afs", "-confdir", "/etc/openafs", "-cachedir", "/var/cache/openafs"]
        self.node.start("afsd.fuse", ["/usr/sbin/afsd.fuse", *directories, *self.options])
        wait_for("afsd.fuse to mount", self._mounted)

    def stop(self) -> None:
        """Unmount and wait for the client to be gone: it may store a file after a program has closed it."""
        self.node.run_now("umount", "/afs").check()
        wait_for("afsd.fuse to end", lambda: self.node.run_now("pgrep", "-x", "afsd.fuse").status != 0)

    def restart_cold(self) -> None:
        """The same client with an empty cache."""
        self.stop()
        self.start()

    def volume(self, name: str) -> str:
        """The path in the node of a volume's root, through the dynamic root: no mount point is needed."""
        return f"/afs/.:mount/{CELL}:{name}"

    def _mounted(self) -> bool:
        return " /afs fuse" in Path(f"/proc/{self.node.pid}/mounts").read_text()


def world_writable(dump: bytes) -> bytes:
    """A fresh volume's dump with `system:anyuser rlidwka` added to its root's access list.

    The kernel-less client has no pioctl to do it with, and no way to be anybody.
    """
    old = struct.pack(">5i2i", 28, 1, 1, 1, 0, ADMINISTRATORS, ALL_RIGHTS)
    new = struct.pack(">5i4i", 36, 1, 2, 2, 0, ADMINISTRATORS, ALL_RIGHTS, ANYUSER, ALL_RIGHTS)
    if dump.count(b"A" + old) != 1:
        raise NodeFailed("expected exactly one default root access list in a fresh volume's dump")
    start = dump.index(b"A" + old) + 1
    return dump[:start] + new + dump[start + len(new) :]  # the list has 192 bytes, zeros at its end


class StockCell:
    """All of a stock cell on node fs1. `volumes` are made so that everybody may write them."""

    def __init__(self, network: Network, volumes: Sequence[str] = ("scratch",)) -> None:
        self.node = add_node(network, "fs1", key=os.urandom(32))
        self.database = start_database(self.node)
        self.fileserver = start_fileserver(self.node)
        for name in volumes:
            create_world_writable(self.vos, self.node, "fs1", name)

    def vos(self, *words: str, stdin: str = "") -> Result:
        """Stock vos -localauth on the server's node."""
        return self.node.run_now("vos", *words, "-localauth", stdin=stdin)


def create_world_writable(vos: Callable[..., Result], node: Node, server: str, name: str, partition: str = "a") -> None:
    """A volume without quota on a stock server, whose root everybody may change. `vos` runs on `node`."""
    inside = "/var/log/openafs/template.dump"
    dump = node.path(inside)
    vos("create", server, partition, "template").check()
    vos("dump", "template", "-file", inside).check()
    vos("remove", "-id", "template").check()
    dump.write_bytes(world_writable(dump.read_bytes()))
    vos("restore", server, partition, name, "-file", inside).check()
    vos("setfields", name, "-maxquota", "0").check()
    dump.unlink()
