"""Where volumes are by the words of a command and by the VLDB, and what is said where they cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from afs.location import BACKUP, RO, RW
from afs.names import parse_partition, partition_name
from afs.rpc.vl import VLSF_DONTUSE, VLSF_ROVOL, nvldbentry
from afs.rpc.volser import volintInfo
from rx.errors import RxError
from vos.command import CommandError
from vos.errors import error_text
from vos.operations.entries import ANY, Site, readwrite_site, sites
from vos.operations.locations import Location
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import FAILED, need_partition, partition_space, server_named
from vos.words import need_volume

NO_VOLUME = "vos: can't find volume '{}'"
NO_VOLUME_ID = "vos: can't find volume ID or name '{}'"


@dataclass(frozen=True, slots=True)
class Found:
    """A volume by the VLDB: where it is, of which kind, and its entry."""

    at: Location
    kind: int
    entry: nvldbentry


async def find_volume(session: Session, volume: int, status: int = USAGE_STATUS) -> Found:
    """What the VLDB says of it; of a read-only one the first site that has it. Raises CommandError."""
    try:
        entry = await session.vl.GetEntryByIDN(volume, ANY)
    except RxError as problem:
        text = f"Could not fetch the entry for volume {volume} from VLDB \n{error_text(problem.code)}\n"
        raise CommandError(text, status) from problem
    kind = next((kind for kind in (RO, RW, BACKUP) if volume == entry.volumeId[kind]), None)
    if kind == RO:
        released = (site for site in sites(entry) if site[2] & VLSF_ROVOL and not site[2] & VLSF_DONTUSE)
        missing = f"RO volume is not found in VLDB entry for volume {volume}"
        return Found(_location(session, next(released, None), missing, status), kind, entry)
    at = _location(session, readwrite_site(entry), f"RW Volume is not found in VLDB entry for volume {volume}", status)
    if kind is None:
        raise CommandError(f"unexpected volume type for volume {volume}\n", status)
    return Found(at, kind, entry)


def _location(session: Session, site: Site | None, missing: str, status: int) -> Location:
    if site is None:
        raise CommandError(f"{missing}\n", status)
    return Location(session, site[0], site[1])


async def need_place(session: Session, server: str, partition: str, status: int = USAGE_STATUS) -> Location:
    """The partition that two words mean. Raises CommandError."""
    address = server_named(session, server, status=status)
    return Location(session, address, await need_partition(session, address, partition, status))


async def need_places(
    session: Session, id_: str, fromserver: str, frompartition: str, toserver: str, topartition: str
) -> tuple[int, Location, Location]:
    """The volume, where it is and where it shall be; looked at in stock's order. Raises CommandError."""
    volume = await need_volume(session, id_, NO_VOLUME_ID.format(id_))
    source, target = (server_named(session, word, status=USAGE_STATUS) for word in (fromserver, toserver))
    return (
        volume,
        Location(session, source, await need_partition(session, source, frompartition, USAGE_STATUS)),
        Location(session, target, await need_partition(session, target, topartition, USAGE_STATUS)),
    )


async def need_room(
    volume: int, source: Location, target: Location, verb: str, *, given_back: int | None = None
) -> None:
    """A copy of the volume has room at the target. `given_back` is the id of a volume there that goes for it.

    Raises CommandError.
    """
    name = partition_name(target.partition)
    try:
        free, _ = await partition_space(target.session, target.server, target.partition)
    except CommandError as failure:
        raise CommandError(f"{failure.text}vos: cannot access partition {name}\n", FAILED) from failure
    size = (await need_info(volume, source)).size
    if given_back is not None:
        try:
            (old,) = await target.volser.ListOneVolume(target.partition, given_back)
        except RxError as problem:
            text = f"Could not fetch the information about volume {given_back} from the server"
            target.session.output.complain(f"{text}\n{error_text(problem.code)}")
        else:
            size = max(0, size - old.size)
    if free <= size:
        raise CommandError(f"vos: no space on target partition {name} to {verb} volume {volume}\n", FAILED)


async def need_info(volume: int, at: Location) -> volintInfo:
    """What the server says of a volume. Raises CommandError."""
    try:
        (found,) = await at.volser.ListOneVolume(at.partition, volume)
    except RxError as problem:
        text = f"Could not fetch the information about volume {volume} from the server\n{error_text(problem.code)}\n"
        raise CommandError(f"{text}vos:cannot access volume {volume}\n", FAILED) from problem
    return found


async def need_given_place(session: Session, volume: int, server: str | None, partition: str | None) -> Location:
    """The place that is given, or else that of the VLDB. Raises CommandError."""
    if server is None and partition is None:
        return (await find_volume(session, volume)).at
    if server is None or partition is None:
        raise CommandError("Must specify both -server and -partition options\n")
    return await need_place(session, server, partition)


async def need_dump_place(session: Session, volume: int, server: str | None, partition: str | None) -> Location:
    """The same in the words of `dump` and `size`, which leave it to the server whether it has the partition."""
    if server is None or partition is None:
        return await need_given_place(session, volume, server, partition)
    try:
        address = session.server(server)
    except CommandError:
        raise CommandError("Invalid server name\n") from None
    try:
        return Location(session, address, parse_partition(partition))
    except ValueError:
        raise CommandError("Invalid partition name\n") from None
