"""Both ends of rxkad, bound to one connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import RxkadCode
from rx.errors import Abort
from rx.security.interfaces import Binding, Identity
from rx.security.rxkad import Level, RxkadClient, RxkadServer
from tests.contracts.isecurity import NUMBERS
from tests.support.rxkad import DES_KEY, NOW, Keys, client, krb4_token, server

ALICE = Identity("rxkad", "alice", "", "LAB.TEST")
BINDING = Binding(0x8765_4321, 0x1234_5678, 2)
DES_KEYS = Keys({}, {3: DES_KEY})
"""A server's where DES is allowed, with the key of `krb4_token`."""


class RxkadCase(SynchronousTestCase):
    """Helpers."""

    def refused(self, code: int, act: Callable[..., Any], *arguments: Any) -> None:
        refusal = self.assertRaises(Abort, act, *arguments)
        self.assertEqual(RxkadCode(refusal.code), RxkadCode(code), str(refusal))

    def bound(self, one: RxkadClient, other: RxkadServer, modern: bool = True) -> None:
        one.bind(BINDING)
        other.bind(BINDING)
        other.meet(1 if modern else 0)

    def ends(self, level: Level, modern: bool = True) -> tuple[RxkadClient, RxkadServer]:
        ends = (client(level=level), server()) if modern else (client(krb4_token(), level), server(DES_KEYS))
        self.bound(*ends, modern)
        ends[1].check_response(ends[0].respond(ends[1].challenge(), NUMBERS), NOW)
        return ends
