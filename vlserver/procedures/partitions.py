"""Partition objects: defined, reported, claimed, listed, watched (docs/protocol/partitions.md)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from uuid import UUID

from afs.errors import VLError
from afs.names import is_numeric_name, is_volume_name
from afs.rpc.partitions import (
    PARTITION_REVISION,
    PCAP,
    PCLAIM,
    PartitionChange,
    PartitionClaim,
    PartitionDefinition,
    PartitionDescription,
    PartitionEntry,
    PartitionObject,
    PartitionOutcome,
    PartitionOwned,
    PartitionPlace,
    PartitionRelease,
    PartitionReport,
    PartitionRequest,
    PartitionSelector,
    PartitionServer,
    PartitionVerdict,
    PartitionVolume,
    PartitionWatch,
)
from afs.types import NIL_UUID
from rx.errors import Abort
from vlserver.interfaces import ITransaction
from vlserver.operations import changes, claims, definitions, entries, surveys
from vlserver.partition_forms import Forms, place_key, server_named, text, volume_form, wanted, wish
from vlserver.partition_forms import claim as claim_of
from vlserver.partition_forms import release as release_of
from vlserver.partition_forms import report as report_of
from vlserver.procedures.base import VLProcedures
from vlserver.schema import Server
from vlserver.watchers import WAIT_SECONDS

CAPABILITIES = PCAP.DEFINE | PCAP.OWN | PCAP.READ | PCAP.WATCH


class PartitionProcedures(VLProcedures):
    """PartitionCapabilities .. WatchChanges."""

    async def PartitionCapabilities(self) -> tuple[int, int]:
        return PARTITION_REVISION, int(CAPABILITIES)

    async def DefinePartition(
        self, definition: PartitionDefinition, description: PartitionDescription, request: PartitionRequest
    ) -> PartitionOutcome:
        new = wish(definition, description)
        text(request.text)

        def work(transaction: ITransaction) -> PartitionOutcome:
            server = server_named(transaction, definition.server)
            outcome = definitions.define(transaction, server, new, self._database.now(), self._database.new_uuid)
            return Forms(transaction).outcome(outcome)

        return await self._write(work)

    async def RemoveDefinition(
        self, partition: UUID, server: PartitionServer, request: PartitionRequest
    ) -> PartitionOutcome:
        text(request.text)

        def work(transaction: ITransaction) -> PartitionOutcome:
            found = server_named(transaction, server)
            return Forms(transaction).outcome(definitions.remove(transaction, found, partition))

        return await self._write(work)

    async def RegisterPartitions(
        self, server: UUID, reports: Sequence[PartitionReport]
    ) -> tuple[tuple[PartitionVerdict, ...], tuple[PartitionObject, ...]]:
        checked = [report_of(each) for each in reports]

        def work(
            transaction: ITransaction,
        ) -> tuple[tuple[PartitionVerdict, ...], tuple[PartitionObject, ...]]:
            found = server_named(transaction, PartitionServer(server))
            self._require_own_call(found)
            verdicts, besides = definitions.register(transaction, found, checked, self._database.now())
            forms = Forms(transaction)
            said = tuple(forms.verdict(*each) for each in zip(checked, verdicts, strict=True))
            return said, tuple(map(forms.object, besides))

        if server == NIL_UUID:
            raise Abort(VLError.VL_BADSERVER)
        return await self._write(work)

    async def ClaimPartition(self, claim: PartitionClaim) -> PartitionOutcome:
        def work(transaction: ITransaction) -> PartitionOutcome:
            asked = claim_of(transaction, claim, self._database.now())
            if not asked.flags & PCLAIM.FORCE:
                self._require_own_call(asked.server)
            return Forms(transaction).outcome(claims.claim(transaction, asked))

        return await self._write(work)

    async def ReleasePartition(self, release: PartitionRelease) -> PartitionOutcome:
        def work(transaction: ITransaction) -> PartitionOutcome:
            asked = release_of(transaction, release, self._database.now())
            if not asked.flags & PCLAIM.FORCE:
                self._require_own_call(asked.server)
            return Forms(transaction).outcome(claims.release(transaction, asked))

        return await self._write(work)

    async def GetPartition(self, partition: UUID) -> PartitionObject:
        return await self._read(lambda t: Forms(t).object(definitions.known_partition(t, partition)))

    async def ListPartitions(
        self, selector: PartitionSelector, after: UUID, limit: int
    ) -> tuple[tuple[PartitionObject, ...], UUID]:
        def work(transaction: ITransaction) -> tuple[tuple[PartitionObject, ...], UUID]:
            found, more = surveys.partitions(transaction, wanted(transaction, selector), after, limit)
            return tuple(map(Forms(transaction).object, found)), found[-1].uuid if more else NIL_UUID

        return await self._survey(work)

    async def ListDefinitions(
        self, selector: PartitionSelector, after: PartitionPlace, limit: int
    ) -> tuple[tuple[PartitionDefinition, ...], PartitionPlace]:
        if isinstance(selector, PartitionOwned):
            raise Abort(VLError.VL_BADMASK)
        beyond = (after.partition, after.server.uuid, after.server.address)

        def work(transaction: ITransaction) -> tuple[tuple[PartitionDefinition, ...], PartitionPlace]:
            rows = surveys.definitions(transaction, wanted(transaction, selector))
            found = sorted(map(Forms(transaction).definition, rows), key=place_key)
            found = [each for each in found if place_key(each) > beyond]
            page = found[: surveys.page_size(limit)]
            more = len(page) < len(found)
            return tuple(page), PartitionPlace(page[-1].partition, page[-1].server) if more else PartitionPlace()

        return await self._survey(work)

    async def ListPartitionVolumes(
        self, partition: UUID, after: int, limit: int
    ) -> tuple[tuple[PartitionVolume, ...], int]:
        found, more = await self._read(surveys.volumes, partition, after, limit)
        return tuple(volume_form(*each) for each in found), found[-1][0].key if more else 0

    async def GetEntryP(self, volumename: bytes) -> PartitionEntry:
        if not is_numeric_name(volumename) and not is_volume_name(volumename):
            raise Abort(VLError.VL_BADNAME)
        return await self._read(lambda t: Forms(t).entry(entries.volume_by_name(t, volumename)))

    async def WatchChanges(self, watch: PartitionWatch) -> tuple[tuple[PartitionChange, ...], int, int]:
        partition = None if watch.partition == NIL_UUID else watch.partition
        watchers = self._database.watchers
        deadline = watchers.seconds() + min(watch.wait / 1000, WAIT_SECONDS)
        since = watch.since
        while True:

            def work(transaction: ITransaction) -> tuple[tuple[PartitionChange, ...], int, int]:
                seen = changes.changes_since(transaction, since, partition, watch.limit)  # noqa: B023  run at once
                return tuple(map(Forms(transaction).change, seen.changes)), seen.revision, seen.oldest

            found, revision, oldest = await self._survey(work)
            left = deadline - watchers.seconds()
            if found or revision < since or left <= 0 or watchers.closed:
                return found, revision, oldest
            since = revision
            if self._database.store.revision <= revision:
                await watchers.wait(self.call.peer[0], left)

    def _require_own_call(self, server: Server) -> None:
        """Raises VL_PERM when the caller's address is none of the server's: a server speaks for itself alone."""
        if int(IPv4Address(self.call.peer[0])) not in server.addresses:
            raise Abort(VLError.VL_PERM)
