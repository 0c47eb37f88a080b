"""The AFS directory object (volume-format.md section 7): 2048-byte pages of 32-byte blobs, hash chains in page 0.

A directory is held whole in memory, with a dict for lookups; what a change touched is handed out as dirty pages.
Reading and writing the pages, locks and data versions belong to the volume package.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EFBIG
from struct import Struct

from fileserver.interfaces import Damaged
from fileserver.store.formats import DIRECTORY_ENTRY, DIRECTORY_PAGE, DIRECTORY_TAG

PAGE_SIZE = 2048
BLOB_SIZE = 32
BLOBS_PER_PAGE = PAGE_SIZE // BLOB_SIZE
MAX_PAGES = 1023
"""A blob number is 16 bits and must name any blob of the last page (dir.h BIGMAXPAGES)."""
MAPPED_PAGES = 128
"""The allocation map of page 0 covers this many pages; later ones are looked at themselves."""
MAX_NAME = 255
"""The salvager takes a name of 256 bytes or more for damage."""

ALLOCATION_MAP = 32
HASH_TABLE = 160
BUCKETS = 128
HEADER_BLOBS = 13
DOT_BLOB, DOT_DOT_BLOB = 13, 14
"""The salvager insists on "." and ".." in these places."""

DOTS = (b".", b"..")

FIRST = 1
"""The flag of an entry's first blob."""

_ALL_BLOBS = (1 << BLOBS_PER_PAGE) - 1
_PAGE_0_BLOBS = (1 << HEADER_BLOBS) - 1
_NAME = DIRECTORY_ENTRY.size
_MOST_BLOBS = 1 + ((MAX_NAME + 1 + 15) >> 5)
_UINT16 = Struct(">H")


class DirectoryFull(OSError):
    """No room for the entry in 1023 pages (EFBIG)."""

    def __init__(self) -> None:
        super().__init__(EFBIG, "directory full")


class BadName(ValueError):
    """A name no directory can hold: empty, longer than 255 bytes, with a NUL in it, or `.` and `..` where they must
    stay.
    """


