"""What administrators did before there were partition objects goes on working beside them, with stock's vos: a LUN
handed to another server, a server emptied by vos move, and a volume brought back from its shadow or a read-only copy.
"""

from __future__ import annotations

import shutil
import signal
import sys

from twisted.internet.threads import deferToThread

from tests.interop import data_cells
from tests.interop.case import InteropTest
from tests.interop.data_cells import OurDataCell, some_dump
from tests.interop.namespaces import CHECKOUT, Daemon, wait_for
from tests.interop.ours import START_SECONDS, start_plugin
from tests.interop.test_dump import vnodes

GIVEN, FOUND = "/var/log/openafs/given.dump", "/var/log/openafs/found.dump"
"""As the node sees them."""


class LunCell(OurDataCell):
    """Whose servers have the first two partitions, and a place for a third."""

    def start(self, name: str) -> Daemon:
        node = self.nodes[name]
        places = ["--partition", "/vicepa", "--partition", "/vicepb"]
        options = ["--address", node.address, "--state", str(node.home / "state"), "--protection", "none", *places]
        return start_plugin(node, "afs-fileserver", *options)


class Evacuation(InteropTest):
    """Two of our servers with two partitions each, and one cell for all of it."""

    async def test_all(self) -> None:
        """Whatever the way, the VLDB says where the volumes are, and they are whole."""
        given = await some_dump(self)
        await deferToThread(self._all, given)

    def _all(self, given: bytes) -> None:
        self.patch(data_cells, "PARTITIONS", ("a", "b", "c"))
        self.cell = LunCell(self.new_network())
        self.content = vnodes(given)
        self.cell.node.path(GIVEN).write_bytes(given)
        self._lun()
        self._evacuated()
        self._shadow()
        self._read_only()

    def _lun(self) -> None:
        """fs1's /vicepb, without a label as on a stock server, is taken from it and given to fs2 as /vicepc."""
        cell = self.cell
        for name in ("lun.one", "lun.two"):
            self._restore(name, "fs1", "b")
        cell.fileservers["fs1"].stop(signal.SIGTERM)
        for each in (cell.nodes["fs1"].home / "vicepb").iterdir():
            if each.name.startswith((".", "Lock")) or each.name == "AlwaysAttach":
                continue
            shutil.move(each, cell.nodes["fs2"].home / "vicepc")
        self._own_vos("definepartition", "fs2", "c", "-path", "/vicepc", "-create")
        self._own_vos("mountpartition", "fs2", "c")
        cell.fileservers["fs1"] = cell.start("fs1")
        wait_for("fs1 to answer", lambda: "vicepa" in cell.vos("listpart", "fs1").out, START_SECONDS)
        self._sync()
        for name in ("lun.one", "lun.two"):
            self._whole(name, "fs2", "c")

    def _own_vos(self, *words: str) -> None:
        program = ("env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-m", "vos")
        self.cell.node.run_now(*program, *words, "-localauth").check()

    def _sync(self) -> None:
        for server in ("fs1", "fs2"):
            self.cell.vos("syncvldb", server).check()
        for server in ("fs1", "fs2"):
            self.cell.vos("syncserv", server).check()

    def _evacuated(self) -> None:
        """Every volume of fs2 moves to fs1."""
        for name, letter in (("lun.one", "a"), ("lun.two", "b")):
            self.cell.vos("move", name, "fs2", "c", "fs1", letter).check()
            self._whole(name, "fs1", letter)
        self.assertIn("Total number of volumes on server fs2 partition /vicepc: 0", self.cell.vos("listvol", "fs2").out)
        self.assertEqual(self.cell.vos("listvldb", "-server", "fs2", "-quiet").check().out.strip(), "")

    def _shadow(self) -> None:
        """The volume is lost; its shadow on the other server takes its place."""
        cell = self.cell
        cell.vos("shadow", "lun.one", "fs1", "a", "fs2", "a").check()
        self._lose("lun.one", "fs1", "a")
        cell.vos("syncvldb", "fs2", "a").check()
        cell.vos("syncserv", "fs1").check()
        cell.vos("online", "fs2", "a", "lun.one")
        self._whole("lun.one", "fs2", "a")

    def _read_only(self) -> None:
        """The volume is lost; a read-only copy becomes it."""
        cell = self.cell
        cell.vos("addsite", "fs2", "b", "lun.two").check()
        cell.vos("release", "lun.two").check()
        self._lose("lun.two", "fs1", "b")
        cell.vos("convertROtoRW", "fs2", "b", "lun.two", "-force").check()
        cell.vos("syncserv", "fs1").check()
        self._whole("lun.two", "fs2", "b")

    def _lose(self, name: str, server: str, letter: str) -> None:
        """As a disk that died would."""
        self.cell.vos("zap", server, letter, self._id(name), "-force").check()

    def _id(self, name: str) -> str:
        lines = self.cell.vos("listvldb", "-name", name).check().out.splitlines()
        return next(line.split()[1] for line in lines if "RWrite:" in line)

    def _restore(self, name: str, server: str, letter: str) -> None:
        self.cell.vos("restore", server, letter, name, "-file", GIVEN).check()

    def _whole(self, name: str, server: str, letter: str) -> None:
        listed = self.cell.vos("listvldb", "-name", name).check().out
        self.assertIn(f"server {server}.txafs.test partition /vicep{letter} RW Site", listed)
        self.cell.vos("dump", name, "-file", FOUND).check()
        self.assertTrue(vnodes(self.cell.node.path(FOUND).read_bytes()) == self.content, f"{name} is whole")
