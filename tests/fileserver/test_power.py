"""What a power cut leaves of a partition on disk, in each `--sync` mode, on a copy of it.

What was synced is there; of everything later each page of a file, each length, each new and each removed name has
reached the disk or has not, as it happens. The volume is then salvaged as it would be, served again, and looked at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from twisted.trial.unittest import TestCase

from afs.acl import ALL_RIGHTS, ANYUSERID, AccessList, Entry
from afs.types import AFS_FSYNC, AFSFid, AFSStoreStatus
from afs.users import Authority, UserList
from fileserver.directory import Directory
from fileserver.interfaces import Vnode, VolumeHeader
from fileserver.procedures import Procedures, procedures
from fileserver.salvager.process import SalvagerProcess
from fileserver.server import FileServer
from fileserver.store import volume_files
from fileserver.store.namei_user import open_namei_user
from fileserver.volume.durability import Durability, Sync
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.registry import Registry
from rx.errors import Abort
from rx.security.interfaces import ANONYMOUS
from tests.fileserver.procedures.support import (
    NOTHING,
    ROOT,
    VOLUME,
    Bytes,
    Call,
    Channel,
    Connection,
    Machine,
    Names,
    Pieces,
)
from tests.support.budget import budget

PAGE = 4096
"""What reaches the disk whole or not at all."""

FSYNC = AFSStoreStatus(Mask=AFS_FSYNC)
CLIENT = ("127.0.0.1", 7001)
LOSSES = 20
"""Cuts without a sync, of which one at least loses something."""

CHANGES = 12
"""Answered calls before the power goes."""


EVERYBODY = AccessList.of([Entry(ANYUSERID, ALL_RIGHTS)]).to_bytes()


class PowerCut:
    """The disk under a directory: `synced` is its state at the last sync."""

    def __init__(self, path: Path, home: Path) -> None:
        self.path = path
        self.synced = home / "synced"
        self.syncs = 0
        self.sync()

    def sync(self) -> None:
        """All of it as it is now survives."""
        shutil.rmtree(self.synced, ignore_errors=True)
        copy(self.path, self.synced)
        self.syncs += 1

    def after(self, target: Path, random: Random) -> None:
        """What is found after the power went just now."""
        copy(self.path, target)
        for name in sorted(names(self.synced) | names(self.path)):
            old, new, found = self.synced / name, self.path / name, target / name
            if not os.path.lexists(new) and random.random() < 0.5:
                found.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(old, found, follow_symlinks=False)
            elif os.path.lexists(new) and not os.path.lexists(old) and random.random() < 0.5:
                found.unlink()
            elif new.is_file():
                found.write_bytes(torn(old.read_bytes() if old.is_file() else b"", new.read_bytes(), random))


def torn(old: bytes, new: bytes, random: Random) -> bytes:
    """Each page, and the length, from before or after."""
    length = len(random.choice((old, new)))
    pages = bytearray()
    for offset in range(0, length, PAGE):
        pages += random.choice((old, new))[offset : offset + PAGE].ljust(PAGE, b"\0")
    return bytes(pages[:length])


def copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True)


def names(path: Path) -> set[str]:
    """Every file below, by its path from there."""
    return {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file() or each.is_symlink()}


class Server:
    """A fileserver on one partition, called directly."""

    def __init__(self, path: Path, mode: Sync, reactor: Any) -> None:
        channel = Channel()
        channel.machines[CLIENT] = Machine(CLIENT, UUID(int=1))
        surroundings = Surroundings(reactor.seconds, clock=reactor, durability=Durability(mode))
        self.registry = Registry(surroundings, SalvagerProcess(reactor))
        authority = Authority(UserList(), noauth=True, own=[])
        self.server = FileServer(self.registry, channel, authority, Names(), reactor.seconds)
        self._begin = procedures(self.server)
        self._connection = Connection(CLIENT, ANONYMOUS)
        # A sidecar: extended attributes would have to be copied and torn too.
        self.partition = open_namei_user(str(path), 0, reactor, metadata="sidecar")

    @property
    def call(self) -> Procedures:
        return self._begin(Call(self._connection))

    async def begin(self) -> None:
        await self.registry.add_partition(self.partition)

    async def make_volume(self) -> None:
        files = await self.partition.create_volume(VolumeHeader(VOLUME, VOLUME, b"test", 0, creation_date=1))
        root = Directory.new((1, 1), (1, 1)).to_bytes()
        await files.create_vnode(1, Vnode(2, 0o777, 2, len(root), 1, 1, 5, 0, 0, 0, 0, 5, acl=EVERYBODY), root)
        await files.write_header(
            VolumeHeader(VOLUME, VOLUME, b"test", 0, creation_date=1, disk_used=2, file_count=1, in_service=True)
        )
        await files.sync()
        await files.close()

    async def store(self, fid: AFSFid, content: bytes, status: AFSStoreStatus) -> None:
        await self.call.StoreData64(fid, status, 0, len(content), len(content), Pieces(content))

    async def read(self, name: bytes) -> bytes | None:
        """The content of a file in the root; None where there is none."""
        listing = Bytes()
        await self.call.FetchData64(ROOT, 0, 1 << 40, listing)
        found = Directory.parse(listing.data).lookup(name)
        if found is None:
            return None
        content = Bytes()
        await self.call.FetchData64(AFSFid(VOLUME, *found), 0, 1 << 40, content)
        return content.data


class Cuts(TestCase):
    """`answered` is what the calls that were answered have made; `asked` what fsync was answered for."""

    timeout = 3600.0

    async def test_every(self) -> None:
        """Whatever was answered is there: files, content, removals."""
        await self.cut(Sync.EVERY, lambda answered, asked: answered)

    async def test_always(self) -> None:
        """What a client has fsynced is there."""
        await self.cut(Sync.ALWAYS, lambda answered, asked: asked)

    async def test_closed(self) -> None:
        """In every mode but `never`, what a volume had when it was detached is there."""
        for mode in (Sync.ALWAYS, Sync.DELAYED, Sync.ONCLOSE):
            await self.cut(mode, lambda answered, asked: answered, detach=True)

    async def test_delayed(self) -> None:
        """What a client has fsynced is there when the next turn is over, and not before."""
        await self.cut(Sync.DELAYED, lambda answered, asked: asked, turn=True)

    async def test_never(self) -> None:
        """Nobody waits for a disk."""
        async with self.power(Sync.NEVER) as (server, disk):
            before = disk.syncs
            await self.changes(server, Random(1))
            await server.registry.shutdown()
            self.assertEqual(disk.syncs, before)

    async def test_a_cut_is_a_cut(self) -> None:
        """Without syncs something that was answered is lost: this test would see it."""
        with self.assertRaises(self.failureException):
            for _ in range(LOSSES):
                await self.cut(Sync.NEVER, lambda answered, asked: answered)

    async def test_who_syncs_when(self) -> None:
        """A plain store syncs in `every` alone, an fsynced one at once in `always` too, later in `delayed`, and in
        `onclose` at the end, when all but `never` sync a volume that somebody may have written to since.
        """
        for mode, plain, asked, turn, end in (
            (Sync.EVERY, 2, 1, 0, 1),
            (Sync.ALWAYS, 0, 1, 0, 1),
            (Sync.DELAYED, 0, 0, 1, 0),
            (Sync.ONCLOSE, 0, 0, 0, 1),
            (Sync.NEVER, 0, 0, 0, 0),
        ):
            async with self.power(mode) as (server, disk):
                counts = [disk.syncs]
                fid = (await server.call.CreateFile(ROOT, b"f", NOTHING))[0]
                await server.store(fid, b"plain", NOTHING)
                counts.append(disk.syncs)
                await server.store(fid, b"fsync", FSYNC)
                counts.append(disk.syncs)
                await server.server.durability.pass_on()
                counts.append(disk.syncs)
                await server.registry.shutdown()
                counts.append(disk.syncs)
            steps = tuple(after - before for before, after in pairwise(counts))
            self.assertEqual(steps, (plain, asked, turn, end), mode)

    async def cut(
        self,
        mode: Sync,
        promised: Callable[[dict[bytes, bytes | None], dict[bytes, bytes | None]], dict[bytes, bytes | None]],
        *,
        detach: bool = False,
        turn: bool = False,
    ) -> None:
        """Cut the power after some changes, with one more under way, again and again."""
        share = budget(f"fileserver.power.{mode.value}.{detach}", full=100)
        random = Random(share.seed)
        for round_number in range(share.count):
            async with self.power(mode) as (server, disk):
                answered, asked = await self.changes(server, random)
                if turn:
                    await server.server.durability.pass_on()
                if detach:
                    await server.registry.shutdown()
                elif not turn:
                    await self.unanswered(server, disk)
                after = disk.path.with_name("after")
                disk.after(after, random)
                await self.check(after, promised(answered, asked), f"{mode}, seed {share.seed}, round {round_number}")

    async def changes(
        self, server: Server, random: Random
    ) -> tuple[dict[bytes, bytes | None], dict[bytes, bytes | None]]:
        """Make, fill, fsync and remove files. Returns what is where, and what was of it when last synced by request."""
        answered: dict[bytes, bytes | None] = {}
        asked: dict[bytes, bytes | None] = {}
        fids: dict[bytes, AFSFid] = {}
        for number in range(CHANGES):
            name = b"file%d" % random.randrange(4)
            if answered.get(name) is None:
                fids[name] = (await server.call.CreateFile(ROOT, name, NOTHING))[0]
                answered[name] = b""
            elif random.random() < 0.25:
                await server.call.RemoveFile(ROOT, name)
                answered[name] = None
                asked.pop(name, None)
            else:
                content = bytes([65 + number]) * random.randrange(1, 3 * PAGE)
                sync = random.random() < 0.5
                asked.pop(name, None)
                await server.store(fids[name], content, FSYNC if sync else NOTHING)
                answered[name] = content
                if sync:
                    asked = {known: content for known, content in answered.items() if content}
        return answered, asked

    async def unanswered(self, server: Server, disk: PowerCut) -> None:
        """One change that is written, and not synced: the power goes before that."""
        counted, disk.sync = disk.sync, lambda: None  # type: ignore[method-assign]
        await server.call.MakeDir(ROOT, b"late", NOTHING)
        disk.sync = counted  # type: ignore[method-assign]

    async def check(self, path: Path, promised: dict[bytes, bytes | None], context: str) -> None:
        from twisted.internet import reactor

        server = Server(path, Sync.NEVER, reactor)
        await server.begin()
        try:
            for name, content in promised.items():
                self.assertEqual(await server.read(name), content, f"{name!r}: {context}")
        except Abort as refusal:
            self.fail(f"{refusal}: {context}")
        finally:
            await server.registry.shutdown()

    @asynccontextmanager
    async def power(self, mode: Sync) -> AsyncIterator[tuple[Server, PowerCut]]:
        """A server that serves a new partition with one volume, and its disk."""
        from twisted.internet import reactor

        home = Path(self.mktemp())
        (home / "vicepa").mkdir(parents=True)
        server = Server(home / "vicepa", mode, reactor)
        await server.make_volume()
        disk = PowerCut(home / "vicepa", home)
        patched = self.patch(volume_files, "sync_file_system", lambda file: disk.sync())
        await server.begin()
        yield server, disk
        await server.registry.shutdown()
        patched.restore()
