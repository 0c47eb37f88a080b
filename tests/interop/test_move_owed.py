"""A client that cannot be reached while a partition changes its server is told when it can be, by who has it then."""

from __future__ import annotations

import signal

from tests.interop.case import InteropTest, program
from tests.interop.partition_cells import VOLUME, PartitionCell

TOLD_SECONDS = 40.0
"""After which a client that is back has heard: some attempts, on a machine that does much else."""


class OwedTests(InteropTest):
    """A stock FUSE client with a file in its cache, whose promise nobody will keep."""

    async def test_unreachable(self) -> None:
        """Cut off during a planned move, and during a mount by force of what a dead server had: back, it sees what was
        changed meanwhile without having asked anybody.
        """
        cell = PartitionCell(self)
        await cell.start()
        await cell.share()
        writer = cell.client("ca")
        await writer.write_file("/file", b"before")
        place = f"{cell.fuse('cb').volume(VOLUME)}/file"
        node = cell.network.nodes["cb"]
        for content in ("moved", "taken"):
            (await node.run("cat", place)).check()
            heir = "fs2" if content == "moved" else "fs1"
            before = len(cell.log(heir))
            cell.network.plug(node, False)
            if content == "moved":
                await cell.move("fs1", "fs2")
            else:
                await cell.stop("fs2", signal.SIGKILL)
                await cell.mount("fs1", force=True)
            await cell.client("ca").write_file("/file", content.encode())
            await cell.said(heir, "was not told", before)
            cell.network.plug(node, True)
            seen = await node.run(*program("watch"), place, content, str(TOLD_SECONDS), seconds=TOLD_SECONDS + 10)
            print(f"\n  {content}: seen after {float(seen.check().out):.1f} s", end="")
