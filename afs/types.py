"""Wire types that more than one AFS service uses (common.xg and the shared part of afsint.xg).

Field names are the protocol's. The zero defaults mean "nothing to say", as OpenAFS zeroes what it does not fill.
"""

import struct as _struct
import uuid
from typing import Annotated

from xdr import Array, Fixed, FixedArray, Int32, Opaque, String, UInt32, struct

AFSNAMEMAX = 256  # bytes in a file, volume or cell name
AFSPATHMAX = 1024  # bytes in the target of a symbolic link
AFSOPAQUEMAX = 1024  # bytes in an access list text or a volume message
AFSCBMAX = 50  # objects in one bulk status or callback
AFS_MAX_INTERFACE_ADDR = 32
AFSMAXCELLHOSTS = 8
AFSCAPABILITIESMAX = 196

CB_EXCLUSIVE, CB_SHARED, CB_DROPPED = 1, 2, 3
CALLBACK_VERSION = 1
CLIENT_CAPABILITY_ERRORTRANS = 0x0001
VICED_CAPABILITY_ERRORTRANS = 0x0001
VICED_CAPABILITY_64BITFILES = 0x0002
VICED_CAPABILITY_WRITELOCKACL = 0x0004
VICED_CAPABILITY_SANEACLS = 0x0008

FILE, DIRECTORY, SYMLINK = 1, 2, 3  # AFSFetchStatus.FileType

AFS_SETMODTIME, AFS_SETOWNER, AFS_SETGROUP, AFS_SETMODE, AFS_SETSEGSIZE, AFS_FSYNC = 1, 2, 4, 8, 16, 1024

NIL_UUID = uuid.UUID(int=0)


_FIELDS = _struct.Struct(">IHH8b")


def _split_uuid(value: uuid.UUID) -> tuple[int, ...]:
    return _FIELDS.unpack(value.bytes)


def _join_uuid(words: tuple[int, ...]) -> uuid.UUID:
    """C assigns the words to shorts and chars: only their low bits count."""
    time_low, time_mid, time_hi, *rest = words
    signed_bytes = [((word & 0xFF) ^ 0x80) - 0x80 for word in rest]
    return uuid.UUID(bytes=_FIELDS.pack(time_low, time_mid & 0xFFFF, time_hi & 0xFFFF, *signed_bytes))


AfsUuid = Annotated[uuid.UUID, Fixed("3I8i", _split_uuid, _join_uuid)]
"""afsUUID: eleven words; the last eight, clock sequence and node, hold one sign-extended byte each (xdr_afsuuid.c)."""


@struct
class AFSFid:
    Volume: UInt32 = 0
    Vnode: UInt32 = 0
    Unique: UInt32 = 0


@struct
class AFSCallBack:
    CallBackVersion: UInt32 = 0
    ExpirationTime: UInt32 = 0
    CallBackType: UInt32 = 0


@struct
class AFSVolSync:
    spare1: UInt32 = 0
    spare2: UInt32 = 0
    spare3: UInt32 = 0
    spare4: UInt32 = 0
    spare5: UInt32 = 0
    spare6: UInt32 = 0


@struct
class AFSFetchStatus:
    InterfaceVersion: UInt32 = 0
    FileType: UInt32 = 0
    LinkCount: UInt32 = 0
    Length: UInt32 = 0
    DataVersion: UInt32 = 0
    Author: UInt32 = 0
    Owner: UInt32 = 0
    CallerAccess: UInt32 = 0
    AnonymousAccess: UInt32 = 0
    UnixModeBits: UInt32 = 0
    ParentVnode: UInt32 = 0
    ParentUnique: UInt32 = 0
    ResidencyMask: UInt32 = 0
    ClientModTime: UInt32 = 0
    ServerModTime: UInt32 = 0
    Group: UInt32 = 0
    SyncCounter: UInt32 = 0
    dataVersionHigh: UInt32 = 0
    lockCount: UInt32 = 0
    Length_hi: UInt32 = 0
    errorCode: UInt32 = 0


@struct
class AFSStoreStatus:
    Mask: UInt32 = 0
    ClientModTime: UInt32 = 0
    Owner: UInt32 = 0
    Group: UInt32 = 0
    UnixModeBits: UInt32 = 0
    SegSize: UInt32 = 0


_PerInterface = Annotated[tuple[Int32, ...], FixedArray(AFS_MAX_INTERFACE_ADDR)]


@struct
class interfaceAddr:
    numberOfInterfaces: Int32 = 0
    uuid: AfsUuid = NIL_UUID
    addr_in: _PerInterface = (0,) * AFS_MAX_INTERFACE_ADDR
    subnetmask: _PerInterface = (0,) * AFS_MAX_INTERFACE_ADDR
    mtu: _PerInterface = (0,) * AFS_MAX_INTERFACE_ADDR


AFSName = Annotated[bytes, String(AFSNAMEMAX)]
AFSOpaque = Annotated[bytes, Opaque(AFSOPAQUEMAX)]
AFSCBFids = Annotated[tuple[AFSFid, ...], Array(AFSCBMAX)]
AFSCBs = Annotated[tuple[AFSCallBack, ...], Array(AFSCBMAX)]
Capabilities = Annotated[tuple[UInt32, ...], Array(AFSCAPABILITIESMAX)]
