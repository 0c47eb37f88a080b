"""Everything about one partition object: what the VLDB says of it, and what the servers that may mount it say."""

from __future__ import annotations

import time
from collections import deque
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, TimeoutError, gatherResults  # noqa: A004

from afs.rpc.partitions import (
    PARTITION_PAGE,
    PHEARTBEAT_UNKNOWN,
    PSTATE,
    PartitionChange,
    PartitionDefinition,
    PartitionNamed,
    PartitionObject,
    PartitionWatch,
)
from afs.rpc.volpartitions import VOPS, VolOperation, VolPartitionState
from rx.errors import Abort, RxError
from vos.command import CommandError
from vos.errors import error_text
from vos.follow import name_of, summary
from vos.listing import Whereabouts, as_data, list_definitions
from vos.output import vice_name
from vos.places import get_object, reach, server_name
from vos.session import Session

ASK_SECONDS = 3.0
"""How long a file server is waited for, which may be down: this is a glance."""

HISTORY = 12
"""The changes shown, the latest."""

OPERATIONS = 4
"""The operations shown of each server, the latest."""

_OWNERSHIP = frozenset({b"ClaimPartition", b"ReleasePartition", b"DefinePartition", b"RemoveDefinition"})
"""The RPCs that are history; reports of sizes are not."""

Glance = tuple[VolPartitionState, tuple[VolOperation, ...]] | str
"""What a file server says of a partition, or why there is nothing."""


async def show_partition(session: Session, partition: UUID, json: bool) -> None:
    """See the module. Raises CommandError when there is no such partition."""
    found = await get_object(session, partition)
    definitions = await list_definitions(session, PartitionNamed(partition))
    glances = await gatherResults([Deferred.fromCoroutine(_glance(session, each)) for each in definitions])
    history = await _history(session, partition)
    if json:
        session.output.json(_as_data(session, found, definitions, glances, history))
        return
    _show_object(session, found)
    for definition, glance in zip(definitions, glances, strict=True):
        _show_definition(session, definition, glance)
    if history:
        session.output.say("History")
        for change in history:
            session.output.say(f"    {_time(change.time)} {_told(change.operation)} by {_told(change.who)}")


async def _glance(session: Session, definition: PartitionDefinition) -> Glance:
    try:
        volser = session.partitions(await reach(session, definition.server))
        asked = Deferred.fromCoroutine(volser.GetPartition(definition.partition))
        state = await asked.addTimeout(ASK_SECONDS, session.reactor)
        listing = Deferred.fromCoroutine(volser.ListOperations(definition.partition))
        return state, await listing.addTimeout(ASK_SECONDS, session.reactor)
    except TimeoutError:
        return "does not answer"
    except RxError as problem:
        what = "refuses" if isinstance(problem, Abort) else "does not answer"
        return f"{what}: {error_text(problem.code)}"
    except CommandError as problem:
        return problem.text.strip()


async def _history(session: Session, partition: UUID) -> list[PartitionChange]:
    latest: deque[PartitionChange] = deque(maxlen=HISTORY)
    since = 0
    while True:
        changes, revision, _ = await session.objects.WatchChanges(PartitionWatch(since, partition, PARTITION_PAGE))
        latest.extend(each for each in changes if each.operation in _OWNERSHIP)
        if not changes or revision <= since:
            return list(latest)
        since = revision


def _show_object(session: Session, found: PartitionObject) -> None:
    say = session.output.say
    where = Whereabouts.of(found)
    say(f"Partition {found.uuid}")
    if found.name:
        say(f"    Name        {_told(found.name)}")
    say(f"    State       {where.state}")
    say(f"    Server      {server_name(session, where.server)} {vice_name(found.number)}")
    reason = f", {_told(found.tenure.text)}" if found.tenure.text else ""
    since = f" since {_time(found.tenure.since)}{reason}" if found.tenure.since else ""
    say(f"    Epoch       {found.epoch}{since}")
    if found.backend:
        say(f"    Back end    {_told(found.backend)}")
    if found.reported:
        say(f"    Size        {found.size} K, {found.free} K free, as of {_time(found.reported)}")


def _show_definition(session: Session, definition: PartitionDefinition, glance: Glance) -> None:
    say = session.output.say
    name = f"{server_name(session, definition.server)} {vice_name(definition.number)}"
    say(f"Defined on {name}: {_told(definition.path) or '-'}, priority {definition.priority}")
    if isinstance(glance, str):
        say(f"    {glance}")
        return
    state, operations = glance
    known = state.state in PSTATE._value2member_map_
    words = [PSTATE(state.state).name.lower() if known else str(state.state)]
    if state.state == PSTATE.MOUNTED:
        words.append(f"{state.volumes} volumes, {state.attached} attached, {state.salvaging} in salvage")
        words.append(f"{state.size} K, {state.free} K free")
    if state.heartbeat_age != PHEARTBEAT_UNKNOWN:
        words.append(f"label at epoch {state.label_epoch}, last beat {state.heartbeat_age / 1000:.1f} s ago")
    if state.reason:
        words.append(_told(state.reason))
    say(f"    {'; '.join(words)}")
    for each in operations[:OPERATIONS]:
        ended = VOPS(each.state).name.lower() if each.state in VOPS._value2member_map_ else str(each.state)
        reason = f": {_told(each.text)}" if each.text else ""
        say(f"    {name_of(each.kind)} {each.id} {ended}, {summary(each)}{reason}")


def _as_data(
    session: Session,
    found: PartitionObject,
    definitions: list[PartitionDefinition],
    glances: list[Glance],
    history: list[PartitionChange],
) -> dict[str, Any]:
    data = as_data(session, found, definitions)
    for definition, glance in zip(data["definitions"], glances, strict=True):
        definition |= {"problem": glance} if isinstance(glance, str) else _glance_data(*glance)
    data["history"] = [
        {"time": each.time, "operation": _told(each.operation), "who": _told(each.who)} for each in history
    ]
    return data


def _glance_data(state: VolPartitionState, operations: tuple[VolOperation, ...]) -> dict[str, Any]:
    age = None if state.heartbeat_age == PHEARTBEAT_UNKNOWN else state.heartbeat_age
    return {
        "state": PSTATE(state.state).name.lower() if state.state in PSTATE._value2member_map_ else state.state,
        "reason": _told(state.reason),
        "epoch": state.epoch,
        "label": {"owner": state.label_owner, "epoch": state.label_epoch, "age_milliseconds": age},
        "size": state.size,
        "free": state.free,
        "volumes": state.volumes,
        "attached": state.attached,
        "salvaging": state.salvaging,
        "operations": [
            {
                "id": each.id,
                "kind": name_of(each.kind),
                "state": VOPS(each.state).name.lower() if each.state in VOPS._value2member_map_ else each.state,
                "text": _told(each.text),
            }
            for each in operations[:OPERATIONS]
        ],
    }


def _told(text: bytes) -> str:
    return text.decode(errors="replace")


def _time(seconds: int) -> str:
    return time.ctime(seconds)
