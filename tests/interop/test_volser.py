"""The same random AFSVol calls to a stock davolserver and to ours: equal results, refusals, dumps and volumes."""

from __future__ import annotations

import os
import random
from dataclasses import fields, is_dataclass, replace
from errno import ENOENT
from typing import Any

from twisted.internet.threads import deferToThread

from afs.client import FileClient
from afs.errors import VolserError, VolumeError, describe
from afs.keys import LOCAL_END
from afs.rpc.volser import AFSVol, diskPartition, diskPartition64, transDebugInfo, volintInfo, volintXInfo
from rx.errors import Abort, CallLost, RxError
from rx.security.kerberos.ticket import Ticket
from rx.security.rxkad import RxkadClient
from rx.streams import Buffer
from tests.interop.case import InteropTest
from tests.interop.dump_streams import past, sample, taken_apart
from tests.interop.namespaces import Node
from tests.interop.ours import start_plugin, wait_until_said
from tests.interop.stock import add_node, start_database, start_fileserver
from tests.interop.volser_calls import (
    FIRST,
    LONG_AGO,
    SECOND,
    THIRD,
    Generator,
    Step,
    Trans,
    Transactions,
    argument,
)
from tests.support.budget import budget
from tests.support.rxkad import SESSION_KEY, token

CALLERS = ("anyone", "admin")
CONTEXT = 40
"""Calls before a difference that are told."""

LOG_SIZE = 3000

RECENT = LONG_AGO + 1000
"""Times after this are now."""

DATES = frozenset({"time", "creationTime"})


class Server:
    """One of the two: how to call it as anybody, and what it calls the transactions."""

    def __init__(self, node: Node, clients: dict[str, FileClient]) -> None:
        self._node = node
        self._address = node.address
        self._clients = clients
        self._transactions: dict[int, int] = {}
        self._numbers: dict[int, int] = {}

    def volser(self, caller: str) -> AFSVol:
        return self._clients[caller].volser((self._address, 7005))

    def log(self) -> str:
        """The end of what a stock volume server says."""
        return self._node.path("/var/log/openafs/VolserLog").read_text(errors="replace")[-LOG_SIZE:]

    def learn(self, number: int, trans: int) -> None:
        """It began a transaction."""
        self._transactions[number] = trans
        self._numbers[trans] = number

    async def call(self, step: Step) -> tuple[Any, list[bytes]]:
        """A result or an Abort, and what came by streams."""
        arguments = argument(step.arguments, self._transactions, self._address)
        try:
            result = await getattr(self.volser(step.caller), step.name)(*arguments)
        except RxError as refusal:
            result = refusal
        return result, [bytes(each) for each in arguments if isinstance(each, Buffer)]

    async def told(self, step: Step, result: Any, streams: list[bytes]) -> Any:
        """An answer as both servers should give it."""
        if isinstance(result, Abort):
            return describe(result.code)
        if isinstance(result, CallLost):
            return "silence"
        if step.name in BEGINNING:
            return "begun"
        if step.name in ("Dump", "DumpV2"):
            return [await taken_apart(each, RECENT) for each in streams]
        if isinstance(result, tuple) and result and isinstance(result[0], (volintInfo, volintXInfo)):
            result = tuple(sorted(result, key=lambda each: each.volid))
        return self.compared(result), streams

    def compared(self, value: Any) -> Any:
        """A result with numbers for transactions, and no times but those that were asked for."""
        if isinstance(value, tuple):
            return tuple(map(self.compared, value))
        if isinstance(value, (diskPartition, diskPartition64)):
            return value.name
        if isinstance(value, transDebugInfo):
            value = replace(value, tid=self._numbers.get(value.tid, -1))
        if not is_dataclass(value):
            return value
        dates = {each.name: getattr(value, each.name) for each in fields(value)}
        return {
            name: past(found, RECENT) if "Date" in name or name in DATES else found for name, found in dates.items()
        }


def deliberate(step: Step, given: Any, expected: Any) -> bool:
    """Where we differ on purpose: what is not there is VNOVOL and not -1 to nuke, a conversion that succeeded is not
    the length of some path (43 here), and a forward says why it was refused.
    """
    return isinstance(expected, str) and BETTER.get((step.name, expected)) == given


