"""The connections of an endpoint and the peers they are with: how each is found, counted and forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from rx.connection import Connection, Key
from rx.constants import EPOCH_ANY_ADDRESS
from rx.keepalive import NatKeepalive
from rx.limits import EVICTION_SCAN
from rx.output import Output
from rx.pathmtu import Near, mtu_towards
from rx.peer import Address, Host, Peer
from rx.quota import Quota
from rx.security.interfaces import ISecurity
from rx.timers import Patience
from rx.wire import Wire


def key_of(epoch: int, cid: int, address: Address) -> Key:
    """What finds a connection. `cid` has its channel bits clear."""
    key = epoch << 32 | cid
    return key if epoch >= EPOCH_ANY_ADDRESS else (key, address)


class Connections:
    """Our end of each, by who began it: `servers` are those of clients, `clients` our own."""

    def __init__(self, output: Output) -> None:
        limits = output.limits
        self.servers: dict[Key, Connection] = {}
        self.clients: dict[Key, Connection] = {}
        self.peers: dict[Address, Peer] = {}
        self._hosts: dict[str, Host] = {}
        self.networks: Sequence[Near] = ()
        self.call_quota = Quota(limits.server_calls, limits.server_calls_per_host)
        self._quota = Quota(limits.server_connections, limits.server_connections_per_host)
        self._nat_keepalive = NatKeepalive(output.deadlines, output.outbox)
        self._output = output

    def add_client(
        self,
        address: Address,
        epoch: int,
        cid: int,
        service_id: int,
        security: ISecurity,
        patience: Patience,
        nat_keepalive: bool,
        now: float,
    ) -> Connection:
        """A connection of ours."""
        wire = Wire(self._output.outbox, self._peer(address), epoch, cid, service_id, True, security)
        connection = Connection(self._output, wire, patience, self.call_quota, True, False, now)
        self.clients[key_of(epoch, cid, address)] = connection
        if nat_keepalive:
            connection.nat_keepalive = True
            self._nat_keepalive.hold(address, now)
        return connection

    def add_server(
        self,
        address: Address,
        epoch: int,
        cid: int,
        service_id: int,
        security: ISecurity,
        patience: Patience,
        check_reach: bool,
        now: float,
    ) -> Connection | None:
        """The connection of a client, None when there are too many."""
        if not self._admit(address[0], now):
            self._output.statistics.refused_connections += 1
            return None
        wire = Wire(self._output.outbox, self._peer(address), epoch, cid, service_id, False, security)
        connection = Connection(self._output, wire, patience, self.call_quota, False, check_reach, now)
        connection.arm(now + self._output.limits.connection_idle_seconds)
        self.servers[key_of(epoch, cid, address)] = connection
        return connection

    def _peer(self, address: Address) -> Peer:
        """The peer at this address, with one connection more."""
        peer = self.peers.get(address)
        if peer is None:
            interface_mtu = min(mtu_towards(address[0], self.networks), self._output.limits.packet_size)
            host = self._hosts.setdefault(address[0], Host())
            host.peers += 1
            peer = self.peers[address] = Peer(address, interface_mtu, host)
        peer.connections += 1
        return peer

    def _admit(self, host: str, now: float) -> bool:
        """Count one more connection of this host, in place of an idle one if need be. False when that is too many."""
        quota = self._quota
        return quota.take(host) or (self._evict(now, host if quota.used_up(host) else None) and quota.take(host))

    def _evict(self, now: float, host: str | None) -> bool:
        """Make room for one connection by forgetting an idle one, of this host if its share is used up, the oldest
        first. False when none is idle enough.
        """
        servers, idle_seconds = self.servers, self._output.limits.eviction_idle_seconds
        for _ in range(min(EVICTION_SCAN, len(servers))):
            key = next(iter(servers))
            connection = servers[key]
            mine = host is None or connection.peer[0] == host
            if mine and connection.idle_since() + idle_seconds <= now:
                self.forget(connection)
                return True
            del servers[key]  # and to the end of the queue
            servers[key] = connection
        return False

    def forget(self, connection: Connection) -> None:
        """It is no longer found. Nothing happens when it was forgotten before."""
        table = self.clients if connection.is_client else self.servers
        key = key_of(connection.epoch, connection.cid, connection.peer)
        if table.get(key) is not connection:
            return
        del table[key]
        self._output.deadlines.forget(connection)
        connection.forget()
        peer = connection.wire.peer
        if connection.nat_keepalive:
            self._nat_keepalive.release(peer.address)
        if not connection.is_client:
            self._quota.give_back(peer.address[0])
        peer.connections -= 1
        if not peer.connections and self.peers.get(peer.address) is peer:
            del self.peers[peer.address]
            peer.host.peers -= 1
            if not peer.host.peers:
                del self._hosts[peer.address[0]]
