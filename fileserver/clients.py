"""The beginning of every call: whose connection it is, and whether that host may be served yet (fileserver.md section
1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakSet

from twisted.logger import Logger

from afs.protection import unavailable
from afs.users import Authority
from fileserver.breaks import Breaks
from fileserver.channel import Address
from fileserver.hosts import Host, Hosts
from fileserver.rights import Caller
from fileserver.subdomains import RETRY_SECONDS, Subdomains
from rx.errors import Abort, RxError
from rx.security.interfaces import Identity

NO_GROUPS = -1001
"""What a call ends with when the caller's groups cannot be had (`viced/afsfileprocs.c`, CallPreamble)."""

log = Logger(namespace="fileserver")


class ServerConnection(Protocol):
    """What is used of an Rx connection."""

    client: object
    """Ours: the Client, once there is one."""

    @property
    def peer(self) -> Address: ...

    @property
    def identity(self) -> Identity: ...


class ServerCall(Protocol):
    """What is used of a call that arrived."""

    @property
    def connection(self) -> ServerConnection: ...

    @property
    def local(self) -> Address: ...


@dataclass(slots=True, eq=False, weakref_slot=True)
class Client:
    """A user on a host: what one Rx connection stands for. Who that is, and in which groups, is good `until` then,
    unless it was `flushed`.
    """

    host: Host
    caller: Caller
    address: Address
    until: float
    flushed: bool = False

    def stands(self, address: Address) -> bool:
        """Whether a connection with this address still is this client's."""
        return not (self.flushed or self.host.deleted) and self.address == address


class Clients:
    """The clients behind the connections this server has; a connection that ends takes its client along."""

    def __init__(
        self, hosts: Hosts, breaks: Breaks, authority: Authority, groups: Subdomains, now: Callable[[], float]
    ) -> None:
        self._hosts = hosts
        self._breaks = breaks
        self._authority = authority
        self._groups = groups
        self._now = now
        self._clients: WeakSet[Client] = WeakSet()

    def __len__(self) -> int:
        return len(self._clients)

    def admitted(self, call: ServerCall, active: bool) -> Client | None:
        """Fast path beside `admit`: the client, if nothing has to be asked or told before. None: ask `admit`."""
        connection = call.connection
        client = connection.client
        if not isinstance(client, Client) or not client.stands(connection.peer):
            return None
        host, now = client.host, self._now()
        if host.down or host.owed or now >= client.until:
            return None
        host.last_call = now
        if active:
            host.last_active = now
        return client

    async def admit(self, call: ServerCall, *, active: bool = True) -> Client:
        """The client that makes the call; first identified, and told what it must know. `active` False for GetTime and
        its like.

        Raises Abort(VBUSY) when too many calls from there wait already, Abort(-1) for a client that does not listen,
        Abort(NO_GROUPS) while no protection server can say who that is.
        """
        connection = call.connection
        known = connection.client
        client = known if isinstance(known, Client) and known.stands(connection.peer) else None
        if client is None:
            client = await self._identify(connection, call.local)
        host = client.host
        host.last_call = self._now()
        if host.last_call >= client.until:
            await self._renew(client, connection)
        if active:
            host.last_active = host.last_call
        if host.down or host.owed:
            await self._breaks.settle(host)
        return client

    def flush(self, users: Iterable[int], addresses: Iterable[str]) -> None:
        """Forget the groups of these users and machines: they are asked for before their next calls are served."""
        users, addresses = frozenset(users), frozenset(addresses)
        self._groups.flush(users, addresses)
        for client in list(self._clients):
            if client.caller.id in users or client.address[0] in addresses:
                self._clients.discard(client)
                client.flushed = True

    async def _identify(self, connection: ServerConnection, local: Address) -> Client:
        address = connection.peer
        host = await self._hosts.identify(address, local, self._now())
        caller = await self._caller(connection)
        client = Client(host, caller, address, self._groups.good_until(caller.id, address[0]))
        if host.identified:
            self._clients.add(client)
            connection.client = client
        return client

    async def _renew(self, client: Client, connection: ServerConnection) -> None:
        """Ask again what has grown old. While nobody answers the old is good enough."""
        try:
            client.caller = await self._caller(connection)
        except Abort as refusal:
            if refusal.code != NO_GROUPS:
                raise
            client.until = self._now() + RETRY_SECONDS
        else:
            client.until = self._groups.good_until(client.caller.id, client.address[0])

    async def _caller(self, connection: ServerConnection) -> Caller:
        """Raises Abort(NO_GROUPS) while no protection server can say who that is."""
        identity, address = connection.identity, connection.peer[0]
        admin = self._authority.is_administrator(identity, address)
        try:
            user = await self._authority.user_id(self._groups, identity)
        except RxError as error:
            raise Abort(NO_GROUPS, str(error)) from error
        try:
            groups = await self._authority.groups(self._groups, user, admin)
        except RxError as error:
            if unavailable(error):
                raise Abort(NO_GROUPS, str(error)) from error
            log.warn("user {user} has no rights: the protection server refuses: {error}", user=user, error=error)
            groups = ()
        return Caller(user, groups, await self._groups.host_groups(address))
