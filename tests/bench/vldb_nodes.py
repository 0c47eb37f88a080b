"""The vlservers that bench_vldb measures: ours over a database of any size, stock's alone, and a stock cell in which
partitions have moved.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.interop.namespaces import CHECKOUT, Daemon, Network, Node, NodeFailed, wait_for
from tests.interop.ours import start_plugin
from tests.interop.stock import add_node, start_database, start_fileserver, stop_fileserver

START_SECONDS = 60.0


def filled(directory: Path, volumes: int) -> Path:
    """A database of so many volumes on one partition, made once."""
    path = directory / f"{volumes}.sqlite"
    if not path.exists():
        command = [sys.executable, "-m", "tests.bench.vldb_fill", str(path), str(volumes)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(CHECKOUT)})
    return path


class OwnVlserver:
    """Our vlserver as a process in a node; callers on that node are administrators."""

    def __init__(self, network: Network, name: str, database: Path | None = None) -> None:
        self.node = add_node(network, name)
        path = self.node.home / "vldb.sqlite"
        if database is not None:
            shutil.copy(database, path)
            os.sync()
        self._options = ["--noauth", "--address", self.node.address, "--database", f"sqlite:///{path}"]
        self.daemon = self.start()
        wait_for("our vlserver to serve", lambda: 7003 in self.node.udp_ports(), START_SECONDS)

    def start(self) -> Daemon:
        """Start it, without waiting."""
        return start_plugin(self.node, "afs-vlserver", *self._options)

    def stop(self) -> None:
        """End it in order."""
        self.daemon.stop(signal.SIGTERM)

    def memory(self, field: str) -> float:
        """VmRSS or VmHWM, in MB."""
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024 / 1e6


class StockVlserver:
    """A stock vlserver -noauth in a node."""

    def __init__(self, network: Network, name: str) -> None:
        self.node = add_node(network, name)
        daemon = self.node.start("vlserver", ["/usr/lib/openafs/vlserver", "-noauth"])

        def writable() -> bool:
            if not daemon.running():
                raise NodeFailed(f"vlserver ended: {daemon.tail()}")
            return "Recovery state 1f" in self.node.run_now("udebug", self.node.address, "7003", seconds=5).out

        wait_for("the stock vlserver to have a quorum", writable, seconds=START_SECONDS)


class StockCell:
    """Database server and fileserver on fs1, a second fileserver on fs2, whose partitions have been moved to fs1: their
    files are there, and both servers have been started again since. `sizes` are the volumes on /vicepb, /vicepc, ...
    """

    def __init__(self, network: Network, sizes: Sequence[int]) -> None:
        key = os.urandom(32)
        self.sizes = dict(zip("bcdefgh", sizes, strict=False))
        letters = ["a", *self.sizes]
        self.one, self.two = (add_node(network, name, key=key, partitions=letters) for name in ("fs1", "fs2"))
        start_database(self.one)
        running = [start_fileserver(node) for node in (self.one, self.two)]
        for letter, size in self.sizes.items():
            self._each(letter, size, f"vos create {self.two.address} {letter} h{letter}{{}} -maxquota 1", at_once=4)
        for daemons in running:
            stop_fileserver(daemons)
        for letter in self.sizes:
            there = self.one.home / f"vicep{letter}"
            shutil.rmtree(there / "AFSIDat", ignore_errors=True)
            for moved in (self.two.home / f"vicep{letter}").iterdir():
                if moved.name.startswith(("V", "AFSIDat")):
                    moved.rename(there / moved.name)
        for node in (self.one, self.two):
            start_fileserver(node)

    def sync_vldb(self, letter: str) -> float:
        """Milliseconds that `vos syncvldb` takes to give fs1 the volumes of a partition."""
        return self._timed(letter, self.one, f"vos syncvldb {self.one.address} {letter} -localauth")

    def change_locations(self, letter: str) -> float:
        """Milliseconds that `vos changeloc` takes to give them back to fs2, one after another."""
        start = time.perf_counter()
        self._each(letter, self.sizes[letter], f"vos changeloc {self.two.address} {letter} h{letter}{{}}")
        spent = (time.perf_counter() - start) * 1000
        self._check(letter, self.two)
        return spent

    def _timed(self, letter: str, there: Node, command: str) -> float:
        start = time.perf_counter()
        self.one.run_now("sh", "-c", command, seconds=300).check()
        spent = (time.perf_counter() - start) * 1000
        self._check(letter, there)
        return spent

    def _each(self, letter: str, count: int, command: str, at_once: int = 1) -> None:
        """A command for every volume of a partition, {} standing for its number."""
        line = f"seq 0 {count - 1} | xargs -P {at_once} -I {{}} {command} -localauth >/dev/null"
        self.one.run_now("sh", "-c", line, seconds=300).check()

    def _check(self, letter: str, there: Node) -> None:
        """All of the partition's volumes are said to be there."""
        words = ("listvldb", "-server", there.address, "-partition", letter, "-quiet", "-localauth")
        found = self.one.run_now("vos", *words).check().out.count(f"h{letter}")
        if found != self.sizes[letter]:
            raise SystemExit(f"{found} of {self.sizes[letter]} volumes are on {there.name}:/vicep{letter}")
