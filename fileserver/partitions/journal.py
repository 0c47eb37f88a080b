"""Which clients have used which volumes of a partition, kept on the partition while it is mounted.

Whoever takes the partition over from a server that died must tell those clients that their promises are void. A record
is appended when a host first uses a volume; what a kill tears is the last one, and that is left out.
"""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from construct import Bytes, Int16ub, Int32ub, Padding, Struct
from twisted.logger import Logger

from fileserver.channel import Address
from fileserver.interfaces import Fenced
from fileserver.partitions.label import sync_directory
from fileserver.store.descriptors import Descriptor
from xdr.layout import fast

log = Logger(namespace="fileserver.partitions")

JOURNAL_FILE = ".txafs-clients"

JOURNAL_LIMIT = 32 << 20
"""Bytes, a million records, after which the journal is written anew from what is still true."""

RECORD = fast(
    Struct(
        "checksum" / Int32ub,
        "address" / Bytes(4),
        "port" / Int16ub,
        Padding(2),
        "volume" / Int32ub,
        "uuid" / Bytes(16),
    )
)
"""The checksum is CRC-32 of the rest; a UUID of zeros is a client that has none."""

EVERYTHING = 0
"""In the place of a volume, for a contact without any: no volume has this id."""

_NIL = UUID(int=0)


@dataclass(slots=True)
class Contact:
    """A client as the journal knows it, and the volumes it used; none: all there may be."""

    address: Address
    uuid: UUID | None
    volumes: set[int] = field(default_factory=set)


class Journal:
    """The journal of a partition that this server has mounted. `guard` is asked before every write."""

    def __init__(self, partition: str, guard: Callable[[], None]) -> None:
        self._path = os.path.join(partition, JOURNAL_FILE)
        self._guard = guard
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._file: Descriptor | None = Descriptor(fd, guard)
        size = self._file.size()
        if size % RECORD.size:
            os.ftruncate(self._file.to_write(), size - size % RECORD.size)

    @property
    def full(self) -> bool:
        """It is time to `rewrite` it."""
        return self._file is not None and self._file.size() > JOURNAL_LIMIT

    def note(self, address: Address, uuid: UUID | None, volume_id: int) -> None:
        """A host uses a volume. In any thread. Raises OSError, Fenced."""
        file = self._file
        if file is None:
            raise Fenced(f"{self._path} is closed")
        os.write(file.to_write(), _record(address, uuid, volume_id))

    def rewrite(self, contacts: Iterable[Contact]) -> None:
        """Replace all of it. Raises OSError, Fenced."""
        self._guard()
        fresh = f"{self._path}.new"
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb", closefd=False) as file:
                for contact in contacts:
                    ids = contact.volumes or {EVERYTHING}
                    file.writelines(_record(contact.address, contact.uuid, volume_id) for volume_id in ids)
                file.flush()
                os.fsync(fd)
            self._guard()
            os.rename(fresh, self._path)
        except BaseException:
            os.close(fd)
            raise
        self._file = Descriptor(fd, self._guard)
        sync_directory(os.path.dirname(self._path))

    def close(self) -> None:
        """Also again: an operation that has closed it may be given up."""
        self._file = None


def read_journal(partition: str) -> list[Contact]:
    """Who is to be told when the partition changes hands. A client that moved is there with each of its addresses.
    Raises OSError.
    """
    contacts: dict[tuple[Address, UUID | None], Contact] = {}
    try:
        with open(os.path.join(partition, JOURNAL_FILE), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return []
    bad = 0
    for offset in range(0, len(data) - RECORD.size + 1, RECORD.size):
        record = RECORD.unpack(data, offset)
        if record.checksum != zlib.crc32(data[offset + 4 : offset + RECORD.size]):
            bad += 1
            continue
        address = socket.inet_ntoa(record.address), record.port
        uuid = UUID(bytes=record.uuid)
        key = address, None if uuid == _NIL else uuid
        contacts.setdefault(key, Contact(*key)).volumes.add(record.volume)
    for contact in contacts.values():
        if EVERYTHING in contact.volumes:
            contact.volumes.clear()
    if bad:
        log.error("{path}: {bad} records of clients cannot be read", path=partition, bad=bad)
    return list(contacts.values())


def _record(address: Address, uuid: UUID | None, volume_id: int) -> bytes:
    packed: bytes = RECORD.pack(
        checksum=0,
        address=socket.inet_aton(address[0]),
        port=address[1],
        volume=volume_id,
        uuid=(uuid or _NIL).bytes,
    )
    return zlib.crc32(packed[4:]).to_bytes(4, "big") + packed[4:]
