"""Stock `vos` against our servers prints what it prints against stock ones, command by command."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.interop.case import InteropTest
from tests.interop.namespaces import Result
from tests.interop.ours import OurServers
from tests.interop.stock import StockCell

COMMANDS = """
listaddrs
listaddrs -noresolve
listpart fs1
partinfo fs1
partinfo fs1 a
partinfo fs1 z
partinfo fs1 -summary
listvldb
listvol fs1
create fs1 a gold.v1
create fs1 a gold.v1
create fs1 a gold.v2 -maxquota 12345
create fs1 z gold.v3
create fs1 a gold.bad/name
create fs1 a 12345
create fs1 a gold.name.longer.than.22.chars
create nohost a gold.v3
create fs1 a gold.v4 -verbose
examine gold.v1
examine gold.v1 -extended
examine gold.v1 -format
examine gold.v2
examine nosuch.vol
examine 99999999
listvldb
listvldb -name gold.v1
listvldb -server fs1
listvldb -server fs1 -partition a
listvldb -name nosuch
listvldb -locked
listvldb -quiet
listvol fs1
listvol fs1 a
listvol fs1 a -long
listvol fs1 a -fast
listvol fs1 a -extended
listvol fs1 a -format
listvol fs1 z
status fs1
lock gold.v1
listvldb -name gold.v1
listvldb -locked
lock gold.v1
unlock gold.v1
unlock gold.v1
unlockvldb
rename gold.v2 gold.new
examine gold.new
rename gold.new gold.v1
rename nosuch gold.v5
rename gold.new gold.v2
setfields gold.v2 -maxquota 777
examine gold.v2
backup gold.v1
examine gold.v1
examine gold.v1.backup
backup gold.v1 -verbose
backupsys gold
listvldb
listvol fs1
offline fs1 a gold.v2
listvol fs1
online fs1 a gold.v2
listvol fs1
remove -id gold.v1.backup
examine gold.v1
remove fs1 a gold.v2
remove -id gold.v2
remove -id gold.v4
listvldb
delentry gold.v1
listvldb
listvol fs1
remove fs1 a gold.v1.backup
syncserv fs1
syncvldb fs1
listvldb
""".strip().splitlines()

DATE = re.compile(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}")
SECONDS_AND_DATE = re.compile(r"(\w+Date\t)\d+ *\t(Never|DATE)")
SPACE = re.compile(r"\d+ K blocks out of total \d+|\d+ KB free out of \d+ KB")


def comparable(result: Result) -> str:
    """A command's exit status and output without the times of the run and the room on the disk."""
    text = DATE.sub("DATE", f"[exit {result.status}]\n{result.out}{result.err}")
    return SPACE.sub("SPACE", SECONDS_AND_DATE.sub(r"\1DATE", text))


class VosTests(InteropTest):
    """One sequence, two cells."""

    async def test_same_as_stock(self) -> None:
        """Output and exit status of every command are equal, volume ids included."""
        ours = self._transcript(OurServers(self.new_network()).vos)
        stock = self._transcript(StockCell(self.new_network(), volumes=()).vos)
        different = [
            f"$ vos {command}\n--- stock\n{theirs}\n--- ours\n{own}"
            for command, own, theirs in zip(COMMANDS, ours, stock, strict=True)
            if own != theirs
        ]
        self.assertEqual(different, [], "\n\n".join(different))

    def _transcript(self, vos: Callable[..., Result]) -> list[str]:
        return [comparable(vos(*command.split())) for command in COMMANDS]
