"""What dumps pass through on their way, and what is shown of that; dates; and calls that an interrupt waits for."""

from __future__ import annotations

import errno
import io
import os
import select
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from vos import progress
from vos.dates import IMPOSSIBLE, MALFORMED, NEVER, BadDate, parse_date
from vos.operations.dumping import NotWritten
from vos.operations.unhurried import unhurried
from vos.output import Output
from vos.session import Session
from vos.transfer.dumps import DumpOrigin, DumpTarget
from vos.transfer.files import PIECE, FileSink, FileSource

any_reactor: Any = reactor

SLACK_SECONDS = 60.0
"""Between two looks at the clock on a machine that does much else."""


class Files(TestCase):
    """Pipes, which make one wait."""

    def setUp(self) -> None:
        self.reader, self.writer = os.pipe()
        self.told: list[int] = []

    async def test_nobody_reads(self) -> None:
        """A sink whose file takes nothing makes its writer wait, with two pieces in memory; all of it arrives."""
        sink = FileSink(any_reactor, self.writer, self.told.append)
        piece = os.urandom(PIECE)
        await sink.write(piece)
        waiting = Deferred.fromCoroutine(sink.write(piece))
        self.assertFalse(waiting.called)
        finished = Deferred.fromCoroutine(self._rest(sink, waiting))
        found = bytearray()
        while len(found) < 2 * PIECE:
            found += await deferToThread(os.read, self.reader, PIECE)
        await finished
        sink.stop()
        self.assertTrue(found == piece * 2)
        self.assertEqual(sum(self.told), 2 * PIECE)

    async def _rest(self, sink: FileSink, waiting: Deferred[None]) -> None:
        await waiting
        await sink.finish()
        os.close(self.writer)

    async def test_broken_pipe(self) -> None:
        """A sink whose reader is gone raises."""
        os.close(self.reader)
        sink = FileSink(any_reactor, self.writer, self.told.append)
        await sink.write(b"something")
        with self.assertRaises(BrokenPipeError):
            await sink.finish()
        sink.stop()

    async def test_source(self) -> None:
        """A source gives what comes, no more than is asked for at a time, and ends with its file."""
        source = FileSource(any_reactor, self.reader, self.told.append)
        coming = Deferred.fromCoroutine(source.read(3))
        self.assertFalse(coming.called)
        os.write(self.writer, b"abcdef")
        os.close(self.writer)
        self.assertEqual([await coming, await source.read(100), await source.read(100)], [b"abc", b"def", b""])
        source.stop()


