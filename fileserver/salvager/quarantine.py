"""Where a salvage puts what it does not understand: a directory on the partition itself, so that moving is renaming.

`salvaged-aside/GROUP/` repeats the paths of the group's own directory. Nothing in it is ever read, replaced or removed
by this project; its room is given back when an administrator removes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from fileserver.store.metadata import SIDECAR_SUFFIX

DIRECTORY = "salvaged-aside"


class Quarantine:
    """The part of one group. `tell` hears of every file that comes in."""

    def __init__(self, partition: str, group: int, tell: Callable[[str], None]) -> None:
        self._partition = partition
        self._directory = os.path.join(partition, DIRECTORY, str(group))
        self._tell = tell

    def move(self, path: str, name: str, why: str) -> None:
        """Take the file or directory at `path` away, with what a sidecar says of it."""
        target = self._free(name)
        os.rename(path, target)
        if os.path.islink(path + SIDECAR_SUFFIX):
            os.rename(path + SIDECAR_SUFFIX, target + SIDECAR_SUFFIX)
        self._tell(f"{why}: moved to {self._shown(target)}")

    def keep(self, data: bytes, name: str, why: str) -> None:
        """Keep a copy of bytes that are about to be replaced."""
        target = self._free(name)
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
        self._tell(f"{why}: copied to {self._shown(target)}")

    def _free(self, name: str) -> str:
        target = first = os.path.join(self._directory, name)
        count = 0
        while os.path.lexists(target):
            count += 1
            target = f"{first}.{count}"
        os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
        return target

    def _shown(self, target: str) -> str:
        return os.path.relpath(target, self._partition)
