"""The channel to cache managers over Rx.

Calls leave through the socket of RXAFS that the client last called, to the very address and port it calls from: that
is the one path known to pass its NAT or firewall, and FUSE clients have no fixed port. Security is null, as every cache
manager expects.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from afs.rpc.cb import RXAFSCB
from afs.types import NIL_UUID, AFSFid, interfaceAddr
from fileserver.callbacks import Fid
from fileserver.channel import Address, Introduction
from rx.client import Connection
from rx.constants import RxgenCode
from rx.errors import Abort
from rx.transport import RxPort

IDENTIFY_SECONDS = 50
"""Silence after which a client that is asked who it is counts as dead (`viced/host.c`)."""

BREAK_SECONDS = 4
"""The same for a broken promise: somebody's store is waiting for it."""

PROBE_SECONDS = 2
"""The same for an address that may have been left behind."""

HARD_SECONDS = 120
"""AFS_HARDDEADTIME: no call to a client lasts longer, however lively it acknowledges."""

CALLBACK_SERVICE = 1


class RxChannel:
    """CallbackChannel over the RxPorts that serve RXAFS; `server_uuid` is this fileserver's."""

    def __init__(self, ports: Sequence[RxPort], server_uuid: UUID) -> None:
        self._ports = ports
        self._server_uuid = server_uuid
        self._routes: dict[Address, tuple[RxPort, Address]] = {}
        self._connections: dict[Address, dict[tuple[RxPort, int], Connection]] = {}

    def heard(self, address: Address, local: Address) -> None:
        for port in self._ports:
            if port.address == local:
                self._routes[address] = port, local

    def route(self, address: Address) -> Address | None:
        _, local = self._routes.get(address, (None, None))
        return local

    def leave(self, port: RxPort) -> None:
        """A port that is about to be stopped: nothing more leaves from it."""
        for address in [address for address, (route, _) in self._routes.items() if route is port]:
            del self._routes[address]
        for connections in self._connections.values():
            for key in [key for key in connections if key[0] is port]:
                connections.pop(key).close()

    async def introduce(self, address: Address) -> Introduction:
        client = self._client(address, IDENTIFY_SECONDS)
        capabilities: tuple[int, ...] = ()
        try:
            interfaces, capabilities = await client.TellMeAboutYourself()
        except Abort as abort:
            if abort.code != RxgenCode.RXGEN_OPCODE:
                raise
            try:
                interfaces = await client.WhoAreYou()
            except Abort as second:
                if second.code != RxgenCode.RXGEN_OPCODE:
                    raise
                return Introduction()
        return introduction(interfaces, capabilities)

    async def reset(self, address: Address, *, has_uuid: bool) -> None:
        client = self._client(address, IDENTIFY_SECONDS)
        if has_uuid:
            await client.InitCallBackState3(self._server_uuid)
        else:
            await client.InitCallBackState()

    async def tell(self, address: Address, fids: Sequence[Fid]) -> None:
        """The array of records stays empty, also for messages that were owed, where OpenAFS sends one for each: its
        clients ignore them, and kAFS refuses the call because of them (client-relocation.md).
        """
        await self._client(address, BREAK_SECONDS).CallBack(tuple(AFSFid(*fid) for fid in fids), ())

    async def probe(self, address: Address, uuid: UUID | None) -> None:
        client = self._client(address, PROBE_SECONDS)
        if uuid is None:
            await client.Probe()
        else:
            await client.ProbeUuid(uuid)

    async def is_openafs(self, address: Address) -> bool:
        try:
            await self._client(address, PROBE_SECONDS).GetLocalCell()
        except Abort:
            return False
        return True

    def close(self, address: Address) -> None:
        self._routes.pop(address, None)
        for connection in self._connections.pop(address, {}).values():
            connection.close()

    def _client(self, address: Address, dead_seconds: int) -> RXAFSCB:
        port, _ = self._routes.get(address, (self._ports[0], None))
        connections = self._connections.setdefault(address, {})
        connection = connections.get((port, dead_seconds))
        if connection is None:
            connection = connections[port, dead_seconds] = port.connect(
                address, service_id=CALLBACK_SERVICE, dead_seconds=dead_seconds, hard_seconds=HARD_SECONDS
            )
        return RXAFSCB.client(connection)


def introduction(interfaces: interfaceAddr, capabilities: Sequence[int]) -> Introduction:
    """Read TellMeAboutYourself's answer; a count out of range means no addresses, only the first capability word
    counts.
    """
    count = interfaces.numberOfInterfaces
    words = interfaces.addr_in[:count] if 0 < count <= len(interfaces.addr_in) else ()
    addresses = tuple(".".join(map(str, (word & 0xFFFFFFFF).to_bytes(4, "big"))) for word in words)
    uuid = None if interfaces.uuid == NIL_UUID else interfaces.uuid
    return Introduction(uuid, addresses, capabilities[0] if capabilities else 0)
