"""Volumes moved, copied, released, dumped and restored by stock's vos and by ours, on stock's servers and on ours: what
is said and what comes of it are the same.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.threads import deferToThread

from tests.interop.case import InteropTest
from tests.interop.data_cells import LARGE, OurDataCell, some_dump
from tests.interop.namespaces import CHECKOUT, Result
from tests.interop.test_dump import vnodes
from tests.interop.test_own_vos import VOS
from tests.interop.vldb_cells import VldbCell, stock_vlserver
from tests.interop.vos_programs import OwnVos, Program, said, stock_vos
from tests.support.budget import budget

GIVEN = "/var/log/openafs/given.dump"
"""As the nodes see it."""

CALLS = 45
"""Of a move; those before the fifth only look."""

SCRIPT = """
restore fs1 a P.v -file {given}
restore fs1 a P.v -file {given}
restore fs1 a P.v -file {given} -overwrite a
restore fs1 a P.v -file {given} -overwrite x
restore fs1 a P.v -file {given} -overwrite full -verbose
restore fs1 a P.v -file {given} -overwrite i -verbose -creation new -lastupdate keep
restore fs1 a P.v -file {given} -creation x
restore fs1 a P.v -file {given} -lastupdate x
restore fs2 b P.v -file {given} -overwrite inc
restore fs1 a P.other -file {given} -overwrite i
restore fs2 b P.other -file {given} -overwrite f -verbose
restore fs1 b P.other -file {given} -overwrite f -nodelete -verbose
restore fs1 z P.w -file {given}
restore fs1 zzz P.w -file {given}
restore nohost a P.w -file {given}
restore fs1 a P.w.readonly -file {given}
restore fs1 a P.name.longer.than.22.chars -file {given}
restore fs1 a P.w -file /nonexistent
restore fs1 a P.w -file /etc/hosts
restore fs1 a P.w -id nosuch -file {given}
restore fs1 b P.ro -file {given} -readonly -verbose
restore fs1 b P.off -file {given} -offline
restore fs1 a P.v -readonly -file {given}
listvldb -name P.v
listvldb -name P.ro
examine P.v
size P.v
size P.v -dump
size P.v -dump -verbose
size P.v -dump -time 01/02/2099
size P.v -time 13/2/26
size P.v -server fs1
size P.v -server fs1 -partition a -dump
size P.v -server nohost -partition a -dump
size P.v -server fs1 -partition zzz -dump
size nosuch
size 1
dump P.v -file /var/log/openafs/P.dump
dump P.v -file /var/log/openafs/P.dump -verbose
dump P.v -file /var/log/openafs/P.clone.dump -clone -verbose
dump P.v -file /var/log/openafs/P.inc.dump -time 01/02/2026 -verbose
dump P.v -file /var/log/openafs/P.inc.dump -time 2026-01-02 -omitdirs
dump P.v -file /var/log/openafs/P.dump -server fs1
dump P.v -file /var/log/openafs/P.dump -server fs1 -partition b
dump P.v -file /nonexistent/directory/file
dump nosuch -file /var/log/openafs/P.dump
dump P.v -time 1/2 -file /var/log/openafs/P.dump
clone P.v -verbose
clone P.v -toname P.cl -readonly
clone P.v -toname P.rw -readwrite -offline
clone P.v -readwrite -readonly
clone P.v -toname 123
clone P.v -toname P.name.longer.than.31.characters
clone P.v -server fs1
clone P.v -toid P.v
clone nosuch
examine P.cl
examine P.v.clone
copy P.v fs1 a P.c1 fs2 a -verbose
copy P.v fs1 a P.c2 fs2 b -live -verbose -offline
copy P.v fs1 a P.c3 fs1 b -readonly
copy P.v fs1 a P.c1 fs2 a
copy P.v fs1 a P.c4.backup fs2 a
copy P.v fs1 b P.c4 fs2 a
copy P.v fs1 z P.c4 fs2 a
copy P.v fs1 a 123 fs2 a
copy nosuch fs1 a P.c4 fs2 a
listvldb -name P.c1
listvldb -name P.c3
examine P.c2
shadow P.v fs1 a fs2 a -verbose
shadow P.v fs1 a fs2 a -incremental -verbose
shadow P.v fs1 a fs2 a -offline -live
shadow P.v fs1 a fs2 b -toname P.sh -toid P.c2 -verbose
shadow P.v fs1 a fs2 b -toname P.nosuch
shadow P.v fs1 a fs2 b -toname 12
examine P.c2
zap fs2 a P.v
backup P.v
move P.v fs1 a fs2 a -verbose
move P.v fs1 a fs2 b
move P.v fs1 a fs2 a
move P.v fs2 a fs2 a
move P.v fs2 a fs2 b -live -verbose
move P.v fs2 b fs1 a
move P.v.backup fs1 a fs2 a
move nosuch fs1 a fs2 a
move P.v nohost a fs2 a
move P.v fs1 b fs2 a
move P.v fs1 z fs2 a
move P.v fs1 a fs2 zzz
listvldb -name P.v
release P.v
addsite fs2 a P.v
release P.v -verbose
release P.v -verbose
release P.v -force -verbose
release P.v -force-reclone -verbose
addsite fs1 a P.v
release P.v -verbose
addsite fs2 a P.c1
addsite fs1 b P.c1
release P.c1 -verbose
release P.c1 -stayonline
release P.c1.readonly
release nosuch
release 1
listvldb -name P.c1
examine P.c1.readonly
move P.c1 fs2 a fs2 b -verbose
remove fs1 a P.v
listvldb -name P.v
convertROtoRW fs2 b P.v
convertROtoRW fs2 a P.v -verbose
convertROtoRW fs2 a P.v
convertROtoRW fs2 b P.c1
convertROtoRW fs1 b P.c1 -verbose -force
convertROtoRW fs1 z P.c1
convertROtoRW nohost b P.c1
convertROtoRW fs1 b nosuch
listvldb -name P.v
listvldb -name P.c1
move P.v fs2 a fs1 b -noauth
dump P.v -file /var/log/openafs/P.dump -noauth
release P.c1 -noauth
move P.v fs2 a fs1 b -encrypt
"""
"""P is one program's own: what is in the cell of its volumes is what the lines before have left."""

