"""Turn a namei partition into a namei-user one and back: `python -m fileserver.store.convert PATH --to namei|namei-
user`.

Offline: no server may have the partition open. Only each file's owner, group and mode values move, between the inode
and the keeper that namei-user uses; content is not touched. The label says that a conversion was begun until all is
done, and no back end opens the partition then; a conversion that was killed is finished by running it again, because
every file shows which side it is on: with namei a mode never has the owner's read and write bits, with namei-user it
always has.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

from fileserver.interfaces import StoreError, WrongBackend
from fileserver.partitions.label import LABEL_FILE, Label
from fileserver.store.descriptors import Descriptors
from fileserver.store.formats import VNODE
from fileserver.store.group import Group, record_offset
from fileserver.store.inodes import (
    DATA_DIRECTORY,
    SPECIAL_DIRECTORY,
    UNIQUE_SHIFT,
    VNODE_MASK,
    decode,
    tag_of,
    vnode_of,
)
from fileserver.store.locks import PartitionLock
from fileserver.store.metadata import (
    SIDECAR_SUFFIX,
    AttributeMetadata,
    InodeMetadata,
    SidecarMetadata,
    has_user_attributes,
)
from fileserver.store.namei_user import BACKEND, NEVER_ATTACH, forbid_stock

USER_MODE = 0o600
"""What namei-user files have, and no namei file can: its mode holds five low bits."""

UserKeeper = AttributeMetadata | SidecarMetadata


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit status 1 when the partition was left unconverted, or half converted."""
    parser = argparse.ArgumentParser(prog="python -m fileserver.store.convert", description="Convert a vice partition.")
    parser.add_argument("path", help="the partition's directory")
    parser.add_argument("--to", required=True, choices=["namei", BACKEND], help="the back-end type it shall have")
    options = parser.parse_args(arguments)
    try:
        count = convert(options.path, options.to)
    except (StoreError, OSError) as error:
        sys.stderr.write(f"{options.path}: {error}\n")
        return 1
    sys.stdout.write(f"{options.path}: {options.to}, {count} files converted\n")
    return 0


def convert(path: str, backend: str) -> int:
    """Convert, or go on converting. Returns the number of files touched. Raises WrongBackend, Damaged, OSError."""
    lock = PartitionLock(path)
    try:
        return _convert(path, backend)
    finally:
        lock.close()


def _convert(path: str, backend: str) -> int:
    label = Label.read(path)
    if label is None:
        label = Label(uuid4(), "namei")
        label.write(path)
    if label.converting_to not in ("", backend):
        raise WrongBackend(f"a conversion to {label.converting_to} was begun: finish that first")
    if label.backend == backend and not label.converting_to:
        owner = os.stat(os.path.join(path, LABEL_FILE) if backend == "namei" else path)
        _give_own_files(path, owner.st_uid, owner.st_gid)  # the last step, in case it was the one cut short
        return 0
    if backend == "namei":
        count = _to_namei(path, replace(label, converting_to=backend))
    else:
        count = _to_user(path, replace(label, converting_to=backend))
    return count


def _to_namei(path: str, label: Label) -> int:
    if os.geteuid():
        raise WrongBackend("only root can give files the owners that namei needs")
    label.write(path)
    old = _user_keeper(label.metadata)
    count = sum(_file_to_namei(group, file, inode, old) for group, file, inode in _files(path))
    for directory, _, names in os.walk(os.path.join(path, DATA_DIRECTORY)):
        os.chown(directory, 0, 0)
        for name in names:
            if name.endswith(SIDECAR_SUFFIX):
                os.unlink(os.path.join(directory, name))
    _give_own_files(path, 0, 0)
    os.sync()
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(path, NEVER_ATTACH))
    replace(label, backend="namei", metadata=InodeMetadata.name, converting_to="").write(path)
    return count


def _to_user(path: str, label: Label) -> int:
    if label.metadata == InodeMetadata.name:
        keeper = AttributeMetadata.name if has_user_attributes(path) else SidecarMetadata.name
        label = replace(label, metadata=keeper)
    forbid_stock(path)
    label.write(path)
    new = _user_keeper(label.metadata)
    owner = os.stat(path)
    count = 0
    for group, file, inode in _files(path):
        _file_to_user(group, file, inode, new, owner)
        count += 1
    for directory, _, _ in os.walk(os.path.join(path, DATA_DIRECTORY)):
        os.chown(directory, owner.st_uid, owner.st_gid)
    os.sync()
    _give_own_files(path, owner.st_uid, owner.st_gid)
    replace(label, backend=BACKEND, converting_to="").write(path)
    os.chown(os.path.join(path, LABEL_FILE), owner.st_uid, owner.st_gid)
    return count


def _file_to_namei(group: Group, file: str, inode: int, old: UserKeeper) -> bool:
    values = old.read(file)
    if values is None and not stat.S_IMODE(os.stat(file).st_mode) & USER_MODE:
        return False
    InodeMetadata().assign(file, *(values or rebuild(group, inode)))
    if values is not None:
        old.forget(file)
    return True


def _file_to_user(group: Group, file: str, inode: int, new: UserKeeper, owner: os.stat_result) -> None:
    """The values first, then the mode that says they are there, so that a kill between loses neither."""
    values = new.read(file)
    if values is None and not stat.S_IMODE(os.stat(file).st_mode) & USER_MODE:
        values = InodeMetadata().read(file)
    new.assign(file, *(values or rebuild(group, inode)))
    os.chown(file, owner.st_uid, owner.st_gid)
    os.chmod(file, USER_MODE)


def rebuild(group: Group, inode: int) -> tuple[int, int]:
    """(parameter, tag) of a file that lost its values, from its name and the index that names it."""
    if vnode_of(inode) == VNODE_MASK:
        return inode >> UNIQUE_SHIFT, tag_of(inode)
    for volume_id in group.members():
        if group.inode_in(volume_id, vnode_of(inode)) == inode:
            index = group.index(volume_id, vnode_of(inode))
            record = VNODE.unpack(os.pread(index.fd, VNODE.size, record_offset(vnode_of(inode))))
            return record.data_version, tag_of(inode)
    return 1, tag_of(inode)


def _files(path: str) -> Iterator[tuple[Group, str, int]]:
    """(group, path, inode) of every inode file on the partition."""
    descriptors = Descriptors()
    for parent in _groups(path):
        group = Group(path, parent, InodeMetadata(), descriptors)
        for directory, _, names in os.walk(group.directory):
            for name in names:
                inode = decode(name)
                file = os.path.join(directory, name)
                if inode is not None and group.path(inode) == file:
                    yield group, file, inode
        descriptors.clear()


def _groups(path: str) -> Iterator[int]:
    data = os.path.join(path, DATA_DIRECTORY)
    for low in sorted(os.listdir(data)):
        if os.path.isdir(os.path.join(data, low)):
            for name in sorted(os.listdir(os.path.join(data, low))):
                parent = decode(name)
                if parent is not None and os.path.isdir(os.path.join(data, low, name, SPECIAL_DIRECTORY)):
                    yield parent


def _give_own_files(path: str, owner: int, group: int) -> None:
    """Headers, locks and the label follow the partition's new master."""
    for name in os.listdir(path):
        file = os.path.join(path, name)
        if os.path.isfile(file):
            os.chown(file, owner, group)


def _user_keeper(name: str) -> UserKeeper:
    return SidecarMetadata() if name == SidecarMetadata.name else AttributeMetadata()


if __name__ == "__main__":
    sys.exit(main())
