"""Who may call what: one table for every RPC of the service, checked before a call's arguments are looked at."""

from __future__ import annotations

from enum import Enum, auto

from afs.errors import VLError
from afs.rpc.partitions import VLPartitions
from afs.users import Authority
from rx.errors import Abort
from rx.server import ServerCall


class Privilege(Enum):
    """What an RPC asks of its caller."""

    ANYONE = auto()
    LISTER = auto()
    """Anyone, unless queries are restricted to administrators."""
    ADMINISTRATOR = auto()


PRIVILEGES: dict[str, Privilege] = {
    "CreateEntry": Privilege.ADMINISTRATOR,
    "DeleteEntry": Privilege.ADMINISTRATOR,
    "GetEntryByID": Privilege.ANYONE,
    "GetEntryByNameO": Privilege.ANYONE,
    "GetNewVolumeId": Privilege.ADMINISTRATOR,
    "ReplaceEntry": Privilege.ADMINISTRATOR,
    "UpdateEntry": Privilege.ADMINISTRATOR,
    "SetLock": Privilege.ADMINISTRATOR,
    "ReleaseLock": Privilege.ADMINISTRATOR,
    "ListEntry": Privilege.LISTER,
    "ListAttributes": Privilege.LISTER,
    "LinkedList": Privilege.LISTER,
    "GetStats": Privilege.LISTER,
    "ProbeServer": Privilege.ANYONE,
    "GetAddrs": Privilege.ANYONE,
    "ChangeAddr": Privilege.ADMINISTRATOR,
    "CreateEntryN": Privilege.ADMINISTRATOR,
    "GetEntryByIDN": Privilege.ANYONE,
    "GetEntryByNameN": Privilege.ANYONE,
    "ReplaceEntryN": Privilege.ADMINISTRATOR,
    "ListEntryN": Privilege.LISTER,
    "ListAttributesN": Privilege.LISTER,
    "LinkedListN": Privilege.LISTER,
    "UpdateEntryByName": Privilege.ADMINISTRATOR,
    "GetEntryByNameU": Privilege.ANYONE,
    "RegisterAddrs": Privilege.ADMINISTRATOR,
    "GetAddrsU": Privilege.ANYONE,
    "ListAttributesN2": Privilege.LISTER,
    "PartitionCapabilities": Privilege.ANYONE,
    "DefinePartition": Privilege.ADMINISTRATOR,
    "RemoveDefinition": Privilege.ADMINISTRATOR,
    "RegisterPartitions": Privilege.ADMINISTRATOR,
    "ClaimPartition": Privilege.ADMINISTRATOR,
    "ReleasePartition": Privilege.ADMINISTRATOR,
    "GetPartition": Privilege.LISTER,
    "ListPartitions": Privilege.LISTER,
    "ListDefinitions": Privilege.LISTER,
    "ListPartitionVolumes": Privilege.LISTER,
    "GetEntryP": Privilege.ANYONE,
    "WatchChanges": Privilege.LISTER,
}

BY_OPCODE = {opcode: PRIVILEGES[operation.name] for opcode, operation in VLPartitions.operations.items()}


class Doorkeeper:
    """Admits calls. `restricted` makes listing an administrator's right (stock's `-restricted_query admin`)."""

    def __init__(self, authority: Authority, restricted: bool = False) -> None:
        self._authority = authority
        self._restricted = restricted

    def admit(self, call: ServerCall) -> None:
        """Raises VL_PERM. An opcode that is not served is left to whoever looks for it."""
        privilege = BY_OPCODE.get(call.opcode, Privilege.ANYONE)
        if privilege is Privilege.ADMINISTRATOR or (privilege is Privilege.LISTER and self._restricted):
            self.require_administrator(call)

    def require_administrator(self, call: ServerCall) -> None:
        """Raises VL_PERM when the caller is none."""
        if not self._authority.is_administrator(call.connection.identity, call.peer[0]):
            raise Abort(VLError.VL_PERM)
