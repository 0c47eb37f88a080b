"""A namei partition with many volumes, written as fast as the disk allows: one real volume, copied under other ids.

    python -m tests.bench.many_volumes DIRECTORY COUNT [--whole N]

`--whole` volumes (the first ones) have all their files and can be attached; the others are header files alone, which is
what a start looks at.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from twisted.internet.defer import ensureDeferred

from fileserver.store.namei import NameiPartition, open_namei
from fileserver.store.volume_file import pack_volume_file
from fileserver.volser.cloning import create_root, new_header
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.registry import Registry

FIRST = 536870912
EPOCH = 1_700_000_000


async def make(registry: Registry, partition: NameiPartition, volume_id: int) -> None:
    """A volume as `vos create` makes it."""
    header = new_header(volume_id, volume_id, b"v.%d" % (volume_id - FIRST), 0, EPOCH)
    checkout = await registry.create(partition, header)
    await create_root(checkout)
    header.destroy_me, header.in_service = False, True
    await checkout.write()
    await checkout.give_back()


async def generate(directory: Path, count: int, whole: int, first: int, reactor: object) -> None:
    """Fill a directory that nobody serves, which is or becomes a partition that stock and own servers attach."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "AlwaysAttach").touch()
    partition = open_namei(str(directory), 0, reactor)
    registry = Registry(Surroundings(lambda: float(EPOCH)))
    await registry.add_partition(partition)
    for volume_id in range(first, first + whole):
        await make(registry, partition, volume_id)
    await registry.shutdown()
    for volume_id in range(first + whole, first + count):
        fd = os.open(directory / f"V{volume_id:010}.vol", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.write(fd, pack_volume_file(volume_id, volume_id))
        os.close(fd)


def main() -> None:
    """See the module."""
    from twisted.internet import reactor
    from twisted.internet.task import react

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--whole", type=int, default=1000)
    parser.add_argument("--first", type=int, default=FIRST, help="the lowest id")
    words = parser.parse_args()
    react(lambda _: ensureDeferred(generate(words.directory, words.count, words.whole, words.first, reactor)))


if __name__ == "__main__":
    main()
