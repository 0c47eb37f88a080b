"""A volume server over the memory store, every value through its wire form."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, TypeVar

from afs.rpc.volser import (
    AFSVol,
    ITBusy,
    ITOffline,
    volintInfo,
)
from fileserver.store.memory import Disk, MemoryPartition
from fileserver.volser.forward import Peer
from fileserver.volser.procedures import VolumeServer
from fileserver.volser.transactions import Transactions
from rx.constants import RxCode
from rx.errors import CallLost
from rx.service import InProcess
from tests.fileserver.volume.support import Base, Server

VOLUME, READONLY, BACKUP = 536870912, 536870913, 536870914
RW, RO, BK = 0, 1, 2

KEEP = volintInfo(maxquota=-1, dayUse=-1, creationDate=-1, updateDate=-1, spare2=-1)
"""SetInfo that changes nothing."""

T = TypeVar("T")


def unreachable(address: tuple[str, int]) -> Peer:
    """For a volume server that is alone."""
    raise CallLost(RxCode.RX_CALL_DEAD, f"nobody is at {address}")


class Volser(Base):
    """A volume server with two partitions, and a caller that may do everything."""

    def setUp(self) -> None:
        self.server = Server()
        self.run_now(self.server.start())
        self.other = MemoryPartition(1, "/vicepb", Disk())
        self.run_now(self.server.registry.add_partition(self.other))
        surroundings = self.server.registry.surroundings
        self.transactions = Transactions(self.server.registry, surroundings.seconds)
        self.volser = self.caller(administrator=True)

    def caller(self, administrator: bool) -> AFSVol:
        surroundings = self.server.registry.surroundings
        server = VolumeServer(
            self.server.registry, self.transactions, lambda _: administrator, surroundings.seconds, unreachable
        )
        return AFSVol.client(_Factory(server))

    def do(self, call: Awaitable[T]) -> T:
        return self.run_now(as_coroutine(call))

    def code(self, call: Awaitable[Any]) -> int:
        return self.refused(as_coroutine(call))

    def create(self, volume_id: int = VOLUME, name: bytes = b"vol") -> None:
        """What `vos create` does."""
        _, trans = self.do(self.volser.CreateVolume(0, name, RW, 0, volume_id))
        self.do(self.volser.SetInfo(trans, replace(KEEP, maxquota=777)))
        self.do(self.volser.SetFlags(trans, 0))
        self.assertEqual(self.do(self.volser.EndTrans(trans)), 0)

    def begin(self, volume_id: int = VOLUME, flags: int = ITOffline) -> int:
        return self.do(self.volser.TransCreate(volume_id, 0, flags))

    def backup(self) -> None:
        """What `vos backup` does when there is none yet."""
        trans = self.begin(flags=ITBusy)
        self.do(self.volser.Clone(trans, 0, BK, b"vol.backup", BACKUP))
        self.do(self.volser.EndTrans(trans))
        trans = self.begin(BACKUP)
        self.do(self.volser.SetFlags(trans, 0))
        self.do(self.volser.EndTrans(trans))

    def info(self, volume_id: int = VOLUME) -> volintInfo:
        (found,) = self.do(self.volser.ListOneVolume(0, volume_id))
        return found


class _Factory:
    """A caller that makes the procedures anew for each call, as a server does."""

    def __init__(self, server: VolumeServer) -> None:
        self._server = server

    async def call(self, operation: Any, arguments: tuple[Any, ...], timeout: float | None) -> Any:
        class Call:
            opcode = operation.opcode

        call: Any = Call()
        return await InProcess(self._server.procedures(call)).call(operation, arguments, timeout)


async def as_coroutine(call: Awaitable[T]) -> T:
    return await call
