"""The same random RXAFS calls to a stock dafileserver and to ours: equal results, refusals, files, broken promises."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from errno import EEXIST
from typing import Any

from twisted.internet import reactor

import fileserver.service
from afs.acl import BuiltinNames
from afs.authentication import Authentication
from afs.client import FileClient
from afs.dirpages import read_directory
from afs.errors import UnifiedError, VolumeError, describe
from afs.keys import LOCAL_END, KeyStore
from afs.rpc.fs import RXAFS, AFSFetchVolumeStatus, ViceStatistics
from afs.rpc.volser import AFSVol, ITOffline
from afs.types import DIRECTORY, FILE, SYMLINK, AFSCallBack, AFSFetchStatus, AFSFid, AFSVolSync
from afs.users import Authority, UserList
from rx.errors import Abort
from rx.security.kerberos.ticket import Ticket
from rx.security.rxkad import RxkadClient
from rx.streams import Buffer
from tests.interop.case import InteropTest
from tests.interop.rxafs_calls import (
    ACLS,
    BACKUP,
    READONLY,
    VOLUME,
    Content,
    Generator,
    Objects,
    Ref,
    Step,
    Wanted,
)
from tests.interop.stock import add_node, start_database, start_fileserver
from tests.support.budget import budget
from tests.support.cell import start_cell
from tests.support.rxkad import SESSION_KEY, token

CALLERS = ("anyone", "other", "admin")
MADE = {"CreateFile": FILE, "MakeDir": DIRECTORY, "Symlink": SYMLINK}
LONG_AGO = 1_000_000_000
"""Times before this are what a call asked for, times after it are now: generated ones are smaller."""

NOW = "now"

CONTEXT = 12
"""Calls before a difference that are told."""

ADMIN = 1
"""The id of the user admin, a member of system:administrators."""


@dataclass(frozen=True)
class Answer:
    """A result or an Abort, what came by the streams of the call, and whose promises were broken until it ended."""

    result: Any
    streams: list[Buffer]
    broken: dict[str, set[tuple[int, int, int]]]


class Server:
    """One of the two: how to call it as anybody, and what it calls the objects."""

    def __init__(self, name: str, address: str, port: int, volser_port: int, clients: dict[str, FileClient]) -> None:
        self.name = name
        self.clients = clients
        self._address = (address, port)
        self._volser = (address, volser_port)
        self._fids: dict[int, tuple[int, int]] = {0: (1, 1)}
        self._numbers = {(1, 1): 0}

    @property
    def volser(self) -> AFSVol:
        return self.clients["admin"].volser(self._volser)

    def fs(self, caller: str) -> RXAFS:
        return self.clients[caller].fs(self._address)

    def learn(self, number: int, fid: AFSFid) -> None:
        """It made an object."""
        self._fids[number] = (fid.Vnode, fid.Unique)
        self._numbers[fid.Vnode, fid.Unique] = number

    def argument(self, value: Any) -> Any:
        """What stands for `value` in a call to it."""
        if isinstance(value, Ref):
            return AFSFid(value.volume, *self._fids.get(value.number, (4444, 4444)))
        if isinstance(value, tuple):
            return tuple(map(self.argument, value))
        if isinstance(value, Wanted):
            return value.sink()
        return value.source() if isinstance(value, Content) else value

    def mixes_up(self, rename: Step) -> bool:
        """Whether the two directories have the same vnode, one after the other: stock looks no further."""
        old, _, new, _ = self.argument(rename.arguments)
        return bool(old.Vnode == new.Vnode and old.Unique != new.Unique)

    def number(self, vnode: int, unique: int) -> Any:
        """Which object it means."""
        return self._numbers.get((vnode, unique), ("unknown", vnode & 1)) if (vnode, unique) != (0, 0) else None

    async def make_volumes(self) -> None:
        """An empty volume, open to everybody, without quota."""
        _, transaction = await self.volser.CreateVolume(0, b"vol", 0, 0, VOLUME)
        await self.volser.SetFlags(transaction, 0)
        await self.volser.EndTrans(transaction)
        await self.fs("admin").OldStoreACL(AFSFid(VOLUME, 1, 1), ACLS[0])

    async def clone(self) -> None:
        """A read-only and a backup volume of it as it is."""
        transaction = await self.volser.TransCreate(VOLUME, 0, ITOffline)
        for kind, name, number in ((1, b"vol.readonly", READONLY), (2, b"vol.backup", BACKUP)):
            await self.volser.Clone(transaction, 0, kind, name, number)
        await self.volser.EndTrans(transaction)
        for number in (READONLY, BACKUP):
            transaction = await self.volser.TransCreate(number, 0, ITOffline)
            await self.volser.SetFlags(transaction, 0)
            await self.volser.EndTrans(transaction)

    async def call(self, step: Step) -> Answer:
        """Make the call."""
        arguments = self.argument(step.arguments)
        for client in self.clients.values():
            client.breaks.history.clear()
        try:
            result = await getattr(self.fs(step.caller), step.name)(*arguments)
        except Abort as refusal:
            result = refusal
        broken = {
            name: {event.fid for event in client.breaks.history if event.kind == "break"}
            for name, client in self.clients.items()
        }
        return Answer(result, [each for each in arguments if isinstance(each, Buffer)], broken)

    def broken(self, answer: Answer) -> Any:
        """Who was told of what."""
        return {
            name: {(volume, self.number(vnode, unique)) for volume, vnode, unique in fids}
            for name, fids in answer.broken.items()
        }

    def told(self, name: str, answer: Answer) -> Any:
        """An answer as both servers should give it."""
        if isinstance(answer.result, Abort):
            return describe(answer.result.code)
        if name in COMPARED:
            return COMPARED[name](answer.result)
        results = answer.result if isinstance(answer.result, tuple) else (answer.result,)
        told = [self.compared(each) for each in results]
        return told + [self.content(bytes(each), results[0]) for each in answer.streams]

    def content(self, data: bytes, status: AFSFetchStatus) -> Any:
        """Bytes, or what names a directory leads to."""
        if status.FileType != DIRECTORY:
            return data
        if len(data) != status.Length:
            return len(data)
        return {name: self.number(*fid) for name, fid in read_directory(data).items()}

    def compared(self, value: Any) -> Any:
        """A result with objects for fids, and no times but those that were asked for."""
        if isinstance(value, AFSFid):
            return value.Volume, self.number(value.Vnode, value.Unique)
        if isinstance(value, AFSFetchStatus):
            parent = self.number(value.ParentVnode, value.ParentUnique)
            times = _time(value.ClientModTime), _time(value.ServerModTime)
            return replace(value, ParentVnode=0, ParentUnique=0, ClientModTime=0, ServerModTime=0), parent, times
        if isinstance(value, AFSCallBack):
            return replace(value, ExpirationTime=round(value.ExpirationTime / 3600))
        if isinstance(value, AFSVolSync):
            return [_time(getattr(value, each.name)) for each in fields(value)]
        if isinstance(value, AFSFetchVolumeStatus):
            return replace(value, PartBlocksAvail=0, PartMaxBlocks=0)
        return tuple(map(self.compared, value)) if isinstance(value, tuple) else value


def _time(value: int) -> Any:
    return value if value < LONG_AGO else NOW


def deliberate(given: Any, expected: Any) -> bool:
    """Where we differ on purpose: a name that exists is refused as such in a full volume too."""
    return expected == describe(VolumeError.VOVERQUOTA) and given in map(describe, (EEXIST, UnifiedError.UAEEXIST))


COMPARED: dict[str, Callable[[Any], Any]] = {
    "GetTime": lambda result: len(result),
    "GetStatistics": lambda result: type(result) is ViceStatistics,
    "GetStatistics64": len,
    "GetXStats": lambda result: (result[0], _time(result[1]), len(result[2])),
}
"""What can be the same of results that are about a server's own life."""


