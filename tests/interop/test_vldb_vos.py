"""Every VLDB subcommand of stock vos says the same in a cell with our vlserver as in one with stock's.

Both cells have two stock fileservers; nothing else is ours.
"""

from __future__ import annotations

from twisted.internet.threads import deferToThread

from tests.interop.case import InteropTest
from tests.interop.test_vos import comparable
from tests.interop.vldb_cells import UUID, VldbCell, our_vlserver, stock_vlserver

ENTRIES = """
create fs1 a v.one
create fs1 b v.two
create fs2 a v.three
create fs2 b v.four
create fs1 a other
backup v.one
addsite fs1 a v.one
addsite fs2 a v.one
addsite fs2 a v.one
addsite fs2 b v.one
addsite fs2 b v.two -valid
addsite fs2 b v.three -roid 536880000
addsite nohost a v.one
addsite fs2 z v.one
addsite fs1 a nosuch
examine v.one
release v.one
examine v.one
examine v.one.readonly
examine v.one -format
remsite fs2 b v.one
remsite fs2 b v.one
remsite fs1 z v.one
remsite fs1 a nosuch
examine v.one
listvldb
listvldb -noresolve
listvldb -nosort
listvldb -quiet
listvldb -verbose
listvldb -name v.one
listvldb -name v.one.readonly
listvldb -name v.one.backup
listvldb -name 536870912
listvldb -name 1
listvldb -name nosuch
listvldb -name v/bad
listvldb -server fs1
listvldb -server fs2
listvldb -server fs2 -partition a
listvldb -partition b
listvldb -server fs1 -partition z
listvldb -server ca
listvldb -server nohost
listvldb -server fs1 -locked
lock v.one
lock v.two
lock v.two.readonly
lock nosuch
listvldb -locked
listvldb -locked -server fs2
listvldb -locked -server fs1 -partition b
listvldb -locked -quiet
remsite fs2 a v.one
rename v.one v.1
delentry v.one
changeloc fs2 a v.one
unlock v.two
unlock nosuch
lock v.two
lock v.three
unlockvldb -server fs2 -partition a -verbose
listvldb -locked
lock v.three
unlockvldb -partition b
listvldb -locked
unlockvldb -server fs1
listvldb -locked
lock v.four
unlockvldb
unlockvldb -verbose
listvldb -locked
rename v.four v.renamed
rename v.renamed v.four
rename v.four v.one
rename v.four v.four.backup
rename v.four 12345
examine v.four
""".strip().splitlines()

PLACES = """
changeloc fs1 b v.four
listvldb -name v.four
changeloc fs1 b v.four
changeloc fs1 z v.four
changeloc nohost a v.four
changeloc fs1 b nosuch
syncvldb -volume v.four -dryrun
syncvldb -volume v.four
listvldb -name v.four
changeloc fs1 a v.three
syncvldb fs2 -dryrun
syncvldb fs2 -dryrun -verbose
listvldb
syncvldb fs2 a
syncvldb fs2 a -verbose
listvldb
delentry v.two -dryrun
delentry v.two
delentry v.two
examine v.two
syncvldb fs1 -dryrun
syncvldb fs1 b
syncvldb -volume v.one
syncvldb -volume nosuch
syncvldb
examine v.two
listvldb
delentry -prefix v.t -dryrun
delentry -prefix v.t -server fs2 -dryrun
delentry -prefix v.t -server fs1 -partition b
delentry -prefix nosuch
delentry -server fs2 -partition b -dryrun
delentry -server fs2 -partition b
delentry nosuch v.two other
listvldb
syncserv fs1 -dryrun
syncserv fs2 -dryrun -verbose
syncserv fs1
syncserv fs2 b
syncserv fs2
syncserv nohost
syncvldb fs1
syncvldb fs2
syncserv fs1
syncserv fs2
listvldb
remove fs2 a v.one
remove -id v.one.backup
remove -id v.two.readonly
remove -id nosuch
move v.three fs2 a fs1 b
examine v.three
listvol fs1
listvol fs2
""".strip().splitlines()

