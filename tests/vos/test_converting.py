"""Which site `vos convertROtoRW` takes for that of the volume it converts."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from twisted.trial.unittest import TestCase

from afs.rpc.vl import VLSF_ROVOL, VLSF_RWVOL
from vos.operations.converting import readonly_index
from vos.operations.locations import Location

HERE, THERE = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
NO_SESSION: Any = None  # addresses that are equal are of one server without asking


class Sites(TestCase):
    """Two read-only sites on one server."""

    async def test_the_place(self) -> None:
        """The one that is at the place, though another on the server comes first; the first where none is."""
        sites = [(HERE, 7, VLSF_RWVOL), (HERE, 0, VLSF_ROVOL), (HERE, 1, VLSF_ROVOL)]
        found = [await readonly_index(Location(NO_SESSION, HERE, number), sites) for number in (0, 1, 5)]
        self.assertEqual(found, [1, 2, 1])
