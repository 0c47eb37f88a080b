"""A volume, or what of it changed, as a stream of bytes; and how long that would be."""

from __future__ import annotations

import time
from functools import partial

from afs.rpc.volser import VOLDUMPV2_OMITDIRS, ITBusy, ITOffline
from rx.constants import RxgenCode
from rx.errors import Abort, RxError
from rx.streams import Sink
from vos.errors import error_text
from vos.operations.clones import READ_ONLY, add_deletion
from vos.operations.copies import HIDDEN
from vos.operations.locations import Location
from vos.operations.steps import doing, explained, refuse
from vos.operations.transactions import Transaction, begin
from vos.operations.unhurried import unhurried
from vos.undo import Step, Undo


class NotWritten(Exception):
    """What a sink raises that can take no more, with what stock makes of it; why has been said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


async def dump_volume(volume: int, at: Location, sink: Sink, *, since: int = 0, omitdirs: bool = False) -> None:
    """Give a volume as it is to the sink, or what changed `since` a date in Unix seconds; nobody can write meanwhile.

    With `omitdirs` directories that did not change are left out. Raises OperationFailed, and what the sink raises.
    """
    session = at.session
    with explained(session):
        _tell_kind(at, since)
        async with Undo(session.output) as undo:
            failed = f"Could not start transaction on the volume {volume} to be dumped"
            with doing(session, f"Starting transaction on volume {volume}...", failed):
                unended = f"Could not end transaction on the volume {volume}"
                trans = await begin(session, undo, at.server, at.partition, volume, ITBusy, unended=unended)
            with doing(session, f"Starting volume dump on volume {volume}..."):
                pass
            await _dump(at, trans, volume, sink, since, omitdirs)
            with doing(session, f"Ending transaction on volume {volume}...", unended, explained=False):
                await trans.end()


async def dump_clone(volume: int, at: Location, sink: Sink, *, since: int = 0, omitdirs: bool = False) -> None:
    """The same of a clone that is made for it, so that the volume is out of reach for a moment only."""
    session = at.session
    with explained(session):
        _tell_kind(at, since)
        async with Undo(session.output) as undo:
            clone, deletion = await _clone(undo, volume, at)
            failed = f"Failed to start a transaction on the cloned volume{clone}"
            with doing(session, f"Starting transaction on the cloned volume {clone} ...", failed):
                unended = f"Could not end transaction on the cloned volume {clone}"
                trans = await begin(session, undo, at.server, at.partition, clone, ITOffline, unended=unended)
            failed = f"Could not set falgs on the cloned volume {clone}"
            with doing(session, f"Setting flags on cloned volume {clone} ...", failed):
                await at.volser.SetFlags(trans.id, HIDDEN)
            with doing(session, f"Starting volume dump from cloned volume {clone}..."):
                pass
            await _dump(at, trans, volume, sink, since, omitdirs)
            failed = f"Failed to delete the cloned volume {clone}"
            with doing(session, f"Deleting the cloned volume {clone} ...", failed, explained=False):
                await at.volser.DeleteVolume(trans.id)
            undo.forget(deletion)
            with doing(session, f"Ending transaction on cloned volume {clone}...", unended, explained=False):
                await trans.end()


async def _clone(undo: Undo, volume: int, at: Location) -> tuple[int, Step]:
    """A clone, and what deletes it."""
    session = at.session
    failed = f"Could not start transaction on the volume {volume} to be dumped"
    with doing(session, f"Starting transaction on volume {volume}...", failed):
        trans = await begin(session, undo, at.server, at.partition, volume, ITBusy)
    failed = f"Failed to get the name of the volume {volume}"
    with doing(session, f"Getting the name for volume {volume} ...", failed):
        name = await at.volser.GetName(trans.id)
    failed = f"Could not get an ID for the clone of volume {volume} from the VLDB"
    with doing(session, f"Allocating new volume id for clone of volume {volume} ...", failed):
        clone = await session.vl.GetNewVolumeId(1)
    failed = f"Failed to clone the source volume {volume}"
    with doing(session, f"Cloning source volume {volume} to clone volume {clone}...", failed):
        making = at.volser.Clone(trans.id, 0, READ_ONLY, name, clone)
        deletion = await unhurried(making, partial(_made, undo, at, volume))
    failed = f"Failed to end the transaction on the volume {volume}"
    with doing(session, f"Ending the transaction on the volume {volume} ...", failed):
        await trans.end()
    return clone, deletion


def _made(undo: Undo, at: Location, volume: int, clone: int) -> Step:
    return add_deletion(undo, at, clone, f"clone {clone} of volume {volume}")


async def _dump(at: Location, trans: Transaction, volume: int, sink: Sink, since: int, omitdirs: bool) -> None:
    session = at.session
    session.output.part(f"Dumping volume {volume}...")
    try:
        await _stream(at, trans, sink, since, omitdirs)
    except NotWritten as problem:
        text = f"Error while dumping volume \n   {error_text(problem.code)}"
        raise refuse(session, f"\n{text}", problem.code) from problem
    except RxError as problem:
        session.output.part(" done\n")
        raise refuse(session, "Error in rx_EndCall", problem.code) from problem
    session.output.part(" done\n")


async def _stream(at: Location, trans: Transaction, sink: Sink, since: int, omitdirs: bool) -> None:
    if omitdirs:
        try:
            await at.volser.DumpV2(trans.id, _signed(since), VOLDUMPV2_OMITDIRS, sink)
        except Abort as refusal:
            if refusal.code != RxgenCode.RXGEN_OPCODE:  # which old servers say before they send anything
                raise
        else:
            return
    await at.volser.Dump(trans.id, _signed(since), sink)


def _tell_kind(at: Location, since: int) -> None:
    kind = f"Incremental Dump (as of {time.ctime(since)})" if since else "Full Dump "
    at.session.output.part(f"{kind}...\n")


def _signed(date: int) -> int:
    return date - (1 << 32) if date >= 1 << 31 else date
