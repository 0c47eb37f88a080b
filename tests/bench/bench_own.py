"""What encryption costs between our own ends on loopback: `python -m tests.bench.bench_own [--rounds 3]`.

`bench_rpc` without security and at rxkad's level crypt, in alternation, a server and a client process of one core each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from statistics import median

from rx.security import fcrypt
from tests.interop.namespaces import CHECKOUT

LEVELS: dict[str, tuple[str, ...]] = {"no security": (), "crypt": ("--level", "crypt")}


def once(words: tuple[str, ...]) -> dict[str, float]:
    """One run."""
    command = [sys.executable, "-m", "tests.bench.bench_rpc", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def table(rounds: int) -> list[str]:
    """Measure; Markdown rows: median [min..max] of both."""
    found: dict[str, list[dict[str, float]]] = {level: [] for level in LEVELS}
    for number in range(rounds):
        for level in sorted(LEVELS, reverse=bool(number % 2)):
            found[level].append(once(LEVELS[level]))
    rows = [
        f"| own ends on loopback, fcrypt in {'C' if fcrypt.FAST else 'Python'} | {' | '.join(LEVELS)} | ratio |",
        "|---|---|---|---|",
    ]
    for name in found["crypt"][0]:
        each = [[one[name] for one in found[level]] for level in LEVELS]
        cells = " | ".join(f"{median(some):.0f} [{min(some):.0f}..{max(some):.0f}]" for some in each)
        rows.append(f"| {name} | {cells} | {median(each[1]) / median(each[0]):.2f} |")
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_own", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    print("\n".join(table(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
