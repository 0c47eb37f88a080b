"""What the stock salvager finds wrong with /vicepa of a node, where no server runs."""

from __future__ import annotations

import re

from tests.interop.namespaces import Node

_STAMP = re.compile(r"^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} ")
_SOUND = re.compile(
    r"@\(#\)|STARTING AFS SALVAGER|SALVAGING (FILE SYSTEM|OF) PARTITION|SALVAGING VOLUME"
    r"|\d+ nVolumesInInodeFile|totalInodes"
    r"|.* (it would have been )?updated \d|(It would have )?[Ss]alvaged .*: \d+ files, \d+ blocks"
    r"|\S+ \(\d+\) not updated \(created |VOLUME \d+ NOT FOUND|No vice partitions"
)
"""What it says of every partition, volume by volume."""
OLD_STATUS = re.compile(r"Vnode \d+: version < inode version; fixed \(old status\)$")
"""Said of some files after a stock dafileserver that was shut down cleanly, so no sign of damage there."""


def findings(node: Node) -> list[str]:
    """The lines of a `dasalvager -nowrite` that tell of something it would repair."""
    log = node.path("/var/log/openafs/SalvageLog")
    log.unlink(missing_ok=True)
    node.run_now("/usr/lib/openafs/dasalvager", "-partition", "/vicepa", "-nowrite", seconds=120).check()
    lines = [_STAMP.sub("", line) for line in log.read_text(errors="replace").splitlines()]
    assert any("SALVAGING VOLUME" in line for line in lines), lines
    return [line for line in lines if not _SOUND.match(line)]
