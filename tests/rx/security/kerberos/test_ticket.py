"""Tickets: names, shapes, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import RxkadCode
from rx.errors import Abort
from rx.security.kerberos import der, des, krb4
from rx.security.kerberos.der import DerError
from rx.security.kerberos.enctypes import PROFILES, TICKET_USAGE, encrypt
from rx.security.kerberos.ticket import (
    INVALID_FLAG,
    TRANSITED_CHECKED_FLAG,
    EncryptedData,
    Ticket,
    decode,
    encode,
    encode_enc_ticket_part,
    encode_encrypted_data,
    krb4_name,
    read_encrypted_data,
)
from tests.support.budget import budget
from tests.support.rxkad import DES_KEY, LAB_KEY, NOW, SESSION_KEY, USER, Keys

CONFOUNDER = bytes(range(16))


def whole(encrypted_part: bytes, version: int = 5) -> bytes:
    """A Ticket around an EncryptedData, as a KDC sends it."""
    names = b"".join(der.element(der.GENERAL_STRING, name) for name in (b"afs", b"lab.test"))
    service = der.sequence({0: der.encode_integer(1), 1: der.element(der.SEQUENCE, names)})
    realm = der.element(der.GENERAL_STRING, b"LAB.TEST")
    fields = {0: der.encode_integer(version), 1: realm, 2: service, 3: encrypted_part}
    return der.element(der.APPLICATION | 1, der.sequence(fields))


class TicketTests(SynchronousTestCase):
    """Kerberos 5."""

    def refused(self, code: RxkadCode, data: bytes, part_only: bool = True, keys: Keys | None = None) -> None:
        refusal = self.assertRaises(Abort, decode, data, part_only, keys or Keys())
        self.assertEqual(RxkadCode(refusal.code), code, str(refusal))

    def test_every_enctype(self) -> None:
        """A ticket comes back as it was, under each enctype, whole and as its encrypted part alone."""
        for enctype, profile in PROFILES.items():
            key = bytes(range(profile.key_size))
            keys = Keys({(enctype, 7): key})
            for ticket in (USER, replace(USER, instance="admin"), Ticket("afs", "", "", SESSION_KEY, 0, 0x7FFFFFFF)):
                part = encode(ticket, enctype, 7, key, CONFOUNDER)
                self.assertEqual(decode(part, True, keys), ticket)
                self.assertEqual(decode(whole(part), False, keys), ticket)

    def test_des_enctypes(self) -> None:
        """A ticket under DES opens where there is a DES key, which is only where DES is allowed."""
        for enctype in des.DES_ENCTYPES:
            cipher = des.encrypt(enctype, DES_KEY, encode_enc_ticket_part(USER), b"confound")
            part = encode_encrypted_data(EncryptedData(enctype, 3, cipher))
            self.assertEqual(decode(part, True, Keys(des={3: DES_KEY})), USER)
            self.refused(RxkadCode.RXKADUNKNOWNKEY, part)
            self.refused(RxkadCode.RXKADUNKNOWNKEY, part, keys=Keys(des={4: DES_KEY}))
            self.refused(RxkadCode.RXKADBADTICKET, part, keys=Keys(des={3: bytes(8)}))

    def test_unknown_enctypes(self) -> None:
        """Any other enctype is an unknown key, though a key of its number existed."""
        for enctype in (-1, 0, 4, 16, 21, 23, 2**31 - 1):
            part = encode_encrypted_data(EncryptedData(enctype, 1, bytes(100)))
            self.refused(RxkadCode.RXKADUNKNOWNKEY, part, keys=Keys({(enctype, 1): LAB_KEY}))

    def test_version(self) -> None:
        """A ticket of another version than 5 cannot be used."""
        part = encode(USER, 18, 1, LAB_KEY, CONFOUNDER)
        self.refused(RxkadCode.RXKADBADTICKET, whole(part, version=4), part_only=False)

    def test_wrong_shape(self) -> None:
        """The encrypted part is no ticket, nor a ticket an encrypted part; nothing may follow either."""
        part = encode(USER, 18, 1, LAB_KEY, CONFOUNDER)
        self.refused(RxkadCode.RXKADBADTICKET, part, part_only=False)
        self.refused(RxkadCode.RXKADBADTICKET, whole(part), part_only=True)
        self.refused(RxkadCode.RXKADBADTICKET, part + b"\0")
        self.refused(RxkadCode.RXKADBADTICKET, whole(part) + b"\0", part_only=False)

    def test_no_kvno(self) -> None:
        """A ticket without a key version is one of version 0."""
        sealed = read_encrypted_data(encode(USER, 18, 0, LAB_KEY, CONFOUNDER))
        cipher = der.element(der.OCTET_STRING, sealed.cipher)
        part = der.sequence({0: der.encode_integer(18), 2: cipher})
        self.assertEqual(decode(part, True, Keys({(18, 0): LAB_KEY})), USER)

    def test_invalid_flag(self) -> None:
        """A ticket that is to be validated first is not for us yet."""
        plain = encode_enc_ticket_part(USER)
        flags = der.encode_bits(TRANSITED_CHECKED_FLAG)
        self.assertEqual(plain.count(flags), 1)
        self.refused(RxkadCode.RXKADNOAUTH, self.sealed(plain.replace(flags, der.encode_bits(INVALID_FLAG))))

    def test_other_session_keys(self) -> None:
        """A session key of a strong enctype becomes a DES key; one that gives none makes a bad ticket."""
        plain = encode_enc_ticket_part(USER)
        old = der.sequence({0: der.encode_integer(1), 1: der.element(der.OCTET_STRING, SESSION_KEY)})
        for enctype, key, expected in ((18, bytes(32), "9da4198f510dcd8c"), (17, bytes(3), ""), (4, bytes(8), "")):
            new = der.sequence({0: der.encode_integer(enctype), 1: der.element(der.OCTET_STRING, key)})
            part = self.sealed(self.exchanged(plain, old, new))
            if expected:
                self.assertEqual(decode(part, True, Keys()).session_key.hex(), expected)
            else:
                self.refused(RxkadCode.RXKADBADTICKET, part)

    def test_names(self) -> None:
        """Principals become the names AFS knows; those that would look like somebody else are refused."""
        for components, expected in (
            ([b"alice"], ("alice", "")),
            ([b"alice", b"admin"], ("alice", "admin")),
            ([b"host", b"fs1.lab.test"], ("rcmd", "fs1")),
            ([b"imap", b"mail.lab.test"], ("imap", "mail")),
            ([b"kadmin", b"admin.x"], ("kadmin", "admin.x")),
            ([b"host"], ("host", "")),
            ([b"x" * 63], ("x" * 63, "")),
        ):
            self.assertEqual(krb4_name(components), expected)
        for refused in (
            [],
            [b""],
            [b"alice.admin"],
            [b"a", b"b", b"c"],
            [b"host", b"fs1"],
            [b"alice@OTHER"],
            [b"alice", b"admin@OTHER"],
            [b"x" * 64],
            [b"al\0ice"],
            [b"al\nice"],
        ):
            self.assertRaises(DerError, krb4_name, refused)

    def test_every_change_within(self) -> None:
        """A ticket whose content is wrong in any byte, though sealed rightly, is refused or is another; never more."""
        plain = encode_enc_ticket_part(USER)
        for at in range(len(plain)):
            for changed in (plain[:at], plain[:at] + bytes([plain[at] ^ 0x21]) + plain[at + 1 :]):
                try:
                    ticket = decode(self.sealed(changed), True, Keys())
                except Abort as refusal:
                    self.assertIn(refusal.code, (RxkadCode.RXKADBADTICKET, RxkadCode.RXKADNOAUTH))
                else:
                    self.assertIsInstance(ticket, Ticket)

    def test_garbage(self) -> None:
        """Random bytes, and random pieces of DER, are bad tickets or ones of unknown keys."""
        share = budget("rxkad.tickets", full=100_000)
        random = Random(share.seed)
        for _ in range(share.count):
            data = random.randbytes(random.randrange(80))
            for _ in range(random.randrange(4)):
                data = der.element(random.choice((0x30, 0x61, 0xA0, 0xA2, 0x04, 0x02)), data)
            for part_only in (True, False):
                refusal = self.assertRaises(Abort, decode, data, part_only, Keys())
                self.assertIn(refusal.code, (RxkadCode.RXKADBADTICKET, RxkadCode.RXKADUNKNOWNKEY))

    def sealed(self, plain: bytes) -> bytes:
        cipher = encrypt(18, LAB_KEY, TICKET_USAGE, plain, CONFOUNDER)
        return encode_encrypted_data(EncryptedData(18, 1, cipher))

    def exchanged(self, plain: bytes, old: bytes, new: bytes) -> bytes:
        """The plaintext with another session key, all lengths made right."""
        body = der.whole(der.whole(plain, der.APPLICATION | 3), der.SEQUENCE)
        old, new = der.element(der.CONTEXT | 1, old), der.element(der.CONTEXT | 1, new)
        self.assertEqual(body.count(old), 1)
        return der.element(der.APPLICATION | 3, der.element(der.SEQUENCE, body.replace(old, new)))


class DerTests(SynchronousTestCase):
    """The decoder of DER."""

    def test_lengths(self) -> None:
        """Elements of every size of length come back; lengths beyond the data, or too long, are refused."""
        for size in (0, 1, 127, 128, 255, 256, 65535, 65536):
            data = der.element(der.OCTET_STRING, bytes(size))
            self.assertEqual(der.whole(data, der.OCTET_STRING), bytes(size))
            self.assertRaises(DerError, der.whole, data[:-1], der.OCTET_STRING)
        for data in (b"", b"\x04", b"\x04\x80", b"\x04\x84\0\0\0\0", b"\x04\xff", b"\x1f\x01\0"):
            self.assertRaises(DerError, der.whole, data, der.OCTET_STRING)

    def test_integers(self) -> None:
        """Integers of 32 bits come back; empty and longer ones are refused."""
        for value in (0, 1, 127, 128, -1, -129, 2**31 - 1, -(2**31), 2**32 - 1):
            self.assertEqual(der.integer(der.whole(der.encode_integer(value), der.INTEGER)), value)
        self.assertRaises(DerError, der.integer, b"")
        self.assertRaises(DerError, der.integer, bytes(6))

    def test_times(self) -> None:
        """Times come back; what is no time is refused."""
        for value in (0, NOW, 0x7FFFFFFF, 0xFFFFFFFF):
            self.assertEqual(der.time(der.whole(der.encode_time(value), der.GENERALIZED_TIME)), value)
        for text in (b"", b"20260101000000", b"20261301000000Z", b"20260101000060Z", b"2026010100000\xb2Z"):
            self.assertRaises(DerError, der.time, text)

    def test_fields(self) -> None:
        """Fields must be in order, each once, and have context tags."""
        one, two = der.element(der.CONTEXT | 1, b"one"), der.element(der.CONTEXT | 2, b"two")
        self.assertEqual(der.fields(one + two), {1: b"one", 2: b"two"})
        for wrong in (two + one, one + one, der.element(der.SEQUENCE, b"")):
            self.assertRaises(DerError, der.fields, wrong)


class Krb4Tests(SynchronousTestCase):
    """Kerberos 4."""

    def test_round_trip(self) -> None:
        """A ticket comes back with the end its lifetime byte says."""
        for life, seconds in ((1, 300), (127, 38100), (128, 38400), (191, 2592000), (192, 2592000)):
            data = krb4.encode(USER, DES_KEY, life)
            self.assertEqual(krb4.decode(data, 3, Keys(des={3: DES_KEY})), replace(USER, end=USER.start + seconds))

    def test_lives(self) -> None:
        """Each life of the table is about 1.07 times the one before."""
        self.assertEqual(len(krb4.LIVES), 64)
        for shorter, longer in zip(krb4.LIVES, krb4.LIVES[1:], strict=False):
            self.assertAlmostEqual(longer / shorter, 1.06914, places=3)

    def test_byte_order(self) -> None:
        """A ticket made in the other byte order says so in its first byte."""
        plain = des.pcbc_decrypt(DES_KEY, krb4.encode(USER, DES_KEY, 1))
        start = USER.start.to_bytes(4, "big")
        turned = b"\1" + plain[1:].replace(start, start[::-1])
        decoded = krb4.decode(des.pcbc_encrypt(DES_KEY, turned), 3, Keys(des={3: DES_KEY}))
        self.assertEqual(decoded.start, USER.start)

    def test_refused(self) -> None:
        """Half blocks, other sizes, tickets of nobody and random bytes are bad tickets."""
        keys = Keys(des={3: DES_KEY})
        data = krb4.encode(USER, DES_KEY)
        random = Random(2)
        wrong = [data[:-1], data + bytes(8), data[:-8], krb4.encode(replace(USER, name=""), DES_KEY)]
        wrong += [krb4.encode(replace(USER, name="a@b"), DES_KEY), krb4.encode(replace(USER, name="x" * 64), DES_KEY)]
        for ticket in (*wrong, *(random.randbytes(64) for _ in range(1000))):
            refusal = self.assertRaises(Abort, krb4.decode, ticket, 3, keys)
            self.assertEqual(refusal.code, RxkadCode.RXKADBADTICKET)
