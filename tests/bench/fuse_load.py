"""File work with a stopwatch, run in a client's node: `python -I fuse_load.py WORK DIRECTORY [COUNT]`. Prints a number.

write DIRECTORY BYTES    MB/s until the last byte has left the machine
read DIRECTORY           MB/s of that file
create DIRECTORY COUNT   files of 1 KiB a second
stat DIRECTORY           names a second
remove DIRECTORY         files a second
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

PIECE = 1 << 20
QUIET_SECONDS = 0.4
"""Without traffic: the store is over. afsd.fuse has no flush operation, so close(2) returns before."""
LOOK_SECONDS = 0.005
TRAFFIC = 20_000
"""Bytes in one look that are more than keepalives."""


def sent_bytes() -> int:
    """What has left the node."""
    return int(Path("/sys/class/net/eth0/statistics/tx_bytes").read_text())


def write(directory: Path, size: int) -> float:
    """The end is taken from the network interface: the last traffic before it stays quiet."""
    piece = os.urandom(PIECE)
    start = time.perf_counter()
    with open(directory / "large", "wb", buffering=0) as file:
        file.writelines(piece for _ in range(size // PIECE))
    last, seen = time.perf_counter(), sent_bytes()
    while time.perf_counter() - last < QUIET_SECONDS:
        time.sleep(LOOK_SECONDS)
        now = sent_bytes()
        if now - seen > TRAFFIC:
            last = time.perf_counter()
        seen = now
    return size / 1e6 / (last - start)


def read(directory: Path, _: int) -> float:
    """In order, as cat does."""
    start = time.perf_counter()
    size = 0
    with open(directory / "large", "rb", buffering=0) as file:
        while piece := file.read(PIECE):
            size += len(piece)
    return size / 1e6 / (time.perf_counter() - start)


def create(directory: Path, count: int) -> float:
    """Open, write, close."""
    place = directory / "small"
    place.mkdir()
    start = time.perf_counter()
    for number in range(count):
        (place / f"f{number}").write_bytes(b"x" * 1024)
    return count / (time.perf_counter() - start)


def stat(directory: Path, _: int) -> float:
    """After one listing, which is not counted."""
    place = directory / "small"
    names = os.listdir(place)
    start = time.perf_counter()
    for name in names:
        os.stat(place / name)
    return len(names) / (time.perf_counter() - start)


def remove(directory: Path, _: int) -> float:
    """After one listing, which is not counted."""
    place = directory / "small"
    names = os.listdir(place)
    start = time.perf_counter()
    for name in names:
        os.unlink(place / name)
    return len(names) / (time.perf_counter() - start)


if __name__ == "__main__":
    work = {"write": write, "read": read, "create": create, "stat": stat, "remove": remove}[sys.argv[1]]
    print(work(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
