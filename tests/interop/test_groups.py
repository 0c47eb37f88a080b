"""Users, groups and machines of a stock ptserver: a stock fileserver and ours allow and refuse the same.

One cell: stock database servers, a KDC and a stock fileserver on fs1, our fileserver on fs2. Who calls is our client,
with real tickets, from two machines of which one is in a group.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from afs.client import FileClient, format_acl_text, store_status
from afs.credentials import for_cell, read_cache
from afs.errors import translate
from afs.rpc.fs import RXAFS
from afs.types import AFSFid
from fileserver.clients import NO_GROUPS
from rx.errors import Abort
from rx.security.rxkad import WHOLE_TICKET, Level, RxkadClient
from rx.streams import Buffer, BytesSource
from tests.interop import kerberos
from tests.interop.case import InteropTest
from tests.interop.kerberos import Realm
from tests.interop.namespaces import Daemon, Node
from tests.interop.ours import start_plugin, wait_until_said
from tests.interop.stock import CELL, add_node, address_of, start_database, start_fileserver

USERS = ("admin", "alice", "bob", "carol", "stranger")
"""Principals; `stranger` has no entry in the protection database."""

CALLERS = ("", *USERS)
MACHINES = ("ca", "cb")
SERVERS = ("fs1", "fs2")

DENIED = translate(errno.EACCES)
READ, WRITE, ALL = 9, 63, 127
LOOKUP, INSERT, DELETE, ADMINISTER = 8, 4, 16, 64

Rights = dict[str, int]
LISTS: tuple[tuple[Rights, Rights], ...] = (
    ({}, {}),
    ({"system:anyuser": READ}, {}),
    ({"system:authuser": READ}, {}),
    ({"staff": WRITE}, {}),
    ({"staff": WRITE, "bob": ALL}, {}),
    ({"staff": WRITE, "system:anyuser": LOOKUP}, {"carol": INSERT}),
    ({"alice": WRITE, "system:anyuser": READ}, {"staff": READ}),
    ({"bob": ALL}, {"staff": ALL}),
    ({"lab": READ}, {}),
    ({"lab": WRITE, "staff": READ}, {}),
    ({"lab": WRITE}, {"alice": INSERT}),
    ({"lab": WRITE, "alice": WRITE}, {"lab": INSERT}),
    ({"system:anyuser": WRITE}, {"lab": WRITE}),
    ({"net": READ | INSERT, "staff": DELETE | LOOKUP}, {}),
    ({"alice": ADMINISTER}, {}),
    ({"system:authuser": WRITE | ADMINISTER}, {"alice": ADMINISTER, "system:administrators": ALL}),
)
"""Positive and negative entries. `lab` has the machine ca, `net` the whole network; `staff` has bob and carol."""


class GroupTests(InteropTest):
    skip = InteropTest.skip or kerberos.missing() or None

    async def setUp(self) -> None:  # type: ignore[override]
        await deferToThread(self.make_cell)
        self.tickets = {user: self.realm.cache(user) for user in USERS}
        self.known: dict[tuple[str, str], FileClient] = {}
        self.roots = {server: await self.make_root(server) for server in SERVERS}

    def make_cell(self) -> None:
        network = self.new_network()
        self.first = add_node(network, "fs1")
        self.realm = Realm(self.first)
        self.realm.make_cell_key()
        for user in USERS:
            self.realm.make_user(user)
        self.databases = start_database(self.first)
        self.nodes: dict[str, Node] = {name: add_node(network, name) for name in MACHINES}
        self.pts("createuser", "-name", *USERS[:-1], address_of("ca"), address_of("ca").rpartition(".")[0] + ".0")
        self.pts("adduser", "admin", "system:administrators")
        for group in ("staff", "lab", "net"):
            self.pts("creategroup", group, "-owner", "system:administrators")
        self.pts("adduser", "-user", "bob", "carol", "-group", "staff")
        self.pts("adduser", address_of("ca"), "lab")
        self.pts("adduser", address_of("ca").rpartition(".")[0] + ".0", "net")
        start_fileserver(self.first)
        self.second = add_node(network, "fs2")
        for name in ("KeyFileExt", "krb.conf"):
            if (source := self.config(self.first) / name).exists():
                shutil.copy(source, self.config(self.second) / name)
        options = ["--address", self.second.address, "--state", str(self.second.home / "state")]
        self.ours: Daemon = start_plugin(self.second, "afs-fileserver", *options, "--partition", "/vicepa")
        wait_until_said(self.ours, "serving AFSVol")

    def config(self, node: Node) -> Path:
        return node.home / "etc-openafs/server"

    def pts(self, *words: str) -> None:
        self.first.run_now("pts", *words, "-localauth").check()

    def client(self, user: str, machine: str, again: bool = False) -> FileClient:
        """A user's client on a machine; the one he had, unless `again`."""
        if again or (user, machine) not in self.known:
            options: dict[str, Any] = {}
            if user:
                token = for_cell(read_cache(self.tickets[user]), CELL, 0.0).token(WHOLE_TICKET)
                options["security"] = lambda: RxkadClient(token, Level.CRYPT)
            self.known[user, machine] = self.own_client(self.nodes[machine], **options)
        return self.known[user, machine]

    def fs(self, server: str, user: str, machine: str = "cb", again: bool = False) -> RXAFS:
        return self.client(user, machine, again).fs((address_of(server), 7000))

    async def make_root(self, server: str) -> AFSFid:
        """A volume's root on a server, with a file `f` of the administrator's."""
        name = f"on.{server}"
        await deferToThread(lambda: self.first.run_now("vos", "create", server, "a", name, "-localauth").check())
        entry = await self.client("admin", "cb").vl((address_of("fs1"), 7003)).GetEntryByNameU(name.encode())
        root = AFSFid(entry.volumeId[0], 1, 1)
        fs = self.fs(server, "admin")
        file = (await fs.CreateFile(root, b"f", store_status(mode=0o644)))[0]
        await fs.StoreData64(file, store_status(), 0, 5, 5, BytesSource(b"hello"))
        return root

    async def set_acl(self, server: str, positive: Rights, negative: Rights) -> None:
        text = format_acl_text({"admin": ALL} | positive, negative)
        await self.fs(server, "admin").OldStoreACL(self.roots[server], text)

    async def verdict(self, server: str, user: str, machine: str) -> tuple[Any, ...]:
        """What a caller is told of the root, and what becomes of his reading and writing."""
        fs, root = self.fs(server, user, machine), self.roots[server]
        status = (await fs.FetchStatus(root))[0]
        file = AFSFid(root.Volume, 2, 2)
        made = await outcome(fs.MakeDir(root, b"d", store_status()))
        written = outcome(fs.StoreData64(file, store_status(), 0, 5, 5, BytesSource(b"hello")))
        return (
            status.CallerAccess,
            status.AnonymousAccess,
            await outcome(fs.FetchACL(root)),
            await outcome(fs.FetchData64(file, 0, 5, Buffer())),
            await written,
            made,
            await outcome(fs.RemoveDir(root, b"d")),
            await outcome(self.fs(server, "admin").RemoveDir(root, b"d")),
        )

    async def test_the_same_verdicts(self) -> None:
        """Whoever calls from wherever, with groups, negative entries and machines on the list: both servers tell and do
        the same.
        """
        differing, told = [], set()
        for positive, negative in LISTS:
            for server in SERVERS:
                await self.set_acl(server, positive, negative)
            for user in CALLERS:
                for machine in MACHINES:
                    stock, ours = [await self.verdict(server, user, machine) for server in SERVERS]
                    told.add(stock)
                    if stock != ours:
                        differing.append((positive, negative, user, machine, stock, ours))
        self.assertEqual(differing, [])
        self.assertGreater(len(told), 12)

    async def test_lists_by_name(self) -> None:
        """A list goes in by name and comes back by name, as from a stock server; unknown names are refused alike."""
        text = format_acl_text({"Staff": READ, "lab": WRITE, "admin": ALL}, {"alice": INSERT})
        heard, refused = [], []
        for server in SERVERS:
            await self.fs(server, "admin").OldStoreACL(self.roots[server], text)
            heard.append((await self.fs(server, "admin").FetchACL(self.roots[server]))[0])
            bad = format_acl_text({"nobody.knows": READ}, {})
            refused.append(await outcome(self.fs(server, "admin").OldStoreACL(self.roots[server], bad)))
        self.assertEqual(heard[0].rstrip(b"\0"), heard[1].rstrip(b"\0"))
        self.assertIn(b"staff\t9", heard[1])
        self.assertEqual(refused[0], refused[1])
        self.assertNotEqual(refused[1], 0)

    async def test_new_groups(self) -> None:
        """Who joins a group has its rights on new connections; on old ones when an administrator flushes."""
        for server in SERVERS:
            await self.set_acl(server, {"staff": READ}, {})
        before = [await self.reads(server) for server in SERVERS]
        await deferToThread(self.pts, "adduser", "alice", "staff")
        still = [await self.reads(server) for server in SERVERS]
        (alice,) = await self.ids("alice")
        for server in SERVERS:
            await self.fs(server, "admin").FlushCPS((alice,), (), 0)
        flushed = [await self.reads(server) for server in SERVERS]
        await deferToThread(self.pts, "removeuser", "alice", "staff")
        anew = [await self.reads(server, again=True) for server in SERVERS]
        self.assertEqual((before, still, flushed, anew), ([DENIED] * 2, [DENIED] * 2, [0, 0], [DENIED] * 2))

    async def test_without_a_protection_server(self) -> None:
        """While there is none, those known go on, new connections of users are refused, and nobody in particular is
        served; when it is back, so are they.
        """
        for server in SERVERS:
            await self.set_acl(server, {"staff": READ, "system:anyuser": READ}, {})
            self.assertEqual(await self.reads(server, "bob"), 0)
            self.assertEqual(await self.reads(server, ""), 0)
        await deferToThread(self.databases["ptserver"].stop)
        told = await gatherResults([Deferred.fromCoroutine(self.unprotected(server)) for server in SERVERS])
        self.assertEqual(told, [[translate(errno.EIO), 0, 0, NO_GROUPS]] * 2)
        await deferToThread(start_database, self.first, ["ptserver"])
        for server in SERVERS:
            self.assertEqual(await self.reads(server, "carol", again=True), 0, server)

    async def unprotected(self, server: str) -> list[int]:
        """What a server says that finds no protection server, asked all at once: it waits before it gives that up."""
        asked = (
            outcome(self.fs(server, "admin").FetchACL(self.roots[server])),
            self.reads(server, "bob"),
            self.reads(server, "", again=True),
            self.reads(server, "carol", again=True),
        )
        return list(await gatherResults([Deferred.fromCoroutine(each) for each in asked]))

    async def reads(self, server: str, user: str = "alice", again: bool = False) -> int:
        """The code with which a user's reading of the file ends."""
        file = AFSFid(self.roots[server].Volume, 2, 2)
        return await outcome(self.fs(server, user, again=again).FetchData64(file, 0, 5, Buffer()))

    async def ids(self, *names: str) -> list[int]:
        out = (await self.first.run("pts", "examine", *names, "-localauth")).check().out
        return [int(line.partition("id: ")[2].partition(",")[0]) for line in out.splitlines() if "id: " in line]


async def outcome(work: Awaitable[Any]) -> int:
    """The code with which a call ends."""
    try:
        await work
    except Abort as refusal:
        return refusal.code
    return 0
