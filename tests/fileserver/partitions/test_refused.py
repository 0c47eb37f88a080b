"""A call that found out that the partition is not ours any more leaves nothing behind."""

from __future__ import annotations

import gc
from pathlib import Path

from fileserver.interfaces import Fenced
from fileserver.store.descriptors import Descriptor
from rx.errors import Abort
from tests.fileserver.partitions.test_keeper import SharedCase


class Refused(SharedCase):
    """A store that may not write."""

    async def test_nothing_stays_open(self) -> None:
        """Nothing of the partition is open once it is unmounted, and nothing has to be collected for that: a hook may
        want to let go of the file system.
        """
        await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        client = self.cell.client()
        fid = await client.create("/file")

        def refuse(descriptor: Descriptor) -> int:
            raise Fenced("the partition is another server's")

        gc.disable()
        self.addCleanup(gc.enable)
        patched = self.patch(Descriptor, "to_write", refuse)
        with self.assertRaises(Abort):
            await client.store(fid, b"content", 0, 7)
        patched.restore()
        await self.unmount(0)
        found = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        self.assertEqual([file for file in found if file.is_relative_to(self.shared)], [])
