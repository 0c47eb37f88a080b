"""Dumps over a long, lossy wire: stock `vos` from a stock volserver, and our client from our volume server.

    python -m tests.bench.bench_wire [--rounds 3] [--round-trip-ms 50] [--loss 0.001]

The wire is `tests.bench.wire`, the same program and seeds for both. Rounds alternate, in a fresh cell each. A round
dumps a volume with one file of SIZE bytes; what is counted is the time of the whole `vos dump`, or of our client's
transaction.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from afs.client import FileClient
from afs.rpc.volser import ITReadOnly
from tests.bench.bench_rpc import Discard
from tests.interop.namespaces import CHECKOUT, Network, Node
from tests.interop.ours import OurServers
from tests.interop.stock import add_node, create_world_writable, start_database, start_fileserver

SIZE = 16 << 20
VOLUME = "bench"
DUMP = "/var/log/openafs/bench.dump"
"""Where vos puts it in its node."""


class Terms(NamedTuple):
    """What the wire does. Loss is of each packet, each way."""

    round_trip_ms: float = 50.0
    loss: float = 0.001


FAR = Terms()


class Side:
    """One cell and a client's node, which the wire will join."""

    def __init__(self, stock: bool) -> None:
        self.network = Network()
        self.stock = stock
        key = os.urandom(32) if stock else None
        self.server: Node = add_node(self.network, "fs1", key=key)
        self.client: Node = add_node(self.network, "ca", key=key)
        if stock:
            start_database(self.server)
            start_fileserver(self.server)
            create_world_writable(self.vos, self.server, "fs1", VOLUME)
        else:
            OurServers(self.network, self.server, trusted=["ca"])
            self.vos("create", "fs1", "a", VOLUME, "-maxquota", "0").check()
            self._run(self.server, "tests.bench.grant", self.server.address, VOLUME)
        self._run(self.server, "tests.bench.bench_wire", "--fill", self.server.address)

    def vos(self, *words: str, stdin: str = "") -> Any:
        """Stock vos as an administrator, on the server's node."""
        return self.server.run_now("vos", *words, "-localauth" if self.stock else "-noauth", stdin=stdin)

    def dump(self, seed: int, terms: Terms) -> float:
        """MB/s over the wire."""
        with wire(self.client, self.server, seed, terms):
            if not self.stock:
                return float(self._run(self.client, "tests.bench.bench_wire", "--dump", self.server.address))
            start = time.perf_counter()
            self.client.run_now("vos", "dump", VOLUME, "-file", DUMP, "-localauth", seconds=300).check()
            return SIZE / 1e6 / (time.perf_counter() - start)

    def _run(self, node: Node, module: str, *words: str) -> str:
        command = ("env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-m", module, *words)
        return str(node.run_now(*command, seconds=300).check().out)


@contextmanager
def wire(one: Node, other: Node, seed: int, terms: Terms) -> Iterator[None]:
    """The two nodes joined by a long wire."""
    ends = (str(one.pid), one.address, str(other.pid), other.address)
    words = ("--delay-ms", str(terms.round_trip_ms / 2), "--loss", str(terms.loss), "--seed", str(seed))
    command = [sys.executable, "-m", "tests.bench.wire", *ends, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=CHECKOUT) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise SystemExit("the wire could not be laid")
            yield
        finally:
            process.terminate()


async def fill(reactor: Any, address: str) -> None:
    """Store the file."""
    client = FileClient(reactor, [(address, 7003)], address=address)
    client.root_volume = VOLUME.encode()
    client.start()
    await client.write_file("/large", bytes(SIZE))
    await client.stop()


async def dump(reactor: Any, address: str) -> None:
    """Dump the volume, and print how many MB/s that were."""
    client = FileClient(reactor, [(address, 7003)])
    client.start()
    volume = await client.locator.volume_id(VOLUME.encode())
    volser, sink = client.volser((address, 7005)), Discard()
    start = time.perf_counter()
    transaction = await volser.TransCreate(volume, 0, ITReadOnly)
    await volser.Dump(transaction, 0, sink)
    await volser.EndTrans(transaction)
    print(SIZE / 1e6 / (time.perf_counter() - start))
    await client.stop()


def table(rounds: int, terms: Terms = FAR) -> list[str]:
    """Measure; Markdown."""
    found: dict[str, list[float]] = {"stock": [], "ours": []}
    for number in range(rounds):
        for name in sorted(found, reverse=bool(number % 2)):
            side = Side(name == "stock")
            try:
                found[name].append(side.dump(number, terms))
            finally:
                side.network.close()
    cells = [f"{median(each):.2f} [{min(each):.2f}..{max(each):.2f}]" for each in found.values()]
    ratio = median(found["ours"]) / median(found["stock"])
    what = f"dump of {SIZE >> 20} MiB, {terms.round_trip_ms:g} ms, {terms.loss:.1%} lost each way, MB/s"
    return [
        "| measured | stock to stock | ours to ours | ratio |",
        "|---|---|---|---|",
        f"| {what} | {cells[0]} | {cells[1]} | {ratio:.1f} |",
    ]


def main() -> None:
    """Measure, or be one of the clients."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_wire", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-trip-ms", type=float, default=FAR.round_trip_ms)
    parser.add_argument("--loss", type=float, default=FAR.loss, help="of each packet, each way")
    parser.add_argument("--fill", help=argparse.SUPPRESS)
    parser.add_argument("--dump", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if address := options.fill or options.dump:
        act = fill if options.fill else dump
        react(lambda reactor: Deferred.fromCoroutine(act(reactor, address)))
    print("\n".join(table(options.rounds, Terms(options.round_trip_ms, options.loss))))


if __name__ == "__main__":
    main()
