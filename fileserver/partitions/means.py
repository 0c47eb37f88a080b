"""What the flows that mount and unmount partitions work with, and what a mounted partition is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar
from uuid import UUID, uuid4

from twisted.internet.threads import deferToThreadPool

from afs.rpc.partitions import PREASON, PartitionRequest
from afs.rpc.volpartitions import AFSVolPartitions
from fileserver.channel import Address
from fileserver.interfaces import IPartition
from fileserver.partitions.hooks import HOOK_SECONDS
from fileserver.partitions.inherited import Inherited
from fileserver.partitions.journal import Contact, Journal
from fileserver.partitions.label import Label
from fileserver.partitions.table import Known, Table
from fileserver.partitions.takeover import Takeovers
from fileserver.partitions.tell import Teller
from fileserver.partitions.tenure import Tenure
from fileserver.partitions.vldb import Vldb
from fileserver.store.memory import Disk, MemoryPartition
from fileserver.store.namei import Tenancy, open_namei
from fileserver.store.namei_user import open_namei_user
from fileserver.volume.registry import Registry

P = ParamSpec("P")
T = TypeVar("T")

MEMORY = "memory"

TAKE_SECONDS = 60.0
"""How long a mount waits for an owner to let go: longer than it may take to close its volumes."""

DRAIN_SECONDS = 10.0
"""How long an unmount waits for running calls, unless told otherwise."""

Opener = Callable[[Known, Tenancy], IPartition]
"""Opens a partition of one back-end type. Called in a thread. Raises StoreError, OSError."""


@dataclass(frozen=True, slots=True)
class Order:
    """How something is to be done. `deadline` in seconds."""

    request: PartitionRequest = field(default_factory=lambda: PartitionRequest(uuid4(), PREASON.OPERATOR))
    force: bool = False
    takeover: bool = False
    """Also answer at the addresses of the server that had it."""
    recover: bool = False
    """A move has failed: what was handed over is taken back, from a target that could not take it."""
    epoch: int = 0
    """The VLDB has given it to us with this one, says the server that hands it over. 0: that is to be asked."""
    source: AFSVolPartitions | None = None
    """The server that hands it over, and tells the clients itself."""
    automatic: bool = False
    """Nobody asked: only what the VLDB and the label name as ours is mounted."""
    deadline: float | None = None


def hook_seconds(order: Order) -> float:
    """How long a hook may take: as the order says, unless nobody gave it."""
    return HOOK_SECONDS if order.deadline is None or order.automatic else order.deadline


@dataclass(slots=True, eq=False)
class Mounted:
    """A partition that this server serves. One in memory has no tenure."""

    known: Known
    partition: IPartition
    epoch: int
    tenure: Tenure | None = None
    journal: Journal | None = None
    before: Label | None = None
    """The label as it was found."""
    inherited: Inherited | None = None
    """None where we had it before and closed it cleanly: what clients were promised holds."""

    @property
    def untold(self) -> bool:
        """Clients may believe what the last owner promised, and not all have been tried."""
        return self.inherited is not None and self.inherited.untold

    @property
    def owed(self) -> list[Contact]:
        """Clients that were tried, and may believe it."""
        return self.inherited.owed.contacts if self.inherited is not None else []


@dataclass(slots=True)
class Means:
    """See the module."""

    reactor: Any
    own: UUID
    table: Table
    vldb: Vldb
    registry: Registry
    openers: Mapping[str, Opener]
    teller: Teller
    volser: Callable[[Address], AFSVolPartitions]
    """The volume server of another file server, on `volser_port`, called as whom it takes for an administrator."""
    takeovers: Takeovers
    volser_port: int = 7005

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What waits for a disk or a program."""
        result: T = await deferToThreadPool(self.reactor, self.reactor.getThreadPool(), function, *args, **kwargs)
        return result


def openers(reactor: Any) -> dict[str, Opener]:
    """The back-end types. Partitions in memory last as long as the process."""
    disks: dict[UUID, Disk] = {}

    def open_memory(known: Known, tenancy: Tenancy) -> IPartition:
        partition: IPartition = MemoryPartition(
            known.number, known.name, disks.setdefault(known.uuid, Disk(uuid=known.uuid))
        )
        return partition

    def open_as_root(known: Known, tenancy: Tenancy) -> IPartition:
        partition: IPartition = open_namei(known.path, known.number, reactor, tenancy)
        return partition

    def open_as_user(known: Known, tenancy: Tenancy) -> IPartition:
        partition: IPartition = open_namei_user(known.path, known.number, reactor, tenancy=tenancy)
        return partition

    return {MEMORY: open_memory, "namei": open_as_root, "namei-user": open_as_user}
