"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlserver.interfaces import StoreError


@contextmanager
def appearing(target: str) -> Iterator[str]:
    """A path to write to, empty and readable by its owner only; on success its content appears as `target`, durable.

    Raises StoreError when there is a `target` already or the file system refuses.
    """
    if os.path.lexists(target):
        raise StoreError(f"{target} exists already")
    partial = f"{target}.partial"
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        try:
            yield partial
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
            os.link(partial, target)  # unlike a rename, refuses when somebody else made it meanwhile
        finally:
            os.unlink(partial)
        sync_directory(target)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}") from error


def sync_directory(path: str) -> None:
    """Make durable that a name in this file's directory is what it is."""
    directory = os.open(Path(path).absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
