"""What the journal of clients keeps from one owner of a partition for the next."""

from __future__ import annotations

import os
from uuid import uuid4

from twisted.trial.unittest import SynchronousTestCase

from fileserver.partitions.journal import JOURNAL_FILE, RECORD, Contact, Journal, read_journal

ONE, TWO = ("192.0.2.1", 7001), ("192.0.2.2", 7001)


class JournalTests(SynchronousTestCase):
    """One partition's."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        os.mkdir(self.path)
        self.journal = Journal(self.path, lambda: None)
        self.addCleanup(self.journal.close)

    def test_rewrite(self) -> None:
        """All that was to be kept is there again, and nothing else."""
        self.journal.note(ONE, None, 9)
        contacts = [Contact(ONE, uuid4(), {1, 2}), Contact(TWO, None, {3})]
        self.journal.rewrite(contacts)
        self.assertEqual(read_journal(self.path), contacts)

    def test_everything(self) -> None:
        """A client to be told that everything is void stays one, whatever else it uses, and if written once more."""
        everything = Contact(ONE, uuid4())
        self.journal.rewrite([everything, Contact(TWO, None, {3})])
        self.journal.note(ONE, everything.uuid, 5)
        for _ in range(2):
            found = read_journal(self.path)
            self.assertEqual(found, [everything, Contact(TWO, None, {3})])
            self.journal.rewrite(found)

    def test_torn(self) -> None:
        """A record that a kill tore is left out, and the next is read."""
        self.journal.note(ONE, None, 1)
        self.journal.note(TWO, None, 2)
        self.journal.close()
        os.truncate(os.path.join(self.path, JOURNAL_FILE), 2 * RECORD.size - 1)
        self.assertEqual(read_journal(self.path), [Contact(ONE, None, {1})])
        again = Journal(self.path, lambda: None)
        self.addCleanup(again.close)
        again.note(TWO, None, 3)
        self.assertEqual(read_journal(self.path), [Contact(ONE, None, {1}), Contact(TWO, None, {3})])