class Directory:
    """One directory object. `new` and `parse` make one; `dirty_pages` drains what is to be written."""

    __slots__ = ("_blobs", "_data", "_dirty", "_entries", "_fits", "_used")

    def __init__(
        self, data: bytearray, used: list[int], blobs: dict[bytes, int], entries: dict[bytes, tuple[int, int]]
    ) -> None:
        self._data = data
        self._used = used  # per page: bit n set when blob n is taken
        self._blobs = blobs  # name -> its first blob
        self._entries = entries
        self._fits = [0] * (_MOST_BLOBS + 1)  # per size in blobs: no page below this one has room
        self._dirty: set[int] = set()

    @classmethod
    def new(cls, self_fid: tuple[int, int], parent: tuple[int, int]) -> Directory:
        """An empty directory: fids are (vnode, uniquifier); a volume's root is its own parent."""
        directory = cls(bytearray(), [], {}, {})
        directory._add_page()
        directory._insert(b".", *self_fid)
        directory._insert(b"..", *parent)
        return directory

    @classmethod
    def parse(cls, data: bytes) -> Directory:
        """Raises Damaged on whatever the salvager's own check refuses."""
        pages = _page_count(data)
        used = [_page_bitmap(data, page) for page in range(pages)]
        blobs: dict[bytes, int] = {}
        entries: dict[bytes, tuple[int, int]] = {}
        reached = [_PAGE_0_BLOBS] + [1] * (pages - 1)
        for bucket in range(BUCKETS):
            for blob, name, vnode, unique in _chain(data, bucket, pages):
                page, first = divmod(blob, BLOBS_PER_PAGE)
                run = ((1 << _blobs_for(name)) - 1) << first
                if run & reached[page] or run & ~used[page] or name in entries:
                    raise Damaged(
                        f"directory entry {name!r} at blob {blob}: twice, or in space that is free or another's"
                    )
                reached[page] |= run
                blobs[name] = blob
                entries[name] = (vnode, unique)
        if reached != used:
            raise Damaged("directory bitmap has blobs in use that no entry reaches")
        if blobs.get(b".") != DOT_BLOB or blobs.get(b"..") != DOT_DOT_BLOB:
            raise Damaged("directory lacks . or .. in its place")
        return cls(bytearray(data[: pages * PAGE_SIZE]), used, blobs, entries)

    @property
    def length(self) -> int:
        """Bytes of the whole object: a whole number of pages."""
        return len(self._data)

    def __len__(self) -> int:
        """Entries, `.` and `..` included."""
        return len(self._entries)

    def __contains__(self, name: bytes) -> bool:
        return name in self._entries

    def lookup(self, name: bytes) -> tuple[int, int] | None:
        """(vnode, uniquifier), or None."""
        return self._entries.get(name)

    def entries(self) -> Iterator[tuple[bytes, int, int]]:
        """(name, vnode, uniquifier) of every entry, `.` and `..` included."""
        for name, (vnode, unique) in self._entries.items():
            yield name, vnode, unique

    def is_empty(self) -> bool:
        """Only `.` and `..` are left."""
        return len(self._entries) == 2

    def insert(self, name: bytes, vnode: int, unique: int) -> None:
        """Raises FileExistsError, DirectoryFull, BadName; nothing has changed then."""
        if not name or len(name) > MAX_NAME or b"\0" in name:
            raise BadName(f"not a name for a directory: {name!r}")
        if name in self._entries:
            raise FileExistsError(f"{name!r} is in the directory already")
        self._insert(name, vnode, unique)

    def remove(self, name: bytes) -> None:
        """Take an entry out and zero its blobs: no deleted name travels to clients. Raises KeyError, BadName."""
        if name in (b".", b".."):
            raise BadName(f"{name!r} cannot leave a directory")
        blob = self._blobs[name]
        self._unchain(_bucket(name), blob)
        page, first = divmod(blob, BLOBS_PER_PAGE)
        count = _blobs_for(name)
        self._data[blob * BLOB_SIZE : (blob + count) * BLOB_SIZE] = bytes(count * BLOB_SIZE)
        self._mark(page, self._used[page] & ~(((1 << count) - 1) << first))
        self._fits = [min(lowest, page) for lowest in self._fits]
        del self._blobs[name], self._entries[name]

    def replace(self, name: bytes, vnode: int, unique: int) -> None:
        """Point an existing name elsewhere, in place. Raises KeyError."""
        offset = self._blobs[name] * BLOB_SIZE
        entry = DIRECTORY_ENTRY.unpack(self._data, offset)
        self._data[offset : offset + _NAME] = DIRECTORY_ENTRY.pack(
            flag=FIRST, length=0, next=entry.next, vnode=vnode, unique=unique
        )
        self._entries[name] = (vnode, unique)
        self._dirty.add(offset // PAGE_SIZE)

    def dirty_pages(self) -> list[tuple[int, bytes]]:
        """(offset, bytes) of what changed since the last time, ascending, neighbours joined; drains."""
        runs: list[tuple[int, bytes]] = []
        first = end = -1
        for page in sorted(self._dirty):
            if page != end:
                runs.extend(self._run(first, end))
                first = page
            end = page + 1
        runs.extend(self._run(first, end))
        self._dirty.clear()
        return runs

    def to_bytes(self) -> bytes:
        """The whole object."""
        return bytes(self._data)

    def _run(self, first: int, end: int) -> list[tuple[int, bytes]]:
        if first < 0:
            return []
        return [(first * PAGE_SIZE, bytes(self._data[first * PAGE_SIZE : end * PAGE_SIZE]))]

    def _insert(self, name: bytes, vnode: int, unique: int) -> None:
        count = _blobs_for(name)
        page, first = self._room(count)
        blob = page * BLOBS_PER_PAGE + first
        head = HASH_TABLE + 2 * _bucket(name)
        (next_blob,) = _UINT16.unpack_from(self._data, head)
        entry = DIRECTORY_ENTRY.pack(flag=FIRST, length=0, next=next_blob, vnode=vnode, unique=unique) + name
        self._data[blob * BLOB_SIZE : (blob + count) * BLOB_SIZE] = entry.ljust(count * BLOB_SIZE, b"\0")
        _UINT16.pack_into(self._data, head, blob)
        self._mark(page, self._used[page] | ((1 << count) - 1) << first)
        self._blobs[name] = blob
        self._entries[name] = (vnode, unique)

    def _room(self, count: int) -> tuple[int, int]:
        """(page, blob in it) of the first run of `count` free blobs, as OpenAFS chooses it; adds a page when there is
        none.
        """
        for page in range(self._fits[count], len(self._used)):
            free = runs = _ALL_BLOBS & ~self._used[page]
            for shift in range(1, count):
                runs &= free >> shift
            if runs:
                self._fits[count] = page
                return page, (runs & -runs).bit_length() - 1
        self._fits[count] = len(self._used)
        if len(self._used) == MAX_PAGES:
            raise DirectoryFull
        return self._add_page(), 1

    def _add_page(self) -> int:
        page = len(self._used)
        used = 1 if page else _PAGE_0_BLOBS
        free = BLOBS_PER_PAGE - used.bit_count()
        bitmap = used.to_bytes(BLOBS_PER_PAGE // 8, "little")
        self._data += DIRECTORY_PAGE.pack(pgcount=0, tag=DIRECTORY_TAG, freecount=free, freebitmap=bitmap).ljust(
            PAGE_SIZE, b"\0"
        )
        if page == 0:
            self._data[ALLOCATION_MAP : ALLOCATION_MAP + MAPPED_PAGES] = bytes([BLOBS_PER_PAGE]) * MAPPED_PAGES
        _UINT16.pack_into(self._data, 0, page + 1)
        self._used.append(used)
        self._mark(page, used)
        return page

    def _mark(self, page: int, used: int) -> None:
        """Note a page's bitmap in the page, in the allocation map of page 0, and among the dirty pages with page 0."""
        self._used[page] = used
        bitmap = page * PAGE_SIZE + 5
        self._data[bitmap : bitmap + BLOBS_PER_PAGE // 8] = used.to_bytes(BLOBS_PER_PAGE // 8, "little")
        if page < MAPPED_PAGES:
            self._data[ALLOCATION_MAP + page] = BLOBS_PER_PAGE - used.bit_count()
        self._dirty |= {0, page}

    def _unchain(self, bucket: int, blob: int) -> None:
        link = HASH_TABLE + 2 * bucket
        (at,) = _UINT16.unpack_from(self._data, link)
        while at != blob:
            link = at * BLOB_SIZE + 2
            (at,) = _UINT16.unpack_from(self._data, link)
        self._data[link : link + 2] = self._data[blob * BLOB_SIZE + 2 : blob * BLOB_SIZE + 4]
        self._dirty.add(link // PAGE_SIZE)


def scattered_entries(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, vnode, uniquifier) of everything in the pages that looks like an entry, `.` and `..` left out: no chain or
    bitmap is believed. Freed blobs are zeroed, so what is found was there.
    """
    for page in range(len(content) // PAGE_SIZE):
        end_of_page = (page + 1) * BLOBS_PER_PAGE
        blob = DOT_DOT_BLOB + 1 if page == 0 else page * BLOBS_PER_PAGE + 1
        while blob < end_of_page:
            start = blob * BLOB_SIZE
            end = content.find(b"\0", start + _NAME, end_of_page * BLOB_SIZE)
            name = content[start + _NAME : end]
            blob += 1
            believable = 0 < len(name) <= MAX_NAME and b"/" not in name and name not in DOTS
            if content[start] == FIRST and end > 0 and believable:
                blob = -(-(end + 1) // BLOB_SIZE)  # the entry's further blobs hold only its name
                entry = DIRECTORY_ENTRY.unpack(content, start)
                yield name, entry.vnode, entry.unique


def _blobs_for(name: bytes) -> int:
    return 1 + ((len(name) + 1 + 15) >> 5)


def _bucket(name: bytes) -> int:
    """The hash chain of a name (dir.c DirHash)."""
    value = 0
    for byte in name:
        value = value * 173 + byte & 0xFFFFFFFF
    bucket = value & BUCKETS - 1
    return BUCKETS - bucket if bucket and value >> 31 else bucket


def _page_count(data: bytes) -> int:
    if len(data) < PAGE_SIZE:
        raise Damaged(f"directory of {len(data)} bytes is shorter than a page")
    free = data[ALLOCATION_MAP : ALLOCATION_MAP + MAPPED_PAGES]
    mapped = len(free.rstrip(bytes([BLOBS_PER_PAGE])))
    if BLOBS_PER_PAGE in free[:mapped] or max(free) > BLOBS_PER_PAGE:
        raise Damaged("directory allocation map is not a run of pages in use")
    pages: int = DIRECTORY_PAGE.unpack(data).pgcount or mapped  # written without a count by very old servers
    if not max(mapped, 1) <= pages <= min(MAX_PAGES, len(data) // PAGE_SIZE):
        raise Damaged(f"directory of {len(data)} bytes states {pages} pages and maps {mapped}")
    return pages


def _page_bitmap(data: bytes, page: int) -> int:
    header = DIRECTORY_PAGE.unpack(data, page * PAGE_SIZE)
    if header.tag != DIRECTORY_TAG:
        raise Damaged(f"directory page {page} has tag {header.tag}")
    used = int.from_bytes(header.freebitmap, "little")
    if page < MAPPED_PAGES and BLOBS_PER_PAGE - used.bit_count() != data[ALLOCATION_MAP + page]:
        raise Damaged(f"directory page {page} and the allocation map disagree")
    return used


def _chain(data: bytes, bucket: int, pages: int) -> Iterator[tuple[int, bytes, int, int]]:
    """(blob, name, vnode, uniquifier) along one hash chain; the caller notices a circle as an entry seen twice."""
    (blob,) = _UINT16.unpack_from(data, HASH_TABLE + 2 * bucket)
    while blob:
        offset = blob * BLOB_SIZE
        page_end = (blob // BLOBS_PER_PAGE + 1) * PAGE_SIZE
        if page_end > pages * PAGE_SIZE:
            raise Damaged(f"directory chain {bucket} leads to blob {blob}, past the end")
        entry = DIRECTORY_ENTRY.unpack(data, offset)
        end = data.find(b"\0", offset + _NAME, page_end)
        name = bytes(data[offset + _NAME : end])
        if entry.flag != FIRST or end < 0 or not 0 < len(name) <= MAX_NAME or _bucket(name) != bucket:
            raise Damaged(f"directory chain {bucket} has a bad entry at blob {blob}")
        yield blob, name, entry.vnode, entry.unique
        blob = entry.next
