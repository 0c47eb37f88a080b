"""The beginning of every call: whose connection it is, and whether that host may be served yet (fileserver.md section
1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

from afs.interfaces import INames
from afs.users import Authority
from fileserver.breaks import Breaks
from fileserver.channel import Address
from fileserver.hosts import Host, Hosts
from fileserver.rights import Caller
from rx.errors import Abort, RxError
from rx.security.interfaces import Identity

NO_GROUPS = -1001
"""What a call ends with when the caller's groups cannot be had (`viced/afsfileprocs.c`, CallPreamble)."""


class ServerConnection(Protocol):
    """What is used of an Rx connection; it is also weakly referenced and hashed."""

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


@dataclass(slots=True)
class Client:
    """A user on a host: what one Rx connection stands for."""

    host: Host
    caller: Caller
    address: Address


class Clients:
    """The clients behind the connections this server has; a connection that ends takes its client along."""

    def __init__(
        self, hosts: Hosts, breaks: Breaks, authority: Authority, names: INames, now: Callable[[], float]
    ) -> None:
        self._hosts = hosts
        self._breaks = breaks
        self._authority = authority
        self._names = names
        self._now = now
        self._clients: WeakKeyDictionary[ServerConnection, Client] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._clients)

    async def admit(self, call: ServerCall, *, active: bool = True) -> Client:
        """The client that makes the call; first identified, and told what it must know. `active` False for GetTime and
        its like.

        Raises Abort(VBUSY) when too many calls from there wait already, Abort(-1) for a client that does not listen.
        """
        connection = call.connection
        client = self._clients.get(connection)
        if client is None or client.host.deleted or client.address != connection.peer:
            client = await self._identify(connection, call.local)
        host = client.host
        host.last_call = self._now()
        if active:
            host.last_active = host.last_call
        if host.down or host.owed:
            await self._breaks.settle(host)
        return client

    async def _identify(self, connection: ServerConnection, local: Address) -> Client:
        address = connection.peer
        host = await self._hosts.identify(address, local, self._now())
        client = Client(host, await self._caller(connection), address)
        if host.identified:
            self._clients[connection] = client
        return client

    async def _caller(self, connection: ServerConnection) -> Caller:
        """Raises Abort(NO_GROUPS) while the protection server cannot say who that is."""
        identity = connection.identity
        admin = self._authority.is_administrator(identity, connection.peer[0])
        try:
            user = await self._authority.user_id(self._names, identity)
            return Caller(user, await self._authority.groups(self._names, user, admin))
        except RxError as error:
            raise Abort(NO_GROUPS, str(error)) from error