def differences(ours: Any, stock: Any, where: str = "") -> str:
    """What is not equal in two answers, and where."""
    if type(ours) is type(stock) and isinstance(ours, (list, tuple)) and len(ours) == len(stock):
        parts = [differences(*pair, f"{where}[{at}]") for at, pair in enumerate(zip(ours, stock, strict=True))]
        return "\n".join(filter(None, parts))
    if isinstance(ours, dict) and isinstance(stock, dict):
        names = sorted({*ours, *stock})
        return "\n".join(filter(None, (differences(ours.get(n), stock.get(n), f"{where}.{n}") for n in names)))
    return "" if ours == stock else f"{where}: ours {ours!r:.1000}, stock {stock!r:.1000}"


BETTER: dict[tuple[str, Any], Any] = {
    ("NukeVolume", describe(-1)): describe(VolumeError.VNOVOL),
    ("ConvertROtoRWvolume", describe(43)): (None, []),
    ("Forward", describe(VolserError.VOLSERDUMPERROR)): describe(ENOENT),
}
BEGINNING = ("TransCreate", "CreateVolume")
ENDING = {"EndTrans": Transactions.end, "DeleteVolume": Transactions.delete}


class RandomCalls(InteropTest):
    """A stock davolserver and ours in one cell, each with two partitions."""

    timeout = 3600.0

    async def servers(self) -> tuple[Server, Server]:
        network, key = self.new_network(), os.urandom(32)
        stock, own = (add_node(network, name, key=key, partitions=("a", "b")) for name in ("fs1", "fs2"))
        await deferToThread(self.start, stock, own)
        ticket = token(Ticket("admin", "", "", SESSION_KEY, 0, LOCAL_END), key=key)
        terms: dict[str, dict[str, Any]] = {"anyone": {}, "admin": {"security": lambda: RxkadClient(ticket)}}
        clients = {name: self.own_client(stock, **terms[name]) for name in CALLERS}
        return Server(stock, clients), Server(own, clients)

    def start(self, stock: Node, own: Node) -> None:
        start_database(stock)
        start_fileserver(stock)
        places = ["--partition", "/vicepa", "--partition", "/vicepb"]
        options = ["--address", own.address, "--state", str(own.home / "state"), "--protection", "none", *places]
        wait_until_said(start_plugin(own, "afs-fileserver", *options), "serving AFSVol")

    async def test_same_results(self) -> None:
        """Thousands of random calls are answered alike, and at the end both have the same volumes with the same in
        them.
        """
        stock, ours = await self.servers()
        share = budget("interop.volser", full=10_000, least=400)
        transactions = Transactions()
        streams = {"full": sample(FIRST.id, LONG_AGO), "changes": sample(FIRST.id, LONG_AGO, since=LONG_AGO - 1)}
        generator = Generator(random.Random(share.seed), transactions, streams)
        for volume in (FIRST, SECOND, THIRD):
            generator.fill(volume)
        steps: list[str] = []
        for number in range(share.count):
            step = generator.next()
            steps.append(f"{number}: {step}")
            expected, given = await self.both(step, stock, ours, transactions)
            if given != expected and not deliberate(step, given, expected):
                context = "\n".join(steps[-CONTEXT:])
                self.fail(f"{differences(given, expected)}\nafter (seed {share.seed}):\n{context}\n{stock.log()}")
        for number in list(transactions.open):
            await self.both(Step("admin", "EndTrans", (Trans(number),)), stock, ours, transactions)

    async def both(self, step: Step, stock: Server, ours: Server, transactions: Transactions) -> tuple[Any, Any]:
        """What the two say. A transaction that both began has a number from then on."""
        answers = [(server, *await server.call(step)) for server in (stock, ours)]
        told = [await server.told(step, result, streams) for server, result, streams in answers]
        if told[0] == told[1] == "begun":
            results = [result for _, result, _ in answers]
            if step.name == "TransCreate":
                number = transactions.add(*step.arguments)
            else:
                number = transactions.add(step.arguments[4], step.arguments[0], 0)
                results = [trans for _, trans in results]
            for (server, _, _), trans in zip(answers, results, strict=True):
                server.learn(number, trans)
        if step.name in ENDING and told[0] == told[1] and not isinstance(answers[0][1], Abort):
            ENDING[step.name](transactions, step.arguments[0].number)
        return told[0], told[1]
