"""Dump and restore beside stock: a volume of large files, and one of many small ones, by stock's vos and by our client.

    python -m tests.bench.bench_volumes [--large MIB] [--files N] [--rounds N] [--only WORD] [--alone]

As root: the servers are in network namespaces of their own, their partitions where TMPDIR says (/dev/shm keeps the disk
out of it). Rates are of the wall clock; the processor time of server and client holds where the machine has other work.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from afs.client import FileClient
from afs.rpc.volser import ITBusy, restoreCookie
from fileserver.directory import Directory
from fileserver.interfaces import VolumeHeader
from fileserver.volser import dump_format as form
from fileserver.volser.dump import _dump_header, _vnode_fields, _volume_header
from fileserver.volume.vn import DIRECTORY, FILE
from tests.interop.dump_streams import vnode
from tests.interop.namespaces import Network
from tests.interop.ours import OurServers
from tests.interop.stock import StockCell

PER_DIRECTORY = 100
SMALL_SIZE = 1000
LARGE_FILES = 4
WHEN = 900_000_000
GIVEN, FOUND = "/var/log/openafs/given.dump", "/var/log/openafs/found.dump"
"""As the nodes see them."""
FIRST_ID = 536900000


def dump_of(contents: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
    """A dump of a volume of directories d0, d1, ... with those files."""
    directories: dict[str, list[bytes]] = {}
    for place, content in contents:
        directories.setdefault(place, []).append(content)
    header = VolumeHeader(FIRST_ID, FIRST_ID, b"bench", 0, uniquifier=1 << 20, max_quota=0, update_date=WHEN)
    yield _dump_header(header, 0) + _volume_header(header)
    root = Directory.new((1, 1), (1, 1))
    numbers = {place: 2 * index + 3 for index, place in enumerate(directories)}
    for place, number in numbers.items():
        root.insert(place.encode(), number, number)
    yield _record(1, 1, DIRECTORY, root.to_bytes())
    following = 2
    for place, number in numbers.items():
        directory = Directory.new((number, number), (1, 1))
        for index in range(len(directories[place])):
            directory.insert(b"f%d" % index, following, following)
            following += 2
        yield _record(number, number, DIRECTORY, directory.to_bytes())
    following = 2
    for place, number in numbers.items():
        for content in directories[place]:
            yield _record(following, following, FILE, content, number)
            following += 2
    yield form.END.pack(magic=form.END_MAGIC)


def _record(number: int, unique: int, kind: int, content: bytes, parent: int = 1) -> bytes:
    begin = form.VNODE_BEGIN.pack(number=number, uniquifier=unique)
    found = vnode(kind, len(content), unique, WHEN, 0 if number == 1 else parent)
    return begin + _vnode_fields(FIRST_ID, number, found) + content


class ToNowhere:
    """A sink."""

    size = 0

    def announce(self, length: int) -> None:
        raise NotImplementedError

    async def write(self, data: bytes | memoryview, /) -> None:
        self.size += len(data)


class FromFile:
    """A source."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    async def read(self, size: int, /) -> bytes:
        return self._file.read(size)


def processor(pid: int) -> float:
    """Seconds of all threads of a process so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


class Measured:
    """One cell and what was measured in it."""

    def __init__(self, name: str, cell: Any, pids: Callable[[], list[int]]) -> None:
        self.name = name
        self.cell = cell
        self.found: dict[str, list[tuple[float, float, float]]] = {}
        self._pids = pids

    def server(self) -> float:
        return sum(map(processor, self._pids()))

    def take(self, what: str, began: tuple[float, float, float], client: float) -> None:
        wall, server, before = began
        self.found.setdefault(what, []).append((time.monotonic() - wall, self.server() - server, client - before))

    def vos(self, what: str, *words: str) -> None:
        """Stock's, timed."""
        began = time.monotonic(), self.server(), children()
        self.cell.vos(*words).check()
        self.take(what, began, children())


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def own() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def by_our_client(reactor: Any, measured: Measured, volume: str, number: int, given: Path) -> None:
    """Dump to nowhere, and restore from a file."""
    node = measured.cell.node
    client = FileClient(reactor, [(node.address, 7003)], address=node.address)
    with node.inside():
        client.start()
    volser = client.volser((node.address, 7005))
    (entry,) = [each for each in await volser.ListVolumes(0, 1) if each.name == volume.encode()]
    began = time.monotonic(), measured.server(), own()
    trans = await volser.TransCreate(entry.volid, 0, ITBusy)
    sink = ToNowhere()
    await volser.DumpV2(trans, 0, 0, sink)
    await volser.EndTrans(trans)
    measured.take(f"our client, {volume}, dump", began, own())
    began = time.monotonic(), measured.server(), own()
    _, trans = await volser.CreateVolume(0, b"again", 0, number, number)
    await volser.Restore(trans, 0, restoreCookie(name=b"again", type=0, clone=0, parent=number), FromFile(given))
    await volser.SetFlags(trans, 0)
    await volser.EndTrans(trans)
    measured.take(f"our client, {volume}, restore", began, own())
    trans = await volser.TransCreate(number, 0, ITBusy)
    await volser.DeleteVolume(trans)
    await volser.EndTrans(trans)
    await client.stop()


