"""Make a label our own, after the VLDB has given us the partition: at once where nobody holds it, else by asking.

An owner that lives sees the claim within a second, closes its volumes and lets go. One that is stopped, cut off from
the storage or gone does not beat: after its tenure and a margin it neither writes nor answers, and its label is
replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from errno import EBUSY
from threading import Event
from uuid import UUID

from fileserver.interfaces import StoreError
from fileserver.partitions.label import HeldLabel, Label, LabelState
from fileserver.partitions.tenure import MARGIN_SECONDS, TENURE_SECONDS, Claim, boottime

LOOK_SECONDS = 0.1
"""Between two looks at a label that another server holds."""


class Refused(StoreError):
    """The partition at the path is not the one meant, or cannot be taken. The message says why; nothing was changed."""


class Superseded(Refused):
    """A later epoch than ours is known: the VLDB was restored from a backup, or another has won since. `label` is as
    it was found, or as the one who claims would write it.
    """

    def __init__(self, label: Label) -> None:
        super().__init__(f"partition {label.uuid} is known with epoch {label.epoch} of server {label.owner}")
        self.label = label


@dataclass(frozen=True, slots=True)
class Wanted:
    """What we have won: which partition, with which epoch, by which request."""

    uuid: UUID
    owner: UUID
    epoch: int
    request: UUID | None = None


class Taking:
    """One attempt, blocking: for a thread. `cancel` from another thread ends it. `replaced` tells afterwards whether a
    silent owner's label had to be replaced: ours is TAKING then, until the VLDB has been asked once more. `before` is
    the label as it was found.
    """

    def __init__(self, partition: str, wanted: Wanted, clock: Callable[[], float] = boottime) -> None:
        self._partition = partition
        self._wanted = wanted
        self._clock = clock
        self._cancelled = Event()
        self.before: Label | None = None
        self.replaced = False

    def cancel(self) -> None:
        """Make `run` raise Refused soon."""
        self._cancelled.set()

    def run(self, deadline: float) -> tuple[HeldLabel, Label]:
        """The label, held and ours, within `deadline` seconds. Raises Refused, Damaged, OSError (EBUSY: it did not let
        go in time).
        """
        ends = self._clock() + deadline
        shown: Label | None = None
        silent_since = 0.0
        while True:
            label = self._look()
            self.before = self.before or label
            if shown is None or not _same(label, shown):
                shown, silent_since = label, self._clock()
            try:
                held, label = HeldLabel.acquire(self._partition)
            except OSError as error:
                if error.errno != EBUSY or self._clock() > ends:
                    raise
            else:
                return self._own(held, label)
            Claim(self._wanted.epoch, self._wanted.owner).write(self._partition)
            if self._clock() - silent_since > (label.tenure or TENURE_SECONDS) + MARGIN_SECONDS:
                return self._replace(label)
            self._wait()

    def _look(self) -> Label:
        """The label as it is, if it is one we may take."""
        label = Label.read(self._partition)
        if label is None:
            raise Refused(f"{self._partition} has no label")
        self._check(label)
        return label

    def _check(self, label: Label) -> None:
        if label.uuid != self._wanted.uuid:
            raise Refused(f"{self._partition} is partition {label.uuid}, not {self._wanted.uuid}")
        mine = (label.epoch, label.owner) == (self._wanted.epoch, self._wanted.owner)
        if label.epoch >= self._wanted.epoch and not mine:
            raise Superseded(label)
        claim = Claim.read(self._partition)
        if claim is not None and claim.epoch >= self._wanted.epoch and claim.owner != self._wanted.owner:
            raise Superseded(replace(label, epoch=claim.epoch, owner=claim.owner))

    def _own(self, held: HeldLabel, label: Label) -> tuple[HeldLabel, Label]:
        try:
            self._check(label)
            ours = self._ours(label)
            if label.state is LabelState.TAKING:
                ours = self._outlast(held, replace(ours, state=label.state), label)
            label = replace(ours, state=LabelState.MOUNTED)
            held.write(label)
        except BaseException:
            held.close()
            raise
        Claim.remove(self._partition)
        return held, label

    def _replace(self, silent: Label) -> tuple[HeldLabel, Label]:
        """Its owner is silent: put our label in the place of the one it holds.

        Since we looked, it may have moved all the same, or another may have come first: then we wait once more, as a
        living owner, for whoever had the label to find out. Raises Superseded when that was at a later epoch.
        """
        label = replace(self._ours(silent), state=LabelState.TAKING)
        held, displaced = HeldLabel.displace(self._partition, label)
        self.replaced = True
        try:
            if displaced is not None:
                self._put_back(held, displaced)
            if displaced is None or not _same(displaced, silent):
                label = self._outlast(held, label, displaced)
        except BaseException:
            held.close()
            raise
        Claim.remove(self._partition)
        return held, label

    def _put_back(self, held: HeldLabel, displaced: Label) -> None:
        """Whoever comes next must learn of a later epoch from the label. Raises Superseded when there was one."""
        try:
            self._check(displaced)
        except Superseded:
            held.write(replace(displaced, state=LabelState.TAKING))
            raise

    def _outlast(self, held: HeldLabel, label: Label, other: Label | None) -> Label:
        """Beat until no tenure that another has by its label can last."""
        tenure = other.tenure if other is not None else 0.0
        until = self._clock() + (tenure or TENURE_SECONDS) + MARGIN_SECONDS
        while self._clock() <= until:
            self._wait()
            label = replace(label, beat=label.beat + 1)
            held.write(label)
        return label

    def _wait(self) -> None:
        if self._cancelled.wait(LOOK_SECONDS):
            raise Refused(f"{self._partition}: given up")

    def _ours(self, label: Label) -> Label:
        return replace(
            label,
            epoch=self._wanted.epoch,
            owner=self._wanted.owner,
            request=self._wanted.request,
            successor=None,
            state=LabelState.MOUNTED,
            beat=label.beat + 1,
            beaten=time.time(),
            tenure=TENURE_SECONDS,
        )


def _same(one: Label, other: Label) -> bool:
    """Neither another owner nor a beat between them."""
    return (one.epoch, one.owner, one.beat) == (other.epoch, other.owner, other.beat)
