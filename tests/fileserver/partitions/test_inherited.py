"""Telling the clients of a partition's last owner, and giving that up."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from fileserver.partitions.inherited import Inherited
from fileserver.partitions.journal import Contact, Journal
from fileserver.volume.gate import Gate

CLIENTS = 3


class Silent:
    """A teller to whom no client answers."""

    def __init__(self) -> None:
        self.asked = 0
        self.all_asked: Deferred[None] = Deferred()

    async def tell_contact(self, contact: Contact) -> bool:
        self.asked += 1
        if self.asked == CLIENTS:
            reactor.callLater(0, self.all_asked.callback, None)  # once it waits for them
        answer: Deferred[bool] = Deferred()
        return await answer


class GivenUp(TestCase):
    """The server ends meanwhile."""

    async def test_leave(self) -> None:
        """Nothing is logged as a defect, the gate opens, whoever waits goes on, and the clients stay untold."""
        path = os.path.abspath(self.mktemp())
        os.mkdir(path)
        journal = Journal(path, lambda: None)
        for number in range(CLIENTS):
            journal.note(("192.0.2.1", 7001 + number), uuid4(), 5)
        journal.close()
        gate, teller = Gate(), Silent()
        gate.freeze()
        any_teller: Any = teller
        inherited = Inherited(reactor, any_teller, gate, path)
        inherited.tell()
        await teller.all_asked
        over = inherited.over()
        inherited.leave()
        await over
        self.assertEqual((gate.frozen, inherited.untold), (False, True))
        self.assertEqual(self.flushLoggedErrors(), [])
