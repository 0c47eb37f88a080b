"""A file tree kept straight through IVolumeFiles alone, as the fileserver would keep it: for salvagers to judge."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from typing import Any

from fileserver.directory import Directory
from fileserver.interfaces import IVolumeFiles, Vnode

ACL = struct.pack("<5iiI", 28, 1, 1, 1, 0, -204, 127).ljust(192, b"\0")
"""system:administrators rlidwka."""

NOW = 1_700_000_000


class Tree:
    """One volume's files and directories, with the counts its header must state."""

    def __init__(self, files: IVolumeFiles) -> None:
        self.files = files
        self.unique = 1
        self.directories: dict[int, Directory] = {}
        self.vnodes: dict[int, Vnode] = {}

    async def begin(self) -> None:
        """Make the root directory."""
        await self._add_directory(1, 1, (1, 1))

    async def mkdir(self, parent: int, name: bytes) -> int:
        """A new directory; its vnode number."""
        number, unique = self._allocate(1)
        await self._add_directory(number, unique, (parent, self.vnodes[parent].uniquifier))
        self.vnodes[parent].link_count += 1
        await self._enter(parent, name, number, unique)
        return number

    async def create(self, parent: int, name: bytes, content: bytes, type: int = 1) -> int:  # noqa: A002
        """A new file or symbolic link; its vnode number."""
        number, unique = self._allocate(2)
        self.vnodes[number] = Vnode(
            type, 0o644 if type == 1 else 0o777, 1, len(content), unique, 1, NOW, 1, 1, 0, parent, NOW
        )
        await self.files.create_vnode(number, self.vnodes[number], content)
        await self._enter(parent, name, number, unique)
        return number

    async def write(self, number: int, offset: int, data: bytes) -> None:
        """Overwrite or extend a file."""
        vnode = self.vnodes[number]
        await self.files.write(number, offset, data)
        await self._save(number, length=max(vnode.length, offset + len(data)))

    async def truncate(self, number: int, length: int) -> None:
        """Cut a file."""
        await self.files.truncate(number, length)
        await self._save(number, length=length)

    async def remove(self, parent: int, name: bytes) -> None:
        """Remove a file's only name and the file."""
        entry = self.directories[parent].lookup(name)
        assert entry is not None
        self.directories[parent].remove(name)
        await self._save_directory(parent)
        await self.files.remove_vnode(entry[0])
        del self.vnodes[entry[0]]

    async def finish(self, **changes: Any) -> None:
        """Write a header whose counts are right."""
        header = await self.files.read_header()
        blocks = sum(max(1, -(-vnode.length // 1024)) for vnode in self.vnodes.values())
        counts = {"file_count": len(self.vnodes), "disk_used": blocks, "uniquifier": self.unique + 1}
        dates = {"creation_date": NOW, "update_date": NOW, "copy_date": NOW}
        await self.files.write_header(replace(header, **counts | dates | changes))

    async def scramble(self, rng: random.Random, steps: int) -> None:
        """Random changes all over the tree."""
        for _ in range(steps):
            parent = rng.choice(sorted(self.directories))
            names = [name for name, number, _ in self.directories[parent].entries() if number % 2 == 0]
            choice = rng.random()
            if choice < 0.05:
                await self.mkdir(parent, b"d%d" % self.unique)
            elif choice < 0.5 or not names:
                name = b"f%d-" % self.unique + b"n" * rng.choice((1, 10, 20, 100, 240))
                await self.create(parent, name, rng.randbytes(rng.choice((0, 1, 1024, 5000))))
            else:
                name = rng.choice(names)
                entry = self.directories[parent].lookup(name)
                assert entry is not None
                if choice < 0.7:
                    await self.remove(parent, name)
                elif choice < 0.9:
                    await self.write(entry[0], rng.randrange(9000), rng.randbytes(rng.randrange(1, 3000)))
                else:
                    await self.truncate(entry[0], rng.randrange(4000))

    async def _add_directory(self, number: int, unique: int, parent: tuple[int, int]) -> None:
        directory = self.directories[number] = Directory.new((number, unique), parent)
        directory.dirty_pages()
        self.vnodes[number] = Vnode(2, 0o755, 2, directory.length, unique, 1, NOW, 1, 1, 0, 0, NOW, acl=ACL)
        self.vnodes[number].parent = 0 if number == 1 else parent[0]
        await self.files.create_vnode(number, self.vnodes[number], directory.to_bytes())

    async def _enter(self, parent: int, name: bytes, number: int, unique: int) -> None:
        self.directories[parent].insert(name, number, unique)
        await self._save_directory(parent)

    async def _save_directory(self, number: int) -> None:
        for offset, page in self.directories[number].dirty_pages():
            await self.files.write(number, offset, page)
        await self._save(number, length=self.directories[number].length)

    async def _save(self, number: int, **changes: Any) -> None:
        old = self.vnodes[number]
        self.vnodes[number] = replace(old, data_version=old.data_version + 1, **changes)
        await self.files.write_vnode(number, self.vnodes[number])

    def _allocate(self, first: int) -> tuple[int, int]:
        self.unique += 1
        return next(each for each in range(first, 1 << 20, 2) if each not in self.vnodes), self.unique
