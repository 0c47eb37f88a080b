"""The VLDB at scale: `python -m tests.bench.bench_vldb [PART ...] [--rounds N] [--dry-run]`, PARTs as in PARTS.

Sides alternate. Medians, spread and ratios are appended to RESULTS.md. Creations and re-homing are measured beside
stock OpenAFS; lookups beside those of a database of ten volumes.
"""

from __future__ import annotations

import argparse
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from statistics import median
from typing import Any
from uuid import UUID, uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from afs.rpc.partitions import PCLAIM, POUT, PartitionClaim, PartitionRequest, PartitionServer, VLPartitions
from afs.rpc.vl import VldbListByAttributes
from rx.transport import RxPort
from tests.bench.__main__ import HERE, RESULTS, header
from tests.bench.vldb_fill import FIRST_ID, SERVERS, partition_id
from tests.bench.vldb_nodes import OwnVlserver, StockCell, StockVlserver, filled
from tests.interop.namespaces import Network, Node
from tests.interop.requirements import missing
from vlserver.operations.entries import entry_by_name
from vlserver.procedures.entries import U
from vlserver.store.sqlite import SqliteStore

LOAD_SECONDS = 3
CLAIMS = 30
"""Re-homings in a row."""
SIZES = (100, 2_000, 10_000, 100_000)
STOCK_SIZES = (100, 2_000)
MANY = 100_000
MILLION = 1_000_000
ANSWER_SECONDS = 30.0
READS = 5_000
NOT_KEPT = "without network and kept replies, by any names"

Found = dict[str, list[float]]


def row(name: str, found: list[float], decimals: int = 0) -> str:
    """median [min..max]"""
    low, middle, high = (f"{each:.{decimals}f}" for each in (min(found), median(found), max(found)))
    return f"| {name} | {middle} [{low}..{high}] |"


