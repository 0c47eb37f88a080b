"""twistd whose fileserver writes down the names it was asked to remove: `witness.py DIRECTORY ARGUMENTS`.

A stock client whose server dies between executing a remove and answering it asks the next one, finds nothing there, and
says so. That this is the reason is seen from DIRECTORY/removes-HOST, a name a line, written before each is executed.
SIGUSR1 makes the server collect its garbage: what is open then somebody holds.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.scripts import twistd

from afs.types import AFSFid
from fileserver.procedures.names import Names


def removes(directory: Path, host: str) -> Path:
    """What the server of that host has written."""
    return directory / f"removes-{host}"


def main() -> None:
    """Run twistd, watched."""
    file = os.open(removes(Path(sys.argv.pop(1)), socket.gethostname()), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    remove = Names._remove

    async def told(names: Names, dir_fid: AFSFid, name: bytes, *, wants_directory: bool) -> Any:
        os.write(file, name + b"\n")
        return await remove(names, dir_fid, name, wants_directory=wants_directory)

    Names._remove = told  # type: ignore[assignment, method-assign]
    signal.signal(signal.SIGUSR1, lambda *_: gc.collect())
    twistd.run()


if __name__ == "__main__":
    main()
