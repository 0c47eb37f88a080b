"""The vlserver as a Twisted service: a database served as VL on its ports, beside ubik's VOTE and DISK."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from afs import rxstats
from afs.authentication import ANONYMOUS_ONLY, Authentication
from afs.rpc.partitions import VLPartitions
from afs.rpc.ubik import DISK, VOTE
from afs.users import Authority
from rx.rpcstats import RpcStatistics
from rx.server import Server, ServerCall
from rx.transport import RxPort
from vlserver.database import Database
from vlserver.interfaces import IVLStore
from vlserver.procedures import Procedures
from vlserver.procedures.base import Counters
from vlserver.procedures.privileges import Doorkeeper
from vlserver.ubik import Disk, Site, Vote

log = Logger()


class VLServer(Service):
    """Serves `store` on `ports` from privilegedStartService on; stopping finishes calls, then closes the store."""

    name = "vlserver"

    def __init__(
        self,
        store: IVLStore,
        ports: Sequence[RxPort],
        authority: Authority,
        now: Callable[[], float],
        restricted: bool = False,
        authentication: Authentication | None = None,
    ) -> None:
        self.database = Database(store, now, ports[0].reactor)
        self.ports = ports
        self._authority = authority
        self._doorkeeper = Doorkeeper(authority, restricted)
        self._counters = Counters(int(now()))
        self._started: list[RxPort] = []
        self._authentication = authentication
        self._rpc_statistics = RpcStatistics()
        self._site = Site(self.database, self._addresses, self._counters.total, self._is_administrator)
        for port in ports:
            indices = ANONYMOUS_ONLY if authentication is None else authentication.secure(port)
            server = Server(port)
            server.add(VLPartitions, self._procedures, security_indices=indices)
            server.add(VOTE, lambda call: Vote(self._site, call), security_indices=indices)
            server.add(DISK, lambda call: Disk(self._site, call), security_indices=indices)
            rxstats.serve(server, self._rpc_statistics, self._is_administrator, now, indices)

    def _procedures(self, call: ServerCall) -> Procedures:
        return Procedures(self.database, self._doorkeeper, self._counters, call)

    def _addresses(self) -> list[str]:
        return [port.address[0] for port in self.ports]

    def _is_administrator(self, call: ServerCall) -> bool:
        return self._authority.is_administrator(call.connection.identity, call.peer[0])

    def privilegedStartService(self) -> None:
        """Bind. Raises CannotListenError naming the port, with none of the ports left bound by accident."""
        super().privilegedStartService()
        self._start_ports()

    def startService(self) -> None:
        """Bind what is not bound yet."""
        super().startService()
        self._start_ports()
        self._authority.announce(self.name)
        if self._authentication is not None:
            self._authentication.announce()
        for port in self.ports:
            log.info("serving VL on {address[0]}:{address[1]}", address=port.address)

    def _start_ports(self) -> None:
        for port in self.ports:
            if port not in self._started:
                port.start()
                self._started.append(port)

    def stopService(self) -> Deferred[None]:
        """Fires when the running calls have ended and every write is in the database."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for port in self._started:
            port.tranquil()
        self.database.watchers.close()
        while self._started:
            await self._started.pop().stop()
        await self.database.store.close()
