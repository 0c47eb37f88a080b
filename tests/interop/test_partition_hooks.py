"""Storage that must never be attached twice: an ext4 image on a loop device, moved between two hosts by a hook."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from uuid import UUID

from afs.rpc.partitions import PSTATE
from afs.rpc.volpartitions import VPART, VSTEP
from fileserver.partitions.label import Label
from tests.interop.case import InteropTest
from tests.interop.partition_cells import PATH, SHARED, VOLUME, WORLD, PartitionCell

IMAGE_SIZE = "24M"
HOOK = f"{SHARED}/lun"
HOOK_TEXT = """#!/bin/sh
# HOOK mount|unmount|fence|unfence UUID PATH. The directory `attached` is the array's idea of who has the LUN.
host=$(hostname)
cd /shared
echo "$host $1" >> calls
test -e $host-$1-fails && { echo "the array says no"; exit 1; }
test -e $host-$1-hangs && exec sleep 1000
case $1 in
mount)
    mkdir attached 2>/dev/null && echo $host > attached/host
    test "$(cat attached/host)" = $host || { echo "attached to $(cat attached/host)"; exit 1; }
    mountpoint -q $3 || mount -o loop image $3 ;;
unmount)
    ! mountpoint -q $3 || umount $3 || exit 1
    test "$(cat attached/host 2>/dev/null)" != $host || rm -r attached ;;
fence)
    rm -rf attached ;;
