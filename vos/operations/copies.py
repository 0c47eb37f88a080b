"""What moves and copies of volumes have in common: a clone to send from while the volume is in use, the volume that is
made, and what is sent from server to server.
"""

from __future__ import annotations

from afs.rpc.volser import (
    ITBusy,
    ITOffline,
    VTDeleteOnSalvage,
    VTOutOfService,
    destServer,
    restoreCookie,
    volser_status,
)
from vos.operations.clones import READ_ONLY, READ_WRITE, add_deletion
from vos.operations.entries import signed
from vos.operations.locations import Location
from vos.operations.steps import doing
from vos.operations.transactions import Transaction, adopt, begin
from vos.operations.unhurried import unhurried
from vos.progress import watched
from vos.undo import Undo

CLOCK_SECONDS = 2
"""What changed in the second of a clone may be in it or not, so changes are sent from a little before (vsprocs.c)."""

DEST_SSID = 1

HIDDEN = VTDeleteOnSalvage | VTOutOfService
"""Of a volume that is not complete."""


def before(date: int) -> int:
    """The date since when changes may be missing in a copy of that date."""
    return max(0, (date & 0xFFFF_FFFF) - CLOCK_SECONDS)


def destination(at: Location) -> destServer:
    """Where a server is to send a volume."""
    return destServer(destHost=signed(at.server), destPort=at.session.volser_port, destSSID=DEST_SSID)


async def open_source(undo: Undo, at: Location, volume: int, failed: str) -> Transaction:
    """Nobody changes the volume while the transaction lasts."""
    with doing(at.session, f"Starting transaction on source volume {volume} ...", failed):
        return await begin(at.session, undo, at.server, at.partition, volume, ITBusy)


async def allocate(at: Location, volume: int, what: str) -> int:
    """An id for the clone or the copy of a volume."""
    failed = f"Could not get an ID for the {what} of volume {volume} from the VLDB"
    with doing(at.session, f"Allocating new volume id for {what} of volume {volume} ...", failed):
        return await at.session.vl.GetNewVolumeId(1)


async def make_clone(undo: Undo, at: Location, trans: Transaction, volume: int, clone: int, name: bytes) -> None:
    """A clone to send from. It is out of service, and is deleted should what `undo` is for fail."""
    with doing(at.session, f"Cloning source volume {volume} ...", f"Failed to clone the source volume {volume}"):
        making = at.volser.Clone(trans.id, 0, READ_ONLY, name, clone)
        what = f"clone {clone} of volume {volume}"
        await unhurried(making, lambda made: add_deletion(undo, at, made, what))


async def open_clone(undo: Undo, at: Location, clone: int) -> tuple[Transaction, int]:
    """A transaction on the clone, and the date since when changes are not in it."""
    session = at.session
    failed = f"Failed to start a transaction on the cloned volume{clone}"
    with doing(session, f"Starting transaction on the cloned volume {clone} ...", failed):
        trans = await begin(session, undo, at.server, at.partition, clone, ITOffline)
    failed = f"Could not set flags on the cloned volume {clone}"
    with doing(session, f"Setting flags on cloned volume {clone} ...", failed):
        await at.volser.SetFlags(trans.id, HIDDEN)
    failed = f"Failed to get the status of the cloned volume {clone}"
    with doing(session, f"Getting status of cloned volume {clone} ...", failed):
        status: volser_status = await at.volser.GetStatus(trans.id)
    return trans, before(status.creationDate)


async def create_target(
    undo: Undo, at: Location, volume: int, name: bytes, kind: int = READ_WRITE, parent: int = 0
) -> Transaction:
    """The volume to send to. It is out of service, and is deleted should what `undo` is for fail."""
    session = at.session

    def made(result: tuple[int, int]) -> Transaction:
        add_deletion(undo, at, volume, f"the incomplete copy {volume}")
        return adopt(session, undo, at.server, result[1], volume)

    failed = f"Failed to create the destination volume {volume}"
    with doing(session, f"Creating the destination volume {volume} ...", failed):
        trans = await unhurried(at.volser.CreateVolume(at.partition, name, kind, parent or volume, volume), made)
    failed = f"Failed to set the flags on the destination volume {volume}"
    with doing(session, f"Setting volume flags on destination volume {volume} ...", failed):
        await at.volser.SetFlags(trans.id, HIDDEN)
    return trans


async def end(at: Location, trans: Transaction, text: str, failed: str) -> None:
    """End a transaction, and say so."""
    with doing(at.session, f"{text} ...", failed):
        await trans.end()


async def send(
    source: Location, trans: Transaction, since: int, target: Location, to: Transaction, cookie: restoreCookie
) -> None:
    """Have the source's server send the volume, or what changed, to the target's. Raises RxError."""
    async with watched(source.session, source.server, trans.id):
        await source.volser.Forward(trans.id, since, destination(target), to.id, cookie)
