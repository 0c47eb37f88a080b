"""Tenure and taking: the owner knows when it is none any more, and two never both hold a partition."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID, uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from fileserver.interfaces import PROMPT_SECONDS, Damaged, Fenced
from fileserver.partitions import tenure as tenures
from fileserver.partitions.label import HeldLabel, Label, LabelState, label_path
from fileserver.partitions.take import Refused, Superseded, Taking, Wanted
from fileserver.partitions.tenure import CLAIM_FILE, MARGIN_SECONDS, TENURE_SECONDS, Claim, Tenure, boottime

A, B = (UUID(int=number) for number in (1, 2))
PROMPT = 5.0
"""Seconds within which a label that is free must be ours."""

POLL_SECONDS = 0.05


class PartitionCase(TestCase):
    """A directory with the label of a partition that nobody has."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        os.mkdir(self.path, 0o700)
        self.label = Label(uuid4(), "namei")
        self.label.write(self.path)
        self.offset = 0.0
        self.reasons: list[str] = []
        self.ended: Deferred[str] = Deferred()

    def clock(self) -> float:
        """The machine's, and what a test adds."""
        return boottime() + self.offset

    def wanted(self, owner: UUID, epoch: int) -> Wanted:
        return Wanted(self.label.uuid, owner, epoch)

    async def take(self, owner: UUID, epoch: int, deadline: float = PROMPT) -> tuple[HeldLabel, Label]:
        """As a server that has won this epoch."""
        return await deferToThread(Taking(self.path, self.wanted(owner, epoch)).run, deadline)

    def tenure(self, held: HeldLabel, label: Label) -> Tenure:
        """One that beats."""

        def ended(reason: str) -> None:
            self.reasons.append(reason)
            self.ended.callback(reason)

        tenure = Tenure(self.path, held, label, reactor, ended, self.clock)  # type: ignore[arg-type]
        tenure.start()
        return tenure


class Owning(PartitionCase):
    """One owner."""

    async def test_beats(self) -> None:
        """The label names the owner and its beat rises; released, it names nobody and is free."""
        tenure = self.tenure(*await self.take(A, 1))
        first = Label.read(self.path)
        assert first is not None
        self.assertEqual((first.owner, first.epoch, first.state, first.tenure), (A, 1, "mounted", TENURE_SECONDS))
        self.assertTrue(await tenure.settled())
        await tenure.write(state=LabelState.FROZEN, successor=B)
        frozen = Label.read(self.path)
        assert frozen is not None
        self.assertEqual((frozen.state, frozen.successor, frozen.owner), ("frozen", B, A))
        await tenure.release()
        self.assertRaises(Fenced, tenure.check)
        held, label = HeldLabel.acquire(self.path)
        held.close()
        self.assertEqual((label.owner, label.epoch, label.state), (None, 1, "released"))
        self.assertGreater(label.beat, 0)
        self.assertEqual(self.reasons, [])

    async def test_sleep(self) -> None:
        """After a sleep longer than the tenure nothing may be written until the label was read again."""
        tenure = self.tenure(*await self.take(A, 1))
        self.offset = TENURE_SECONDS
        self.assertRaises(Fenced, tenure.check)
        self.assertTrue(await tenure.settled())
        tenure.check()
        await tenure.stop()

    async def test_slow(self) -> None:
        """The storage that was slow is so until a beat was not, whatever else is done quickly meanwhile."""
        tenure = self.tenure(*await self.take(A, 1))
        queued, prompt = Event(), []

        def slow() -> None:
            assert queued.wait(30)
            self.offset += 2 * PROMPT_SECONDS

        jobs = [tenure.run(job) for job in (slow, lambda: None, lambda: prompt.append(tenure.prompt()))]
        queued.set()
        await gatherResults(jobs)
        self.assertEqual(prompt, [False])
        while not tenure.prompt():
            await deferLater(reactor, POLL_SECONDS)
        await tenure.stop()

    async def test_storage_fails(self) -> None:
        """While the label cannot be read the tenure runs out, and comes back with the storage."""
        tenure = self.tenure(*await self.take(A, 1))
        in_the_way = Path(os.path.join(self.path, CLAIM_FILE))
        in_the_way.mkdir()  # reading it fails
        self.offset = TENURE_SECONDS
        self.assertRaises(Fenced, tenure.check)
        settled = tenure.settled()
        self.assertFalse(settled.called)
        in_the_way.rmdir()
        self.assertTrue(await settled)
        await tenure.stop()

    async def test_label_gone(self) -> None:
        """Who finds its label gone, or the file another, has lost the partition."""
        tenure = self.tenure(*await self.take(A, 1))
        os.unlink(label_path(self.path))
        self.assertIn("another server has taken", await self.ended)
        self.assertTrue(tenure.lost)
        self.assertRaises(Fenced, tenure.check)
        self.assertFalse(await tenure.settled())
        await self.assertFailure(tenure.write(successor=B), Fenced)
        await tenure.stop()


