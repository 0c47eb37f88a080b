"""Where volumes are: the volume location service asked by name or id, its answers kept until they prove wrong."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TypeVar

from afs.errors import VLError
from afs.failover import ASK_ANOTHER
from afs.names import BACKUP_SUFFIX, READONLY_SUFFIX
from afs.rpc.vl import (
    VL,
    VLADDR_UUID,
    VLF_BACKEXISTS,
    VLF_ROEXISTS,
    VLF_RWEXISTS,
    VLSF_DONTUSE,
    VLSF_ROVOL,
    VLSF_RWVOL,
    VLSF_UUID,
    ListAddrByAttributes,
    nvldbentry,
    uvldbentry,
)
from rx.constants import RxgenCode
from rx.errors import Abort, CallLost

T = TypeVar("T")

RW, RO, BACKUP = 0, 1, 2
"""Index into the ids of an entry (voldefs.h)."""

_EXISTS = (VLF_RWEXISTS, VLF_ROEXISTS, VLF_BACKEXISTS)


@dataclass(frozen=True, slots=True)
class Site:
    """A server's partition that has volumes of an entry; `flags` are VLSF bits."""

    addresses: tuple[str, ...]
    partition: int
    flags: int


@dataclass(frozen=True, slots=True)
class VolumeEntry:
    """A read-write volume with its clones. An id is 0 where that kind does not exist."""

    name: bytes
    ids: tuple[int, int, int]
    sites: tuple[Site, ...]

    def kind(self, volume_id: int) -> int:
        """RW, RO or BACKUP. ValueError for an id of another entry."""
        return self.ids.index(volume_id)

    def addresses(self, volume_id: int) -> tuple[str, ...]:
        """The servers of one of the entry's volumes, in order. A backup is where its read-write volume is."""
        flag = VLSF_ROVOL if self.kind(volume_id) == RO else VLSF_RWVOL
        usable = [site for site in self.sites if site.flags & flag and not site.flags & VLSF_DONTUSE]
        return tuple(address for site in usable for address in site.addresses)


class Locator:
    """Answers of the cell's volume location servers, asked in order until one is up and has a current database."""

    def __init__(self, servers: Callable[[], Sequence[VL]]) -> None:
        self._servers = servers
        self._entries: dict[bytes, VolumeEntry] = {}

    async def entry(self, name: bytes) -> VolumeEntry:
        """The entry of a volume by name, with or without a clone's suffix, or by decimal id. Abort(VL_NOENT)."""
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = await self._ask_entry(name)
        return entry

    async def by_id(self, volume_id: int) -> VolumeEntry:
        """The entry that has a volume of this id."""
        return await self.entry(b"%d" % volume_id)

    async def volume_id(self, name: bytes, readonly: bool = False) -> int:
        """The id of the volume a name means; with `readonly`, of its read-only clone if any. Abort(VL_NOENT)."""
        entry = await self.entry(name)
        if name.isdigit() and int(name) in entry.ids:
            return int(name)
        if name.endswith(READONLY_SUFFIX):
            kind = RO
        elif name.endswith(BACKUP_SUFFIX):
            kind = BACKUP
        else:
            kind = RO if entry.ids[RO] and (readonly or not entry.ids[RW]) else RW
        if not entry.ids[kind]:
            raise Abort(VLError.VL_NOENT, f"{name.decode(errors='replace')} does not exist")
        return entry.ids[kind]

    def forget(self, volume_id: int) -> None:
        """The answer about this volume proved wrong: ask again next time."""
        self._entries = {name: entry for name, entry in self._entries.items() if volume_id not in entry.ids}

    async def ask(self, call: Callable[[VL], Awaitable[T]]) -> T:
        """Carry out a call on the first server that can answer it. Raises what the last one raised."""
        *others, last = self._servers()
        for server in others:
            try:
                return await call(server)
            except CallLost:
                continue
            except Abort as refusal:
                if refusal.code not in ASK_ANOTHER:
                    raise
        return await call(last)

    async def _ask_entry(self, name: bytes) -> VolumeEntry:
        try:
            entry = await self.ask(lambda vl: vl.GetEntryByNameU(name))
        except Abort as refusal:
            if refusal.code != RxgenCode.RXGEN_OPCODE:
                raise
            return _from_addresses(await self.ask(lambda vl: vl.GetEntryByNameN(name)))
        return VolumeEntry(entry.name, _ids(entry), tuple([await self._site(entry, index) for index in _range(entry)]))

    async def _site(self, entry: uvldbentry, index: int) -> Site:
        uuid, flags = entry.serverNumber[index], entry.serverFlags[index]
        if flags & VLSF_UUID:
            wanted = ListAddrByAttributes(Mask=VLADDR_UUID, uuid=uuid)
            _, _, _, numbers = await self.ask(lambda vl: vl.GetAddrsU(wanted))
        else:
            numbers = (uuid.time_low,)
        return Site(tuple(str(IPv4Address(number)) for number in numbers), entry.serverPartition[index], flags)


def _from_addresses(entry: nvldbentry) -> VolumeEntry:
    sites = [
        Site((str(IPv4Address(entry.serverNumber[index] & 0xFFFF_FFFF)),), entry.serverPartition[index], flags)
        for index, flags in zip(_range(entry), entry.serverFlags, strict=False)
    ]
    return VolumeEntry(entry.name, _ids(entry), tuple(sites))


def _ids(entry: nvldbentry | uvldbentry) -> tuple[int, int, int]:
    rw, ro, backup = (
        volume_id if entry.flags & exists else 0 for volume_id, exists in zip(entry.volumeId, _EXISTS, strict=True)
    )
    return rw, ro, backup


def _range(entry: nvldbentry | uvldbentry) -> range:
    return range(max(0, min(entry.nServers, len(entry.serverFlags))))
