"""What our servers cost, in processor time: small calls one after the other, many at once, and bulk data.

    python -m tests.bench.bench_server [--seconds N] [--only WORD] [--profile FILE]

One process serves a cell on loopback (namei-user store, in /dev/shm); C programs, or our own client, call it. On a
machine that does other things the processor time holds where the rates do not.
"""

from __future__ import annotations

import argparse
import cProfile
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from afs.client import FileClient
from afs.memory import collect_rarely
from afs.types import AFSFid
from rx.clock import run_steadily
from rx.limits import Limits
from rx.transport import RxPort
from tests.support.cell import Cell

HERE = Path(__file__).parent
BULK = 64 << 20
PIECE = 1 << 20
"""What a cache manager fetches and stores at a time."""
FILES = 1000
STOCK_WINDOW = 32
"""Packets that a stock client has under way."""
PAUSE_US = 65
"""Between a FUSE client's acknowledgement and its next call."""


class Child:
    """The serving process, and how much processor time it has used."""

    def __init__(self, profile: str | None) -> None:
        command = [sys.executable, "-m", "tests.bench.bench_server", "--serve"]
        command += ["--profile", profile] if profile else []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        self.vl, self.port, self.volume, self.vnode, self.unique = (int(word) for word in words)

    def seconds(self) -> float:
        """On a processor, all threads."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


async def prepare(cell: Cell) -> AFSFid:
    """A volume with one file in it."""
    await cell.start(1)
    volume = await cell.create_volume(b"bench", quota=0, acl={"system:anyuser": "rlidwk"})
    await cell.tool.set_acl(AFSFid(volume, 1, 1), {"system:anyuser": "rlidwka"})
    return await cell.tool._create(AFSFid(volume, 1, 1), b"file", 0o644)


def serve(profile: str | None) -> None:
    """Run the cell until it is terminated."""
    reactor: Any = default_reactor
    run_steadily(reactor)
    collect_rarely(reactor)
    with tempfile.TemporaryDirectory(prefix="txafs-bench-", dir="/dev/shm") as home:
        cell = Cell(Path(home), "namei-user", noauth=True)

        def ready(fid: AFSFid) -> None:
            words = (cell.vlserver_address[1], cell.fileservers[0].port, fid.Volume, fid.Vnode, fid.Unique)
            print(*words, flush=True)

        def failed(failure: Any) -> None:
            failure.printTraceback()
            reactor.stop()

        reactor.callWhenRunning(lambda: Deferred.fromCoroutine(prepare(cell)).addCallbacks(ready, failed))
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        reactor.run()
        if profile:
            profiler.disable()
            profiler.dump_stats(profile)


def compiled(name: str, place: str) -> str:
    """A load generator, built."""
    program = str(Path(place, name))
    subprocess.run(["cc", "-O2", "-Wall", "-o", program, HERE / f"{name}.c"], check=True)
    return program


def output(*command: object) -> list[str]:
    return subprocess.run([str(each) for each in command], stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def small_calls(child: Child, place: str, seconds: float) -> None:
    """FetchStatus in a row, with and without the client's own work between calls."""
    fsload = compiled("fsload", place)
    for pause in (0, PAUSE_US):
        before = child.seconds()
        fid = (child.volume, child.vnode, child.unique)
        answers, median, least = output(fsload, "127.0.0.1", child.port, seconds, *fid, pause)
        each = (child.seconds() - before) / int(answers) * 1e6
        print(
            f"FetchStatus, {pause:2} us pause: {each:6.1f} us processor, answer after {median} us (least {least}),"
            f" {int(answers) / seconds:.0f}/s",
            flush=True,
        )


def many_calls(child: Child, place: str, seconds: float) -> None:
    """GetEntryByNameU."""
    vlload = compiled("vlload", place)
    for callers in (1, 16, 64):
        before = child.seconds()
        answers, _, again = output(vlload, "127.0.0.1", child.vl, callers, seconds, "bench")
        each = (child.seconds() - before) / int(answers) * 1e6
        print(
            f"GetEntryByNameU, {callers:2} callers: {each:6.1f} us processor, {int(answers) / seconds:.0f}/s, {again}"
        )


async def bulk(child: Child, only_create: bool) -> None:
    """A large file in pieces, and small files made."""
    reactor: Any = default_reactor
    client = FileClient(reactor, [("127.0.0.1", child.vl)], address="127.0.0.1", fileserver_port=child.port)
    client._port = RxPort(reactor, "127.0.0.1", limits=Limits(window=STOCK_WINDOW))
    client.start()
    file = AFSFid(child.volume, child.vnode, child.unique)
    piece = bytes(PIECE)

    async def store() -> None:
        for start in range(0, BULK, PIECE):
            await client.store(file, piece, start, start + PIECE)

    async def fetch() -> None:
        for start in range(0, BULK, PIECE):
            await client.read_file(file, start, PIECE)

    async def create() -> None:
        root = AFSFid(child.volume, 1, 1)
        for number in range(FILES):
            fid = await client._create(root, b"f%d" % number, 0o644)
            await client.store(fid, b"x" * 1024, 0, 1024)

    async def store_small() -> None:
        for _ in range(FILES):
            await client.store(file, b"x" * 1024, 0, 1024)

    works: tuple[tuple[str, Callable[[], Any], int, str], ...] = (
        ("StoreData 1 MiB", store, BULK >> 20, "MiB"),
        ("FetchData 1 MiB", fetch, BULK >> 20, "MiB"),
        ("StoreData 1 KiB", store_small, FILES, "call"),
        ("CreateFile and StoreData 1 KiB", create, FILES, "file"),
    )
    for name, work, count, unit in works[2 if only_create else 0 :]:
        before, started = child.seconds(), time.perf_counter()
        await work()
        used, took = child.seconds() - before, time.perf_counter() - started
        print(f"{name}: {used / count * 1e6:7.0f} us processor a {unit}, {count / took:.0f} {unit}/s", flush=True)
    await client.stop()


def main() -> None:
    """Serve, or measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round of small calls")
    parser.add_argument("--profile", metavar="FILE", help="write a cProfile of the server here")
    parser.add_argument("--only", choices=("status", "vl", "bulk", "create"))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.profile)
        return
    child = Child(options.profile)
    try:
        with tempfile.TemporaryDirectory(prefix="txafs-bench-") as place:
            if options.only in (None, "status"):
                small_calls(child, place, options.seconds)
            if options.only in (None, "vl"):
                many_calls(child, place, options.seconds)
        if options.only in (None, "bulk", "create"):
            react(lambda _: Deferred.fromCoroutine(bulk(child, options.only == "create")), ())
    finally:
        child.process.terminate()
        child.process.wait()


if __name__ == "__main__":
    main()
