"""Requests with any word in any place: an answer or a refusal, never half a change, and a sound database after it."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import TestCase

from afs.rpc.vl import VL, VldbListByAttributes
from rx.errors import Abort
from rx.security.interfaces import ANONYMOUS
from tests.contracts.ivlstore import everything
from tests.support.budget import budget
from tests.vlserver.generator import CROWDED, Generator
from tests.vlserver.support import ADMIN, SERVED, FakeCall, FakeConnection, Vldb
from vlserver.operations.entries import VLDELETED
from vlserver.procedures import Procedures
from xdr import XdrError

OPERATIONS = {operation.name: operation for operation in VL.operations.values()}
EXTREMES = (0, 1, 2, 7, 8, 9, 13, 14, 0xFF, 0x100, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 0xFF000001, 132120)
"""Words at the edges of what counts, kinds, partition numbers, ids, addresses and indexes can be."""
LOOK_EVERY = 200
"""Calls after which the whole database is looked at."""


class HostileTest(TestCase):
    """Valid requests with words replaced, cut off or added."""

    timeout = 900

    def spoilt(self, request: bytes, random_: random.Random) -> bytes:
        """The request with a few words changed, or another length."""
        words = [request[at : at + 4] for at in range(0, len(request), 4)]
        for _ in range(random_.randrange(0, 4)):
            if words:
                extreme = random_.choice((*EXTREMES, random_.getrandbits(32))).to_bytes(4, "big")
                words[random_.randrange(len(words))] = extreme
        spoilt = b"".join(words)
        if random_.random() < 0.05:
            spoilt = spoilt[: random_.randrange(len(spoilt) + 1)]
        return spoilt + random_.randbytes(4 * random_.randrange(1, 9)) if random_.random() < 0.02 else spoilt

    async def called(self, vldb: Vldb, name: str, request: bytes, trusted: bool) -> bool:
        """Run a request as the server would; whether it was answered. What else it raises fails the test."""
        operation = OPERATIONS[name]
        call: Any = FakeCall(operation.opcode, FakeConnection(ADMIN if trusted else ANONYMOUS))
        try:
            arguments = operation.decode_request(request)[0]
            instance = Procedures(vldb.database, vldb.doorkeeper, vldb.counters, call)
            result = await SERVED.find(operation.opcode).function(instance, *arguments)
            operation.encode_reply(result)
        except (Abort, XdrError):
            return False
        return True

    async def test_any_words(self) -> None:
        """Refusals change nothing; strangers change nothing; all entries can be listed in every form at any time."""
        allowance = budget("vlserver.hostile", full=200_000, least=2_000)
        random_ = random.Random(allowance.seed)
        generator = Generator(random_, CROWDED)
        vldb = Vldb()
        answered = 0
        for step in range(allowance.count):
            name, arguments = generator.next()
            try:
                request = self.spoilt(OPERATIONS[name].encode_request(arguments), random_)
            except XdrError:  # a name that is too long for the wire
                continue
            trusted = random_.random() < 0.9
            revision = vldb.store.revision
            done = await self.called(vldb, name, request, trusted)
            answered += done
            if not (done and trusted):
                self.assertEqual(vldb.store.revision, revision, f"step {step}: {name} {request.hex()}")
            if step % LOOK_EVERY == 0:
                await self.look(vldb)
        await self.look(vldb)
        self.assertGreater(answered, allowance.count // 10)

    async def look(self, vldb: Vldb) -> None:
        """Every entry is found by its ids and names, and listed in each form."""
        await vldb.store.read(everything)
        anyone = vldb.as_anyone
        count, entries = await anyone.ListAttributesN(VldbListByAttributes())
        self.assertEqual(count, len(entries))
        self.assertEqual((await anyone.LinkedList(VldbListByAttributes()))[0], count)
        self.assertEqual((await anyone.ListAttributes(VldbListByAttributes()))[0], count)
        for entry in entries:
            self.assertLessEqual(entry.nServers, len(entry.serverNumber))
            if not entry.flags & VLDELETED:
                self.assertEqual((await anyone.GetEntryByIDN(entry.volumeId[0], 0)).volumeId, entry.volumeId)
