"""One file server: its machine, its own disk, and its process while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fileserver.interfaces import IPartition
from fileserver.partitions.table import Known
from fileserver.rules import Rules
from fileserver.salvager.process import SalvagerProcess
from fileserver.service import FileserverService, Settings
from fileserver.volume.interfaces import HoldLimits
from fileserver.volume.vlru import VlruSettings
from tests.simulation.clients.network import Reactor
from tests.simulation.ownership.world import Machine, Process

if TYPE_CHECKING:
    from tests.simulation.clients.cell import Cell

VLSERVER = ("10.0.0.100", 7003)

HOLD_SECONDS = 8.0
"""How long calls are held: no longer than clients wait for a silent server, so that none is carried out later."""


class Table:
    """What one machine keeps over restarts."""

    is_new = False

    def __init__(self, rows: list[Known]) -> None:
        self._rows = {row.uuid: row for row in rows}

    def __iter__(self) -> Iterator[Known]:
        return iter(list(self._rows.values()))

    def get(self, uuid: UUID) -> Known | None:
        return self._rows.get(uuid)

    def put(self, row: Known) -> None:
        self._rows[row.uuid] = row


@dataclass(frozen=True)
class Options:
    """How the servers of one run are set up."""

    room: int = 4096
    callbacks: int = 60_000


class Server:
    """One file server: its machine, its own disk, and its process while it runs."""

    def __init__(self, cell: Cell, number: int, host: str, rows: list[Known]) -> None:
        self.cell = cell
        self.host = host
        self.uuid = UUID(int=0x500 + number)
        self.machine = Machine(self.host, 1.0, cell.world.random.uniform(0, 1e6))
        self.table = Table(rows)
        self.process: Process | None = None
        self.service: FileserverService | None = None
        self.ready = False
        self.stopping = False

    def start(self) -> None:
        if self.process is None:
            self.process = Process(self.cell.world, self.machine)
            self.process.post(self._begin, self.process)

    def _begin(self, process: Process) -> None:
        cell = self.cell
        reactor = Reactor(process, cell.network)

        def opened(known: Known, tenancy: Any) -> IPartition:
            partition: IPartition = cell.storages[known.uuid].open(known.number, known.name, tenancy.ownership, reactor)
            return partition

        settings = Settings(
            state=Path("/nonexistent"),
            partitions=(),
            vlservers=[VLSERVER],
            addresses=[IPv4Address(self.host)],
            openers={"namei": opened},
            salvager=SalvagerProcess(reactor),
            vlru=VlruSettings(room=cell.options.room),
            holds=HoldLimits(seconds=HOLD_SECONDS),
            rules=Rules(callbacks=cell.options.callbacks),
        )
        self.service = FileserverService(settings, cell.authority, reactor, cell.now)
        cell.kept.append(self.service)
        self.service.startService()
        cell.watch(self._started(process, self.service))

    async def _started(self, process: Process, started: FileserverService) -> None:
        await started.ready
        if self.process is process:
            self.ready = True

    def stop(self) -> None:
        """Cleanly; it is gone when all is done."""
        if self.process is not None and self.ready and not self.stopping:
            self.stopping = True
            self.process.post(lambda: self.cell.watch(self._stop()))

    async def _stop(self) -> None:
        assert self.service is not None
        process = self.process
        await self.service.stopService()
        if self.process is process:
            self.kill()

    def kill(self) -> None:
        """As kill -9."""
        if self.process is not None:
            self.cell.bury(self.process)
            self.process = self.service = None
            self.ready = self.stopping = False

    @property
    def mounted(self) -> set[UUID]:
        """The partitions it serves."""
        if self.service is None or self.service.partitions is None:
            return set()
        return set(self.service.partitions.mounted)

    @property
    def busy(self) -> bool:
        """Whether it starts, ends, or carries out an order."""
        if not self.ready or self.stopping or self.service is None or self.service.partitions is None:
            return True
        running = self.service.partitions.operations.running
        return any(running(row.uuid) is not None for row in self.table)
