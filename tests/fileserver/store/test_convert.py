"""Conversion between namei and namei-user: nothing but owners and modes moves, and a kill is repaired by going on."""

from __future__ import annotations

import io
import os
import random
import shutil
import sys
from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from fileserver.interfaces import WrongBackend
from fileserver.partitions.label import Label
from fileserver.store.convert import convert, main
from fileserver.store.metadata import ATTRIBUTE, SIDECAR_SUFFIX
from fileserver.store.namei import open_namei
from fileserver.store.namei_user import open_namei_user
from tests.contracts.ipartition import BK, RW, header
from tests.fileserver.store.support import need_root
from tests.fileserver.store.tree import Tree
from tests.support.budget import budget


class Killed(Exception):
    """Stands for a kill."""


def snapshot(path: str) -> dict[str, tuple[Any, ...]]:
    """Owner, mode, attribute and content of every file, the label left out."""
    found: dict[str, tuple[Any, ...]] = {}
    for directory, _, names in os.walk(path):
        for name in names:
            file = os.path.join(directory, name)
            if name.startswith(".txafs") or name == "NeverAttach":
                continue
            status = os.lstat(file)
            if os.path.islink(file):
                found[file] = (os.readlink(file),)
                continue
            attributes = [(each, os.getxattr(file, each)) for each in os.listxattr(file)]
            with open(file, "rb") as opened:
                found[file] = (status.st_uid, status.st_gid, status.st_mode, attributes, opened.read())
    return found


class Conversion(TestCase):
    """As root."""

    def setUp(self) -> None:
        need_root()
        self.path = os.path.abspath(self.mktemp())
        os.mkdir(self.path, 0o700)

    async def make(self, opener: Any) -> Tree:
        """A partition with a volume and a clone; closed."""
        partition = opener(self.path, 0, reactor)
        self.addCleanup(partition.close)
        tree = Tree(await partition.create_volume(header()))
        await tree.begin()
        await tree.scramble(random.Random(3), 40)
        clone = await partition.create_volume(header(BK, RW))
        await tree.files.clone_to(clone)
        await tree.scramble(random.Random(4), 20)
        await tree.finish()
        await partition.close()
        return tree

    async def test_there_and_back(self) -> None:
        """To namei-user and back leaves every file as it was, whichever keeper; in between only namei-user opens it."""
        await self.make(open_namei)
        before = snapshot(self.path)
        convert(self.path, "namei-user")
        self.assertTrue(os.path.exists(os.path.join(self.path, "NeverAttach")))
        self.assertRaises(WrongBackend, open_namei, self.path, 0, reactor)
        user = open_namei_user(self.path, 0, reactor)
        self.addCleanup(user.close)
        self.assertEqual(len(await user.volumes()), 2)
        await user.close()
        self.assertEqual(convert(self.path, "namei-user"), 0)
        convert(self.path, "namei")
        self.assertFalse(os.path.exists(os.path.join(self.path, "NeverAttach")))
        self.assertEqual(snapshot(self.path), before)
        self.assertRaises(WrongBackend, open_namei_user, self.path, 0, reactor)

    async def test_sidecars_go(self) -> None:
        """A partition with sidecars becomes a namei one without any."""
        await self.make(partial(open_namei_user, metadata="sidecar"))
        self.assertTrue(any(SIDECAR_SUFFIX in name for name in snapshot(self.path)))
        convert(self.path, "namei")
        self.assertFalse(any(SIDECAR_SUFFIX in name for name in snapshot(self.path)))

    async def test_interrupted_anywhere(self) -> None:
        """However often a conversion is interrupted, going on gives what one without interruption gives."""
        share = budget("store.convert", full=2000, least=40)
        rng = random.Random(share.seed)
        await self.make(open_namei)
        plain = snapshot(self.path)
        convert(self.path, "namei-user")
        user = snapshot(self.path)
        for _ in range(share.count):
            for backend, expected in (("namei", plain), ("namei-user", user)):
                while not self.attempt(backend, rng.randrange(1, 200)):
                    label = Label.read(self.path)
                    if label is None or not label.converting_to:
                        continue  # killed before anything was changed
                    self.assertRaises(WrongBackend, open_namei, self.path, 0, reactor)
                    other = "namei" if backend == "namei-user" else "namei-user"
                    self.assertRaises(WrongBackend, convert, self.path, other)
                self.assertEqual(snapshot(self.path), expected)

    def attempt(self, backend: str, calls: int) -> bool:
        """Convert, killed before the nth change to a file; whether it finished."""
        left = calls

        def counted(function: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return function(*args, **kwargs)

            return call

        names = ("chown", "chmod", "setxattr", "removexattr", "symlink", "unlink")
        patches = [self.patch(os, name, counted(getattr(os, name))) for name in names]
        try:
            convert(self.path, backend)
        except Killed:
            label = Label.read(self.path)
            return label is not None and not label.converting_to and label.backend == backend
        finally:
            for patch in patches:
                patch.restore()
        return True

    async def test_values_are_rebuilt(self) -> None:
        """Attributes lost on the way, as a plain copy loses them, come back from names and indexes."""
        tree = await self.make(open_namei)
        expected = {}
        for file, values in snapshot(self.path).items():
            if "AFSIDat" in file:
                expected[file] = values[:3]
        convert(self.path, "namei-user")
        lost = [file for file in expected if "special" in file][:4]
        for file in lost:
            os.removexattr(file, ATTRIBUTE)
        tree_files = [file for file in expected if "special" not in file]
        os.removexattr(tree_files[0], ATTRIBUTE)
        convert(self.path, "namei")
        found = {file: values[:3] for file, values in snapshot(self.path).items() if file in expected}
        for file in lost:
            self.assertEqual(found[file], expected[file])
        self.assertEqual(found[tree_files[0]][2], expected[tree_files[0]][2])
        self.assertLessEqual(found[tree_files[0]][0], max(each.data_version for each in tree.vnodes.values()))

    async def test_the_command(self) -> None:
        """The command says what it did, refuses an open partition in one line, and knows no third kind."""
        await self.make(open_namei)
        output, errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", errors)
        partition = open_namei(self.path, 0, reactor)
        self.addCleanup(partition.close)
        self.assertEqual(main([self.path, "--to", "namei-user"]), 1)
        self.assertIn("another process", errors.getvalue())
        self.assertEqual(errors.getvalue().count("\n"), 1)
        await partition.close()
        self.assertEqual(main([self.path, "--to", "namei-user"]), 0)
        self.assertIn("namei-user", output.getvalue())
        self.assertRaises(SystemExit, main, [self.path, "--to", "ufs"])
        shutil.rmtree(self.path)
