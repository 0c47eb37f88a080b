"""A new volume, and its entry in the VLDB."""

from __future__ import annotations

from ipaddress import IPv4Address

from afs.errors import VolumeError
from afs.location import RW
from afs.names import partition_name
from afs.rpc.vl import VLF_RWEXISTS, VLSF_RWVOL, nvldbentry
from afs.rpc.volser import volintInfo
from rx.errors import RxError
from vos.entries import text
from vos.errors import error_text
from vos.operations.entries import ANY, with_sites
from vos.operations.entries import create as create_entry
from vos.operations.steps import explained, refuse, step
from vos.operations.subject import Partition, Server, Subject
from vos.operations.transactions import Transaction, adopt, while_busy
from vos.operations.unhurried import unhurried
from vos.session import Session
from vos.undo import Undo

QUOTA = 5000
"""KiB that a new volume may hold unless something else is said."""

UNCHANGED = -1
"""In a field of volintInfo that SetInfo takes: leave it as it is."""


def no_changes() -> volintInfo:
    """What SetInfo is told to change nothing; to be filled in."""
    info = volintInfo(
        maxquota=UNCHANGED, dayUse=UNCHANGED, creationDate=UNCHANGED, updateDate=UNCHANGED, flags=UNCHANGED
    )
    info.spare0 = info.spare1 = info.spare2 = info.spare3 = UNCHANGED
    return info


async def create(
    self: Subject,
    server: Server,
    partition: Partition,
    name: str | bytes,
    *,
    maxquota: int = QUOTA,
    id: int = 0,  # noqa: A002  # what everybody calls it
    roid: int | None = 0,
) -> int:
    """Make an empty read-write volume and its entry; the volume's id. `maxquota` in KiB.

    Ids that are 0 are taken from the VLDB; with `roid` None the entry gets none for a read-only volume. When it fails
    nothing is left. Raises OperationFailed.
    """
    session = self.session
    place = self.server(server), self.partition(partition)
    encoded = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    if roid:
        session.output.detail(f"Using RO volume ID {roid}.")
    if id:
        await _need_unused(session, id)
        session.output.detail(f"Using volume ID {id}.")
    with explained(session):
        ids = await _ids(session, text(encoded), id, roid)
        named = f"{text(encoded)} {ids[RW]}"
        async with Undo(session.output) as undo:
            transaction = await _make(session, undo, place, encoded, ids[RW])
            await _prepare(session, transaction, named, maxquota)
            entry = nvldbentry(name=encoded, volumeId=ids, flags=VLF_RWEXISTS)
            entry = with_sites(entry, [(*place, VLSF_RWVOL)])
            await _list(session, undo, entry, named)
            undo.keep()
            with step(session, f"Failed to end the transaction on the volume {named}"):
                await transaction.end()
    return ids[RW]


async def _need_unused(session: Session, volume: int) -> None:
    try:
        await session.vl.GetEntryByIDN(volume, ANY)
    except RxError:
        return
    raise refuse(session, f"Volume ID {volume} already exists", VolumeError.VVOLEXISTS)


async def _ids(session: Session, name: str, given: int, readonly: int | None) -> tuple[int, int, int]:
    """Of the read-write, the read-only and the backup volume. Those of a volume whose id was given follow it."""
    if not given:
        with step(session, f"Could not get an Id for volume {name}", explained=True):
            given = await session.vl.GetNewVolumeId(1)
        if readonly == 0:
            with step(session, f"Could not get an RO Id for volume {name}", explained=True):
                readonly = await session.vl.GetNewVolumeId(1)
        with step(session, f"Could not get a BK Id for volume {name}", explained=True):
            return given, readonly or 0, await session.vl.GetNewVolumeId(1)
    last = max(given, readonly or 0)
    if readonly == 0:
        last = readonly = last + 1
    return given, readonly or 0, last + 1


async def _make(session: Session, undo: Undo, place: tuple[IPv4Address, int], name: bytes, volume: int) -> Transaction:
    """The volume, not yet in service; the transaction it was made in."""
    server, partition = place
    volser = session.volser(server)
    where = f"{session.name(server)} {partition_name(partition)}"

    def made(answer: tuple[int, int]) -> Transaction:
        _, tid = answer

        async def delete() -> None:
            session.output.detail(f"Deleting the newly created volume {volume}")
            await volser.DeleteVolume(tid)

        transaction = adopt(session, undo, server, tid, volume, unended="WARNING: could not end transaction")
        undo.add(delete, left=f"volume {volume} on {where}", remedy=f"vos zap {where} {volume}")
        return transaction

    making = while_busy(session, lambda: volser.CreateVolume(partition, name, RW, 0, volume))
    with step(session, f"Failed to create the volume {text(name)} {volume} ", explained=True):
        return await unhurried(making, made)


async def _prepare(session: Session, transaction: Transaction, named: str, maxquota: int) -> None:
    """Set its quota and take it into service. That its quota stays what it is is no failure."""
    volser = session.volser(transaction.server)
    info = no_changes()
    info.maxquota = maxquota
    try:
        await volser.SetInfo(transaction.id, info)
    except RxError as problem:
        session.output.complain(f"\nCould not change quota, continuing...\n   {error_text(problem.code)}")
    with step(session, f"Could not bring the volume {named} online ", explained=True):
        await volser.SetFlags(transaction.id, 0)
    session.output.detail(f"Volume {named} created and brought online")


async def _list(session: Session, undo: Undo, entry: nvldbentry, named: str) -> None:
    with step(session, f"Could not create a VLDB entry for the volume {named}"):
        await create_entry(session, undo, entry)
    session.output.detail(f"Created the VLDB entry for the volume {named}")
