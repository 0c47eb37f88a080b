"""`vos dump`, `restore` and `move` of a volume of large files and of one of many small ones: stock's vos and ours, on
stock's servers and on ours.

    python -m tests.bench.bench_transfers [--large MIB] [--files N] [--rounds N] [--dry-run]

As root: servers are in network namespaces of their own. Sides take turns; the first, stock on stock, is what
the others are compared with. Times are of whole programs, their start included. The processor time is vos's own.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench.__main__ import RESULTS, header
from tests.bench.bench_volumes import PER_DIRECTORY, SMALL_SIZE, dump_of
from tests.interop.data_cells import SERVERS, OurDataCell
from tests.interop.namespaces import CHECKOUT, Network, Node, environment
from tests.interop.test_own_vos import VOS
from tests.interop.vldb_cells import VldbCell, stock_vlserver

LARGE_FILES = 4
GIVEN, FOUND = "/var/log/openafs/given.dump", "/var/log/openafs/found.dump"
"""As the nodes see them."""

SECONDS = 600.0
"""No program takes longer."""


@dataclass(frozen=True, slots=True)
class Side:
    """A vos on servers."""

    name: str
    words: Sequence[str]
    cell: Any


class Sides:
    """The three of them, with volumes to work on."""

    def __init__(self) -> None:
        self._networks = [Network(), Network()]
        stock = VldbCell(self._networks[0], stock_vlserver)
        ours = OurDataCell(self._networks[1])
        self.sides = [
            Side("stock on stock", ("vos",), stock),
            Side("stock on ours", ("vos",), ours),
            Side("ours on ours", VOS, ours),
        ]

    def close(self) -> None:
        """End everything."""
        for network in self._networks:
            network.close()

    def prepare(self, name: str, dump: bytes) -> None:
        """The volume is at each side's first server, and its dump on the disk beside it."""
        for cell in {id(side.cell): side.cell for side in self.sides}.values():
            cell.node.path(GIVEN).write_bytes(dump)
            cell.vos("restore", SERVERS[0], "a", name, "-file", GIVEN).check()

    def remove(self, name: str) -> None:
        """The volume is of no use any more."""
        for cell in {id(side.cell): side.cell for side in self.sides}.values():
            cell.vos("remove", "-id", name).check()


def run(node: Node, *words: str) -> tuple[float, float]:
    """Seconds, and seconds of processor time, of a program in the node."""
    entered = ["nsenter", "-t", str(node.pid), "-m", "-u", "-i", "-n", "-p", "--", *words]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    variables = environment() | {"PYTHONPATH": str(CHECKOUT)}
    subprocess.run(
        entered, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=variables, timeout=SECONDS
    )
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime


def turns(side: Side, name: str) -> Iterator[tuple[str, tuple[float, float]]]:
    """What is measured of a side, once."""

    def vos(*words: str) -> tuple[float, float]:
        return run(side.cell.node, *side.words, *words, "-localauth")

    first, second = SERVERS
    yield "dump", vos("dump", name, "-file", FOUND)
    os.sync()
    yield "restore", vos("restore", second, "b", f"{name}.copy", "-file", GIVEN)
    side.cell.vos("remove", "-id", f"{name}.copy").check()
    os.sync()
    yield "move", vos("move", name, first, "a", second, "a")
    side.cell.vos("move", name, second, "a", first, "a").check()
    os.sync()


def measure(sides: Sides, name: str, dump: bytes, rounds: int) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """By what was done and by side."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    sides.prepare(name, dump)
    for _ in range(rounds):
        for side in sides.sides:
            for what, spent in turns(side, name):
                found.setdefault(what, {}).setdefault(side.name, []).append(spent)
    sides.remove(name)
    return found


def table(
    sides: Sides, what: str, unit: str, amount: float, found: dict[str, dict[str, list[tuple[float, float]]]]
) -> list[str]:
    """Rates by side, the ratio to the first, and vos's processor time."""
    names = [side.name for side in sides.sides]
    rows = [f"| {what}, {unit} | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for done, by_side in found.items():
        base = median(seconds for seconds, _ in by_side[names[0]])
        cells = []
        for name in names:
            seconds = [each for each, _ in by_side[name]]
            rate, low, high = (amount / each for each in (median(seconds), max(seconds), min(seconds)))
            used = median(each for _, each in by_side[name])
            ratio = f", {base / median(seconds):.2f}" if name != names[0] else ""
            cells.append(f"{rate:.0f} [{low:.0f}..{high:.0f}]{ratio} ({used:.2f} s)")
        rows.append(f"| {done} | {' | '.join(cells)} |")
    return [*rows, ""]


def contents(large: int, files: int) -> dict[str, Callable[[], Iterator[tuple[str, bytes]]]]:
    """The two volumes: (directory, content) of each file."""
    block = random.Random(0).randbytes(large // LARGE_FILES)
    small = random.Random(1).randbytes(SMALL_SIZE)
    return {
        "large": lambda: (("d0", block) for _ in range(LARGE_FILES)),
        "small": lambda: ((f"d{number // PER_DIRECTORY}", small) for number in range(files)),
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=200, help="MiB of the volume of large files")
    parser.add_argument("--files", type=int, default=5000, help="of the volume of small files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dry-run", action="store_true", help="print, do not append")
    options = parser.parse_args()
    first, _, machine, *_ = header(options.rounds)
    lines = [
        f"{first}: volumes on their way",
        "",
        f"{machine} {options.rounds} rounds of `python -m tests.bench.bench_transfers`,",
        f"{options.large} MiB in {LARGE_FILES} files and {options.files} files of {SMALL_SIZE} bytes, alternating;",
        "median [min..max], ratio to the first, and in brackets the processor time of vos.",
        "",
    ]
    volumes = contents(options.large << 20, options.files)
    sides = Sides()
    try:
        dump = b"".join(dump_of(volumes["large"]()))
        found = measure(sides, "b.large", dump, options.rounds)
        lines += table(sides, f"{options.large} MiB in large files", "MB/s", len(dump) / 1e6, found)
        dump = b"".join(dump_of(volumes["small"]()))
        found = measure(sides, "b.small", dump, options.rounds)
        lines += table(sides, f"{options.files} small files", "files/s", options.files, found)
    finally:
        sides.close()
    print("\n".join(lines))
    if not options.dry_run:
        with open(RESULTS, "a", encoding="utf-8") as results:
            results.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
