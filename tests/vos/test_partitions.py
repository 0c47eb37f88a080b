"""The subcommands about partitions, against servers in this process."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import vos.session
from afs.rpc.partitions import PSTATE
from afs.rpc.vl import NMAXNSERVERS, VLF_ROEXISTS, VLSF_ROVOL, nvldbentry
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


class Defining(VosCase):
    """Where a partition may be mounted."""

    async def test_defined_and_removed(self) -> None:
        """The label at the path says which partition it is; twice is no error; it is removed, and that twice too."""
        words = ("definepartition", SECOND, "b", "-path", str(self.shared), "-priority", "7")
        done = await self.succeeds(*words)
        line = f"Partition {self.uuid} is defined as /vicepb on {SECOND} at {self.shared}"
        self.assertEqual(done.out, f"{line}\n")
        self.assertEqual((await self.succeeds(*words)).out, f"{line} already\n")
        data = (await self.succeeds("listpartitions", self.uuid, "-json")).data
        self.assertEqual(
            [(each["server"]["address"], each["partition"], each["priority"]) for each in data["definitions"]],
            [(SECOND, "/vicepb", 7), (FIRST, "/vicepa", 0)],
        )
        done = await self.succeeds("removepartition", SECOND, "b")
        self.assertIn("is not defined on 127.0.0.2 any more", done.out)
        done = await self.succeeds("removepartition", SECOND, "b")
        self.assertEqual(done.out, f"/vicepb is not defined on {SECOND}\n")
        self.assertEqual(str(self.label().uuid), self.uuid)

    async def test_new(self) -> None:
        """A directory without a label gets one with -create alone, and with the UUID that is wanted."""
        path = str(self.directory("vicepq"))
        wanted = "11111111-2222-3333-4444-555555555555"
        words = ("definepartition", SECOND, "q", "-path", path, "-backend", "namei-user", "-uuid", wanted)
        self.assertIn("-create makes one", await self.refused(*words))
        done = await self.succeeds(*words, "-create")
        self.assertEqual(done.out, f"Partition {wanted} is defined as /vicepq on {SECOND} at {path}\n")
        self.assertIn("Mounted", (await self.succeeds("mountpartition", SECOND, "q")).out)
        listed = await self.succeeds("listpartitions", SECOND)
        self.assertRegex(listed.out, rf"{wanted}  {SECOND}  /vicepq  (mounted|claimed)")

    async def test_by_uuid(self) -> None:
        """Said by its UUID a partition needs a number, from -number or a path that is a name."""
        words = ("definepartition", SECOND, self.uuid, "-path", str(self.shared))
        if not str(self.shared).endswith("/vicepa"):
            self.assertIn("-number says", await self.refused(*words))
        done = await self.succeeds(*words, "-number", "c")
        self.assertIn(f"{self.uuid} is defined as /vicepc on {SECOND}", done.out)
        self.assertIn("already", (await self.succeeds("definepartition", SECOND, self.uuid)).out)

    async def test_contradictions(self) -> None:
        """What contradicts itself or the label is refused, and changes nothing."""
        other = "11111111-2222-3333-4444-555555555555"
        shared = str(self.shared)
        for words, reason in (
            ((SECOND, "b", "-path", shared, "-uuid", other), f"{shared} is partition {self.uuid}, not {other}"),
            ((SECOND, "b", "-path", shared, "-number", "c"), "-number /vicepc is not /vicepb"),
            ((SECOND, self.uuid, "-uuid", other), f"-uuid {other} is not partition {self.uuid}"),
            ((SECOND, "b", "-path", shared, "-backend", "namei"), "is a namei-user partition, not namei"),
            ((SECOND, "a", "-path", shared), "/vicepa"),
            ((SECOND, "b", "-path", "relative"), "not an absolute path"),
            ((SECOND, "b", "-path", shared, "-priority", "high"), "'high' is not a number"),
        ):
            self.assertIn(reason, await self.refused("definepartition", *words))
        self.assertIn("Total: 1\n", (await self.succeeds("listpartitions", SECOND)).out)

    async def test_mounted(self) -> None:
        """What is mounted is not removed."""
        self.assertIn("unmount it first", await self.refused("removepartition", FIRST, "a"))


class Moving(VosCase):
    """One partition, two servers."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.succeeds("definepartition", SECOND, "b", "-path", str(self.shared))
        await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        await self.cell.client().write_file("/file", b"content")

    async def test_there_and_back(self) -> None:
        """By its UUID, or by its name on the target; the clients go on; what is there already is no error."""
        done = await self.succeeds("movepartition", self.uuid, SECOND)
        self.assertRegex(
            done.out,
            rf"^Moved partition {self.uuid} to {SECOND} as /vicepb from {FIRST}, where it is /vicepa: "
            r"[0-9.]+ s, .*clients told",
        )
        self.assertEqual(self.label().owner, self.server_uuid(1))
        self.assertEqual(await self.cell.client().read_file("/file"), b"content")
        self.assertIn("already", (await self.succeeds("movepartition", self.uuid, SECOND)).out)
        done = await self.succeeds("movepartition", "a", FIRST, "-verbose")
        self.assertIn(" s  the target could mount it\n", done.out)
        self.assertEqual(self.label().owner, self.server_uuid(0))
        self.assertEqual(await self.cell.client().read_file("/file"), b"content")

    async def test_dry_run(self) -> None:
        """It is asked whether it could move, and stays."""
        epoch = self.label().epoch
        done = await self.succeeds("movepartition", self.uuid, SECOND, "-dryrun")
        self.assertIn("nothing was changed", done.out)
        self.assertEqual((self.label().owner, self.label().epoch), (self.server_uuid(0), epoch))

    async def test_unmounted(self) -> None:
        """What nobody has is mounted on the target: also the rest of a move that was interrupted."""
        await self.succeeds("umountpartition", FIRST, "a")
        self.assertIn("would be mounted", (await self.succeeds("movepartition", self.uuid, SECOND, "-dryrun")).out)
        self.assertIsNone(self.label().owner)
        self.assertIn("no other server had", (await self.succeeds("movepartition", self.uuid, SECOND)).out)
        self.assertEqual(self.label().owner, self.server_uuid(1))

    async def test_read_only_sites(self) -> None:
        """Where all read-only sites of a volume would be on one server it is refused without -force, by name."""
        await self.replicate(b"everywhere", [(FIRST, 0), (SECOND, 0)])
        await self.replicate(b"once", [(FIRST, 0)])
        refusal = await self.refused("movepartition", self.uuid, SECOND)
        self.assertIn(f"all their read-only sites on {SECOND}; nothing was changed", refusal)
        self.assertIn("\n    everywhere\n", refusal)
        self.assertNotIn("once", refusal)
        self.assertEqual(self.label().owner, self.server_uuid(0))
        await self.succeeds("movepartition", self.uuid, SECOND, "-force")
        self.assertEqual(self.label().owner, self.server_uuid(1))
        await self.succeeds("umountpartition", SECOND, "b")
        await self.succeeds("mountpartition", SECOND, "b")
        await self.succeeds("movepartition", self.uuid, FIRST)

    async def replicate(self, name: bytes, sites: list[tuple[str, int]]) -> None:
        """An entry of a volume with read-only sites."""
        first = await self.cell.vl.GetNewVolumeId(3)
        rest = NMAXNSERVERS - len(sites)
        await self.cell.vl.CreateEntryN(
            nvldbentry(
                name=name,
                nServers=len(sites),
                serverNumber=(*(int(IPv4Address(server)) for server, _ in sites), *(0,) * rest),
                serverPartition=(*(number for _, number in sites), *(0,) * rest),
                serverFlags=(*(VLSF_ROVOL for _ in sites), *(0,) * rest),
                volumeId=(first, first + 1, first + 2),
                flags=VLF_ROEXISTS,
            )
        )

    async def test_refused(self) -> None:
        """A target that does not know the partition, and one that cannot mount it: it stays, with the reason."""
        await self.succeeds("removepartition", SECOND, "b")
        self.assertIn("is not defined on 127.0.0.2", await self.refused("movepartition", self.uuid, SECOND))
        self.assertEqual(self.label().owner, self.server_uuid(0))

    async def test_owner_is_another(self) -> None:
        """A mount of what another server has is refused, and says who has it."""
        self.assertIn(str(self.server_uuid(0)), await self.refused("mountpartition", SECOND, "b"))
        self.assertIn("Mounted", (await self.succeeds("mountpartition", SECOND, "b", "-force")).out)
        self.assertEqual(self.label().owner, self.server_uuid(1))

    async def test_owner_is_down(self) -> None:
        """A planned move from a server that does not answer is refused, and says what to do instead."""
        self.patch(vos.session, "DEAD_SECONDS", 0.5)
        await self.cell.fileservers[0].stop()
        self.assertIn(
            f"vos mountpartition {SECOND} {self.uuid} -force", await self.refused("movepartition", "b", SECOND)
        )


class TakingOver(VosCase):
    """Answering at the address of a server that is down."""

    async def setUp(self) -> None:  # type: ignore[override]
        hook = Path(self.mktemp()).absolute()
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 0\n")  # every loopback address is there already
        hook.chmod(0o755)
        self.settings = {"address_hook": str(hook)}
        await super().setUp()
        await self.succeeds("definepartition", SECOND, "b", "-path", str(self.shared))

    async def test_taken_and_given_back(self) -> None:
        """The new owner answers at the dead one's address until it is told not to; twice is no error."""
        await self.cell.fileservers[0].stop()
        await self.succeeds("mountpartition", SECOND, "b", "-force", "-takeover")
        fs = self.cell.tool.fs((FIRST, self.cell.fileservers[0].port))
        await fs.GetTime()
        done = await self.succeeds("endtakeover", SECOND, FIRST)
        self.assertEqual(done.out, f"{SECOND} answers at {FIRST} no more\n")
        done = await self.succeeds("endtakeover", SECOND, FIRST)
        self.assertEqual(done.out, f"{SECOND} does not answer at {FIRST}\n")
