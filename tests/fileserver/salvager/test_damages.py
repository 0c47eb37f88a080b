"""Our salvager and stock's on the same damaged partitions."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, MSG_WAITALL, SHUT_RDWR, socket
from struct import Struct
from threading import Thread

from twisted.internet import reactor
from twisted.logger import Logger
from twisted.trial.unittest import TestCase

from fileserver.directory import Directory
from fileserver.interfaces import Damaged
from fileserver.partitions.label import LABEL_FILE
from fileserver.salvager.__main__ import FAILED, SOUND, main
from fileserver.store.inodes import group_directory, inode_path
from fileserver.store.namei import open_namei
from tests.fileserver.salvager.damages import GROUPS, build, contents, damage, snapshot
from tests.fileserver.store.stock import SCRIPT, Stock, complaints, need_stock
from tests.fileserver.store.support import need_root
from tests.support.budget import budget

log = Logger()

STOCK_SECONDS = 60
"""A stock salvage of a test's partition takes half of one."""

STOCK_README = b"This volume has been salvaged"
"""A file that stock makes in a root directory it had to make."""

MIXED_UP = re.compile(
    r"Vnode (\d+): vnode.unique, \d+, does not match inode unique, .*\n"
    r"Vnode \1: inode number incorrect; changed from \d+ to (\d+)\."
)
"""Where the content of a file is gone, stock gives its name that of an earlier file which had the same vnode number and
which a clone still has. Ours takes the name out, and leaves the content to the clone.
"""


