"""fcrypt in both its forms."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rx.security import fcrypt
from tests.contracts.fcrypt import FcryptContract


class PythonTests(FcryptContract, SynchronousTestCase):
    """The reference."""

    cipher = fcrypt.PythonCipher


class ChosenTests(FcryptContract, SynchronousTestCase):
    """What is used: the C form where it was built."""

    cipher = fcrypt.Cipher

    def test_fast(self) -> None:
        """The C form was built and is the one that is used."""
        if not fcrypt.FAST:
            self.skipTest("no C compiler when the environment was made (make .venv/.fcrypt)")
        self.assertIsNot(fcrypt.Cipher, fcrypt.PythonCipher)
        self.assertEqual(fcrypt.Cipher.__module__, "rx.security._fcrypt")
