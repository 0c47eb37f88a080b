"""Where the VLDB says a volume is: read-only sites that come and go, and the read-write one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from afs.errors import VolserError, VolumeError
from afs.location import RO, RW
from afs.names import READWRITE_NAME_MAX
from afs.rpc.vl import NMAXNSERVERS, VLF_ROEXISTS, VLF_RWEXISTS, VLOP_DELETE, VLSF_DONTUSE, VLSF_ROVOL, nvldbentry
from rx.errors import RxError
from vos.entries import text
from vos.operations.entries import (
    ANY,
    find_readonly_site,
    lock,
    readwrite_site,
    same_server,
    sites,
    with_id,
    with_sites,
    write,
)
from vos.operations.steps import explained, refuse, step
from vos.operations.subject import Partition, Server, Subject, Volume
from vos.output import vice_name
from vos.session import Session
from vos.undo import Step, Undo

VLOP_ADDSITE = VLOP_DELETE
"""What an entry is locked for while only its sites change (volser.p.h)."""


async def add_site(
    self: Subject,
    server: Server,
    partition: Partition,
    volume: Volume,
    *,
    roid: int = 0,
    valid: bool = False,
    force: bool = False,
) -> None:
    """Add a read-only site, which the next release fills; one that is `valid` has the volume already.

    With `force` also a second one on the same server: then that server takes both with it when it is down.
    Raises OperationFailed.
    """
    session = self.session
    address, number, volid = self.server(server), self.partition(partition), await self.volume(volume)
    with explained(session):
        async with Undo(session.output) as undo:
            unreleased = f"Could not release lock on volume entry for {volid} "
            with step(session, f" Could not lock the VLDB entry for the volume {volid} "):
                locked = await lock(session, undo, volid, RW, VLOP_ADDSITE, unreleased=unreleased)
            with step(session, f"Could not fetch the VLDB entry for volume number {volid}  "):
                entry = await session.vl.GetEntryByIDN(volid, RW)
            await _need_room(session, entry, address, number, force)
            if roid:
                entry = await _with_readonly_id(session, entry, roid)
            session.output.part("Adding a new site ...")
            flags = VLSF_ROVOL if valid else VLSF_ROVOL | VLSF_DONTUSE
            entry = with_sites(entry, [*sites(entry), (address, number, flags)])
            with step(session, f"Could not update entry for volume {volid} "):
                await write(session, volid, RW, entry)
            undo.forget(locked)
            session.output.detail(" done")


async def _need_room(session: Session, entry: nvldbentry, server: IPv4Address, partition: int, force: bool) -> None:
    """Another site fits, and the server has none yet. Raises OperationFailed."""
    bad = VolserError.VOLSERBADOP
    if len(entry.name) > READWRITE_NAME_MAX:
        raise refuse(session, f"Volume name {text(entry.name)} is too long, rename before adding site", bad)
    if entry.nServers >= NMAXNSERVERS:
        raise refuse(session, f"Total number of entries will exceed {NMAXNSERVERS}", bad)
    readonly = [(at, number) for at, number, flags in sites(entry) if flags & VLSF_ROVOL]
    for at, number in readonly:
        if force and number != partition:
            continue
        if await _is_same(session, server, at):
            said = f"RO already exists on partition {vice_name(number)}."
            raise refuse(session, f"{said} Multiple ROs on a single server aren't allowed", bad)
    if len(readonly) >= NMAXNSERVERS - 1:  # one is for the read-write volume
        raise refuse(session, f"Total number of sites will exceed {NMAXNSERVERS - 1}", bad)


async def _is_same(session: Session, one: IPv4Address, other: IPv4Address) -> bool:
    problem = f"Failed to get info about server's {int(one)} address(es) from vlserver"
    try:
        return await same_server(session, one, other)
    except RxError as failure:
        with step(session, f"{problem} (err={failure.code}); aborting call!"):
            raise


async def _with_readonly_id(session: Session, entry: nvldbentry, roid: int) -> nvldbentry:
    """The id is only taken where there is none yet. Raises OperationFailed when it is another volume's."""
    known = entry.volumeId[RO]
    if known:
        session.output.complain(f"Ignoring given RO id {roid}, since volume already has RO id {known}")
        return entry
    try:
        await session.vl.GetEntryByIDN(roid, ANY)
    except RxError:
        session.output.detail(f"Using RO volume id {roid}.")
        return with_id(entry, RO, roid)
    raise refuse(session, f"Volume ID {roid} already exists", VolumeError.VVOLEXISTS)


async def remove_site(self: Subject, server: Server, partition: Partition, volume: Volume) -> None:
    """Take a read-only site out of an entry, and leave what is on the server. Of the last site the entry goes too.

    Raises OperationFailed.
    """
    session = self.session
    address, number, volid = self.server(server), self.partition(partition), await self.volume(volume)
    async with Undo(session.output) as undo:
        entry, locked = await _locked(session, undo, volid)
        index = await find_readonly_site(session, entry, address, number)
        if index is None:
            raise refuse(session, "This site is not a replication site ", VolserError.VOLSERBADOP)
        left = sites(entry)
        del left[index]
        alone = len(left) == 1 and entry.flags & VLF_RWEXISTS
        entry = replace(with_sites(entry, left), flags=entry.flags & ~VLF_ROEXISTS if alone else entry.flags)
        with explained(session):
            session.output.now(f"Deleting the replication site for volume {volid} ...")
            if left:
                with step(session, f"Could not release lock on volume entry for {volid} "):
                    await write(session, volid, RW, entry)
            else:
                session.output.part(f"Deleting the VLDB entry for {volid} ...")
                with step(session, f"Could not delete VLDB entry for volume {volid} "):
                    await session.vl.DeleteEntry(volid, ANY)
                session.output.detail(" done")
        undo.forget(locked)
        session.output.now(" done\n")


async def change_location(self: Subject, server: Server, partition: Partition, volume: Volume) -> None:
    """Say that the read-write volume is elsewhere, which is not looked at. Raises OperationFailed."""
    session = self.session
    address, number, volid = self.server(server), self.partition(partition), await self.volume(volume)
    async with Undo(session.output) as undo:
        entry, locked = await _locked(session, undo, volid)
        known = readwrite_site(entry)
        if known is None:
            session.output.err.write(f"No existing RW site for volume {volid}")
            raise refuse(session, "", VolserError.VOLSERBADOP)
        moved = [
            (address, number, flags) if (at, part, flags) == known else (at, part, flags)
            for at, part, flags in sites(entry)
        ]
        with explained(session), step(session, f"Could not update entry for volume {volid} "):
            await write(session, volid, RW, with_sites(entry, moved))
        undo.forget(locked)
        session.output.detail(" done")


async def _locked(session: Session, undo: Undo, volume: int) -> tuple[nvldbentry, Step]:
    """The entry of a read-write volume, and what releases its lock."""
    with explained(session):
        with step(session, f" Could not lock the VLDB entry for volume {volume} "):
            unreleased = f"Could not update entry for volume {volume} "
            locked = await lock(session, undo, volume, RW, VLOP_ADDSITE, unreleased=unreleased)
        with step(session, f"Could not fetch the entry for volume number {volume} from VLDB "):
            return await session.vl.GetEntryByIDN(volume, RW), locked