class Bench:
    """Where the parts work: a directory with databases, and the load generator."""

    def __init__(self, place: Path, rounds: int) -> None:
        self.place = place
        self.rounds = rounds
        self.vlload = place / "vlload"
        subprocess.run(["cc", "-O2", "-Wall", "-o", self.vlload, HERE / "vlload.c"], check=True)

    def load(self, node: Node, callers: int, *work: object) -> float:
        """Answers a second."""
        words = (str(self.vlload), node.address, "7003", str(callers), str(LOAD_SECONDS), *map(str, work))
        answers, refusals, again = map(int, node.run_now(*words).check().out.split())
        if refusals or not answers:
            raise SystemExit(f"vlload {words}: {answers} answers, {refusals} refusals")
        if again:
            sys.stderr.write(f"vlload: {again} packets had to be sent again\n")
        return answers / LOAD_SECONDS

    async def creations(self, network: Network) -> list[str]:
        """Entries a second, into databases that are empty at first."""
        nodes = {"stock": StockVlserver(network, "fs1").node, "ours": OwnVlserver(network, "fs2").node}
        found: dict[tuple[str, int], list[float]] = defaultdict(list)
        first = 1
        for turn in range(self.rounds):
            for callers in (1, 8, 64):
                for side in sorted(nodes, reverse=bool(turn % 2)):
                    os.sync()
                    found[side, callers].append(self.load(nodes[side], callers, "create", "v", first))
                    first += 1_000_000
        lines = ["| creations a second | stock | ours | ours/stock |", "|---|---|---|---|"]
        for callers in (1, 8, 64):
            stock, ours = found["stock", callers], found["ours", callers]
            cells = row(f"{callers} callers", stock).removesuffix(" |") + row("", ours).removeprefix("| ")
            lines.append(f"{cells} {median(ours) / median(stock):.2f} |")
        return lines

    async def lookups(self, network: Network) -> list[str]:
        """Of databases small and large: of one name (kept), of any names and ids (mostly not kept in the large one)."""
        sizes = {10: "fs1", MANY: "fs2"}
        nodes = {size: OwnVlserver(network, name, filled(self.place, size)).node for size, name in sizes.items()}
        found: dict[tuple[int, str], list[float]] = defaultdict(list)
        for turn in range(self.rounds):
            for size in sorted(nodes, reverse=bool(turn % 2)):
                works = {
                    "by one name": ("v7",),
                    "by any names": ("names", "v", size),
                    "by any ids": ("ids", FIRST_ID, size),
                }
                for name, work in works.items():
                    found[size, name].append(self.load(nodes[size], 16, *work))
        for turn in range(self.rounds):
            for size in sorted(nodes, reverse=bool(turn % 2)):
                found[size, NOT_KEPT].append(await reads(filled(self.place, size), size))
        lines = [f"| lookups a second, 16 callers | of 10 | of {MANY:,} | ratio |", "|---|---|---|---|"]
        for name in ("by one name", "by any names", "by any ids", NOT_KEPT):
            few, many = found[10, name], found[MANY, name]
            cells = row(name, few).removesuffix(" |") + row("", many).removeprefix("| ")
            lines.append(f"{cells} {median(many) / median(few):.2f} |")
        return lines

    async def rehoming(self, network: Network) -> list[str]:
        """Ours by ClaimPartition, stock's by vos, with as many volumes."""
        names = ("fs1", "fs2", "ca", "cb")
        nodes = {
            size: OwnVlserver(network, name, filled(self.place, size)).node
            for size, name in zip(SIZES, names, strict=True)
        }
        found: dict[tuple[str, int], list[float]] = defaultdict(list)
        stock_network = Network()
        try:
            stock = StockCell(stock_network, STOCK_SIZES)
            for _ in range(self.rounds):
                for size, node in nodes.items():
                    found["ClaimPartition", size] += await claims(node)
                for letter, size in stock.sizes.items():
                    found["vos syncvldb", size].append(stock.sync_vldb(letter))
                    found["vos changeloc", size].append(stock.change_locations(letter))
        finally:
            stock_network.close()
        lines = ["| a partition given to another server, ms | |", "|---|---|"]
        for (what, size), times in found.items():
            side = "ours" if what == "ClaimPartition" else "stock"
            lines.append(row(f"{side}, {what}, {size:,} volumes", times, 1))
        for size in STOCK_SIZES:
            ours = median(found["ClaimPartition", size])
            best = min(median(found[what, size]) for what in ("vos syncvldb", "vos changeloc"))
            lines.append(f"| the better of stock's, of ours at {size:,} | {best / ours:.0f} times |")
        return lines

    async def start(self, network: Network) -> list[str]:
        """From the start of Python to the first answer, and memory, with a million volumes."""
        server = OwnVlserver(network, "fs1", filled(self.place, MILLION))
        times: list[float] = []
        fresh: list[float] = []
        for _ in range(self.rounds):
            server.stop()
            begun = time.perf_counter()
            server.daemon = server.start()
            first_answer(server.node)
            times.append(time.perf_counter() - begun)
            fresh.append(server.memory("VmRSS"))
        self.load(server.node, 16, "names", "v", MILLION)
        used = server.memory("VmRSS")
        listed = await with_client(server.node, walk)
        if listed != MILLION:
            raise SystemExit(f"listed {listed} entries")
        return [
            f"| with {MILLION:,} volumes | |",
            "|---|---|",
            row("start of Python to the first answer, s", times, 2),
            row("memory then, MB", fresh),
            f"| after {LOAD_SECONDS} s of lookups of any names, MB | {used:.0f} |",
            f"| after listing all by ListAttributesN2, MB | {server.memory('VmRSS'):.0f} |",
            f"| the most at any time, MB | {server.memory('VmHWM'):.0f} |",
        ]


async def reads(path: Path, volumes: int) -> float:
    """GetEntryByNameU a second in this process, each looked up and encoded anew."""
    any_reactor: Any = reactor
    store = SqliteStore(str(path), any_reactor, any_reactor.seconds)
    names = [b"v%d" % number for number in Random(1).choices(range(volumes), k=READS)]
    start = time.perf_counter()
    for name in names:
        U.encode(await store.read(lambda transaction, name=name: entry_by_name(transaction, name)))  # type: ignore[misc]
    spent = time.perf_counter() - start
    await store.close()
    return READS / spent


