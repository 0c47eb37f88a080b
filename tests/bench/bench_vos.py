"""Our vos beside stock's: listvldb of a large database, and an answer about one volume.

`python -m tests.bench.bench_vos [ROUNDS] [VOLUMES]`. The programs take turns on the node of our vlserver. Of each the
processor time it used itself is given too, since a busy machine makes seconds say little.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.vldb_nodes import OwnVlserver, filled
from tests.interop.namespaces import CHECKOUT, Network, Node

ROUNDS, VOLUMES = 5, 100_000
PROGRAMS = {"stock": ("vos",), "own": (sys.executable, "-m", "vos")}
COMMANDS = (("listvldb",), ("listvldb", "-quiet", "-nosort"), ("listvldb", "-name", "v7"))


def measured(node: Node, command: Sequence[str]) -> tuple[float, float]:
    """(seconds, seconds of processor time) of a program in the node."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    entered = ["nsenter", "-t", str(node.pid), "-m", "-u", "-i", "-n", "-p", "--", *command]
    before, used = time.monotonic(), os.times()
    subprocess.run(entered, stdout=subprocess.DEVNULL, env=environment, check=True)
    after = os.times()
    spent = after.children_user + after.children_system - used.children_user - used.children_system
    return time.monotonic() - before, spent


def main() -> None:
    """Measure and print the medians."""
    rounds, volumes = (*map(int, sys.argv[1:]), *(ROUNDS, VOLUMES)[len(sys.argv) - 1 :])
    network = Network()
    try:
        with tempfile.TemporaryDirectory() as directory:
            node = OwnVlserver(network, "fs1", filled(Path(directory), volumes)).node
        for words in COMMANDS:
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
            for _ in range(rounds):
                for name, program in PROGRAMS.items():
                    found[name].append(measured(node, (*program, *words, "-noauth", "-noresolve")))
            medians = {name: [statistics.median(column) for column in zip(*found[name], strict=True)] for name in found}
            ratio = medians["stock"][0] / medians["own"][0]
            cells = "; ".join(
                f"{name} {wall:.2f} s ({spent:.2f} s of the processor)" for name, (wall, spent) in medians.items()
            )
            sys.stdout.write(f"{' '.join(words)}: {cells}; ratio {ratio:.2f}\n")
    finally:
        network.close()


if __name__ == "__main__":
    main()
