"""The protocol with one rule broken, to show that the simulation would find it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from unittest import mock

from fileserver.partitions import label, mount, take
from fileserver.partitions.label import HeldLabel, Label, label_path
from fileserver.partitions.take import Refused, Taking
from fileserver.partitions.tenure import Claim, Tenure


def unchecked(tenure: Tenure) -> None:
    """Write and answer without asking whether the partition is ours."""


async def own_without_vldb(means: Any, known: Any, order: Any, undo: Any) -> int:
    """Count epochs by the label alone, two servers each for itself."""
    found = await means.in_thread(mount.read_label, known)
    return 1 if found is None else int(found.epoch) + 1


async def believe(means: Any, known: Any, label: Any) -> None:
    """Do not ask the VLDB before serving either."""


def no_claim(partition: str) -> Claim | None:
    """The owner and the claimants do not look whether another has claimed the partition."""
    return None


def any_epoch(taking: Taking, found: Label) -> None:
    """A label with a later epoch is taken too."""
    if found.uuid != taking._wanted.uuid:
        raise Refused("another partition")


def write_by_path(held: HeldLabel, new: Label) -> None:
    """Rewrite whatever file has the label's name now."""
    fd = vars(label)["os"].open(label_path(held._partition), os.O_RDWR)
    sequence = held._sequence + 1
    vars(label)["os"].pwrite(fd, new.to_slot(sequence), (sequence + 1) % 2 * label.SLOT_SIZE)
    vars(label)["os"].close(fd)
    held._sequence = sequence


def read_by_path(held: HeldLabel) -> Label | None:
    """Confirm by what the file says that has the label's name, whichever that is."""
    return Label.read(held._partition)


def always_same(one: Label, other: Label) -> bool:
    """Do not compare what was displaced with what was silent."""
    return True


MUTANTS: dict[str, tuple[str, Callable[[], Any]]] = {
    "the tenure is not checked": ("fail_over", lambda: mock.patch.object(Tenure, "check", unchecked)),
    "the margin is 0": ("silence", lambda: mock.patch.object(take, "MARGIN_SECONDS", 0.0)),
    "taken without the VLDB": (
        "",
        lambda: mock.patch.multiple(mount, _own=own_without_vldb, _confirm=believe),
    ),
    "the claim is ignored": ("force", lambda: mock.patch.object(Claim, "read", no_claim)),
    "the epoch is not checked": ("", lambda: mock.patch.object(Taking, "_check", any_epoch)),
    "the label is rewritten by its name": (
        "fail_over",
        lambda: mock.patch.multiple(HeldLabel, write=write_by_path, read_in_place=read_by_path),
    ),
    "what was displaced is not looked at": ("fail_over", lambda: mock.patch.object(take, "_same", always_same)),
}
"""By what rule is broken: the kind of trouble in which it shows soonest, and how to break it."""
