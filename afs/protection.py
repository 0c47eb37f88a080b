"""The cell's protection servers as a server asks them: who is who, and who is in which groups.

Any one of them answers; the last that did is asked first. Nothing is kept here: how long an answer is good is the
caller's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address
from typing import TypeVar

from twisted.logger import Logger
from zope.interface import implementer

from afs.acl import ANONYMOUSID, NAME_MAX
from afs.errors import PrError, RxkadError, UbikError, describe
from afs.interfaces import INames
from afs.rpc.pr import PR
from rx.client import Connection
from rx.constants import RxgenCode
from rx.errors import Abort, RxError

PTSERVER_PORT = 7002

ATTEMPT_SECONDS = 10.0
"""Given to one protection server before the next is asked: a call of a client waits meanwhile."""

log = Logger(namespace="protection")

T = TypeVar("T")
Address = tuple[str, int]


def unavailable(error: RxError) -> bool:
    """Whether this is no answer but the lack of one: unreachable, or without a quorum (host.c h_gethostcps_r)."""
    return not isinstance(error, Abort) or error.code < 0 or error.code in (UbikError.UNOQUORUM, UbikError.UNOTSYNC)


@implementer(INames)
class ProtectionServers:
    """See the module."""

    def __init__(
        self, servers: Sequence[Address], connect: Callable[[Address], Connection], seconds: float = ATTEMPT_SECONDS
    ) -> None:
        """`connect` makes a connection, with the key that is the newest then; `seconds` are given to each server."""
        assert servers, "a cell with protection servers has at least one"
        self._servers = list(servers)
        self._connect = connect
        self._seconds = seconds
        self._connections: dict[Address, Connection] = {}

    async def names_to_ids(self, names: Sequence[bytes]) -> list[int]:
        asked = [name.lower() for name in names if 0 < len(name) <= NAME_MAX]
        if not asked:
            return [ANONYMOUSID] * len(names)
        found = dict(zip(asked, await self._ask_for(len(asked), lambda pr: pr.NameToID(tuple(asked))), strict=True))
        return [found.get(name.lower(), ANONYMOUSID) for name in names]

    async def ids_to_names(self, ids: Sequence[int]) -> list[bytes]:
        if not ids:
            return []
        return list(await self._ask_for(len(ids), lambda pr: pr.IDToName(tuple(ids))))

    async def groups(self, user_id: int) -> tuple[int, ...]:
        found, over = await self._ask(lambda pr: pr.GetCPS(user_id))
        if over:
            log.warn("user {id} is in more groups than its protection server tells", id=user_id)
        return tuple(sorted(set(found)))

    async def host_groups(self, address: str) -> tuple[int, ...]:
        word = int.from_bytes(IPv4Address(address).packed, "big", signed=True)
        try:
            found, _ = await self._ask(lambda pr: pr.GetHostCPS(word))
        except Abort as refusal:
            if refusal.code == PrError.PRNOENT:
                return ()
            raise
        return tuple(sorted(set(found)))

    def close(self) -> None:
        """Close the connections; they are made again when somebody asks."""
        while self._connections:
            self._connections.popitem()[1].close()

    async def _ask_for(self, count: int, question: Callable[[PR], Awaitable[Sequence[T]]]) -> Sequence[T]:
        """The same for a question with `count` answers; fewer or more are none."""

        async def checked(pr: PR) -> Sequence[T]:
            answers = await question(pr)
            if len(answers) != count:
                raise Abort(RxgenCode.RXGEN_CC_UNMARSHAL, f"{len(answers)} answers to {count} questions")
            return answers

        return await self._ask(checked)

    async def _ask(self, question: Callable[[PR], Awaitable[T]]) -> T:
        """Ask one after another, until one answers or refuses. Raises what the last one said."""
        last: RxError | None = None
        for server in list(self._servers):
            try:
                answer = await self._ask_one(server, question)
            except RxError as error:
                if not unavailable(error):
                    raise
                log.warn("protection server {server} does not answer: {error}", server=server[0], error=error)
                last = error
                continue
            self._prefer(server)
            return answer
        assert last is not None
        raise last

    async def _ask_one(self, server: Address, question: Callable[[PR], Awaitable[T]]) -> T:
        """Over the connection we have. When its ticket is no good any more, once again over a new one: the cell may
        have a new key.
        """
        connection = self._connections.get(server)
        if connection is not None:
            try:
                return await self._over(connection, question)
            except RxError as error:
                if error.code in RxkadError._value2member_map_:
                    log.info("protection server {server}: {what}", server=server[0], what=describe(error.code))
                    self._drop(server, connection)
                if self._connections.get(server) is connection:  # else it was closed under us
                    raise
        return await self._over(self._connection(server), question)

    async def _over(self, connection: Connection, question: Callable[[PR], Awaitable[T]]) -> T:
        return await question(PR.client(connection, timeout=self._seconds))

    def _connection(self, server: Address) -> Connection:
        connection = self._connections.get(server)
        if connection is None:
            connection = self._connections[server] = self._connect(server)
        return connection

    def _drop(self, server: Address, connection: Connection) -> None:
        if self._connections.get(server) is connection:
            del self._connections[server]
            connection.close()

    def _prefer(self, server: Address) -> None:
        if self._servers[0] != server:
            self._servers.remove(server)
            self._servers.insert(0, server)
