"""A server killed between any two writes of a change leaves volumes that fit together again at the next start."""

from __future__ import annotations

import contextlib
from random import Random

from fileserver.interfaces import IVolumeFiles
from fileserver.store.memory import MemoryPartition
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.registry import Registry
from rx.errors import Abort
from tests.fileserver.consistency import contradictions
from tests.fileserver.procedures.support import NOTHING, ROOT, VOLUME, World
from tests.support.budget import budget

WRITES = frozenset({"write", "write_vnode", "create_vnode", "remove_vnode", "truncate", "write_header"})


class Killed(BaseException):
    """The process is no more."""


class Kills(World):
    """Names and links only: the volume is found again by a new registry over the same disk."""

    def test_every_cut(self) -> None:
        """Create, link, remove and rename, each cut before its n-th write: all names lead somewhere, all counts are
        right, and what was there before is there under one of its names.
        """
        share = budget("fileserver.kills", full=3000, least=60)
        for run in range(share.count):
            self.setUp()
            self.cut_once(Random(share.seed + run))

    def cut_once(self, random: Random) -> None:
        directories = [ROOT, self.mkdir(b"one"), self.mkdir(b"two")]
        for directory in directories:
            for number in range(random.choice((1, 3, 70))):
                self.create(b"f%d" % number, directory=directory)
        self.mkdir(b"sub", directory=directories[1])
        before = self.vnodes()
        left = random.randrange(8)

        async def cut(operation: str, volume: int, number: int) -> None:
            nonlocal left
            left -= operation in WRITES
            if left < 0:
                raise Killed

        self.partition.disk.fault = cut
        old, new = random.choice(directories), random.choice(directories)
        name, target = random.choice((b"f0", b"sub", b"one")), random.choice((b"f0", b"new", b"n" * 200))
        call = self.on(1)
        change = random.choice(
            (
                lambda: call.Rename(old, name, new, target),
                lambda: call.CreateFile(new, b"fresh", NOTHING),
                lambda: call.MakeDir(new, b"fresh", NOTHING),
                lambda: call.RemoveFile(old, b"f0"),
                lambda: call.RemoveDir(directories[1], b"sub"),
            )
        )
        with contextlib.suppress(Killed, StopIteration, Abort):
            change().send(None)
        self.partition.disk.fault = None
        self.run_now(self.look(before))

    def vnodes(self) -> int:
        return len(self.partition.disk.volumes[VOLUME].vnodes)

    async def look(self, before: int) -> None:
        partition = MemoryPartition(disk=self.partition.disk)
        registry = Registry(Surroundings(lambda: self.time))
        await registry.add_partition(partition)
        async with registry.use(VOLUME):
            pass
        await registry.shutdown()
        files: IVolumeFiles = await partition.open_volume(VOLUME)
        wrong = [each for each in await contradictions(files) if "named by {}" not in each]
        self.assertEqual(wrong, [])
        self.assertGreaterEqual(self.vnodes(), before - 1)
