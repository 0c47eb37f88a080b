"""The AES enctypes against the vectors of their RFCs."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rx.security.kerberos.enctypes import (
    CONFOUNDER_SIZE,
    PROFILES,
    TICKET_USAGE,
    SealBroken,
    cts_decrypt,
    cts_encrypt,
    decrypt,
    encrypt,
    fold,
)

FOLDED = (
    (b"012345", "be072631276b1955"),
    (b"password", "78a07b6caf85fa"),
    (b"Rough Consensus, and Running Code", "bb6ed30870b7f0e0"),
    (b"password", "59e4a8ca7c0385c3c37b3f6d2000247cb6e6bd5b3e"),
    (b"MASSACHVSETTS INSTITVTE OF TECHNOLOGY", "db3b0d8f0b061e603282b308a50841229ad798fab9540c1b"),
    (b"Q", "518a54a215a8452a518a54a215a8452a518a54a215"),
    (b"ba", "fb25d531ae8974499f52fd92ea9857c4ba24cf297e"),
    (b"kerberos", "6b65726265726f73"),
    (b"kerberos", "6b65726265726f737b9b5b2b93132b93"),
    (b"kerberos", "8372c236344e5f1550cd0747e15d62ca7a5a3bcea4"),
    (b"kerberos", "6b65726265726f737b9b5b2b93132b935c9bdcdad95c9899c4cae4dee6d6cae4"),
)
"""RFC 3961 appendix A.1."""

CTS_KEY = b"chicken teriyaki"
CTS_TEXT = b"I would like the General Gau's Chicken, please, and wonton soup."
CTS = {
    17: "c6353568f2bf8cb4d8a580362da7ff7f97",
    31: "fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5",
    32: "39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584",
    47: "97687268d6ecccc0c07b25e25ecfe584b3fffd940c16a18c1b5549d2f838029e39312523a78662d5be7fcbcc98ebf5",
    48: "97687268d6ecccc0c07b25e25ecfe5849dad8bbb96c4cdc03bc103e1a194bbd839312523a78662d5be7fcbcc98ebf5a8",
    64: "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5a8"
    "4807efe836ee89a526730dbc2f7bc8409dad8bbb96c4cdc03bc103e1a194bbd8",
}
"""RFC 3962 appendix B: length of the text -> ciphertext."""

KEYS = {
    19: "3705d96080c17728a0e800eab6e0d23c",
    20: "6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52",
}
DERIVED = {
    19: ("9b197dd1e8c5609d6e67c3e37c62c72e", "9fda0e56ab2d85e1569a688696c26a6c"),
    20: (
        "56ab22bee63d82d7bc5227f6773f8ea7a5eb1c825160c38312980c442e5c7e49",
        "69b16514e3cd8e56b82010d5c73012b622c4d00ffc23ed1f",
    ),
}
SEALED = {
    19: (
        "ef85fb890bb8472f4dab20394dca781dad877eda39d50c870c0d5a0a8e48c718",
        "84d7f30754ed987bab0bf3506beb09cfb55402cef7e6877ce99e247e52d16ed4421dfdf8976c",
        "3517d640f50ddc8ad3628722b3569d2ae07493fa8263254080ea65c1008e8fc295fb4852e7d83e1e7c48c37eebe6b0d3",
        "720f73b18d9859cd6ccb4346115cd336c70f58edc0c4437c5573544c31c813bce1e6d072c186b39a413c2f92ca9b8334a287ffcbfc",
    ),
    20: (
        "41f53fa5bfe7026d91faf9be959195a058707273a96a40f0a01960621ac612748b9bbfbe7eb4ce3c",
        "4ed7b37c2bcac8f74f23c1cf07e62bc7b75fb3f637b9f559c7f664f69eab7b6092237526ea0d1f61cb20d69d10f2",
        "bc47ffec7998eb91e8115cf8d19dac4bbbe2e163e87dd37f49beca92027764f6"
        "8cf51f14d798c2273f35df574d1f932e40c4ff255b36a266",
        "40013e2df58e8751957d2878bcd2d6fe101ccfd556cb1eae79db3c3ee86429f2"
        "b2a602ac86fef6ecb647d6295fae077a1feb517508d2c16b4192e01f62",
    ),
}
"""RFC 8009 appendix A: base key, (Ke, Ki) for key usage 2, and four messages of these sizes sealed."""

SIZES = (0, 6, 16, 21)


class EnctypeTests(SynchronousTestCase):
    """Each profile."""

    def test_fold(self) -> None:
        """n-fold gives RFC 3961's examples."""
        for data, expected in FOLDED:
            self.assertEqual(fold(data, len(expected) // 2).hex(), expected)

    def test_cts(self) -> None:
        """AES-CTS gives RFC 3962's examples, and back."""
        for size, expected in CTS.items():
            self.assertEqual(cts_encrypt(CTS_KEY, CTS_TEXT[:size]).hex(), expected)
            self.assertEqual(cts_decrypt(CTS_KEY, bytes.fromhex(expected)), CTS_TEXT[:size])

    def test_derived_keys(self) -> None:
        """The SHA-2 enctypes derive RFC 8009's keys."""
        for enctype, expected in DERIVED.items():
            keys = PROFILES[enctype].keys(bytes.fromhex(KEYS[enctype]), TICKET_USAGE)
            self.assertEqual(tuple(key.hex() for key in keys), expected)

    def test_sealed(self) -> None:
        """They open RFC 8009's messages, and seal them so again."""
        for enctype, messages in SEALED.items():
            key = bytes.fromhex(KEYS[enctype])
            sealing, _ = PROFILES[enctype].keys(key, TICKET_USAGE)
            for size, message in zip(SIZES, messages, strict=True):
                sealed = bytes.fromhex(message)
                self.assertEqual(decrypt(enctype, key, TICKET_USAGE, sealed), bytes(range(size)))
                confounder = cts_decrypt(sealing, sealed[: -PROFILES[enctype].mac_size])[:CONFOUNDER_SIZE]
                self.assertEqual(encrypt(enctype, key, TICKET_USAGE, bytes(range(size)), confounder), sealed)

    def test_round_trip(self) -> None:
        """Every size comes back, under every enctype; sealing adds the confounder and the checksum."""
        random = Random(1)
        for enctype, profile in PROFILES.items():
            key, confounder = random.randbytes(profile.key_size), random.randbytes(16)
            for size in range(70):
                plain = random.randbytes(size)
                sealed = encrypt(enctype, key, 7, plain, confounder)
                self.assertEqual(len(sealed), 16 + size + profile.mac_size)
                self.assertEqual(decrypt(enctype, key, 7, sealed), plain)

    def test_broken(self) -> None:
        """One bit changed anywhere, another usage, another key or a shorter text: the seal is broken."""
        for enctype, profile in PROFILES.items():
            key = bytes(range(profile.key_size))
            sealed = encrypt(enctype, key, 2, b"a ticket, or so it seems", bytes(16))
            for at in range(len(sealed)):
                changed = bytearray(sealed)
                changed[at] ^= 0x10
                self.assertRaises(SealBroken, decrypt, enctype, key, 2, bytes(changed))
                self.assertRaises(SealBroken, decrypt, enctype, key, 2, sealed[:at])
            self.assertRaises(SealBroken, decrypt, enctype, key, 3, sealed)
            self.assertRaises(SealBroken, decrypt, enctype, bytes(profile.key_size), 2, sealed)
            self.assertRaises(SealBroken, decrypt, enctype, key[:-1], 2, sealed)
