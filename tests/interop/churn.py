"""Uses a directory until told to stop: `python -I churn.py DIRECTORY STOP`; prints what it met as JSON.

Each turn makes a file, writes it, reads it back, reads an old one, and removes the new one again. The longest gap is
between the ends of two steps. A step that fails, or reads what was not written, is an error and is not repeated, but
for one: when a server refuses a volume that is away for a moment, the stock client asks again, and then says ENODEV
where it should say that a name is not there (afs_CheckCode, for the rest of that request). Making a file begins with
such a question, so it is asked once more; these are counted as misled.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

OLD = "old"
PAUSE_SECONDS = 0.01
"""Between two turns: a client that works, not one that only waits for its server."""

ERRORS_KEPT = 20


class Churn:
    """One run."""

    def __init__(self, directory: Path, stop: Path) -> None:
        self._directory = directory
        self._stop = stop
        self.steps = 0
        self.longest = 0.0
        self.after = 0
        """Steps since the longest gap."""
        self.longest_step = ""
        self.errors: list[str] = []
        self.misled = 0
        self._last = time.monotonic()

    def run(self) -> None:
        """Until the stop file is there."""
        old = self._directory / OLD
        self._make(old, OLD)
        self._last = time.monotonic()
        turn = 0
        while not self._stop.exists():
            turn += 1
            fresh = self._directory / f"fresh{turn}"
            content = f"{turn} {os.getpid()}"
            self._step("create", lambda fresh=fresh, content=content: self._make(fresh, content))  # type: ignore[misc]
            self._step("read new", lambda fresh=fresh, content=content: _differs(fresh.read_text(), content))  # type: ignore[misc]
            self._step("read old", lambda: _differs(old.read_text(), OLD))
            self._step("remove", lambda fresh=fresh: fresh.unlink() or "")  # type: ignore[misc]
            time.sleep(PAUSE_SECONDS)

    def _make(self, fresh: Path, content: str) -> str:
        try:
            fresh.write_text(content)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            self.misled += 1
            fresh.write_text(content)
        return ""

    def _step(self, name: str, act: Callable[[], str]) -> None:
        try:
            problem = act()
        except OSError as error:
            problem = str(error)
        if problem and len(self.errors) < ERRORS_KEPT:
            self.errors.append(f"{name}: {problem}")
        self.steps += 1
        now = time.monotonic()
        self.after += 1
        if now - self._last > self.longest:
            self.longest, self.longest_step, self.after = now - self._last, name, 0
        self._last = now


def _differs(read: str, written: str) -> str:
    return "" if read == written else f"read {read!r}, written was {written!r}"


def main() -> None:
    """The command."""
    churn = Churn(Path(sys.argv[1]), Path(sys.argv[2]))
    churn.run()
    result = {
        "steps": churn.steps,
        "longest": churn.longest,
        "step": churn.longest_step,
        "after": churn.after,
        "errors": churn.errors,
        "misled": churn.misled,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
