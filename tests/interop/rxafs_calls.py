"""Random RXAFS calls for two file servers at a time: the same call, each with its own server's fids."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from afs.client import format_acl_text
from afs.rpc.fs import AFSStoreVolumeStatus, FsCmdInputs
from afs.types import (
    AFS_FSYNC,
    AFS_SETGROUP,
    AFS_SETMODE,
    AFS_SETMODTIME,
    AFS_SETOWNER,
    AFS_SETSEGSIZE,
    DIRECTORY,
    FILE,
    SYMLINK,
    AFSCallBack,
    AFSStoreStatus,
    AFSVolSync,
)
from rx.streams import Buffer, BytesSource

VOLUME, READONLY, BACKUP, NOWHERE = 536870921, 536870922, 536870923, 536870999
"""The ids both servers have, a read-write volume and its clones, and one that neither has."""

KEPT = 40
"""Objects that calls are about: few, so that calls meet."""

NAMES = (b"a", b"b", b"c", b"d", b"a longer name that takes two blobs of a directory")
ODD_NAMES = (b"", b".", b"..", b"x/y", b"z@sys", b"n" * 255, b"\xff\x01", b" ")
MODES = (0o644, 0o755, 0o600, 0o444, 0o200, 0o000, 0o4755, 0o2711, 0o1777, 0o100644, 0o7777)
OWNERS = (0, 1, 32766, 0xFFFFFF34)
SIZES = (0, 1, 10, 1000, 5000, 70_000)
ACLS = (
    format_acl_text({"system:administrators": "rlidwka", "system:anyuser": "rlidwka"}, {}),
    format_acl_text({"system:administrators": "rlidwka", "system:anyuser": "rlidwk"}, {}),
    format_acl_text({"system:anyuser": "rl"}, {"system:anyuser": "i", "system:authuser": "w"}),
    format_acl_text({"system:anyuser": "lik", "anonymous": "r"}, {}),
    format_acl_text({"system:administrators": "l"}, {}),
    format_acl_text({"nobody.knows": "rl"}, {}),
    b"2\n0\nsystem:anyuser 127\n\0",
    b"nonsense\0",
)


@dataclass(frozen=True)
class Ref:
    """The fid of an object made earlier, whatever a server calls it; -1 is one that never was."""

    number: int
    volume: int = VOLUME


@dataclass(frozen=True)
class Content:
    """What a store sends."""

    data: bytes = field(repr=False)

    def source(self) -> BytesSource:
        return BytesSource(self.data)


class Wanted:
    """Stands for a sink of its own at each server."""

    def sink(self) -> Buffer:
        return Buffer()


@dataclass(frozen=True)
class Step:
    """One RPC: who calls, its name, its arguments with Refs where fids go."""

    caller: str
    name: str
    arguments: tuple[Any, ...]


class Objects:
    """What was made last, and the root: number -> type. `directories` are all that ever were."""

    def __init__(self) -> None:
        self.kinds: dict[int, int] = {0: DIRECTORY}
        self.directories = {0}
        self._next = 1

    def add(self, kind: int) -> int:
        """A new one's number."""
        number, self._next = self._next, self._next + 1
        self.kinds[number] = kind
        if kind == DIRECTORY:
            self.directories.add(number)
        if len(self.kinds) > KEPT:
            del self.kinds[next(each for each in self.kinds if each)]  # the oldest but the root
        return number


