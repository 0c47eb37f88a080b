"""Kerberos 4 tickets (ticket.c): sealed with DES, and so only decoded where DES is allowed."""

from __future__ import annotations

from rx.constants import RxkadCode
from rx.errors import Abort
from rx.security.kerberos import des
from rx.security.kerberos.ticket import NAME_SIZE, NEVER, Keys, Ticket

FIXED_LIVES_FROM = 0x80
FIVE_MINUTES = 5 * 60
NO_EXPIRY = 0xFF
LONGEST_LIFE = 30 * 24 * 3600
LITTLE_ENDIAN_FLAG = 1
"""In the first byte: the numbers are in the other byte order."""

SHORT_TICKET = 56
"""A ticket of this size may be longer than its content (ticket.c)."""

# Lives from 0x80 on (lifetimes.h): each about 1.06914 times the one before.
# fmt: off
LIVES = (
    38400, 41055, 43894, 46929, 50174, 53643, 57352, 61318, 65558, 70091, 74937, 80119, 85658, 91581, 97914, 104684,
    111922, 119661, 127935, 136781, 146239, 156350, 167161, 178720, 191077, 204289, 218415, 233517, 249664, 266926,
    285383, 305116, 326213, 348769, 372885, 398668, 426234, 455705, 487215, 520904, 556921, 595430, 636601, 680618,
    727680, 777995, 831789, 889303, 950794, 1016537, 1086825, 1161973, 1242318, 1328218, 1420057, 1518247, 1623226,
    1735464, 1855462, 1983758, 2120925, 2267576, 2424367, 2592000,
)
# fmt: on


def decode(data: bytes, kvno: int, keys: Keys) -> Ticket:
    """Decode a ticket. Raises Abort."""
    key = keys.des_key(kvno)
    if key is None:
        raise Abort(RxkadCode.RXKADUNKNOWNKEY, f"no DES key of version {kvno}, or DES is not allowed")
    if len(data) % des.BLOCK_SIZE:
        raise Abort(RxkadCode.RXKADBADTICKET, "no whole number of blocks")
    plain = _Plain(des.pcbc_decrypt(key, data))
    order = "little" if plain.take(1)[0] & LITTLE_ENDIAN_FLAG else "big"
    name, instance, realm = plain.string(), plain.string(), plain.string()
    plain.take(4)  # the client's address, which nobody checks
    session_key = plain.take(des.KEY_SIZE)
    (life,) = plain.take(1)
    start = int.from_bytes(plain.take(4), "little" if order == "little" else "big")
    service, _ = plain.string(), plain.string()
    used = -(-plain.at // des.BLOCK_SIZE) * des.BLOCK_SIZE
    if not name or not service or (used != len(data) and len(data) != SHORT_TICKET):
        raise Abort(RxkadCode.RXKADBADTICKET, "not a ticket")
    return Ticket(name, instance, realm, session_key, start, end_of_life(start, life))


def end_of_life(start: int, life: int) -> int:
    """The end of a ticket with this lifetime byte."""
    if life == NO_EXPIRY:
        return NEVER
    if life < FIXED_LIVES_FROM:
        return start + life * FIVE_MINUTES
    index = life - FIXED_LIVES_FROM
    return start + (LIVES[index] if index < len(LIVES) else LONGEST_LIFE)


def encode(ticket: Ticket, key: bytes, life: int = NO_EXPIRY) -> bytes:
    """The ticket for service `afs`, as stock's tkt_MakeTicket makes it."""
    names = b"".join(text.encode() + b"\0" for text in (ticket.name, ticket.instance, ticket.realm))
    rest = ticket.session_key + bytes([life]) + ticket.start.to_bytes(4, "big") + b"afs\0\0"
    plain = b"\0" + names + bytes(4) + rest
    return des.pcbc_encrypt(key, plain + bytes(-len(plain) % des.BLOCK_SIZE))


class _Plain:
    """A decrypted ticket being read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        taken = self._data[self.at : self.at + size]
        if len(taken) < size:
            raise Abort(RxkadCode.RXKADBADTICKET, "cut short")
        self.at += size
        return taken

    def string(self) -> str:
        """The next bytes up to a NUL."""
        end = self._data.find(b"\0", self.at)
        if not 0 <= end - self.at <= NAME_SIZE:
            raise Abort(RxkadCode.RXKADBADTICKET, "not a name")
        text = self._data[self.at : end].decode("utf-8", "surrogateescape")
        if "@" in text or any(character < " " or character == "\x7f" for character in text):
            raise Abort(RxkadCode.RXKADBADTICKET, "not a name")
        self.at = end + 1
        return text
