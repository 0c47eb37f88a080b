"""Two stock FUSE clients of one cell see each other's work at once: callback promises are kept."""

from __future__ import annotations

from statistics import median

from tests.interop.case import InteropTest, program
from tests.interop.namespaces import READY_SECONDS, wait_for
from tests.interop.ours import OurCell
from tests.interop.stock import FuseClient
from tests.support.budget import budget

VISIBLE_SECONDS = 1.0
"""From the end of a write in one client until the other reads it, as a rule: a FUSE client stores a file after it was
closed, and on a machine that does much else that may be some time after.
"""


class CoherenceTests(InteropTest):
    """Client A is on node ca, B on cb."""

    def setUp(self) -> None:
        self.seconds: list[float] = []
        """Which it took until something was seen."""

    async def test_both_ways(self) -> None:
        """What one client wrote the other reads within a second, each way, though it had the old content cached."""
        network = self.new_network()
        OurCell(network)
        a, b = self.mounted(network, "ca"), self.mounted(network, "cb")
        for turn in range(budget("interop.coherence", full=200, least=10).count):
            for writer, reader in ((a, b), (b, a)):
                content = f"turn {turn} of {writer.node.name}"
                await self._write(writer, content)
                await self._see(reader, content)
        self.assertLess(median(self.seconds), VISIBLE_SECONDS)

    async def test_directories(self) -> None:
        """A name that one client makes, renames or removes is there, moved or gone in the other."""
        network = self.new_network()
        OurCell(network)
        a, b = self.mounted(network, "ca"), self.mounted(network, "cb")
        place = a.volume("scratch")
        await b.node.run("ls", place)
        steps = [
            ("mkdir d && echo 1 > d/one", "ls d", "one\n"),
            ("mv d/one d/two", "ls d", "two\n"),
            ("ln d/two d/three", "ls d", "three\ntwo\n"),
            ("rm d/two", "ls d", "three\n"),
            ("mv d e", "ls -d d e 2>/dev/null; true", "e\n"),
            ("rm -r e", "ls", ""),
        ]
        for change, look, expected in steps:
            (await a.node.run("sh", "-c", f"cd {place} && {change}")).check()
            self._sees(b, f"cd {place} && {look}", expected)

    async def test_over_restarts(self) -> None:
        """Promises outlive a clean restart: what one client writes after it the other, which has not called since, sees
        within a second.
        """
        network = self.new_network()
        cell = OurCell(network)
        a, b = self.mounted(network, "ca"), self.mounted(network, "cb")
        for turn in range(budget("interop.restarts", full=20, least=2).count):
            for writer, reader in ((a, b), (b, a)):
                await self._write(writer, f"before {turn} of {writer.node.name}")
                await self._see(reader, f"before {turn} of {writer.node.name}")
                cell.stop()
                log = cell.directory / "log"
                before = log.stat().st_size
                cell.start()
                self.assertRegex(log.read_bytes()[before:], rb"[1-9]\d* promises to [2-9] hosts restored")
                await self._write(writer, f"after {turn} of {writer.node.name}")
                await self._see(reader, f"after {turn} of {writer.node.name}")
        self.assertLess(median(self.seconds), VISIBLE_SECONDS)

    def _sees(self, client: FuseClient, look: str, expected: str) -> None:
        wait_for(f"{look} to print {expected!r}", lambda: client.node.run_now("sh", "-c", look).out == expected)

    async def _write(self, client: FuseClient, content: str) -> None:
        file = f"{client.volume('scratch')}/shared"
        (await client.node.run("sh", "-c", f"printf '%s' '{content}' > {file}")).check()

    async def _see(self, client: FuseClient, content: str) -> None:
        file = f"{client.volume('scratch')}/shared"
        watched = await client.node.run(*program("watch"), file, content, str(READY_SECONDS), seconds=2 * READY_SECONDS)
        self.seconds.append(float(watched.check().out))
