"""The `vldb` command as it is run: beside a server where it may, and never in a way that loses something."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase

from afs.rpc.partitions import PCLAIM
from tests.support.budget import budget
from tests.vlserver.contents import BY, random_contents
from vlserver.interfaces import ITransaction
from vlserver.operations.claims import Claim, Request, claim
from vlserver.operations.definitions import Outcome
from vlserver.operations.entries import new_volume_id
from vlserver.schema import Definition, Partition, Server, Site, Volume
from vlserver.store.sqlite import SqliteStore
from vlserver.store.sqlite.copies import copy
from vlserver.store.sqlite.tables import MIGRATIONS

ROOT = str(Path(__file__).parents[2])
A = UUID(int=1)
SERVER = Server(0, (1,), UUID(int=8), 0, 5)


def an_entry(number: int) -> Callable[[ITransaction], Volume]:
    """The work that adds an entry."""
    return lambda t: t.add_volume(Volume(0, b"v%d" % number, (number, 0, 0), (Site(A, 4),), flags=0x1000))


class CommandTest(TestCase):
    """Each command in a process of its own."""

    timeout = 600

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.directory = directory.absolute()
        self.path = str(self.directory / "vldb.sqlite")

    def file(self, name: str) -> str:
        """A path in the test's directory."""
        return str(self.directory / name)

    def open(self, path: str = "") -> SqliteStore:
        """The server's side."""
        return SqliteStore(path or self.path, reactor, lambda: 1.0)  # type: ignore[arg-type]

    async def furnished(self, entries: int = 3) -> SqliteStore:
        """An open store with entries 1, 2, ..."""
        store = self.open()

        def work(t: ITransaction) -> None:
            t.put_server(SERVER)
            t.put_partition(Partition(A, 0, 0, 0, epoch=5))

        await store.write(work, BY)
        for number in range(1, entries + 1):
            await store.write(an_entry(number), BY)
        return store

    async def run_vldb(self, *words: str, status: int = 0, prefix: Sequence[str] = ()) -> str:
        """What the command printed, both ways; it must end with this status."""
        command = [*prefix, sys.executable, "-m", "vlserver.tools", "--database", f"sqlite:///{self.path}", *words]
        ran: Any = await deferToThread(
            subprocess.run,
            command,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": ROOT},
            timeout=60,
        )
        self.assertEqual(ran.returncode, status, ran.stdout + ran.stderr)
        self.assertNotIn("Traceback", ran.stderr)
        return str(ran.stdout + ran.stderr)

    async def everything(self, path: str = "") -> list[object]:
        """All that a closed database says, but the log."""
        store = self.open(path)
        t = await store.read(
            lambda t: [
                t.servers(),
                t.partitions(),
                t.definitions(),
                list(t.volumes(0, 999)),
                t.settings(),
                t.last_key(),
            ]
        )
        await store.close()
        return t

    async def test_backup_and_restore(self) -> None:
        """A backup is taken beside a server; restored it is what it was, but what was given away since stays so."""
        store = await self.furnished()
        backup = self.file("backup")
        self.assertIn("revision 4", await self.run_vldb("backup", backup))
        self.assertEqual(os.stat(backup).st_mode & 0o777, 0o600)
        self.assertIn("backup: sound", await self.run_vldb("check", backup))
        await store.write(an_entry(4), BY)
        await store.write(lambda t: t.remove_volume(1), BY)
        await store.write(lambda t: t.put_server(replace(SERVER, uniquifier=9)), BY)
        first = await store.write(lambda t: new_volume_id(t, 10), BY)
        revision = store.revision
        self.assertIn("in use", await self.run_vldb("restore", backup, status=1))
        await store.close()
        said = await self.run_vldb("restore", backup)
        self.assertIn("1 entries are not in the backup: v4\n", said)
        self.assertIn("vos syncvldb", said)
        store = self.open()
        t = await store.read(lambda transaction: transaction)
        self.assertEqual([volume.name for volume in t.volumes(0, 9)], [b"v1", b"v2", b"v3"])
        self.assertEqual(t.servers(), [replace(SERVER, uniquifier=10)])
        self.assertEqual(await store.write(lambda t: new_volume_id(t, 1), BY), first + 10)
        self.assertGreater(store.revision, revision)
        await store.close()
        self.assertIn("sound", await self.run_vldb("check"))
        (aside,) = (path for path in self.directory.iterdir() if ".before-" in path.name)
        self.assertIn("sound", await self.run_vldb("check", str(aside)))
        names = {path.name for path in self.directory.iterdir()}
        self.assertEqual(names, {"vldb.sqlite", "vldb.sqlite.lock", "backup", aside.name})

    async def test_claims_after_restore(self) -> None:
        """A server that took a partition after the backup claims it from the restored database by its label's epoch."""
        store = await self.furnished()
        other = Server(1, (2,), UUID(int=9), 1, 1)

        def prepare(t: ITransaction) -> None:
            t.put_server(other)
            for slot in (0, 1):
                t.put_definition(Definition(A, slot, 0, "/vicepa"))

        def claimed(t: ITransaction, epoch: int, label_epoch: int, flags: int) -> Outcome:
            return claim(t, Claim(A, other, Request(uuid4(), 0, "", 1), epoch, label_epoch, None, 0, flags))

        await store.write(prepare, BY)
        backup = self.file("backup")
        await self.run_vldb("backup", backup)
        taken = await store.write(lambda t: claimed(t, 5, 8, PCLAIM.FORCE), BY)
        self.assertEqual(await store.read(lambda t: t.partition(A)), replace(taken.partition, owner=1, epoch=9))
        await store.close()
        await self.run_vldb("restore", backup)
        store = self.open()
        before = await store.read(lambda t: t.partition(A))
        assert before is not None
        self.assertEqual((before.owner, before.epoch), (0, 5))
        await store.write(lambda t: claimed(t, 5, 9, PCLAIM.LABELLED), BY)
        after = await store.read(lambda t: t.partition(A))
        assert after is not None
        self.assertEqual((after.owner, after.epoch), (1, 10))
        await store.close()

    async def test_restore_after_loss(self) -> None:
        """With the database lost or damaged, as many ids are left out as may have been given away; the ruin is kept."""
        store = await self.furnished()
        first = await store.write(lambda t: new_volume_id(t, 1), BY)
        backup = self.file("backup")
        await self.run_vldb("backup", backup)
        await store.close()
        for damage in (None, b"", b"nonsense" * 1000):
            Path(self.path).unlink()
            if damage is not None:
                Path(self.path).write_bytes(damage)
                Path(self.path + "-wal").write_bytes(b"its log")
            self.assertIn("1000000 volume ids are left out", await self.run_vldb("restore", backup))
            store = self.open()
            self.assertEqual(await store.write(lambda t: new_volume_id(t, 1), BY), first + 1 + 1_000_000)
            self.assertEqual(len(await store.read(lambda t: t.volumes(0, 9))), 3)
            await store.close()
        kept = [path.read_bytes() for path in self.directory.glob("*.before-*")]
        self.assertIn(b"nonsense" * 1000, kept)
        self.assertEqual(kept.count(b"its log"), 2)

    async def test_backup_refuses(self) -> None:
        """No file is overwritten, and nothing is left of a copy that could not be made."""
        store = await self.furnished()
        Path(self.file("taken")).write_text("precious")
        self.assertIn("exists already", await self.run_vldb("backup", self.file("taken"), status=1))
        self.assertEqual(Path(self.file("taken")).read_text(), "precious")
        self.assertIn("cannot write", await self.run_vldb("backup", self.file("no/such/place"), status=1))
        await store.close()
        self.assertIn(
            "no file", await self.run_vldb("--database", self.file("other"), "backup", self.file("x"), status=1)
        )
        self.assertIn("not in a file", await self.run_vldb("--database", "memory:", "check", status=1))
        self.assertEqual({path.name for path in self.directory.iterdir()}, {"vldb.sqlite", "vldb.sqlite.lock", "taken"})

    async def test_backup_while_writing(self) -> None:
        """A copy taken in the middle of many writes has every write whole up to its revision, and none beyond."""
        store = await self.furnished(0)
        allowance = budget("vlserver.tools.backup", full=200)
        number = 0
        for each in range(allowance.count):
            target = self.file(f"copy{each}")
            copying = deferToThread(copy, self.path, target, lambda done, total: None)
            while not copying.called:
                number += 1
                await store.write(an_entry(number), BY)
            revision = await copying
            copied = self.open(target)
            volumes = await copied.read(lambda t: t.volumes(0, 1 << 30))
            self.assertEqual((copied.revision, len(volumes)), (revision, revision - 1))
            await copied.close()
        await store.close()

    async def test_check(self) -> None:
        """Damage in the file, in references and in rows is told, with status 1; also beside a server."""
        store = await self.furnished()
        self.assertEqual(await self.run_vldb("check"), f"{self.path}: sound\n")
        await store.close()
        connection = sqlite3.connect(self.path)
        connection.execute("UPDATE volumes SET flags = 8 WHERE key = 2")
        connection.commit()
        self.assertIn("volume 2 (v2): flags 0x8\n", await self.run_vldb("check", status=1))
        connection.execute("DELETE FROM partitions")
        connection.commit()
        self.assertIn("names a row of partitions that is not there", await self.run_vldb("check", status=1))
        connection.close()
        data = bytearray(Path(self.path).read_bytes())
        data[4096 * 3 : 4096 * 9] = bytes(4096 * 6)
        Path(self.path).write_bytes(data)
        self.assertIn("damaged", await self.run_vldb("check", status=1))
        Path(self.path).write_bytes(b"nonsense" * 1000)
        self.assertIn("not a database", await self.run_vldb("check", status=1))

    async def test_export_and_import(self) -> None:
        """Out beside a server and in again with the sidecar: every row; without it, partitions that are implicit."""
        contents = random_contents(random.Random(budget("vlserver.tools.import", full=1).seed), 50)
        store = self.open()
        await store.load(contents.rows, contents.settings, contents.removed_keys, BY)
        stock, sidecar = self.file("vldb.DB0"), self.file("sidecar")
        self.assertIn("revision 1", await self.run_vldb("export", stock, "--sidecar", sidecar))
        self.assertIn("exists already", await self.run_vldb("export", stock, status=1))
        await store.close()
        before = await self.everything()
        old = self.path
        self.assertIn("already", await self.run_vldb("import", stock, status=1))
        self.path = self.file("new.sqlite")
        self.assertIn("50 entries", await self.run_vldb("import", stock, "--sidecar", sidecar))
        after = await self.everything()
        for index in (0, 2, 4, 5):
            self.assertEqual(after[index], before[index])
        by_uuid: Any = lambda each: each.uuid  # noqa: E731
        self.assertEqual(sorted(after[1], key=by_uuid), sorted(before[1], key=by_uuid))  # type: ignore[call-overload]
        self.path = self.file("plain.sqlite")
        await self.run_vldb("import", stock)
        await self.run_vldb("export", self.file("again.DB0"))
        one, other = (Path(path).read_bytes() for path in (stock, self.file("again.DB0")))
        self.assertEqual(len(one), len(other))
        self.assertNotEqual(old, self.path)
        self.assertFalse([path for path in self.directory.iterdir() if "ing" in path.suffix])

    async def test_import_refuses(self) -> None:
        """A damaged file is refused with the offset, and there is no database then."""
        Path(self.file("vldb.DB0")).write_bytes(bytes(200_000))
        self.assertIn("offset 0 (0x0): not the header", await self.run_vldb("import", self.file("vldb.DB0"), status=1))
        self.assertIn("No such file", await self.run_vldb("import", self.file("none"), status=1))
        self.assertFalse(Path(self.path).exists())
        Path(self.path + "-wal").write_bytes(b"a log without its database")
        store = self.open(self.file("other.sqlite"))
        await store.load([SERVER], {}, [], BY)
        await store.close()
        await self.run_vldb("--database", self.file("other.sqlite"), "export", self.file("good.DB0"))
        said = await self.run_vldb("import", self.file("good.DB0"), status=1)
        self.assertIn("belongs to a database that was moved away", said)

    async def test_killed_import(self) -> None:
        """An import killed at any moment leaves no database or a whole one, and can be run again."""
        contents = random_contents(random.Random(1), 2000)
        store = self.open(self.file("source.sqlite"))
        await store.load(contents.rows, contents.settings, contents.removed_keys, BY)
        await store.close()
        stock = self.file("vldb.DB0")
        await self.run_vldb("--database", self.file("source.sqlite"), "export", stock)
        allowance = budget("vlserver.tools.kill", full=100, least=3)
        random_ = random.Random(allowance.seed)
        command = [sys.executable, "-m", "vlserver.tools", "--database", self.path, "import", stock]
        for _ in range(allowance.count):
            process = subprocess.Popen(  # noqa: ASYNC220  ended below
                command, env=os.environ | {"PYTHONPATH": ROOT}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                await deferToThread(process.wait, random_.uniform(0.2, 1.2))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            if Path(self.path).exists():
                self.assertIn("sound", await self.run_vldb("check"))
                Path(self.path).unlink()
        self.assertIn("2000 entries", await self.run_vldb("import", stock))

    async def test_killed_restore(self) -> None:
        """A restore killed at any moment leaves the old database or the restored one, whole, and can be run again."""
        store = await self.furnished()
        backup = self.file("backup")
        await self.run_vldb("backup", backup)
        await store.write(an_entry(4), BY)
        await store.close()
        allowance = budget("vlserver.tools.kill_restore", full=100, least=3)
        random_ = random.Random(allowance.seed)
        command = [sys.executable, "-m", "vlserver.tools", "--database", self.path, "restore", backup]
        for _ in range(allowance.count):
            process = subprocess.Popen(  # noqa: ASYNC220  ended below
                command, env=os.environ | {"PYTHONPATH": ROOT}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                await deferToThread(process.wait, random_.uniform(0.3, 1.0))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            self.assertTrue(Path(self.path).exists())
            store = self.open()
            self.assertIn(len(await store.read(lambda t: t.volumes(0, 9))), (3, 4))
            await store.close()
        await self.run_vldb("restore", backup)
        self.assertIn("sound", await self.run_vldb("check"))

    async def test_no_room(self) -> None:
        """Without room a backup, an export, an import and a restore say so, and leave what there was."""
        contents = random_contents(random.Random(1), 2000)
        store = self.open()
        await store.load(contents.rows, contents.settings, contents.removed_keys, BY)
        await store.close()
        backup, stock = self.file("backup"), self.file("vldb.DB0")
        await self.run_vldb("backup", backup)
        await self.run_vldb("export", stock)
        names = {path.name for path in self.directory.iterdir()}
        before = await self.everything()
        small = ["prlimit", "--fsize=100000"]
        for words in (("backup", self.file("a")), ("export", self.file("b")), ("restore", backup)):
            said = await self.run_vldb(*words, status=1, prefix=small)
            self.assertRegex(said, "(?i)full|too large|I/O error")
        self.assertEqual({path.name for path in self.directory.iterdir()}, names)
        self.assertEqual(await self.everything(), before)
        self.path = self.file("new.sqlite")
        self.assertRegex(await self.run_vldb("import", stock, status=1, prefix=small), "(?i)full|too large|I/O error")
        self.assertFalse(Path(self.path).exists())
        self.assertIn("2000 entries", await self.run_vldb("import", stock))

    async def test_another_user(self) -> None:
        """What would leave files that the server cannot open is refused to another user than the database's."""
        if os.geteuid() != 0:
            raise SkipTest("not root")
        store = await self.furnished()
        await store.close()
        os.chown(self.path, 65534, 65534)
        for words in (("restore", "x"), ("undo", "2"), ("import", "x")):
            self.assertIn("run this as that user", await self.run_vldb(*words, status=1))
        self.assertIn("sound", await self.run_vldb("check"))
        self.assertEqual(os.stat(self.path).st_uid, 65534)

    async def test_older_schema(self) -> None:
        """A backup of an older schema is not looked into, but restored, and then it is of the newest."""
        old = SqliteStore(self.file("old"), reactor, lambda: 1.0, MIGRATIONS[:1])  # type: ignore[arg-type]
        await old.close()
        self.assertIn("older than this program's", await self.run_vldb("check", self.file("old"), status=1))
        shutil.copy(self.file("old"), self.path)  # so the present one is of the older schema too
        self.assertNotIn("left out", await self.run_vldb("restore", self.file("old")))
        self.assertIn("sound", await self.run_vldb("check"))
        newer = SqliteStore(self.file("new"), reactor, lambda: 1.0, (*MIGRATIONS, ()))  # type: ignore[arg-type]
        await newer.close()
        self.assertIn("newer than this program", await self.run_vldb("restore", self.file("new"), status=1))

    async def test_log_and_undo(self) -> None:
        """The log shows who changed what; a change is taken back while no server runs, and the log says so."""
        store = await self.furnished()
        await store.write(lambda t: t.remove_volume(2), BY)
        said = await self.run_vldb("log", "--since", "3")
        self.assertEqual(len(said.splitlines()), 4)
        self.assertRegex(said, r'(?m)^4  [-\d]+ [:\d]+  admin: test\n    volume 3: new \{.*"name":"v3"')
        self.assertRegex(said, r'(?m)^5 .*\n    volume 2: gone, was \{.*"name":"v2"')
        self.assertEqual((await self.run_vldb("log", "--limit", "1")).splitlines(), said.splitlines()[2:])
        self.assertIn("in use", await self.run_vldb("undo", "5", status=1))
        await store.close()
        self.assertIn("no revision 9", await self.run_vldb("undo", "9", status=1))
        self.assertIn("volume 2 (v2): there again", await self.run_vldb("undo", "5"))
        self.assertIn("undo 5", await self.run_vldb("log", "--since", "5"))
        await self.run_vldb("undo", "4")
        self.assertIn("sound", await self.run_vldb("check"))
        store = self.open()
        names = [volume.name for volume in await store.read(lambda t: t.volumes(0, 9))]
        self.assertEqual(names, [b"v1", b"v2"])
        await store.close()

    async def test_usage(self) -> None:
        """Wrong words are told with status 2, and every command has its help."""
        self.assertIn("usage", await self.run_vldb(status=2))
        await self.run_vldb("undo", "x", status=2)
        for command in ("backup", "restore", "check", "import", "export", "log", "undo"):
            self.assertIn("usage", await self.run_vldb(command, "--help"))