class Generator:
    """Draws steps. The callers are `anyone`, `other` (on another host, without unified errors) and `admin`.

    Left out is what differs on purpose: names of 256 bytes, which a stock server takes and its salvager calls damage;
    StoreACL by opcode 164, which it does not know; and GetVolumeInfo, for which it asks a vlserver on its own host. The
    rest of docs/protocol/rxafs.md is in test_rxafs.
    """

    def __init__(self, random_: random.Random, objects: Objects) -> None:
        self._random = random_
        self._objects = objects
        methods = [name for name in dir(self) if name[0].isupper()]
        self._names = [name for name in methods for _ in range(WEIGHTS.get(name, 1))]

    def next(self) -> Step:
        name = self._random.choice(self._names)
        caller = self._one("anyone", "anyone", "anyone", "other", "admin")
        arguments: tuple[Any, ...] = getattr(self, name)()
        return Step(caller, name, arguments)

    def _one(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def _often(self, chance: float) -> bool:
        return self._random.random() < chance

    def _ref(self, *kinds: int) -> Ref:
        """Mostly of these types, sometimes of another, or of no object at all; seldom in another volume."""
        wanted = [number for number, kind in self._objects.kinds.items() if kind in kinds] if self._often(0.93) else []
        number = self._one(*(wanted or self._objects.kinds))
        if self._often(0.01):
            number = -1
        volume = VOLUME if self._often(0.94) else self._one(READONLY, READONLY, BACKUP, NOWHERE)
        return Ref(number, volume)

    def _directory(self) -> Ref:
        return Ref(0) if self._often(0.3) else self._ref(DIRECTORY)

    def _name(self) -> bytes:
        return bytes(self._one(*NAMES) if self._often(0.93) else self._one(*ODD_NAMES))

    def _status(self) -> AFSStoreStatus:
        mask = 0
        for bit, chance in (
            (AFS_SETMODTIME, 0.4),
            (AFS_SETOWNER, 0.1),
            (AFS_SETGROUP, 0.1),
            (AFS_SETMODE, 0.6),
            (AFS_SETSEGSIZE, 0.05),
            (AFS_FSYNC, 0.05),
        ):
            mask |= bit if self._often(chance) else 0
        return AFSStoreStatus(
            Mask=mask,
            ClientModTime=self._random.randrange(1, 1_000_000_000),
            Owner=self._one(*OWNERS),
            Group=self._one(*OWNERS),
            UnixModeBits=self._one(*MODES),
        )

    def CreateFile(self) -> tuple[Any, ...]:
        return self._directory(), self._name(), self._status()

    def MakeDir(self) -> tuple[Any, ...]:
        return self.CreateFile()

    def Symlink(self) -> tuple[Any, ...]:
        return self._directory(), self._name(), self._one(b"target", b"#root.cell.", b"", b"t" * 1000), self._status()

    def Link(self) -> tuple[Any, ...]:
        return self._directory(), self._name(), self._ref(FILE)

    def Rename(self) -> tuple[Any, ...]:
        return self._directory(), self._name(), self._directory(), self._name()

    def RemoveFile(self) -> tuple[Any, ...]:
        return self._directory(), self._name()

    def RemoveDir(self) -> tuple[Any, ...]:
        return self._directory(), self._name()

    def FetchStatus(self) -> tuple[Any, ...]:
        return (self._ref(FILE, DIRECTORY, SYMLINK),)

    def BulkStatus(self) -> tuple[Any, ...]:
        count = self._one(1, 1, 2, 3, 50, 0)
        return (tuple(self._ref(FILE, DIRECTORY, SYMLINK) for _ in range(count)),)

    def InlineBulkStatus(self) -> tuple[Any, ...]:
        return self.BulkStatus()

    def FetchData(self) -> tuple[Any, ...]:
        if self._often(0.3):
            return self._ref(DIRECTORY), 0, 1 << 20, Wanted()
        return self._ref(FILE, SYMLINK), self._one(*SIZES, -1), self._one(*SIZES, 1 << 20, -1), Wanted()

    def FetchData64(self) -> tuple[Any, ...]:
        return self.FetchData()

    def StoreData(self) -> tuple[Any, ...]:
        pos, length = self._one(0, 0, *SIZES), self._one(*SIZES)
        whole = self._one(pos + length, 0, *SIZES)
        return self._ref(FILE), self._status(), pos, length, whole, Content(self._random.randbytes(length))

    def StoreData64(self) -> tuple[Any, ...]:
        return self.StoreData()

    def StoreStatus(self) -> tuple[Any, ...]:
        return self._ref(FILE, DIRECTORY, SYMLINK), self._status()

    def FetchACL(self) -> tuple[Any, ...]:
        return (self._ref(DIRECTORY),)

    def OldStoreACL(self) -> tuple[Any, ...]:
        return self._ref(DIRECTORY), self._one(*ACLS[:1] * 6, *ACLS)

    def SetLock(self) -> tuple[Any, ...]:
        return self._ref(FILE, DIRECTORY), self._one(0, 0, 1, 1, 2, 3, 4, -1)

    def ExtendLock(self) -> tuple[Any, ...]:
        return (self._ref(FILE, DIRECTORY),)

    def ReleaseLock(self) -> tuple[Any, ...]:
        return (self._ref(FILE, DIRECTORY),)

    def OldSetLock(self) -> tuple[Any, ...]:
        return *self.SetLock(), AFSVolSync()

    def OldExtendLock(self) -> tuple[Any, ...]:
        return *self.ExtendLock(), AFSVolSync()

    def OldReleaseLock(self) -> tuple[Any, ...]:
        return *self.ReleaseLock(), AFSVolSync()

    def GiveUpCallBacks(self) -> tuple[Any, ...]:
        fids = tuple(self._ref(FILE, DIRECTORY) for _ in range(self._one(0, 1, 3)))
        return fids, tuple(AFSCallBack() for _ in range(self._one(len(fids), 0)))

    def GiveUpAllCallBacks(self) -> tuple[Any, ...]:
        return ()

    def GetVolumeStatus(self) -> tuple[Any, ...]:
        return (self._one(VOLUME, VOLUME, READONLY, BACKUP, NOWHERE, 0),)

    def SetVolumeStatus(self) -> tuple[Any, ...]:
        wanted = AFSStoreVolumeStatus(
            Mask=self._one(0, 1, 2, 2, 3), MinQuota=self._one(0, 10), MaxQuota=self._one(0, 0, 0, 100, 300, 5000)
        )
        volume = self._one(VOLUME, VOLUME, VOLUME, READONLY, NOWHERE, 0)
        return (
            volume,
            wanted,
            self._one(b"", b"", b"renamed"),
            self._one(b"", b"", b"soon"),
            self._one(b"", b"of today"),
        )

    def GetTime(self) -> tuple[Any, ...]:
        return ()

    GetRootVolume = GetCapabilities = GetStatistics = XStatsVersion = GetTime

    def GetStatistics64(self) -> tuple[Any, ...]:
        return (self._one(16, 16, 1, 3),)

    def GetXStats(self) -> tuple[Any, ...]:
        return self._one(2, 2, 1, 0), self._one(0, 1, 2, 3, 4, -1)

    def NGetVolumeInfo(self) -> tuple[Any, ...]:
        return (b"vol",)

    def CheckToken(self) -> tuple[Any, ...]:
        return 1, b"token"

    def Lookup(self) -> tuple[Any, ...]:
        return self._directory(), self._name()

    def DFSSymlink(self) -> tuple[Any, ...]:
        return self.Symlink()

    def FsCmd(self) -> tuple[Any, ...]:
        return self._ref(FILE), FsCmdInputs(command=self._one(0, 1, 16))

    def FlushCPS(self) -> tuple[Any, ...]:
        return self._one((), (1,), (32766, 1)), self._one((), (0x0A5B000B,)), 0

    def CallBackRxConnAddr(self) -> tuple[Any, ...]:
        return (self._one(0, 0x0A5B000B),)


WEIGHTS = {
    "CreateFile": 10,
    "MakeDir": 6,
    "Symlink": 3,
    "Link": 4,
    "Rename": 12,
    "RemoveFile": 6,
    "RemoveDir": 4,
    "StoreData": 6,
    "StoreData64": 6,
    "FetchData": 4,
    "FetchData64": 4,
    "FetchStatus": 4,
    "InlineBulkStatus": 2,
    "StoreStatus": 6,
    "OldStoreACL": 3,
    "FetchACL": 3,
    "SetLock": 3,
    "ExtendLock": 2,
    "ReleaseLock": 3,
}
"""How often, beside 1: so that most calls are about something."""
