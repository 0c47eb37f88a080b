"""The lock of an entry: a time stamp and one VLOP bit among its flags. Locks never expire."""

from __future__ import annotations

from dataclasses import replace

from afs.errors import VLError
from afs.rpc.vl import (
    LOCKREL_AFSID,
    LOCKREL_OPCODE,
    LOCKREL_TIMESTAMP,
    VLOP_BACKUP,
    VLOP_DELETE,
    VLOP_DUMP,
    VLOP_MOVE,
    VLOP_RELEASE,
)
from rx.errors import Abort
from vlserver.interfaces import ITransaction
from vlserver.schema import Volume

OPERATIONS = (VLOP_MOVE, VLOP_RELEASE, VLOP_BACKUP, VLOP_DELETE, VLOP_DUMP)
ALL_OPERATIONS = VLOP_MOVE | VLOP_RELEASE | VLOP_BACKUP | VLOP_DELETE | VLOP_DUMP


def check_release_type(release_type: int) -> None:
    """0 releases nothing; anything else must have one of the three bits, or VL_BADRELLOCKTYPE."""
    if release_type and not release_type & (LOCKREL_TIMESTAMP | LOCKREL_OPCODE | LOCKREL_AFSID):
        raise Abort(VLError.VL_BADRELLOCKTYPE)


def check_operation(operation: int) -> None:
    """Exactly one of the five operations, or VL_BADVOLOPER."""
    if operation not in OPERATIONS:
        raise Abort(VLError.VL_BADVOLOPER)


def locked(volume: Volume, operation: int, now: int) -> Volume:
    """The entry with its lock taken at `now`, in Unix seconds.

    VL_ENTRYLOCKED when it is locked; VL_RERELEASE when the last release has not finished, and then it is not locked.
    """
    if volume.lock_timestamp:
        raise Abort(VLError.VL_ENTRYLOCKED)
    if volume.flags & VLOP_RELEASE:
        raise Abort(VLError.VL_RERELEASE)
    return replace(volume, lock_timestamp=now, lock_afs_id=0, flags=volume.flags & ~ALL_OPERATIONS | operation)


def released(volume: Volume, release_type: int) -> Volume:
    """The entry with the parts of its lock cleared that the bits of `release_type` name."""
    if release_type & LOCKREL_TIMESTAMP:
        volume = replace(volume, lock_timestamp=0)
    if release_type & LOCKREL_OPCODE:
        volume = replace(volume, flags=volume.flags & ~ALL_OPERATIONS)
    if release_type & LOCKREL_AFSID:
        volume = replace(volume, lock_afs_id=0)
    return volume


def set_lock(transaction: ITransaction, volume: Volume, operation: int, now: int) -> None:
    """SetLock on an entry that has been found."""
    transaction.put_volume(locked(volume, operation, now))


def release_lock(transaction: ITransaction, volume: Volume, release_type: int) -> None:
    """ReleaseLock on an entry that has been found; whoever locked it."""
    transaction.put_volume(released(volume, release_type))
