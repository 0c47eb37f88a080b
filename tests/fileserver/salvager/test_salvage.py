"""The salvager on a partition's files: what it repairs, what it moves aside, and that a kill costs nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import TestCase

from fileserver.partitions.label import Label, LabelState
from fileserver.salvager.__main__ import FAILED, REPAIRED, SOUND, main
from fileserver.salvager.quarantine import DIRECTORY
from fileserver.store.formats import pack_header, unpack_header
from fileserver.store.inodes import Special
from fileserver.store.locks import PartitionLock
from fileserver.store.namei import FORCE_SALVAGE
from fileserver.store.volume_file import volume_file_name
from tests.contracts.ipartition import BK, RO, RW
from tests.fileserver.salvager.damages import GROUPS, OTHER, build, contents, damage, snapshot, special
from tests.fileserver.store.support import OPENERS
from tests.support.budget import budget

_CHANGES = ("pwrite", "ftruncate", "rename", "unlink", "mkdir", "symlink", "setxattr", "open")


class Killed(BaseException):
    """Where a kill ends a run: nothing of the program goes on."""


class SalvageCase(TestCase):
    """A partition that anybody can make, sound at first."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.path = os.path.abspath(self.mktemp())
        os.mkdir(self.path, 0o700)
        opener = OPENERS["sidecar"]
        await build(self.path, 11, lambda path, number, reactor: opener(path))

    def salvage(self, *options: str) -> tuple[int, list[str]]:
        """Exit status and lines."""
        lines: list[str] = []
        self.patch(_Out, "lines", lines)
        self.patch(__import__("sys"), "stdout", _Out())
        return main([self.path, *options]), lines

    def said(self, *options: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.salvage("--json", *options)[1]]

    def info(self, group: int, volume_id: int, **changes: Any) -> None:
        """Change fields of a volume's info file."""
        path = special(self.path, group, volume_id, Special.INFO)
        with open(path, "r+b") as file:
            header = replace(unpack_header(file.read()), **changes)
            file.seek(0)
            file.write(pack_header(header))

    def aside(self) -> list[str]:
        """Names of the files in the quarantine."""
        return sorted(name for _, _, names in os.walk(os.path.join(self.path, DIRECTORY)) for name in names)


class _Out:
    """Standard output."""

    lines: list[str] = []

    def write(self, text: str) -> None:
        self.lines.append(text)

    def flush(self) -> None:
        return None


class Command(SalvageCase):
    """What the command does, and when it does not."""

    def test_sound(self) -> None:
        """A sound partition is not touched."""
        before = snapshot(self.path)
        self.assertEqual(self.salvage()[0], SOUND)
        self.assertEqual(snapshot(self.path), before)

    def test_dry_run(self) -> None:
        """A dry run tells what a real one repairs, and changes nothing."""
        spent = budget("fileserver.salvager.dry-run", full=200, least=10)
        rng = random.Random(spent.seed)
        for _ in range(spent.count):
            damage(self.path, rng)
            before = snapshot(self.path)
            dry = {each["message"] for each in self.said("--dry-run") if each["event"] == "tell"}
            self.assertEqual(snapshot(self.path), before)
            status, lines = self.salvage()
            self.assertEqual(status, REPAIRED if dry else SOUND, lines)
            self.assertLessEqual(dry, {line.rstrip("\n").partition(": moved to")[0] for line in lines})

    def test_in_use(self) -> None:
        """A partition that a server has, or that is another's, is refused."""
        lock = PartitionLock(self.path)
        status, lines = self.salvage()
        self.assertEqual((status, "another process" in lines[0]), (FAILED, True))
        lock.close()
        label = Label.read(self.path)
        assert label is not None
        replace(label, converting_to="namei").write(self.path)
        self.assertEqual(self.salvage()[0], FAILED)
        replace(label, state=LabelState.RELEASED).write(self.path)
        self.assertEqual(self.salvage()[0], SOUND)

    def test_force_salvage(self) -> None:
        """The mark that asks for a salvage of the whole partition goes with one, and not with one of a group."""
        path = os.path.join(self.path, FORCE_SALVAGE)
        open(path, "wb").close()
        self.salvage("--volume", str(RW))
        self.assertTrue(os.path.exists(path))
        self.salvage()
        self.assertFalse(os.path.exists(path))

    def test_unclean(self) -> None:
        """The marks of a crash are taken away, silently where nothing else is wrong."""
        self.info(RW, RW, in_use=1, needs_salvaged=True)
        self.assertEqual(self.salvage()[0], SOUND)
        with open(special(self.path, RW, RW, Special.INFO), "rb") as file:
            header = unpack_header(file.read())
        self.assertEqual((header.in_use, header.needs_salvaged), (0, False))


