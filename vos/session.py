"""A cell as somebody sees it: its volume location service, the volume servers of its file servers, and their names.

What can be done with its volumes is at `Session.cell`; a program that is not `vos` gets at it by `open_cell`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property, partial
from io import StringIO
from ipaddress import IPv4Address
from random import SystemRandom
from typing import TYPE_CHECKING, Any
from uuid import UUID

from afs.connections import Address, Connections
from afs.failover import AnyServer
from afs.rpc.vl import VL, VLADDR_UUID, ListAddrByAttributes
from afs.rpc.volser import AFSVol
from rx.service import Caller
from vos.command import CommandError
from vos.operations.unhurried import Patient
from vos.options import Options, Security
from vos.output import Output

if TYPE_CHECKING:
    from afs.rpc.partitions import VLPartitions
    from afs.rpc.volpartitions import AFSVolPartitions
    from vos.cell import Cell

VOLSER_PORT = 7005

DEAD_SECONDS = 20.0
"""How long a server may be silent before the next is asked. Even one that is busy answers an Rx ping."""


class Session:
    """See the module. `security` makes our end of each connection; None is anonymous."""

    def __init__(
        self,
        reactor: Any,
        cell: str,
        vlservers: Sequence[Address],
        output: Output,
        *,
        security: Security | None = None,
        noresolve: bool = False,
        volser_port: int = VOLSER_PORT,
        address: str = "0.0.0.0",
    ) -> None:
        self.reactor = reactor
        self.cell_name = cell
        self.output = output
        self._vlservers = list(vlservers)
        self.noresolve = noresolve
        self.volser_port = volser_port
        self._connections = Connections(
            reactor, address=address, dead_seconds=DEAD_SECONDS, security=security or (lambda: None)
        )
        self._names: dict[IPv4Address, str] = {}
        shuffled = SystemRandom().sample(self._vlservers, len(self._vlservers))
        callers = [partial(self._connections.caller, server, VL.service_id) for server in shuffled]
        self._any_vlserver = Patient(AnyServer(callers))
        self.vl = VL.client(self._any_vlserver)
        """The volume location service: whichever server of it answers."""

    @classmethod
    def of(cls, reactor: Any, options: Options, output: Output) -> Session:
        """As the switches say. Raises CommandError."""
        cell = options.find_cell()
        security = options.security(cell.name)
        if security is None and not options.noauth:
            output.complain("vos: Could not get afs tokens, running unauthenticated.")
        servers = [(str(server.address), server.port) for server in cell.servers]
        return cls(reactor, cell.name, servers, output, security=security, noresolve=options.noresolve)

    @cached_property
    def cell(self) -> Cell:
        """What can be done with the volumes of the cell."""
        from vos.cell import Cell  # few listings need it, and it imports much

        return Cell(self)

    def start(self) -> None:
        """Bind a port. Raises CannotListenError."""
        self._connections.start()

    async def stop(self) -> None:
        """Close what is open."""
        await self._connections.stop()

    def volser(self, server: IPv4Address) -> AFSVol:
        """The volume server of a file server."""
        return AFSVol.client(self._volser(server))

    @cached_property
    def objects(self) -> VLPartitions:
        """The volume location service with what it says of partition objects, if it knows any."""
        from afs.rpc.partitions import VLPartitions  # what stock has does not need it, and it takes time to import

        return VLPartitions.client(self._any_vlserver)

    def partitions(self, server: IPv4Address) -> AFSVolPartitions:
        """The volume server of a file server with what it does with partitions, if it can."""
        from afs.rpc.volpartitions import AFSVolPartitions

        return AFSVolPartitions.client(self._volser(server))

    def _volser(self, server: IPv4Address) -> Caller:
        return Patient(self._connections.caller((str(server), self.volser_port), AFSVol.service_id))

    def server(self, name: str) -> IPv4Address:
        """A server by its name or address. One on the loopback network is refused, unless the cell is there itself:
        no other server could make anything of it. Raises CommandError.
        """
        for address in _resolved(name):
            if not address.is_loopback or self._is_local:
                return address
        raise CommandError(f"vos: server '{name}' not found in host table\n")

    def name(self, address: IPv4Address) -> str:
        """How to show a server: by its name, if it has one and names are wanted."""
        return str(address) if self.noresolve else self.resolved(address)

    def resolved(self, address: IPv4Address) -> str:
        """The name of a server, its address if it has none."""
        known = self._names.get(address)
        if known is None:
            known = self._names[address] = _host_name(address)
        return known

    async def addresses(self, server: UUID) -> list[IPv4Address]:
        """Those a file server has registered. Raises Abort VL_NOENT for one that is not known."""
        wanted = ListAddrByAttributes(Mask=VLADDR_UUID, uuid=server)
        _, _, _, numbers = await self.vl.GetAddrsU(wanted)
        return [IPv4Address(number & 0xFFFF_FFFF) for number in numbers]

    @property
    def _is_local(self) -> bool:
        return all(IPv4Address(host).is_loopback for host, _ in self._vlservers)


@asynccontextmanager
async def open_cell(reactor: Any, options: Options | None = None, output: Output | None = None) -> AsyncIterator[Cell]:
    """The cell that the options say, as on the command line: by default this machine's, with the user's ticket.

    What the program would print is thrown away unless there is an `output`; warnings go to the standard error.
    Raises CommandError when there is no such cell, or nothing to prove who calls.
    """
    session = Session.of(reactor, options or Options(), output or Output(StringIO(), sys.stderr))
    session.start()
    try:
        yield session.cell
    finally:
        await session.stop()


def _resolved(name: str) -> list[IPv4Address]:
    try:
        _, _, numbers = socket.gethostbyname_ex(name)
    except (OSError, UnicodeError):
        return []
    return [IPv4Address(number) for number in numbers]


def _host_name(address: IPv4Address) -> str:
    try:
        return socket.gethostbyaddr(str(address))[0]
    except OSError:
        return str(address)