def report(cells: list[Measured], sizes: dict[str, int]) -> None:
    print("| measured | " + " | ".join(f"{cell.name}: MB/s, server s, client s" for cell in cells) + " |")
    print("|---|" + "---|" * len(cells))
    for what in dict.fromkeys(what for cell in cells for what in cell.found):
        size = next(size for name, size in sizes.items() if name in what)
        row = []
        for cell in cells:
            runs = cell.found.get(what, [])
            if not runs:
                row.append("-")
                continue
            wall, server, client = (median(column) for column in zip(*runs, strict=True))
            row.append(f"{size / wall / 1e6:.0f}, {server:.2f}, {client:.2f}")
        print(f"| {what} | " + " | ".join(row) + " |")


async def measure(reactor: Any, options: argparse.Namespace) -> None:
    rng = random.Random(0)
    contents = {
        "large": (("d0", rng.randbytes(options.large << 20)) for _ in range(LARGE_FILES)),
        "small": ((f"d{index // PER_DIRECTORY}", rng.randbytes(SMALL_SIZE)) for index in range(options.files)),
    }
    networks = [Network(), Network()]
    try:
        ours = OurServers(networks[0])
        cells = [Measured("ours", ours, lambda: [ours.fileserver.pid])]
        if not options.alone:
            stock = StockCell(networks[1], ())
            pids = lambda: [stock.fileserver["davolserver"].pid, stock.fileserver["dafileserver"].pid]  # noqa: E731
            cells.insert(0, Measured("stock", stock, pids))
        sizes: dict[str, int] = {}
        number = FIRST_ID
        for name, files in contents.items():
            if options.only and options.only not in name:
                continue
            for cell in cells:
                given = cell.cell.node.path(GIVEN)
                if cell is cells[0]:
                    with given.open("wb") as file:
                        for piece in dump_of(files):
                            file.write(piece)
                    sizes[name] = given.stat().st_size
                    first = given
                else:
                    given.write_bytes(first.read_bytes())
            for _ in range(options.rounds):
                for cell in cells:
                    number += 1
                    cell.vos(f"stock vos, {name}, restore", "restore", "fs1", "a", name, "-file", GIVEN)
                    cell.vos(f"stock vos, {name}, dump", "dump", name, "-file", FOUND)
                    if cell.name == "ours":
                        await by_our_client(reactor, cell, name, number, cell.cell.node.path(GIVEN))
                    cell.cell.vos("remove", "-id", name).check()
                    cell.cell.node.path(FOUND).unlink()
        report(cells, sizes)
    finally:
        for network in networks:
            network.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", type=int, default=256, help="MiB of each of four files")
    parser.add_argument("--files", type=int, default=50_000, help="small ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="large or small")
    parser.add_argument("--alone", action="store_true", help="without the stock cell")
    options = parser.parse_args()
    if os.geteuid():
        sys.exit("network namespaces want root")
    react(_run, (options,))


def _run(reactor: Any, options: argparse.Namespace) -> Any:
    return Deferred.fromCoroutine(measure(reactor, options))


if __name__ == "__main__":
    main()