class Names(BuiltinNames):
    """What our server knows of users, as `pts` told it to the stock one."""

    async def names_to_ids(self, names: Sequence[bytes]) -> list[int]:
        found: list[int] = await super().names_to_ids(names)
        return [ADMIN if name == b"admin" else each for name, each in zip(names, found, strict=True)]


class RandomCalls(InteropTest):
    """A stock dafileserver in a node, ours in this process with a memory back end, and the same key in both."""

    timeout = 3600.0

    breaks = 0
    """Broken promises that were compared."""

    def session(self, **options: Any) -> FileClient:
        """A client of ours here."""
        client = FileClient(reactor, [("127.0.0.1", 7003)], address="127.0.0.1", **options)
        client.start()
        self.addCleanup(client.stop)
        return client

    async def servers(self) -> tuple[Server, Server]:
        """Stock and ours, each with a volume."""
        key = os.urandom(32)
        node = add_node(self.new_network(), "fs1", key=key)
        start_database(node)
        for words in (("createuser", "admin", "-id", str(ADMIN)), ("adduser", "admin", "system:administrators")):
            node.run_now("pts", *words, "-localauth").check()
        start_fileserver(node, ["-abortthreshold", "0"])
        ticket = token(Ticket("admin", "", "", SESSION_KEY, 0, LOCAL_END), key=key)
        terms: dict[str, dict[str, Any]] = {
            "anyone": {},
            "other": {"unified_errors": False},
            "admin": {"security": lambda: RxkadClient(ticket)},
        }
        there = {name: self.own_client(node, **terms[name]) for name in CALLERS}
        stock = Server("stock", node.address, 7000, 7005, there)
        self.patch(fileserver.service, "BuiltinNames", Names)
        authority = Authority(UserList(["admin"]))
        authentication = Authentication(KeyStore(node.home / "etc-openafs/server"))
        cell = await start_cell(self, authority=authority, authentication=authentication, abort_threshold=0)
        served = cell.fileservers[0]
        here = {name: self.session(**terms[name]) for name in CALLERS}
        ours = Server("ours", str(served.address), served.port, served.volser_port, here)
        for server in (stock, ours):
            await server.make_volumes()
        return stock, ours

    async def test_same_results(self) -> None:
        """Thousands of random calls by three callers are answered alike, and at the end the volumes are alike."""
        stock, ours = await self.servers()
        share = budget("interop.rxafs", full=10_000, least=400)
        objects = Objects()
        generator = Generator(random.Random(share.seed), objects)
        steps: list[str] = []
        for number in range(share.count):
            if number == share.count // 4:
                for server in (stock, ours):
                    await server.clone()
            step = generator.next()
            if step.name == "Rename" and (
                stock.mixes_up(step) or await self.replaces_directory(step, stock, ours, objects)
            ):
                continue
            steps.append(f"{number}: {step}")
            expected, given = await self.both(step, stock, ours, objects)
            said = f"ours {given}\nstock {expected}\nafter (seed {share.seed}):\n" + "\n".join(steps[-CONTEXT:])
            self.assertTrue(given == expected or deliberate(given, expected), said)
        self.assertGreater(self.breaks, share.count // 20)
        for place in list(objects.kinds):
            for volume in (VOLUME, READONLY, BACKUP):
                for name, more in (("FetchStatus", ()), ("FetchData64", (0, 1 << 20, Wanted()))):
                    step = Step("admin", name, (Ref(place, volume), *more))
                    expected, given = await self.both(step, stock, ours, objects)
                    self.assertEqual(given, expected, f"at the end: {step}")

    async def replaces_directory(self, step: Step, stock: Server, ours: Server, objects: Objects) -> bool:
        """Whether a rename is onto a directory, which a stock server then keeps without a name."""
        *_, place, name = step.arguments
        listing = Step("admin", "FetchData64", (place, 0, 1 << 20, Wanted()))
        expected, given = await self.both(listing, stock, ours, objects)
        self.assertEqual(given, expected)
        return isinstance(given[-1], dict) and given[-1].get(name) in objects.directories

    async def both(self, step: Step, stock: Server, ours: Server, objects: Objects) -> tuple[Any, Any]:
        """What the two say. An object that both made has a number from then on."""
        answers = [(server, await server.call(step)) for server in (stock, ours)]
        if step.name in MADE and not any(isinstance(answer.result, Abort) for _, answer in answers):
            number = objects.add(MADE[step.name])
            for server, answer in answers:
                server.learn(number, answer.result[0])
        breaks = [server.broken(answer) for server, answer in answers]
        self.breaks += sum(map(len, breaks[0].values()))
        expected, given = (server.told(step.name, answer) for server, answer in answers)
        if breaks[0] != breaks[1]:
            return (expected, breaks[0]), (given, breaks[1])
        return expected, given
