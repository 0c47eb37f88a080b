"""Reads files until told to stop: `python -I looking.py DIRECTORY STOP FILE...`; prints what it saw as JSON.

Each line of a file begins with the same number. What is printed: [file, number, begun, ended] in seconds of the
machine's clock, and [error, when] for what failed. STOP.turns is touched whenever all files were read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

PAUSE_SECONDS = 0.005
"""Between two reads: several in the time a store takes, and the machine has other things to do."""


def numbers(content: bytes) -> set[int]:
    """Those in a file: one, unless it was seen in the middle of a change."""
    return {int(line.split()[0]) for line in content.splitlines()}


def main() -> None:
    """The command."""
    directory, stop, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    turns = Path(f"{stop}.turns")
    seen: list[tuple[str, int, float, float]] = []
    errors: list[tuple[str, float]] = []
    while not stop.exists():
        for name in names:
            begun = time.monotonic()
            try:
                found = numbers((directory / name).read_bytes())
            except OSError as error:
                errors.append((os.strerror(error.errno or 0), begun))
                time.sleep(PAUSE_SECONDS)
                continue
            ended = time.monotonic()
            if len(found) > 1:
                errors.append((f"{name} is torn: {sorted(found)}", begun))
            seen.append((name, max(found, default=0), begun, ended))
            time.sleep(PAUSE_SECONDS)
        turns.touch()
    sys.stdout.write(json.dumps({"seen": seen, "errors": errors}) + "\n")


if __name__ == "__main__":
    main()
