"""A server begins, and ends, in the middle of what is done to its partitions."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from uuid import UUID

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from afs.rpc.partitions import PartitionObject
from afs.rpc.volpartitions import VOP, VOPS
from fileserver.partitions.keeper import Partitions
from fileserver.partitions.means import Mounted
from fileserver.partitions.table import Known

PARTITION = UUID(int=1)
KNOWN = Known(PARTITION, "/vicepa", 0, "namei")


class Starting(SynchronousTestCase):
    """With a VLDB that takes its time."""

    def test_missed_meanwhile(self) -> None:
        """A partition that is mounted because the VLDB names us, before its turn has come, is mounted once."""
        answer: Deferred[bool] = Deferred()
        vldb: Any = SimpleNamespace(has_partitions=lambda: answer)
        wanted = replace(KNOWN, wanted=True)
        table = Mock(__iter__=lambda _: iter([wanted]), get=lambda _: wanted)
        means: Any = Mock(reactor=Clock(), table=table, vldb=vldb, own=UUID(int=3))
        partitions = Partitions(means, lambda: 0.0)
        mounts: list[Deferred[VOPS]] = []

        async def mounting(*_: object) -> VOPS:
            mounts.append(Deferred())
            return await mounts[-1]

        self.patch(partitions, "_mounting", mounting)
        starting = ensureDeferred(partitions.start())
        partitions._missing(PartitionObject(PARTITION, epoch=1))
        answer.callback(False)
        self.assertEqual(len(mounts), 1)
        mounts[0].callback(VOPS.DONE)
        self.successResultOf(starting)


class Stopping(SynchronousTestCase):
    """With stand-ins for all that partitions work with."""

    def setUp(self) -> None:
        self.closing: Deferred[None] = Deferred()
        registry: Any = SimpleNamespace(shutdown=lambda: self.closing, partition=lambda _: None)
        means: Any = SimpleNamespace(reactor=Clock(), registry=registry, table=[], teller=None)
        self.partitions = Partitions(means, lambda: 0.0)

    def test_claimed_meanwhile(self) -> None:
        """Another server's claim is not heeded any more: the partition is let go of anyway."""
        stop = Mock(return_value=succeed(None))
        tenure: Any = SimpleNamespace(lost=True, unwanted="claimed", write=lambda **_: succeed(None), stop=stop)
        partition: Any = None
        self.partitions.mounted[PARTITION] = Mounted(KNOWN, partition, 1, tenure)
        stopping = ensureDeferred(self.partitions.stop())
        self.partitions._wanted_elsewhere(KNOWN, "claimed")
        self.assertIsNone(self.partitions.operations.running(PARTITION))
        self.closing.callback(None)
        self.successResultOf(stopping)
        stop.assert_called_once_with()

    def test_while_clients_are_told(self) -> None:
        """An operation that waits for several things at once is given up like any other, and that is no defect."""

        async def telling() -> VOPS:
            await gatherResults([Deferred(), Deferred()], consumeErrors=True)
            return VOPS.DONE

        operation = self.partitions.operations.begin(UUID(int=2), VOP.UNMOUNT, PARTITION)
        self.partitions._flows.run(operation, telling())
        self.closing.callback(None)
        stopping = ensureDeferred(self.partitions.stop())
        self.successResultOf(stopping)
        self.assertEqual(operation.state, VOPS.FAILED)
        self.assertEqual(self.flushLoggedErrors(), [])
