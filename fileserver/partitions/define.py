"""Clear a partition for mounting here: read or make its label, put it into the table, tell the VLDB."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from twisted.logger import Logger

from afs.rpc.partitions import PartitionRequest
from fileserver.partitions.label import LABEL_FILE, Label
from fileserver.partitions.means import MEMORY, Means
from fileserver.partitions.table import Known
from fileserver.partitions.take import Refused
from fileserver.partitions.vldb import VldbError
from fileserver.store.namei import begin_namei
from fileserver.store.namei_user import BACKEND, begin_namei_user

log = Logger(namespace="fileserver.partitions")

NIL = UUID(int=0)

_STOCK_FILES = ("AFSIDat", "Lock", "AlwaysAttach", "NeverAttach", ".volume.lock", ".volheaders.lock", "salvage.lock")
"""What a plain OpenAFS partition has beside its volumes' headers."""


async def define(means: Means, wanted: Known, request: PartitionRequest, create: bool = False) -> Known:
    """Add or change a row of the table. A nil UUID and an empty back end are taken from the label; with `create` a
    directory that has none, and is empty or an OpenAFS partition, gets one.

    Raises Refused, Taken, VldbError, WrongBackend, Damaged, OSError: nothing was changed, but that a new label may have
    been written.
    """
    known = await means.in_thread(_identified, wanted, create)
    if known.backend not in means.openers:
        raise Refused(f"there is no back end {known.backend}: one of {', '.join(sorted(means.openers))}")
    before = means.table.get(known.uuid)
    if before is not None:
        if means.registry.partition(before.number) is not None and _place(before) != _place(known):
            raise Refused(f"{before.name} is mounted: its place cannot change")
        known = replace(known, wanted=before.wanted, taken=before.taken, fenced=before.fenced, left=before.left)
    means.table.put(known)
    try:
        if await means.vldb.has_partitions():
            await means.vldb.define(known, request)
    except VldbError:
        if before is None:
            means.table.remove(known.uuid)
        else:
            means.table.put(before)
        raise
    return known


async def undefine(means: Means, known: Known, request: PartitionRequest) -> None:
    """Take it back. Data and label stay as they are. Raises Refused while it is mounted here, VldbError, OSError."""
    if means.registry.partition(known.number) is not None:
        raise Refused(f"{known.name} is mounted here")
    if await means.vldb.has_partitions():
        await means.vldb.undefine(known.uuid, request)
    means.table.remove(known.uuid)


def _place(known: Known) -> tuple[str, int, str]:
    return known.path, known.number, known.backend


def _identified(wanted: Known, create: bool) -> Known:
    """With the UUID and back end that its label has."""
    if wanted.backend == MEMORY:
        return replace(wanted, path="", uuid=wanted.uuid if wanted.uuid != NIL else uuid4())
    if not os.path.isabs(wanted.path):
        raise Refused(f"{wanted.path!r} is not an absolute path")
    label = Label.read(wanted.path) if os.path.isdir(wanted.path) else None
    if label is None:
        label = _without_label(wanted, create)
        if label is None:
            return wanted
    if wanted.uuid not in (NIL, label.uuid):
        raise Refused(f"{wanted.path} is partition {label.uuid}, not {wanted.uuid}")
    if wanted.backend not in ("", label.backend):
        raise Refused(f"{wanted.path} is a {label.backend} partition, not {wanted.backend}")
    return replace(wanted, uuid=label.uuid, backend=label.backend)


def _without_label(wanted: Known, create: bool) -> Label | None:
    """A new label; None where it is to be read later, once the hook has mounted the storage."""
    if create:
        if not os.path.isdir(wanted.path):
            raise Refused(f"{wanted.path} is not a directory")
        _check_plain(wanted.path)
        backend = wanted.backend or ("namei" if os.geteuid() == 0 else BACKEND)
        begin = begin_namei if backend == "namei" else begin_namei_user
        return begin(wanted.path, wanted.uuid if wanted.uuid != NIL else uuid4())
    if wanted.hook and wanted.uuid != NIL and wanted.backend:
        return None
    raise Refused(f"{wanted.path} has no label: -create makes one")


def _check_plain(path: str) -> None:
    """Raises Refused unless the directory is empty or an OpenAFS partition."""
    for name in os.listdir(path):
        if name not in _STOCK_FILES and not name.endswith(".vol") and name not in ("lost+found", LABEL_FILE):
            raise Refused(f"{path} is neither empty nor an AFS partition: it has {name}")


@dataclass(frozen=True, slots=True)
class Seed:
    """A partition named on the command line: what a server's table begins with. Without `backend` as its label says,
    else namei for root. A `uuid` is for one in memory.
    """

    path: str
    number: int
    backend: str = ""
    uuid: UUID = NIL


def seeded(seed: Seed) -> Known:
    """Its row, wanted; a label is made where there is none. Raises Refused, WrongBackend, Damaged, OSError."""
    return _identified(Known(seed.uuid, seed.path, seed.number, seed.backend, wanted=True), create=True)
