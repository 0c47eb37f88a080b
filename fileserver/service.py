"""The fileserver as a Twisted service: partitions, volumes, RXAFS and AFSVol on their ports, and registration.

Ports are bound and partitions opened at once, so that what prevents it is known at once; calls are served when the
volumes are known and a vlserver has taken our addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from time import time
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from afs import rxstats
from afs.acl import BuiltinNames
from afs.authentication import ANONYMOUS_ONLY, Authentication
from afs.errors import VolumeError
from afs.interfaces import INames
from afs.protection import ProtectionServers
from afs.rpc.fs import RXAFS
from afs.rpc.partitions import VLPartitions
from afs.rpc.pr import PR
from afs.rpc.volpartitions import AFSVolPartitions
from afs.users import Authority
from fileserver.breaks import MAINTENANCE_SECONDS
from fileserver.interfaces import ISalvager
from fileserver.options import DRAIN_SECONDS
from fileserver.partitions.define import Seed, seeded
from fileserver.partitions.keeper import Partitions
from fileserver.partitions.means import Means, Opener, openers
from fileserver.partitions.report import REPORT_SECONDS
from fileserver.partitions.table import Table
from fileserver.partitions.takeover import Takeovers
from fileserver.partitions.tell import Teller
from fileserver.partitions.vldb import Vldb
from fileserver.procedures import procedures
from fileserver.registration import CALL_SECONDS, Registration, own_uuid, write_sysid
from fileserver.rules import Rules
from fileserver.rxchannel import RxChannel
from fileserver.server import FileServer
from fileserver.state import HostState
from fileserver.volser.procedures import VolumeServer
from fileserver.volser.transactions import SWEEP_SECONDS, Transactions
from fileserver.volume.durability import DELAY_SECONDS, Durability, Sync
from fileserver.volume.interfaces import HoldLimits, Surroundings
from fileserver.volume.registry import Registry
from fileserver.volume.vlru import Vlru, VlruSettings
from rx.client import Connection
from rx.limits import Limits
from rx.rpcstats import RpcStatistics
from rx.security.interfaces import ISecurity
from rx.server import Server, ServerCall
from rx.taps import Tap
from rx.transport import RxPort

log = Logger(namespace="fileserver")

FLUSH_SECONDS = 60
"""How old the dates and counts in the headers on disk may be: what a crash loses of them."""

LINGER_SECONDS = 0.2
"""And replies this long to be acknowledged: a client that has gone acknowledges nothing."""

SYSID_NAME = "sysid"

ABORT_THRESHOLD = 10
"""A client that repeats what was refused is slowed after ten equal answers, as stock's (viced.c -abortthreshold)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a fileserver is told. Ports may be 0 for any; `advertised` are the addresses registered, by default those
    bound; `tap` is on every port, and so are `limits`; `abort_threshold` is for those of RXAFS.

    Without `authentication` every caller is anonymous, and so are we. `partitions` count on the first start only, then
    the table in `state` decides; `openers` are the back-end types, by default all there are. `address_hook` is the
    program for takeovers (partitions/takeover.py). `rules` are about RXAFS, and `sync` about power cuts; without
    `ptservers` there are no users and groups but the built-in ones. At the end calls get `drain_seconds`, None: all
    they need. `save_state` and `restore_state` are about hosts and promises over a restart.
    """

    state: Path
    partitions: Sequence[Seed]
    vlservers: Sequence[tuple[str, int]]
    addresses: Sequence[IPv4Address]
    port: int = 7000
    volser_port: int = 7005
    advertised: Sequence[IPv4Address] = field(default=())
    tap: Tap | None = None
    authentication: Authentication | None = None
    vlru: VlruSettings = field(default_factory=VlruSettings)
    holds: HoldLimits = field(default_factory=HoldLimits)
    salvager: ISalvager | None = None
    save_state: bool = True
    restore_state: bool = True
    limits: Limits = field(default_factory=Limits)
    abort_threshold: int = ABORT_THRESHOLD
    rules: Rules = field(default_factory=Rules)
    ptservers: Sequence[tuple[str, int]] = ()
    sync: Sync = Sync.ALWAYS
    drain_seconds: float | None = DRAIN_SECONDS
    process_statistics: bool = False
    peer_statistics: bool = False
    openers: Mapping[str, Opener] | None = None
    address_hook: str = ""


class FileserverService(Service):
    """See the module. After startService `ready` fires when calls are served, or fails with what prevents that.

    `on_failure` is called with that failure; without it whoever waits for `ready` gets it.
    """

    name = "fileserver"

    ready: Deferred[None]

    def __init__(
        self,
        settings: Settings,
        authority: Authority,
        reactor: Any,
        now: Callable[[], float] = time,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> None:
        self.settings = settings
        surroundings = Surroundings(now, clock=reactor, vlru=Vlru(settings.vlru, now()), holds=settings.holds)
        surroundings.durability = Durability(settings.sync)
        self.registry = Registry(surroundings, settings.salvager)
        self.transactions = Transactions(self.registry, self.registry.surroundings.seconds)
        limits = self._limits = replace(settings.limits, abort_threshold=settings.abort_threshold)
        self.ports = [
            RxPort(reactor, str(address), settings.port, limits=limits, tap=settings.tap)
            for address in settings.addresses
        ]
        self.volser_ports = [
            RxPort(reactor, str(address), settings.volser_port, limits=settings.limits, tap=settings.tap)
            for address in settings.addresses
        ]
        self.partitions: Partitions | None = None
        self._authority = authority
        self._reactor = reactor
        self._now = now
        self._bound: list[RxPort] = []
        self._loops: list[LoopingCall] = []
        self._on_failure = on_failure
        self._rpc_statistics = RpcStatistics()
        self._volser_rpc_statistics = RpcStatistics()  # of its own, as stock's volserver is a process of its own
        self._rpc_statistics.process_on = settings.process_statistics
        self._rpc_statistics.peers_on = settings.peer_statistics

    def privilegedStartService(self) -> None:
        """Bind the ports. Raises CannotListenError, which names the one."""
        super().privilegedStartService()
        self._bind()

    def startService(self) -> None:
        """Bind what is not bound, open the partitions, and begin. Raises CannotListenError, OSError, StoreError."""
        super().startService()
        self._authority.announce(self.name)
        if self.settings.authentication is not None:
            self.settings.authentication.announce()
        self._bind()
        self._table = Table.read(self.settings.state)
        if self._table.is_new:
            for row in [seeded(seed) for seed in self.settings.partitions]:
                self._table.put(row)
        self.ready = ensureDeferred(self._begin())
        if self._on_failure is not None:
            self.ready.addErrback(self._failed, self._on_failure)

    def stopService(self) -> Deferred[None]:
        """Fires when every call has ended and every volume is closed."""
        super().stopService()
        return ensureDeferred(self._end())

    def _bind(self) -> None:
        for port in (*self.ports, *self.volser_ports):
            if port not in self._bound:
                port.start()
                self._bound.append(port)

    async def _begin(self) -> None:
        addresses = self.settings.advertised or self.settings.addresses
        sysid = self.settings.state / SYSID_NAME
        uuid = own_uuid(sysid, addresses)
        vlservers = [(f"{host}:{port}", self._vlserver((host, port))) for host, port in self.settings.vlservers]
        await Registration(vlservers, uuid, addresses, self._reactor).register()
        write_sysid(sysid, uuid, addresses)
        channel = RxChannel(self.ports, uuid)
        fileserver = FileServer(self.registry, channel, self._authority, self._names(), self._now, self.settings.rules)
        means = Means(
            self._reactor,
            uuid,
            self._table,
            Vldb(vlservers, uuid),
            self.registry,
            self.settings.openers or openers(self._reactor),
            Teller(channel, fileserver.callbacks, self._now, self._reactor),
            lambda address: AFSVolPartitions.client(self._volser(address)),
            self._takeovers(fileserver, channel),
            self.settings.volser_port or self.volser_ports[0].address[1],
        )
        self.partitions = Partitions(means, self._now)
        await self.partitions.start()
        self._repeat(self.partitions.report, REPORT_SECONDS)
        state = HostState(uuid, fileserver.hosts, fileserver.callbacks, channel, self.registry.where, self._now)
        restore = partial(state.restore, believe=self.settings.restore_state)
        self.registry.arriving = lambda partition: restore([partition])
        await restore(self.registry.partitions())
        if self.settings.save_state:
            self.registry.parting = state.save
        self._serve(fileserver)
        await means.takeovers.resume()

    def _takeovers(self, fileserver: FileServer, channel: RxChannel) -> Takeovers:
        """Of addresses; each has a port of its own, so that answers leave from it."""

        def serve(address: IPv4Address) -> RxPort:
            port = RxPort(
                self._reactor, str(address), self.ports[0].address[1], limits=self._limits, tap=self.settings.tap
            )
            port.start()
            self._bound.append(port)
            self.ports.append(port)
            self._serve_files(port, fileserver)
            return port

        async def stop(port: RxPort) -> None:
            self._bound.remove(port)
            self.ports.remove(port)
            channel.leave(port)
            await port.stop(LINGER_SECONDS)

        return Takeovers(self.settings.state, self.settings.address_hook, self._reactor, serve, stop)

    def _vlserver(self, address: tuple[str, int]) -> VLPartitions:
        connection = self.ports[0].connect(address, VLPartitions.service_id, self._own_security())
        return VLPartitions.client(connection, timeout=CALL_SECONDS)

    def _names(self) -> INames:
        if not self.settings.ptservers:
            return BuiltinNames()
        return ProtectionServers(self.settings.ptservers, self._ptserver)

    def _ptserver(self, address: tuple[str, int]) -> Connection:
        return self.ports[0].connect(address, PR.service_id, self._own_security())

    def _volser(self, address: tuple[str, int]) -> Connection:
        return self.volser_ports[0].connect(address, AFSVolPartitions.service_id, self._own_security())

    def _own_security(self) -> ISecurity | None:
        """As whom we call the cell's other servers."""
        authentication = self.settings.authentication
        return authentication.own() if authentication is not None else None

    def _indices(self, port: RxPort) -> tuple[int, ...]:
        """The security indices that services on a port are offered with."""
        authentication = self.settings.authentication
        return ANONYMOUS_ONLY if authentication is None else authentication.secure(port)

    def _serve(self, fileserver: FileServer) -> None:
        fileserver.statistics.rx = lambda: [port.endpoint.debug.figures() for port in self.ports]
        for port in self.ports:
            self._serve_files(port, fileserver)
        volser = VolumeServer(
            self.registry, self.transactions, self._is_administrator, self.registry.surroundings.seconds, self._volser
        )
        volser.partitions = self.partitions
        for port in self.volser_ports:
            server, indices = Server(port), self._indices(port)
            server.add(AFSVolPartitions, volser.procedures, security_indices=indices)
            self._serve_statistics(server, self._volser_rpc_statistics, indices)
            log.info("serving AFSVol on {address[0]}:{address[1]}", address=port.address)
        self._repeat(fileserver.maintain, MAINTENANCE_SECONDS)
        self._repeat(fileserver.durability.pass_on, DELAY_SECONDS)
        self._repeat(self.transactions.sweep, SWEEP_SECONDS)
        self._repeat(self.registry.flush, FLUSH_SECONDS)
        self._repeat(self.registry.room.age, self.registry.room.period)

    def _serve_files(self, port: RxPort, fileserver: FileServer) -> None:
        server, indices = Server(port), self._indices(port)
        server.add(RXAFS, procedures(fileserver), security_indices=indices, check_reach=True)
        self._serve_statistics(server, self._rpc_statistics, indices)
        log.info("serving RXAFS on {address[0]}:{address[1]}", address=port.address)

    def _serve_statistics(self, server: Server, statistics: RpcStatistics, indices: tuple[int, ...]) -> None:
        rxstats.serve(server, statistics, self._is_administrator, self._now, indices)

    def _is_administrator(self, call: ServerCall) -> bool:
        return self._authority.is_administrator(call.connection.identity, call.peer[0])

    def _repeat(self, act: Callable[[], Coroutine[Any, Any, None]], seconds: float) -> None:
        def failed(failure: Failure) -> None:
            """A defect ends this turn, not the next ones."""
            log.failure("{act} failed", failure, act=act)

        loop = LoopingCall(lambda: ensureDeferred(act()).addErrback(failed))
        loop.clock = self._reactor
        loop.start(seconds, now=False)
        self._loops.append(loop)

    def _failed(self, failure: Failure, on_failure: Callable[[Failure], None]) -> None:
        if not failure.check(CancelledError):
            log.failure("the fileserver cannot begin", failure)
            on_failure(failure)

    async def _end(self) -> None:
        for port in self._bound:
            port.tranquil(VolumeError.VRESTARTING)
        self.ready.cancel()
        for loop in self._loops:
            if loop.running:
                loop.stop()
        seconds = self.settings.drain_seconds
        alarm = self._reactor.callLater(seconds, self._cut_off) if seconds is not None else None
        await self.transactions.close()
        if self.partitions is not None:
            await self.partitions.stop()
            await self.partitions.means.takeovers.park()
        if alarm is not None and alarm.active():
            alarm.cancel()
        log.info("every volume is closed")
        await gatherResults([ensureDeferred(port.stop(LINGER_SECONDS)) for port in self._bound])

    def _cut_off(self) -> None:
        """Calls that would not finish lose their connection, and let go of their volumes."""
        log.warn("calls still run after {seconds} s: cutting them off", seconds=self.settings.drain_seconds)
        for port in self._bound:
            ensureDeferred(port.stop(0))
