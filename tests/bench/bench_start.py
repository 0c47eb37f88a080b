"""Starting and stopping a fileserver with many volumes: ours and, alternating, stock's dafileserver and davolserver.

    python -m tests.bench.bench_start [--volumes N] [--attached N] [--rounds N] [--only ours|stock]

Seconds from the start of the process (Python's own included) to the first RXAFS and the first AFSVol call that is
answered, memory then, and seconds a clean stop takes with so many volumes attached. Needs root, for namespaces.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import deferLater, react

from afs.client import FileClient
from afs.errors import VolumeError
from afs.rpc.fs import RXAFS
from afs.rpc.volser import AFSVol
from afs.types import AFSFid
from rx.errors import Abort, RxError
from tests.bench.many_volumes import FIRST
from tests.interop.namespaces import CHECKOUT, Daemon, Network, Node, wait_for
from tests.interop.ours import start_plugin
from tests.interop.stock import add_node, start_database

POLL_SECONDS = 0.01
ATTEMPT_SECONDS = 0.25
CALLERS = 16
NOT_YET = (VolumeError.VOFFLINE, VolumeError.VBUSY, VolumeError.VNOVOL, VolumeError.VSALVAGE)


async def probe(reactor: Any, address: str, attached: int) -> None:
    """Inside the node, running before the server: print when what was first answered, as JSON."""
    client = FileClient(reactor, [(address, 7003)], address=address)
    client.start()
    fs = RXAFS.client(client.caller((address, 7000), RXAFS.service_id), timeout=ATTEMPT_SECONDS)
    volser = AFSVol.client(client.caller((address, 7005), AFSVol.service_id), timeout=ATTEMPT_SECONDS)
    print("ready", flush=True)
    sys.stdin.readline()

    async def until(call: Callable[[], Awaitable[object]]) -> float:
        while True:
            try:
                await call()
            except Abort as refusal:
                if refusal.code >= 0 and refusal.code not in NOT_YET:
                    return time.time()
            except RxError:
                pass
            else:
                return time.time()
            await deferLater(reactor, POLL_SECONDS)

    first = AFSFid(FIRST, 1, 1)
    files, volumes = await gatherResults(
        [
            ensureDeferred(until(lambda: fs.FetchStatus(first))),
            ensureDeferred(until(lambda: volser.ListOneVolume(0, FIRST))),
        ]
    )
    print(json.dumps({"files": files, "volumes": volumes}), flush=True)
    sys.stdin.readline()
    patient = client.fs((address, 7000))
    ids = iter(range(FIRST, FIRST + attached))

    async def attach() -> None:
        for volume_id in ids:
            try:
                await patient.FetchStatus(AFSFid(volume_id, 1, 1))
            except Abort as refusal:
                if refusal.code in NOT_YET:
                    raise

    await gatherResults([ensureDeferred(attach()) for _ in range(CALLERS)])
    print("attached", flush=True)
    await client.stop()


class Bench:
    """One node with our vlserver; the partition is the node's /vicepa."""

    def __init__(self, network: Network, volumes: int, attached: int) -> None:
        self.node: Node = add_node(network, "fs1")
        self.attached = attached
        command = [sys.executable, "-m", "tests.bench.many_volumes", str(self.node.home / "vicepa"), str(volumes)]
        subprocess.run([*command, "--whole", str(attached)], check=True, cwd=CHECKOUT)
        options = ["--noauth", "--database", "memory:", "--address", self.node.address]
        start_plugin(self.node, "afs-vlserver", *options)
        start_database(self.node, ("ptserver",))  # without which stock's file server does not start
        wait_for("the vlserver to serve", lambda: 7003 in self.node.udp_ports())

    def round(self, start: Callable[[], list[Daemon]], stop: Callable[[list[Daemon]], None]) -> dict[str, float]:
        """Start, measure, attach, stop."""
        command = [sys.executable, "-m", "tests.bench.bench_start", "--probe", self.node.address]
        command += ["--attached", str(self.attached)]
        with self.node.inside():
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
        assert process.stdout is not None and process.stdin is not None

        def next_line() -> str:
            assert process.stdout is not None and process.stdin is not None
            line = process.stdout.readline().strip()
            if not line:
                raise RuntimeError("the probe has ended")
            return line

        next_line()
        process.stdin.write("go\n")
        process.stdin.flush()
        began = time.time()
        daemons = start()
        answered = json.loads(next_line())
        memory = sum(resident(daemon.pid) for daemon in daemons)
        process.stdin.write("go\n")
        process.stdin.flush()
        next_line()
        process.wait(30)
        before = time.time()
        stop(daemons)
        stopped = time.time() - before
        for daemon in daemons[1:]:
            daemon.stop(signal.SIGTERM)
        return {
            "file s": answered["files"] - began,
            "volume s": answered["volumes"] - began,
            "MB": memory / 1e6,
            "stop s": stopped,
        }

    def start_ours(self) -> list[Daemon]:
        options = [
            "--noauth",
            "--address",
            self.node.address,
            "--partition",
            "/vicepa",
            "--state",
            "/var/lib/openafs/local",
            "--protection",
            "none",
        ]
        return [start_plugin(self.node, "afs-fileserver", *options)]

    def start_stock(self) -> list[Daemon]:
        return [
            self.node.start("dafileserver", ["/usr/lib/openafs/dafileserver", "-L", "-vattachpar", "2"]),
            self.node.start("davolserver", ["/usr/lib/openafs/davolserver"]),
            self.node.start("salvageserver", ["/usr/lib/openafs/salvageserver"]),
        ]


def stop_ours(daemons: list[Daemon]) -> None:
    """SIGTERM, which twistd passes on when all is done; any other end is an error."""
    status = daemons[0].stop(signal.SIGTERM)
    if status not in (0, -signal.SIGTERM):
        raise RuntimeError(f"exit status {status}: {daemons[0].tail()}")


def stop_stock(daemons: list[Daemon]) -> None:
    """The file server alone, as that is what closes volumes."""
    daemons[0].stop(signal.SIGQUIT)


def resident(pid: int) -> int:
    """Bytes of memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has ended")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=100_000)
    parser.add_argument("--attached", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("ours", "stock"))
    parser.add_argument("--probe", metavar="ADDRESS", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.probe:
        react(lambda reactor: ensureDeferred(probe(reactor, words.probe, words.attached)))
    network = Network()
    try:
        bench = Bench(network, words.volumes, words.attached)
        kinds = {"ours": (bench.start_ours, stop_ours), "stock": (bench.start_stock, stop_stock)}
        found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds if words.only in (None, kind)}
        for _ in range(words.rounds):
            for kind, rounds in found.items():
                rounds.append(bench.round(*kinds[kind]))
                print(kind, {what: round(value, 3) for what, value in rounds[-1].items()}, flush=True)
        for kind, rounds in found.items():
            print(kind, "median", {what: round(median(each[what] for each in rounds), 3) for what in rounds[0]})
    finally:
        network.close()


if __name__ == "__main__":
    main()
