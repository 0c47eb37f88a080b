"""Clones of volumes: made or brought up to date (vsprocs.c DoVolClone), and as `vos clone` makes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from afs.errors import VolumeError
from afs.rpc.volser import ITBusy, ITOffline, VTOutOfService, volser_status
from rx.errors import Abort
from vos.operations.deletion import delete_volume
from vos.operations.locations import Location
from vos.operations.steps import doing, explained, step
from vos.operations.transactions import begin
from vos.operations.unhurried import unhurried
from vos.undo import Step, Undo

READ_WRITE, READ_ONLY, BACKUP = 0, 1, 2
"""Kinds of volumes as volume servers have them (voldefs.h)."""

SUFFIX = b".clone"
NAME_MAX = 31 - 6
"""Bytes of a volume's name that its clone's begins with, so that the suffix has room."""


@dataclass(frozen=True, slots=True)
class Clone:
    """What a clone is to be: its kind and name should it not exist yet, and what is said that it is."""

    id: int
    kind: int
    name: bytes
    what: str


async def bring_up_to_date(
    at: Location, volume: int, clone: Clone, undo: Undo | None, *, status: bool = False
) -> volser_status:
    """Make the clone, or make it again from what the volume is now; what that is, if `status` is wanted.

    One that is new is deleted should what `undo` is for fail. Raises OperationFailed.
    """
    session = at.session
    exists = await _exists(at, clone)
    found = volser_status()
    unended = f"Could not end transaction on the volume {volume}"
    async with Undo(session.output) as ends:
        with step(session, f"Could not start a transaction on the volume {volume}"):
            trans = await begin(session, ends, at.server, at.partition, volume, ITBusy, unended=unended)
        if exists:
            failed = f"Could not re-clone {clone.what} volume {clone.id}"
            with doing(session, f"Re-cloning {clone.what} volume {clone.id} ...", failed):
                await at.volser.ReClone(trans.id, clone.id)
        else:
            failed = f"Failed to clone the volume {volume}"
            with doing(session, f"Creating a new {clone.what} clone {clone.id} ...", failed, explained=False):
                making = at.volser.Clone(trans.id, 0, clone.kind, clone.name, clone.id)
                await unhurried(making, lambda made: undo and add_deletion(undo, at, made, f"clone {made}"))
        if status:
            failed = f"Failed to get the status of the parent volume {volume}"
            with doing(session, f"Getting status of parent volume {volume}...", failed, explained=False):
                found = await at.volser.GetStatus(trans.id)
        with step(session, unended):
            await trans.end()
    return found


async def _exists(at: Location, clone: Clone) -> bool:
    session = at.session
    unended = f"Could not end transaction on the previous {clone.what} volume {clone.id}"
    async with Undo(session.output) as undo:
        with step(session, f"Could not reach the {clone.what} volume {clone.id}", explained=True):
            try:
                trans = await begin(session, undo, at.server, at.partition, clone.id, ITOffline, unended=unended)
            except Abort as refusal:
                if refusal.code != VolumeError.VNOVOL:
                    raise
                return False
        with step(session, unended):
            await trans.end()
    return True


def add_deletion(undo: Undo, at: Location, volume: int, what: str) -> Step:
    """Delete a volume that has been made, should what `undo` is for fail."""
    return undo.add(partial(delete_volume, at, volume), left=f"{what} on {at}", remedy=at.zap(volume))


async def clone_volume(
    at: Location,
    volume: int,
    *,
    clone: int = 0,
    name: bytes = b"",
    kind: int = BACKUP,
    offline: bool = False,
) -> int:
    """Make a clone of a volume beside it, without an entry in the VLDB; its id. Raises OperationFailed.

    `clone` is its id, by default a new one, or an existing clone; `name` is by default the volume's with `.clone`.
    """
    session = at.session
    with explained(session):
        if not name:
            with step(session, f"Could not get info for volume {volume}"):
                (found,) = await at.volser.ListOneVolume(at.partition, volume)
            name = found.name[:NAME_MAX] + SUFFIX
        if not clone:
            failed = f"Could not get an ID for the clone of volume {volume} from the VLDB"
            with doing(session, f"Allocating new volume id for clone of volume {volume} ...", failed):
                clone = await session.vl.GetNewVolumeId(1)
        async with Undo(session.output) as undo:
            await bring_up_to_date(at, volume, Clone(clone, kind, name, "clone"), undo)
            await _settle(at, clone, VTOutOfService if offline else 0)
    return clone


async def _settle(at: Location, clone: int, flags: int) -> None:
    """Say that it is finished, on line or not: until then it is one that an end of ours would leave to be deleted."""
    session = at.session
    unended = f"Failed to end the transaction on the clone volume {clone}"
    async with Undo(session.output) as undo:
        with step(session, f"Failed to start a transaction on the clone volume {clone}"):
            trans = await begin(session, undo, at.server, at.partition, clone, ITOffline, unended=unended)
        with step(session, f"Could not mark the clone volume {clone} on line "):
            await at.volser.SetFlags(trans.id, flags)
        with step(session, unended):
            await trans.end()
