"""Key files, and the tokens their owner makes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from random import Random

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from afs.keys import (
    Key,
    KeyFileDamaged,
    KeyKind,
    KeyStore,
    format_key_file_ext,
    local_token,
    parse_key_file,
    parse_key_file_ext,
    random_key,
    write_key_file_ext,
)
from rx.security.interfaces import Binding, Identity
from rx.security.kerberos import des
from rx.security.rxkad import RxkadClient, RxkadServer
from tests.support.rxkad import LAB_KEY, NOW

LAB_FILE = bytes.fromhex("00000001 00000010 00000002 00000001 00000012 00000020") + LAB_KEY
"""The KeyFileExt of the cell the captures were made in, as asetkey wrote it."""

AES = Key(KeyKind.RXKAD_KRB5, 1, 18, LAB_KEY)
DES = Key(KeyKind.RXKAD, 3, 0, bytes.fromhex("0123456789abcdef"))
KEY_FILE = bytes.fromhex("00000001 00000003 0123456789abcdef") + bytes(84)


class FormatTests(SynchronousTestCase):
    """The files."""

    def test_stock(self) -> None:
        """What asetkey wrote is read, and written the same."""
        self.assertEqual(parse_key_file_ext(LAB_FILE), (AES,))
        self.assertEqual(format_key_file_ext([AES]), LAB_FILE)

    def test_more_words(self) -> None:
        """Words that a later version may add before a key are passed over."""
        longer = LAB_FILE.replace(bytes.fromhex("00000010"), bytes.fromhex("00000018"), 1)
        longer = longer[:20] + b"whatever" + longer[20:]
        self.assertEqual(parse_key_file_ext(longer), (AES,))

    def test_damaged(self) -> None:
        """A file cut short anywhere, or with impossible lengths, is no key file."""
        for size in range(len(LAB_FILE)):
            self.assertRaises(KeyFileDamaged, parse_key_file_ext, LAB_FILE[:size])
        for at, word in ((0, 2), (0, 0xFFFFFFFF), (4, 15), (4, 0), (4, 0xFFFFFFFF), (20, 0xFFFFFFFF)):
            damaged = LAB_FILE[:at] + word.to_bytes(4, "big") + LAB_FILE[at + 4 :]
            self.assertRaises(KeyFileDamaged, parse_key_file_ext, damaged)

    def test_key_file(self) -> None:
        """KeyFile has DES keys, and room for more behind them."""
        self.assertEqual(parse_key_file(KEY_FILE), (DES,))
        self.assertRaises(KeyFileDamaged, parse_key_file, KEY_FILE[:15])

    def test_keys_stay_secret(self) -> None:
        """A key that is printed does not show itself."""
        self.assertNotIn(str(LAB_KEY)[2:10], repr(AES))


class KeyStoreTests(SynchronousTestCase):
    """What a server finds."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def write(self, name: str, content: bytes) -> None:
        fresh = self.directory / "fresh"
        fresh.write_bytes(content)
        fresh.replace(self.directory / name)

    def test_exact(self) -> None:
        """A key is found by its kind, enctype and version, all three."""
        self.write("KeyFileExt", LAB_FILE)
        store = KeyStore(self.directory)
        self.assertEqual(store.krb5_key(18, 1), LAB_KEY)
        for enctype, kvno in ((17, 1), (18, 2), (18, 0)):
            self.assertIsNone(store.krb5_key(enctype, kvno))
        self.assertIsNone(store.des_key(1))

    def test_wrong_sizes(self) -> None:
        """A key that is too short or too long for what it says it is, is no key: no ticket makes anybody try it."""
        damaged = [replace(AES, value=LAB_KEY[:16]), replace(AES, enctype=17), replace(DES, value=bytes(16))]
        self.write("KeyFileExt", format_key_file_ext(damaged))
        store = KeyStore(self.directory, allow_des=True)
        found = store.krb5_key(18, 1), store.krb5_key(17, 1), store.des_key(3), store.latest()
        self.assertEqual(found, (None, None, None, None))

    def test_no_files(self) -> None:
        """Without files there are no keys."""
        store = KeyStore(self.directory, allow_des=True)
        self.assertEqual((store.keys, store.krb5_key(18, 1), store.des_key(3), store.latest()), ((), None, None, None))

    def test_des(self) -> None:
        """DES keys exist only where DES is allowed, whichever file they are in."""
        self.write("KeyFile", KEY_FILE)
        self.write("KeyFileExt", format_key_file_ext([replace(DES, kvno=4)]))
        refusing, allowing = KeyStore(self.directory), KeyStore(self.directory, allow_des=True)
        self.assertEqual((refusing.des_key(3), refusing.des_key(4), refusing.latest()), (None, None, None))
        self.assertEqual((allowing.des_key(3), allowing.des_key(4)), (DES.value, DES.value))
        self.assertEqual(allowing.latest(), replace(DES, kvno=4))

    def test_changes(self) -> None:
        """A file that is made, replaced or removed counts at once."""
        store = KeyStore(self.directory)
        self.write("KeyFileExt", LAB_FILE)
        self.assertEqual(store.krb5_key(18, 1), LAB_KEY)
        self.write("KeyFileExt", format_key_file_ext([replace(AES, kvno=2)]))
        self.assertEqual((store.krb5_key(18, 1), store.krb5_key(18, 2)), (None, LAB_KEY))
        (self.directory / "KeyFileExt").unlink()
        self.assertIsNone(store.krb5_key(18, 2))

    def test_damaged_later(self) -> None:
        """A file damaged later leaves the keys as they were, and the log says so once; at the start it is an error."""
        self.write("KeyFileExt", LAB_FILE)
        store = KeyStore(self.directory)
        self.write("KeyFileExt", LAB_FILE[:30])
        with capturedLogs() as events:
            self.assertEqual(store.krb5_key(18, 1), LAB_KEY)
            self.assertEqual(store.krb5_key(18, 1), LAB_KEY)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
        self.assertRaises(KeyFileDamaged, KeyStore, self.directory)
        self.write("KeyFileExt", LAB_FILE)
        self.assertEqual(store.krb5_key(18, 1), LAB_KEY)

    def test_latest(self) -> None:
        """Our own tickets are made with the enctype stock prefers, in its highest version."""
        keys = [
            Key(KeyKind.RXKAD_KRB5, 9, 17, bytes(16)),
            AES,
            replace(AES, kvno=5),
            Key(KeyKind.RXKAD_KRB5, 9, 20, bytes(32)),
            Key(KeyKind.RXGK, 99, 18, bytes(32)),
            Key(KeyKind.RXKAD_KRB5, 99, 23, bytes(16)),
            DES,
        ]
        self.write("KeyFileExt", format_key_file_ext(keys))
        for without, expected in ((0, (18, 5)), (3, (17, 9)), (1, (20, 9)), (1, None)):
            if without == 3:
                keys = [key for key in keys if key.enctype != 18]
            elif without:
                keys = [key for key in keys if key.enctype != (17 if expected else 20)]
            self.write("KeyFileExt", format_key_file_ext(keys))
            latest = KeyStore(self.directory).latest()
            self.assertEqual(latest and (latest.enctype, latest.kvno), expected)
        self.assertEqual(KeyStore(self.directory, allow_des=True).latest(), DES)


