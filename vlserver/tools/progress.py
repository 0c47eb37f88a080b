"""How far a long piece of work is: a bar on a terminal (tqdm's, where that is installed), silence anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from time import monotonic

STEP_SECONDS = 0.2
"""Between two drawings of a bar."""

WIDTH = 40
"""Characters of the plain bar."""

Progress = Callable[[int, int], None]


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """A function to tell how much is done, of how much; what it draws is gone at the end."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
    elif find_spec("tqdm"):
        from tqdm import tqdm

        with tqdm(desc=what, leave=False, unit_scale=True, mininterval=STEP_SECONDS) as bar:

            def told(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield told
    else:
        yield _Plain(what).told
        sys.stderr.write("\r\x1b[K")


class _Plain:
    """A bar of hashes on the terminal's last line."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = 0.0

    def told(self, done: int, total: int) -> None:
        """Draw, if the last time is long enough ago."""
        now = monotonic()
        if now - self._shown < STEP_SECONDS:
            return
        self._shown = now
        part = min(done / total, 1) if total else 1.0
        hashes = "#" * round(part * WIDTH)
        sys.stderr.write(f"\r{self._what} [{hashes:<{WIDTH}}] {part:4.0%}")
        sys.stderr.flush()
