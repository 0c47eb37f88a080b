"""Partition objects on the wire: checked wishes out of what callers write, and rows as partitions.xg has them."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from afs.errors import VLError
from afs.rpc.partitions import (
    PARTITION_MAXTEXT,
    PARTITION_PAGE,
    PCHANGE,
    PHEARTBEAT_UNKNOWN,
    POBJ,
    PSITE,
    PSTATE,
    PartitionAll,
    PartitionChange,
    PartitionClaim,
    PartitionDefined,
    PartitionDefinition,
    PartitionDescription,
    PartitionEntry,
    PartitionNamed,
    PartitionObject,
    PartitionOutcome,
    PartitionOwned,
    PartitionPlace,
    PartitionRelease,
    PartitionReport,
    PartitionRequest,
    PartitionRow,
    PartitionSelector,
    PartitionServer,
    PartitionSetting,
    PartitionSite,
    PartitionSubject,
    PartitionTenure,
    PartitionVerdict,
    PartitionVolume,
    PartitionVolumeName,
)
from afs.types import NIL_UUID
from rx.errors import Abort
from vlserver.forms import check_partition
from vlserver.interfaces import ITransaction
from vlserver.operations.claims import Claim, Release, Request
from vlserver.operations.definitions import Outcome, Report, Verdict, Wish, state_of
from vlserver.operations.surveys import Wanted
from vlserver.schema import EPOCH_LIMIT, Change, Definition, Partition, RowChange, Server, Site, Volume

NO_SERVER = PartitionServer()


def text(words: bytes) -> str:
    """A text that a caller writes. Raises VL_BADNAME when it is not UTF-8 or has a NUL, which C would end it at."""
    try:
        decoded = words.decode()
    except UnicodeDecodeError as problem:
        raise Abort(VLError.VL_BADNAME, str(problem)) from problem
    if "\0" in decoded:
        raise Abort(VLError.VL_BADNAME)
    return decoded


def server_named(transaction: ITransaction, named: PartitionServer) -> Server:
    """The server of this UUID, else of this address. Raises VL_BADSERVER."""
    if named.uuid == NIL_UUID:
        found = transaction.server_at(named.address)
    else:
        found = next((each for each in transaction.servers() if each.uuid == named.uuid), None)
    if found is None:
        raise Abort(VLError.VL_BADSERVER)
    return found


def wish(definition: PartitionDefinition, description: PartitionDescription) -> Wish:
    """Raises VL_BADPARTITION, VL_BADNAME."""
    check_partition(definition.number)
    return Wish(
        definition.partition,
        definition.number,
        text(definition.path),
        definition.priority,
        text(description.name),
        text(description.backend),
        description.flags,
    )


def request(wire: PartitionRequest, now: int) -> Request:
    """Raises VL_BADENTRY for one without id, which could not be told from another."""
    if wire.id == NIL_UUID:
        raise Abort(VLError.VL_BADENTRY)
    return Request(wire.id, wire.reason, text(wire.text), now)


def claim(transaction: ITransaction, wire: PartitionClaim, now: int) -> Claim:
    """Raises VL_BADSERVER, VL_BADENTRY, VL_BADNAME."""
    age = None if wire.heartbeat_age == PHEARTBEAT_UNKNOWN else wire.heartbeat_age
    asked = request(wire.request, now)
    server = server_named(transaction, wire.server)
    expected, label = wire.expected_epoch, wire.label_epoch
    return Claim(wire.partition, server, asked, expected, label, age, wire.lease, wire.flags)


def release(transaction: ITransaction, wire: PartitionRelease, now: int) -> Release:
    """Raises VL_BADSERVER, VL_BADENTRY, VL_BADNAME."""
    asked = request(wire.request, now)
    server = server_named(transaction, wire.server)
    successor = None if wire.successor == NO_SERVER else server_named(transaction, wire.successor)
    return Release(wire.partition, server, asked, wire.epoch, successor, wire.flags)


def report(wire: PartitionReport) -> Report:
    """Raises VL_BADPARTITION, VL_BADNAME, VL_BADENTRY."""
    check_partition(wire.number)
    state = PSTATE(wire.state) if wire.state in PSTATE.__members__.values() else PSTATE.UNKNOWN
    if max(wire.size, wire.free) >= EPOCH_LIMIT:
        raise Abort(VLError.VL_BADENTRY)
    return Report(wire.uuid, wire.number, wire.epoch, state, text(wire.backend), wire.size, wire.free)


def wanted(transaction: ITransaction, selector: PartitionSelector) -> Wanted:
    """Raises VL_BADMASK for a kind that this revision does not know, VL_BADSERVER."""
    match selector:
        case PartitionAll():
            return Wanted()
        case PartitionOwned():
            return Wanted(owner=server_named(transaction, selector.server))
        case PartitionDefined():
            return Wanted(defined=server_named(transaction, selector.server))
        case PartitionNamed():
            return Wanted(partition=selector.partition)
        case _:
            raise Abort(VLError.VL_BADMASK)


def server_form(server: Server | None) -> PartitionServer:
    """A server by its UUID and its first address; nobody is all zeros."""
    if server is None:
        return PartitionServer()
    return PartitionServer(server.uuid or NIL_UUID, server.addresses[0] if server.addresses else 0)


class Forms:
    """Rows as they travel, for the length of one transaction; each server is looked up once."""

    def __init__(self, transaction: ITransaction) -> None:
        self._transaction = transaction
        self._servers: dict[int | None, PartitionServer] = {None: NO_SERVER}

    def server(self, slot: int | None) -> PartitionServer:
        """The server in a slot."""
        found = self._servers.get(slot)
        if found is None and slot is not None:
            found = self._servers[slot] = server_form(self._transaction.server(slot))
        assert found is not None
        return found

    def object(self, row: Partition) -> PartitionObject:
        """A partition object."""
        tenure = PartitionTenure(
            request=row.request or NIL_UUID,
            reason=row.reason,
            text=row.note.encode(),
            since=row.since,
            flags=row.claim_flags,
            heartbeat_age=PHEARTBEAT_UNKNOWN if row.heartbeat_age is None else row.heartbeat_age,
            lease=row.lease,
        )
        return PartitionObject(
            uuid=row.uuid,
            name=row.name.encode(),
            flags=int(POBJ.IMPLICIT) if row.implicit else 0,
            epoch=row.epoch,
            owner=self.server(row.owner),
            last_owner=self.server(row.last_owner),
            number=row.number,
            state=state_of(row),
            backend=row.backend.encode(),
            size=row.size,
            free=row.free,
            reported=row.reported,
            changed=row.changed,
            tenure=tenure,
        )

    def outcome(self, outcome: Outcome) -> PartitionOutcome:
        """What became of a request."""
        return PartitionOutcome(outcome.result, self.object(outcome.partition))

    def verdict(self, report: Report, verdict: Verdict) -> PartitionVerdict:
        """What a report is answered."""
        found = verdict.partition
        if found is None:
            return PartitionVerdict(report.uuid, verdict.verdict, number=report.number)
        return PartitionVerdict(found.uuid, verdict.verdict, found.epoch, self.server(found.owner), found.number)

    def definition(self, row: Definition) -> PartitionDefinition:
        """A definition."""
        return PartitionDefinition(row.partition, self.server(row.server), row.number, row.path.encode(), row.priority)

    def entry(self, volume: Volume) -> PartitionEntry:
        """An entry, every site of it, with nothing seen as one."""
        return PartitionEntry(
            volume.name, volume.ids, volume.clone_id, volume.flags, tuple(map(self._site, volume.sites))
        )

    def _site(self, site: Site) -> PartitionSite:
        row = self._transaction.partition(site.partition)
        assert row is not None, site  # the store refuses a site on nothing
        slot = row.last_owner if row.owner is None else row.owner
        flags = int(PSITE.MOUNTED) if row.owner is not None else 0
        return PartitionSite(row.uuid, row.epoch, self.server(slot), row.number, site.flags, flags, state_of(row))

    def change(self, change: Change) -> PartitionChange:
        """A change of the log, with as many rows as fit."""
        rows = change.rows[:PARTITION_PAGE]
        return PartitionChange(
            revision=change.revision,
            time=change.time,
            who=_cut(change.author.who),
            operation=_cut(change.author.operation),
            flags=int(PCHANGE.CUT) if len(rows) < len(change.rows) else 0,
            rows=tuple(PartitionRow(self._subject(row), row.before.encode(), row.after.encode()) for row in rows),
        )

    def _subject(self, row: RowChange) -> PartitionSubject:
        """What a row is about, by names that mean something outside the database."""
        if row.kind == "setting":
            return PartitionSetting(row.key.encode())
        values: dict[str, Any] = json.loads(row.after or row.before)
        match row.kind:
            case "server":
                addresses = values["addresses"]
                uuid = UUID(values["uuid"]) if values["uuid"] else NIL_UUID
                return PartitionOwned(PartitionServer(uuid, addresses[0] if addresses else 0))
            case "partition":
                return PartitionNamed(UUID(row.key))
            case "definition":
                return PartitionPlace(UUID(values["partition"]), self.server(values["server"]))
            case "volume":
                return PartitionVolumeName(int(row.key), values["name"].encode("latin-1"), tuple(values["ids"]))
        raise AssertionError(f"rows of a kind that is not published: {row.kind}")


def volume_form(volume: Volume, site: Site) -> PartitionVolume:
    """A volume as a partition's list has it."""
    return PartitionVolume(volume.key, volume.name, volume.ids, volume.flags, site.flags, len(volume.sites))


def place_key(definition: PartitionDefinition) -> tuple[UUID, UUID, int]:
    """How definitions are ordered: as PartitionPlace names them."""
    return definition.partition, definition.server.uuid, definition.server.address


def _cut(words: str) -> bytes:
    return words.encode()[:PARTITION_MAXTEXT]
