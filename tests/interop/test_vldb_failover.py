"""A cell of stock fileservers with our vlserver: a disk with many volumes goes to another server by one row.

The fileservers know nothing of partition objects; an administrator gives their partitions UUIDs.
"""

from __future__ import annotations

import uuid
from typing import Any

from twisted.internet.threads import deferToThread

from afs.rpc.partitions import (
    PCLAIM,
    POBJ,
    POUT,
    PREASON,
    PartitionClaim,
    PartitionDefinition,
    PartitionDescription,
    PartitionNamed,
    PartitionObject,
    PartitionOwned,
    PartitionRelease,
    PartitionRequest,
    PartitionServer,
    PartitionWatch,
)
from afs.types import NIL_UUID
from tests.interop.stock import FuseClient, address_of, create_world_writable
from tests.interop.vldb_cells import VldbCase, VldbCell, our_vlserver

VOLUMES = 30
SOURCE, TARGET = ("fs1", "b"), ("fs2", "c")
NUMBERS = {"a": 0, "b": 1, "c": 2}


class FailoverTests(VldbCase):
    """fs1 loses the disk that was its /vicepb; it is put into fs2, as /vicepc."""

    def server(self, name: str) -> PartitionServer:
        """How partition RPCs name a server that registered."""
        text = self.cell.uuids[name].replace("-", "")
        return PartitionServer(uuid.UUID(text), 0)

    async def test_one_row(self) -> None:
        """Stock vos and stock clients find every volume at the other server, after one row of the VLDB has changed."""
        self.cell = cell = await deferToThread(VldbCell, self.new_network(), our_vlserver)
        await deferToThread(self.fill)
        client = await deferToThread(self.mounted, cell.network, "ca")
        await self.tell(client, "before", "while", "after")
        vl = self.administrator(cell.node, cell.key)
        found = await self.defined(vl)
        before = (await cell.nodes["fs1"].run("vos", "listvldb", "-server", "fs1", "-noauth")).check().out

        await deferToThread(self.carry, SOURCE, TARGET)
        revision = await self.revision(vl)
        claim = PartitionClaim(
            found.uuid,
            self.server("fs2"),
            PartitionRequest(uuid.uuid4(), PREASON.FAILOVER, b"fs1 has lost its disk"),
            expected_epoch=found.epoch,
            flags=PCLAIM.FORCE,
        )
        outcome = await vl.ClaimPartition(claim)
        self.assertEqual((outcome.result, outcome.object.epoch), (POUT.DONE, found.epoch + 1))
        again = await vl.ClaimPartition(claim)
        self.assertEqual((again.result, again.object), (POUT.ALREADY, outcome.object))

        await self.one_row_since(vl, revision, found)
        await self.stock_sees_it(before)
        self.assertEqual(await self.told(client, "while"), "while")  # it knew the volume at fs1
        await deferToThread(client.restart_cold)
        self.assertEqual(await self.told(client, "after"), "after")

        await deferToThread(self.carry, TARGET, SOURCE)
        revision = await self.revision(vl)
        request = PartitionRequest(uuid.uuid4(), PREASON.MOVE)
        release = PartitionRelease(
            found.uuid, self.server("fs2"), request, found.epoch + 1, self.server("fs1"), PCLAIM.FORCE
        )
        outcome = await vl.ReleasePartition(release)
        self.assertEqual((outcome.result, outcome.object.epoch), (POUT.DONE, found.epoch + 2))
        await self.one_row_since(vl, revision, found)
        after = (await cell.nodes["fs1"].run("vos", "listvldb", "-server", "fs1", "-noauth")).check().out
        self.assertEqual(after, before)
        self.assertEqual(await self.told(client, "before"), "before")

    def carry(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        """Take the disk out of one server and put it into the other, both at rest."""
        for name in ("fs1", "fs2"):
            self.cell.stop(name)
        self.cell.move_disk(source, target)
        for name in ("fs1", "fs2"):
            self.cell.start(name)

    async def one_row_since(self, vl: Any, revision: int, found: PartitionObject) -> None:
        """There has been one change of one row, the partition object's."""
        changes, now, _ = await vl.WatchChanges(PartitionWatch(since=revision))
        self.assertEqual((len(changes), now), (1, revision + 1))
        self.assertEqual([row.subject for row in changes[0].rows], [PartitionNamed(found.uuid)])

    def fill(self) -> None:
        """Volumes on the disk, one of them for everybody to write, and one elsewhere."""
        cell = self.cell
        create_world_writable(cell.vos, cell.node, SOURCE[0], "plants", SOURCE[1])
        for number in range(VOLUMES - 1):
            cell.vos("create", *SOURCE, f"v{number}").check()
        cell.vos("create", "fs1", "a", "elsewhere").check()

    async def defined(self, vl: Any) -> PartitionObject:
        """The object of the disk, which may be mounted at both servers from now on, and is at fs1."""
        objects, after = await vl.ListPartitions(PartitionOwned(self.server("fs1")), NIL_UUID, 10)
        self.assertEqual(after, NIL_UUID)
        (found,) = (each for each in objects if each.number == NUMBERS[SOURCE[1]])
        self.assertEqual(found.flags, POBJ.IMPLICIT)
        for name, letter in (SOURCE, TARGET):
            outcome = await vl.DefinePartition(
                PartitionDefinition(found.uuid, self.server(name), NUMBERS[letter], b"/vicep" + letter.encode(), 0),
                PartitionDescription(b"disk 7"),
                PartitionRequest(uuid.uuid4()),
            )
            self.assertEqual(outcome.result, POUT.DONE)
        defined: PartitionObject = await vl.GetPartition(found.uuid)
        self.assertEqual((defined.owner.uuid, defined.flags), (self.server("fs1").uuid, 0))
        return defined

    async def revision(self, vl: Any) -> int:
        """Of the database, found by reading the log of its changes to the end."""
        revision = 0
        while True:
            changes, revision, _ = await vl.WatchChanges(PartitionWatch(since=revision))
            if not changes:
                return int(revision)

    async def stock_sees_it(self, before: str) -> None:
        """Stock vos lists all of it at fs2 and only that, as it was listed at fs1, and finds no fault."""
        cell = self.cell
        listed = cell.vos("listvldb", "-server", "fs2").check().out
        here, there = (f"server {name}.txafs.test partition /vicep{letter}" for name, letter in (SOURCE, TARGET))
        self.assertEqual(listed.count(there), VOLUMES)
        remaining = cell.vos("listvldb", "-server", "fs1").check().out
        self.assertIn("elsewhere", remaining)
        self.assertEqual((remaining.count(here), remaining.count("RWrite")), (0, 1))
        self.assertEqual(before.count(here), VOLUMES)
        examined = cell.vos("examine", "v7").check().out
        self.assertIn("On-line", examined)
        self.assertIn(there, examined)
        for command in ("syncvldb fs2 -dryrun -verbose", "syncserv fs1 -dryrun -verbose", "syncserv fs2 -dryrun"):
            said = cell.vos(*command.split()).check()
            self.assertNotIn("create", said.out + said.err)
            self.assertNotIn("delet", said.out + said.err)
        self.assertEqual(cell.vos("listvldb", "-server", "fs2").check().out, listed)
        cell.vos("create", *TARGET, "new").check()
        self.assertIn(f"{there} RW Site", cell.vos("examine", "new").check().out)
        self.assertIn(address_of("fs2"), cell.vos("listvldb", "-name", "new", "-noresolve").check().out)
        cell.vos("remove", "-id", "new").check()

    async def tell(self, client: FuseClient, *words: str) -> None:
        """Files that say their names."""
        for word in words:
            (await client.node.run("sh", "-c", f"echo {word} > {client.volume('plants')}/{word}")).check()

    async def told(self, client: FuseClient, word: str) -> str:
        """What such a file says."""
        return (await client.node.run("cat", f"{client.volume('plants')}/{word}")).check().out.strip()
