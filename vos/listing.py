"""Lists of partition objects."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

from afs.errors import VLError
from afs.rpc.partitions import (
    PARTITION_PAGE,
    POBJ,
    PSTATE,
    PartitionAll,
    PartitionDefined,
    PartitionDefinition,
    PartitionObject,
    PartitionOwned,
    PartitionPlace,
    PartitionSelector,
    PartitionServer,
)
from rx.errors import Abort
from vos.command import CommandError
from vos.output import columns, vice_name
from vos.places import is_server, partition_objects, server_name
from vos.session import Session

_HEADINGS = ("Partition", "Server", "Name", "State", "Epoch", "Size", "Free")


async def show_partitions(session: Session, server: IPv4Address | None, json: bool) -> None:
    """All, or those that a server has, had last, or may mount."""
    if server is None:
        everything = PartitionAll()
        found = [each async for each in partition_objects(session, everything)]
        definitions = await list_definitions(session, everything)
    else:
        try:
            found, definitions = await _of_server(session, PartitionServer(address=int(server)))
        except Abort as refusal:
            if refusal.code != VLError.VL_BADSERVER:
                raise
            raise CommandError(f"vos: the VLDB knows no server {session.name(server)}\n") from None
    if json:
        session.output.json([as_data(session, each, definitions) for each in found])
        return
    rows = [_row(session, each) for each in sorted(found, key=lambda each: _order(session, each))]
    if rows:
        columns([_HEADINGS, *rows], session.output.say)
    session.output.say(f"Total: {len(rows)}")


async def _of_server(
    session: Session, server: PartitionServer
) -> tuple[list[PartitionObject], list[PartitionDefinition]]:
    found: dict[UUID, PartitionObject] = {}
    selectors: tuple[PartitionSelector, ...] = (PartitionOwned(server), PartitionDefined(server))
    for selector in selectors:
        async for each in partition_objects(session, selector):
            found[each.uuid] = each
    return list(found.values()), await list_definitions(session, PartitionDefined(server))


async def list_definitions(session: Session, selector: PartitionSelector) -> list[PartitionDefinition]:
    """Where what is selected may be mounted, what is tried first first."""
    found: list[PartitionDefinition] = []
    after = PartitionPlace()
    while True:
        page, after = await session.objects.ListDefinitions(selector, after, PARTITION_PAGE)
        found += page
        if after == PartitionPlace():
            return sorted(found, key=lambda each: (-each.priority, server_name(session, each.server), each.number))


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Who has a partition now, or had it last."""

    server: PartitionServer
    state: str

    @classmethod
    def of(cls, found: PartitionObject) -> Whereabouts:
        """What the VLDB says."""
        if not is_server(found.owner):
            return cls(found.last_owner, "not mounted")
        if found.flags & POBJ.IMPLICIT:
            return cls(found.owner, "implicit")
        if found.state == PSTATE.UNKNOWN:
            return cls(found.owner, "claimed")
        known = found.state in PSTATE._value2member_map_
        return cls(found.owner, PSTATE(found.state).name.lower() if known else str(found.state))


def as_data(session: Session, found: PartitionObject, definitions: list[PartitionDefinition]) -> dict[str, Any]:
    """A partition object and its definitions for JSON. Sizes in KiB, times in Unix seconds."""
    where = Whereabouts.of(found)
    return {
        "uuid": found.uuid,
        "name": found.name.decode(errors="replace"),
        "state": where.state,
        "epoch": found.epoch,
        "mounted": is_server(found.owner),
        "server": server_data(session, where.server),
        "partition": vice_name(found.number),
        "backend": found.backend.decode(errors="replace"),
        "size": found.size,
        "free": found.free,
        "reported": found.reported,
        "since": found.tenure.since,
        "definitions": [
            {
                "server": server_data(session, each.server),
                "partition": vice_name(each.number),
                "path": each.path.decode(errors="replace"),
                "priority": each.priority,
            }
            for each in definitions
            if each.partition == found.uuid
        ],
    }


def server_data(session: Session, server: PartitionServer) -> dict[str, Any] | None:
    """A server for JSON."""
    if not is_server(server):
        return None
    address = str(IPv4Address(server.address & 0xFFFF_FFFF)) if server.address else None
    return {"name": server_name(session, server), "uuid": server.uuid, "address": address}


def _row(session: Session, found: PartitionObject) -> tuple[str, ...]:
    where = Whereabouts.of(found)
    return (
        str(found.uuid),
        server_name(session, where.server),
        vice_name(found.number),
        where.state,
        str(found.epoch),
        f"{found.size} K",
        f"{found.free} K",
    )


def _order(session: Session, found: PartitionObject) -> tuple[str, int, UUID]:
    return server_name(session, Whereabouts.of(found).server), found.number, found.uuid
