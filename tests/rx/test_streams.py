"""rx.streams: framing, and the plain sinks and sources."""

from twisted.trial.unittest import SynchronousTestCase

from rx.streams import Buffer, BytesSource, Counted32, Counted64, FramedSink, FramedSource, Rest
from tests.rx.test_service import Script, run


class Sinks(SynchronousTestCase):
    """Writing."""

    def test_counted(self) -> None:
        """The count goes once, before the first byte."""
        for framing, count in ((Counted32, "00000005"), (Counted64, "0000000000000005")):
            script = Script()
            sink = FramedSink(framing, script)
            sink.announce(5)
            for piece in (b"ab", b"cde"):
                run(sink.write(piece))
            run(sink.close())
            self.assertEqual(script.sent, bytes.fromhex(count) + b"abcde")

    def test_nothing_announced(self) -> None:
        """A counted stream to which nothing was announced has the count 0."""
        script = Script()
        run(FramedSink(Counted64, script).close())
        self.assertEqual(script.sent, bytes(8))

    def test_broken_promises(self) -> None:
        """Writing before announcing, more than announced or less, or announcing twice is the procedure's defect."""
        sink = FramedSink(Counted32, Script())
        with self.assertRaises(RuntimeError):
            run(sink.write(b"a"))
        sink.announce(2)
        with self.assertRaises(RuntimeError):
            sink.announce(2)
        run(sink.write(b"a"))
        with self.assertRaises(RuntimeError):
            run(sink.close())
        with self.assertRaises(RuntimeError):
            run(sink.write(b"bc"))
        with self.assertRaises(RuntimeError):
            FramedSink(Rest, Script()).announce(1)


class Sources(SynchronousTestCase):
    """Reading."""

    def test_counted(self) -> None:
        """A counted source ends after its count, whatever follows, and tells its length."""
        script = Script([b"\0\0", b"\0\5he", b"lloREST"])
        source = FramedSource(Counted32, script)
        pieces = []
        while piece := run(source.read(3)):
            pieces.append(piece)
        self.assertEqual((b"".join(pieces), source.length), (b"hello", 5))
        self.assertEqual(run(script.receive()), b"REST")

    def test_rest(self) -> None:
        """An uncounted source gives what was read with the arguments first, then all there is."""
        source = FramedSource(Rest, Script([b"de", b"f"]), already=b"abc")
        pieces = []
        while piece := run(source.read(2)):
            pieces.append(piece)
        self.assertEqual(pieces, [b"ab", b"c", b"de", b"f"])
        self.assertIsNone(source.length)


class Plain(SynchronousTestCase):
    """Buffer and BytesSource."""

    def test_buffer_limit(self) -> None:
        """A limited buffer refuses an announcement, or bytes, beyond its limit."""
        buffer = Buffer(limit=4)
        with self.assertRaises(ValueError):
            buffer.announce(5)
        run(buffer.write(b"abcd"))
        with self.assertRaises(ValueError):
            run(buffer.write(b"e"))
        self.assertEqual((bytes(buffer), len(buffer)), (b"abcd", 4))

    def test_bytes_source(self) -> None:
        """A source of bytes gives them once."""
        source = BytesSource(b"abcde")
        self.assertEqual([run(source.read(2)) for _ in range(4)], [b"ab", b"cd", b"e", b""])
