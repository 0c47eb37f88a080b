"""The link table of a volume group: how many volumes share each version of each vnode (volume-format.md section 5).

Row 0, column 0 counts the volumes that use the table itself. Every change is made under an exclusive flock of the
file, as stock programs make it; threads of this process are kept apart by the group's own lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import EMLINK, ENOSPC

from construct import Int16ul, Struct

from fileserver.store.descriptors import Descriptor
from fileserver.store.formats import STAMP
from xdr.layout import fast

MAX_TAGS = 5
"""Columns that fit a 16-bit row: distinct versions of one vnode in a group."""
MAX_LINKS = 7
"""What 3 bits hold: volumes sharing one version, and volumes in a group."""

MAX_ROWS = 4096
"""Rows of one group kept for the next look, some 100 bytes each: every write to a file asks who else has it."""

MAX_SPREAD = 8
"""Rows from the first to the last of those claimed at once, for each of them."""

_ROW = fast(Struct("row" / Int16ul))


class LinkTable:
    """The counts in one open link-table file. `rows` are those that are known, MAX_ROWS at most."""

    __slots__ = ("_file", "_rows")

    def __init__(self, file: Descriptor, rows: dict[int, int]) -> None:
        self._file = file
        self._rows = rows

    def row(self, vnode: int) -> int:
        """The 16 bits of a vnode; 0 past the end of the table. Under the group's lock, as every change is."""
        known = self._rows.get(vnode)
        if known is not None:
            return known
        data = os.pread(self._file.fd, _ROW.size, _offset(vnode))
        return self._keep(vnode, int(_ROW.unpack(data).row) if len(data) == _ROW.size else 0)

    def count(self, vnode: int, tag: int) -> int:
        """Links of one version."""
        return links_in(self.row(vnode), tag)

    def set(self, vnode: int, tag: int, count: int) -> None:
        """Raises OSError EMLINK above 7."""
        if count > MAX_LINKS:
            raise OSError(EMLINK, f"vnode {vnode} would be shared by {count} volumes")
        with self._locked():
            row = self.row(vnode)
            new = row & ~(MAX_LINKS << 3 * tag) | count << 3 * tag
            if new != row:
                self._write(vnode, new)

    def claim(self, vnode: int) -> int:
        """The lowest tag nobody uses, its count set to 1. Raises OSError ENOSPC when all are taken."""
        with self._locked():
            row = self.row(vnode)
            tag = _free_tag(row)
            if tag is not None:
                self._write(vnode, row | 1 << 3 * tag)
                return tag
        raise OSError(ENOSPC, f"vnode {vnode} has {MAX_TAGS} versions in its volume group already")

    def claim_all(self, vnodes: Sequence[int]) -> list[int] | None:
        """As `claim` for each of them. None, and nothing claimed, where one has no tag left."""
        first, count = min(vnodes), max(vnodes) - min(vnodes) + 1
        if count > MAX_SPREAD * len(vnodes):
            return None
        tags = []
        with self._locked():
            size = _ROW.size * count
            table = bytearray(os.pread(self._file.fd, size, _offset(first)).ljust(size, b"\0"))
            for vnode in vnodes:
                at = _ROW.size * (vnode - first)
                row = int.from_bytes(table[at : at + _ROW.size], "little")
                tag = _free_tag(row)
                if tag is None:
                    return None
                table[at : at + _ROW.size] = (row | 1 << 3 * tag).to_bytes(_ROW.size, "little")
                tags.append(tag)
            for vnode in vnodes:
                self._rows.pop(vnode, None)
            os.pwrite(self._file.to_write(), table, _offset(first))
        return tags

    def _write(self, vnode: int, row: int) -> None:
        self._rows.pop(vnode, None)
        os.pwrite(self._file.to_write(), _ROW.pack(row=row), _offset(vnode))
        self._keep(vnode, row)

    def _keep(self, vnode: int, row: int) -> int:
        if len(self._rows) >= MAX_ROWS:
            self._rows.clear()
        self._rows[vnode] = row
        return row

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._file.fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file.fd, fcntl.LOCK_UN)


def links_in(row: int, tag: int) -> int:
    """Links of one version."""
    return row >> 3 * tag & MAX_LINKS


def _free_tag(row: int) -> int | None:
    return next((tag for tag in range(MAX_TAGS) if not links_in(row, tag)), None)


def _offset(vnode: int) -> int:
    return int(STAMP.size + _ROW.size * vnode)
