"""vldb check."""

from __future__ import annotations

import argparse
import sys

from vlserver.operations.soundness import findings
from vlserver.store.sqlite.copies import integrity, snapshot
from vlserver.tools.progress import progress
from vlserver.tools.stores import file_of

SHOWN = 1000
"""Lines of a kind that are printed: whoever has more of them needs a backup, not a list."""


def check(chosen: argparse.Namespace) -> int:
    """First the file, then, if that is sound, what the rows say."""
    path = chosen.file or file_of(chosen.database)
    problems = inspect(path)
    sys.stdout.write(f"{path}: {'damaged' if problems else 'sound'}\n")
    return 1 if problems else 0


def inspect(path: str) -> int:
    """Print what is wrong; the number of things that are damage. Raises StoreError when it cannot be looked at."""
    damage = integrity(path)
    for text in damage[:SHOWN]:
        sys.stdout.write(f"{text}\n")
    if damage:
        return len(damage)
    counts = {True: 0, False: 0}
    with snapshot(path) as transaction, progress("checking") as told:
        for finding in findings(transaction, told):
            counts[finding.warning] += 1
            if counts[finding.warning] <= SHOWN:
                sys.stdout.write(f"{'warning: ' if finding.warning else ''}{finding.text}\n")
    for warning, count in counts.items():
        if count > SHOWN:
            sys.stdout.write(f"... and {count - SHOWN} {'warnings' if warning else 'lines'} more\n")
    return counts[False]
