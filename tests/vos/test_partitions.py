"""The subcommands about partitions, against servers in this process."""

from __future__ import annotations

from afs.rpc.partitions import PSTATE
from tests.vos.cells import FIRST, SECOND, VosCase


class Mounting(VosCase):
    """One partition on one server."""

    async def test_unmount_and_mount(self) -> None:
        """A partition goes and comes by its letter, its name or its UUID; what is so already is no error."""
        done = await self.succeeds("umountpartition", FIRST, "a")
        self.assertIn(f"Unmounted partition {self.uuid} on {FIRST} as /vicepa: ", done.out)
        self.assertIsNone(self.label().owner)
        done = await self.succeeds("umountpartition", FIRST, "/vicepa")
        self.assertIn("is not mounted\n", done.out)
        done = await self.succeeds("mountpartition", FIRST, self.uuid)
        self.assertIn(f"Mounted partition {self.uuid} on {FIRST} as /vicepa: ", done.out)
        self.assertEqual(self.label().owner, self.server_uuid(0))
        done = await self.succeeds("mountpartition", FIRST, "vicepa")
        self.assertIn("is mounted already\n", done.out)

    async def test_steps(self) -> None:
        """With -verbose the steps are told with their times."""
        done = await self.succeeds("umountpartition", FIRST, "a", "-verbose")
        steps = [line.split("s  ", 1)[1] for line in done.out.splitlines()[:-1]]
        self.assertEqual((steps[0], steps[-1]), ("begun", "ended"))

    async def test_not_there(self) -> None:
        """What is not defined on the server, and what is no partition."""
        self.assertIn("/vicepb is not defined on", await self.refused("mountpartition", FIRST, "b"))
        nobody = "00000000-0000-0000-0000-000000000001"
        self.assertIn(f"{nobody} is not defined on", await self.refused("mountpartition", FIRST, nobody))
        self.assertEqual(
            await self.refused("mountpartition", FIRST, "zz9"), "vos: could not interpret partition name 'zz9'\n"
        )
        self.assertEqual(
            await self.refused("mountpartition", "no such host", "a"),
            "vos: server 'no such host' not found in host table\n",
        )


class Listing(VosCase):
    """What the VLDB knows."""

    async def test_all(self) -> None:
        """Each partition with its server, and as JSON."""
        listed = await self.succeeds("listpartitions")
        self.assertRegex(listed.out, rf"{self.uuid}  {FIRST}  /vicepa  mounted +1 ")
        self.assertIn("Total: 2\n", listed.out)
        data = (await self.succeeds("listpartitions", "-json")).data
        self.assertIn((self.uuid, FIRST), [(each["uuid"], each["server"]["address"]) for each in data])

    async def test_of_a_server(self) -> None:
        """Those of one server alone."""
        listed = await self.succeeds("listpartitions", SECOND)
        self.assertNotIn(self.uuid, listed.out)
        self.assertIn("Total: 1\n", listed.out)
        self.assertIn("knows no server 127.0.0.9", await self.refused("listpartitions", "127.0.0.9"))

    async def test_details(self) -> None:
        """State, definitions and history of one, and what its server says of it."""
        await self.succeeds("umountpartition", FIRST, "a")
        shown = (await self.succeeds("listpartitions", self.uuid)).out
        self.assertIn("    State       not mounted\n", shown)
        self.assertIn(f"Defined on {FIRST} /vicepa: {self.shared}, priority 0\n    released;", shown)
        self.assertRegex(shown, r"unmount [0-9a-f-]{36} done, ")
        self.assertRegex(shown, r"ReleasePartition by ")
        data = (await self.succeeds("listpartitions", self.uuid, "--json")).data
        self.assertEqual(data["definitions"][0]["state"], PSTATE.RELEASED.name.lower())
        self.assertIn("no partition", await self.refused("listpartitions", "00000000-0000-0000-0000-000000000001"))