class OwnKeyTests(SynchronousTestCase):
    """Making keys and tokens."""

    def test_written(self) -> None:
        """A new key is random, readable by its owner alone, and found again."""
        directory = Path(self.mktemp())
        directory.mkdir()
        key = random_key()
        write_key_file_ext(directory, [key])
        self.assertEqual(os.stat(directory / "KeyFileExt").st_mode & 0o777, 0o600)
        self.assertEqual(KeyStore(directory).keys, (key,))
        self.assertNotEqual(random_key(), key)
        self.assertEqual(sorted(each.name for each in directory.iterdir()), ["KeyFileExt"])

    def test_local_tokens(self) -> None:
        """A server with the key takes the token its owner makes, as `afs`, whatever kind of key it is."""
        random = Random(1)
        directory = Path(self.mktemp())
        directory.mkdir()
        for enctype, size in ((17, 16), (18, 32), (19, 16), (20, 32), (0, 8)):
            kind = KeyKind.RXKAD_KRB5 if enctype else KeyKind.RXKAD
            key = Key(kind, 7, enctype, random.randbytes(size))
            write_key_file_ext(directory, [key])
            token = local_token(key, random.randbytes)
            client = RxkadClient(token)
            server = RxkadServer(KeyStore(directory, allow_des=True), random.getrandbits)
            client.bind(Binding(1, 4, 2))
            server.bind(Binding(1, 4, 2))
            server.meet(1)
            server.check_response(client.respond(server.challenge(), (1, 0, 0, 0)), NOW)
            self.assertEqual(server.identity, Identity("rxkad", "afs"))
            self.assertEqual(token.session_key, des.with_odd_parity(token.session_key))

    def test_session_keys_are_strong(self) -> None:
        """A random session key that happens to be weak is not used."""
        weak = iter([bytes(8), b"\x1f" * 4 + b"\x0e" * 4, b"12345678", bytes(16)])
        token = local_token(AES, lambda size: next(weak))
        self.assertEqual(token.session_key, des.with_odd_parity(b"12345678"))
