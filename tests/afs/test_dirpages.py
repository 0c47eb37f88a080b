"""Directory pages, read as a client reads them."""

from random import Random
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from afs.dirpages import BLOB_SIZE, DIRECTORY_HEADER, ENTRY, PAGE_SIZE, BadDirectory, read_directory
from afs.rpc.fs import RXAFS
from fileserver.directory import Directory
from tests.support.budget import budget
from tests.support.captures import VECTORS, captured_calls
from tests.xdr.layouts import EqualToConstruct


def directory(*names: bytes) -> tuple[bytes, dict[bytes, tuple[int, int]]]:
    """(pages, entries) of a directory with these names."""
    made = Directory.new((1, 1), (1, 1))
    for vnode, name in enumerate(names, 2):
        made.insert(name, vnode, vnode + 1000)
    return made.to_bytes(), {name: (vnode, unique) for name, vnode, unique in made.entries()}


class ReadTests(SynchronousTestCase):
    """Good directories."""

    def test_empty(self) -> None:
        """A new directory has itself and its parent."""
        pages, _ = directory()
        self.assertEqual(read_directory(pages), {b".": (1, 1), b"..": (1, 1)})

    def test_many(self) -> None:
        """Names of every length, over many pages, are found with what they stand for."""
        names = [b"%d-" % each + b"n" * (each % 250) for each in range(1000)]
        pages, entries = directory(*names)
        self.assertEqual(read_directory(pages), entries)

    def test_captured(self) -> None:
        """Directories that a stock file server sent are read to the last name."""
        found: set[bytes] = set()
        for call in captured_calls(VECTORS / "20-fuse-start-cold-read.pcap"):
            if call.service_id != RXAFS.service_id or call.request is None or call.reply is None:
                continue
            operation = RXAFS.operations.get(int.from_bytes(call.request[:4], "big"))
            if operation is None or operation.name != "FetchData64":
                continue
            fid, *_ = operation.decode_request(call.request)[0]
            if fid.Vnode % 2 == 1:
                length = int.from_bytes(call.reply[:8], "big")
                found |= read_directory(call.reply[8 : 8 + length]).keys()
        self.assertLess({b".", b"..", b"alice"}, found)


class DamageTests(SynchronousTestCase):
    """Bad directories."""

    def test_not_pages(self) -> None:
        """Bytes that are not whole pages with the right tag are refused."""
        pages, _ = directory(b"name")
        for data in (b"", pages[:-1], pages + b"\0", bytes(PAGE_SIZE)):
            self.assertRaises(BadDirectory, read_directory, data)

    def test_loop(self) -> None:
        """A chain that comes back to itself is noticed."""
        pages = bytearray(directory(b"name")[0])
        blobs = range(13, 64)
        first = next(blob for blob in blobs if pages[blob * BLOB_SIZE])
        pages[first * BLOB_SIZE + 2 : first * BLOB_SIZE + 4] = first.to_bytes(2, "big")
        self.assertRaises(BadDirectory, read_directory, bytes(pages))

    def test_garbage(self) -> None:
        """Any change of a byte is read as some directory or refused, and nothing else happens."""
        plan = budget("afs.dirpages.garbage", full=100_000)
        random = Random(plan.seed)
        pages, _ = directory(*[b"name%d" % each for each in range(100)])
        for _ in range(plan.count):
            damaged = bytearray(pages)
            for _ in range(random.randrange(1, 8)):
                damaged[random.randrange(len(damaged))] = random.randrange(256)
            try:
                read_directory(bytes(damaged))
            except BadDirectory:
                continue


class DirectoryLayoutTests(EqualToConstruct, SynchronousTestCase):
    """The fast path of a directory entry is what construct declares."""

    layouts: ClassVar = {"entry": ENTRY, "header": DIRECTORY_HEADER}
