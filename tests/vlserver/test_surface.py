"""What docs/protocol/rpc-surface.csv says of the services on a vlserver's port, held against what is served."""

from __future__ import annotations

import csv
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from afs.rpc.ubik import DISK, VOTE
from rx.constants import RxgenCode
from rx.errors import Abort
from rx.service import Procedures as ServedProcedures
from tests.vlserver.support import SERVED
from vlserver.procedures.privileges import PRIVILEGES, Privilege
from vlserver.ubik import REFUSALS, Caller, Vote

SURFACE = Path(__file__).parents[2] / "docs/protocol/rpc-surface.csv"
VL_RPCS = 34
"""Rows of VL: the RPCs, and numbers reserved for more."""

WITHOUT_KEY = {"Probe", "UpdateInterfaceAddr"}
"""Of DISK, which the table does not tell apart."""


def rows(interface: str) -> list[dict[str, str]]:
    """The table's of one service."""
    with open(SURFACE, newline="") as file:
        return [row for row in csv.DictReader(file) if row["interface"] == interface]


def privilege(text: str) -> Privilege:
    """As the table has it in words."""
    if text == "superuser":
        return Privilege.ADMINISTRATOR
    return Privilege.LISTER if text.startswith("anonymous unless") else Privilege.ANYONE


class SurfaceTests(SynchronousTestCase):
    """The table and the servers."""

    def test_location(self) -> None:
        """Each RPC of VL that 1.8.9 has is served, with the privilege it asks there; each that it lacks is refused."""
        table = rows("VL")
        self.assertEqual(len(table), VL_RPCS)
        for row in table:
            opcode, name = int(row["opcode"]), row["name"]
            if row["in_1_8_9"] == "yes":
                self.assertEqual(SERVED.find(opcode).operation.name, name)
                self.assertEqual(PRIVILEGES[name], privilege(row["required_privilege"]), name)
            else:
                self.assertEqual(self.assertRaises(Abort, SERVED.find, opcode).code, RxgenCode.RXGEN_OPCODE, name)

    def test_vote(self) -> None:
        """All of VOTE is served, to anybody."""
        self.assertEqual({int(row["opcode"]) for row in rows("VOTE")}, set(VOTE.operations))
        self.assertEqual({each.operation.opcode for each in ServedProcedures(Vote)}, set(VOTE.operations))

    def test_disk(self) -> None:
        """All of DISK is answered, and that it takes the key is asked of all but what needs none."""
        self.assertEqual({int(row["opcode"]) for row in rows("DISK")}, set(DISK.operations))
        open_ = {name for name, refusal in REFUSALS.items() if refusal is None or refusal.caller is Caller.ANYONE}
        self.assertEqual(open_, WITHOUT_KEY)
