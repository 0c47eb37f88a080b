"""The label: what this project keeps about a partition on the partition itself, in a file that stock servers ignore.

JSON, replaced atomically, with room to grow: fields this version does not know are kept as they are.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self
from uuid import UUID

from fileserver.interfaces import Damaged

LABEL_FILE = ".txafs-label"
LABEL_VERSION = 1
"""Raised when a program that does not know a newer field would do harm."""


@dataclass(frozen=True, slots=True)
class Label:
    """A partition object's identity and how its volumes are stored."""

    uuid: UUID
    backend: str
    metadata: str = "inode"  # the keeper's name (store/metadata.py)
    converting_to: str = ""  # a conversion was begun: only convert may touch the partition
    version: int = LABEL_VERSION
    unknown: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, partition: str) -> Self | None:
        """The label of the partition at that path, None where there is none. Raises Damaged."""
        path = os.path.join(partition, LABEL_FILE)
        try:
            with open(path, "rb") as file:
                values = json.load(file)
            known = {name: values.pop(name) for name in [each.name for each in fields(cls)] if name in values}
            label = cls(**known | {"uuid": UUID(known["uuid"]), "unknown": values})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"{path} is not a partition label: {error!r}") from error
        if label.version > LABEL_VERSION:
            raise Damaged(f"{path} was written by a newer program (version {label.version})")
        return label

    def write(self, partition: str) -> None:
        """Replace the label; it survives a power cut when this returns."""
        values = asdict(self) | {"uuid": str(self.uuid)}
        values |= values.pop("unknown")
        write_atomically(os.path.join(partition, LABEL_FILE), json.dumps(values, indent=1).encode() + b"\n")


def write_atomically(path: str, data: bytes, mode: int = 0o600, durable: bool = True) -> None:
    """Replace the file at `path`: whoever reads it finds the old bytes or the new, if durable after a power cut too."""
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(fd)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    if durable:
        sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make names in the directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
