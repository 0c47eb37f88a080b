"""The VL service, one method an RPC, a file a theme; each checks what its arguments say and runs one operation."""

from vlserver.procedures.addresses import AddressProcedures
from vlserver.procedures.entries import EntryProcedures
from vlserver.procedures.listing import ListingProcedures
from vlserver.procedures.locks import LockProcedures
from vlserver.procedures.partitions import PartitionProcedures
from vlserver.procedures.statistics import StatisticsProcedures


class Procedures(
    EntryProcedures,
    ListingProcedures,
    AddressProcedures,
    LockProcedures,
    StatisticsProcedures,
    PartitionProcedures,
):
    """All of VL that is served; other opcodes answer RXGEN_OPCODE."""
