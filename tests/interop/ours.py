"""Our servers in a node: the whole cell as `afs-cell`, or vlserver and fileserver as programs of their own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop.namespaces import CHECKOUT, Daemon, Network, Node, NodeFailed, Result, wait_for
from tests.interop.stock import CELL, add_node, address_of

TWISTD = Path(sys.executable).with_name("twistd")
START_SECONDS = 60.0
"""From the start of Python to serving, on a machine that does much else."""


def start_plugin(
    node: Node, plugin: str, *options: str, log: str | None = None, twistd: Sequence[str] = (str(TWISTD),)
) -> Daemon:
    """Start one of our plugins in a node, by `twistd` or what stands for it. Its output is the daemon's log."""
    command = [*twistd, "--nodaemon", "--pidfile=", plugin, *options]
    return node.start(log or plugin, command, {"PYTHONPATH": os.environ.get("PYTHONPATH", str(CHECKOUT))})


def wait_until_said(daemon: Daemon, words: str) -> None:
    """Until a server has said this since its start. No call tries it: one that comes too early takes seconds."""

    def said() -> bool:
        if words in daemon.said():
            return True
        if not daemon.running():
            raise NodeFailed(f"{daemon.name} ended: {daemon.tail()}")
        return False

    wait_for(f"{daemon.name} to say {words!r}", said, START_SECONDS)


@dataclass
class OurCell:
    """`afs-cell` on node fs1, as a user would run it; its directory is in the node's home. By default everybody on that
    node administers it.
    """

    network: Network
    options: Sequence[str] = ("--noauth",)

    def __post_init__(self) -> None:
        self.node = add_node(self.network, "fs1")
        self.directory = self.node.home / "cell"
        self.config = self.directory / "server"
        self.start()

    def start(self) -> None:
        """Start it and wait for the line that says it is ready."""
        options = ["--directory", str(self.directory), "--cell", CELL, *self.options]
        self.daemon = start_plugin(self.node, "afs-cell", *options)
        wait_for("afs-cell to be ready", self._ready, START_SECONDS)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self.daemon.stop(signal.SIGTERM)

    def vos(self, *words: str, stdin: str = "") -> Result:
        """Stock vos -noauth on the server's node, which makes it an administrator."""
        return self.node.run_now("vos", *words, "-noauth", "-config", str(self.config), stdin=stdin)

    def output(self) -> str:
        """What afs-cell printed so far."""
        return self.daemon.log.read_text(errors="replace")

    def _ready(self) -> bool:
        if not self.daemon.running():
            log = self.directory / "log"
            raise NodeFailed(f"afs-cell ended: {self.output()}\n{log.read_text()[-3000:] if log.exists() else ''}")
        return f"cell {CELL} ready:" in self.daemon.said()


class OurServers:
    """vlserver and fileserver as two processes on node fs1, with namei partitions at /vicepa.

    Callers on that node are administrators, and on those named in `trusted`.
    """

    def __init__(self, network: Network, node: Node | None = None, trusted: Sequence[str] = ()) -> None:
        self.node = node or add_node(network, "fs1")
        self._noauth = ["--noauth", *(word for name in trusted for word in ("--noauth-from", address_of(name)))]
        self.vlserver = self.start_vlserver()
        self.fileserver = self.start_fileserver()

    def start_vlserver(self) -> Daemon:
        """Start the vlserver and wait until it serves."""
        options = [
            *self._noauth,
            "--address",
            self.node.address,
            "--database",
            f"sqlite:///{self.node.home}/vldb.sqlite",
        ]
        daemon = start_plugin(self.node, "afs-vlserver", *options)
        wait_until_said(daemon, "serving VL")
        return daemon

    def start_fileserver(self, *more: str) -> Daemon:
        """Start the fileserver, with `more` options, and wait until it serves."""
        state = self.node.home / "state"
        options = [*self._noauth, "--address", self.node.address, "--state", str(state), "--partition", "/vicepa"]
        options += ["--protection", "none", *more]
        daemon = start_plugin(self.node, "afs-fileserver", *options)
        wait_until_said(daemon, "serving AFSVol")  # which it does behind its registration
        return daemon

    def stop(self) -> None:
        """Shut both down cleanly."""
        self.fileserver.stop(signal.SIGTERM)
        self.vlserver.stop(signal.SIGTERM)

    def vos(self, *words: str, stdin: str = "") -> Result:
        """Stock vos -noauth on the servers' node."""
        return self.node.run_now("vos", *words, "-noauth", stdin=stdin)