class Repairs(SalvageCase):
    """One thing wrong at a time."""

    def test_headers(self) -> None:
        """Header files are made again; one that belongs to no volume is moved aside."""
        before = contents(self.path, RW)
        os.unlink(os.path.join(self.path, volume_file_name(RW)))
        os.rename(os.path.join(self.path, volume_file_name(RO)), os.path.join(self.path, volume_file_name(77)))
        self.assertEqual(self.salvage()[0], REPAIRED)
        self.assertEqual(contents(self.path, RW), before)
        self.assertEqual(self.aside(), [volume_file_name(77)])

    def test_indexes_gone(self) -> None:
        """Without both indexes of a read-write volume all its contents come back under their names."""
        before = contents(self.path, OTHER)
        for kind in (Special.SMALL_INDEX, Special.LARGE_INDEX):
            os.unlink(special(self.path, OTHER, OTHER, kind))
        self.assertEqual(self.salvage()[0], REPAIRED)
        self.assertEqual(contents(self.path, OTHER), before)

    def test_info_gone(self) -> None:
        """An info file made up again takes its name from a sibling, and serves nobody until it is looked at."""
        os.unlink(special(self.path, RW, RO, Special.INFO))
        self.salvage()
        with open(special(self.path, RW, RO, Special.INFO), "rb") as file:
            header = unpack_header(file.read())
        self.assertEqual(
            (header.name, header.type, header.blessed, header.in_service), (b"alice.readonly", 1, True, False)
        )

    def test_swapped(self) -> None:
        """Info files and indexes that have changed places go back."""
        before = contents(self.path, RW)
        for one, two in (
            ((RW, Special.INFO), (BK, Special.INFO)),
            ((RW, Special.SMALL_INDEX), (RW, Special.LARGE_INDEX)),
        ):
            paths = [special(self.path, RW, *each) for each in (one, two)]
            os.rename(paths[0], paths[0] + "=")
            os.rename(paths[1], paths[0])
            os.rename(paths[0] + "=", paths[1])
        self.assertEqual(self.salvage()[0], REPAIRED)
        self.assertEqual(contents(self.path, RW), before)

    def test_clone_without_root(self) -> None:
        """A clone that has lost its index and shares its root is given up: its files are aside, the others served."""
        before = contents(self.path, RW)
        os.truncate(special(self.path, RW, BK, Special.LARGE_INDEX), 0)
        reports = [each for each in self.said() if each["event"] == "report"]
        if reports[0]["lost"]:
            self.assertEqual(reports[0]["lost"], [BK])
            self.assertNotIn(BK, contents(self.path, RW))
        self.assertEqual(
            {each: contents(self.path, RW)[each] for each in (RW, RO)}, {each: before[each] for each in (RW, RO)}
        )

    def test_destroyed(self) -> None:
        """What was half removed is removed, and what it shared stays."""
        before = contents(self.path, RW)
        self.info(RW, RW, destroy_me=True)
        self.salvage()
        del before[RW]
        self.assertEqual(contents(self.path, RW), before)
        self.assertFalse(os.path.exists(special(self.path, RW, RW, Special.SMALL_INDEX)))
        self.assertEqual(self.aside(), [])
        self.assertEqual(self.salvage()[0], SOUND)

    def test_strays(self) -> None:
        """Files that are nothing a group has are moved aside with what they contain."""
        path = os.path.join(os.path.dirname(special(self.path, RW, RW, Special.INFO)), "what is this")
        with open(path, "wb") as file:
            file.write(b"nobody knows")
        self.salvage()
        self.assertEqual(self.aside(), ["what is this"])
        self.assertFalse(os.path.exists(path))


class Kills(SalvageCase):
    """A salvage killed at any change, and done again, ends as one that was not."""

    def test_kills(self) -> None:
        """The same contents, and nothing left to repair."""
        spent = budget("fileserver.salvager.kills", full=400, least=20)
        rng = random.Random(spent.seed)
        sound, self.path = self.path, os.path.abspath(self.mktemp())
        for _ in range(spent.count):
            shutil.copytree(sound, self.path, symlinks=True)
            said = damage(self.path, rng)
            copy = os.path.abspath(self.mktemp())
            shutil.copytree(self.path, copy, symlinks=True)
            self.salvage()
            wanted = {group: contents(self.path, group) for group in GROUPS}
            shutil.rmtree(self.path)
            shutil.move(copy, self.path)
            for _ in range(3):
                self._killed(rng.randrange(40))
            self.salvage()
            self.assertEqual({group: contents(self.path, group) for group in GROUPS}, wanted, said)
            self.assertEqual(self.salvage()[0], SOUND, said)
            shutil.rmtree(self.path)

    def _killed(self, left: int) -> None:
        """Run until so many changes were made, or to the end."""

        def counting(function: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                if function is not real_open or args[1] & os.O_CREAT:
                    if left == 0:
                        raise Killed
                    left -= 1
                return function(*args, **kwargs)

            return call

        real_open = os.open
        patches = [self.patch(os, name, counting(getattr(os, name))) for name in _CHANGES]
        try:
            self.salvage()
        except Killed:
            return
        finally:
            for patch in patches:
                patch.restore()
