"""Files, or the standard streams, that volumes are dumped to and restored from; what stock says of them."""

from __future__ import annotations

import errno
import os
import stat
import sys

from afs.errors import VolserError
from rx.constants import RxCode
from vos.operations.dumping import NotWritten
from vos.operations.restoring import NotRead
from vos.session import Session
from vos.transfer.files import FileSink, FileSource, Told

MODE = 0o666
"""Of a dump's file, before the user's mask."""

END_MAGIC = b"\x3a\x21\x4b\x6e"
"""What a dump ends with (dump.h DUMPENDMAGIC)."""

_IO = int(RxCode.RX_CALL_DEAD)
"""What stock makes of an error of the file."""


class DumpTarget:
    """A sink: the file of a name, which is made, or emptied, when the first bytes come; without one the standard
    output. Raises NotWritten.
    """

    def __init__(self, session: Session, path: str, told: Told | None = None) -> None:
        self._session = session
        self._path = path
        self._told = told or _ignored
        self._sink: FileSink | None = None

    def announce(self, length: int) -> None:
        """Dumps are not counted."""
        raise TypeError("a dump ends where its call ends")

    async def write(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        if self._sink is None:
            self._sink = FileSink(self._session.reactor, self._open(), self._told, owned=bool(self._path))
        try:
            await self._sink.write(data)
        except OSError as problem:
            raise self._failed(problem) from problem

    async def finish(self) -> None:
        """Everything is in the file when this returns."""
        try:
            if self._sink is not None:
                await self._sink.finish()
        except OSError as problem:
            raise self._failed(problem) from problem

    def close(self) -> None:
        """What has not been written is not."""
        if self._sink is not None:
            self._sink.stop()

    def _open(self) -> int:
        try:
            flags = os.O_CREAT | os.O_RDWR | os.O_TRUNC
            return os.open(self._path, flags, MODE) if self._path else sys.stdout.fileno()
        except OSError as problem:
            reason = os.strerror(problem.errno or 0)
            self._session.output.complain(f"Could not create file '{self._path}': {reason}")
            raise NotWritten(VolserError.VOLSERBADOP) from problem

    def _failed(self, problem: OSError) -> NotWritten:
        complain = self._session.output.complain
        if problem.errno == errno.EPIPE:
            complain("\nSignal handler: vos dump operation")
            return NotWritten(errno.EPIPE)
        complain(f"File system write failed: {os.strerror(problem.errno or 0)}")
        return NotWritten(_IO)


class DumpOrigin:
    """A source: the file of a name, without one the standard input. Raises NotRead. `told` may be set before the first
    bytes are read; `size` is that of the file, 0 if it has none.
    """

    def __init__(self, session: Session, path: str) -> None:
        self.told: Told = _ignored
        self._session = session
        self._path = path
        self._descriptor: int | None = None
        self._problem: OSError | None = None
        self._source: FileSource | None = None
        try:
            self._descriptor = os.open(path, os.O_RDONLY) if path else sys.stdin.fileno()
        except OSError as problem:
            self._problem = problem
        self.size = self._size()

    def check(self) -> None:
        """A file must be one, and end as a dump does."""
        if self._problem is not None:
            reason = os.strerror(self._problem.errno or 0)
            self._session.output.complain(f"Could not access file '{self._path}': {reason}")
            raise NotRead(VolserError.VOLSERBADOP)
        if self._path and self._is_file() and self._end() != END_MAGIC:
            self._session.output.complain(f"Signature missing from end of file '{self._path}'")
            raise NotRead(VolserError.VOLSERBADOP)

    async def read(self, size: int, /) -> bytes:
        """The next bytes."""
        assert self._descriptor is not None
        if self._source is None:
            self._source = FileSource(self._session.reactor, self._descriptor, self.told, owned=bool(self._path))
        try:
            return await self._source.read(size)
        except OSError as problem:
            reason = os.strerror(problem.errno or 0)
            self._session.output.complain(f"File system read failed: {reason}")
            raise NotRead(problem.errno or _IO) from problem

    def close(self) -> None:
        """No more is wanted."""
        if self._source is not None:
            self._source.stop()
        elif self._path and self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _is_file(self) -> bool:
        return self._descriptor is not None and stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def _size(self) -> int:
        return os.fstat(self._descriptor).st_size if self._descriptor is not None and self._is_file() else 0

    def _end(self) -> bytes:
        assert self._descriptor is not None
        return os.pread(self._descriptor, len(END_MAGIC), max(0, self.size - len(END_MAGIC)))


def _ignored(count: int) -> None:
    pass
