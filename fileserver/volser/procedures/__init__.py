"""AFSVol as this server answers it, and who may ask for what.

Without the keeper of partition objects their RPCs are not served: RXGEN_OPCODE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from errno import EPERM

from afs.errors import VolserError
from afs.rpc.volpartitions import AFSVolPartitions
from fileserver.partitions.keeper import Partitions
from fileserver.volser.forward import Connect
from fileserver.volser.procedures.dumps import Dumps
from fileserver.volser.procedures.partitions import PartitionProcedures
from fileserver.volser.transactions import Transactions
from fileserver.volume.registry import Registry
from rx.errors import Abort
from rx.server import ServerCall

ANYONE = frozenset(
    {
        "GetNthVolume",
        "GetFlags",
        "GetName",
        "GetStatus",
        "SignalRestore",
        "ListPartitions",
        "XListPartitions",
        "ListVolumes",
        "ListOneVolume",
        "XListVolumes",
        "XListOneVolume",
        "Monitor",
        "PartitionInfo",
        "PartitionInfo64",
        "PartitionCapabilities",
        "ListKnownPartitions",
        "GetPartition",
        "GetOperation",
        "ListOperations",
    }
)
"""What everybody may ask (a stock server without -restricted_query); all else is for administrators."""


class Procedures(PartitionProcedures, Dumps):
    """All of the service."""


@dataclass(slots=True)
class VolumeServer:
    """What the procedures work on."""

    registry: Registry
    transactions: Transactions
    is_administrator: Callable[[ServerCall], bool]
    now: Callable[[], int]
    connect: Connect
    """To another volume server, as whom it takes for an administrator."""
    partitions: Partitions | None = None

    def procedures(self, call: ServerCall) -> Dumps:
        """The procedures for one call. Raises Abort VOLSERBAD_ACCESS where the caller may not make it."""
        operation = AFSVolPartitions.operations.get(call.opcode)
        if operation is not None and operation.name not in ANYONE and not self.is_administrator(call):
            raise Abort(EPERM if operation.name == "SplitVolume" else VolserError.VOLSERBAD_ACCESS)
        if self.partitions is None:
            return Dumps(self.registry, self.transactions, self.now, self.connect)
        procedures = Procedures(self.registry, self.transactions, self.now, self.connect)
        procedures.serve_partitions(self.partitions, call.peer)
        return procedures