ADDRESSES = """
listaddrs
listaddrs -noresolve
listaddrs -printuuid
listaddrs -printuuid -noresolve
listaddrs -host fs1
listaddrs -host fs2 -printuuid
listaddrs -host ca
listaddrs -host nohost
listaddrs -uuid {fs1}
listaddrs -uuid {fs2} -printuuid -noresolve
listaddrs -uuid 01020304-0506-0708-09-0a-0b0c0d0e0f10
listaddrs -uuid nonsense
changeaddr 10.91.0.11 10.91.0.99
changeaddr 10.91.0.11 10.91.0.12 -force
changeaddr 10.91.0.99 10.91.0.98
changeaddr 10.91.0.11 -remove
changeaddr 10.91.0.12 -remove
changeaddr 10.91.0.99 -remove
changeaddr 10.91.0.11
changeaddr 10.91.0.11 10.91.0.99 -remove
setaddrs {fs2} fs2 10.91.0.77 10.91.0.78
listaddrs -noresolve -printuuid
listvldb -server 10.91.0.77 -noresolve
listvldb -server fs2 -noresolve
setaddrs {fs2} 10.91.0.77 fs2
listaddrs -noresolve
listvldb -server fs2 -noresolve
setaddrs {fs2} 10.91.0.11
setaddrs {fs2} 10.91.0.11 10.91.0.12
setaddrs {fs2} 127.0.0.1
setaddrs {fs2} nohost
setaddrs nonsense fs2
setaddrs 01020304-0506-0708-09-0a-0b0c0d0e0f10 10.91.0.201 10.91.0.202
listaddrs -noresolve -printuuid
changeaddr 10.91.0.201 10.91.0.203
changeaddr 10.91.0.201 10.91.0.203 -force
listaddrs -noresolve -printuuid
remaddrs 01020304-0506-0708-09-0a-0b0c0d0e0f10
remaddrs 01020304-0506-0708-09-0a-0b0c0d0e0f10
remaddrs {fs2}
listaddrs -noresolve -printuuid
!restart fs2
listaddrs -noresolve -printuuid
!add_address fs2 112
!restart fs2
listaddrs -noresolve -printuuid
listvldb -noresolve
listvldb -server 10.91.0.112
changeaddr 10.91.0.112 -remove
!remove_address fs2 112
!restart fs2
listaddrs -noresolve -printuuid
listvldb -server 10.91.0.112
!stop fs2
!copy_identity fs1 fs2
!start fs2
!registration fs2
listaddrs -noresolve -printuuid
listvldb -noresolve
!restart fs1
!registration fs1
listaddrs -noresolve -printuuid
listvldb -noresolve
""".strip().splitlines()

SEVERAL_SERVERS = """
!list_database_servers fs2 fs1
lock v.one
listvldb -locked
unlock v.one
rename v.one v.eins
!list_database_servers fs1 fs2
lock v.eins
lock v.eins
unlock v.eins
listvldb
rename v.eins v.one
!list_database_servers fs1
""".strip().splitlines()
"""The writer of the database is to be found, where one of its servers does not answer."""


class VldbVosTests(InteropTest):
    """One sequence, two cells."""

    async def test_same_as_stock(self) -> None:
        """Output and exit status of every command are equal but for times and UUIDs, ids included."""
        commands = [*ENTRIES, *PLACES, *ADDRESSES, *SEVERAL_SERVERS]
        ours = await deferToThread(self._transcript, VldbCell(self.new_network(), our_vlserver), commands)
        stock = await deferToThread(self._transcript, VldbCell(self.new_network(), stock_vlserver), commands)
        different = [
            f"$ vos {command}\n--- stock\n{theirs}\n--- ours\n{own}"
            for command, own, theirs in zip(commands, ours, stock, strict=True)
            if own != theirs
        ]
        self.assertEqual(different, [], "\n\n".join(different))

    def _transcript(self, cell: VldbCell, commands: list[str]) -> list[str]:
        seen: dict[str, str] = {}
        said = []
        for command in commands:
            word, *words = command.split()
            if word.startswith("!"):
                done = str(getattr(cell, word[1:])(*words))
            else:
                done = comparable(cell.vos(word, *words))
            said.append(UUID.sub(lambda found: seen.setdefault(found[0], f"UUID{len(seen)}"), done))
        return said
