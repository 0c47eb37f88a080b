"""Kerberos 5 tickets as rxkad carries them: whole, or the encrypted part alone (ticket5.c, RFC 4120 section 5.3).

A ticket that cannot be used is `Abort` with the code stock servers answer; nothing else leaves `decode`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from rx.constants import RxkadCode
from rx.errors import Abort
from rx.security.kerberos import der, des, enctypes
from rx.security.kerberos.der import DerError
from rx.security.kerberos.enctypes import TICKET_USAGE, Enctype, SealBroken

NAME_SIZE = 63
"""Bytes in a name, an instance or a realm (MAXKTCNAMELEN less the NUL). Stock cuts longer ones; two principals would
then be one, so they are refused here."""

LONGEST_LIFE = 30 * 24 * 3600
SKEW = 15 * 60
"""Seconds a ticket may live, and that clocks may differ (rxkad.p.h MAXKTCTICKETLIFETIME, KTC_TIME_UNCERTAINTY)."""

NEVER = 0xFFFF_FFFF
"""End of a ticket that does not expire."""

INVALID_FLAG = 1 << 31 - 7
TRANSITED_CHECKED_FLAG = 1 << 31 - 12
"""TicketFlags (RFC 4120 section 5.3), bit 0 the highest."""

_TICKET, _ENC_TICKET_PART = der.APPLICATION | 1, der.APPLICATION | 3
_VERSION = 5
_PRINCIPAL = 1


class Keys(Protocol):
    """A server's keys."""

    def krb5_key(self, enctype: int, kvno: int) -> bytes | None:
        """The key of this enctype (not a DES one) and version, None where there is none."""

    def des_key(self, kvno: int) -> bytes | None:
        """The DES key of this version. None where there is none, or where DES is not allowed."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says: who, the session key rxkad uses, and Unix times; `start` 0 has always been."""

    name: str
    instance: str
    realm: str
    session_key: bytes = field(repr=False)
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class EncryptedData:
    """A sealed value and what it was sealed with; `kvno` 0 where it was left out."""

    enctype: int
    kvno: int
    cipher: bytes


def decode(data: bytes, encrypted_part_only: bool, keys: Keys) -> Ticket:
    """Decode a ticket. Its times are not judged here (`check_times`). Raises Abort."""
    try:
        sealed = read_encrypted_data(data if encrypted_part_only else encrypted_part(data))
        return _read_enc_ticket_part(_opened(sealed, keys))
    except (DerError, SealBroken) as problem:
        raise Abort(RxkadCode.RXKADBADTICKET, str(problem)) from problem


def check_times(ticket: Ticket, now: float) -> None:
    """Judge when a ticket may be used (ticket.c tkt_CheckTimes). Raises Abort."""
    start, end = ticket.start, ticket.end
    forever = end == NEVER
    if start >= end or start > now + SKEW + LONGEST_LIFE:
        raise Abort(RxkadCode.RXKADBADTICKET, "impossible times")
    if start and not forever and end - start > LONGEST_LIFE:
        raise Abort(RxkadCode.RXKADBADTICKET, "too long a life")
    if not forever and end <= now:
        raise Abort(RxkadCode.RXKADEXPIRED, "the ticket has expired")
    if start and start - SKEW > now:
        raise Abort(RxkadCode.RXKADNOAUTH, "the ticket is not valid yet")


def encode(ticket: Ticket, enctype: int, kvno: int, key: bytes, confounder: bytes) -> bytes:
    """The encrypted part, as the owner of the server's key can make it for himself (ticket5.c tkt_MakeTicket5)."""
    plain = encode_enc_ticket_part(ticket)
    sealed = EncryptedData(enctype, kvno, enctypes.encrypt(enctype, key, TICKET_USAGE, plain, confounder))
    return encode_encrypted_data(sealed)


def encrypted_part(data: bytes) -> bytes:
    """The EncryptedData of a whole ticket, still encoded. Raises DerError."""
    found = der.fields(der.whole(der.whole(data, _TICKET), der.SEQUENCE))
    if der.integer(der.field(found, 0, der.INTEGER)) != _VERSION:
        raise DerError("not a ticket of Kerberos 5")
    if 3 not in found:
        raise DerError("no encrypted part")
    return found[3]


def read_encrypted_data(data: bytes) -> EncryptedData:
    """Parse an EncryptedData. Raises DerError."""
    found = der.fields(der.whole(data, der.SEQUENCE))
    return EncryptedData(
        der.integer(der.field(found, 0, der.INTEGER)),
        der.integer(der.field(found, 1, der.INTEGER)) if 1 in found else 0,
        der.field(found, 2, der.OCTET_STRING),
    )


def encode_encrypted_data(sealed: EncryptedData) -> bytes:
    """The reverse."""
    cipher = der.element(der.OCTET_STRING, sealed.cipher)
    return der.sequence({0: der.encode_integer(sealed.enctype), 1: der.encode_integer(sealed.kvno), 2: cipher})


