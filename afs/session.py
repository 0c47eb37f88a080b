"""The network side of a client of a cell: connections to servers, and the answers it owes file servers."""

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address
from typing import Any, TypeVar
from uuid import UUID, uuid4

from afs.addresses import own_addresses
from afs.breaks import Breaks, CallBackProcedures, ClientIdentity
from afs.connections import DEAD_SECONDS, Address, Connections
from afs.errors import VolumeError, to_errno
from afs.location import Locator
from afs.rpc.cb import RXAFSCB
from afs.rpc.fs import RXAFS
from afs.types import CLIENT_CAPABILITY_ERRORTRANS
from rx.errors import Abort, CallLost
from rx.security.interfaces import ISecurity
from rx.server import Server, ServerCall

T = TypeVar("T")

FILESERVER_PORT = 7000

RELOCATIONS = 5
"""How often a call follows its volume: one move is one, and a server that is wrong about itself must not hold us."""

_NOT_HERE = frozenset({VolumeError.VMOVED, VolumeError.VNOVOL})


class Session(Connections):
    """A client that file servers call back. `vlservers` are the cell's; `uuid` is random unless given.

    `security` makes the client's end of each connection, None for an anonymous one: `Authentication.own`, or an
    RxkadClient with a token from `afs.credentials`. With `unified_errors` the capability of that name is announced,
    upon which file servers answer unified errors: `on_volume` translates them back to errnos, bare services do not.
    """

    def __init__(
        self,
        reactor: Any,
        vlservers: Sequence[Address],
        *,
        address: str = "0.0.0.0",
        port: int = 0,
        uuid: UUID | None = None,
        unified_errors: bool = True,
        fileserver_port: int = FILESERVER_PORT,
        dead_seconds: float = DEAD_SECONDS,
        security: Callable[[], ISecurity | None] = lambda: None,
    ) -> None:
        self.uuid = uuid or uuid4()
        self.breaks = Breaks()
        self.locator = Locator(lambda: [self.vl(each) for each in vlservers])
        self._capabilities = CLIENT_CAPABILITY_ERRORTRANS if unified_errors else 0
        self._fileserver_port = fileserver_port
        super().__init__(reactor, address=address, port=port, dead_seconds=dead_seconds, security=security)

    def start(self) -> None:
        """Bind the port and answer RXAFSCB calls on it. Raises CannotListenError."""
        super().start()
        Server(self._port).add(RXAFSCB, self._procedures)

    def fs(self, server: Address) -> RXAFS:
        """The file service of a server."""
        return RXAFS.client(self.caller(server, RXAFS.service_id))

    async def on_volume(self, volume_id: int, call: Callable[[RXAFS], Awaitable[T]], once: bool = False) -> T:
        """Carry out a call on a server of the volume: the next one where one is silent.

        Where a server answers that the volume is not there, the location service is asked again, and again while it
        says that the volume has moved; also where all were silent, who may have it no more. With `once`, for a call
        whose stream cannot be repeated, only the first server is tried. Raises Abort with an errno or volume code, or
        CallLost when no server answers.
        """
        try:
            tried: list[str] | None = None
            silence: CallLost | None = None
            for _ in range(0 if once else RELOCATIONS):
                addresses = await self._addresses(volume_id)
                if addresses == tried:
                    if silence is not None:
                        raise silence
                    break
                tried = addresses
                try:
                    return await self._on_sites(addresses, call)
                except Abort as refusal:
                    if refusal.code not in _NOT_HERE:
                        raise
                    silence = None
                except CallLost as lost:
                    silence = lost
                self.locator.forget(volume_id)
            addresses = await self._addresses(volume_id)
            return await self._on_sites(addresses[:1] if once else addresses, call)
        except CallLost:
            self.locator.forget(volume_id)
            raise
        except Abort as refusal:
            raise Abort(to_errno(refusal.code), refusal.message) from refusal

    async def give_up_all(self) -> None:
        """Tell every file server that was called that no promise is needed any more. Silent ones are passed over."""
        for server in self.called(RXAFS.service_id):
            try:
                await self.fs(server).GiveUpAllCallBacks()
            except CallLost:
                continue

    async def _addresses(self, volume_id: int) -> list[str]:
        """Of the servers that have the volume, in the order they are to be tried. Raises Abort VNOVOL for none."""
        addresses = (await self.locator.by_id(volume_id)).addresses(volume_id)
        if not addresses:
            raise Abort(VolumeError.VNOVOL, f"volume {volume_id} has no site")
        return list(addresses)

    async def _on_sites(self, addresses: Sequence[str], call: Callable[[RXAFS], Awaitable[T]]) -> T:
        *others, last = addresses
        for address in others:
            try:
                return await call(self.fs((address, self._fileserver_port)))
            except CallLost:
                continue
        return await call(self.fs((last, self._fileserver_port)))

    def _procedures(self, call: ServerCall) -> CallBackProcedures:
        return CallBackProcedures(self._identity(), self.breaks, call.peer)

    def _identity(self) -> ClientIdentity:
        bound = IPv4Address(self.address[0])
        addresses = own_addresses() if bound.is_unspecified else [bound]
        return ClientIdentity(self.uuid, tuple(addresses), self._capabilities)
