"""A file's value, read again whenever the file has changed: what servers do with keys and lists of administrators."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from twisted.logger import Logger

T = TypeVar("T")

log = Logger()

Signature = tuple[int, int, int, int]


class WatchedFile(Generic[T]):
    """What `parse` makes of a file's content; `missing` where there is none.

    The constructor raises OSError and what `parse` raises (ValueError's kind). Later on, a file that cannot be read or
    understood is logged and the value stays what it was.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T], missing: T) -> None:
        self.path = path
        self._parse = parse
        self._missing = missing
        self._signature = self._look()
        self._value = self._read()

    @property
    def value(self) -> T:
        """The present value. Costs a stat."""
        signature = self._look()
        if signature != self._signature:
            self._signature = signature
            try:
                self._value = self._read()
            except (OSError, ValueError) as problem:
                log.error("{path} is left as it was before: {problem}", path=self.path, problem=problem)
            else:
                log.info("{path} has changed and was read again", path=self.path)
        return self._value

    def _look(self) -> Signature | None:
        """What changes when the file does; None where there is no file, or none that we may see."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _read(self) -> T:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return self._missing
        return self._parse(content)
