"""Subcommands that write, interrupted at each of their calls: nothing is left open, locked or half done that is not
told, and the command that is told, or the same again, finishes the job.
"""

from __future__ import annotations

import re

from afs.location import BACKUP, RW
from afs.rpc.vl import VLF_BACKEXISTS, VldbListByAttributes, nvldbentry
from afs.rpc.volser import volintInfo
from tests.vos.cells import FIRST, SECOND, Result
from tests.vos.fuses import Fuse, FuseCase, Interrupt
from vos.entries import LOCKED

REMEDY = re.compile(r"^vos: go on with: vos (.*)$", re.MULTILINE)


class Writing(FuseCase):
    """Two file servers without volumes."""

    async def entries(self) -> list[nvldbentry]:
        """All that the VLDB has."""
        _, found, _ = await self.cell.vl.ListAttributesN2(VldbListByAttributes(), b"", 0)
        return list(found)

    async def volumes(self) -> list[volintInfo]:
        """All on the first server."""
        return list(await self.cell.volser(0).ListVolumes(0, 1))

    async def calls(self, *words: str) -> int:
        """How many calls a subcommand makes."""
        fuse = Fuse()
        result = await self.fused(fuse, *words)
        assert result is not None
        self.assertEqual(result.status, 0, result)
        return len(fuse.names)

    async def interrupted(self, number: int, *words: str) -> Result:
        """What one said that was interrupted at a call; nothing is open or locked then, and names are not half."""
        fuse = Interrupt(number)
        result = await self.fused(fuse, *words)
        assert result is not None
        where = f"{words} interrupted at {number}, {fuse.names[number - 1]}: {result}"
        self.assertIn(result.status, (0, 130), where)
        self.assertEqual(list(await self.cell.volser(0).Monitor()), [], where)
        self.assertEqual([each.name for each in await self.entries() if each.flags & LOCKED], [], where)
        return result

    async def finish(self, result: Result) -> None:
        """What it says is to be done."""
        for remedy in REMEDY.findall(result.err):
            done = await self.vos(*remedy.split())
            self.assertEqual(done.status, 0, (result, done))

    async def test_create(self) -> None:
        """A volume and its entry are both there, or neither."""
        words = ("create", FIRST, "a", "new")
        calls = await self.calls(*words)
        await self.succeeds("remove", FIRST, "a", "new")
        for number in range(1, calls + 1):
            result = await self.interrupted(number, *words)
            self.assertNotIn("left as it is", result.err)
            listed = [each.volumeId[RW] for each in await self.entries()]
            self.assertEqual([each.volid for each in await self.volumes()], listed, (number, result))
            if listed:
                self.assertEqual(number, calls, result)  # when all is done but the transaction's end

    async def test_remove(self) -> None:
        """What it could not finish it says how to."""
        await self.succeeds("create", FIRST, "a", "old")
        calls = await self.calls("remove", FIRST, "a", "old")
        for number in range(1, calls + 1):
            await self.succeeds("create", FIRST, "a", "old")
            result = await self.interrupted(number, "remove", FIRST, "a", "old")
            await self.finish(result)
            left = [each.volid for each in await self.volumes()]
            self.assertEqual(left, [each.volumeId[RW] for each in await self.entries()], (number, result))
            if left:
                await self.succeeds("remove", FIRST, "a", "old")

    async def test_backup(self) -> None:
        """The entry says that there is a backup volume if there is one, and the same again makes it."""
        await self.succeeds("create", FIRST, "a", "vol")
        calls = await self.calls("backup", "vol")
        for number in range(1, calls + 1):
            await self.succeeds("remove", FIRST, "a", "vol.backup")
            result = await self.interrupted(number, "backup", "vol")
            (entry,) = await self.entries()
            there = entry.volumeId[BACKUP] in [each.volid for each in await self.volumes()]
            if not there:
                self.assertEqual(entry.flags & VLF_BACKEXISTS, 0, (number, result))
            await self.succeeds("backup", "vol")

    async def test_rename(self) -> None:
        """The command that it tells renames the rest."""
        await self.succeeds("create", FIRST, "a", "vol.0")
        await self.succeeds("backup", "vol.0")
        calls = await self.calls("rename", "vol.0", "vol.1")
        for number in range(1, calls + 1):
            result = await self.interrupted(number, "rename", f"vol.{number}", f"vol.{number + 1}")
            await self.finish(result)
            (entry,) = await self.entries()
            names = sorted(each.name for each in await self.volumes())
            self.assertEqual(names, [entry.name, entry.name + b".backup"], (number, result))
            if entry.name == f"vol.{number}".encode():
                await self.succeeds("rename", f"vol.{number}", f"vol.{number + 1}")

    async def test_sites(self) -> None:
        """A site is there or not."""
        await self.succeeds("create", FIRST, "a", "vol")
        for words in (("addsite", SECOND, "a", "vol"), ("remsite", SECOND, "a", "vol")):
            other = ("remsite" if words[0] == "addsite" else "addsite", *words[1:])
            calls = await self.calls(*words)
            for number in range(1, calls + 1):
                await self.succeeds(*other)
                result = await self.interrupted(number, *words)
                if result.status:
                    (entry,) = await self.entries()
                    done = entry.nServers == (2 if words[0] == "addsite" else 1)
                    if not done:
                        await self.succeeds(*words)

    async def test_second_site(self) -> None:
        """A second read-only site on a server needs -force, and another partition."""
        await self.succeeds("create", FIRST, "a", "vol")
        await self.succeeds("addsite", SECOND, "a", "vol")
        before = await self.entries()
        result = await self.vos("addsite", SECOND, "a", "vol")
        self.assertEqual((result.status, result.out), (1, ""))
        self.assertIn("RO already exists on partition /vicepa. Multiple ROs on a single server aren't", result.err)
        again = await self.vos("addsite", SECOND, "a", "vol", "-force")
        self.assertEqual((again.status, again.err), (1, result.err))
        self.assertEqual(await self.entries(), before)
