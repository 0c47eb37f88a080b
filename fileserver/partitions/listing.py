"""The ids of a partition's volumes, left on it by the server that hands it over to the one that gets it.

That one need not read 100,000 names while all clients wait. It believes what was left for just this change of owners;
whatever else it finds, or nothing, means that it looks for itself, so this need not survive a crash.
"""

from __future__ import annotations

import os
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence

from construct import Int32ub, Int64ub, Struct

from xdr.layout import fast

LISTING_FILE = ".txafs-volumes"

HEAD = fast(Struct("checksum" / Int32ub, "epoch" / Int64ub))
"""The checksum is CRC-32 of the rest; after the head come the ids, 4 bytes each, least significant first."""

CHECKSUM_SIZE = 4


def leave_listing(partition: str, epoch: int, ids: Iterable[int]) -> None:
    """For the owner that has the partition with this epoch. Raises OSError."""
    data = bytearray(HEAD.pack(checksum=0, epoch=epoch) + _swapped(array("I", ids)).tobytes())
    data[:CHECKSUM_SIZE] = zlib.crc32(data[CHECKSUM_SIZE:]).to_bytes(CHECKSUM_SIZE, "big")
    with open(os.path.join(partition, LISTING_FILE), "wb") as file:
        file.write(data)


def read_listing(partition: str, epoch: int) -> Sequence[int] | None:
    """What was left for the owner with this epoch; None where nothing was. Raises OSError."""
    try:
        with open(os.path.join(partition, LISTING_FILE), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    if len(data) < HEAD.size or (len(data) - HEAD.size) % array("I").itemsize:
        return None
    head = HEAD.unpack(data)
    if head.epoch != epoch or head.checksum != zlib.crc32(data[CHECKSUM_SIZE:]):
        return None
    ids = array("I")
    ids.frombytes(data[HEAD.size :])
    return _swapped(ids).tolist()


def _swapped(ids: array[int]) -> array[int]:
    if sys.byteorder == "big":
        ids.byteswap()
    return ids
