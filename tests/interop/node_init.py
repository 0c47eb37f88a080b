"""Process 1 of a node: builds the node's own root, then reaps children until its standard input ends.

Run as `unshare --net --mount --uts --ipc --pid --fork python node_init.py PLAN`, PLAN being JSON: the new root's
directory, the node's name, and what to bind where. Because every namespace here is anonymous and lives as long as
process 1, and process 1 as long as the pipe to the test, nothing outlives a test run however it ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 4096, 16384, 1 << 18, 2
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}[os.uname().machine]

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Build the root, say `ready` on standard output, wait."""
    plan = json.loads(sys.argv[1])
    socket.sethostname(plan["name"])
    build_root(Path(plan["root"]), {Path(at): Path(what) for at, what in plan["binds"].items()})
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    print("ready", flush=True)
    reap_until_end_of_input()


def build_root(root: Path, binds: dict[Path, Path]) -> None:
    """A tmpfs with every top-level directory of the host bound into it, and over that the node's own files.

    Mount points that the host lacks (`/vicepa`, `/afs`) are made in the tmpfs, so the host's root is never touched.
    """
    mount(None, Path("/"), None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", 0)
    for entry in Path("/").iterdir():
        copy = root / entry.name
        if entry.is_symlink():
            copy.symlink_to(entry.readlink())
        elif entry.is_dir() and not re.fullmatch(r"vicep.*|afs", entry.name):
            copy.mkdir()
            if entry.name != "proc":  # and without the half-built root, where it lies below this directory
                mount(str(entry), copy, None, MS_BIND if root.is_relative_to(entry) else MS_BIND | MS_REC)
    mount("proc", root / "proc", "proc", 0)
    (root / "afs").mkdir()
    for at, what in sorted(binds.items()):
        target = root / at.relative_to("/")
        if not target.exists():
            target.mkdir()
        mount(str(what), target, None, MS_BIND)
    old = root / "old-root"
    old.mkdir()
    check(libc.syscall(SYS_PIVOT_ROOT, os.fsencode(root), os.fsencode(old)), "pivot_root")
    os.chdir("/")
    check(libc.umount2(b"/old-root", MNT_DETACH), "umount of the old root")
    Path("/old-root").rmdir()


def mount(what: str | None, where: Path, kind: str | None, flags: int) -> None:
    """mount(2), raising OSError."""
    encoded = [None if word is None else word.encode() for word in (what, kind)]
    check(libc.mount(encoded[0], os.fsencode(where), encoded[1], flags, None), f"mount {what} on {where}")


def check(result: int, what: str) -> None:
    """Raise what errno says."""
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def reap_until_end_of_input() -> None:
    """Returns, and so ends the whole node, when the test closes the pipe or is no more."""
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the test's to handle
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if 0 in ready and not os.read(0, 4096):
            return
        if wake in ready:
            os.read(wake, 4096)
            reap()


def reap() -> None:
    """Collect every child that has ended."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


if __name__ == "__main__":
    main()
