"""rxnull, and the testing class that seals, against the contract of security classes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rx.security.interfaces import Identity
from rx.security.null import Null
from tests.contracts.isecurity import SecurityContract
from tests.support.sealing import Sealing


class NullTests(SecurityContract, SynchronousTestCase):
    """Nothing is proved and nothing protected."""

    make_client = Null
    make_server = Null


class SealingTests(SecurityContract, SynchronousTestCase):
    """The class the engine's own tests use keeps the contract too, so that they mean something."""

    make_client = Sealing
    make_server = staticmethod(lambda: Sealing(server=True))
    identity = Identity("rxkad", "ali", "", "BABA")
