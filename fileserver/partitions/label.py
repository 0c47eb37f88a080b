"""The label: what this project keeps about a partition on the partition itself, in a file that stock servers ignore.

It says which partition object this is, who owns it and since which epoch, and shows by its beat that the owner lives.
The file has two slots; a change goes into the older one, so that whatever a power cut tears, the other is whole. Who
changes it in place holds its lock (`HeldLabel`); who must take it from an owner that does not let go replaces the file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from errno import EAGAIN, EBUSY
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from construct import Bytes, Const, Int32ub, Int64ub, Struct

from fileserver.interfaces import Damaged
from fileserver.store.locks import WHOLE_FILE, write_lock
from xdr.layout import fast

LABEL_FILE = ".txafs-label"
LABEL_VERSION = 2
"""Raised when a program that does not know a newer field would do harm. Version 1 was a file of JSON, without owner."""

SLOT_SIZE = 4096
"""One disk block or page: what is written at once where the storage does that."""

SLOT = fast(
    Struct(
        "magic" / Const(b"txafslbl"),
        "sequence" / Int64ub,
        "checksum" / Bytes(32),
        "length" / Int32ub,
    )
)
"""Head of a slot; `length` bytes of JSON follow. The checksum is SHA-256 of the sequence (8 bytes) and the JSON."""


class LabelState(StrEnum):
    """What the owner last said of the partition."""

    RELEASED = "released"
    """Cleanly closed and nobody's."""
    MOUNTED = "mounted"
    FROZEN = "frozen"
    """Being handed over: the owner answers nothing more, and has not let go yet."""
    TAKING = "taking"
    """Put in the place of another label, whose owner may not know yet: whoever finds it so waits for that first."""


@dataclass(frozen=True, slots=True)
class Label:
    """A partition object's identity, how its volumes are stored, and who has it.

    `epoch` rises with every change of owner, as the VLDB's. `beat` rises every second while the owner lives, `beaten`
    is its Unix time then, `tenure` the seconds for which it trusts one reading of the label. `successor` is whom a
    hand-over is for, `request` the id of the claim or move that made this the state of things.
    """

    uuid: UUID
    backend: str
    metadata: str = "inode"  # the keeper's name (store/metadata.py)
    converting_to: str = ""  # a conversion was begun: only convert may touch the partition
    epoch: int = 0
    owner: UUID | None = None
    state: LabelState = LabelState.RELEASED
    successor: UUID | None = None
    request: UUID | None = None
    beat: int = 0
    beaten: float = 0.0
    tenure: float = 0.0
    version: int = LABEL_VERSION
    unknown: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, partition: str) -> Self | None:
        """The label of the partition at that path, None where there is none. Raises Damaged, OSError."""
        path = label_path(partition)
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:
            return None
        return cls.parse(data, path)

    @classmethod
    def parse(cls, data: bytes, path: str) -> Self:
        """The newer of the whole slots. Raises Damaged, which names `path`."""
        text = data if data.startswith(b"{") else max(_whole_slots(data), default=(0, b""))[1]
        try:
            values = json.loads(text)
            known = {name: values.pop(name) for name in _NAMES if name in values}
            label = cls(**_decoded(known), unknown=values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"{path} is not a partition label: {error!r}") from error
        if label.version > LABEL_VERSION:
            raise Damaged(f"{path} was written by a newer program (version {label.version})")
        return label

    def to_slot(self, sequence: int) -> bytes:
        """One slot of the file. Raises Damaged when what an unknown program added leaves no room."""
        values = {name: value for name, value in asdict(self).items() if name != "unknown"} | self.unknown
        text = json.dumps(values | {"version": LABEL_VERSION}, default=str).encode()
        if SLOT.size + len(text) > SLOT_SIZE:
            raise Damaged(f"the label of partition {self.uuid} takes more than {SLOT_SIZE} bytes")
        head = SLOT.pack(sequence=sequence, checksum=_checksum(sequence, text), length=len(text))
        return (head + text).ljust(SLOT_SIZE, b"\0")

    def to_bytes(self) -> bytes:
        """A new label file."""
        return self.to_slot(1) + bytes(SLOT_SIZE)

    def write(self, partition: str) -> None:
        """Replace the file, for a partition that nobody has. It survives a power cut when this returns."""
        write_atomically(label_path(partition), self.to_bytes())


_NAMES = [each.name for each in fields(Label) if each.name != "unknown"]


