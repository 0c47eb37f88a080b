"""Who may do what: an access list evaluated for a caller, and the checks of fileserver.md section 4, one function each.

Checks raise Abort and decide nothing else. "admin" is a member of system:administrators, who has the implicit rights
and the exemptions written here, not all rights.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from afs.acl import ANONYMOUSID, ANYUSERID, SYSADMINID, AccessList, BadAccessList, Rights
from afs.types import AFS_SETGROUP, AFS_SETMODE, AFS_SETOWNER, AFSStoreStatus
from fileserver.interfaces import Vnode
from fileserver.locks import LockType
from fileserver.volume.vn import DIRECTORY, FILE
from rx.errors import Abort

READ, WRITE, INSERT, LOOKUP = int(Rights.READ), int(Rights.WRITE), int(Rights.INSERT), int(Rights.LOOKUP)
DELETE, LOCK, ADMINISTER = int(Rights.DELETE), int(Rights.LOCK), int(Rights.ADMINISTER)

IMPLICIT = LOOKUP
"""What members of system:administrators have everywhere, unless told otherwise (`-implicit`)."""

OWNER_READ_OR_EXECUTE = 0o500
OWNER_WRITE = 0o200
SET_ID = 0o6000

EVALUATIONS = 16_384
"""(access list, group set) pairs whose result is remembered: a few directories' worth of callers, about 4 MB."""

ANYUSER_CPS = (ANYUSERID,)


@dataclass(frozen=True, slots=True)
class Caller:
    """The user behind a connection: its id and all the groups it is in, itself included (CPS), ascending.

    `host_cps`: the groups that the machine's address is in, whoever is there.
    """

    id: int
    cps: tuple[int, ...]
    host_cps: tuple[int, ...] = ()

    @property
    def admin(self) -> bool:
        return SYSADMINID in self.cps


class Access(NamedTuple):
    """What a caller, and what anybody, may do with one vnode; as told in AFSFetchStatus."""

    caller: Caller
    rights: int
    anyone: int
    volume_owner: bool

    def has(self, right: int) -> bool:
        return bool(self.rights & right)


@lru_cache(EVALUATIONS)
def evaluate(acl: bytes, cps: tuple[int, ...]) -> int:
    """The rights a binary access list gives to a set of groups; a list that makes no sense gives none."""
    try:
        return AccessList.from_bytes(acl).rights(cps)
    except BadAccessList:
        return 0


def access(vnode: Vnode, acl: bytes, caller: Caller, volume_owner: int, implicit: int = IMPLICIT) -> Access:
    """Rights on a vnode, by the access list of its directory. On a file, ADMINISTER means that the caller owns it.

    What a machine may is added to what the user may, and to what anybody may: a negative entry for the one takes
    nothing from the other. `implicit` are the rights that administrators have everywhere.
    """
    by_machine = evaluate(acl, caller.host_cps) if caller.host_cps else 0
    rights = evaluate(acl, caller.cps) | by_machine
    if caller.admin:
        rights |= implicit
    if vnode.type != DIRECTORY:
        if vnode.owner == caller.id:
            rights |= ADMINISTER
        else:
            rights &= ~ADMINISTER
    owns_volume = volume_owner == caller.id if volume_owner >= 0 else volume_owner in caller.cps
    return Access(caller, rights, evaluate(acl, ANYUSER_CPS) | by_machine, owns_volume)


def fetch_data(vnode: Vnode, access: Access) -> None:
    """Content: administrators are not exempt, but mode bits do not stop them or the owner."""
    _read(vnode, access)
    caller = access.caller
    if vnode.type == FILE and vnode.owner != caller.id and not caller.admin:
        _require(vnode.mode & OWNER_READ_OR_EXECUTE)


def fetch_acl(vnode: Vnode, access: Access) -> None:
    if not access.caller.admin:
        _read(vnode, access)


def fetch_status(vnode: Vnode, access: Access) -> None:
    """The status of a directory is for everybody."""
    if vnode.type != DIRECTORY and not access.caller.admin:
        _read(vnode, access)


def store_data(vnode: Vnode, access: Access, status: AFSStoreStatus) -> None:
    caller = access.caller
    if _own_file(vnode, access):
        _require_admin_to_chown(vnode, caller, status)
        return
    _require_admin_to_chown(vnode, caller, status)
    _require_admin_to_set_id(caller, status)
    _require(access.has(WRITE) and (vnode.mode & OWNER_WRITE or caller.admin))


def store_status(vnode: Vnode, access: Access, status: AFSStoreStatus) -> None:
    caller = access.caller
    if _own_file(vnode, access):
        _require_admin_to_chown(vnode, caller, status)
        return
    if caller.admin:
        return
    _require_admin_to_chown(vnode, caller, status)
    _require_admin_to_set_id(caller, status)
    _require(access.has(DELETE | INSERT) if vnode.type == DIRECTORY else access.has(WRITE))


def store_acl(access: Access) -> None:
    _require(access.caller.admin or access.has(ADMINISTER) or access.volume_owner)


def change_directory(access: Access, right: int) -> None:
    """INSERT to add a name, DELETE to take one out."""
    _require(access.has(right))


def make_mount_point(access: Access) -> None:
    _require(access.has(ADMINISTER) or access.caller.admin)


def set_lock(vnode: Vnode, access: Access, kind: LockType) -> None:
    wanted = WRITE | LOCK if kind is LockType.READ else WRITE
    _require(access.has(wanted) or (vnode.owner == access.caller.id and access.has(INSERT)))


def set_volume_status(caller: Caller) -> None:
    _require(caller.admin)


def _read(vnode: Vnode, access: Access) -> None:
    if vnode.type != FILE:
        _require(access.has(LOOKUP) or access.volume_owner)
        return
    caller = access.caller
    owner = vnode.owner == caller.id and caller.id != ANONYMOUSID
    _require(access.has(READ) or (owner and access.has(INSERT)))


def _own_file(vnode: Vnode, access: Access) -> bool:
    """Who may insert files may also fill those it made, whatever their mode."""
    return vnode.type == FILE and vnode.owner == access.caller.id and access.has(INSERT)


def _require(allowed: object) -> None:
    if not allowed:
        raise Abort(errno.EACCES)


def _require_admin_to_chown(vnode: Vnode, caller: Caller, status: AFSStoreStatus) -> None:
    changes = (status.Mask & AFS_SETOWNER and status.Owner != vnode.owner & 0xFFFFFFFF) or (
        status.Mask & AFS_SETGROUP and status.Group != vnode.group & 0xFFFFFFFF
    )
    if changes and not caller.admin:
        raise Abort(errno.EPERM)


def _require_admin_to_set_id(caller: Caller, status: AFSStoreStatus) -> None:
    if status.Mask & AFS_SETMODE and status.UnixModeBits & SET_ID:
        _require(caller.admin)
