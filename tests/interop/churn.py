"""Uses a directory until told to stop: `python -I churn.py DIRECTORY STOP`; prints what it met as JSON.

Each turn makes a file, writes it, reads it back, reads an old one, and removes the new one again. The longest gap is
between the ends of two steps. A step that fails, or reads what was not written, is an error and is not repeated, but
for one: when a server refuses a volume that is away for a moment, the stock client asks again, and then says ENODEV
where it should say that a name is not there (afs_CheckCode, for the rest of that request). Making a file begins with
such a question, so it is asked once more; these are counted as misled. After each turn STOP.turns is touched.

What is printed of `problems`: [begun, ended, step, name, errno or 0], of `gaps` between the ends of two steps, the
short ones left out: [begun, ended, step]; in seconds of the machine's clock.
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

ERRORS_KEPT = 200
GAP_SECONDS = 0.1
"""Shorter ones are a busy machine's."""


class Churn:
    """One run."""

    def __init__(self, directory: Path, stop: Path) -> None:
        self._directory = directory
        self._stop = stop
        self._turns = Path(f"{stop}.turns")
        self.steps = 0
        self.longest = 0.0
        self.after = 0
        """Steps since the longest gap."""
        self.longest_step = ""
        self.errors: list[str] = []
        self.problems: list[tuple[float, float, str, str, int]] = []
        self.gaps: list[tuple[float, float, str]] = []
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
            self._step("create", fresh, lambda file, content=content: self._make(file, content))  # type: ignore[misc]
            self._step("read new", fresh, lambda file, content=content: _differs(file.read_text(), content))  # type: ignore[misc]
            self._step("read old", old, lambda file: _differs(file.read_text(), OLD))
            self._step("remove", fresh, _remove)
            self._turns.touch()
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

    def _step(self, name: str, file: Path, act: Callable[[Path], str]) -> None:
        begun, number = time.monotonic(), 0
        try:
            problem = act(file)
        except OSError as error:
            problem, number = str(error), error.errno or 0
        now = time.monotonic()
        if problem and len(self.errors) < ERRORS_KEPT:
            self.errors.append(f"{name}: {problem}")
            self.problems.append((begun, now, name, file.name, number))
        self.steps += 1
        self.after += 1
        if now - self._last > GAP_SECONDS:
            self.gaps.append((self._last, now, name))
        if now - self._last > self.longest:
            self.longest, self.longest_step, self.after = now - self._last, name, 0
        self._last = now


def _remove(file: Path) -> str:
    file.unlink()
    return ""


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
        "problems": churn.problems,
        "gaps": churn.gaps,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
