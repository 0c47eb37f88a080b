"""Random AFSVol calls for two volume servers at a time: the same call, each with its own server's transactions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any

from afs.rpc.volser import (
    VOLDUMPV2_OMITDIRS,
    ITBusy,
    ITCreate,
    ITOffline,
    ITReadOnly,
    VTDeleteOnSalvage,
    VTOutOfService,
    destServer,
    replica,
    restoreCookie,
    volintInfo,
)
from rx.streams import Buffer, BytesSource

READ_WRITE, READ_ONLY, BACKUP = 0, 1, 2


@dataclass(frozen=True)
class Known:
    """A volume that may exist, and with what it is made."""

    id: int
    parent: int
    kind: int
    name: bytes
    partition: int = 0


FIRST = Known(536870921, 536870921, READ_WRITE, b"first")
SECOND = Known(536870924, 536870924, READ_WRITE, b"second")
THIRD = Known(536870927, 536870927, READ_WRITE, b"third", 1)


def clone_of(volume: Known, kind: int) -> Known:
    suffix = {READ_ONLY: b".readonly", BACKUP: b".backup"}[kind]
    return replace(volume, id=volume.id + kind, kind=kind, name=volume.name + suffix)


VOLUMES = {
    volume.id: volume
    for parent in (FIRST, SECOND, THIRD)
    for volume in (parent, clone_of(parent, READ_ONLY), clone_of(parent, BACKUP))
}
NOWHERE = 536870999
NO_PARTITION = (2, 25, 26, 254, 255, 300, -1)
LONG_NAME = b"n" * 32
KEEP = volintInfo(maxquota=-1, dayUse=-1, creationDate=-1, updateDate=-1, spare2=-1)

KEPT = 5
"""Transactions open at a time: few, so that calls meet and most volumes are free."""

LONG_AGO = 900_000_000
"""A time that was asked for. Later ones are when something was done, and differ."""


@dataclass(frozen=True)
class Trans:
    """A transaction begun earlier, whatever a server calls it; -1 is one that never was."""

    number: int


@dataclass(frozen=True)
class Here:
    """The server that is called, as a destination: its port may be another."""

    port: int = 7005


@dataclass(frozen=True)
class Stream:
    """A dump to restore."""

    data: bytes = field(repr=False)

    def source(self) -> BytesSource:
        return BytesSource(self.data)


class Wanted:
    """Stands for a sink of its own at each server."""

    def sink(self) -> Buffer:
        return Buffer()


@dataclass(frozen=True)
class Step:
    """One RPC: who calls, its name, its arguments with stand-ins for what the servers call differently."""

    caller: str
    name: str
    arguments: tuple[Any, ...]


@dataclass
class Open:
    """What is known of an open transaction."""

    volume: int
    partition: int
    flags: int
    deleted: bool = False


class Transactions:
    """The open ones, by their numbers, as both servers should have them."""

    def __init__(self) -> None:
        self.open: dict[int, Open] = {}
        self._next = 1

    def add(self, volume: int, partition: int, flags: int) -> int:
        number, self._next = self._next, self._next + 1
        self.open[number] = Open(volume, partition, flags)
        return number

    def end(self, number: int) -> None:
        del self.open[number]

    def delete(self, number: int) -> None:
        self.open[number].deleted = True

    def on(self, volume: int) -> bool:
        return any(each.volume == volume for each in self.open.values())


def argument(value: Any, transactions: dict[int, int], address: str) -> Any:
    """What stands for `value` in a call to a server that calls the transactions so, and has that address."""
    if isinstance(value, Trans):
        return transactions.get(value.number, 99_999_999)
    if isinstance(value, Here):
        number = int(IPv4Address(address))
        return destServer(destHost=number - (1 << 32) if number >> 31 else number, destPort=value.port, destSSID=1)
    if isinstance(value, replica):
        return replica(*(argument(each, transactions, address) for each in (value.trans, value.server)))
    if isinstance(value, tuple):
        return tuple(argument(each, transactions, address) for each in value)
    if isinstance(value, Wanted):
        return value.sink()
    return value.source() if isinstance(value, Stream) else value


class Generator:
    """Draws steps. The callers are `admin` and, seldom, `anyone`.

    Left out is what a stock server survives badly or lies about (docs/protocol/volserver.md): nuking one of a group;
    restoring into what clients use, or changes to what is not there; forwarding to several of whom some are gone; a
    clone without a number or of no type; another parent; flags of a transaction that may not write; the same volume on
    two partitions.
    """

    def __init__(self, random_: random.Random, transactions: Transactions, streams: dict[str, bytes]) -> None:
        self._random = random_
        self._transactions = transactions
        self._streams = streams
        self._queue: list[Callable[[], Step]] = []
        methods = [name for name in dir(self) if name[0].isupper()]
        self._names = [name for name in methods for _ in range(WEIGHTS.get(name, 2))]

    def next(self) -> Step:
        if self._queue:
            return self._queue.pop(0)()
        if len(self._transactions.open) > KEPT:
            return self._end("admin", self._open())
        while True:
            idle = not self._transactions.open and self._often(0.8)
            name = "TransCreate" if idle else self._one(*self._names)
            arguments: tuple[Any, ...] | None = getattr(self, name)()
            if arguments is not None:
                caller = "anyone" if self._often(0.04) else "admin"
                return self._end(caller, *arguments) if name == "EndTrans" else Step(caller, name, arguments)

    def _end(self, caller: str, trans: Trans) -> Step:
        """The end of a transaction. A new volume is put in service before, or a stock fileserver never knows of it."""
        begun = self._begun(trans)
        end = Step(caller, "EndTrans", (trans,))
        if begun is None or begun.flags or begun.deleted:
            return end
        self._queue.append(lambda: end)
        return Step("admin", "SetFlags", (trans, 0))

    def fill(self, volume: Known) -> None:
        """Make a read-write volume whole: the next steps create it and restore a dump."""

        create = Step("admin", "CreateVolume", (volume.partition, volume.name, READ_WRITE, volume.id, volume.id))
        self._queue += [lambda: create, self._restored(volume), *self._served(volume.id, 0)]

    def _restored(self, volume: Known) -> Callable[[], Step]:
        cookie = restoreCookie(name=volume.name, type=READ_WRITE, clone=0, parent=volume.id)
        full = Stream(self._streams["full"])
        return lambda: Step("admin", "Restore", (self._on(volume.id, 0), 0, cookie, full))

    def _serve(self, volume: Known) -> None:
        """What vos does to a volume that was cloned anew."""
        begin = Step("admin", "TransCreate", (volume.id, volume.partition, ITOffline))
        self._queue += [lambda: begin, *self._served(volume.id, ITOffline)]

    def _served(self, volume: int, flags: int) -> list[Callable[[], Step]]:
        return [
            lambda: Step("admin", "SetFlags", (self._on(volume, flags), 0)),
            lambda: Step("admin", "EndTrans", (self._on(volume, flags),)),
        ]

    def _on(self, volume: int, flags: int) -> Trans:
        """The transaction begun so."""
        found = (n for n, each in self._transactions.open.items() if (each.volume, each.flags) == (volume, flags))
        return Trans(next(found, -1))

    def _one(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def _often(self, chance: float) -> bool:
        return self._random.random() < chance

    def _open(self) -> Trans:
        return Trans(self._one(*self._transactions.open)) if self._transactions.open else Trans(-1)

    def _trans(self) -> Trans:
        return Trans(-1) if self._often(0.04) else self._open()

    def _begun(self, trans: Trans) -> Open | None:
        return self._transactions.open.get(trans.number)

    def _volume(self) -> int:
        return int(NOWHERE if self._often(0.05) else self._one(*VOLUMES))

    def _place(self, volume: int) -> int:
        """Mostly where it is."""
        if self._often(0.05):
            return int(self._one(*NO_PARTITION))
        where = VOLUMES[volume].partition if volume in VOLUMES else 0
        return 1 - where if self._often(0.05) else where

    def _since(self) -> int:
        return int(self._one(0, 0, LONG_AGO - 10, LONG_AGO, LONG_AGO + 1, 0x7FFFFFFF, -1))

    def TransCreate(self) -> tuple[Any, ...]:
        volume = self._volume()
        flags = self._one(
            *(ITOffline, ITBusy, ITReadOnly) * 3, ITCreate, 0, 4, ITOffline | ITBusy, ITReadOnly | ITOffline
        )
        return volume, self._place(volume), flags

    def EndTrans(self) -> tuple[Any, ...]:
        return (self._trans(),)

    def CreateVolume(self) -> tuple[Any, ...]:
        volume = VOLUMES[self._one(*VOLUMES)]
        if volume.kind == READ_WRITE:
            self._queue += [self._restored(volume), *self._served(volume.id, 0)]
        kind = volume.kind if self._often(0.95) else self._one(3, -1)
        name = volume.name if self._often(0.95) else LONG_NAME[:31]
        number = volume.id if self._often(0.97) else 0
        parent = volume.parent if volume.kind != READ_WRITE or self._often(0.3) else 0
        place = volume.partition if self._often(0.95) else self._one(*NO_PARTITION)
        return place, name, kind, parent, number

    def DeleteVolume(self) -> tuple[Any, ...] | None:
        trans = self._trans()
        return (trans,) if (begun := self._begun(trans)) is None or begun.flags != ITReadOnly else None

    def Clone(self) -> tuple[Any, ...] | None:
        trans = self._trans()
        begun = self._begun(trans)
        source = VOLUMES.get(begun.volume if begun else FIRST.id)
        if source is None or source.kind != READ_WRITE or (begun and begun.flags & ITReadOnly):
            return None
        clone = clone_of(source, self._one(READ_ONLY, BACKUP))
        purge = clone.id if clone.kind == READ_ONLY and self._often(0.3) else 0
        if purge and self._transactions.on(purge):
            return None  # a stock server takes minutes to give up
        self._serve(clone)
        return trans, purge, clone.kind, clone.name, clone.id

    def ReClone(self) -> tuple[Any, ...] | None:
        trans = self._trans()
        begun = self._begun(trans)
        source = VOLUMES.get(begun.volume if begun else FIRST.id)
        if source is None or source.kind != READ_WRITE or (begun and begun.flags & ITReadOnly):
            return None
        clone = clone_of(self._one(source, source, source, FIRST), self._one(READ_ONLY, BACKUP))
        if clone.partition != source.partition and self._transactions.on(clone.id):
            return None  # a stock server takes it twice, and dies
        self._serve(clone)
        return trans, clone.id

    def SetFlags(self) -> tuple[Any, ...] | None:
        trans = self._trans()
        begun = self._begun(trans)
        if begun is not None and begun.flags & ITReadOnly:
            return None
        return trans, self._one(0, 0, 0, VTOutOfService, VTDeleteOnSalvage | VTOutOfService, VTDeleteOnSalvage)

    def GetFlags(self) -> tuple[Any, ...]:
        return (self._trans(),)

    GetName = GetStatus = GetFlags

    def Dump(self) -> tuple[Any, ...]:
        return self._trans(), self._since(), Wanted()

    def DumpV2(self) -> tuple[Any, ...]:
        return self._trans(), self._since(), self._one(0, VOLDUMPV2_OMITDIRS), Wanted()

    def GetSize(self) -> tuple[Any, ...]:
        return self._trans(), self._since()

    def Restore(self) -> tuple[Any, ...] | None:
        trans = self._trans()
        begun = self._begun(trans)
        if begun is not None and begun.flags not in (0, ITOffline):
            return None
        volume = VOLUMES.get(begun.volume) if begun else FIRST
        if volume is None:
            return None
        kind = self._one(READ_WRITE, volume.kind)
        cookie = restoreCookie(name=volume.name, type=kind, clone=self._one(0, NOWHERE), parent=volume.parent)
        stream = self._one("full", "changes") if volume.kind == READ_WRITE and begun and begun.flags else "full"
        return trans, self._one(0, 1), cookie, Stream(self._streams[stream])

    def Forward(self) -> tuple[Any, ...] | None:
        source, target = self._trans(), self._target()
        if target is None or source == target:
            return None
        return source, 0, Here(), target, self._cookie(target)

    def ForwardMultiple(self) -> tuple[Any, ...] | None:
        source = self._trans()
        targets = [target for target in (self._target(), self._target()) if target is not None and self._lasts(target)]
        if not targets or source in targets or len(set(targets)) != len(targets):
            return None
        sites = tuple(replica(trans=target, server=Here()) for target in targets)  # type: ignore[arg-type]
        return source, 0, sites, 0, self._cookie(targets[0])

    def _target(self) -> Trans | None:
        trans = self._trans()
        begun = self._begun(trans)
        if begun is None:
            return trans
        volume = VOLUMES.get(begun.volume)
        return trans if volume and volume.kind != READ_WRITE and begun.flags in (0, ITOffline) else None

    def _lasts(self, trans: Trans) -> bool:
        begun = self._begun(trans)
        return begun is not None and not begun.deleted

    def _cookie(self, target: Trans) -> restoreCookie:
        begun = self._begun(target)
        volume = VOLUMES[begun.volume] if begun else FIRST
        return restoreCookie(name=volume.name, type=volume.kind, clone=0, parent=volume.parent)

    def SetForwarding(self) -> tuple[Any, ...]:
        """And what vos does then: a volume that stays would be hidden from a stock fileserver."""
        trans = self._trans()
        self._queue += [lambda: Step("admin", "DeleteVolume", (trans,)), lambda: Step("admin", "EndTrans", (trans,))]
        return trans, self._one(0, 0x0A5B000C)

    def SetIdsTypes(self) -> tuple[Any, ...] | None:
        trans = self._trans()
        begun = self._begun(trans)
        volume = VOLUMES.get(begun.volume) if begun else FIRST
        if volume is None:
            return None
        name = self._one(volume.name, volume.name, b"another")
        return trans, name, volume.kind, volume.parent, self._one(0, volume.id + 1), self._one(0, volume.id + 2)

    def SetDate(self) -> tuple[Any, ...]:
        return self._trans(), self._one(0, LONG_AGO, -1)

    def SetInfo(self) -> tuple[Any, ...]:
        wanted = replace(
            KEEP,
            maxquota=self._one(-1, 0, 5000, 1 << 30),
            dayUse=self._one(-1, 0, 77),
            creationDate=self._one(-1, -1, LONG_AGO),
            updateDate=self._one(-1, -1, LONG_AGO),
            spare2=self._one(-1, 0, 5),
            size=99,
            filecount=99,
            name=b"ignored",
        )
        return self._trans(), wanted

    def ListOneVolume(self) -> tuple[Any, ...]:
        volume = self._volume()
        return self._place(volume), volume

    XListOneVolume = ListOneVolume

    def NukeVolume(self) -> tuple[Any, ...]:
        return self._one(0, 1), NOWHERE

    def ConvertROtoRWvolume(self) -> tuple[Any, ...] | None:
        volume = self._volume()
        group = (volume, VOLUMES[volume].parent) if volume in VOLUMES else (volume,)
        return (self._place(volume), volume) if not any(map(self._transactions.on, group)) else None

    def ListVolumes(self) -> tuple[Any, ...]:
        return self._one(0, 0, 0, 1, *NO_PARTITION[:2]), self._one(0, 1, 1, 2)

    XListVolumes = ListVolumes

    def GetNthVolume(self) -> tuple[Any, ...]:
        return (self._one(0, 1),)

    def SignalRestore(self) -> tuple[Any, ...]:
        return b"first", 0, FIRST.id, 0

    def Monitor(self) -> tuple[Any, ...]:
        return ()

    ListPartitions = XListPartitions = Monitor

    def PartitionInfo(self) -> tuple[Any, ...]:
        return (self._one(b"/vicepa", b"/vicepa", b"/vicepb", b"/vicepz", b"a", b"vicepb", b"0", b"", b"/vicepa/"),)

    PartitionInfo64 = PartitionInfo

    def SplitVolume(self) -> tuple[Any, ...] | None:
        if any(map(self._transactions.on, (FIRST.id, SECOND.id, NOWHERE))):
            return None
        source, target = self._one((FIRST.id, NOWHERE), (NOWHERE, FIRST.id), (FIRST.id, SECOND.id))
        return source, target, self._one(1, 3, 5), self._one(0, 1), Wanted()


WEIGHTS = {
    "TransCreate": 14,
    "EndTrans": 6,
    "CreateVolume": 8,
    "SetFlags": 7,
    "Clone": 5,
    "ReClone": 5,
    "Restore": 5,
    "Dump": 4,
    "DumpV2": 4,
    "Forward": 4,
    "GetStatus": 4,
    "ListOneVolume": 6,
    "ListVolumes": 4,
    "XListVolumes": 4,
    "Monitor": 4,
    "GetNthVolume": 1,
    "SignalRestore": 1,
    "ListPartitions": 1,
    "XListPartitions": 1,
    "NukeVolume": 1,
    "SplitVolume": 1,
}
"""How often, beside 2: so that most calls are about something."""
