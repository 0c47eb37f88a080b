"""A program's connections to the servers of cells: one Rx port, and to each service of each server one connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rx.client import Connection
from rx.security.interfaces import ISecurity
from rx.service import Caller
from rx.transport import RxPort

if TYPE_CHECKING:
    from afs.rpc.partitions import VLPartitions
    from afs.rpc.volpartitions import AFSVolPartitions

Address = tuple[str, int]

DEAD_SECONDS = 50.0
"""How long a server may be silent in a call, as cache managers have it (afs_conn.c)."""

RXAFS_SERVICE = 1


class Connections:
    """`security` makes the program's end of each connection, None for an anonymous one: `Authentication.own`, or an
    RxkadClient with a token from `afs.credentials`.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        address: str = "0.0.0.0",
        port: int = 0,
        dead_seconds: float = DEAD_SECONDS,
        security: Callable[[], ISecurity | None] = lambda: None,
    ) -> None:
        self._dead_seconds = dead_seconds
        self._security = security
        self._port = RxPort(reactor, address=address, port=port)
        self._connections: dict[tuple[Address, int], Connection] = {}

    def start(self) -> None:
        """Bind the port. Raises CannotListenError."""
        self._port.start()

    async def stop(self) -> None:
        """Close every connection and the port. Promises that file servers hold are theirs to find void."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        await self._port.stop()

    @property
    def address(self) -> Address:
        """Where the program's calls come from, and where breaks arrive."""
        bound: Address = self._port.address
        return bound

    def vl(self, server: Address) -> VLPartitions:
        """The volume location service of a server, which may be a stock one."""
        from afs.rpc.partitions import VLPartitions  # takes time, and not every program calls both

        return VLPartitions.client(self.caller(server, VLPartitions.service_id))

    def volser(self, server: Address) -> AFSVolPartitions:
        """The volume service of a server, which may be a stock one."""
        from afs.rpc.volpartitions import AFSVolPartitions

        return AFSVolPartitions.client(self.caller(server, AFSVolPartitions.service_id))

    def caller(self, server: Address, service_id: int) -> Caller:
        """The connection to a service, the same one each time."""
        connection = self._connections.get((server, service_id))
        if connection is None:
            connection = self._port.connect(
                server,
                service_id,
                self._security(),
                dead_seconds=self._dead_seconds,
                nat_keepalive=service_id == RXAFS_SERVICE,  # or the server's promises could not be broken
            )
            self._connections[server, service_id] = connection
        return connection

    def called(self, service_id: int) -> list[Address]:
        """The servers whose service of that id has been called."""
        return [server for server, known in self._connections if known == service_id]
