"""A partition changes its server: what each kind of client notices, beside what stock has instead.

    python -m tests.bench.bench_move [--sizes 1,1000,100000] [--moves 10] [--crashes 2] [--dry-run]

Planned: partitions with so many volumes move there and back (of the volumes at most ATTACHED are attached before each
move), and stock's `vos move` of one volume. Crash: the server is killed, stopped or cut off, and at once one command
mounts the partition on the other, with and without taking over the address. Clients are stock's `afsd.fuse` (at work,
and idle with a cached file) and ours (a writer). Medians and spread are appended to RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from statistics import median

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import react

from tests.bench.__main__ import RESULTS, header
from tests.bench.moving_cells import KINDS, OurPartition, stock_moves

Found = dict[str, list[float]]

SPREAD = "longest stall or time to the next success of each, in seconds: median [min..max]."

PLANNED_CLIENTS = ("FUSE at work", "FUSE idle, first read after", "own writer", "the move itself")
CRASHED_CLIENTS = ("FUSE idle", "FUSE, call in flight", "own writer", "the command itself")


async def planned(sizes: Sequence[int], moves: int) -> dict[int, Found]:
    """Longest stalls in seconds, by size and client."""
    found = {}
    for size in sizes:
        place = OurPartition()
        try:
            await place.start(size)
            found[size] = await place.moves(moves)
        finally:
            await place.close()
    return found


async def crashed(rounds: int, takeover: bool) -> dict[str, Found]:
    """Seconds from the command to the next success, by kind of crash and client. The kinds are tried side by side: what
    takes long is waiting.
    """
    found: dict[str, Found] = {kind: {client: [] for client in CRASHED_CLIENTS} for kind in KINDS}
    for _ in range(rounds):
        places = {kind: OurPartition(takeover=takeover) for kind in KINDS}
        try:
            for place in places.values():
                await place.start(1)
            results = await gatherResults(
                [ensureDeferred(place.crash(kind, takeover)) for kind, place in places.items()]
            )
            for kind, result in zip(places, results, strict=True):
                for client, seconds in result.items():
                    found[kind][client].append(seconds)
        finally:
            for place in places.values():
                await place.close()
    return found


def cell(seconds: Sequence[float]) -> str:
    """Median and spread."""
    return f"{median(seconds):.2f} [{min(seconds):.2f}..{max(seconds):.2f}]" if seconds else "-"


def planned_table(found: dict[int, Found], stock: list[float]) -> list[str]:
    """Markdown."""
    sizes = list(found)
    rows = [
        "| planned, seconds | "
        + " | ".join(f"{size:,} volumes" for size in sizes)
        + " | stock, `vos move` of one | stock/ours |",
        "|---" * (len(sizes) + 3) + "|",
    ]
    for client in PLANNED_CLIENTS:
        ours = [found[size][client] for size in sizes]
        cells = [cell(each) for each in ours]
        compared = client == "FUSE at work" and bool(stock)
        beside = cell(stock) if compared else ""
        ratio = f"{median(stock) / median(ours[0]):.1f}; worst {max(stock) / max(ours[0]):.0f}" if compared else ""
        rows.append(f"| {client} | {' | '.join(cells)} | {beside} | {ratio} |")
    return rows


def crash_table(plain: dict[str, Found], taken: dict[str, Found]) -> list[str]:
    """Markdown."""
    rows = [
        "| crash, seconds from the command | "
        + " | ".join(f"{kind}" for kind in KINDS)
        + " | stock, as measured before |",
        "|---" * (len(KINDS) + 2) + "|",
    ]
    for words, found in (("", plain), (", address taken over", taken)):
        for client in CRASHED_CLIENTS:
            if found:
                cells = " | ".join(cell(found[kind][client]) for kind in KINDS)
                stock = "57 to 65, then errors for ever" if client.startswith("FUSE") and not words else ""
                rows.append(f"| {client}{words} | {cells} | {stock} |")
    return rows


async def bench(options: argparse.Namespace) -> None:
    """Measure and append."""
    sizes = [int(word) for word in options.sizes.split(",")] if options.sizes else []
    first, *_ = header(options.moves)
    heading = f"{first}: a partition changes its server"
    counts = f"{options.moves} moves of each size, {options.crashes} crashes of each kind;"
    command = f"`python -m tests.bench.bench_move`, {counts}"
    lines = [heading, "", f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start. {command}", SPREAD, ""]
    if sizes:
        stock = await stock_moves(options.stock) if options.stock else []
        lines += [*planned_table(await planned(sizes, options.moves), stock), ""]
    if options.crashes:
        taken = await crashed(options.crashes, True)
        lines += [*crash_table(await crashed(options.crashes, False), taken), ""]
    print("\n".join(lines))
    if not options.dry_run:
        with open(RESULTS, "a", encoding="utf-8") as results:
            results.write("\n" + "\n".join(lines))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1,1000,100000")
    parser.add_argument("--moves", type=int, default=10)
    parser.add_argument("--stock", type=int, default=6, help="moves of a volume between stock servers")
    parser.add_argument("--crashes", type=int, default=2, help="rounds of each kind")
    parser.add_argument("--dry-run", action="store_true", help="print, do not append")
    options = parser.parse_args()
    react(lambda _: ensureDeferred(bench(options)))


if __name__ == "__main__":
    main()
