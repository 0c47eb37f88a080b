"""What no cache has is read in a thread: a disk that does not answer keeps nobody else waiting."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Sequence
from errno import EAGAIN, EOPNOTSUPP
from threading import Event

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from fileserver.interfaces import Damaged, NoSuchVnode
from fileserver.store import at_hand
from fileserver.store.at_hand import open_at_hand, read_at_hand
from fileserver.store.descriptors import Descriptor
from fileserver.store.volume_files import INLINE_SIZE
from tests.contracts.ipartition import RW, file_vnode, header
from tests.fileserver.store.support import OPENERS

SIZES = (0, 1, 100, 4096, 5000, INLINE_SIZE, INLINE_SIZE + 1)


class Reading(TestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.content = os.urandom(INLINE_SIZE)
        with open(self.path, "wb") as file:
            file.write(self.content)
        self.file = Descriptor(os.open(self.path, os.O_RDWR))

    def test_as_pread(self) -> None:
        """It reads what pread reads, wherever and however much."""
        for size in SIZES:
            for offset in (0, 1, INLINE_SIZE - 100, INLINE_SIZE, INLINE_SIZE + 7):
                found = read_at_hand(self.file, size, offset)
                self.assertEqual(found, os.pread(self.file.fd, size, offset))

    def test_in_part(self) -> None:
        """What is only partly in memory is not at hand; what ends there is."""
        real = os.preadv

        def half(fd: int, buffers: Sequence[bytearray], offset: int, flags: int = 0) -> int:
            if offset >= 4096:
                raise BlockingIOError(EAGAIN, "not in memory")
            return real(fd, [memoryview(buffers[0])[: 4096 - offset]], offset)

        self.patch(os, "preadv", half)
        self.assertEqual(read_at_hand(self.file, 4096, 0), self.content[:4096])
        self.assertIsNone(read_at_hand(self.file, 4097, 0))
        self.assertIsNone(read_at_hand(self.file, 1, 4096))

    def test_a_file_system_that_cannot_tell(self) -> None:
        """Is asked all the same."""

        def refuse(*_: object) -> int:
            raise OSError(EOPNOTSUPP, "not here")

        self.patch(os, "preadv", refuse)
        self.assertEqual(read_at_hand(self.file, 100, 5), self.content[5:105])

    def test_opening(self) -> None:
        """A name in memory is opened at once, one that is nowhere is not."""
        fd = open_at_hand(self.path)
        assert fd is not None
        self.assertEqual(os.pread(fd, 3, 0), self.content[:3])
        os.close(fd)
        with contextlib.suppress(FileNotFoundError):  # where it is known that there is none
            self.assertIsNone(open_at_hand(self.path + ".none"))

    def test_an_older_kernel(self) -> None:
        """Without the system call a file is opened as ever."""
        self.patch(at_hand, "_OPENAT2", 10_000)
        fd = open_at_hand(self.path)
        assert fd is not None
        os.close(fd)


class Stalled(TestCase):
    """A partition on files whose disk is slow to answer."""

    async def setUp(self) -> None:  # type: ignore[override]
        path = self.mktemp()
        os.mkdir(path, 0o700)
        self.partition = OPENERS["sidecar"](path)
        self.addCleanup(self.partition.close)
        self.files = await self.partition.create_volume(header())
        self.addCleanup(self.files.close)
        await self.files.create_vnode(2, file_vnode(2, 5), b"cold!")
        await self.files.create_vnode(4, file_vnode(4, 5), b"warm!")
        await self.files.close()
        self.files = await self.partition.open_volume(RW)

    def stall(self) -> Event:
        """From now on nothing is in memory, and reads in threads wait for the event."""
        gate = Event()
        real = os.pread

        def cold(*_: object) -> int:
            raise BlockingIOError(EAGAIN, "not in memory")

        def slow(fd: int, size: int, offset: int) -> bytes:
            assert gate.wait(30)
            return real(fd, size, offset)

        self.patch(os, "preadv", cold)
        self.patch(os, "pread", slow)
        return gate

    async def test_a_cold_read(self) -> None:
        """A read that no cache can answer goes on in a thread, and the reactor with everything else."""
        self.assertEqual(await self.files.read(4, 0, 5), b"warm!")
        self.assertEqual(await self.files.read(2, 0, 5), b"cold!")
        gate = self.stall()
        reading = ensureDeferred(self.files.read(2, 0, 5))
        self.assertFalse(reading.called)
        self.assertEqual(await self.files.content_length(4), 5)
        gate.set()
        self.assertEqual(await reading, b"cold!")

    async def test_a_cold_record(self) -> None:
        """So do the record of a vnode that was not looked at yet, and what is read or written of it."""
        gate = self.stall()
        record = ensureDeferred(self.files.read_vnode(2))
        content = ensureDeferred(self.files.read(2, 0, 5))
        length = ensureDeferred(self.files.content_length(4))
        writing = ensureDeferred(self.files.write(4, 0, b"fresh"))
        self.assertEqual([each.called for each in (record, content, length, writing)], [False] * 4)
        gate.set()
        self.assertEqual(((await record).length, await content, await length), (5, b"cold!", 5))
        await writing
        self.assertEqual(await self.files.read(4, 0, 5), b"fresh")

    async def test_a_cold_name(self) -> None:
        """And a file whose name is not in memory."""
        await self.files.close()
        self.files = await self.partition.open_volume(RW)
        self.partition._descriptors.clear()
        self.patch(at_hand._libc, "syscall", _again)
        self.assertEqual(await self.files.read(2, 0, 5), b"cold!")

    async def test_what_is_not_there(self) -> None:
        """Is refused alike, found in memory or by a thread."""
        for _ in range(2):
            await self.assertFailure(ensureDeferred(self.files.read_vnode(6)), NoSuchVnode)
            await self.assertFailure(ensureDeferred(self.files.read(6, 0, 1)), NoSuchVnode)
            self.stall().set()
        file = self.files._at_hand(2) or await self.files._fetched(2)
        os.unlink(os.readlink(f"/proc/self/fd/{file.fd}"))
        del file
        self.partition._descriptors.clear()
        await self.assertFailure(ensureDeferred(self.files.read(2, 0, 5)), Damaged)


def _again(*_: object) -> int:
    ctypes.set_errno(EAGAIN)
    return -1
