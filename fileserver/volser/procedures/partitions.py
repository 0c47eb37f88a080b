"""AFSVol about partition objects: opcodes from 74101 (docs/protocol/partitions.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EBUSY, EINVAL, EIO, ENOENT
from ipaddress import IPv4Address
from uuid import UUID

from twisted.internet.defer import TimeoutError  # noqa: A004
from twisted.internet.interfaces import IReactorTime

from afs.rpc.partitions import (
    PARTITION_MAXTEXT,
    PARTITION_PAGE,
    PARTITION_REVISION,
    PHEARTBEAT_UNKNOWN,
    PREASON,
    PSTATE,
    PartitionRequest,
    PartitionServer,
)
from afs.rpc.volpartitions import (
    PMOUNT,
    PMOVE,
    VPART,
    VPCAP,
    AFSVolPartitions,
    VolHost,
    VolMove,
    VolOperation,
    VolOperations,
    VolPartition,
    VolPartitionOrder,
    VolPartitionState,
    VolPartitionStates,
)
from afs.types import NIL_UUID
from fileserver.channel import Address
from fileserver.interfaces import Damaged, StoreError
from fileserver.partitions.define import define, undefine
from fileserver.partitions.flows import Busy
from fileserver.partitions.journal import Contact
from fileserver.partitions.keeper import Partitions
from fileserver.partitions.label import Label
from fileserver.partitions.means import MEMORY, Order
from fileserver.partitions.mount import cannot_mount
from fileserver.partitions.operations import Operation
from fileserver.partitions.table import Known
from fileserver.partitions.take import Refused
from fileserver.volume.fsa import VolumeState
from rx.errors import Abort

LONGEST_WAIT = 60.0
"""Seconds a GetOperation may wait for news: below the time after which clients of the volume server give it up."""


class PartitionProcedures(AFSVolPartitions):
    """What one call may do with the partitions. Codes are errno's: ENOENT for a partition that is not in the table."""

    def serve_partitions(self, partitions: Partitions, peer: Address) -> None:
        """Must be called before any of them. `peer` is who calls."""
        self._partitions = partitions
        self._peer = peer
        self._clock: IReactorTime = partitions.means.reactor

    async def PartitionCapabilities(self) -> tuple[int, int, UUID]:
        return PARTITION_REVISION, self._capabilities(), self._partitions.means.own

    def _capabilities(self) -> VPCAP:
        means = self._partitions.means
        found = VPCAP.MOUNT | VPCAP.MOVE | VPCAP.TAKEOVER
        return found if means.registry.salvages is None else found | VPCAP.SALVAGE

    async def DefinePartition(self, partition: VolPartition, request: PartitionRequest) -> VolPartitionState:
        wanted = Known(
            partition.uuid,
            partition.path.decode(),
            partition.number,
            partition.backend.decode(),
            partition.hook.decode(),
            partition.priority,
        )
        try:
            known = await define(self._partitions.means, wanted, request, bool(partition.flags & VPART.CREATE))
        except (StoreError, OSError) as refusal:
            return VolPartitionState(partition, PSTATE.FAILED, _text(str(refusal)))
        return await self._state(known)

    async def RemovePartition(self, partition: UUID, request: PartitionRequest) -> None:
        known = self._known(partition)
        try:
            await undefine(self._partitions.means, known, request)
        except Refused as refusal:
            raise Abort(EBUSY, str(refusal)) from refusal
        except StoreError as refusal:
            raise Abort(EIO, str(refusal)) from refusal

    async def MountPartition(self, order: VolPartitionOrder) -> VolOperation:
        return self._begin(self._partitions.mount, order)

    async def UnmountPartition(self, order: VolPartitionOrder) -> VolOperation:
        return self._begin(self._partitions.unmount, order)

    async def SalvagePartition(self, order: VolPartitionOrder) -> VolOperation:
        return self._begin(self._partitions.salvage, order)

    async def CancelOperation(self, operation_id: UUID, request: PartitionRequest) -> None:
        if not self._operation(operation_id).cancel():
            raise Abort(EBUSY, "only a salvage can be given up")

    async def MovePartition(self, order: VolPartitionOrder, target: PartitionServer) -> VolOperation:
        dryrun = bool(order.flags & PMOVE.DRYRUN)
        return self._begin(lambda known, how: self._partitions.move(known, how, target, dryrun), order)

    async def PrepareMove(self, move: VolMove) -> VolPartitionState:
        known = self._known(move.partition)
        state = await self._state(known)
        state.reason = _text(await cannot_mount(self._partitions.means, known))
        return state

    async def TakePartition(self, move: VolMove) -> VolOperation:
        source = self._partitions.means.volser(self._peer)
        order = Order(PartitionRequest(move.id, PREASON.MOVE, move.text), epoch=move.epoch, source=source)
        try:
            operation = self._partitions.take(self._known(move.partition), order, move.source)
        except Busy as busy:
            raise Abort(EBUSY, str(busy)) from busy
        return (await self._partitions.ended(operation)).to_wire()

    async def EndTakeover(self, address: int, request: PartitionRequest) -> None:
        try:
            if not await self._partitions.means.takeovers.end(IPv4Address(address)):
                raise Abort(ENOENT, f"{IPv4Address(address)} is not taken over here")
        except StoreError as problem:
            raise Abort(EIO, str(problem)) from problem

    async def TellHosts(self, move: VolMove, hosts: Sequence[VolHost]) -> None:
        self._partitions.tell(move.partition, map(_contact, hosts))

    async def ListKnownPartitions(self, after: UUID, limit: int) -> tuple[VolPartitionStates, UUID]:
        table = sorted(self._partitions.means.table, key=lambda known: known.uuid)
        rows = [known for known in table if known.uuid > after]
        page = rows[: min(limit, PARTITION_PAGE) if limit > 0 else PARTITION_PAGE]
        states = tuple([await self._state(known) for known in page])
        return states, page[-1].uuid if len(page) < len(rows) else NIL_UUID

    async def GetPartition(self, partition: UUID) -> VolPartitionState:
        return await self._state(self._known(partition))

    async def GetOperation(self, operation_id: UUID, version: int, wait: int) -> VolOperation:
        operation = self._operation(operation_id)
        if operation.version <= version and wait:
            with suppress(TimeoutError):  # nothing new is an answer too
                await operation.changed().addTimeout(min(wait / 1000, LONGEST_WAIT), self._clock)
        return operation.to_wire()

    async def ListOperations(self, partition: UUID) -> VolOperations:
        found = self._partitions.operations.of(None if partition == NIL_UUID else partition)
        return tuple([operation.to_wire() for operation, _ in zip(found, range(PARTITION_PAGE), strict=False)])

    def _begin(self, begin: Callable[[Known, Order], Operation], order: VolPartitionOrder) -> VolOperation:
        if order.request.id == NIL_UUID:
            raise Abort(EINVAL, "a request needs an id")
        known = self._known(order.partition)
        deadline = order.deadline / 1000 if order.deadline else None
        try:
            how = Order(
                order.request,
                force=bool(order.flags & PMOUNT.FORCE),
                takeover=bool(order.flags & PMOUNT.TAKEOVER),
                deadline=deadline,
            )
            return begin(known, how).to_wire()
        except Busy as busy:
            raise Abort(EBUSY, str(busy)) from busy

    def _operation(self, operation_id: UUID) -> Operation:
        operation = self._partitions.operations.get(operation_id)
        if operation is None:
            raise Abort(ENOENT, f"no operation {operation_id}")
        return operation

    def _known(self, partition: UUID) -> Known:
        known = self._partitions.means.table.get(partition)
        if known is None:
            raise Abort(ENOENT, f"partition {partition} is not defined here")
        return known

    async def _state(self, known: Known) -> VolPartitionState:
        """What the table, the label and the registry say of it."""
        state = VolPartitionState(_row(known), PSTATE.RELEASED)
        last = self._partitions.operations.last(known.uuid)
        if last is not None:
            state.operation = last.id
            state.reason = _text(last.text)
        mounted = self._partitions.mounted.get(known.uuid)
        registry = self._partitions.means.registry
        if mounted is not None and registry.partition(known.number) is mounted.partition:
            volumes, count = registry.used(known.number), registry.count(known.number)
            space = mounted.partition.space()
            state.state, state.epoch = PSTATE.MOUNTED, mounted.epoch
            state.size, state.free, state.volumes = space.total, space.free, count
            state.attached = sum(volume.state is VolumeState.ATTACHED for volume in volumes)
            state.salvaging = sum(volume.state is VolumeState.SALVAGING for volume in volumes)
        if known.backend != MEMORY:
            try:
                _show_label(state, await self._label(known))
            except (Damaged, OSError) as problem:
                state.reason = _text(str(problem))
        return state

    async def _label(self, known: Known) -> Label | None:
        """As this server last wrote it, where it has the partition: its storage may be slow to answer."""
        mounted = self._partitions.mounted.get(known.uuid)
        if mounted is not None and mounted.tenure is not None and not mounted.tenure.lost:
            return mounted.tenure.label
        return await self._partitions.means.in_thread(Label.read, known.path)


def _show_label(state: VolPartitionState, label: Label | None) -> None:
    if label is not None:
        state.label_owner, state.label_epoch = label.owner or NIL_UUID, label.epoch
        age = (time.time() - label.beaten) * 1000 if label.beaten else PHEARTBEAT_UNKNOWN
        state.heartbeat_age = max(0, min(int(age), PHEARTBEAT_UNKNOWN))


def _contact(host: VolHost) -> Contact:
    address = str(IPv4Address(host.address)), host.port
    return Contact(address, None if host.uuid == NIL_UUID else host.uuid, set(host.volumes))


def _row(known: Known) -> VolPartition:
    return VolPartition(
        uuid=known.uuid,
        path=known.path.encode(),
        number=known.number,
        backend=known.backend.encode(),
        hook=known.hook.encode(),
        name=known.name.encode(),
        priority=known.priority,
        flags=VPART.WANTED if known.wanted else VPART(0),
    )


def _text(text: str) -> bytes:
    return text.encode()[:PARTITION_MAXTEXT]
