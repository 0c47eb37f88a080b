"""What the storage back ends cost, without network or procedures: microseconds an operation, megabytes a second.

`python -m tests.bench.bench_store [DIRECTORY]` works in a temporary directory below DIRECTORY (default: here) and
prints medians. It also measures where handing a transfer to a thread begins to pay (volume_files.INLINE_SIZE).

Use a fresh directory on a quiet disk: ext4 looks at every inode freed in the last minutes before it gives one out, so a
second run right after the first, whose files were just removed, shows creation ten times slower than it is.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from fileserver.directory import Directory
from fileserver.interfaces import IPartition, IVolumeFiles, Vnode, VolumeHeader
from fileserver.store.memory import MemoryPartition
from fileserver.store.namei import open_namei
from fileserver.store.namei_user import open_namei_user
from fileserver.store.threads import Threads

FILES = 2000
LARGE = 200 << 20
PIECE = 1 << 20
RW, BK = 536870912, 536870914


def vnode(unique: int, length: int = 0) -> Vnode:
    """An ordinary file's record."""
    return Vnode(1, 0o644, 1, length, unique, 1, 100, 1, 1, 0, 1, 100)


async def each(count: int, operation: Callable[[int], Awaitable[object]]) -> float:
    """Median microseconds of an operation done `count` times."""
    spent = []
    for index in range(count):
        start = perf_counter()
        await operation(index)
        spent.append(perf_counter() - start)
    return median(spent) * 1e6


async def back_end(name: str, partition: IPartition) -> None:
    """All operations on one back end."""
    files: IVolumeFiles = await partition.create_volume(VolumeHeader(RW, RW, b"bench", 0))
    figures = {
        "create": await each(FILES, lambda i: files.create_vnode(2 * i + 2, vnode(i + 2))),
        "create, 4 KiB": await each(
            FILES, lambda i: files.create_vnode(2 * (i + FILES) + 2, vnode(i, 4096), bytes(4096))
        ),
        "read record": await each(FILES, lambda i: files.read_vnode(2 * i + 2)),
        "write record": await each(FILES, lambda i: files.write_vnode(2 * i + 2, vnode(i + 2))),
        "write 4 KiB": await each(FILES, lambda i: files.write(2, 4096 * i, bytes(4096))),
        "read 4 KiB": await each(FILES, lambda i: files.read(2, 4096 * i, 4096)),
        "read header": await each(FILES, lambda i: files.read_header()),
    }
    start = perf_counter()
    await files.vnodes()
    figures["list 4000 vnodes"] = (perf_counter() - start) * 1e6
    clone = await partition.create_volume(VolumeHeader(BK, RW, b"bench.backup", 2))
    start = perf_counter()
    await files.clone_to(clone)
    figures["clone, a vnode"] = (perf_counter() - start) * 1e6 / FILES / 2
    figures["copy on write, 4 KiB"] = await each(500, lambda i: files.write(2 * (i + FILES) + 2, 0, b"x"))
    figures["remove, shared"] = await each(500, lambda i: files.remove_vnode(2 * (i + FILES) + 2))
    await partition.destroy_volume(BK)
    figures["remove"] = await each(1000, lambda i: files.remove_vnode(2 * i + 4))
    print(f"{name}: " + ", ".join(f"{what} {micros:.1f} us" for what, micros in figures.items()))
    await bulk(name, files)
    await partition.close()


async def bulk(name: str, files: IVolumeFiles) -> None:
    """200 MB in pieces of 1 MiB."""
    piece = os.urandom(PIECE)
    await files.create_vnode(100_000, vnode(7))
    start = perf_counter()
    for offset in range(0, LARGE, PIECE):
        await files.write(100_000, offset, piece)
    wrote = perf_counter()
    for offset in range(0, LARGE, PIECE):
        await files.read(100_000, offset, PIECE)
    read = perf_counter()
    print(f"{name}: write {LARGE / 1e6 / (wrote - start):.0f} MB/s, read {LARGE / 1e6 / (read - wrote):.0f} MB/s")


async def threads(directory: str) -> None:
    """Reads from the page cache, here and in a thread, by size."""
    pool = Threads(reactor, "bench")
    path = os.path.join(directory, "threads")
    with open(path, "wb") as file:
        file.write(bytes(4 << 20))
    fd = os.open(path, os.O_RDONLY)

    async def here(size: int) -> None:
        os.pread(fd, size, 0)

    for size in (4096, 65536, 1 << 18, 1 << 19, 1 << 20, 1 << 22):
        inline = await each(200, lambda _, size=size: here(size))  # type: ignore[misc]
        thread = await each(200, lambda _, size=size: pool.run(os.pread, fd, size, 0))  # type: ignore[misc]
        print(f"read of {size >> 10} KiB: {inline:.0f} us here, {thread:.0f} us in a thread")
    os.close(fd)
    pool.stop()


def directories() -> None:
    """The directory object alone."""
    directory = Directory.new((1, 1), (1, 1))
    start = perf_counter()
    for index in range(20_000):
        directory.insert(b"file-%d" % index, index, index)
    inserted = perf_counter()
    Directory.parse(directory.to_bytes())
    parsed = perf_counter()
    for index in range(20_000):
        directory.remove(b"file-%d" % index)
    removed = perf_counter()
    spans = (("insert", inserted - start), ("parse", parsed - inserted), ("remove", removed - parsed))
    print("directory of 20000: " + ", ".join(f"{what} {span * 50:.1f} us an entry" for what, span in spans))


async def main(base: str) -> None:
    """Everything."""
    directories()
    directory = tempfile.mkdtemp(dir=base)
    try:
        await threads(directory)
        openers: dict[str, Callable[[str], IPartition]] = {
            "memory": lambda path: MemoryPartition(),
            "namei-user, xattr": lambda path: open_namei_user(path, 0, reactor, "xattr"),
            "namei-user, sidecar": lambda path: open_namei_user(path, 0, reactor, "sidecar"),
        }
        if os.geteuid() == 0:
            openers["namei"] = lambda path: open_namei(path, 0, reactor)
        for name, opener in openers.items():
            path = os.path.join(directory, name)
            os.mkdir(path)
            await back_end(name, opener(path))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    react(lambda _: ensureDeferred(main(sys.argv[1] if len(sys.argv) > 1 else ".")))
