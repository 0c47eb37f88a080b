"""Whole files at a time, by system calls that copy, reserve and flush. They may take long: for threads."""

from __future__ import annotations

import ctypes
import os
from errno import ENXIO

from fileserver.store.descriptors import Descriptor

COPY_SIZE = 16 << 20
"""Of one copy_file_range call: a few milliseconds of a disk, before each of which the target is asked for anew."""

_libc = ctypes.CDLL(None, use_errno=True)


def copy_sparse(source: Descriptor, target: Descriptor, length: int) -> None:
    """Copy `length` bytes into an empty file, leaving holes where they are."""
    os.ftruncate(target.to_write(), length)
    offset = 0
    while offset < length:
        try:
            offset = os.lseek(source.fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != ENXIO:  # what is left is a hole
                raise
            return
        end = min(os.lseek(source.fd, offset, os.SEEK_HOLE), length)
        while offset < end:
            size = min(end - offset, COPY_SIZE)
            copied = os.copy_file_range(source.fd, target.to_write(), size, offset, offset)
            if not copied:
                return  # the source became shorter, which its lock forbids
            offset += copied


def cut(file: Descriptor, length: int) -> None:
    """Make the file that long: cut it, or extend it with a hole."""
    os.ftruncate(file.to_write(), length)


def reserve(file: Descriptor, size: int) -> None:
    """Find the room a later write needs, or leave the file as it is. Raises OSError ENOSPC."""
    before = file.size()
    try:
        os.posix_fallocate(file.to_write(), 0, size)
    except OSError:
        os.ftruncate(file.to_write(), before)
        raise


def sync_file_system(file: Descriptor) -> None:
    """Everything written to the file's file system so far survives a power cut. Raises OSError."""
    if _libc.syncfs(file.fd):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
