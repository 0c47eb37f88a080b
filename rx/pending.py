"""Bytes a call's writer has handed over and no packet has taken yet."""

from __future__ import annotations

from collections import deque


class Pending:
    """Written in pieces of any size, cut into packets of another. Pieces are kept, not copied, while they are whole."""

    __slots__ = ("_offset", "_pieces", "size")

    def __init__(self) -> None:
        self.size = 0
        self._offset = 0  # into the first piece
        self._pieces: deque[bytes] = deque()

    def add(self, data: bytes) -> None:
        """Take more."""
        if data:
            self._pieces.append(data)
            self.size += len(data)

    def cut(self, size: int) -> bytes | memoryview:
        """The next `size` bytes, of which there are as many."""
        self.size -= size
        pieces, offset = self._pieces, self._offset
        if not pieces:
            return b""
        head = pieces[0]
        end = offset + size
        if end < len(head):
            self._offset = end
            return memoryview(head)[offset:end]
        if end == len(head):
            pieces.popleft()
            self._offset = 0
            return memoryview(head)[offset:] if offset else head
        parts = [memoryview(head)[offset:]]
        size -= len(head) - offset
        pieces.popleft()
        while size and size >= len(pieces[0]):
            head = pieces.popleft()
            size -= len(head)
            parts.append(memoryview(head))
        if size:
            parts.append(memoryview(pieces[0])[:size])
        self._offset = size
        return b"".join(parts)

    def clear(self) -> None:
        """Keep nothing."""
        self._pieces.clear()
        self.size = self._offset = 0