class Named(TestCase):
    """Files of a name, which are closed by the thread that uses them."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        os.mkfifo(self.path)
        self.session = Session(any_reactor, "test", [], Output(io.StringIO(), io.StringIO()))

    def numbers(self) -> list[str]:
        """The descriptors that are open of it."""
        path, own = os.path.realpath(self.path), Path("/proc/self/fd")
        return [each.name for each in own.iterdir() if each.is_symlink() and os.path.realpath(each) == path]

    async def test_written(self) -> None:
        """What is being written when nobody wants it any more goes where it should, and then the file is closed."""
        target = DumpTarget(self.session, self.path)
        piece = os.urandom(PIECE)
        await target.write(piece)
        target.close()
        self.assertEqual(len(self.numbers()), 1, "closed while it is written to")
        reader = os.open(self.path, os.O_RDONLY)
        found = bytearray()
        while data := await deferToThread(os.read, reader, PIECE):
            found += data
        self.assertTrue(found == piece)
        os.close(reader)
        self.assertEqual(self.numbers(), [])

    async def test_finished(self) -> None:
        """A file that is complete is closed, once."""
        path = self.mktemp()
        target = DumpTarget(self.session, path)
        await target.write(b"all of it")
        await target.finish()
        other = os.open(os.devnull, os.O_RDONLY)  # most likely of the same number
        target.close()
        self.assertEqual(Path(path).read_bytes(), b"all of it")
        await deferToThread(os.fstat, other)
        os.close(other)

    async def test_close_fails(self) -> None:
        """A file system that finds out at the end that it is full is believed."""

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "no space")

        target = DumpTarget(self.session, self.mktemp())
        await target.write(b"all of it")
        self.patch(os, "close", full)
        with self.assertRaises(NotWritten):
            await target.finish()
        target.close()

    async def test_read(self) -> None:
        """What is being read when nobody wants it any more is not from another file."""
        both = os.open(self.path, os.O_RDWR)  # so that the others do not wait for one another
        origin = DumpOrigin(self.session, self.path)
        writer = os.open(self.path, os.O_WRONLY)
        os.close(both)
        coming = Deferred.fromCoroutine(origin.read(1))
        origin.close()
        self.assertEqual(len(self.numbers()), 2, "closed while it is read from")
        os.write(writer, b"x")
        self.assertEqual(await coming, b"x")
        nobody = select.poll()
        nobody.register(writer, 0)
        self.assertEqual(await deferToThread(nobody.poll), [(writer, select.POLLERR)])
        os.close(writer)


class Dates(SynchronousTestCase):
    """As stock vos reads them."""

    def test_dates(self) -> None:
        """Both forms, with and without a time, Unix seconds and words."""
        for text, (year, month, day, *clock) in {
            "1/2/26": (2026, 1, 2),
            "01/02/2026 10:33": (2026, 1, 2, 10, 33),
            " 1 / 2 / 26 10 : 33 : 59": (2026, 1, 2, 10, 33, 59),
            "2026-01-02": (2026, 1, 2),
            "2026-01-02 10:33": (2026, 1, 2, 10, 33),
            "2/31/26": (2026, 2, 28, 23, 59, 59),
        }.items():
            hour, minute, second = (*clock, 0, 0, 0)[:3]
            self.assertEqual(parse_date(text), time.mktime((year, month, day, hour, minute, second, 0, 0, -1)), text)
        self.assertEqual(parse_date("1700000000"), 1_700_000_000)
        self.assertEqual(parse_date("Never"), NEVER)
        self.assertTrue(0 <= time.time() - parse_date("now") < SLACK_SECONDS)

    def test_bad_dates(self) -> None:
        """What stock calls them."""
        for text, code in {
            "": MALFORMED,
            "1/2": MALFORMED,
            "1/2/26 10": MALFORMED,
            "2026-01-02 10": MALFORMED,
            "13/2/26": IMPOSSIBLE,
            "1/2/26 24:00": IMPOSSIBLE,
            "1/2/100": IMPOSSIBLE,
        }.items():
            with self.assertRaises(BadDate) as caught:
                parse_date(text)
            self.assertEqual(caught.exception.code, code, text)


class Terminal(io.StringIO):
    """Somebody looks on."""

    def isatty(self) -> bool:
        return True


class Progress(SynchronousTestCase):
    """Without tqdm."""

    def shown(self, err: io.StringIO, verbose: bool) -> tuple[str, str]:
        """(out, err) of 3 MB that take 25 seconds."""
        clock: Any = Clock()
        out = io.StringIO()
        session = Session(clock, "test", [], Output(out, err, verbose))
        self.patch(progress, "find_spec", lambda name: None)
        with progress.bytes_passing(session, "dump of vol", 4_000_000) as told:
            for _ in range(3):
                clock.advance(25 / 3)
                told(1_000_000)
        return out.getvalue(), err.getvalue()

    def test_piped(self) -> None:
        """No terminal: nothing is said, unless -verbose; then a line now and then, and none on the standard output."""
        self.assertEqual(self.shown(io.StringIO(), verbose=False), ("", ""))
        self.assertEqual(self.shown(io.StringIO(), verbose=True), ("", "dump of vol: 2.0 MB, 120.0 kB/s\n"))

    def test_terminal(self) -> None:
        """A line that is written over, and is gone in the end."""
        out, err = self.shown(Terminal(), verbose=False)
        self.assertEqual(out, "")
        self.assertIn("dump of vol: 3.0 MB of 4.0 MB, 120.0 kB/s", err)
        self.assertTrue(err.endswith("\r\x1b[K"))


class Unhurried(TestCase):
    """A call that makes something."""

    def setUp(self) -> None:
        self.call: Deferred[int] = Deferred()
        self.noted: list[int] = []

    def begin(self) -> Deferred[None]:
        """It is under way."""
        return Deferred.fromCoroutine(unhurried(self.call, self.noted.append))

    def test_interrupted(self) -> None:
        """An interrupt takes effect when the call has been answered, and what it made is noted."""
        running = self.begin()
        running.cancel()
        self.assertNoResult(running)
        self.call.callback(7)
        self.failureResultOf(running, CancelledError)
        self.assertEqual(self.noted, [7])

    def test_twice(self) -> None:
        """A second interrupt cancels the call."""
        running = self.begin()
        running.cancel()
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(self.noted, [])

    def test_refused(self) -> None:
        """What the call raises goes on, but an interrupt before: whoever goes on after a refusal is not to."""
        running = self.begin()
        self.call.errback(KeyError("no"))
        self.failureResultOf(running, KeyError)

    def test_refused_and_interrupted(self) -> None:
        """An interrupt is not forgotten because the call it waits for fails."""
        running = self.begin()
        running.cancel()
        self.call.errback(KeyError("no"))
        self.failureResultOf(running, CancelledError)