class Served(Stock):
    """Programs that may crash, and that ask a file server, which answers yes to everything.

    A stock salvager that deletes a volume tells the file server, and waits for one when there is none.
    """

    def run(self, *command: str) -> str:
        """Everything the program printed."""
        with yes_man(os.path.join(self.work, "lib", "local")):
            deadly = ["unshare", "-m", "-n", "-p", "-f", "--kill-child", "timeout", "-s", "KILL", str(STOCK_SECONDS)]
            arguments = [*deadly, "sh", "-c", SCRIPT, "sh", self.work, self.partition, *command]
            done = subprocess.run(arguments, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        return done.stdout.decode("utf-8", "replace")


SYNC_COMMAND, SYNC_RESPONSE = Struct("<10I"), Struct("<8I")
"""The headers of daemon_com.h: protocol, packet, command, program, process, thread, what, why, length, flags; and
protocol, packet, command, response, length, what, why, flags.
"""
SYNC_DAFS = 2
"""The flag of programs made for demand attach."""


@contextmanager
def yes_man(directory: str) -> Iterator[None]:
    """Somebody at the file server's socket in this directory: FSSYNC commands are answered with SYNC_OK."""
    os.makedirs(directory, exist_ok=True)
    place = os.open(directory, os.O_RDONLY)
    with socket(AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{place}/fssync.sock")  # the whole path may be too long for a socket's
        os.close(place)
        listening.listen()
        answering = Thread(target=_say_yes, args=(listening,))
        answering.start()
        try:
            yield
        finally:
            listening.shutdown(SHUT_RDWR)
            answering.join()


def _say_yes(listening: socket) -> None:
    """To one caller after another, until the socket is shut down."""
    while True:
        try:
            calling, _ = listening.accept()
        except OSError:
            return
        with calling:
            while len(header := calling.recv(SYNC_COMMAND.size, MSG_WAITALL)) == SYNC_COMMAND.size:
                protocol, _, command, *_, length, _ = SYNC_COMMAND.unpack(header)
                calling.recv(length - SYNC_COMMAND.size, MSG_WAITALL)
                calling.send(SYNC_RESPONSE.pack(protocol, 0, command, 0, SYNC_RESPONSE.size, 0, 0, SYNC_DAFS))


def copy(source: str, target: str) -> None:
    """A partition as it is, owners and all."""
    subprocess.run(["cp", "-a", source, target], check=True)


class Beside(TestCase):
    """The same damage, twice."""

    timeout = 3000

    async def test_damages(self) -> None:
        """After ours every volume that stock saves is there with all the contents stock saves; a second salvage and a
        stock one find nothing.
        """
        need_root()
        need_stock()
        spent = budget("fileserver.salvager.damages", full=200, least=12)
        base = os.path.abspath(self.mktemp())
        os.mkdir(base, 0o700)
        await build(base, spent.seed)
        rng = random.Random(spent.seed)
        problems = []
        self.outcome = {"same": 0, "more": 0, "stock failed": 0}
        for count in range(spent.count):
            seed = rng.randrange(1 << 32)
            problems += [f"damage {count} ({seed}): {each}" for each in await self._one(base, seed)]
        log.info("salvaged {count} damages: {outcome}", count=spent.count, outcome=self.outcome)
        self.assertEqual(problems, [])
        self.assertLess(self.outcome["stock failed"], spent.count / 2)

    async def _one(self, base: str, seed: int) -> list[str]:
        ours, theirs = os.path.abspath(self.mktemp()), os.path.abspath(self.mktemp())
        copy(base, ours)
        done = damage(ours, random.Random(seed))
        copy(ours, theirs)
        problems = []
        if main([ours]) == FAILED:
            problems.append("failed")
        after = snapshot(ours)
        if main([ours]) != SOUND or snapshot(ours) != after:
            problems.append("a second salvage found something")
        problems += [f"stock found: {line}" for line in self._clean(ours)]
        problems += self._compare(ours, theirs)
        problems += await self._serve(ours)
        shutil.rmtree(ours)
        shutil.rmtree(theirs)
        return [f"{done}: {problem}" for problem in problems]

    def _clean(self, path: str) -> list[str]:
        stock = Stock(os.path.abspath(self.mktemp()), path)
        return complaints(stock.salvage("-nowrite", "-force"))

    async def _serve(self, path: str) -> list[str]:
        """What keeps our back end from serving the volumes, or stock programs from reading them."""
        problems = []
        partition = open_namei(path, 0, reactor)
        for ids in await partition.volumes():
            try:
                files = await partition.open_volume(ids.id)
                await files.read_header()
                for number, _ in await files.vnodes():
                    content = await files.read(number, 0, await files.content_length(number))
                    if number & 1:
                        Directory.parse(content)
                await files.close()
            except (Damaged, OSError) as problem:
                problems.append(f"volume {ids.id} cannot be served: {problem}")
        await partition.close()
        os.unlink(os.path.join(path, LABEL_FILE))
        if "rror" in (said := Stock(os.path.abspath(self.mktemp()), path).run("/usr/sbin/volinfo", "-part", "/vicepa")):
            problems.append(said)
        return problems

    def _compare(self, ours: str, theirs: str) -> list[str]:
        said = Served(os.path.abspath(self.mktemp()), theirs).salvage("-force", "-orphans", "attach")
        if not any("SALVAGING OF PARTITION" in line for line in said):
            self.outcome["stock failed"] += 1  # what it left is half salvaged
            return []
        strange = self._mixed_up(theirs, said)
        problems = []
        more = False
        for group in GROUPS:
            mine, saved = contents(ours, group), contents(theirs, group)
            problems += [f"volume {each} is gone, stock has it" for each in saved.keys() - mine.keys()]
            for each in saved.keys() & mine.keys():
                besides = saved[each] - mine[each]
                missing = [data for data in besides if not data.startswith(STOCK_README) and data not in strange]
                if missing:
                    problems.append(f"volume {each}: stock has {[(len(data), data[:20]) for data in missing]} besides")
                more |= mine[each] != saved[each]
            more |= mine.keys() != saved.keys()
        self.outcome["more" if more else "same"] += 1
        return problems

    def _mixed_up(self, path: str, said: list[str]) -> set[bytes]:
        """The contents that stock put under the names of other files."""
        inodes = [int(inode) for _, inode in MIXED_UP.findall("\n".join(said))]
        places = [Path(path, group_directory(group), inode_path(inode)) for group in GROUPS for inode in inodes]
        return {place.read_bytes() for place in places if place.exists()}
