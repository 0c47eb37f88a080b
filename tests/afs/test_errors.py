"""Error codes: bases, translation, descriptions."""

import errno
from enum import IntEnum

from twisted.trial.unittest import SynchronousTestCase

from afs.errors import (
    PrError,
    RxkadError,
    UbikError,
    UnifiedError,
    VLError,
    VolserError,
    VolumeError,
    describe,
    to_errno,
    translate,
)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"


def com_err_base(name: str) -> int:
    """The base com_err gives a table: six bits a letter, then eight for the code; a signed 32-bit number."""
    base = 0
    for letter in name[:4]:
        base = base << 6 | ALPHABET.index(letter) + 1
    base = (base << 8) & 0xFFFF_FFFF
    return base - 2**32 if base >= 2**31 else base


class TableTests(SynchronousTestCase):
    """The tables."""

    def test_bases(self) -> None:
        """Every table of com_err's begins at the base of its name and has no gap."""
        tables: dict[str, tuple[type[IntEnum], int]] = {
            "VL": (VLError, 33),
            "U": (UbikError, 38),
            "VOLS": (VolserError, 18),
            "PT": (PrError, 19),
            "RXK": (RxkadError, 13),
            "uae": (UnifiedError, 130),
        }
        for name, (table, count) in tables.items():
            base = com_err_base(name)
            codes = [int(code) for code in table.__members__.values()]
            self.assertEqual(codes, list(range(base, base + count)), name)

    def test_known_codes(self) -> None:
        """Codes that the protocol pages state."""
        self.assertEqual(VLError.VL_DBBAD, 363552)
        self.assertEqual(UbikError.UNOTSYNC, 5377)
        self.assertEqual(VolserError.VOLSERVOLBUSY, 1492325133)
        self.assertEqual(VolumeError.VRESTARTING, -100)
        self.assertEqual(UnifiedError.UAEDQUOT, 49733376 + 120)
        self.assertEqual(UnifiedError.UAENOTSUP, 49733376 + 125)


class TranslationTests(SynchronousTestCase):
    """Unified errors."""

    def test_errnos(self) -> None:
        """An errno becomes the unified error of its name, and back."""
        for name in ("EPERM", "ENOENT", "EACCES", "EEXIST", "EXDEV", "EINVAL", "EFBIG", "ENOTEMPTY", "ELOOP", "EDQUOT"):
            self.assertEqual(translate(getattr(errno, name)), UnifiedError[f"UA{name}"], name)
        translated = [number for number in range(1, 512) if translate(number) != number]
        self.assertEqual([to_errno(translate(number)) for number in translated], translated)
        self.assertGreater(len(translated), 100)

    def test_left_alone(self) -> None:
        """Success, negative and volume package codes, and those of other tables are not errnos."""
        for code in (0, -1, -455, *range(101, 113), 120, 512, VLError.VL_NOENT, UnifiedError.UAEIO):
            self.assertEqual(translate(code), code)

    def test_traps(self) -> None:
        """Fixed constants meant as something else go through the Linux table; EAGAIN is not EWOULDBLOCK."""
        self.assertEqual(translate(11), UnifiedError.UAEAGAIN)
        self.assertEqual(translate(90), UnifiedError.UAEMSGSIZE)
        self.assertEqual(translate(130), UnifiedError.UAEOWNERDEAD)
        self.assertEqual(translate(95), UnifiedError.UAEOPNOTSUPP)

    def test_without_errno(self) -> None:
        """A unified error that Linux lacks reads as EIO."""
        self.assertEqual(to_errno(UnifiedError.UAEDISCON), errno.EIO)


class DescriptionTests(SynchronousTestCase):
    """What a person reads."""

    def test_names(self) -> None:
        """Every code of every table is described by its name."""
        for table in (VLError, UbikError, VolserError, PrError, RxkadError, VolumeError, UnifiedError):
            for code in table:
                self.assertTrue(describe(code).startswith(f"{code.name}: "), code)

    def test_others(self) -> None:
        """Errnos and Rx codes have names, strangers are numbers."""
        self.assertEqual(describe(errno.EACCES), "EACCES: Permission denied")
        self.assertEqual(describe(-455), "RXGEN_OPCODE")
        self.assertEqual(describe(999999), "999999")
        self.assertEqual(describe(0), "0")
