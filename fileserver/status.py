"""AFSFetchStatus from a vnode, and what each kind of operation changes in one (fileserver.md section 5). Pure, given
now.
"""

from __future__ import annotations

from typing import NamedTuple

from afs.types import (
    AFS_SETGROUP,
    AFS_SETMODE,
    AFS_SETMODTIME,
    AFS_SETOWNER,
    CALLBACK_VERSION,
    CB_SHARED,
    AFSCallBack,
    AFSFetchStatus,
    AFSStoreStatus,
)
from fileserver import locks
from fileserver.interfaces import Vnode
from fileserver.rights import Access, Caller
from fileserver.volume.vn import Vn
from fileserver.volume.volume import Volume

DEFAULT_MODE = 0o777
"""Of a new object whose client names none."""

MODE_BITS = 0o7777
"""What a vnode's record has room for."""

STICKY = 0o1000

PLAIN_MODE_BITS = 0o777
"""What others than administrators may set: no set-id bits (afsfileprocs.c CREATE_SGUID_ADMIN_ONLY)."""

_WORD = 0xFFFFFFFF


class Target(NamedTuple):
    """A vnode a call is about, with what its directory said when it was opened.

    `parent` is the (vnode, uniquifier) of the directory whose access list, `acl`, governs it: itself for a directory.
    """

    volume: Volume
    vn: Vn
    parent: tuple[int, int]
    acl: bytes
    access: Access

    def status(self, now: float) -> AFSFetchStatus:
        """As told to the caller."""
        return fetch_status(self.vn, self.parent, self.access, now)


def fetch_status(vn: Vn, parent: tuple[int, int], access: Access, now: float) -> AFSFetchStatus:
    """The status of `vn`. `parent` is the (vnode, uniquifier) of its directory, its own for a directory."""
    vnode = vn.disk
    length = vnode.length
    return AFSFetchStatus(
        1,  # InterfaceVersion
        vnode.type,
        vnode.link_count & _WORD,
        length & _WORD,
        vnode.data_version & _WORD,
        vnode.author & _WORD,
        vnode.owner & _WORD,
        access.rights & _WORD,
        access.anyone & _WORD,
        vnode.mode,
        parent[0],
        parent[1],
        1,  # ResidencyMask: means for MR-AFS that the file is on a vice partition
        vnode.modify_time & _WORD,
        vnode.server_modify_time & _WORD,
        vnode.group & _WORD,
        0,  # SyncCounter
        0,  # dataVersionHigh
        locks.held(vnode, now) & _WORD,
        length >> 32,
        0,  # errorCode
    )


def failed_status(code: int) -> AFSFetchStatus:
    """What InlineBulkStatus says of a fid that failed."""
    return AFSFetchStatus(InterfaceVersion=1, errorCode=code & _WORD)


def callback(seconds: int) -> AFSCallBack:
    """A promise for `seconds` from now."""
    return AFSCallBack(CALLBACK_VERSION, seconds, CB_SHARED)


def directory_changed(vnode: Vnode, caller: Caller, now: float) -> None:
    """A name was added or taken out."""
    vnode.data_version = (vnode.data_version + 1) & _WORD
    vnode.author = caller.id
    vnode.modify_time = vnode.server_modify_time = int(now)


def created(vnode: Vnode, caller: Caller, status: AFSStoreStatus, now: float) -> None:
    """Apply what the client wants of an object it made; whoever creates may name an owner, as in OpenAFS."""
    vnode.modify_time = status.ClientModTime if status.Mask & AFS_SETMODTIME else int(now)
    _set_ids_and_mode(vnode, caller, status, now)


def data_stored(vnode: Vnode, caller: Caller, status: AFSStoreStatus, now: float) -> None:
    """Content was written. A program that others may run as its owner stops being one."""
    vnode.author = caller.id
    vnode.data_version = (vnode.data_version + 1) & _WORD
    if not caller.admin:
        vnode.mode &= PLAIN_MODE_BITS | STICKY
    vnode.modify_time = status.ClientModTime if status.Mask & AFS_SETMODTIME else int(now)
    _set_ids_and_mode(vnode, caller, status, now)


def status_stored(vnode: Vnode, caller: Caller, status: AFSStoreStatus, now: float) -> None:
    """Only what the client names changes; the data version does not."""
    if status.Mask & AFS_SETMODTIME:
        vnode.modify_time = status.ClientModTime
    _set_ids_and_mode(vnode, caller, status, now)


def new_mode(caller: Caller, status: AFSStoreStatus) -> int:
    """The mode of a new object."""
    if not status.Mask & AFS_SETMODE:
        return DEFAULT_MODE
    return status.UnixModeBits & (MODE_BITS if caller.admin else PLAIN_MODE_BITS)


def signed(word: int) -> int:
    """A word as AFS means it where it is an id (groups are negative) or, on the wire of AFSVol, a date."""
    return word - (1 << 32) if word & 0x80000000 else word


def _set_ids_and_mode(vnode: Vnode, caller: Caller, status: AFSStoreStatus, now: float) -> None:
    if status.Mask & AFS_SETOWNER:
        if not caller.admin:
            vnode.mode &= PLAIN_MODE_BITS | STICKY
        vnode.owner = signed(status.Owner)
    if status.Mask & AFS_SETMODE:
        vnode.mode = new_mode(caller, status)
    if status.Mask & AFS_SETGROUP:
        vnode.group = signed(status.Group)
    vnode.server_modify_time = int(now)
