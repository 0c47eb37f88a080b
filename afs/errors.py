"""Error codes of the AFS programs: one IntEnum a table, a description of any code, and errno -> unified errors.

Rx's own codes are in rx.constants. An IntEnum member carries its code and our words for it (``.message``).
"""

import errno
import os
from enum import IntEnum
from typing import Self

from afs.unified import UnifiedError as UnifiedError
from rx.constants import RxCode, RxgenCode, RxkadCode


class Code(IntEnum):
    """An error code with a message."""

    message: str

    def __new__(cls, code: int, message: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.message = message
        return member


class VLError(Code):
    """Of the volume location database (vl_errors.et); base 363520."""

    VL_IDEXIST = 363520, "a volume with this id exists"
    VL_IO = 363521, "the database cannot be read or written"
    VL_NAMEEXIST = 363522, "a volume with this name exists"
    VL_CREATEFAIL = 363523, "the entry cannot be made"
    VL_NOENT = 363524, "no such entry"
    VL_EMPTY = 363525, "the database is empty"
    VL_ENTDELETED = 363526, "the entry is deleted"
    VL_BADNAME = 363527, "not a legal volume name"
    VL_BADINDEX = 363528, "no entry at this index"
    VL_BADVOLTYPE = 363529, "not a volume type"
    VL_BADSERVER = 363530, "not a legal server"
    VL_BADPARTITION = 363531, "not a legal partition"
    VL_REPSFULL = 363532, "no room for another server or site"
    VL_NOREPSERVER = 363533, "no such replication site"
    VL_DUPREPSERVER = 363534, "the replication site exists already"
    VL_RWNOTFOUND = 363535, "the read-write volume has no entry"
    VL_BADREFCOUNT = 363536, "wrong reference count"
    VL_SIZEEXCEEDED = 363537, "too many attributes"
    VL_BADENTRY = 363538, "the new entry contradicts the old one"
    VL_BADVOLIDBUMP = 363539, "too many volume ids asked for at once"
    VL_IDALREADYHASHED = 363540, "the read-only or backup id is in use"
    VL_ENTRYLOCKED = 363541, "the entry is locked"
    VL_BADVOLOPER = 363542, "not a volume operation"
    VL_BADRELLOCKTYPE = 363543, "not a way to release a lock"
    VL_RERELEASE = 363544, "the last release did not finish"
    VL_BADSERVERFLAG = 363545, "not a site flag"
    VL_PERM = 363546, "no permission"
    VL_NOMEM = 363547, "out of memory"
    VL_BADVERSION = 363548, "unknown version of the database"
    VL_INDEXERANGE = 363549, "index out of range"
    VL_MULTIPADDR = 363550, "an address belongs to more than one server"
    VL_BADMASK = 363551, "the mask asks for nothing, or for too much"
    VL_DBBAD = 363552, "the database is inconsistent"


class UbikError(Code):
    """Of replicated databases (uerrors.et); base 5376."""

    UNOQUORUM = 5376, "no quorum"
    UNOTSYNC = 5377, "this is not the sync site"
    UNHOSTS = 5378, "too many servers"
    UIOERROR = 5379, "the database or its log cannot be written"
    UINTERNAL = 5380, "internal error"
    USYNC = 5381, "the servers do not agree"
    UNOENT = 5382, "no such database file"
    UBADLOCK = 5383, "wrong length of a lock range"
    UBADLOG = 5384, "the log cannot be replayed"
    UBADHOST = 5385, "a server's name or address is wrong"
    UBADTYPE = 5386, "a write in a read transaction"
    UTWOENDS = 5387, "the transaction has ended twice"
    UDONE = 5388, "the transaction has ended"
    UNOSERVERS = 5389, "no server is up"
    UEOF = 5390, "the database ends too early"
    ULOGIO = 5391, "the log cannot be written"
    UBADFAM = 5392, "unknown address family"
    UBADCELL = 5393, "wrong cell"
    UBADSECGRP = 5394, "wrong security group"
    UBADGROUP = 5395, "wrong server group"
    UBADUUID = 5396, "wrong server UUID"
    UNOMEM = 5397, "out of memory"
    UNOTMEMBER = 5398, "not a member of the server group"
    UNBINDINGS = 5399, "too many bindings"
    UBADPRINNAME = 5400, "wrong principal"
    UPIPE = 5401, "a pipe failed"
    UDEADLOCK = 5402, "given up to avoid a deadlock"
    UEXCEPTION = 5403, "an exception in a call"
    UTPQFAIL = 5404, "the vote queue failed"
    USKEWED = 5405, "the clocks differ too much"
    UNOLOCK = 5406, "no lock to be had"
    UNOACCESS = 5407, "no permission"
    UNOSPC = 5408, "no space for the database"
    UBADPATH = 5409, "wrong database path"
    UBADF = 5410, "wrong file descriptor"
    UREINITIALIZE = 5411, "initialised twice"
    UMUTEXINIT = 5412, "a mutex cannot be made"
    UMUTEXDESTROY = 5413, "a mutex cannot be destroyed"


class VolserError(Code):
    """Of the volume server (volerr.et); base 1492325120."""

    VOLSERTRELE_ERROR = 1492325120, "the transaction cannot be released"
    VOLSERNO_OP = 1492325121, "not an operation of this server"
    VOLSERREAD_DUMPERROR = 1492325122, "the dump is malformed"
    VOLSERDUMPERROR = 1492325123, "the dump cannot be written"
    VOLSERATTACH_ERROR = 1492325124, "the volume cannot be attached"
    VOLSERILLEGAL_PARTITION = 1492325125, "no such partition"
    VOLSERDETACH_ERROR = 1492325126, "the volume cannot be detached"
    VOLSERBAD_ACCESS = 1492325127, "no permission for this operation"
    VOLSERVLDB_ERROR = 1492325128, "the volume location database refused"
    VOLSERBADNAME = 1492325129, "not a legal volume name"
    VOLSERVOLMOVED = 1492325130, "the volume has moved"
    VOLSERBADOP = 1492325131, "not allowed on this volume"
    VOLSERBADRELEASE = 1492325132, "the release failed"
    VOLSERVOLBUSY = 1492325133, "the volume is in another transaction"
    VOLSERNO_MEMORY = 1492325134, "out of memory"
    VOLSERNOVOL = 1492325135, "no such volume"
    VOLSERMULTIRWVOL = 1492325136, "more than one read-write volume"
    VOLSERFAILEDOP = 1492325137, "the operation failed"


class PrError(Code):
    """Of the protection database (pterror.et); base 267264."""

    PREXIST = 267264, "the name exists"
    PRIDEXIST = 267265, "the id exists, or is a member already"
    PRNOIDS = 267266, "no id is free"
    PRDBFAIL = 267267, "the database cannot be read or written"
    PRNOENT = 267268, "no such user or group"
    PRPERM = 267269, "no permission"
    PRNOTGROUP = 267270, "not a group"
    PRNOTUSER = 267271, "not a user"
    PRBADNAM = 267272, "not a legal name"
    PRBADARG = 267273, "wrong argument"
    PRNOMORE = 267274, "the quota of groups is used up"
    PRDBBAD = 267275, "the database needs to be rebuilt"
    PRGROUPEMPTY = 267276, "an empty group cannot own"
    PRINCONSISTENT = 267277, "the database is inconsistent"
    PRDBADDR = 267278, "wrong address in the database"
    PRTOOMANY = 267279, "too many elements"
    PRNOMEM = 267280, "out of memory"
    PRINTERNAL = 267281, "internal error"
    PRNAMETOOLONG = 267282, "the name is longer than 63 bytes"


class RxkadError(Code):
    """Of Kerberos authentication of Rx (rxkad_errs.et); base 19270400."""

    RXKADINCONSISTENCY = RxkadCode.RXKADINCONSISTENCY, "inconsistent state"
    RXKADPACKETSHORT = RxkadCode.RXKADPACKETSHORT, "the packet is too short"
    RXKADLEVELFAIL = RxkadCode.RXKADLEVELFAIL, "the security levels do not match"
    RXKADTICKETLEN = RxkadCode.RXKADTICKETLEN, "the ticket has an impossible length"
    RXKADOUTOFSEQUENCE = RxkadCode.RXKADOUTOFSEQUENCE, "wrong sequence number"
    RXKADNOAUTH = RxkadCode.RXKADNOAUTH, "the caller is not authorised"
    RXKADBADKEY = RxkadCode.RXKADBADKEY, "the key is weak or has wrong parity"
    RXKADBADTICKET = RxkadCode.RXKADBADTICKET, "the ticket cannot be used"
    RXKADUNKNOWNKEY = RxkadCode.RXKADUNKNOWNKEY, "the ticket names an unknown key"
    RXKADEXPIRED = RxkadCode.RXKADEXPIRED, "the ticket has expired"
    RXKADSEALEDINCON = RxkadCode.RXKADSEALEDINCON, "a sealed packet does not check"
    RXKADDATALEN = RxkadCode.RXKADDATALEN, "too much data"
    RXKADILLEGALLEVEL = RxkadCode.RXKADILLEGALLEVEL, "the caller may not use this level"


class VolumeError(Code):
    """Of the volume package (errors.h): a file server answers these to clients."""

    VSALVAGE = 101, "the volume needs to be salvaged"
    VNOVNODE = 102, "no such file"
    VNOVOL = 103, "no such volume here"
    VVOLEXISTS = 104, "the volume exists"
    VNOSERVICE = 105, "the volume is not in service"
    VOFFLINE = 106, "the volume is offline"
    VONLINE = 107, "the volume is online already"
    VDISKFULL = 108, "the partition is full"
    VOVERQUOTA = 109, "the volume's quota is used up"
    VBUSY = 110, "the volume is busy"
    VMOVED = 111, "the volume has moved to another server"
    VIO = 112, "the file cannot be read at present"
    VSALVAGING = 113, "the volume is being salvaged"
    VRESTRICTED = 120, "the volume may not use this residency"
    VRESTARTING = -100, "the server is restarting"


_UNTRANSLATED = frozenset({*range(101, 113), VolumeError.VRESTRICTED})


def translate(code: int) -> int:
    """The unified error for a Linux errno, for clients with CLIENT_CAPABILITY_ERRORTRANS; other codes are unchanged.

    Codes 101-112 and 120 are the volume package's, although Linux has errnos there (fileserver.md section 9).
    """
    if code in _UNTRANSLATED:
        return code
    return _FROM_ERRNO.get(code, code)


def to_errno(code: int) -> int:
    """The Linux errno of a unified error; other codes are unchanged."""
    return _TO_ERRNO.get(code, code)


def describe(code: int) -> str:
    """`NAME: message` for any code an AFS program may answer; the bare number for one that is in no table."""
    for table in _TABLES:
        if code in table._value2member_map_:
            member = table(code)
            return f"{member.name}: {member.message}" if isinstance(member, Code) else member.name
    number = to_errno(code)
    if number not in errno.errorcode:
        return str(code)
    name = UnifiedError(code).name if number != code else errno.errorcode[number]
    return f"{name}: {os.strerror(number)}"


def _linux_numbers() -> dict[int, int]:
    """unified code -> errno. OTHER, PROCLIM and DISCON have none on Linux and read as EIO."""
    return {int(code): int(getattr(errno, code.name.removeprefix("UA"), errno.EIO)) for code in UnifiedError}


def _unified_codes() -> dict[int, int]:
    """errno -> unified code. The first name of a number counts: EAGAIN, not EWOULDBLOCK."""
    codes: dict[int, int] = {}
    for code in UnifiedError:
        number = getattr(errno, code.name.removeprefix("UA"), None)
        if number is not None:
            codes.setdefault(number, int(code))
    return codes


_TO_ERRNO = _linux_numbers()
_FROM_ERRNO = _unified_codes()
_TABLES: tuple[type[IntEnum], ...] = (
    VLError,
    UbikError,
    VolserError,
    PrError,
    RxkadError,
    VolumeError,
    RxgenCode,
    RxCode,
)
