"""A partition's locks: of the whole and of single volumes, as stock DAFS programs take them.

The whole partition is an flock of its directory (vol/partition.c VLockPartition): a stock salvager of a partition
waits for it. Single volumes and the header files are byte ranges of lock files (vol/vutil.c VLockFile). Those are
open-file-description locks: they conflict with the fcntl locks of stock programs, and unlike those they are not lost
when some other descriptor of the file is closed in this process. A kill -9 gives them up.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EAGAIN, EBUSY

from construct import Int16sl, Int32sl, Int64sl, Padding, Struct

from xdr.layout import fast

VOLUME_LOCKS = ".volume.lock"
"""One byte per volume id."""

HEADER_LOCKS = ".volheaders.lock"
HEADER_BYTE = 1
"""Writers of `V*.vol` files hold it shared, whoever scans them all holds it alone (partition.c)."""

WHOLE_FILE = (0, 0)
"""Start and length of a lock on all of a file, however long it gets."""

_FLOCK = fast(
    Struct(
        "type" / Int16sl,
        "whence" / Int16sl,
        Padding(4),
        "start" / Int64sl,
        "length" / Int64sl,
        "pid" / Int32sl,
        Padding(4),
    )
)
"""struct flock of 64-bit Linux."""


class PartitionLock:
    """The whole partition, held until closed. Raises OSError EBUSY when another process has it, EACCES and the like.

    Unless it `must` be had: then another's lock is left where it is.
    """

    def __init__(self, path: str, must: bool = True) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not must:
                return
            os.close(self._fd)
            raise OSError(EBUSY, "another process has the partition open, or salvages it", path) from None

    def close(self) -> None:
        """Give it up."""
        os.close(self._fd)


class ByteLocks:
    """One lock file. Locking a byte twice counts; another process's lock is OSError EBUSY."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        self._held: Counter[int] = Counter()

    def acquire(self, byte: int) -> None:
        """Hold one byte alone, at once or not at all."""
        if not self._held[byte]:
            try:
                fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, write_lock(byte))
            except OSError as error:
                if error.errno != EAGAIN:
                    raise
                raise OSError(EBUSY, f"another process holds byte {byte} of {self.path}") from None
        self._held[byte] += 1

    def release(self, byte: int) -> None:
        """Undo one acquire."""
        self._held[byte] -= 1
        if not self._held[byte]:
            del self._held[byte]
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, byte))

    @contextmanager
    def shared(self, byte: int) -> Iterator[None]:
        """Hold one byte together with other readers, waiting for whoever has it alone."""
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLKW, _flock(fcntl.F_RDLCK, byte))
        try:
            yield
        finally:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, byte))

    def close(self) -> None:
        """Give up every lock."""
        os.close(self._fd)


def remove_locks(path: str) -> None:
    """Let the partition's lock files be made anew: a process that holds the old ones holds nothing any more."""
    for name in (VOLUME_LOCKS, HEADER_LOCKS):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(path, name))


def write_lock(start: int, length: int = 1) -> bytes:
    """struct flock of a lock on those bytes that nobody shares."""
    return _flock(fcntl.F_WRLCK, start, length)


def _flock(kind: int, start: int, length: int = 1) -> bytes:
    packed: bytes = _FLOCK.pack(type=kind, whence=os.SEEK_SET, start=start, length=length, pid=0)
    return packed
