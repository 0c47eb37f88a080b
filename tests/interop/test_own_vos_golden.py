"""Our vos and stock's, each with a cell of its own that is like the other's, do the same and say the same: the life of
volumes, command by command, also where it goes wrong. The VLDB numbers volumes, so even the ids are the same.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from tests.interop.case import InteropTest
from tests.interop.namespaces import CHECKOUT, Daemon, Node, wait_for
from tests.interop.ours import START_SECONDS, start_plugin
from tests.interop.stock import address_of
from tests.interop.test_own_vos import VOS, own_vos
from tests.interop.vldb_cells import PARTITIONS, VldbCell, our_vlserver, stock_vlserver
from tests.interop.vos_programs import OwnVos, Program, said, stock_vos

MADE = """
create fs1 a gold.v1
create fs1 a gold.v1
create fs1 b gold.v2 -maxquota 12345
create fs1 b gold.q -maxquota 1G
create fs1 b gold.q2 -maxquota 7X
create fs1 b gold.q2 -maxquota 0x10
create fs1 z gold.v3
create fs1 zzz gold.v3
create fs1 a gold.bad/name
create fs1 a gold.bad/name -verbose
create fs1 a 12345
create fs1 a gold.name.longer.than.22.chars
create fs1 a gold.v3.readonly
create fs1 a gold.v3.backup
create nohost a gold.v3
create fs1 a gold.noauth -noauth
create fs1 a gold.v4 -verbose
create fs1 a gold.ids -id 536900000 -verbose
create fs1 a gold.ids2 -id 536900000
create fs1 a gold.ids3 -id 536900010 -roid 536900020 -verbose
create fs1 a gold.ids4 -roid 0 -verbose
create fs1 a gold.ids5 -id 12x
create fs1 a gold.ids5 -id 0999
create fs1 a gold.ids5 -roid 12x
create fs1 a gold.enc -encrypt
create -name gold.named -part b -server fs2 -max 10
create fs1 a gold.rel
create fs1 b gold.c
create fs1 a
create fs1 a gold.x -nosuch
listvldb
listvol fs1 -long
"""
"""A scenario: what is in the cell is what the lines before have left. What is released is made long before: a release
looks at whether the volume is more than two seconds older than its read-only one.
"""

CHANGED = """
lock gold.v1
lock gold.v1
lock nosuch
lock nosuch.readonly
listvldb -name gold.v1
unlock gold.v1 -verbose
unlock gold.v1
unlock 1
lock gold.v1
lock gold.v2
unlockvldb fs2
unlockvldb fs1 b
unlockvldb nohost
unlockvldb fs1 zz9
listvldb -locked
unlockvldb
listvldb -locked
rename gold.v2 gold.v2new -verbose
examine gold.v2new
rename gold.v2new gold.v2
rename gold.v2 gold.v1
rename gold.v2 gold.v2
rename nosuch gold.v9
rename gold.v2.readonly gold.v9
rename gold.v2 gold.v9.backup
rename gold.v2 12345
rename gold.v2 gold.name.longer.than.22.chars
setfields gold.v1 -maxquota 777
setfields gold.v1 -maxquota 7x7
setfields gold.v1 -clearuse
setfields gold.v1 -clearVolUpCounter
setfields gold.v1
setfields nosuch -clearuse
setfields 1 -clearuse
examine gold.v1
examine gold.v1 -format
offline fs1 a gold.v1
examine gold.v1
online fs1 a gold.v1
offline fs1 a gold.v1 -sleep 1
offline fs1 a gold.v1 -busy
offline fs1 a gold.v1 -sleep 1 -busy
offline fs1 b gold.v1
offline fs1 a nosuch
offline fs1 zz9 gold.v1
online nohost a gold.v1
online fs1 a gold.v1.backup
examine gold.v1
size gold.v1
size gold.v1 -dump
size gold.v1 -dump -verbose
size gold.v1 -dump -time 0
size gold.v1 -dump -time 11/22/2026
size gold.v1 -dump -time yesterday
size gold.v1 -dump -server fs1 -partition a
size gold.v1 -dump -server fs1
size gold.v1 -dump -server nohost -partition a
size gold.v1 -dump -server fs1 -partition zz9
size gold.v1 -dump -server fs1 -partition b
size nosuch
size gold.v1.backup -dump
endtrans fs1 12345
endtrans fs1 x
endtrans nohost 1
status fs1
"""

CLONED = """
backup gold.v1
backup gold.v1 -verbose
backup gold.v1.backup
backup nosuch
backup 1
examine gold.v1.backup
backupsys gold
backupsys gold -dryrun
backupsys gold.v -verbose
backupsys ^gold.v[12]$ -server fs1
backupsys ^gold.v[ -server fs1
backupsys -xprefix ^gold.i gold.q
backupsys gold -xprefix gold.v gold.i -dryrun -server fs1
backupsys gold -exclude -xprefix gold.v -dryrun -verbose
backupsys -xprefix gold ^x -dryrun -verbose
backupsys gold -server fs2
backupsys gold -partition b -dryrun
backupsys gold -server nohost
backupsys gold -partition zz9
listvldb -name gold.v2
addsite fs1 a gold.v1
addsite fs2 a gold.v1 -verbose
addsite fs2 a gold.v1
addsite fs2 b gold.v1
addsite fs2 z gold.v1
addsite fs2 zz9 gold.v1
addsite nohost a gold.v1
addsite fs2 a nosuch
addsite fs2 a gold.v2.readonly -roid 536900500 -verbose
addsite fs1 a gold.v2 -roid 536900600
addsite fs1 a gold.v4 -roid gold.v1
addsite fs1 a gold.v4 -roid nosuch
addsite fs2 a gold.v4 -valid
listvldb -name gold.v1
listvldb -name gold.v2
listvldb -name gold.v4
remsite fs2 a gold.v4
remsite fs2 a gold.v4
remsite fs2 z gold.v1
remsite nohost a gold.v1
remsite fs2 a gold.v1
remsite fs2 a gold.v2.readonly -verbose
remsite fs2 a nosuch
listvldb -name gold.v1
changeloc fs2 a gold.v2
listvldb -name gold.v2
changeloc fs1 b gold.v2 -verbose
changeloc fs1 z gold.v2
changeloc nohost b gold.v2
changeloc fs1 b nosuch
listvldb -name gold.v2
rename gold.v1 gold.one -verbose
rename gold.one gold.v1
examine gold.v1.backup
"""

SENT = """
dump gold.v1 -file /var/log/openafs/one.dump
dump gold.v1.backup -file /var/log/openafs/two.dump
dump gold.v1 -file /var/log/openafs/three.dump -time 11/22/2026
dump gold.v1 -file /var/log/openafs/four.dump -clone -verbose
dump gold.v1 -file /nowhere/five.dump
dump nosuch
restore fs2 a gold.r1 -file /var/log/openafs/one.dump
restore fs2 a gold.r1 -file /var/log/openafs/one.dump -overwrite abort
restore fs2 a gold.r1 -file /var/log/openafs/one.dump -overwrite full -verbose
restore fs2 a gold.r1 -file /var/log/openafs/one.dump -overwrite incremental
restore fs2 a gold.r1 -file /nowhere/one.dump -overwrite full
examine gold.r1
restore fs2 a gold.ro -file /var/log/openafs/one.dump -readonly
examine gold.ro
restore fs2 a gold.off -file /var/log/openafs/one.dump -offline
examine gold.off
online fs2 a gold.off
offline fs2 a gold.off
examine gold.off
addsite fs1 a gold.rel
addsite fs2 a gold.rel
release gold.rel -verbose
examine gold.rel
examine gold.rel.readonly
release gold.rel -verbose
release gold.rel -force -verbose
release gold.q
release nosuch
remsite fs2 a gold.rel
remove fs2 a gold.rel.readonly
remove -id gold.rel.readonly -verbose
listvldb -name gold.rel
addsite fs2 b gold.c
release gold.c
convertROtoRW fs2 b gold.c -force
examine gold.c
move gold.c fs1 b fs2 a -verbose
move gold.rel fs1 a fs2 b -verbose
examine gold.rel
move gold.rel fs2 b fs1 b -live
move gold.rel fs2 b fs1 a
move gold.rel fs1 b fs1 b
copy gold.rel fs1 b gold.copy fs2 a -verbose
examine gold.copy
shadow gold.rel fs1 b fs2 a -toname gold.shadow -verbose
clone gold.rel -toname gold.clone
examine gold.clone
remove -id gold.copy
remove -id gold.rel
remove -id gold.c
remove -id gold.r1
remove -id gold.off
remove fs2 a gold.ro.readonly
"""

LOST = """
delentry gold.v2
delentry gold.v2
delentry gold.q gold.q2 nosuch -dryrun
delentry gold.q gold.v4.backup 12345
delentry
delentry gold.q -server fs1
delentry -prefix gold
delentry -partition a
delentry -server fs1 -prefix gold.ids -dryrun
delentry -server fs1 -partition zz9
delentry -server nohost
delentry -server fs1 -partition a -prefix gold.ids -verbose
listvol fs1 b
examine gold.v2
syncvldb fs1 b -verbose -dryrun
syncvldb fs1 b -verbose
syncvldb fs1 a
syncvldb fs2
examine gold.v2
syncvldb
syncvldb nohost
syncvldb fs1 z
syncvldb fs1 zz9
syncvldb -volume gold.v1 -verbose
syncvldb -volume gold.v1 -server fs1
syncvldb -volume nosuch -verbose
syncvldb -volume 536900000 -server fs1 -partition a
syncvldb -volume gold.v1 -server fs1 -dryrun
zap fs1 b 99999999
zap fs1 b nosuch
zap fs1 z gold.v2
zap nohost a gold.v2
zap fs1 zz9 gold.v2
zap fs1 a gold.v1.backup -verbose
zap fs1 b gold.v2 -backup
zap fs2 b gold.named -verbose
syncserv fs1
syncserv fs1 b -verbose
syncserv fs1 a -dryrun
syncserv fs2 -verbose
syncserv fs1 z
syncserv nohost
syncvldb fs1
create fs1 a gold.force
zap fs1 a gold.force -force
zap fs1 a nosuch -force
zap nohost a gold.force -force
zap fs1 zz9 gold.force -force
listvldb
"""

GONE = """
backup gold.v1
remove fs1 a gold.v1.backup -verbose
backup gold.v1
remove fs1 b gold.v1
remove fs1 z gold.v1
remove fs1 zz9 gold.v1
remove nohost a gold.v1
remove -server fs2 -id gold.v1
remove -id gold.v1 -verbose
remove -id gold.v1
remove fs1 a 99999999
remove -id 99999999
remove -id nosuch
remove -id gold.v4 -noauth
lock gold.v4
remove -id gold.v4
unlock gold.v4
remove -id gold.v4
remove -id gold.force
delentry gold.ids
remove fs1 a 536900000
listvldb
listvol fs1
listvol fs2
listaddrs
changeaddr 10.91.0.99 -remove
changeaddr 10.91.0.11 10.91.0.99
changeaddr 10.91.0.11
changeaddr 10.91.0.11 10.91.0.12 -remove
changeaddr nohost 10.91.0.12
changeaddr fs1 nohost
changeaddr 10.91.0.98 10.91.0.99
setaddrs {fs1} -host fs1 10.91.0.61 -verbose
listaddrs -printuuid
setaddrs {fs1} -host fs2
setaddrs {fs1} -host nohost
setaddrs nonsense -host fs1
setaddrs {fs1} fs1 -verbose -noresolve
setaddrs {fs1} 10.91.0.11 -verbose -noresolve
setaddrs 11111111-2222-3333-44-55-666666666666 10.91.0.71
changeaddr 10.91.0.71 10.91.0.72 -force
listaddrs
remaddrs 11111111-2222-3333-44-55-666666666666 -verbose
remaddrs 11111111-2222-3333-44-55-666666666666
remaddrs nonsense
listaddrs -noresolve
"""

SCRIPT = MADE + CHANGED + CLONED + SENT + LOST + GONE


class OurCell(VldbCell):
    """The same with our fileservers."""

    def start(self, name: str) -> None:
        """Start the fileserver there, and wait until it has registered and its volume server answers."""
        node = self.nodes[name]
        partitions = [word for letter in PARTITIONS[name] for word in ("--partition", f"/vicep{letter}")]
        options = ["--address", node.address, "--state", str(node.home / "state"), "--protection", "none"]
        self.fileservers[name] = {"afs-fileserver": start_plugin(node, "afs-fileserver", *options, *partitions)}
        wait_for(
            f"our fileserver on {name} to register",
            lambda: node.address in self.vos("listaddrs", "-noresolve").out,
            START_SECONDS,
        )
        wait_for(f"{name} to answer", lambda: self.vos("partinfo", node.address).status == 0, START_SECONDS)


class Golden(InteropTest):
    """Two cells of each kind of servers."""

    async def compare(self, cell: type[VldbCell], start_vlserver: Callable[[Node], Daemon]) -> VldbCell:
        """Run the script with both programs. The cell that ours has worked on."""
        stock, own = [await deferToThread(cell, self.new_network(), start_vlserver) for _ in range(2)]
        programs = ((stock, stock_vos(stock.node)), (own, await deferToThread(OwnVos.on, own.node)))
        theirs, ours = await gatherResults([deferToThread(_replay, *each) for each in programs])
        different = [
            f"{line}\n--- stock {wanted}\n--- ours  {seen}"
            for (line, wanted), (_, seen) in zip(theirs, ours, strict=True)
            if seen != wanted
        ]
        self.assertEqual(different, [], f"{len(different)} of {len(theirs)} differ\n" + "\n".join(different))
        return own

    async def test_stock_servers(self) -> None:
        """With stock servers. Which have no place for a second read-only volume, but their VLDB has for its site."""
        cell = await self.compare(VldbCell, stock_vlserver)
        await deferToThread(self.second_site, cell)

    async def test_our_servers(self) -> None:
        """With ours, where a volume may have two read-only sites on a server, if that is wanted. And an interrupt ends
        the program, but not before it has ended its transaction.
        """
        cell = await self.compare(OurCell, our_vlserver)
        await deferToThread(self.interrupt, cell)
        await deferToThread(self.second_site, cell)
        cell.vos("release", "gold.two").check()
        for letter in ("a", "b"):
            self.assertIn("gold.two.readonly", cell.vos("listvol", "fs2", letter).out)

    def second_site(self, cell: VldbCell) -> None:
        """-force adds it, and shows it."""
        for words in (("create", "fs1", "b", "gold.two"), ("addsite", "fs2", "a", "gold.two")):
            cell.vos(*words).check()
        words = ("addsite", "fs2", "b", "gold.two")
        self.assertEqual(said(own_vos(cell.node, *words)), said(cell.vos(*words)))
        own_vos(cell.node, *words, "-force").check()
        listed = own_vos(cell.node, "listvldb", "-name", "gold.two", "-noresolve").check().out
        self.assertEqual(listed.count(f"server {address_of('fs2')} partition /vicep"), 2, listed)

    def interrupt(self, cell: VldbCell) -> None:
        """SIGINT while a volume is offline for a minute."""
        cell.vos("create", "fs1", "a", "gold.last").check()
        words = ("offline", "fs1", "a", "gold.last", "-sleep", "60", "-localauth")
        program = cell.node.start("offline", [*VOS, *words], {"PYTHONPATH": str(CHECKOUT)})
        wait_for("the transaction", lambda: "Total transactions: 1" in cell.vos("status", "fs1").out, START_SECONDS)
        self.assertEqual(program.stop(signal.SIGINT), 130, program.tail())
        self.assertIn("vos: interrupted: ", program.tail())
        self.assertIn("No active transactions", cell.vos("status", "fs1").out)


def _replay(cell: VldbCell, program: Program) -> list[tuple[str, tuple[int, str, str]]]:
    lines = [line for line in SCRIPT.split("\n") if line]
    return [(line, said(program(*_words(cell, line)))) for line in lines]


def _words(cell: VldbCell, line: str) -> list[str]:
    words = [word.format(**cell.uuids) if "{" in word else word for word in line.split()]
    return words if "-noauth" in words else [*words, "-localauth"]