LINES = [line for line in SCRIPT.split("\n") if line]

REFUSED = re.compile(r" (nosuch|nohost|z|zzz|123|12|1|x)\b|longer|/nonexistent|/etc/hosts|stayonline|backup|-noauth")
"""What the program refuses without much help of servers: with stock's alone."""

DATED = ("release ", "move ")
"""What compares dates of volumes, which are whole seconds: what is done in one second is not in order."""

_ID = re.compile(r"\b53687\d{4}\b")
_NOTE = re.compile(r"^vos: (left as it is|go on with): .*\n", re.MULTILINE)
_TRANSFERS = re.compile(r"^(Forward|ForwardMulti) of volume .*\n", re.MULTILINE)


class SameWork(InteropTest):
    """Both programs do the same with volumes of their own, in a cell of each kind."""

    async def compare(self, cell: Any, script: list[str]) -> None:
        """Carry it out with both."""
        dump = await some_dump(self)
        for node in cell.nodes.values():
            node.path(GIVEN).write_bytes(dump)
        theirs = await deferToThread(_replay, stock_vos(cell.node), "s", script)
        ours = await deferToThread(_replay, await deferToThread(OwnVos.on, cell.node), "o", script)
        different = [
            f"{line}\n--- stock {wanted}\n--- ours  {seen}"
            for (line, wanted), (_, seen) in zip(theirs, ours, strict=True)
            if seen != wanted
        ]
        self.assertEqual(different, [], f"{len(different)} of {len(theirs)} differ\n" + "\n".join(different))

    async def check_dumps(self, cell: Any) -> None:
        """What ours dumps is what stock dumps, byte by byte; restorevol reads it; it passes through pipes."""
        node = cell.node
        for words in (("vos",), VOS):
            for name, more in (("full", ()), ("since", ("-time", "2026-01-01"))):
                path = f"/var/log/openafs/{len(words)}.{name}"
                (await node.run(*words, "dump", "s.other", "-file", path, *more, "-localauth")).check()
        for name in ("full", "since"):
            theirs, ours = (node.path(f"/var/log/openafs/{count}.{name}").read_bytes() for count in (1, len(VOS)))
            self.assertTrue(theirs == ours, f"{name}: {len(theirs)} and {len(ours)} bytes")
        whole = node.path(f"/var/log/openafs/{len(VOS)}.full").read_bytes()
        (await node.run("restorevol", "-file", f"/var/log/openafs/{len(VOS)}.full", "-dir", "/var/log/openafs")).check()
        self.assertEqual(os.path.getsize(node.path("/var/log/openafs/s.other/large")), LARGE)
        own = " ".join(VOS)
        pipe = f"{own} dump s.other -localauth | {own} restore fs2 a o.piped -localauth"
        (await node.run("sh", "-c", pipe)).check()
        (await node.run("vos", "dump", "o.piped", "-file", "/var/log/openafs/piped", "-localauth")).check()
        self.assertTrue(vnodes(node.path("/var/log/openafs/piped").read_bytes()) == vnodes(whole))

    async def check_signals(self, cell: Any) -> None:
        """Interrupted it leaves nothing; after a kill -9, what docs/transfers.md says and the same again do it."""
        node = cell.node
        spent = budget("interop.vos.signals", full=100, least=2)
        random = Random(spent.seed)

        async def vos(*words: str) -> Result:
            result: Result = await node.run(*VOS, *words, "-localauth")
            return result

        places = [("fs1", "a"), ("fs2", "a")]
        (await vos("restore", *places[0], "o.signals", "-file", GIVEN)).check()
        move = ("move", "o.signals", *places[0], *places[1])
        for which, number in itertools.product(("SIGINT", "SIGKILL"), random.sample(range(5, CALLS), spent.count)):
            where = f"{which} at call {number}"
            command = [sys.executable, "-m", "tests.interop.vos_dying", which, str(number), *move, "-localauth"]
            ended = await node.run("env", f"PYTHONPATH={CHECKOUT}", *command)
            open_ones = [line for name in ("fs1", "fs2") for line in await self.open_at(vos, name)]
            if which == "SIGINT":
                self.assertIn(ended.status, (0, 1, 130), (where, ended))
                self.assertEqual(open_ones, [], (where, ended))
            for name, trans in open_ones:
                (await vos("endtrans", name, trans)).check()
            (await vos("unlock", "o.signals")).check()
            await vos("online", *places[0], "o.signals")
            await vos(*move)
            for place in places:
                listed = (await vos("listvol", *place)).check().out
                self.assertEqual(
                    len(re.findall(r"^o\.signals .* On-line$", listed, re.MULTILINE)), place == places[1], where
                )
            (await vos("move", "o.signals", *places[1], *places[0])).check()

    async def open_at(self, vos: Callable[..., Any], name: str) -> list[tuple[str, str]]:
        """(server, id) of the transactions there."""
        shown = (await vos("status", name)).check().out
        return [(name, found) for found in re.findall(r"^transaction: (\d+)", shown, re.MULTILINE)]

    async def test_stock_servers(self) -> None:
        """With stock servers."""
        cell = await deferToThread(VldbCell, self.new_network(), stock_vlserver)
        await self.compare(cell, LINES)
        await self.check_dumps(cell)
        await self.check_signals(cell)

    async def test_our_servers(self) -> None:
        """With ours."""
        cell = await deferToThread(OurDataCell, self.new_network())
        await self.compare(cell, [line for line in LINES if not REFUSED.search(line)])
        await self.check_dumps(cell)


def _replay(program: Program, prefix: str, script: list[str]) -> list[tuple[str, tuple[int, str, str]]]:
    names: dict[str, str] = {}
    found = []
    for line in script:
        if line.startswith(DATED):
            _next_second()
        words = line.format(given=GIVEN).replace("P.", f"{prefix}.").split()
        result = said(program(*words, *([] if "-noauth" in words else ["-localauth"])))
        found.append((line, _plain(result, prefix, names)))
    return found


def _next_second() -> None:
    """Wait until the clock of volume dates shows another one."""
    time.sleep(1 - time.time() % 1)


def _plain(result: tuple[int, str, str], prefix: str, names: dict[str, str]) -> tuple[int, str, str]:
    """Without what is one program's own: names, and ids, which are numbered as they turn up."""
    status, out, err = result

    def name(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"ID{len(names)}")

    texts = [_ID.sub(name, _NOTE.sub("", text)) for text in (out, err)]
    return status, *(re.sub(rf"\b{prefix}\.", "P.", text) for text in texts)  # type: ignore[return-value]
