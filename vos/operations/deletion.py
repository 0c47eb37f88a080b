"""A volume deleted from a server, whatever the VLDB says of it (vsprocs.c DoVolDelete)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address

from afs.errors import VolumeError
from afs.rpc.volser import ITOffline, VTDeleteOnSalvage, VTOutOfService, volser_status
from rx.errors import Abort
from vos.errors import error_text
from vos.operations.locations import Location
from vos.operations.steps import doing, step
from vos.operations.transactions import begin
from vos.operations.unhurried import unhurried
from vos.undo import Undo


async def delete_volume(
    at: Location,
    volume: int,
    what: str = "",
    *,
    prefix: str = "",
    moved_to: IPv4Address | None = None,
    replaced: Replaced | None = None,
) -> volser_status | None:
    """What the volume was; None if there was none, of which nothing is said. Raises OperationFailed.

    `what` it is is told, with -verbose; to those that still ask for it here `moved_to` is answered, if any. It is over
    before an interrupt takes effect: a volume on its way out is of no use to anybody.
    """
    return await unhurried(_delete(at, volume, what, prefix, moved_to, replaced), lambda status: status)


@dataclass(frozen=True, slots=True)
class Replaced:
    """A volume that is deleted to be made anew: should what `undo` is for fail, it is told that it is gone, and the
    command that goes on from there.
    """

    undo: Undo
    remedy: str

    async def delete(self, at: Location, trans: int, volume: int) -> None:
        """Where the answer is lost it may be gone. Raises RxError."""
        note = partial(self.undo.note, remedy=self.remedy)
        perhaps = note(left=f"perhaps nothing of volume {volume} at {at}: it was to be deleted for this")

        def gone(_: None) -> None:
            self.undo.forget(perhaps)
            note(left=f"nothing of volume {volume} at {at}: it was deleted for this")

        async def deleting() -> None:
            try:
                await at.volser.DeleteVolume(trans)
            except Abort:
                self.undo.forget(perhaps)
                raise

        await unhurried(deleting(), gone)


async def _delete(
    at: Location, volume: int, what: str, prefix: str, moved_to: IPv4Address | None, replaced: Replaced | None
) -> volser_status | None:
    session = at.session
    if what:
        session.output.part(f"{prefix}Deleting {what} volume {volume} ...")
    unended = f"{prefix}Could not end transaction on {what or 'the'} volume {volume} "
    async with Undo(session.output) as undo:
        with step(session, f"{prefix}Failed to start transaction on {volume}", explained=True):
            try:
                trans = await begin(session, undo, at.server, at.partition, volume, ITOffline, unended=unended)
            except Abort as refusal:
                if refusal.code != VolumeError.VNOVOL:
                    raise
                return None
        with step(session, f"{prefix}Could not get timestamp from volume {volume}", explained=True):
            status = await at.volser.GetStatus(trans.id)
        with step(session, f"{prefix}Could not set flags on volume {volume} ", explained=True):
            await at.volser.SetFlags(trans.id, VTDeleteOnSalvage | VTOutOfService)
        if moved_to is not None:
            with doing(session, f"{prefix}Setting volume forwarding pointer ..."):
                await _point(at, trans.id, moved_to)
        with step(session, f"{prefix}Could not delete volume {volume}", explained=True):
            await (replaced.delete(at, trans.id, volume) if replaced else at.volser.DeleteVolume(trans.id))
        with step(session, unended):
            await trans.end()
    if what:
        session.output.part(" done\n")
    return status


async def _point(at: Location, trans: int, server: IPv4Address) -> None:
    """It is a help for clients, nothing more: stock goes on without it, too."""
    try:
        await at.volser.SetForwarding(trans, network_order(server))
    except Abort as refusal:
        at.session.output.detail(error_text(refusal.code))


def network_order(server: IPv4Address) -> int:
    """An address as stock vos passes it to SetForwarding: as its machine, a little-endian one, has it in memory."""
    return int.from_bytes(server.packed, "little", signed=True)
