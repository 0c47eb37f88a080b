"""Runs stock OpenAFS programs on a partition, inside mount and network namespaces of their own.

The programs know fixed paths only; so they see a root directory put together of the machine's own, with `/vicepa`,
`/etc/openafs`, `/var/lib/openafs` and `/var/log/openafs` from the test. Nothing of it is left when the program ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from unittest import SkipTest

SCRIPT = """
set -e
work=$1 partition=$2; shift 2
root=$work/root
mount --make-rprivate /
mkdir -p "$root" "$work/etc/server" "$work/lib/local" "$work/log"
mount -t tmpfs tmpfs "$root"
for name in usr etc bin sbin lib lib64 dev proc var run; do
    if [ -L /$name ]; then cp -P /$name "$root/$name"
    elif [ -d /$name ]; then mkdir "$root/$name"; mount --rbind /$name "$root/$name"; fi
done
mkdir "$root/vicepa" "$root/tmp" "$root/work"
mount --bind "$partition" "$root/vicepa"
mount --bind "$work" "$root/work"
mount --bind "$work/etc" "$root/etc/openafs"
mount --bind "$work/lib" "$root/var/lib/openafs"
mount --bind "$work/log" "$root/var/log/openafs"
exec chroot "$root" "$@"
"""

SECONDS = 120
"""A salvage of a test's partition takes one; this is for a machine with other work."""

PROGRAMS = ("/usr/lib/openafs/dasalvager", "/usr/sbin/volinfo", "/usr/sbin/voldump")


def need_stock() -> None:
    """Raises SkipTest unless the programs can be run here."""
    if os.geteuid():
        raise SkipTest("stock programs need root")
    missing = [program for program in PROGRAMS if not os.path.exists(program)]
    if missing:
        raise SkipTest(f"not installed: {', '.join(missing)}")
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "-n", "true"], check=False).returncode:
        raise SkipTest("no namespaces for stock programs to run in")


class Stock:
    """Stock programs on one partition; `work` is a directory for their logs and files, `/work` to them."""

    def __init__(self, work: str, partition: str) -> None:
        self.work = work
        self.partition = partition
        os.makedirs(work, exist_ok=True)

    def run(self, *command: str) -> str:
        """Everything the program printed. Raises CalledProcessError."""
        return subprocess.run(
            ["unshare", "-m", "-n", "sh", "-c", SCRIPT, "sh", self.work, self.partition, *command],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
        ).stdout.decode("utf-8", "replace")

    def salvage(self, *options: str) -> list[str]:
        """The salvager's log without its time stamps."""
        log = os.path.join(self.work, "log", "SalvageLog")
        if os.path.exists(log):
            os.unlink(log)
        self.run("/usr/lib/openafs/dasalvager", "-partition", "/vicepa", *options)
        with open(log, encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n")[25:] for line in file]


ROUTINE = (
    "@(#)OpenAFS",
    "STARTING AFS SALVAGER",
    "SALVAGING FILE SYSTEM PARTITION",
    "Forced salvage of all volumes",
    "nVolumesInInodeFile",
    "CHECKING CLONED VOLUME",
    "SALVAGING VOLUME",
    "updated ",
    "totalInodes",
    "Salvaged ",
    "SALVAGING OF PARTITION",
)
"""What the salvager logs about a partition in which it finds nothing to do."""


def complaints(log: list[str]) -> list[str]:
    """The lines that are not routine."""
    return [line for line in log if not any(word in line for word in ROUTINE)]
