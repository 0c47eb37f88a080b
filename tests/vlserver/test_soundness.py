"""`vldb check` finds what is wrong with rows, and nothing where nothing is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from twisted.trial.unittest import TestCase

from tests.support.budget import budget
from tests.vlserver.contents import random_contents
from vlserver.interfaces import ITransaction
from vlserver.operations.soundness import Finding, findings
from vlserver.schema import Author, Change, Definition, Partition, RowChange, Server, Site, Volume
from vlserver.store.memory import MemoryStore

BY = Author("admin", "test")
A, B, NOBODY = UUID(int=1), UUID(int=2), UUID(int=99)
SERVER = Server(0, (0x0A000001,), UUID(int=8), 0, 1)
VOLUME = Volume(1, b"v", (10, 11, 0), (Site(A, 4),), flags=0x1000)


class SoundnessTest(TestCase):
    """Rows that no back end would take are put past its checks."""

    async def found(self, store: MemoryStore) -> list[Finding]:
        """What is found wrong."""

        def work(transaction: ITransaction) -> list[Finding]:
            return list(findings(transaction, lambda done, total: None))

        return await store.survey(work)

    async def damaged(self, volumes: Sequence[Volume] = (VOLUME,)) -> MemoryStore:
        """A server, a partition and these entries."""
        store = MemoryStore(lambda: 1.0)
        await store.load([SERVER, Partition(A, 0, 0, 0)], {"max_volume_id": 100}, [], BY)
        tables = store._tables
        tables.volumes = {volume.key: volume for volume in volumes}
        tables.last_key = len(volumes)
        return store

    async def test_nothing(self) -> None:
        """Contents as they come about are sound; what is warned of is what RPCs allow."""
        random_ = random.Random(budget("vlserver.soundness", full=1).seed)
        for _ in range(20):
            found = await self.found(await random_contents(random_).store())
            self.assertEqual([each.text for each in found if not each.warning], [])
        self.assertEqual(await self.found(await self.damaged()), [])

    async def test_volumes(self) -> None:
        """Each rule of an entry."""
        other = replace(VOLUME, key=2, name=b"w", ids=(20, 21, 22))
        for broken, text, warning in (
            (replace(other, name=b"a/b"), "no volume's name", False),
            (replace(other, ids=(1 << 32, 0, 0)), "ids", False),
            (replace(other, sites=(Site(A, 4),) * 14), "14 sites", False),
            (replace(other, sites=(Site(NOBODY, 4),)), "which is not there", False),
            (replace(other, sites=(Site(A, 0x81),)), "site flags", False),
            (replace(other, flags=8), "flags 0x8", False),
            (replace(other, ids=(10, 0, 0)), "id 10 is also another's", True),
            (replace(other, ids=(20, 10, 0)), "id 10 is also another's", True),
            (replace(other, ids=(0, 20, 0)), "no read-write id", True),
            (replace(other, sites=()), "no site", True),
            (replace(other, flags=0x1080), "half locked", True),
            (replace(other, lock_timestamp=5), "half locked", True),
            (replace(other, ids=(100, 0, 0)), "next volume id is 100, and 100 is in use", True),
        ):
            found = [each for each in await self.found(await self.damaged([VOLUME, broken])) if text in each.text]
            self.assertTrue(found, text)
            self.assertEqual(found[0].warning, warning, found)

    async def test_keys(self) -> None:
        """Keys that are neither in use nor removed, or both."""
        store = await self.damaged()
        store._tables.last_key = 3
        self.assertIn("do not make up the 3 keys", (await self.found(store))[0].text)
        store._tables.last_key = 2
        store._tables.free_keys = [1]
        self.assertIn("among the removed ones", (await self.found(store))[0].text)

    async def test_servers_and_partitions(self) -> None:
        """Two servers that share something, a place with two partitions, references to nothing."""
        for server, text in (
            (Server(1, (0x0A000001,)), "in common with server 0"),
            (Server(1, (9,), SERVER.uuid, 1), "in common with server 0"),
            (Server(1, (9,), UUID(int=9), 0), "record 0 in common"),
            (Server(1, (9,), UUID(int=9), 252), "record 252"),
            (Server(1, (0xFF000001,)), "0xff000001 is no address"),
            (Server(1, tuple(range(1, 17)), UUID(int=9), 1), "16 addresses"),
            (Server(1, (8, 9)), "no UUID"),
            (Server(255, (9,)), "slots are"),
        ):
            store = await self.damaged()
            store._tables.servers[server.slot] = server
            self.assertIn(text, (await self.found(store))[0].text)
        for partition, text in (
            (Partition(B, 0, 0, 0), f"where {A} is"),
            (Partition(B, 256, 0, 0), "number 256"),
            (Partition(B, 1, 5, 0), "server 5, which is not there"),
            (Partition(B, 1, None, 5), "server 5, which is not there"),
            (Partition(B, 1, 0, 0, epoch=-1), "epoch -1"),
        ):
            store = await self.damaged()
            store._tables.partitions[partition.uuid] = partition
            self.assertIn(text, (await self.found(store))[0].text)
        for definition, text in (
            (Definition(NOBODY, 0, 0, "/x"), "no such partition"),
            (Definition(A, 5, 0, "/x"), "no such server"),
            (Definition(A, 0, 256, "/x"), "number 256"),
        ):
            store = await self.damaged()
            store._tables.definitions[definition.partition, definition.server] = definition
            self.assertIn(text, (await self.found(store))[0].text)

    async def test_log(self) -> None:
        """A gap, a row that cannot be read, and an end that is not the database's revision."""
        row = RowChange("setting", "x", "", "1")
        for last, text in (
            (Change(3, 1, BY, (row,)), "from revision 1 to 3"),
            (Change(2, 1, BY, (RowChange("volume", "1", "", "{}"),)), "cannot be read"),
            (Change(2, 1, BY, (RowChange("planet", "1", "", "x"),)), "cannot be read"),
        ):
            store = await self.damaged()
            store._log.append(last)
            store.revision = last.revision
            self.assertIn(text, (await self.found(store))[0].text)
        store = await self.damaged()
        store.revision = 7
        self.assertIn("ends at 1, the database is at 7", (await self.found(store))[0].text)
        store._log.append(Change(7, 1, BY, ()))  # what replaces everything may leap
        self.assertEqual(await self.found(store), [])
