"""What survives a kill -9: everything acknowledged, and whatever was being done can be done again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from fileserver.interfaces import IPartition
from fileserver.store.metadata import has_user_attributes
from tests.contracts.ipartition import RW, Workload
from tests.fileserver.store.support import OPENERS, audit, need_root
from tests.support.budget import budget

MOST_OPERATIONS = 150
"""Before the kill."""


KILLS = 2
"""Of one partition: what the first left half done must not stand in the way of going on."""


class Kill(TestCase):
    """One process works, is killed at a random moment, another looks."""

    timeout = 600

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        os.mkdir(self.path, 0o700)

    async def test_namei(self) -> None:
        """namei, as root."""
        need_root()
        await self.rounds("namei")

    async def test_attributes(self) -> None:
        """namei-user with extended attributes."""
        if not has_user_attributes(self.path):
            self.skipTest("the file system has no user attributes")
        await self.rounds("xattr")

    async def test_sidecars(self) -> None:
        """namei-user with sidecars."""
        await self.rounds("sidecar")

    async def rounds(self, keeper: str) -> None:
        """Kill and look, again and again on the same partition."""
        share = budget(f"store.kill.{keeper}", full=100, least=2)
        rng = random.Random(share.seed)
        self.assertTrue(share.count)
        for index in range(share.count):
            self.path = os.path.abspath(self.mktemp())
            os.mkdir(self.path, 0o700)
            seed = rng.getrandbits(64)
            done = 0
            for _ in range(KILLS):
                done = await self.kill_and_look(keeper, seed, done, rng, f"round {index}, seed {seed}")

    async def kill_and_look(self, keeper: str, seed: int, done: int, rng: random.Random, message: str) -> int:
        """Returns how many operations of the workload are done, counting the one that was cut short and done again."""
        done += await deferToThread(
            self.work_and_kill, keeper, seed, done, rng.randrange(MOST_OPERATIONS), rng.random()
        )
        workload = Workload(seed, None)
        for _ in range(done):
            await workload.step()
        before = {each: dict(volume.contents) for each, volume in workload.model.items()}
        existing = set(workload.model)
        await workload.step()  # what may be half done
        operation, volume_id, number = workload.doing
        partition = OPENERS[keeper](self.path)
        try:
            await self.redo(partition, workload, operation, volume_id, number, existing, before)
            workload.partition = partition
            await workload.check(self)
        except Exception as error:
            error.add_note(f"{message}: killed in operation {done}, {workload.doing}, at {self.path}")
            raise
        finally:
            await partition.close()
        self.assertEqual(audit(self.path, RW, after_kill=True), [], message)
        return done + 1

    async def redo(
        self,
        partition: IPartition,
        workload: Workload,
        operation: str,
        volume_id: int,
        number: int,
        existing: set[int],
        before: dict[int, dict[int, bytes]],
    ) -> None:
        """Check that nothing but the interrupted operation's object differs, then finish the operation."""
        present = {each.id for each in await partition.volumes()}
        model = workload.model.get(volume_id)
        if operation == "destroy":
            if volume_id in present:
                await partition.destroy_volume(volume_id)
        elif operation == "create_volume":
            if volume_id not in present:
                assert model is not None
                await (await partition.create_volume(model.header)).close()
        elif operation == "clone":
            source, target = await partition.open_volume(RW), await partition.open_volume(volume_id)
            await source.clone_to(target)
            await target.close()
            await source.close()
        elif operation == "write_header":
            assert model is not None
            files = await partition.open_volume(volume_id)
            await files.write_header(model.header)
            await files.close()
        elif number:
            await self.redo_vnode(await partition.open_volume(volume_id), model, number, before[volume_id].get(number))
        self.assertLessEqual(present - existing, {volume_id})

    async def redo_vnode(self, files: Any, model: Any, number: int, before: bytes | None) -> None:
        """The vnode has its old state, its new one, or content between the two; then gets the new one."""
        present = number in dict(await files.vnodes())
        content = await files.read(number, 0, 1 << 24) if present else None
        after = model.contents.get(number)
        if content not in (before, after):
            assert content is not None and before is not None and after is not None, "a vnode is half there"
            self.assertLessEqual(len(content), max(len(before), len(after)))
            changed = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
            self.assertEqual(content[:changed], before[:changed])
        if present:
            await files.remove_vnode(number)
        if after is not None:
            await files.create_vnode(number, model.vnodes[number], after)
        await files.close()

    def work_and_kill(self, keeper: str, seed: int, skip: int, operations: int, fraction: float) -> int:
        """Operations that were acknowledged before the kill, which comes some time into the one after `operations`."""
        command = [sys.executable, "-m", "tests.fileserver.store.writer", self.path, keeper, str(seed), str(skip)]
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root)
        assert writer.stdout is not None
        with writer.stdout as pipe:
            acknowledged = 0
            while acknowledged <= operations and (dots := os.read(pipe.fileno(), 1)):
                acknowledged += len(dots)
            for _ in range(int(fraction * 3000)):  # up to some 200 us: an operation takes about as long
                pass
            writer.send_signal(signal.SIGKILL)
            acknowledged += len(pipe.read())
        self.assertEqual(writer.wait(), -signal.SIGKILL)
        return acknowledged
