"""Which vnode numbers of a volume are in use: directories odd, files and symlinks even (volume-format.md section 4)."""

from __future__ import annotations

from collections.abc import Iterable

MAX_VNODE = (1 << 26) - 3
"""A namei inode number has 26 bits for the vnode, all ones being the special inodes."""


class VnodeMap:
    """One byte a vnode rather than one bit: finding the lowest free one is then a `bytearray.find`."""

    __slots__ = ("_directories", "_files", "_lowest")

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._files = bytearray()
        self._directories = bytearray()
        self._lowest = [0, 0]
        for number in numbers:
            self._mark(number, 1)

    def allocate(self, directory: bool) -> int:
        """The lowest free number of its class, now taken. Raises OverflowError when there is none."""
        used = self._directories if directory else self._files
        index = used.find(0, self._lowest[directory])
        if index < 0:
            index = len(used)
        number = 2 * index + (1 if directory else 2)
        if number > MAX_VNODE:
            raise OverflowError("every vnode number is in use")
        self._mark(number, 1)
        self._lowest[directory] = index + 1
        return number

    def free(self, number: int) -> None:
        self._mark(number, 0)
        directory = number & 1
        self._lowest[directory] = min(self._lowest[directory], (number - 1) >> 1)

    def _mark(self, number: int, used: int) -> None:
        table = self._directories if number & 1 else self._files
        index = (number - 1) >> 1
        if index >= len(table):
            table.extend(bytes(index + 1 - len(table)))
        table[index] = used
