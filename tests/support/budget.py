"""How often a repeated or randomised test runs, and from which seed: the one place both come from.

`make test` runs a stated fraction of each full count with a fresh seed, printed when the run ends; `make soak` runs the
full counts (`TXAFS_SOAK=1`). `TXAFS_SEED=n` repeats a run.
"""

from __future__ import annotations

import os
import random
import sys
from atexit import register
from dataclasses import dataclass

FRACTION = 50
"""`make test` runs one fiftieth of a full count: about as much as half an hour on two cores holds in all."""

SOAK = os.environ.get("TXAFS_SOAK") == "1"
SEED = int(os.environ.get("TXAFS_SEED") or random.SystemRandom().randrange(1 << 32))


@dataclass(frozen=True, slots=True)
class Budget:
    """How many repetitions, and the seed they start from."""

    count: int
    seed: int


def budget(name: str, full: int, least: int = 1) -> Budget:
    """The budget of the test called `name`, whose soak count is `full`; never fewer than `least` repetitions."""
    count = full if SOAK else max(least, full // FRACTION)
    _spent[name] = count
    return Budget(count, random.Random(f"{SEED}/{name}").randrange(1 << 63))


_spent: dict[str, int] = {}


def _print_seed() -> None:
    if _spent:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(_spent.items()))
        sys.stderr.write(f"TXAFS_SEED={SEED} ({'soak' if SOAK else f'1/{FRACTION} of the soak'}): {counts}\n")


register(_print_seed)
