"""Entries of the VLDB on their way through an operation: locked, looked at, changed, written back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address

from afs.errors import VLError
from afs.location import BACKUP, RO, RW
from afs.rpc.vl import (
    LOCKREL_AFSID,
    LOCKREL_OPCODE,
    LOCKREL_TIMESTAMP,
    VLADDR_IPADDR,
    VLSF_ROVOL,
    VLSF_RWVOL,
    ListAddrByAttributes,
    nvldbentry,
)
from rx.errors import Abort
from vos.operations.unhurried import unhurried
from vos.session import Session
from vos.undo import Step, Undo

ANY = -1
"""Whatever the kind of the volume that an id is of."""

KINDS = (RW, RO, BACKUP)

RELEASE = LOCKREL_OPCODE | LOCKREL_AFSID | LOCKREL_TIMESTAMP
"""A lock is released as a whole."""

Site = tuple[IPv4Address, int, int]
"""Server, partition, flags."""


async def lock(
    session: Session,
    undo: Undo,
    volume: int,
    kind: int,
    operation: int,
    *,
    unreleased: str,
    ignored: int | None = None,
) -> Step:
    """Lock an entry; at the end of what the `undo` is for the lock is released, unless the step is forgotten since
    writing the entry has released it. Raises RxError. `unreleased` is said when releasing it fails.

    A refusal with the code `ignored` is a warning: the lock is there.
    """

    def locked(_: None) -> Step:
        return undo.finally_(
            partial(session.vl.ReleaseLock, volume, kind, RELEASE),
            left=f"the lock on the VLDB entry of volume {volume}",
            remedy=f"vos unlock {volume}",
            failed=unreleased,
        )

    try:
        return await unhurried(session.vl.SetLock(volume, kind, operation), locked)
    except Abort as refusal:
        if refusal.code != ignored:
            raise
        return locked(None)


async def create(session: Session, undo: Undo, entry: nvldbentry) -> None:
    """Make an entry. Should what `undo` is for fail it is deleted; where the answer is lost there may be one. Raises
    RxError.
    """
    volume = entry.volumeId[RW]
    made = undo.add(
        partial(session.vl.DeleteEntry, volume, RW),
        left=f"perhaps the VLDB entry of volume {volume}",
        remedy=f"vos delentry {volume}",
    )

    async def creating() -> None:
        try:
            await session.vl.CreateEntryN(plain(entry))
        except Abort:  # it may be somebody else's that is there
            undo.forget(made)
            raise

    await unhurried(creating(), lambda _: None)


async def write(session: Session, volume: int, kind: int, entry: nvldbentry, release: int = RELEASE) -> None:
    """Write an entry back, which by default releases its lock. Raises RxError."""
    await session.vl.ReplaceEntryN(volume, kind, plain(entry), release)


def plain(entry: nvldbentry) -> nvldbentry:
    """The fields that stock vos writes, and no others."""
    return nvldbentry(
        name=entry.name,
        nServers=entry.nServers,
        serverNumber=entry.serverNumber,
        serverPartition=entry.serverPartition,
        serverFlags=entry.serverFlags,
        volumeId=entry.volumeId,
        cloneId=entry.cloneId,
        flags=entry.flags,
    )


def sites(entry: nvldbentry) -> list[Site]:
    """Those of an entry, in its order."""
    count = max(0, min(entry.nServers, len(entry.serverFlags)))
    found = zip(entry.serverNumber, entry.serverPartition, entry.serverFlags, strict=True)
    return [(IPv4Address(server & 0xFFFF_FFFF), partition, flags) for server, partition, flags in list(found)[:count]]


def with_sites(entry: nvldbentry, wanted: list[Site]) -> nvldbentry:
    """The entry with other sites, as many as there is room for at the most."""
    rest = [0] * (len(entry.serverFlags) - len(wanted))
    return replace(
        entry,
        nServers=len(wanted),
        serverNumber=(*(signed(server) for server, _, _ in wanted), *rest),
        serverPartition=(*(partition for _, partition, _ in wanted), *rest),
        serverFlags=(*(flags for _, _, flags in wanted), *rest),
    )


def with_id(entry: nvldbentry, kind: int, volume: int) -> nvldbentry:
    """The entry with another id of one kind."""
    return replace(entry, volumeId=tuple(volume if each == kind else entry.volumeId[each] for each in KINDS))


def readwrite_site(entry: nvldbentry) -> Site | None:
    """The first site that is of the read-write volume."""
    return next((site for site in sites(entry) if site[2] & VLSF_RWVOL), None)


async def is_readwrite_site(session: Session, entry: nvldbentry, server: IPv4Address, partition: int) -> bool:
    """Whether the read-write volume is there by the entry. Raises RxError."""
    site = readwrite_site(entry)
    return site is not None and site[1] == partition and await same_server(session, site[0], server)


async def find_readonly_site(session: Session, entry: nvldbentry, server: IPv4Address, partition: int) -> int | None:
    """The index of the read-only site that is there. Raises RxError."""
    for index, (at, number, flags) in enumerate(sites(entry)):
        if flags & VLSF_ROVOL and number == partition and await same_server(session, at, server):
            return index
    return None


async def same_server(session: Session, one: IPv4Address, other: IPv4Address) -> bool:
    """Whether two addresses are of one server, by the VLDB. Raises RxError."""
    if one == other:
        return True
    try:
        _, _, _, numbers = await session.vl.GetAddrsU(ListAddrByAttributes(Mask=VLADDR_IPADDR, ipaddr=int(one)))
    except Abort as refusal:
        if refusal.code != VLError.VL_NOENT:
            raise
        return False
    return int(other) in [number & 0xFFFF_FFFF for number in numbers]


def signed(server: IPv4Address) -> int:
    """An address as fields and arguments of RPCs have it that are signed."""
    number = int(server)
    return number - (1 << 32) if number >= 1 << 31 else number
