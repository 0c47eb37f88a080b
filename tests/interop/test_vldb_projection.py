"""What stock vos sees of partition objects: places on servers, by rules that leave no volume without one.

There are no fileservers here, only what vos registers and lists.
"""

from __future__ import annotations

import os
import re
import uuid
from typing import Any

from twisted.internet.threads import deferToThread

from afs.rpc.partitions import (
    PCLAIM,
    POUT,
    PartitionClaim,
    PartitionDefinition,
    PartitionDescription,
    PartitionOwned,
    PartitionRelease,
    PartitionRequest,
    PartitionServer,
)
from afs.types import NIL_UUID
from tests.interop.stock import add_node
from tests.interop.vldb_cells import VldbCase, our_vlserver
from tests.vlserver.support import entry

A, B = "10.91.0.101", "10.91.0.102"
UUIDS = {A: "0a0a0a0a-0b0b-0c0c-0d-0d-0e0e0e0e0e01", B: "0a0a0a0a-0b0b-0c0c-0d-0d-0e0e0e0e0e02"}
RW, RO = 4, 2
NOBODY = PartitionServer()


class ProjectionTests(VldbCase):
    """Servers A and B, and a volume whose partitions change hands."""

    async def test_rules(self) -> None:
        """A claimed partition is seen at its new place, one given up where it was last, two at one place as one."""
        key = os.urandom(32)
        self.node = add_node(self.new_network(), "fs1", key=key)
        await deferToThread(our_vlserver, self.node)
        for address, text in UUIDS.items():
            self.vos("setaddrs", text, address)
        self.vl = self.administrator(self.node, key)
        await self.vl.CreateEntryN(entry(b"vol", (1, 2, 0), [(A, 0, RW), (A, 1, RO), (A, 2, RO), (B, 0, RO)], 0x3000))
        here, first, second = (each.uuid for each in await self.partitions(A))
        taken = (await self.partitions(B))[0].uuid
        self.assertEqual(self.seen(), [f"{A} a RW", f"{A} b RO", f"{A} c RO", f"{B} a RO"])

        # Defined and claimed: seen at the place that the definition says. A number in use is refused.
        outcome = await self.define(first, B, 0)
        self.assertEqual((outcome.result, outcome.object.uuid), (POUT.NUMBER, taken))
        self.assertEqual((await self.define(first, B, 5)).result, POUT.DONE)
        self.assertEqual((await self.claim(here, B)).result, POUT.UNDEFINED)
        self.assertEqual((await self.claim(first, B)).result, POUT.DONE)
        self.assertEqual(self.seen(), [f"{A} a RW", f"{B} f RO", f"{A} c RO", f"{B} a RO"])

        # Nobody's: where it was last.
        self.assertEqual((await self.release(first, B)).result, POUT.DONE)
        self.assertEqual(self.seen(), [f"{A} a RW", f"{B} f RO", f"{A} c RO", f"{B} a RO"])

        # Another takes its place: two sites are one, and stay two.
        await self.vl.RemoveDefinition(first, self.server(B), self.request())
        self.assertEqual((await self.define(second, B, 5)).result, POUT.DONE)
        self.assertEqual((await self.claim(second, B)).result, POUT.DONE)
        self.assertEqual(self.seen(), [f"{A} a RW", f"{B} f RO", f"{B} a RO"])
        self.assertEqual((await self.define(first, A, 1)).result, POUT.DONE)
        self.assertEqual((await self.claim(first, A)).result, POUT.DONE)
        self.assertEqual(self.seen(), [f"{A} a RW", f"{A} b RO", f"{B} f RO", f"{B} a RO"])

        # What vos writes by a place means what is mounted there, and else makes something implicit.
        await self.vl.CreateEntryN(entry(b"new", (11, 0, 0), [(B, 5, RW)]))
        self.assertEqual([site.partition for site in (await self.vl.GetEntryP(b"new")).sites], [second])
        await self.vl.CreateEntryN(entry(b"other", (21, 0, 0), [(B, 9, RW)]))
        made = (await self.vl.GetEntryP(b"other")).sites[0].partition
        self.assertNotIn(made, (here, first, second, taken))
        self.assertEqual(self.seen("other"), [f"{B} j RW"])

    def vos(self, *words: str) -> str:
        """What vos -localauth prints."""
        return self.node.run_now("vos", *words, "-localauth").check().out

    def seen(self, name: str = "vol") -> list[str]:
        """A volume's sites as vos lists them; a listing by server and partition finds it at each of them."""
        sites = re.findall(r"server (\S+) partition /vicep(\S) (RW|RO)", self.vos("listvldb", name, "-noresolve"))
        for server, letter, _ in sites:
            self.assertIn(f"\n{name} \n", self.vos("listvldb", "-server", server, "-partition", letter, "-noresolve"))
        return [" ".join(site) for site in sites]

    def server(self, address: str) -> PartitionServer:
        """How partition RPCs name it."""
        return PartitionServer(uuid.UUID(UUIDS[address].replace("-", "")), 0)

    def request(self) -> PartitionRequest:
        """A new one."""
        return PartitionRequest(uuid.uuid4())

    async def partitions(self, address: str) -> list[Any]:
        """A server's, by number."""
        found, _ = await self.vl.ListPartitions(PartitionOwned(self.server(address)), NIL_UUID, 10)
        return sorted(found, key=lambda each: int(each.number))

    async def define(self, partition: uuid.UUID, address: str, number: int) -> Any:
        """It may be mounted there."""
        definition = PartitionDefinition(partition, self.server(address), number, b"/srv/disk", 0)
        return await self.vl.DefinePartition(definition, PartitionDescription(), self.request())

    async def claim(self, partition: uuid.UUID, address: str) -> Any:
        """By force, as it is now."""
        epoch = (await self.vl.GetPartition(partition)).epoch
        claim = PartitionClaim(partition, self.server(address), self.request(), epoch, flags=PCLAIM.FORCE)
        return await self.vl.ClaimPartition(claim)

    async def release(self, partition: uuid.UUID, address: str) -> Any:
        """By force, to nobody."""
        epoch = (await self.vl.GetPartition(partition)).epoch
        return await self.vl.ReleasePartition(
            PartitionRelease(partition, self.server(address), self.request(), epoch, NOBODY, PCLAIM.FORCE)
        )
