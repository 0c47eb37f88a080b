"""Our servers beside stock OpenAFS on this machine: `python -m tests.bench [--rounds N] [--dry-run]`.

Each round measures one cell and then the other, with the same stock FUSE client and the same load generator
(`vlload.c` and `fsmix.c`, compiled here). Then what encryption costs between our own ends (`bench_own`), and both
kinds over a long wire (`bench_wire`). Medians, spread and ratios are appended to RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import rx.call
from tests.bench import bench_own, bench_wire
from tests.interop.namespaces import CHECKOUT, Network, Node
from tests.interop.ours import OurServers
from tests.interop.requirements import missing
from tests.interop.stock import FuseClient, StockCell, add_node

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
LARGE_FILE = 200 << 20
SMALL_FILES = 500
CALLERS = (1, 16, 64)
LOAD_SECONDS = 3
VOLUME = "bench"
COPY = "copy"
DUMP = "/var/log/openafs/bench.dump"
"""Where a node keeps a dump of it."""

FEW = 0.02
"""The part of calls that may be refused: a stock fileserver answers some of a new client's first ones with VBUSY."""

Measured = dict[str, float]


class Side:
    """One cell with its client, measured while the other is idle."""

    def __init__(self, stock: bool, programs: Path) -> None:
        self.network = Network()
        self.programs = programs
        if stock:
            cell = StockCell(self.network, volumes=[VOLUME])
            self.server: Node = cell.node
            self.vos = cell.vos
        else:
            ours = OurServers(self.network)
            self.server = ours.node
            self.vos = ours.vos
            ours.vos("create", "fs1", "a", VOLUME, "-maxquota", "0").check()
            grant = (sys.executable, "-m", "tests.bench.grant", self.server.address, VOLUME)
            self.server.run_now("env", f"PYTHONPATH={CHECKOUT}", *grant).check()
        self.client = FuseClient(add_node(self.network, "ca"))

    def round(self) -> Measured:
        """Everything once."""
        self.client.start()
        measured = {"FUSE write, MB/s": self._files("write", LARGE_FILE)}
        self.client.restart_cold()
        measured["FUSE read, cold, MB/s"] = self._files("read")
        measured["vos dump, MB/s"] = self._dump()
        measured["vos restore, MB/s"] = self._restore()
        measured["FUSE create 1 KiB, files/s"] = self._files("create", SMALL_FILES)
        self.client.restart_cold()
        measured["FUSE stat, cold, files/s"] = self._files("stat")
        measured["FUSE remove, files/s"] = self._files("remove")
        self.client.node.run_now("sh", "-c", f"rm -r {self.client.volume(VOLUME)}/*").check()
        self.client.stop()
        for callers in CALLERS:
            load = ("vlload", "7003", callers, VOLUME)
            measured[f"VL_GetEntryByNameU, {callers} callers, calls/s"] = self._calls(*load)
        examined = self.vos("examine", VOLUME).check().out
        measured["RXAFS mixed, 64 callers, calls/s"] = self._calls("fsmix", "7000", 64, examined.split()[1])
        return measured

    def _files(self, work: str, count: int = 0) -> float:
        program = (sys.executable, "-I", str(HERE / "fuse_load.py"), work, self.client.volume(VOLUME), str(count))
        return float(self.client.node.run_now(*program, seconds=300).check().out)

    def _dump(self) -> float:
        return self._timed("dump", VOLUME, "-file", DUMP)

    def _restore(self) -> float:
        """Into a new volume, with nothing else waiting for the disk."""
        os.sync()
        speed = self._timed("restore", "fs1", "a", COPY, "-file", DUMP)
        self.vos("remove", "-id", COPY).check()
        self.server.path(DUMP).unlink()
        os.sync()
        return speed

    def _timed(self, *words: str) -> float:
        """MB/s of the large file's bytes."""
        start = time.perf_counter()
        self.vos(*words).check()
        return LARGE_FILE / 1e6 / (time.perf_counter() - start)

    def _calls(self, program: str, port: str, callers: int, what: str) -> float:
        load = str(self.programs / program)
        command = (load, self.server.address, port, str(callers), str(LOAD_SECONDS), what)
        done = self.client.node.run_now(*command).check()
        answers, refusals, again = (int(word) for word in done.out.split())
        if refusals > answers * FEW:
            raise SystemExit(f"{program}: {refusals} calls were refused: {done.err}")
        if again:
            sys.stderr.write(f"{program}: {again} packets had to be sent again\n")
        return answers / LOAD_SECONDS


def table(sides: dict[str, list[Measured]]) -> list[str]:
    """Markdown rows: median [min..max] of both, and the ratio of medians."""
    rows = ["| measured | stock | ours | ours/stock |", "|---|---|---|---|"]
    for name in sides["stock"][0]:
        stock, ours = ([each[name] for each in sides[side]] for side in ("stock", "ours"))
        cells = [f"{median(found):.0f} [{min(found):.0f}..{max(found):.0f}]" for found in (stock, ours)]
        rows.append(f"| {name} | {cells[0]} | {cells[1]} | {median(ours) / median(stock):.2f} |")
    return rows


def header(rounds: int) -> list[str]:
    """When, where and what."""
    revision = _output("git", "rev-parse", "--short", "HEAD")
    version = _output("dpkg-query", "-W", "-f=${Version}", "openafs-fileserver")
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    form = "compiled" if rx.call.__file__.endswith(".so") else "not compiled"
    return [
        f"## {time.strftime('%Y-%m-%d %H:%M')} UTC, {revision}: beside OpenAFS {version}",
        "",
        f"{os.cpu_count()} cores, {load}, Linux {platform.release()}, Python {platform.python_version()}, {form}.",
        f"{rounds} rounds, alternating; median [min..max]. FUSE: stock `afsd.fuse`, {LARGE_FILE >> 20} MiB in one,",
        f"{SMALL_FILES} small files. vos: stock, of a volume with the large file. Calls: `vlload.c`,",
        f"`fsmix.c`, {LOAD_SECONDS} s each.",
        "",
    ]


def main() -> int:
    """Measure and append."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dry-run", action="store_true", help="print, do not append")
    options = parser.parse_args()
    if reason := missing():
        sys.exit(f"bench: {reason}")
    lines = header(options.rounds)
    with tempfile.TemporaryDirectory(prefix="txafs-bench-") as place:
        for program in ("vlload", "fsmix"):
            subprocess.run(["cc", "-O2", "-Wall", "-o", Path(place, program), HERE / f"{program}.c"], check=True)
        sides = {"stock": Side(True, Path(place)), "ours": Side(False, Path(place))}
        measured: dict[str, list[Measured]] = {name: [] for name in sides}
        try:
            for number in range(options.rounds):
                for name in sorted(sides, reverse=bool(number % 2)):  # neither always comes first
                    os.sync()  # nor writes while the disk still takes what the other wrote
                    measured[name].append(sides[name].round())
        finally:
            for side in sides.values():
                side.network.close()
    lines += [*table(measured), "", *bench_own.table(options.rounds), "", *bench_wire.table(options.rounds)]
    print("\n".join(lines))
    if not options.dry_run:
        with open(RESULTS, "a", encoding="utf-8") as results:
            results.write("\n" + "\n".join(lines) + "\n")
    return 0


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