class Takeover(PartitionCase):
    """Two servers want one partition."""

    async def test_asked(self) -> None:
        """A living owner is asked, lets go, and the claimant has the partition; the claim is gone."""
        owner = self.tenure(*await self.take(A, 1))
        taken = ensureDeferred(self.take(B, 2))
        self.assertIn("epoch 2", await self.ended)
        owner.check()  # it may still close its volumes
        await owner.release()
        held, label = await taken
        self.addCleanup(held.close)
        self.assertEqual((label.owner, label.epoch), (B, 2))
        self.assertIsNone(Claim.read(self.path))

    async def test_stopped(self) -> None:
        """An owner that holds its lock and does not beat loses the partition after its tenure and the margin, and
        finds out before it does anything else.
        """
        old, label = await self.take(A, 1)
        self.addCleanup(old.close)
        began = boottime()
        held, label = await self.take(B, 2)
        self.addCleanup(held.close)
        self.assertGreaterEqual(boottime() - began, TENURE_SECONDS + MARGIN_SECONDS)
        self.assertEqual((label.owner, label.epoch), (B, 2))
        late = Tenure(self.path, old, replace(label, owner=A, epoch=1), reactor, self.reasons.append)  # type: ignore[arg-type]
        self.assertRaises(Fenced, late.start)
        found = Label.read(self.path)
        assert found is not None
        self.assertEqual((found.owner, found.epoch), (B, 2))

    async def test_does_not_let_go(self) -> None:
        """An owner that was asked and goes on ceases to beat, and is then treated as a stopped one."""
        self.patch(tenures, "ASKED_SECONDS", 0.5)
        owner = self.tenure(*await self.take(A, 1))
        held, _ = await self.take(B, 2, deadline=20.0)
        self.assertRaises(Fenced, owner.check)
        held.close()
        await owner.stop()

    async def test_refused(self) -> None:
        """Another partition, a later epoch on the label, a later claim, a missing label: refused, and nothing is
        changed.
        """
        held, label = await self.take(A, 5)
        held.close()
        before = Path(label_path(self.path)).read_bytes()
        taking = Taking(self.path, self.wanted(B, 5))
        superseded: Any = await self.assertFailure(deferToThread(taking.run, 1.0), Superseded)
        self.assertEqual(superseded.label.epoch, 5)
        other = Taking(self.path, Wanted(uuid4(), B, 6))
        await self.assertFailure(deferToThread(other.run, 1.0), Refused)
        Claim(9, A).write(self.path)
        await self.assertFailure(deferToThread(Taking(self.path, self.wanted(B, 6)).run, 1.0), Refused)
        self.assertEqual(Path(label_path(self.path)).read_bytes(), before)
        os.unlink(label_path(self.path))
        await self.assertFailure(deferToThread(Taking(self.path, self.wanted(B, 10)).run, 1.0), Refused)
        self.assertEqual(label.epoch, 5)

    async def test_again(self) -> None:
        """A server that takes what is its own already, after a restart, gets it with the same epoch."""
        held, _ = await self.take(A, 1)
        held.close()
        held, label = await self.take(A, 1)
        held.close()
        self.assertEqual((label.owner, label.epoch), (A, 1))

    async def test_given_up(self) -> None:
        """A cancelled attempt ends; one whose deadline passes says who holds the label."""
        owner = self.tenure(*await self.take(A, 1))
        taking = Taking(self.path, self.wanted(B, 2))
        running = deferToThread(taking.run, 60.0)
        await self.ended
        taking.cancel()
        await self.assertFailure(running, Refused)
        late = await self.assertFailure(deferToThread(Taking(self.path, self.wanted(B, 2)).run, 0.0), OSError)
        self.assertIn("holds the label", str(late))
        await owner.release()

    def test_claim_garbage(self) -> None:
        """A claim file that is none is Damaged."""
        Path(os.path.join(self.path, CLAIM_FILE)).write_text("{}")
        self.assertRaises(Damaged, Claim.read, self.path)
