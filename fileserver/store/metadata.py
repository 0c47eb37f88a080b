"""Where an inode file's owner, group and mode values are kept: what namei stores in the inode itself.

The values carry a 32-bit parameter (a special file's volume id, a data file's data version at its creation) and the
tag; only salvagers read them. Three keepers: the file's real owner and mode (as root), an extended attribute, and a
symbolic link beside the file whose target is the text. The link is made before the file and goes after it, so there
is no moment at which a file has no values or another's; a link without a file means nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Protocol

from construct import Int32ul, Struct

from xdr.layout import fast

ATTRIBUTE = "user.txafs.namei"
SIDECAR_SUFFIX = ".namei"

_ATTRIBUTE_VALUE = fast(Struct("owner" / Int32ul, "group" / Int32ul, "mode" / Int32ul))
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Metadata(Protocol):
    """A keeper. `path` is that of the inode's file; values are (parameter, tag)."""

    name: str

    def create(self, path: str, parameter: int, tag: int, directory: int | None = None) -> int:
        """Create the file with its values and return it open. `path` is relative to an open `directory`, if there is
        one. Raises FileExistsError, FileNotFoundError (no directory).
        """

    def read(self, path: str) -> tuple[int, int] | None:
        """The values, None where there are none. Raises FileNotFoundError."""

    def unlink(self, path: str) -> None:
        """Remove the file and its values. Raises FileNotFoundError."""

    def assign(self, path: str, parameter: int, tag: int) -> None:
        """Give an existing file values, as a conversion does."""


def pack_values(parameter: int, tag: int) -> tuple[int, int, int]:
    """(owner, group, mode) as namei_ops.c SetOGM computes them: 15 bits, 15 bits, and 2 bits beside the tag."""
    return parameter & 0x7FFF, parameter >> 15 & 0x7FFF, parameter >> 27 & 0x18 | tag & 7


def unpack_values(owner: int, group: int, mode: int) -> tuple[int, int]:
    """(parameter, tag) back from owner, group and mode."""
    return (owner | group << 15 | (mode & 0x18) << 27) & 0xFFFFFFFF, mode & 7


class InodeMetadata:
    """namei: the values are the file's owner, group and mode. Needs root."""

    name = "inode"

    def create(self, path: str, parameter: int, tag: int, directory: int | None = None) -> int:
        fd = os.open(path, _CREATE, 0, dir_fd=directory)
        owner, group, mode = pack_values(parameter, tag)
        try:
            os.fchown(fd, owner, group)
            os.fchmod(fd, mode)
        except OSError:
            os.close(fd)
            os.unlink(path, dir_fd=directory)
            raise
        return fd

    def read(self, path: str) -> tuple[int, int] | None:
        status = os.stat(path, follow_symlinks=False)
        return unpack_values(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def assign(self, path: str, parameter: int, tag: int) -> None:
        owner, group, mode = pack_values(parameter, tag)
        os.chown(path, owner, group)
        os.chmod(path, mode)


class AttributeMetadata:
    """namei-user: the values are in one extended attribute."""

    name = "xattr"

    def create(self, path: str, parameter: int, tag: int, directory: int | None = None) -> int:
        fd = os.open(path, _CREATE, 0o600, dir_fd=directory)
        try:
            os.setxattr(fd, ATTRIBUTE, pack_attribute(parameter, tag))
        except OSError:
            os.close(fd)
            os.unlink(path, dir_fd=directory)
            raise
        return fd

    def read(self, path: str) -> tuple[int, int] | None:
        try:
            return unpack_attribute(os.getxattr(path, ATTRIBUTE))
        except OSError as error:
            if error.errno in (errno.ENODATA, errno.ENOTSUP):
                return None
            raise

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def assign(self, path: str, parameter: int, tag: int) -> None:
        os.setxattr(path, ATTRIBUTE, pack_attribute(parameter, tag))

    def forget(self, path: str) -> None:
        """Take the values away from an existing file."""
        os.removexattr(path, ATTRIBUTE)


class SidecarMetadata:
    """namei-user where the file system has no user attributes: the values are the target of a symbolic link."""

    name = "sidecar"

    def create(self, path: str, parameter: int, tag: int, directory: int | None = None) -> int:
        write_sidecar(path, parameter, tag, directory)
        return os.open(path, _CREATE, 0o600, dir_fd=directory)

    def read(self, path: str) -> tuple[int, int] | None:
        os.stat(path)
        try:
            owner, group, mode = os.readlink(path + SIDECAR_SUFFIX).split(":")
        except FileNotFoundError:
            return None
        return unpack_values(int(owner), int(group), int(mode, 8))

    def unlink(self, path: str) -> None:
        os.unlink(path)
        remove_sidecar(path)

    def assign(self, path: str, parameter: int, tag: int) -> None:
        write_sidecar(path, parameter, tag)

    def forget(self, path: str) -> None:
        """Take the values away from an existing file."""
        remove_sidecar(path)


KEEPERS: dict[str, type[Metadata]] = {
    keeper.name: keeper for keeper in (InodeMetadata, AttributeMetadata, SidecarMetadata)
}


def pack_attribute(parameter: int, tag: int) -> bytes:
    """The extended attribute's value."""
    owner, group, mode = pack_values(parameter, tag)
    value: bytes = _ATTRIBUTE_VALUE.pack(owner=owner, group=group, mode=mode)
    return value


def unpack_attribute(value: bytes) -> tuple[int, int] | None:
    """(parameter, tag), or None for a value of another size."""
    if len(value) != _ATTRIBUTE_VALUE.size:
        return None
    record = _ATTRIBUTE_VALUE.unpack(value)
    return unpack_values(record.owner, record.group, record.mode)


def write_sidecar(path: str, parameter: int, tag: int, directory: int | None = None) -> None:
    """Make the link, replacing one that a file of the same name left behind."""
    owner, group, mode = pack_values(parameter, tag)
    remove_sidecar(path, directory)
    os.symlink(f"{owner}:{group}:{mode:o}", path + SIDECAR_SUFFIX, dir_fd=directory)


def remove_sidecar(path: str, directory: int | None = None) -> None:
    """Remove the link if there is one."""
    with suppress(FileNotFoundError):
        os.unlink(path + SIDECAR_SUFFIX, dir_fd=directory)


def has_user_attributes(directory: str) -> bool:
    """Whether files in `directory` can have user attributes: tried, because mount options decide as well."""
    try:
        os.setxattr(directory, ATTRIBUTE + ".probe", b"")
        os.removexattr(directory, ATTRIBUTE + ".probe")
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOSYS):
            return False
        raise
    return True
