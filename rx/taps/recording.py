"""The files of taps that record: how they are opened, and what happens when they take no more."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path


def private(path: str, flags: int) -> int:
    """An `opener`: a file that is made is its owner's alone, for it holds what callers send and read."""
    return os.open(path, flags, 0o600)


class Recording:
    """What recorders of one tap write to its file. When that fails it ends: `report` is told why, once, and the ports
    go on without it.
    """

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._path = path
        self._report = report
        self._ended = False

    def write(self, file: FileIO, record: bytes) -> None:
        """Write a record whole. After one that could not be, none follows: readers would not find its beginning."""
        if self._ended:
            return
        try:
            written = file.write(record)
            problem = "" if written == len(record) else f"{written} bytes of {len(record)} written"
        except OSError as error:
            problem = error.strerror or str(error)
        if problem:
            self._ended = True
            self._report(f"{self._path}: {problem}: nothing more is recorded in it until the server starts again")
