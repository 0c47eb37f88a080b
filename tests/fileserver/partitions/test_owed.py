"""Clients that do not hear at once what they are owed."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fileserver.channel import Address
from fileserver.partitions.journal import Contact
from fileserver.partitions.owed import FIRST_SECONDS, KEEP_SECONDS, LONGEST_SECONDS, PARALLEL, Owed

ONE, TWO, NEW = ("192.0.2.1", 7001), ("192.0.2.2", 7001), ("192.0.2.9", 7001)


class Clients:
    """A teller whose clients hear when they are among those `awake`; with `waiting` they take their time."""

    def __init__(self) -> None:
        self.awake: set[Address] = set()
        self.told: list[tuple[Address, frozenset[int]]] = []
        self.waiting: list[Deferred[bool]] | None = None

    async def tell_contact(self, contact: Contact) -> bool:
        self.told.append((contact.address, frozenset(contact.volumes)))
        if self.waiting is not None:
            answer: Deferred[bool] = Deferred()
            self.waiting.append(answer)
            return await answer
        return contact.address in self.awake


class OwedTests(SynchronousTestCase):
    """One partition's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clients = Clients()
        teller: Any = self.clients
        self.owed = Owed(self.clock, teller)

    def tell(self, *contacts: Contact) -> Deferred[None]:
        return ensureDeferred(self.owed.tell(contacts))

    def test_at_once(self) -> None:
        """Who hears is owed nothing, and nothing is left to do."""
        self.clients.awake = {ONE}
        self.successResultOf(self.tell(Contact(ONE, None, {1})))
        self.assertEqual((self.owed.contacts, self.clock.getDelayedCalls()), ([], []))

    def test_again(self) -> None:
        """Who does not is told again with growing pauses, until it hears."""
        self.successResultOf(self.tell(Contact(ONE, None, {1}), Contact(TWO, None, {1})))
        times = []
        for _ in range(12):
            (due,) = self.clock.getDelayedCalls()
            times.append(due.getTime() - self.clock.seconds())
            before = len(self.clients.told)
            self.clock.advance(times[-1])
            self.assertEqual(len(self.clients.told) - before, 2)
        self.assertEqual(times[:3], [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS])
        self.assertEqual(times[-1], LONGEST_SECONDS)
        self.clients.awake = {ONE, TWO}
        self.clock.advance(LONGEST_SECONDS)
        self.assertEqual((self.owed.contacts, self.clock.getDelayedCalls()), ([], []))

    def test_called(self) -> None:
        """Who calls is told then, wherever it calls from; another is not."""
        uuid = uuid4()
        self.successResultOf(self.tell(Contact(ONE, uuid, {1}), Contact(TWO, None, {2})))
        self.clients.awake = {NEW}
        before = len(self.clients.told)
        self.owed.called(NEW, uuid4())
        self.assertEqual(len(self.clients.told), before)
        self.owed.called(NEW, uuid)
        self.assertEqual(self.clients.told[before:], [(NEW, frozenset({1}))])
        self.assertEqual([contact.address for contact in self.owed.contacts], [TWO])
        self.owed.stop()

    def test_given_up(self) -> None:
        """When no promise can be left that it believes."""
        self.successResultOf(self.tell(Contact(ONE, None, {1})))
        while self.clock.getDelayedCalls():
            self.clock.advance(self.clock.getDelayedCalls()[0].getTime() - self.clock.seconds())
        self.assertGreater(self.clock.seconds(), KEEP_SECONDS)
        self.assertLess(self.clock.seconds(), KEEP_SECONDS + LONGEST_SECONDS + 1)
        self.assertEqual(self.owed.contacts, [])

    def test_more_meanwhile(self) -> None:
        """Volumes that are added while a message travels are in the next one; no volume means all."""
        self.clients.waiting = []
        self.tell(Contact(ONE, None, {1}))
        self.tell(Contact(ONE, None, {2}))
        self.clients.waiting.pop().callback(True)
        self.assertEqual([contact.volumes for contact in self.owed.contacts], [{1, 2}])
        self.tell(Contact(ONE, None))
        self.assertEqual(self.clients.told[-1], (ONE, frozenset()))
        self.clients.waiting.pop().callback(True)
        self.assertEqual(self.owed.contacts, [])
        before = len(self.clients.told)
        self.clock.advance(FIRST_SECONDS)
        self.assertEqual((len(self.clients.told), self.clock.getDelayedCalls()), (before, []))

    def test_many(self) -> None:
        """Only so many are tried again at a time, and none after the end."""
        many = [Contact((f"198.51.100.{number}", 7001), None, {1}) for number in range(2 * PARALLEL)]
        self.successResultOf(self.tell(*many))
        self.clients.told.clear()
        self.clients.waiting = []
        self.clock.advance(FIRST_SECONDS)
        self.assertEqual(len(self.clients.told), PARALLEL)
        self.clients.waiting.pop().callback(True)
        self.assertEqual(len(self.clients.told), PARALLEL + 1)
        self.owed.stop()
        self.assertEqual(len(self.clients.told), PARALLEL + 1)
        self.owed.called(many[-1].address, None)
        self.assertEqual((len(self.clients.told), self.clock.getDelayedCalls()), (PARALLEL + 1, []))

    def test_late(self) -> None:
        """Who hears after it was given up is no defect; what it is owed since then is told, too."""
        self.successResultOf(self.tell(Contact(ONE, None, {1}), Contact(TWO, None, {1})))
        while self.clock.seconds() <= KEEP_SECONDS - LONGEST_SECONDS:
            self.clock.advance(LONGEST_SECONDS)
        hearing: list[Deferred[bool]] = []
        self.clients.waiting = hearing
        self.owed.called(ONE, None)
        self.owed.called(TWO, None)
        while self.owed.contacts:
            self.clock.advance(LONGEST_SECONDS)
        self.tell(Contact(ONE, None, {1}))
        self.clients.waiting, self.clients.awake = None, {ONE}
        for answer in hearing:
            answer.callback(True)
        self.assertEqual(self.owed.contacts, [Contact(ONE, None, {1})])
        self.clock.advance(FIRST_SECONDS)
        self.assertEqual((self.owed.contacts, self.clock.getDelayedCalls()), ([], []))

    def test_stop(self) -> None:
        """Nothing goes on; those who have not heard stay, and are told when it goes on."""
        self.clients.waiting = []
        telling = self.tell(Contact(ONE, None, {1}))
        self.owed.stop()
        self.failureResultOf(telling, CancelledError)
        self.assertEqual((len(self.owed.contacts), self.clock.getDelayedCalls()), (1, []))
        self.clients.waiting, self.clients.awake = None, {ONE}
        self.owed.resume()
        self.clock.advance(FIRST_SECONDS)
        self.assertEqual(self.owed.contacts, [])
