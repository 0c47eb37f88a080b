"""The namei back end: a vice partition in OpenAFS's own on-disk layout (volume-format.md sections 1 to 6).

What is written here a stock fileserver serves and a stock salvager finds clean, and the other way round. What differs
between namei and namei-user, the keeper of each file's owner and mode values, is handed in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from errno import EPERM
from typing import Any
from uuid import UUID, uuid4

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from afs.names import partition_name
from fileserver.interfaces import (
    OURS_ALONE,
    Damaged,
    IPartition,
    NoSuchVolume,
    Ownership,
    Space,
    VolumeExists,
    VolumeHeader,
    VolumeIds,
    WrongBackend,
)
from fileserver.partitions.label import Label, sync_directory, write_atomically
from fileserver.store.descriptors import Descriptors
from fileserver.store.formats import (
    VOLUME_FILE,
    pack_header,
    unpack_header,
)
from fileserver.store.group import Group, write_all
from fileserver.store.inodes import DATA_DIRECTORY, Special, special_inode
from fileserver.store.locks import HEADER_BYTE, HEADER_LOCKS, VOLUME_LOCKS, ByteLocks, PartitionLock, remove_locks
from fileserver.store.metadata import KEEPERS, Metadata
from fileserver.store.threads import Threads
from fileserver.store.volume_file import pack_volume_file, volume_file_name
from fileserver.store.volume_files import VolumeFiles

FORCE_SALVAGE = "FORCESALVAGE"

_HEADER_NAME = re.compile(r"V(\d{10})\.vol")


@dataclass(frozen=True, slots=True)
class Tenancy:
    """On what terms a partition is opened.

    `taken_over`: its owner before fell silent and may hold its locks still. The label has decided between the two; the
    locks only keep salvagers and other programs away, and those that can be are made anew.
    """

    ownership: Ownership = OURS_ALONE
    taken_over: bool = False
    salvages: bool = False
    """Whoever opens it sees to FORCESALVAGE before anything is used."""


ALONE = Tenancy()
"""The terms for storage that no other server reaches."""


def open_namei(path: str, number: int, reactor: Any, tenancy: Tenancy = ALONE) -> NameiPartition:
    """Open or begin a partition as root. Raises WrongBackend, Damaged, OSError (EBUSY: another process has it)."""
    label = Label.read(path) or begin_namei(path)
    if os.geteuid():
        raise _not_root(path)
    return NameiPartition(path, number, label, reactor, tenancy=tenancy)


def begin_namei(path: str, uuid: UUID | None = None) -> Label:
    """Give an empty directory, or a partition of a stock server, its label. Raises OSError."""
    if os.geteuid():
        raise _not_root(path)
    label = Label(uuid or uuid4(), "namei")
    label.write(path)
    return label


def _not_root(path: str) -> PermissionError:
    return PermissionError(EPERM, "only root can give files the owners that namei needs; namei-user does without", path)


@implementer(IPartition)
class NameiPartition:
    """A partition opened with its label. The caller has made sure that the label is there."""

    def __init__(
        self,
        path: str,
        number: int,
        label: Label,
        reactor: Any,
        backend: str = "namei",
        tenancy: Tenancy = ALONE,
    ) -> None:
        self.path = path
        self.number = number
        self.name = partition_name(number)
        self.uuid = label.uuid
        self.backend = backend
        self.ownership = tenancy.ownership
        check_backend(path, label, backend, tenancy.salvages)
        self._metadata: Metadata = KEEPERS[label.metadata]()
        os.makedirs(os.path.join(path, DATA_DIRECTORY), 0o700, exist_ok=True)
        self._lock = PartitionLock(path, must=not tenancy.taken_over)
        if tenancy.taken_over:
            remove_locks(path)
        self._volume_locks = ByteLocks(os.path.join(path, VOLUME_LOCKS))
        self._header_locks = ByteLocks(os.path.join(path, HEADER_LOCKS))
        self._threads = Threads(reactor, self.name, tenancy.ownership)
        self._descriptors = Descriptors(tenancy.ownership.check)
        self._groups: dict[int, Group] = {}
        self._space: Space | None = None
        self._closed: Deferred[None] | None = None

    async def volumes(self) -> Sequence[VolumeIds]:
        return await self._threads.read(self._scan)

    async def volume_ids(self) -> Sequence[int]:
        return await self._threads.read(self._names)

    async def ids(self, volume_id: int) -> VolumeIds:
        return await self._threads.read(self._read_ids, volume_id)

    async def create_volume(self, header: VolumeHeader) -> VolumeFiles:
        if await self._threads.run(os.path.exists, self._header_path(header.id)):
            raise VolumeExists(f"volume {header.id} exists on {self.name}")
        files = self._files(header.id, header.parent)
        try:
            await self._threads.run(self._create, files.group, header)
        except OSError:
            await files.close()
            raise
        return files

    async def open_volume(self, volume_id: int) -> VolumeFiles:
        ids = await self.ids(volume_id)
        files = self._files(ids.id, ids.parent)
        try:
            await self._threads.run(files.check)
        except (Damaged, OSError):
            await files.close()
            raise
        return files

    async def destroy_volume(self, volume_id: int) -> None:
        ids = await self.ids(volume_id)
        files = self._files(ids.id, ids.parent)
        try:
            await self._threads.run(self._destroy, files)
        finally:
            await files.close()

    async def save_note(self, name: str, data: bytes) -> None:
        self._descriptors.guard()
        await self._threads.run(write_atomically, self._note_path(name), data)

    async def take_note(self, name: str) -> bytes | None:
        return await self._threads.run(self._take_note, self._note_path(name))

    def space(self) -> Space:
        """As it is, or was before the disk became slow to answer."""
        if self._space is None or self._threads.prompt():
            status = os.statvfs(self.path)
            total = status.f_blocks - status.f_bfree + status.f_bavail
            self._space = Space(total * status.f_frsize // 1024, status.f_bavail * status.f_frsize // 1024)
        return self._space

    async def close(self) -> None:
        """Returns when nothing is read or written any more, so that nobody lets go of the label before."""
        if self._closed is None:
            self._closed = Deferred()
            await self._threads.run(self._descriptors.clear)
            await self._threads.stop()
            self._header_locks.close()
            self._volume_locks.close()
            self._lock.close()
            self._closed.callback(None)
        elif not self._closed.called:
            waiter: Deferred[None] = Deferred()
            self._closed.chainDeferred(waiter)
            await waiter

    def _files(self, volume_id: int, parent: int) -> VolumeFiles:
        """The files of a volume, its byte locked until they are closed."""
        self._volume_locks.acquire(volume_id)
        group = self._groups.get(parent)
        if group is None:
            group = self._groups[parent] = Group(self.path, parent, self._metadata, self._descriptors)
        group.users += 1
        return VolumeFiles(volume_id, group, self._threads, lambda: self._release(volume_id, group))

    async def _release(self, volume_id: int, group: Group) -> None:
        if self._closed is not None:
            return
        self._volume_locks.release(volume_id)
        group.users -= 1
        if not group.users:
            del self._groups[group.parent]
            open_files = self._descriptors.forget_group(group.parent)
            await self._threads.briefly(open_files.clear)

    def _note_path(self, name: str) -> str:
        return os.path.join(self.path, f".txafs-{name}")

    def _take_note(self, path: str) -> bytes | None:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return None
        os.unlink(path)
        sync_directory(self.path)
        return data

    def _names(self) -> list[int]:
        return [int(match[1]) for name in os.listdir(self.path) if (match := _HEADER_NAME.fullmatch(name))]

    def _scan(self) -> list[VolumeIds]:
        found = []
        for name in sorted(os.listdir(self.path)):
            if match := _HEADER_NAME.fullmatch(name):
                try:
                    found.append(self._read_ids(int(match[1])))
                except (Damaged, OSError) as error:
                    log.error("left out: {path}/{name}: {error}", path=self.path, name=name, error=error)
                except NoSuchVolume:
                    continue  # destroyed since listdir
        return found

    def _header_path(self, volume_id: int) -> str:
        return os.path.join(self.path, volume_file_name(volume_id))

    def _read_ids(self, volume_id: int) -> VolumeIds:
        path = self._header_path(volume_id)
        try:
            with open(path, "rb") as file:
                data = file.read(VOLUME_FILE.size + 1)
        except FileNotFoundError:
            raise NoSuchVolume(f"no volume {volume_id} on {self.name}") from None
        if len(data) < VOLUME_FILE.size:
            raise Damaged(f"{path} is cut short")
        parent: int = VOLUME_FILE.unpack(data).parent
        if data[: VOLUME_FILE.size] != pack_volume_file(volume_id, parent):
            raise Damaged(f"{path} is not the header file of volume {volume_id}")
        return VolumeIds(volume_id, parent)

    def _create(self, group: Group, header: VolumeHeader) -> None:
        with group.membership:
            try:
                group.create_special(header.id, Special.INFO, pack_header(header))
                group.create_special(header.id, Special.SMALL_INDEX)
                group.create_special(header.id, Special.LARGE_INDEX)
                group.count_members()
                with self._header_locks.shared(HEADER_BYTE):
                    volume_file = pack_volume_file(header.id, header.parent)
                    self._descriptors.guard()
                    write_atomically(self._header_path(header.id), volume_file, 0o644, durable=False)
            except OSError:
                self._remove_specials(group, header.id)
                raise

    def _destroy(self, files: VolumeFiles) -> None:
        """Mark it, let go of its content, then of its own files, its header file last: until then it can be done
        again.
        """
        group, volume_id = files.group, files.id
        with group.membership:
            self._mark_for_destruction(group, volume_id)
            if set(group.members()) <= {volume_id}:
                group.remove()
            else:
                files.drop_content()
                self._remove_specials(group, volume_id)
            self._descriptors.guard()
            with suppress(FileNotFoundError):  # without the files a salvager may have moved it aside
                os.unlink(self._header_path(volume_id))

    def _remove_specials(self, group: Group, volume_id: int) -> None:
        for kind in (Special.SMALL_INDEX, Special.LARGE_INDEX):
            group.discard(special_inode(volume_id, kind))
        if group.members():
            group.count_members()
            group.discard(special_inode(volume_id, Special.INFO))
        else:
            group.remove()

    def _mark_for_destruction(self, group: Group, volume_id: int) -> None:
        """A salvager that comes upon it half destroyed finishes the work."""
        try:
            file = group.open(special_inode(volume_id, Special.INFO))
            header = unpack_header(os.pread(file.fd, 4096, 0))
        except (FileNotFoundError, Damaged):
            return
        write_all(file, pack_header(replace(header, destroy_me=True, in_service=False)), 0)


def check_backend(path: str, label: Label, backend: str, salvages: bool = False) -> None:
    """Raises WrongBackend, or Damaged while FORCESALVAGE asks for a salvage first which nobody `salvages`."""
    if label.converting_to:
        raise WrongBackend(f"{path} is being converted to {label.converting_to}: run the conversion again to finish it")
    if label.backend != backend:
        raise WrongBackend(f"{path} is a {label.backend} partition, not {backend}")
    if not salvages and os.path.exists(os.path.join(path, FORCE_SALVAGE)):
        raise Damaged(f"{path}/{FORCE_SALVAGE} asks for a salvage of the whole partition first")


log = Logger()
