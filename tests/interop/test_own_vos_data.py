"""Volumes moved, copied, released, dumped and restored by stock's vos and by ours, on stock's servers and on ours: what
is said and what comes of it are the same.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.threads import deferToThread

from tests.interop.case import InteropTest
from tests.interop.data_cells import OurDataCell, some_dump
from tests.interop.vldb_cells import VldbCell, stock_vlserver
from tests.interop.vos_programs import OwnVos, Program, said, stock_vos

GIVEN = "/var/log/openafs/given.dump"
"""As the nodes see it."""

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
dump P.v -file /tmp/P.dump
dump P.v -file /tmp/P.dump -verbose
dump P.v -file /tmp/P.clone.dump -clone -verbose
dump P.v -file /tmp/P.inc.dump -time 01/02/2026 -verbose
dump P.v -file /tmp/P.inc.dump -time 2026-01-02 -omitdirs
dump P.v -file /tmp/P.dump -server fs1
dump P.v -file /tmp/P.dump -server fs1 -partition b
dump P.v -file /nonexistent/directory/file
dump nosuch -file /tmp/P.dump
dump P.v -time 1/2 -file /tmp/P.dump
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
dump P.v -file /tmp/P.dump -noauth
release P.c1 -noauth
move P.v fs2 a fs1 b -encrypt
"""
"""P is one program's own: what is in the cell of its volumes is what the lines before have left."""

_ID = re.compile(r"\b53687\d{4}\b")
_NOTE = re.compile(r"^vos: (left as it is|go on with): .*\n", re.MULTILINE)
_TRANSFERS = re.compile(r"^(Forward|ForwardMulti) of volume .*\n", re.MULTILINE)


class SameWork(InteropTest):
    """Both programs do the same with volumes of their own, in a cell of each kind."""

    async def compare(self, cell: Any) -> None:
        """Carry the script out with both."""
        dump = await some_dump(self)
        for node in cell.nodes.values():
            node.path(GIVEN).write_bytes(dump)
        theirs = await deferToThread(_replay, stock_vos(cell.node), "s")
        ours = await deferToThread(_replay, await deferToThread(OwnVos.on, cell.node), "o")
        different = [
            f"{line}\n--- stock {wanted}\n--- ours  {seen}"
            for (line, wanted), (_, seen) in zip(theirs, ours, strict=True)
            if seen != wanted
        ]
        self.assertEqual(different, [], f"{len(different)} of {len(theirs)} differ\n" + "\n".join(different))

    async def test_stock_servers(self) -> None:
        """With stock servers."""
        await self.compare(await deferToThread(VldbCell, self.new_network(), stock_vlserver))

    async def test_our_servers(self) -> None:
        """With ours."""
        await self.compare(await deferToThread(OurDataCell, self.new_network()))


def _replay(program: Program, prefix: str) -> list[tuple[str, tuple[int, str, str]]]:
    names: dict[str, str] = {}
    found = []
    for line in SCRIPT.split("\n"):
        if not line:
            continue
        words = line.format(given=GIVEN).replace("P.", f"{prefix}.").split()
        result = said(program(*words, *([] if "-noauth" in words else ["-localauth"])))
        found.append((line, _plain(result, prefix, names)))
    return found


def _plain(result: tuple[int, str, str], prefix: str, names: dict[str, str]) -> tuple[int, str, str]:
    """Without what is one program's own: names, and ids, which are numbered as they turn up."""
    status, out, err = result

    def name(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"ID{len(names)}")

    texts = [_ID.sub(name, _NOTE.sub("", text)) for text in (out, err)]
    return status, *(re.sub(rf"\b{prefix}\.", "P.", text) for text in texts)  # type: ignore[return-value]
