"""Uses files and says how long each step took, run in a client's node; prints JSON. Times are CLOCK_MONOTONIC's.

python -I stalls.py work DIRECTORY STOP   make, write, read and remove files until STOP is there: every gap between the
                                          ends of two steps as [begin, end, step, error], the short ones left out
python -I stalls.py read FILE             read it once: {seconds, content}
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

PAUSE_SECONDS = 0.01
SHORT_SECONDS = 0.005
ERROR_PAUSE_SECONDS = 0.1
"""After a step that failed, lest a dead server makes millions."""


def work(directory: Path, stop: Path) -> list[tuple[float, float, str, str]]:
    """See the module."""
    directory.mkdir(exist_ok=True)
    old = directory / "old"
    old.write_text("old")
    gaps: list[tuple[float, float, str, str]] = []
    last = time.monotonic()
    turn = 0
    while not stop.exists():
        turn += 1
        fresh = directory / f"fresh{turn}"
        steps: dict[str, Callable[[], object]] = {
            "create": lambda fresh=fresh, turn=turn: fresh.write_text(str(turn)),  # type: ignore[misc]
            "read new": lambda fresh=fresh, turn=turn: _same(fresh, str(turn)),  # type: ignore[misc]
            "read old": lambda: _same(old, "old"),
            "remove": lambda fresh=fresh: fresh.unlink(),  # type: ignore[misc]
        }
        for name, step in steps.items():
            error = ""
            try:
                step()
            except OSError as problem:
                error = str(problem)
                time.sleep(ERROR_PAUSE_SECONDS)
            now = time.monotonic()
            if error or now - last > SHORT_SECONDS:
                gaps.append((last, now, name, error))
            last = now
        time.sleep(PAUSE_SECONDS)
    return gaps


def _same(file: Path, written: str) -> None:
    if (read := file.read_text()) != written:
        raise OSError(f"read {read!r}, written was {written!r}")


def read_once(file: Path) -> dict[str, object]:
    """See the module."""
    start = time.monotonic()
    content = file.read_text()
    return {"seconds": time.monotonic() - start, "content": content}


if __name__ == "__main__":
    kind, *words = sys.argv[1:]
    found = work(Path(words[0]), Path(words[1])) if kind == "work" else read_once(Path(words[0]))
    sys.stdout.write(json.dumps(found) + "\n")
