"""The salvage of one group: locks, plan, commit, report. And the groups of a partition."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from fileserver.interfaces import SalvageFailed, SalvageReport
from fileserver.partitions.label import LABEL_FILE, HeldLabel, Label
from fileserver.salvager.commit import Commit
from fileserver.salvager.plan import Plan, make_plan
from fileserver.salvager.quarantine import Quarantine
from fileserver.salvager.tree import Tell
from fileserver.store.formats import VOLUME_FILE
from fileserver.store.inodes import DATA_DIRECTORY, Special, decode, encode, group_directory, inode_path, special_inode
from fileserver.store.locks import VOLUME_LOCKS, ByteLocks, PartitionLock
from fileserver.store.metadata import KEEPERS, InodeMetadata, Metadata
from fileserver.store.volume_file import pack_volume_file, volume_file_name

MAX_MESSAGES = 1000
"""Kept for a group's report, as an index of garbage has millions; all are told as they come."""
FORCE_SALVAGE = "FORCESALVAGE"
READY = "ready"
"""To a session: answer as soon as it is started."""
TIDY = "tidy"
"""To a session: what is left when all groups are salvaged."""
MAX_VOLUME = 0xFFFFFFFF

_HEADER_NAME = re.compile(r"V.*\.vol")


@dataclass(frozen=True, slots=True)
class Place:
    """A partition under salvage. `dry_run` changes nothing, `attach` gives orphans names."""

    path: str
    metadata: Metadata
    dry_run: bool = False
    attach: bool = True

    def forget_force(self) -> None:
        """Take away the mark that keeps servers from a partition until all of it is salvaged."""
        if not self.dry_run:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self.path, FORCE_SALVAGE))


@dataclass(slots=True)
class Told:
    """What was repaired, as it is said."""

    tell: Tell
    messages: list[str] = field(default_factory=list)
    volumes: set[int] = field(default_factory=set)
    count: int = 0

    def __call__(self, message: str) -> None:
        self.count += 1
        if self.count <= MAX_MESSAGES:
            self.messages.append(message)
        if match := re.match(r"volume (\d+):", message):
            self.volumes.add(int(match[1]))
        self.tell(message)

    def kept(self) -> tuple[str, ...]:
        more = self.count - len(self.messages)
        return (*self.messages, f"and {more} more") if more else tuple(self.messages)


@contextmanager
def opened(path: str, dry_run: bool, attach: bool, locked: bool) -> Iterator[Place]:
    """A partition that no server has, or whose server asks for this (`locked`). Raises SalvageFailed, Damaged,
    OSError.
    """
    label = Label.read(path)
    if label is not None and label.converting_to:
        raise SalvageFailed(f"{path} is being converted to {label.converting_to}: run the conversion again first")
    if not os.path.isdir(os.path.join(path, DATA_DIRECTORY)):
        raise SalvageFailed(f"{path} has no {DATA_DIRECTORY}: it is no partition, or nothing was ever stored on it")
    metadata = KEEPERS[label.metadata]() if label is not None else InodeMetadata()
    if isinstance(metadata, InodeMetadata) and os.geteuid() and not dry_run:
        raise SalvageFailed(f"{path} is a namei partition: only root can salvage it")
    with ExitStack() as stack:
        if not locked:
            stack.callback(PartitionLock(path).close)
            if label is not None and os.path.exists(os.path.join(path, LABEL_FILE)):
                stack.callback(HeldLabel.acquire(path)[0].close)
        yield Place(path, metadata, dry_run, attach)


def salvage_group(place: Place, group: int, tell: Tell) -> SalvageReport:
    """Repair one group. Raises SalvageFailed when somebody has one of its volumes, OSError."""
    told = Told(tell)
    locks = ByteLocks(os.path.join(place.path, VOLUME_LOCKS))
    try:
        locks.acquire(group)
        plan = make_plan(place.path, group, place.metadata, place.attach, told)
        for volume_id in plan.infos:
            locks.acquire(volume_id)
        if not place.dry_run and (told.count or _quietly_wrong(plan)):
            Commit(plan, place.metadata, Quarantine(place.path, group, told)).run(told.volumes)
    finally:
        locks.close()
    volumes = tuple(sorted(member.id for member in plan.group.members))
    lost = tuple(sorted(member.id for member in (*plan.lost, *plan.destroyed)))
    return SalvageReport(group, volumes, lost, told.kept())


def _quietly_wrong(plan: Plan) -> bool:
    """Marks of an unclean end, which are taken away without a word."""
    infos = (plan.infos[member.id] for member in plan.group.members)
    return any(info.header != info.original for info in infos)


def groups(path: str) -> list[int]:
    """Every group that has a directory."""
    found = set()
    data = os.path.join(path, DATA_DIRECTORY)
    for low in os.listdir(data):
        for name in os.listdir(os.path.join(data, low)) if os.path.isdir(os.path.join(data, low)) else ():
            parent = decode(name)
            if parent is not None and 0 < parent <= MAX_VOLUME and encode(parent & 0xFF) == low:
                found.add(parent)
    return sorted(found)


def stray_headers(place: Place, sound: Iterable[int], tell: Tell) -> None:
    """After all groups: move aside every V*.vol that is not the header file of a volume with files. Those of `sound`
    volumes are right, or would be but for the dry run.
    """
    quarantine = Quarantine(place.path, 0, tell)
    right_names = {volume_file_name(volume_id) for volume_id in sound}
    for name in sorted(each for each in os.listdir(place.path) if _HEADER_NAME.fullmatch(each)):
        if name in right_names:
            continue
        path = os.path.join(place.path, name)
        with open(path, "rb") as file:
            data = file.read(VOLUME_FILE.size)
        record = VOLUME_FILE.unpack(data.ljust(VOLUME_FILE.size, b"\0"))
        right = name == volume_file_name(record.id) and data == pack_volume_file(record.id, record.parent)
        if right and _has_files(place.path, record.id, record.parent):
            continue
        why = f"{name} is not the header file of a volume with files"
        if place.dry_run:
            tell(why)
        else:
            quarantine.move(path, name, why)


def _has_files(path: str, volume_id: int, parent: int) -> bool:
    info = inode_path(special_inode(volume_id, Special.INFO))
    return os.path.exists(os.path.join(path, group_directory(parent), info))
