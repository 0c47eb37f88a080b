"""What the vlservers know of partition objects, asked of the first one that answers.

A stock vlserver knows none: its cell's partitions are owned by whoever holds their labels, and the epochs are counted
there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from twisted.logger import Logger

from afs.errors import VLError, describe
from afs.rpc.partitions import (
    PCAP,
    PDEF,
    POUT,
    PartitionClaim,
    PartitionDefinition,
    PartitionDescription,
    PartitionObject,
    PartitionOutcome,
    PartitionRelease,
    PartitionReport,
    PartitionRequest,
    PartitionServer,
    PartitionVerdict,
    VLPartitions,
)
from afs.rpc.vl import VLADDR_UUID, ListAddrByAttributes
from fileserver.interfaces import StoreError
from fileserver.partitions.table import Known
from rx.constants import RxgenCode
from rx.errors import Abort, RxError

T = TypeVar("T")

log = Logger(namespace="fileserver.partitions")

NEEDED = PCAP.DEFINE | PCAP.OWN | PCAP.READ


class VldbError(StoreError):
    """No vlserver did what was asked. The message says why; `code` is what one refused with, None without such."""

    code: int | None = None


class NoAnswer(VldbError):
    """All are silent; whether one of them did it all the same is not known."""


class NotGranted(VldbError):
    """The VLDB refuses: it is another's, the number is taken, or it is not defined here. `object` is as it is now."""

    def __init__(self, outcome: PartitionOutcome) -> None:
        found = outcome.object
        super().__init__(_REFUSALS.get(POUT(outcome.result), "refused") + f": {_told(found)}")
        self.object = found


_REFUSALS = {
    POUT.LOST: "the VLDB has another owner or epoch",
    POUT.NUMBER: "the number is taken on this server",
    POUT.UNDEFINED: "the VLDB does not allow the partition here",
    POUT.MOUNTED: "the partition is mounted",
}


def _told(found: PartitionObject) -> str:
    return (
        f"partition {found.uuid} is at epoch {found.epoch}, owner {found.owner.uuid if found.owner.uuid.int else '-'}"
    )


class Vldb:
    """The vlservers, for the server `own`."""

    def __init__(self, vlservers: Sequence[tuple[str, VLPartitions]], own: UUID) -> None:
        """`vlservers` are (how to name it in messages, client)."""
        self._vlservers = vlservers
        self.own = own
        self._supported: bool | None = None

    async def has_partitions(self) -> bool:
        """Whether the cell's vlservers know partition objects. Raises VldbError when none answers."""
        if self._supported is None:
            try:
                _, bits = await self._ask(lambda vlserver: vlserver.PartitionCapabilities())
            except VldbError as refusal:
                if refusal.code != RxgenCode.RXGEN_OPCODE:
                    raise
                bits = 0
            self._supported = NEEDED & bits == NEEDED
        return self._supported

    async def get(self, partition: UUID) -> PartitionObject | None:
        """The object, None when there is none. Raises VldbError."""
        try:
            return await self._ask(lambda vlserver: vlserver.GetPartition(partition))
        except VldbError as refusal:
            if refusal.code == VLError.VL_NOENT:
                return None
            raise

    async def define(self, known: Known, request: PartitionRequest) -> PartitionObject:
        """Let it be mounted here. Where it is wanted, the volumes that entries had at its number here become its own.
        Raises VldbError.
        """
        definition = PartitionDefinition(
            known.uuid, PartitionServer(self.own), known.number, known.path.encode(), known.priority
        )
        description = PartitionDescription(
            backend=known.backend.encode(), flags=PDEF.NEW | (PDEF.ADOPT if known.wanted else 0)
        )
        return self._granted(await self._ask(lambda each: each.DefinePartition(definition, description, request)))

    async def undefine(self, partition: UUID, request: PartitionRequest) -> None:
        """Take that back. Raises VldbError."""
        server = PartitionServer(self.own)
        self._granted(await self._ask(lambda vlserver: vlserver.RemoveDefinition(partition, server, request)))

    async def claim(self, claim: PartitionClaim) -> PartitionObject:
        """Become the owner; the object's epoch is the one won. Raises NotGranted, VldbError."""
        ours = replace(claim, server=PartitionServer(self.own))
        return self._granted(await self._ask(lambda vlserver: vlserver.ClaimPartition(ours)))

    async def release(
        self, partition: UUID, epoch: int, request: PartitionRequest, successor: PartitionServer | None = None
    ) -> PartitionObject:
        """Own it no more, or hand it over. Raises NotGranted, VldbError."""
        server = PartitionServer(self.own)
        release = PartitionRelease(partition, server, request, epoch, successor or PartitionServer())
        return self._granted(await self._ask(lambda vlserver: vlserver.ReleasePartition(release)))

    async def addresses(self, server: UUID) -> tuple[int, ...]:
        """A server's, in host order; none for one that is not registered. Raises VldbError."""
        wanted = ListAddrByAttributes(Mask=VLADDR_UUID, uuid=server)
        try:
            return (await self._ask(lambda vlserver: vlserver.GetAddrsU(wanted)))[3]
        except VldbError as refusal:
            if refusal.code == VLError.VL_NOENT:
                return ()
            raise

    async def register(
        self, reports: Sequence[PartitionReport]
    ) -> tuple[Sequence[PartitionVerdict], Sequence[PartitionObject]]:
        """Say what is mounted here; returns verdicts, and the objects we should have besides. Raises VldbError."""
        return await self._ask(lambda vlserver: vlserver.RegisterPartitions(self.own, tuple(reports)))

    def _granted(self, outcome: PartitionOutcome) -> PartitionObject:
        if outcome.result not in (POUT.DONE, POUT.ALREADY):
            raise NotGranted(outcome)
        return outcome.object

    async def _ask(self, call: Callable[[VLPartitions], Awaitable[T]]) -> T:
        """An abort is an answer, and the last word; silence sends us to the next vlserver."""
        silence: RxError | None = None
        for name, vlserver in self._vlservers:
            try:
                return await call(vlserver)
            except Abort as refusal:
                refused = VldbError(f"vlserver {name}: {describe(refusal.code)}")
                refused.code = refusal.code
                raise refused from refusal
            except RxError as problem:
                log.warn("vlserver {name} does not answer: {problem}", name=name, problem=problem)
                silence = problem
        raise NoAnswer(f"no vlserver answers: {silence}") from silence
