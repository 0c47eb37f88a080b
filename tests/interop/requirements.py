"""What an interop test needs of the machine, and the reason it is skipped when that is missing."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

STOCK_PROGRAMS = (
    "/usr/bin/vos",
    "/usr/bin/udebug",
    "/usr/sbin/afsd.fuse",
    "/usr/lib/openafs/vlserver",
    "/usr/lib/openafs/ptserver",
    "/usr/lib/openafs/dafileserver",
    "/usr/lib/openafs/davolserver",
    "/usr/lib/openafs/salvageserver",
    "/usr/lib/openafs/dasalvager",
)


@functools.cache
def missing() -> str:
    """Why the interop tests cannot run here; empty when they can."""
    if os.geteuid() != 0:
        return "not root"
    if not (shutil.which("ip") and shutil.which("nsenter") and shutil.which("unshare")):
        return "no iproute2 or util-linux"
    for program in STOCK_PROGRAMS:
        if not Path(program).exists():
            return f"no {program} (Debian: openafs-client openafs-fuse openafs-fileserver openafs-dbserver)"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no /dev/fuse"
    spaces = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "ip", "link", "add", "type", "veth"]
    tried = subprocess.run(spaces, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        return f"no namespaces ({tried.stderr.strip()})"
    return ""