esac
"""
HANG_SECONDS = 1.0


def no_loop() -> str | None:
    """Why there are no loop devices here, None where there are."""
    tried = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return f"no loop devices: {tried.stderr.strip()}" if tried.returncode else None


class HookTests(InteropTest):
    """The image is defined on both servers; nobody has it mounted when a test begins."""

    skip = InteropTest.skip or no_loop()

    async def cell(self) -> PartitionCell:
        """Servers that run, and the partition with a label in the image, as an administrator would make it."""
        cell = PartitionCell(self, hooks={"lun": HOOK_TEXT})
        await cell.start()
        node = cell.nodes["fs1"]
        (await node.run("mkfs.ext4", "-q", f"{SHARED}/image", IMAGE_SIZE)).check()
        (await node.run(HOOK, "mount", str(UUID(int=0)), PATH)).check()
        made = await cell.define("fs1", backend=b"namei", hook=HOOK.encode(), flags=VPART.CREATE)
        cell.uuid = made.partition.uuid
        (await node.run(HOOK, "unmount", str(cell.uuid), PATH)).check()
        await cell.define("fs2", uuid=cell.uuid, backend=b"namei", hook=HOOK.encode())
        (cell.storage / "calls").unlink()
        return cell

    def calls(self, cell: PartitionCell) -> list[str]:
        """What was asked of the hooks since this was asked last."""
        path = cell.storage / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def attached(self, cell: PartitionCell) -> list[str]:
        """The hosts on which the image is mounted."""
        mounts = {name: Path(f"/proc/{node.pid}/mounts") for name, node in cell.nodes.items()}
        return [name for name, file in mounts.items() if file.exists() and f" {PATH} ext4" in file.read_text()]

    async def write(self, cell: PartitionCell, content: bytes) -> None:
        await cell.client("ca").write_file("/file", content)

    async def test_to_and_fro(self) -> None:
        """The image goes from host to host with its volumes, and is mounted on one host at most; a server that is
        killed has it again after its start; by force its heir fences it first, and lifts that when it lets go.
        """
        cell = await self.cell()
        await cell.mount("fs1")
        self.assertEqual((self.attached(cell), self.calls(cell)), (["fs1"], ["fs1 mount"]))
        (await cell.vos("create", "fs1", "d", VOLUME, "-maxquota", "0")).check()
        await cell.administrator().set_acl("/", WORLD)
        await self.write(cell, b"on fs1")
        await cell.unmount("fs1")
        self.assertEqual((self.attached(cell), self.calls(cell)), ([], ["fs1 unmount"]))
        await cell.mount("fs2")
        self.assertEqual((self.attached(cell), self.calls(cell)), (["fs2"], ["fs2 mount"]))
        self.assertEqual(await cell.client("ca").read_file("/file"), b"on fs1")
        await self.write(cell, b"on fs2")

        await cell.mount("fs1", may=False)
        self.assertEqual((self.attached(cell), self.calls(cell)), (["fs2"], []))
        await cell.stop("fs2", signal.SIGKILL)
        await cell.start_servers("fs2")
        self.assertEqual((self.attached(cell), self.calls(cell)), (["fs2"], ["fs2 mount"]))
        self.assertEqual(await cell.client("ca").read_file("/file"), b"on fs2")

        cell.nodes["fs2"].end()
        taken = await cell.mount("fs1", force=True)
        self.assertEqual((self.attached(cell), self.calls(cell)), (["fs1"], ["fs1 fence", "fs1 mount"]))
        steps = [step.step for step in taken.steps]
        self.assertEqual(steps[1:5], [VSTEP.CLAIMED, VSTEP.FENCED, VSTEP.HOOKED, VSTEP.LABELLED])
        self.assertEqual(await cell.client("ca").read_file("/file"), b"on fs2")
        await cell.unmount("fs1")
        self.assertEqual((self.attached(cell), self.calls(cell)), ([], ["fs1 unmount", "fs1 unfence"]))

    async def test_failures(self) -> None:
        """A hook that fails, or hangs until the order's deadline, ends the command with what it said. Nobody has the
        partition then, or it is known who has; the same command finishes when the hook does its work again.
        """
        cell = await self.cell()
        fails, hangs = cell.storage / "fs1-mount-fails", cell.storage / "fs1-mount-hangs"
        fails.touch()
        failed = await cell.mount("fs1", may=False)
        self.assertRegex(failed.text, rb"lun mount .*exit status 1: the array says no")
        self.assertEqual(((await cell.object()).owner.uuid.int, self.attached(cell)), (0, []))
        fails.rename(hangs)
        failed = await cell.mount("fs1", deadline=HANG_SECONDS, may=False)
        self.assertRegex(failed.text, rb"lun mount .*killed after 1 s")
        self.assertEqual((await cell.object()).owner.uuid.int, 0)
        hangs.unlink()
        await cell.mount("fs1")
        self.calls(cell)

        fails = cell.storage / "fs1-unmount-fails"
        fails.touch()
        failed = await cell.unmount("fs1", may=False)
        self.assertRegex(failed.text, rb"lun unmount .*: the array says no")
        self.assertEqual((await cell.object()).owner.uuid, cell.servers["fs1"])
        self.assertEqual((await cell.state("fs1")).state, PSTATE.RELEASED)
        refused = await cell.mount("fs2", may=False)
        self.assertIn(str(cell.servers["fs1"]).encode(), refused.text)
        self.assertEqual((self.attached(cell), self.calls(cell)), (["fs1"], ["fs1 unmount"]))
        fails.unlink()
        await cell.unmount("fs1")
        self.assertEqual((self.attached(cell), self.calls(cell)), ([], ["fs1 unmount"]))
        await cell.mount("fs2")

    async def test_no_fence(self) -> None:
        """While the fence fails nobody touches the storage by force, neither at once nor after a restart nor by a plain
        mount: its old owner may have it attached.
        """
        cell = await self.cell()
        await cell.mount("fs2")
        self.calls(cell)
        fails = cell.storage / "fs1-fence-fails"
        fails.touch()
        await cell.mount("fs1", force=True, may=False)
        self.assertEqual((self.attached(cell), self.calls(cell)), (["fs2"], ["fs1 fence"]))
        await cell.restart("fs1")
        refused = await cell.mount("fs1", may=False)
        self.assertIn(b"by force", refused.text)
        self.assertEqual((self.attached(cell), self.calls(cell)), (["fs2"], []))
        label = Label.read(str(cell.nodes["fs2"].path(PATH)))
        self.assertEqual(label.owner if label else None, cell.servers["fs2"])
        fails.unlink()
        cell.nodes["fs2"].end()
        await cell.mount("fs1", force=True)
        self.assertEqual((self.attached(cell), self.calls(cell)), (["fs1"], ["fs1 fence", "fs1 mount"]))
        await cell.restart("fs1")
        self.assertEqual(self.attached(cell), ["fs1"])
        self.assertEqual((await cell.state("fs1")).state, PSTATE.MOUNTED)
