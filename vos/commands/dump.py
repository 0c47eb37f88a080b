"""vos dump"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from rx.errors import RxError
from vos.command import command
from vos.dates import need_date
from vos.errors import OperationFailed
from vos.operations.dumping import NotWritten, dump_clone, dump_volume
from vos.operations.locations import Location
from vos.progress import bytes_passing
from vos.session import Session
from vos.transfer.dumps import DumpTarget
from vos.where import NO_VOLUME, need_dump_place
from vos.words import need_volume


@command
async def dump(
    session: Session,
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
    time: Annotated[str | None, "dump from time"] = None,
    file: Annotated[str | None, "dump file"] = None,
    server: Annotated[str | None, "server"] = None,
    partition: Annotated[str | None, "partition"] = None,
    clone: Annotated[bool, "dump a clone of the volume"] = False,
    omitdirs: Annotated[bool, "omit unchanged directories from an incremental dump"] = False,
) -> None:
    """dump a volume"""
    session.output = replace(session.output, out=session.output.err)  # the standard output may be the dump's
    volume = await need_volume(session, id, NO_VOLUME.format(id))
    at = await need_dump_place(session, volume, server, partition)
    since = need_date(time)
    with bytes_passing(session, f"dump of {id}", await _expected(volume, at)) as told:
        target = DumpTarget(session, file or "", told)
        try:
            work = dump_clone if clone else dump_volume
            await work(volume, at, target, since=since, omitdirs=omitdirs)
            await target.finish()
        except NotWritten as problem:
            raise OperationFailed(problem.code, "could not write the dump") from problem
        finally:
            target.close()
    session.output.complain(f"Dumped volume {id} in file {file}" if file else f"Dumped volume {id} in stdout ")


async def _expected(volume: int, at: Location) -> int:
    """About how many bytes a full dump has, for somebody who looks on; 0 if that cannot be told."""
    if not at.session.output.err.isatty():
        return 0
    try:
        (found,) = await at.volser.ListOneVolume(at.partition, volume)
    except RxError:
        return 0
    return found.size << 10
