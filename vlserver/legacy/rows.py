"""A stock file and, where there is one, its sidecar as rows to load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from uuid import UUID

from vlserver.legacy.reader import StoredVldb
from vlserver.legacy.sidecar import STORED_FIELDS, Sidecar, homes
from vlserver.schema import MAX_VOLUME_ID, Partition, Row, Server, Site, Volume


def rows_of(stored: StoredVldb, sidecar: Sidecar, new_uuid: Callable[[], UUID]) -> Iterator[Row]:
    """All rows in the order in which they can be loaded.

    A (server, partition number) that the sidecar does not know is an implicit partition object, mounted there.
    """
    for server in stored.servers:
        yield _with_more(server, sidecar.servers.get(server.slot))
    yield from sidecar.partitions
    partitions = homes(sidecar.partitions)
    for slot, number in stored.places:
        if (slot, number) not in partitions:
            made = Partition(new_uuid(), number, owner=slot, last_owner=slot, implicit=True)
            partitions[slot, number] = made.uuid
            yield made
    yield from sidecar.definitions
    for each in stored.volumes():
        sites = tuple(Site(partitions[slot, number], flags) for slot, number, flags in each.sites)
        told = {name: getattr(each, name) for name in STORED_FIELDS}
        plain = Volume(sites=sites, **told)
        yield sidecar.volume(each, plain)


def settings_of(stored: StoredVldb, sidecar: Sidecar) -> dict[str, int]:
    """The file's numbers, and the sidecar's where the file has none; the next volume id never goes back."""
    next_id = max(stored.settings[MAX_VOLUME_ID], sidecar.settings.get(MAX_VOLUME_ID, 0))
    return sidecar.settings | stored.settings | {MAX_VOLUME_ID: next_id}


def _with_more(server: Server, before: Server | None) -> Server:
    """The server as the file has it, with what only the sidecar knows."""
    if before is None:
        return server
    told = {name: getattr(server, name) for name in ("addresses", "uuid", "record", "uniquifier")}
    return replace(before, **told)
