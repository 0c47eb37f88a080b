"""Two file servers with addresses and partition objects, and the wishes that tests make of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from afs.rpc.partitions import (
    PDEF,
    POUT,
    PREASON,
    PartitionClaim,
    PartitionDefinition,
    PartitionDescription,
    PartitionOutcome,
    PartitionRelease,
    PartitionRequest,
    PartitionServer,
)
from afs.types import NIL_UUID
from tests.vlserver.support import VldbTest, uip

A, B, C = (UUID(int=0xA00 + number) for number in range(3))
S, T, U = (UUID(int=0x500 + number) for number in range(3))
HOSTS = {S: "10.0.0.1", T: "10.0.0.2", U: "10.0.0.3"}
P = UUID(int=0x9990)
NOBODY = PartitionServer()


def request(number: int = 0, reason: int = PREASON.MOUNT) -> PartitionRequest:
    """A request told apart by its number."""
    return PartitionRequest(UUID(int=0x7000 + number), reason, b"test %d" % number)


def on(server: UUID) -> PartitionServer:
    """A server as requests name it."""
    return PartitionServer(server)


def whole(server: UUID) -> PartitionServer:
    """A server as replies name it."""
    return PartitionServer(server, uip(HOSTS[server]))


class PartitionTest(VldbTest):
    """Servers S, T and U are registered at 10.0.0.1, .2 and .3."""

    def setUp(self) -> None:
        super().setUp()
        for server, host in HOSTS.items():
            self.now(self.admin.RegisterAddrs(server, 0, (uip(host),)))

    def as_server(self, server: UUID) -> Any:
        """Calls made by a server, from its address."""
        return self.vldb.as_server(HOSTS[server])

    async def define(
        self, partition: UUID, server: UUID, number: int, flags: int = PDEF.NEW, priority: int = 0
    ) -> PartitionOutcome:
        """DefinePartition by an administrator."""
        definition = PartitionDefinition(partition, on(server), number, b"/disk/%d" % number, priority)
        description = PartitionDescription(b"disk", b"namei", flags)
        outcome: PartitionOutcome = await self.admin.DefinePartition(definition, description, request())
        return outcome

    async def claim(
        self, partition: UUID, server: UUID, expected: int, number: int = 1, label: int = 0, **fields: Any
    ) -> PartitionOutcome:
        """ClaimPartition by the server itself."""
        wanted = PartitionClaim(partition, on(server), request(number), expected, label, **fields)
        outcome: PartitionOutcome = await self.as_server(server).ClaimPartition(wanted)
        return outcome

    async def release(
        self, partition: UUID, server: UUID, epoch: int, successor: UUID = NIL_UUID, number: int = 2, flags: int = 0
    ) -> PartitionOutcome:
        """ReleasePartition by the server itself."""
        wanted = PartitionRelease(partition, on(server), request(number), epoch, on(successor), flags)
        outcome: PartitionOutcome = await self.as_server(server).ReleasePartition(wanted)
        return outcome

    async def owned(self, partition: UUID = P, server: UUID = S, number: int = 3) -> None:
        """Defined on S and T, and owned by `server` at epoch 1."""
        for each, at in ((S, number), (T, number + 1)):
            self.assertEqual((await self.define(partition, each, at)).result, POUT.DONE)
        self.assertEqual((await self.claim(partition, server, 0)).result, POUT.DONE)
