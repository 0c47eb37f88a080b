"""Which directories are partitions, and which back end one of them wants.

The rules are OpenAFS's (vol/partition.c): a `/vicepX` is attached when it is a file system of its own or carries
AlwaysAttach, and left alone when it carries NeverAttach alone; but a namei-user partition, which carries NeverAttach
against stock servers, is ours.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.logger import Logger

from afs.names import parse_partition
from fileserver.partitions.label import Label
from fileserver.store import namei_user
from fileserver.store.namei import NameiPartition, open_namei
from fileserver.store.namei_user import ALWAYS_ATTACH, NEVER_ATTACH, open_namei_user


def vice_partitions(root: str = "/") -> list[tuple[str, int]]:
    """(path, number) of every partition in `root` that a server attaches by itself, in the order of numbers."""
    found = []
    for name in os.listdir(root):
        path = os.path.join(root, name)
        if name.startswith("vicep") and os.path.isdir(path):
            try:
                number = parse_partition(name)
            except ValueError:
                log.warn("{path} is a bad partition name; ignored", path=path)
                continue
            if _attaches(path):
                found.append((path, number))
    return sorted(found, key=lambda each: each[1])


def open_partition(path: str, number: int, reactor: Any) -> NameiPartition:
    """Open a partition as what its label says; one without a label as namei by root, as namei-user by anyone else.

    Raises WrongBackend, Damaged, OSError (EBUSY: another process has it).
    """
    label = Label.read(path)
    backend = label.backend if label else "namei" if os.geteuid() == 0 else namei_user.BACKEND
    if backend == namei_user.BACKEND:
        return open_namei_user(path, number, reactor)
    return open_namei(path, number, reactor)


def _attaches(path: str) -> bool:
    label = Label.read(path)
    if label is not None and label.backend == namei_user.BACKEND:
        return True
    if os.path.exists(os.path.join(path, ALWAYS_ATTACH)):
        return True
    if os.path.exists(os.path.join(path, NEVER_ATTACH)):
        return False
    if not os.path.ismount(path):
        log.info("{path} is no file system of its own; create {path}/AlwaysAttach to have it attached", path=path)
        return False
    return True


log = Logger()
