"""The table of known partitions: what is put is there after a restart, and no two share a place."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from twisted.trial.unittest import SynchronousTestCase

from fileserver.interfaces import Damaged
from fileserver.partitions.table import TABLE_NAME, Known, Table, Taken


class Tables(SynchronousTestCase):
    """A state directory."""

    def setUp(self) -> None:
        self.state = Path(os.path.abspath(self.mktemp()))
        self.state.mkdir()
        self.row = Known(uuid4(), "/vicepa", 0, "namei", "/sbin/hook", 5, True)

    def test_stored(self) -> None:
        """Rows, changes and removals are found by the next reader; only a directory never written is new."""
        table = Table.read(self.state)
        self.assertTrue(table.is_new)
        other = Known(uuid4(), "/vicepb", 1, "namei-user")
        for row in (other, self.row):
            table.put(row)
        again = Table.read(self.state)
        self.assertFalse(again.is_new)
        self.assertEqual(list(again), [self.row, other])
        self.assertEqual((again.get(other.uuid), again.numbered(0), again.numbered(7)), (other, self.row, None))
        again.remove(self.row.uuid)
        self.assertEqual(list(Table.read(self.state)), [other])

    def test_taken(self) -> None:
        """A number or path of another partition is refused; partitions in memory have no path to share."""
        table = Table.read(self.state)
        table.put(self.row)
        self.assertRaises(Taken, table.put, Known(uuid4(), "/elsewhere", 0, "namei"))
        self.assertRaises(Taken, table.put, Known(uuid4(), "/vicepa", 1, "namei"))
        for number in (3, 4):
            table.put(Known(uuid4(), "", number, "memory"))
        self.assertEqual([row.number for row in Table.read(self.state)], [0, 3, 4])

    def test_garbage(self) -> None:
        """What is no table, or a newer version's, is Damaged and left alone; unknown fields of a row are left out."""
        path = self.state / TABLE_NAME
        for garbage in ("", "[]", "{}", '{"version": 2, "partitions": []}', '{"version": 1, "partitions": [{}]}'):
            path.write_text(garbage)
            self.assertRaises(Damaged, Table.read, self.state)
            self.assertEqual(path.read_text(), garbage)
        row = f'{{"uuid": "{self.row.uuid}", "path": "/p", "number": 2, "backend": "namei", "colour": "blue"}}'
        path.write_text(f'{{"version": 1, "partitions": [{row}]}}')
        self.assertEqual(list(Table.read(self.state)), [Known(self.row.uuid, "/p", 2, "namei")])
