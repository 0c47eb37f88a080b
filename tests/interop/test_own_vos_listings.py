"""Our vos and stock's list the same cell: line for line the same, and with the same exit status."""

from __future__ import annotations

import json
import re

from tests.interop.case import InteropTest
from tests.interop.namespaces import Result
from tests.interop.test_own_vos import VOS
from tests.interop.vldb_cells import VldbCell, our_vlserver, stock_vlserver
from tests.interop.vos_programs import OwnVos

MADE = """
create fs1 a v.one
create fs1 b v.two -maxquota 77
create fs2 c v.three
backup v.one
addsite fs1 a v.one
addsite fs2 b v.one
addsite fs2 b v.two
release v.one
create fs2 a v.off
offline fs2 a v.off
lock v.three
"""

LISTED = """
listpart fs1
listpart fs2
listpart nohost
partinfo fs1
partinfo fs2 -summary
partinfo fs1 b
partinfo fs1 z
partinfo fs1 zzz
listaddrs
listaddrs -printuuid
listaddrs -noresolve -printuuid
listaddrs -host fs2
listaddrs -host nohost
listaddrs -host ca
listaddrs -uuid {fs1} -printuuid
listaddrs -uuid nonsense
listaddrs -uuid {fs1} -host fs1
status fs1
status nohost
listvldb
listvldb -noresolve
listvldb -nosort
listvldb -quiet
listvldb -name v.one
listvldb -name v.one.readonly
listvldb -name v.one.backup
listvldb -name 536870912
listvldb -name 1
listvldb -name nosuch
listvldb -name v/bad
listvldb -name v.one -locked
listvldb -server fs1
listvldb -server fs2 -partition a
listvldb -partition b
listvldb -partition zzz
listvldb -server nohost
listvldb -server ca
listvldb -locked
listvldb -locked -server fs2
listvldb -locked -server fs1 -partition b -quiet
listvol fs1
listvol fs1 a
listvol fs2
listvol fs2 -long
listvol fs2 -long -quiet
listvol fs1 -fast
listvol fs1 -fast -quiet
listvol fs1 -extended
listvol fs1 a -format
listvol fs1 a -format -extended
listvol fs1 -fast -extended
listvol fs1 z
listvol fs1 zzz
listvol nohost
examine v.one
examine v.one -noresolve
examine v.one -verbose
examine v.one.readonly
examine v.one.backup
examine v.two
examine v.two.readonly
examine v.two.backup
examine v.three
examine v.off
examine 536870912
examine 1
examine nosuch
examine v.one -extended
examine v.two.backup -extended
examine v.one -format
examine v.one.readonly -format
examine v.one -format -extended
e v.one
volinfo v.two
"""

SPACE = re.compile(r"\d+ (?=K blocks|KB free|MB free)")


class SameCell(InteropTest):
    """Two stock fileservers with volumes; only the two programs differ."""

    def compare(self, cell: VldbCell) -> None:
        """Run every listing with both."""
        for line in MADE.split("\n"):
            if line:
                cell.vos(*line.split()).check()
        own = OwnVos.on(cell.node)
        different = []
        for line in LISTED.strip().splitlines():
            words = line.format(**cell.uuids).split()
            theirs, ours = cell.vos(*words), own(*words, "-localauth")
            if said(ours) != said(theirs):
                different.append(f"{line}\n--- stock {said(theirs)}\n--- ours {said(ours)}")
        self.assertEqual(different, [], "\n".join(different))

    async def test_stock_vlserver(self) -> None:
        """In a cell of stock servers."""
        self.compare(VldbCell(self.new_network(), stock_vlserver))

    async def test_our_vlserver(self) -> None:
        """With our vlserver; and what is listed as JSON is JSON."""
        cell = VldbCell(self.new_network(), our_vlserver)
        self.compare(cell)
        for words in (
            ("listvldb",),
            ("listvol", "fs1"),
            ("examine", "v.one"),
            ("listpart", "fs1"),
            ("partinfo", "fs1"),
        ):
            listed = cell.node.run_now(*VOS, *words, "--json", "-localauth").check()
            self.assertTrue(json.loads(listed.out), words)


def said(result: Result) -> tuple[int, str, str]:
    """What can be compared: not how much room there is on a disk that others write to."""
    return result.status, SPACE.sub("# ", result.out), result.err