class HeldLabel:
    """The label's lock, and with it the right to change the label in place. A kill -9 gives it up.

    The lock is on the whole file, an open-file-description lock: exclusive between hosts where the file system's locks
    are. It does not keep anybody from replacing the file; `read_in_place` tells.
    """

    def __init__(self, partition: str, fd: int, sequence: int) -> None:
        self._partition = partition
        self._fd = fd
        self._sequence = sequence

    @classmethod
    def acquire(cls, partition: str) -> tuple[Self, Label]:
        """Lock the label and read it. Raises OSError EBUSY while another process holds it, FileNotFoundError,
        Damaged.
        """
        path = label_path(partition)
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                _lock(fd, path)
                slots = _whole_slots(os.pread(fd, 2 * SLOT_SIZE, 0))
                held = cls(partition, fd, max(slots, default=(0, b""))[0])
                label = held.read_in_place()
                if label is not None:
                    return held, label
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # replaced between opening and locking

    @classmethod
    def replace(cls, partition: str, label: Label) -> Self:
        """Put a new label in the place of whatever is there, its lock held before it gets its name.

        For a partition's first label, and against an owner that keeps its lock and does not move. Raises OSError.
        """
        path = label_path(partition)
        fresh = f"{path}.{label.epoch}.{label.owner}.new"
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _lock(fd, fresh)
            os.pwrite(fd, label.to_bytes(), 0)
            os.fsync(fd)
            os.rename(fresh, path)
            sync_directory(partition)
        except BaseException:
            os.close(fd)
            raise
        return cls(partition, fd, 1)

    @classmethod
    def displace(cls, partition: str, label: Label) -> tuple[Self, Label | None]:
        """`replace`, and what the file says, once it has no name, that had it until then. Whoever had confirmed an
        ownership by that file has left a beat there. None where that cannot be told.
        """
        path = label_path(partition)
        aside = f"{path}.{label.epoch}.{label.owner}.old"
        with suppress(FileNotFoundError):
            os.unlink(aside)
        try:
            os.link(path, aside)
        except OSError:  # not every file system has links
            return cls.replace(partition, label), None
        held = cls.replace(partition, label)
        try:
            displaced = Label.parse(Path(aside).read_bytes(), aside)  # opened now, so that network file systems look
            os.unlink(aside)
        except (OSError, Damaged):
            return held, None
        return held, displaced

    def write(self, label: Label) -> None:
        """Change the label; durable when this returns. Raises OSError, Damaged."""
        if os.fstat(self._fd).st_size < 2 * SLOT_SIZE:  # of version 1
            other = HeldLabel.replace(self._partition, label)
            os.close(self._fd)
            self._fd, self._sequence = other._fd, other._sequence
            return
        sequence = self._sequence + 1
        os.pwrite(self._fd, label.to_slot(sequence), (sequence + 1) % 2 * SLOT_SIZE)
        os.fdatasync(self._fd)
        self._sequence = sequence

    def read_in_place(self) -> Label | None:
        """The label that has its name now, freshly opened so that network file systems look again; None when it is
        not the file held. Raises OSError, Damaged.
        """
        path = label_path(self._partition)
        try:
            with open(path, "rb") as file:
                named, mine = os.fstat(file.fileno()), os.fstat(self._fd)
                if (named.st_dev, named.st_ino) != (mine.st_dev, mine.st_ino):
                    return None
                return Label.parse(file.read(), path)
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """Give up the lock."""
        os.close(self._fd)


def label_path(partition: str) -> str:
    """Where a partition's label is."""
    return os.path.join(partition, LABEL_FILE)


def _lock(fd: int, path: str) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, write_lock(*WHOLE_FILE))
    except OSError as error:
        if error.errno != EAGAIN:
            raise
        raise OSError(EBUSY, "another process holds the label", path) from None


def _whole_slots(data: bytes) -> list[tuple[int, bytes]]:
    """(sequence, JSON) of the slots whose checksum is right."""
    found = []
    for start in (0, SLOT_SIZE):
        slot = data[start : start + SLOT_SIZE]
        if len(slot) == SLOT_SIZE and slot.startswith(_MAGIC):
            head = SLOT.unpack(slot)
            text = slot[SLOT.size : SLOT.size + head.length]
            if head.checksum == _checksum(head.sequence, text):
                found.append((head.sequence, text))
    return found


_MAGIC = b"txafslbl"


def _checksum(sequence: int, text: bytes) -> bytes:
    return hashlib.sha256(sequence.to_bytes(8, "big") + text).digest()


def _decoded(values: dict[str, Any]) -> dict[str, Any]:
    """JSON's values as the fields' types."""
    for name in ("uuid", "owner", "successor", "request"):
        if values.get(name) is not None:
            values[name] = UUID(values[name])
    if "state" in values:
        values["state"] = LabelState(values["state"])
    return values


def write_atomically(path: str, data: bytes, mode: int = 0o600, durable: bool = True, tag: str = "") -> None:
    """Replace the file at `path`: whoever reads it finds the old bytes or the new, if durable after a power cut too.
    Where several may do so at once each has its own `tag`.
    """
    temporary = f"{path}{tag}.new"
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
