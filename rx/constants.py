"""Numbers of the Rx protocol, under the names rx.h and rxgen_consts.h give them.

Limits this implementation chooses for itself are in `rx/limits.py`; timers are in `rx/timers.py`.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class PacketType(IntEnum):
    """The type byte of a packet (rx_packet.h). 9 to 12 were reserved and are ignored."""

    DATA = 1
    ACK = 2
    BUSY = 3
    ABORT = 4
    ACKALL = 5
    CHALLENGE = 6
    RESPONSE = 7
    DEBUG = 8
    PARAMS = 9
    VERSION = 13


class Flag(IntFlag):
    """The flag byte. 0x20 means one thing on DATA (JUMBO) and another on ACK (SLOW_START_OK)."""

    CLIENT_INITIATED = 0x01
    REQUEST_ACK = 0x02
    LAST_PACKET = 0x04
    MORE_PACKETS = 0x08
    JUMBO = 0x20
    SLOW_START_OK = 0x20


class AckReason(IntEnum):
    """Why an acknowledgement was sent (rx.h)."""

    REQUESTED = 1
    DUPLICATE = 2
    OUT_OF_SEQUENCE = 3
    EXCEEDS_WINDOW = 4
    NOSPACE = 5
    PING = 6
    PING_RESPONSE = 7
    DELAY = 8
    IDLE = 9


class RxCode(IntEnum):
    """Errors of the transport itself, as they travel in ABORT packets (rx.h)."""

    RX_CALL_DEAD = -1
    RX_INVALID_OPERATION = -2
    RX_CALL_TIMEOUT = -3
    RX_EOF = -4
    RX_PROTOCOL_ERROR = -5
    RX_USER_ABORT = -6
    RX_ADDRINUSE = -7
    RX_MSGSIZE = -8
    RX_RESTARTING = -100


class RxgenCode(IntEnum):
    """Errors of the generated stubs (rxgen_consts.h)."""

    RXGEN_CC_MARSHAL = -450
    RXGEN_CC_UNMARSHAL = -451
    RXGEN_SS_MARSHAL = -452
    RXGEN_SS_UNMARSHAL = -453
    RXGEN_DECODE = -454
    RXGEN_OPCODE = -455
    RXGEN_SS_XDRFREE = -456
    RXGEN_CC_XDRFREE = -457


class RxkadCode(IntEnum):
    """Errors of rxkad (rxkad_errs.et)."""

    RXKADINCONSISTENCY = 19270400
    RXKADPACKETSHORT = 19270401
    RXKADLEVELFAIL = 19270402
    RXKADTICKETLEN = 19270403
    RXKADOUTOFSEQUENCE = 19270404
    RXKADNOAUTH = 19270405
    RXKADBADKEY = 19270406
    RXKADBADTICKET = 19270407
    RXKADUNKNOWNKEY = 19270408
    RXKADEXPIRED = 19270409
    RXKADSEALEDINCON = 19270410
    RXKADDATALEN = 19270411
    RXKADILLEGALLEVEL = 19270412


class SecurityIndex(IntEnum):
    """The security index byte: which security class a connection uses (rx.h)."""

    NULL = 0
    VAB = 1
    RXKAD = 2
    RXKAD_ENCRYPTED = 3
    RXGK = 4


class DebugType(IntEnum):
    """What a DEBUG packet asks for (rx.h RX_DEBUGI_*)."""

    GETSTATS = 1
    GETCONN = 2
    GETALLCONN = 3
    RXSTATS = 4
    GETPEER = 5
    BADTYPE = -8


class CallState(IntEnum):
    """A call's state, numbered as rxdebug prints it (rx.h RX_STATE_*)."""

    NOTINIT = 0
    PRECALL = 1
    ACTIVE = 2
    DALLY = 3
    HOLD = 4
    RESET = 5


class CallMode(IntEnum):
    """What a call's application is doing, numbered as rxdebug prints it (rx.h RX_MODE_*)."""

    SENDING = 1
    RECEIVING = 2
    ERROR = 3
    EOF = 4


CHANNELS = 4
"""Calls that one connection carries at a time; the channel is the low two bits of the connection id."""

CHANNEL_MASK = CHANNELS - 1

EPOCH_ANY_ADDRESS = 0x8000_0000
"""An epoch with this bit set identifies its client alone: the address packets come from is not compared (rx.c)."""

HEADER_SIZE = 28
PACKET_TYPES = 13
"""RX_N_PACKET_TYPES: statistics are kept for types 1 to 13."""

NATURAL_MTU = 1444
"""Datagram size, Rx header included, that every peer takes (RX_MAX_PACKET_SIZE of an Ethernet without jumbograms)."""

MINIMUM_MTU = 520
"""The smallest datagram size a peer may ask for: 576 of IPv4 less 56 (RX_MIN_PACKET_SIZE)."""

MAXIMUM_MTU = 16384
"""RX_MAX_PACKET_SIZE: what any Rx packet may measure, header included."""

JUMBO_BODY = 1412
"""Data bytes of every packet but the last in a jumbogram."""

JUMBO_HEADER_SIZE = 4
JUMBO_MAX_PACKETS = 6
"""rxi_nDgramPackets: packets in one jumbogram at most."""

MAX_ACKS = 255
"""RX_MAXACKS: a one-byte count, so the largest window."""

UNKNOWN_PEER_WINDOW = 16
"""Packets sent before the peer has told its window: what every Rx begins with (rx_initSendWindow)."""

VERSION_SIZE = 65
"""A version reply is this many bytes, padded with NUL."""
