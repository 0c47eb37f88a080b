"""What servers must not have when nobody wants anything of them any more, and volumes must not when all is closed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

from fileserver.breaks import Breaks
from fileserver.service import FileserverService
from fileserver.volume.recovery import recover
from fileserver.volume.volume import Volume
from tests.fileserver.consistency import contradictions
from tests.simulation.clients.cell import run_now
from tests.simulation.clients.storage import Storage

UNNAMED = "is named by {}"
"""What a crash or a failing disk may leave, and no harm in it (fileserver.volume.recovery)."""


def leaks(service: FileserverService, gone: Collection[UUID]) -> Iterator[str]:
    """All that a server still holds for calls, one line each. Promises may be left to clients that are `gone`."""
    registry: Any = service.registry
    holds, room = registry.holds, registry.room
    if holds.calls or holds.bytes or holds._calls_of or holds._bytes_of:
        yield f"{holds.calls} calls with {holds.bytes} bytes are held"
    if room._coming:
        yield f"{room._coming} volumes are being attached"
    if registry._vacated:
        yield f"{len(registry._vacated)} partitions are vacated, and nobody says what becomes of them"
    for port in (*service.ports, *service.volser_ports):
        endpoint = port.endpoint
        if endpoint.server_calls or endpoint.buffered_bytes or port.suspended:
            yield f"port {port.address}: {endpoint.server_calls} calls, {endpoint.buffered_bytes} bytes buffered"
        turns = endpoint.turns
        if turns is not None and (turns.running or turns.waiting):
            yield f"port {port.address}: {turns.running} procedures run, {turns.waiting} wait"
    for number in list(registry._volumes):
        if registry._volumes[number].gate.frozen:
            yield f"partition {number} is frozen"
        for volume in registry.used(number):
            yield from _volume(volume)
    yield from _clients(registry.surroundings.callbacks, gone)


def _volume(volume: Volume) -> Iterator[str]:
    if volume.users or volume.holders or volume.borrowed or volume.condemned:
        yield f"{volume!r} has {volume.users} users, {len(volume.holders)} holders"
    if volume._vnodes is not None:
        for vn in volume.vnodes._known.values():
            if vn.holders or not vn.lock.free or vn.context is not None or vn.fresh:
                yield f"{vn!r} has {vn.holders} holders, or is locked"


def _clients(breaks: Breaks, gone: Collection[UUID]) -> Iterator[str]:
    if breaks._background or breaks._shedding is not None:
        yield "messages to clients are under way"
    if breaks.hosts._meetings:
        yield f"calls wait for {list(breaks.hosts._meetings)} to say who they are"
    for host in breaks.hosts:
        held = breaks.callbacks.held_by(host)
        if host.telling or host.messages.locked:
            yield f"{host!r} is being told something"
        if held and host.uuid not in gone and host.uuid is not None:
            yield f"{host!r} has {held} promises"
        if host.down and host.uuid not in gone and host.uuid is not None:
            yield f"{host!r} is down"


async def at_once() -> None:
    """Nobody else wants the reactor."""


def wrong_on_disk(storage: Storage, volumes: Collection[int], crashed: bool) -> Iterator[str]:
    """What does not fit together in the volumes of a partition that was put away. After a crash, or where operations
    failed, there may be vnodes that nothing names.
    """
    partition = storage.quietly()
    for volume_id in volumes:
        files = run_now(partition.open_volume(volume_id))
        header = run_now(files.read_header())
        if header.in_use and crashed:
            run_now(recover(files, header, at_once))
            header.in_use = 0
            run_now(files.write_header(header))
        for line in run_now(contradictions(files)):
            if not (crashed and UNNAMED in line):
                yield f"volume {volume_id}: {line}"
