"""What `vos` says of error codes, in stock's words, which scripts and people look for."""

from __future__ import annotations

import os
from errno import EACCES, EXDEV, errorcode
from types import MappingProxyType

from afs.errors import RxkadError, VLError, VolserError, VolumeError, describe
from rx.constants import RxCode, RxgenCode

_TEXTS = MappingProxyType(
    {
        int(RxCode.RX_CALL_DEAD): "Possible communication failure",
        int(VolumeError.VSALVAGE): "Volume needs to be salvaged",
        int(VolumeError.VNOVNODE): "Bad vnode number quoted",
        int(VolumeError.VNOVOL): "Volume not attached, does not exist, or not on line",
        int(VolumeError.VVOLEXISTS): "Volume already exists",
        int(VolumeError.VNOSERVICE): "Volume is not in service",
        int(VolumeError.VOFFLINE): "Volume is off line",
        int(VolumeError.VONLINE): "Volume is already on line",
        int(VolumeError.VDISKFULL): "Partition is full",
        int(VolumeError.VOVERQUOTA): "Volume max quota exceeded",
        int(VolumeError.VBUSY): "Volume temporarily unavailable",
        int(VolumeError.VMOVED): "Volume has moved to another server",
        int(VLError.VL_IDEXIST): "VLDB: volume Id exists in the vldb",
        int(VLError.VL_IO): "VLDB: a read terminated too early",
        int(VLError.VL_NAMEEXIST): "VLDB: volume entry exists in the vldb",
        int(VLError.VL_CREATEFAIL): "VLDB: internal creation failure",
        int(VLError.VL_NOENT): "VLDB: no such entry",
        int(VLError.VL_EMPTY): "VLDB: vldb database is empty",
        int(VLError.VL_ENTDELETED): "VLDB: entry is deleted (soft delete)",
        int(VLError.VL_BADNAME): "VLDB: volume name is illegal",
        int(VLError.VL_BADINDEX): "VLDB: index was out of range",
        int(VLError.VL_BADVOLTYPE): "VLDB: bad volume type",
        int(VLError.VL_BADSERVER): "VLDB: illegal server number (not within limits)",
        int(VLError.VL_BADPARTITION): "VLDB: bad partition number",
        int(VLError.VL_REPSFULL): "VLDB: run out of space for replication sites",
        int(VLError.VL_NOREPSERVER): "VLDB: no such repsite server exists",
        int(VLError.VL_DUPREPSERVER): "VLDB: replication site server already exists",
        int(VLError.VL_RWNOTFOUND): "VLDB: parent r/w entry not found",
        int(VLError.VL_BADREFCOUNT): "VLDB: illegal reference count number",
        int(VLError.VL_SIZEEXCEEDED): "VLDB: vldb size for attributes exceeded",
        int(VLError.VL_BADENTRY): "VLDB: bad incoming vldb entry",
        int(VLError.VL_BADVOLIDBUMP): "VLDB: illegal max volid increment",
        int(VLError.VL_IDALREADYHASHED): "VLDB: (RO/BACK) Id already hashed",
        int(VLError.VL_ENTRYLOCKED): "VLDB: vldb entry is already locked",
        int(VLError.VL_BADVOLOPER): "VLDB: bad volume operation code",
        int(VLError.VL_BADRELLOCKTYPE): "VLDB: bad release lock type",
        int(VLError.VL_RERELEASE): "VLDB: status report: last release was aborted",
        int(VLError.VL_BADSERVERFLAG): "VLDB: invalid replication site server flag",
        int(VLError.VL_PERM): "VLDB: no permission access for call",
        int(VolserError.VOLSERREAD_DUMPERROR): "VOLSER:  Problems encountered in reading the dump file !",
        int(VolserError.VOLSERDUMPERROR): "VOLSER: Problems encountered in doing the dump !",
        int(VolserError.VOLSERATTACH_ERROR): "VOLSER: Could not attach the volume",
        int(VolserError.VOLSERDETACH_ERROR): "VOLSER: Could not detach the volume",
        int(VolserError.VOLSERILLEGAL_PARTITION): "VOLSER: encountered illegal partition number",
        int(VolserError.VOLSERBAD_ACCESS): "VOLSER: permission denied, not a super user",
        int(VolserError.VOLSERVLDB_ERROR): "VOLSER: error detected in the VLDB",
        int(VolserError.VOLSERBADNAME): "VOLSER: error in volume name",
        int(VolserError.VOLSERVOLMOVED): "VOLSER: volume has moved",
        int(VolserError.VOLSERBADOP): "VOLSER: illegal operation",
        int(VolserError.VOLSERBADRELEASE): "VOLSER: release could not be completed",
        int(VolserError.VOLSERVOLBUSY): "VOLSER: volume is busy",
        int(VolserError.VOLSERNO_MEMORY): "VOLSER: volume server is out of memory",
        int(
            VolserError.VOLSERNOVOL
        ): "VOLSER: no such volume - location specified incorrectly or volume does not exist",
        int(VolserError.VOLSERMULTIRWVOL): "VOLSER: multiple RW volumes with same ID, one of which should be deleted",
        int(VolserError.VOLSERFAILEDOP): "VOLSER: not all entries were successfully processed",
        int(VLError.VL_NOMEM): "vl: malloc(realloc) failed to alloc enough memory",
        int(VLError.VL_BADVERSION): "vl: Wrong vldb version",
        int(VLError.VL_INDEXERANGE): "vl: Index out of range",
        int(VLError.VL_MULTIPADDR): "vl: Servers have the same ip address",
        int(RxkadError.RXKADNOAUTH): "rxk: caller not authorized",
        int(RxkadError.RXKADBADTICKET): "rxk: security object was passed a bad ticket",
        int(RxkadError.RXKADUNKNOWNKEY): "rxk: ticket contained unknown key version number",
        int(RxkadError.RXKADEXPIRED): "rxk: authentication expired",
        int(RxkadError.RXKADSEALEDINCON): "rxk: sealed data inconsistent",
        int(RxkadError.RXKADILLEGALLEVEL): "rxk: caller not authorized to use encrypted connections",
        **{int(code): f"___9: RPC interface mismatch ({int(code)})" for code in RxgenCode},
    }
)
"""vsprocs.c PrintError, and for what is not there the table's name and text as com_err has them."""


class OperationFailed(Exception):
    """An operation on volumes or the VLDB has failed: what could not be done, and the code of the reason."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text.strip()}: {error_text(code).removeprefix(': ')}")
        self.code = code
        self.text = text


def error_text(code: int) -> str:
    """What is said of a code. Those of the operating system are in a table without a name."""
    known = _TEXTS.get(code)
    if known:
        return known
    return f": {os.strerror(code)}" if code in errorcode else describe(code)


def diagnostics(name: str, code: int) -> str:
    """The lines that end a subcommand which an error has ended (vos.c PrintDiagnostics)."""
    if code == EACCES:
        return f"You are not authorized to perform the 'vos {name}' command ({code})\n"
    if code == EXDEV:
        return f"Error in vos {name} command.\nClone volume is not in the same partition as the read-write volume.\n"
    return f"Error in vos {name} command.\n{error_text(code)}\n"