def encode_enc_ticket_part(ticket: Ticket) -> bytes:
    """The plaintext of a ticket whose session key is a DES key."""
    names = [ticket.name, ticket.instance] if ticket.instance else [ticket.name]
    components = b"".join(der.element(der.GENERAL_STRING, name.encode()) for name in names)
    key = der.element(der.OCTET_STRING, ticket.session_key)
    transited = {0: der.encode_integer(0), 1: der.element(der.OCTET_STRING, b"")}
    content = {
        0: der.encode_bits(TRANSITED_CHECKED_FLAG),
        1: der.sequence({0: der.encode_integer(Enctype.DES_CBC_CRC), 1: key}),
        2: der.element(der.GENERAL_STRING, ticket.realm.encode()),
        3: der.sequence({0: der.encode_integer(_PRINCIPAL), 1: der.element(der.SEQUENCE, components)}),
        4: der.sequence(transited),
        5: der.encode_time(ticket.start),
        7: der.encode_time(ticket.end),
    }
    return der.element(_ENC_TICKET_PART, der.sequence(content))


def _opened(sealed: EncryptedData, keys: Keys) -> bytes:
    if sealed.enctype in des.DES_ENCTYPES:
        key = keys.des_key(sealed.kvno)
        if key is None:
            raise Abort(RxkadCode.RXKADUNKNOWNKEY, f"no DES key of version {sealed.kvno}, or DES is not allowed")
        return des.decrypt(sealed.enctype, key, sealed.cipher)
    key = keys.krb5_key(sealed.enctype, sealed.kvno) if sealed.enctype in enctypes.PROFILES else None
    if key is None:
        raise Abort(RxkadCode.RXKADUNKNOWNKEY, f"no key of enctype {sealed.enctype} and version {sealed.kvno}")
    return enctypes.decrypt(sealed.enctype, key, TICKET_USAGE, sealed.cipher)


def _read_enc_ticket_part(plain: bytes) -> Ticket:
    """What follows the element is padding of a DES enctype, and no concern of ours."""
    content, _ = der.read(plain, _ENC_TICKET_PART)
    found = der.fields(der.whole(content, der.SEQUENCE))
    if der.bits(der.field(found, 0, der.BIT_STRING)) & INVALID_FLAG:
        raise Abort(RxkadCode.RXKADNOAUTH, "the ticket is marked invalid")
    key = der.fields(der.field(found, 1, der.SEQUENCE))
    principal = der.fields(der.field(found, 3, der.SEQUENCE))
    name, instance = krb4_name(der.strings(der.field(principal, 1, der.SEQUENCE)))
    authenticated = der.time(der.field(found, 5, der.GENERALIZED_TIME))
    return Ticket(
        name,
        instance,
        _text(der.field(found, 2, der.GENERAL_STRING)),
        des.session_key(der.integer(der.field(key, 0, der.INTEGER)), der.field(key, 1, der.OCTET_STRING)),
        der.time(der.field(found, 6, der.GENERALIZED_TIME)) if 6 in found else authenticated,
        der.time(der.field(found, 7, der.GENERALIZED_TIME)),
    )


def krb4_name(components: list[bytes]) -> tuple[str, str]:
    """Name and instance of a principal. Services lose the domain of their host, as MIT's krb5_524_conv_principal does.

    A dot in the first component is refused: `a.b` would be the same as `a/b`. Raises DerError.
    """
    texts = [_text(component) for component in components]
    if not 1 <= len(texts) <= 2 or not texts[0] or "." in texts[0]:
        raise DerError("a principal that AFS cannot name")
    name, instance = texts if len(texts) == 2 else (texts[0], "")
    if len(texts) == 2 and name in _HOST_SERVICES:
        instance, dot, _ = instance.partition(".")
        if not dot:
            raise DerError("a host without a domain")
    return _KRB4_NAMES.get(name, name) if len(texts) == 2 else name, instance


def _text(content: bytes) -> str:
    """A part of a name. Characters that would let one principal look like another are refused."""
    text = content.decode("utf-8", "surrogateescape")
    if len(content) > NAME_SIZE or "@" in text or any(character < " " or character == "\x7f" for character in text):
        raise DerError("an impossible name")
    return text


_KRB4_NAMES = {"host": "rcmd"}
_HOST_SERVICES = frozenset(
    (  # noqa: SIM905  a table is read more easily without the quotes
        "host discuss rvdsrv sample olc pop sis rfs imap ftp ecat daemon gnats moira prms mandarin register changepw "
        "sms afpserver gdss news abs nfs tftp http khttp pgpsigner irc mandarin-agent write palladium smtp lmtp ldap "
        "acap argus mupdate"
    ).split()
)
"""Services whose instance is a host: the Athena name map (ticket5.c sconv_list)."""
