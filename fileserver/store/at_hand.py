"""Reading and opening what the system has in memory, in the reactor's thread; what a disk must be asked for is not.

A disk may answer late or never. Whoever gets None from here asks it in a thread, and other calls go on meanwhile.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from errno import EAGAIN, EINVAL, ENOSYS, EOPNOTSUPP, EPERM

from fileserver.store.descriptors import Descriptor

_OPENAT2 = 437
"""The number of the system call, the same on every machine (Linux 5.6)."""
_AT_FDCWD = -100
_RESOLVE_CACHED = 0x20
"""openat2(2): only by names that are in memory (Linux 5.12)."""

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    """struct open_how."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_READ_WRITE = _OpenHow(os.O_RDWR | os.O_CLOEXEC, 0, _RESOLVE_CACHED)


_PAGE = os.sysconf("SC_PAGESIZE")


def always() -> bool:
    """Of a file system that is asked although it may keep somebody waiting."""
    return True


def read_at_hand(file: Descriptor, size: int, offset: int, ask: Callable[[], bool] = always) -> bytes | None:
    """As pread: short only at the file's end. None where a disk would have to be waited for. A file system that cannot
    tell is asked all the same, if `ask` says so.
    """
    if not file.tells:
        return os.pread(file.fd, size, offset) if ask() else None
    buffer = bytearray(size)
    try:
        count = os.preadv(file.fd, [buffer], offset, os.RWF_NOWAIT)
        if 0 < count < size and os.preadv(file.fd, [bytearray(1)], offset + count, os.RWF_NOWAIT):
            return None  # it goes on, from where it is not in memory
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno != EOPNOTSUPP:
            raise
        file.tells = False
        return read_at_hand(file, size, offset, ask)
    return bytes(buffer) if count == size else bytes(buffer[:count])


def pages_at_hand(file: Descriptor, offset: int, size: int) -> bool:
    """Whether what a write there leaves of the pages at its two ends is in memory, if there is anything: else the disk
    is read before.
    """
    ends = [place for place in (offset, offset + size) if place % _PAGE]
    if not ends:
        return True
    length = file.size()
    return all(place >= length or read_at_hand(file, 1, place) is not None for place in ends)


def open_at_hand(path: str) -> int | None:
    """A descriptor for reading and writing, None where a disk may have to be waited for. Raises OSError."""
    fd: int = _libc.syscall(_OPENAT2, _AT_FDCWD, os.fsencode(path), ctypes.byref(_READ_WRITE), ctypes.sizeof(_OpenHow))
    if fd >= 0:
        return fd
    number = ctypes.get_errno()
    if number == EAGAIN:
        return None
    if number in (ENOSYS, EINVAL, EPERM):  # an older kernel, or a sandbox that knows no such call
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    raise OSError(number, os.strerror(number), path)
