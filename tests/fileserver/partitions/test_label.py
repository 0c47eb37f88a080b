"""The label: what is written is read, torn or not, and one process at a time changes it."""

from __future__ import annotations

import os
from dataclasses import replace
from errno import EBUSY
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

from twisted.trial.unittest import SynchronousTestCase

from fileserver.interfaces import Damaged
from fileserver.partitions.label import LABEL_FILE, SLOT_SIZE, HeldLabel, Label, LabelState
from tests.support.budget import budget

OWNER = UUID("11111111-2222-3333-4444-555555555555")


class LabelCase(SynchronousTestCase):
    """A directory with a label."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        os.mkdir(self.path, 0o700)
        self.file = Path(self.path) / LABEL_FILE
        self.label = Label(uuid4(), "namei")

    def read(self) -> Label:
        """The label, which must be there."""
        label = Label.read(self.path)
        assert label is not None
        return label

    def hold(self) -> tuple[HeldLabel, Label]:
        """Acquired, and given up at the end."""
        held, label = HeldLabel.acquire(self.path)
        self.addCleanup(held.close)
        return held, label


class LabelText(LabelCase):
    """Contents."""

    def test_none(self) -> None:
        """A directory without the file has no label, and cannot be held."""
        self.assertIsNone(Label.read(self.path))
        self.assertRaises(FileNotFoundError, HeldLabel.acquire, self.path)

    def test_everything_comes_back(self) -> None:
        """Every field, and those of a later version, survive being written in a new file and in place."""
        full = Label(
            uuid4(),
            "namei-user",
            "sidecar",
            epoch=1 << 40,
            owner=OWNER,
            state=LabelState.FROZEN,
            successor=uuid4(),
            request=uuid4(),
            beat=77,
            beaten=1e9,
            tenure=2.5,
            unknown={"colour": "blue"},
        )
        full.write(self.path)
        self.assertEqual(self.read(), full)
        held, label = self.hold()
        self.assertEqual(label, full)
        held.write(replace(full, beat=78))
        self.assertEqual(self.read(), replace(full, beat=78))

    def test_version_1(self) -> None:
        """A label of JSON alone is read, and becomes one with slots when it is first changed."""
        text = f'{{"uuid": "{self.label.uuid}", "backend": "namei", "version": 1, "colour": "blue"}}'
        self.file.write_text(text)
        held, label = self.hold()
        self.assertEqual((label.uuid, label.epoch, label.unknown), (self.label.uuid, 0, {"colour": "blue"}))
        held.write(replace(label, epoch=3))
        self.assertEqual(held.read_in_place(), self.read())
        self.assertEqual((self.read().epoch, self.read().unknown), (3, {"colour": "blue"}))
        held.write(replace(label, epoch=4))
        self.assertEqual(self.read().epoch, 4)

    def test_garbage(self) -> None:
        """What is no label, or of a newer version, is Damaged."""
        slot = replace(self.label).to_slot(1)
        newer = f'{{"uuid": "{self.label.uuid}", "backend": "namei", "version": 3}}'
        bad_uuid = '{"uuid": "1", "backend": "namei"}'
        for garbage in (b"", b"[]", b"{}", bad_uuid.encode(), newer.encode(), slot[:-1], bytes(2 * SLOT_SIZE)):
            self.file.write_bytes(garbage)
            self.assertRaises(Damaged, Label.read, self.path)

    def test_too_much(self) -> None:
        """What a later version adds may fill the slot, not overflow it."""
        self.label.write(self.path)
        held, label = self.hold()
        self.assertRaises(Damaged, held.write, replace(label, unknown={"much": "x" * SLOT_SIZE}))
        self.assertEqual(self.read(), label)

    def test_torn(self) -> None:
        """Whatever part of a write arrives, the label read is the one before or the one after."""
        chosen = budget("fileserver.label.torn", full=20_000)
        random = Random(chosen.seed)
        self.label.write(self.path)
        held, label = self.hold()
        for beat in range(1, chosen.count + 1):
            before = self.file.read_bytes()
            label, last = replace(label, beat=beat, state=random.choice(list(LabelState))), label
            held.write(label)
            after = self.file.read_bytes()
            cut = random.randrange(len(after))
            torn = after[:cut] + before[cut:] if random.random() < 0.5 else before[:cut] + after[cut:]
            self.assertIn(Label.parse(torn, "torn"), (last, label))


class Holding(LabelCase):
    """The lock."""

    def setUp(self) -> None:
        super().setUp()
        self.label.write(self.path)

    def test_one_at_a_time(self) -> None:
        """A second holder is refused until the first lets go."""
        held, _ = HeldLabel.acquire(self.path)
        refused = self.assertRaises(OSError, HeldLabel.acquire, self.path)
        self.assertEqual(refused.errno, EBUSY)
        held.close()
        self.hold()

    def test_replaced(self) -> None:
        """A label put in place of a held one is held by whoever put it there; the old holder can tell, and harms
        nothing.
        """
        old, label = self.hold()
        new = HeldLabel.replace(self.path, replace(label, epoch=9, owner=OWNER))
        self.addCleanup(new.close)
        self.assertIsNone(old.read_in_place())
        self.assertEqual(new.read_in_place(), self.read())
        old.write(replace(label, epoch=1))
        self.assertEqual(self.read().epoch, 9)
        self.assertRaises(OSError, HeldLabel.acquire, self.path)

    def test_removed(self) -> None:
        """A label whose file is gone is not in place."""
        held, _ = self.hold()
        self.file.unlink()
        self.assertIsNone(held.read_in_place())