def first_answer(node: Node) -> None:
    """Wait for a vlserver to answer GetEntryByNameU of a volume it has."""
    name = b"v123456"
    request = struct.pack(">5I4B2H", 0x80000001, 0x7000, 1, 1, 1, 1, 5, 0, 0, 0, 52)
    request += struct.pack(">2I", 527, len(name)) + name + b"\0"
    deadline = time.perf_counter() + ANSWER_SECONDS
    with node.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.connect((node.address, 7003))
        caller.settimeout(0.01)
        while time.perf_counter() < deadline:
            try:
                caller.send(request)
                if name in caller.recv(2048).replace(b"\0\0\0", b""):  # a character a word
                    return
            except ConnectionRefusedError:
                time.sleep(0.002)
            except TimeoutError:
                pass
    raise SystemExit("no answer")


async def with_client(node: Node, work: Callable[[VLPartitions], Awaitable[Any]]) -> Any:
    """Do something as a client on the node."""
    any_reactor: Any = reactor
    port = RxPort(any_reactor, node.address)
    with node.inside():
        port.start()
    try:
        return await work(VLPartitions.client(port.connect((node.address, 7003), VLPartitions.service_id)))
    finally:
        await port.stop()


async def walk(vl: VLPartitions) -> int:
    """How many entries there are, all of them fetched."""
    count = following = 0
    while following != -1:
        found, _, following = await vl.ListAttributesN2(VldbListByAttributes(), b"", following)
        count += found
    return count


async def claims(node: Node) -> list[float]:
    """Milliseconds of each of CLAIMS claims of a partition, by its two servers in turn."""

    async def work(vl: VLPartitions) -> list[float]:
        now = await vl.GetPartition(partition_id(0))
        times = []
        for _ in range(CLAIMS):
            other = next(server.uuid for server in SERVERS if server.uuid != now.owner.uuid)
            claim = PartitionClaim(
                partition_id(0),
                PartitionServer(other or UUID(int=0)),
                PartitionRequest(uuid4()),
                expected_epoch=now.epoch,
                flags=PCLAIM.FORCE,
            )
            start = time.perf_counter()
            outcome = await vl.ClaimPartition(claim)
            times.append((time.perf_counter() - start) * 1000)
            if outcome.result != POUT.DONE:
                raise SystemExit(f"a claim was refused: {outcome}")
            entry = await vl.GetEntryByNameU(b"v7")
            if entry.serverNumber[0] != other:
                raise SystemExit("an entry does not follow its partition")
            now = outcome.object
        return times

    times: list[float] = await with_client(node, work)
    return times


PARTS: dict[str, Callable[[Bench, Network], Awaitable[list[str]]]] = {
    "creations": Bench.creations,
    "lookups": Bench.lookups,
    "rehoming": Bench.rehoming,
    "start": Bench.start,
}


async def measure(parts: list[str], rounds: int, dry_run: bool) -> None:
    """Measure and append."""
    lines = [*header(rounds)[:2], f"`python -m tests.bench.bench_vldb`, {rounds} rounds; median [min..max]."]
    lines.append(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; databases on ext4.")
    with tempfile.TemporaryDirectory(prefix="txafs-bench-") as place:
        bench = Bench(Path(place), rounds)
        for part in parts:
            network = Network()
            try:
                lines += ["", *await PARTS[part](bench, network)]
            finally:
                network.close()
    print("\n".join(lines))
    if not dry_run:
        with open(RESULTS, "a", encoding="utf-8") as results:
            results.write("\n" + "\n".join(lines) + "\n")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_vldb", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dry-run", action="store_true", help="print, do not append")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if reason := missing():
        sys.exit(f"bench: {reason}")
    parts = options.parts or list(PARTS)
    react(lambda _: Deferred.fromCoroutine(measure(parts, options.rounds, options.dry_run)))


if __name__ == "__main__":
    main()
