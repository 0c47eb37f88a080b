"""OpenAFS's own programs agree with us about a partition, whoever wrote it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from errno import EBUSY
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from fileserver.directory import Directory
from fileserver.interfaces import IVolumeFiles
from fileserver.store.convert import convert
from fileserver.store.locks import PartitionLock
from fileserver.store.namei import open_namei
from fileserver.store.namei_user import open_namei_user
from tests.contracts.ipartition import BK, RO, RW, header
from tests.fileserver.store.stock import Stock, complaints, need_stock
from tests.fileserver.store.support import audit, need_root
from tests.fileserver.store.tree import Tree
from tests.support.budget import budget

VECTOR = os.path.join(os.path.dirname(__file__), "..", "..", "vectors", "store", "stock-vicepa.tar.xz")
ALICE, ALICE_BACKUP = 536870917, 536870920


class StockJudges(TestCase):
    """What we wrote, stock programs find clean."""

    timeout = 600

    def setUp(self) -> None:
        need_stock()
        self.path = os.path.abspath(self.mktemp())
        os.mkdir(self.path, 0o700)
        self.stock = Stock(os.path.abspath(self.mktemp()), self.path)

    def assert_clean(self, *ids: int) -> None:
        """The salvager has nothing to say and saw these volumes; volinfo and voldump read every one."""
        log = self.stock.salvage("-nowrite", "-force")
        self.assertEqual(complaints(log), [])
        for volume_id in ids:
            self.assertTrue(any("Salvaged" in line or "CLONED" in line for line in log if str(volume_id) in line), log)
        info = self.stock.run("/usr/sbin/volinfo", "-part", "/vicepa")
        self.assertNotIn("Bad magic", info)
        self.assertNotIn("rror", info)
        for volume_id in ids:
            self.assertIn(f"Volume header for volume {volume_id} ", info)
            dump = f"/work/{volume_id}.dump"
            said = self.stock.run("/usr/sbin/voldump", "-part", "/vicepa", "-volumeid", str(volume_id), "-file", dump)
            self.assertNotIn("rror", said)
            self.assertGreater(os.path.getsize(os.path.join(self.stock.work, f"{volume_id}.dump")), 1000)

    async def test_large_directories_and_clones(self) -> None:
        """A volume with thousands of entries, links, holes and long names, cloned and changed on, is clean."""
        partition = open_namei(self.path, 0, reactor)
        self.addCleanup(partition.close)
        tree = Tree(await partition.create_volume(header()))
        await tree.begin()
        for index in range(4000):
            await tree.create(1, b"file-%d-" % index + b"y" * (index % 200), b"x" * (index % 3000))
        sub = await tree.mkdir(1, b"sub")
        deep = await tree.mkdir(sub, b"deep")
        await tree.create(deep, b"n" * 255, b"longest name")
        await tree.create(deep, b"link", b"../target", type=3)
        hole = await tree.create(deep, b"hole", b"")
        await tree.write(hole, 5 << 30, b"far out")
        await tree.finish(max_quota=0)
        clones = [await partition.create_volume(header(each, RW)) for each in (BK, RO)]
        for clone in clones:
            await tree.files.clone_to(clone)
        await tree.truncate(hole, 100)
        for index in range(0, 4000, 3):
            await tree.remove(1, b"file-%d-" % index + b"y" * (index % 200))
        await tree.create(deep, b"after", b"the clone")
        await tree.files.clone_to(clones[0])
        await tree.write(hole, 50, b"again")
        await tree.finish()
        await partition.close()
        self.assert_clean(RW, RO, BK)
        self.assertEqual(audit(self.path, RW), [])

    async def test_random_trees(self) -> None:
        """Random work with clones made, refreshed and destroyed in between leaves clean partitions."""
        share = budget("store.stock_trees", full=50, least=2)
        rng = random.Random(share.seed)
        for _ in range(share.count):
            shutil.rmtree(self.path)
            os.mkdir(self.path, 0o700)
            partition = open_namei(self.path, 0, reactor)
            self.addCleanup(partition.close)
            tree = Tree(await partition.create_volume(header()))
            await tree.begin()
            clones: dict[int, IVolumeFiles] = {}
            for _ in range(6):
                await tree.scramble(rng, 60)
                volume_id = rng.choice((RO, BK))
                if volume_id in clones and rng.random() < 0.3:
                    await clones.pop(volume_id).close()
                    await partition.destroy_volume(volume_id)
                    continue
                if volume_id not in clones:
                    clones[volume_id] = await partition.create_volume(header(volume_id, RW))
                await tree.files.clone_to(clones[volume_id])
            await tree.finish()
            await partition.close()
            self.assert_clean(RW, *clones)
            self.assertEqual(audit(self.path, RW), [])

    async def test_writing_salvager_changes_nothing(self) -> None:
        """The salvager that may repair changes no inode file, and we go on after it."""
        partition = open_namei(self.path, 0, reactor)
        self.addCleanup(partition.close)
        tree = Tree(await partition.create_volume(header()))
        await tree.begin()
        await tree.scramble(random.Random(5), 200)
        clone = await partition.create_volume(header(BK, RW))
        await tree.files.clone_to(clone)
        await tree.scramble(random.Random(6), 50)
        await tree.finish()
        await partition.close()
        before = content(self.path)
        self.assertEqual(complaints(self.stock.salvage()), [])
        after = content(self.path)
        infos = {name for name in before if "special" in name}
        self.assertEqual(
            {k: v for k, v in before.items() if k not in infos}, {k: v for k, v in after.items() if k not in infos}
        )
        partition = open_namei(self.path, 0, reactor)
        self.addCleanup(partition.close)
        tree.files = await partition.open_volume(RW)
        await tree.scramble(random.Random(7), 50)
        await tree.finish()
        await partition.close()
        self.assert_clean(RW, BK)

    async def test_mutual_exclusion(self) -> None:
        """A stock salvager waits for a partition we have open, and we do not open one that it salvages."""
        partition = open_namei(self.path, 0, reactor)
        self.addCleanup(partition.close)
        await (await partition.create_volume(header())).close()
        salvage = ("timeout", "2", "/usr/lib/openafs/dasalvager", "-partition", "/vicepa", "-nowrite")
        with self.assertRaises(subprocess.CalledProcessError) as caught:
            self.stock.run(*salvage)
        self.assertEqual(caught.exception.returncode, 124)
        with open(os.path.join(self.stock.work, "log", "SalvageLog")) as log:
            self.assertNotIn("SALVAGING FILE SYSTEM", log.read())
        await partition.close()
        lock = PartitionLock(self.path)
        self.assertRaises(OSError, open_namei, self.path, 0, reactor)
        lock.close()
        self.stock.run(*salvage)

    async def test_volume_locks(self) -> None:
        """A byte another process locked as stock programs do keeps us from the volume, and ours keeps others from
        theirs.
        """
        partition = open_namei(self.path, 0, reactor)
        self.addCleanup(partition.close)
        files = await partition.create_volume(header())
        path = os.path.join(self.path, ".volume.lock")
        other = locker(path, RW)
        self.assertIn(b"BlockingIOError", other.communicate()[1])
        await files.close()
        other = locker(path, RW)
        self.addCleanup(other.kill)
        assert other.stdout is not None
        other.stdout.readline()
        with self.assertRaises(OSError) as caught:
            await partition.open_volume(RW)
        self.assertEqual(caught.exception.errno, EBUSY)
        other.communicate()
        await (await partition.open_volume(RW)).close()

    async def test_converted_partition(self) -> None:
        """What namei-user wrote is clean for stock programs once it was converted."""
        for keeper in ("xattr", "sidecar"):
            partition = open_namei_user(self.path, 0, reactor, keeper)
            self.addCleanup(partition.close)
            tree = Tree(await partition.create_volume(header()))
            await tree.begin()
            await tree.scramble(random.Random(8), 150)
            clone = await partition.create_volume(header(BK, RW))
            await tree.files.clone_to(clone)
            await tree.scramble(random.Random(9), 50)
            await tree.finish()
            await partition.close()
            convert(self.path, "namei")
            self.assert_clean(RW, BK)
            shutil.rmtree(self.path)
            os.mkdir(self.path, 0o700)


class StockWrote(TestCase):
    """What a stock server wrote, we serve."""

    def setUp(self) -> None:
        need_root()
        self.path = os.path.abspath(self.mktemp())
        os.mkdir(self.path, 0o700)
        with tarfile.open(VECTOR) as image:
            image.extractall(self.path, numeric_owner=True)

    async def walk(self, files: IVolumeFiles, number: int = 1, path: bytes = b"") -> dict[bytes, bytes | None]:
        """Path -> content of everything below a directory; None for directories."""
        found: dict[bytes, bytes | None] = {}
        directory = Directory.parse(await files.read(number, 0, await files.content_length(number)))
        for name, child, unique in sorted(directory.entries()):
            if name in (b".", b".."):
                continue
            vnode = await files.read_vnode(child)
            self.assertEqual((vnode.uniquifier, vnode.parent), (unique, number))
            self.assertEqual(vnode.length, await files.content_length(child))
            if vnode.type == 2:
                found[path + name] = None
                found |= await self.walk(files, child, path + name + b"/")
            else:
                found[path + name] = await files.read(child, 0, vnode.length)
        return found

    async def test_read(self) -> None:
        """Volumes, headers, directories and content of a stock partition are what was written, in its clone too."""
        partition = open_namei(self.path, 0, reactor)
        self.addCleanup(partition.close)
        names = {}
        for ids in await partition.volumes():
            names[ids.id] = (await (await partition.open_volume(ids.id)).read_header()).name
        self.assertEqual(
            names,
            {536870915: b"root.afs", 536870916: b"root.cell", ALICE: b"user.alice", ALICE_BACKUP: b"user.alice.backup"},
        )
        common: dict[bytes, bytes | None] = {
            b"sub/entry-with-a-rather-long-name-number-%d" % each: b"content %d\n" % each
            for each in range(150)
            if each % 7
        }
        common[b"a/b/c/file"] = b"deep\n"
        common |= dict.fromkeys((b"sub", b"a", b"a/b", b"a/b/c"))
        alice = await partition.open_volume(ALICE)
        backup = await partition.open_volume(ALICE_BACKUP)
        self.assertEqual(
            await self.walk(alice), common | {b"renamed.txt": b"changed\n", b"sub/new": b"extra\n", b"link": b"sub/new"}
        )
        self.assertEqual(await self.walk(backup), common | {b"renamed.txt": b"hello\n", b"big": b"z" * 100_000})
        read_write = await alice.read_header()
        self.assertEqual((read_write.type, read_write.backup_id, read_write.in_use), (0, ALICE_BACKUP, 0))
        self.assertEqual((read_write.file_count, read_write.disk_used), (137, 152))
        self.assertEqual((await backup.read_header()).type, 2)

    async def test_write_and_judge(self) -> None:
        """We may change it, refresh its clone, destroy and convert, and stock programs still find it clean."""
        need_stock()
        stock = Stock(os.path.abspath(self.mktemp()), self.path)
        stock_said = complaints(
            stock.salvage("-nowrite", "-force")
        )  # its own symbolic links do not please its salvager
        self.assertTrue(all("version < inode version" in line for line in stock_said))
        partition = open_namei(self.path, 0, reactor)
        self.addCleanup(partition.close)
        alice = await partition.open_volume(ALICE)
        backup = await partition.open_volume(ALICE_BACKUP)
        root = Directory.parse(await alice.read(1, 0, 1 << 20))
        entry = root.lookup(b"renamed.txt")
        assert entry is not None
        await alice.write(entry[0], 0, b"CHANGED\n")
        await alice.clone_to(backup)
        await alice.write(entry[0], 0, b"twice")
        self.assertEqual(await backup.read(entry[0], 0, 99), b"CHANGED\n")
        await partition.close()
        self.assertEqual(complaints(stock.salvage("-nowrite", "-force")), stock_said)
        os.unlink(os.path.join(self.path, "AlwaysAttach"))
        before = content(self.path)
        convert(self.path, "namei-user")
        user = open_namei_user(self.path, 0, reactor)
        self.addCleanup(user.close)
        self.assertEqual(await (await user.open_volume(ALICE)).read(entry[0], 0, 99), b"twiceED\n")
        await user.close()
        convert(self.path, "namei")
        self.assertEqual(content(self.path), before)
        partition = open_namei(self.path, 0, reactor)
        self.addCleanup(partition.close)
        await partition.destroy_volume(ALICE_BACKUP)
        await partition.close()
        self.assertEqual(complaints(stock.salvage("-nowrite", "-force")), stock_said)
        self.assertEqual(audit(self.path, ALICE), [])


def locker(path: str, byte: int) -> subprocess.Popen[bytes]:
    """A process that locks a byte as stock programs do, prints a line, and goes when its input ends."""
    program = (
        "import fcntl, os, sys; "
        f"fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, {byte}); "
        "print(flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program, path], stdin=pipe, stdout=pipe, stderr=pipe)


def content(path: str) -> dict[str, tuple[Any, ...]]:
    """Owner, group, mode and bytes of every inode file."""
    return dict(_content(os.path.join(path, "AFSIDat")))


def _content(path: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for directory, _, names in os.walk(path):
        for name in names:
            file = os.path.join(directory, name)
            status = os.stat(file)
            with open(file, "rb") as opened:
                yield (
                    file,
                    (status.st_uid, status.st_gid, status.st_mode, opened.read() if status.st_size < 1 << 30 else b""),
                )
