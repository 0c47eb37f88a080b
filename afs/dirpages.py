"""Read the pages of an AFS directory, as a client fetches them (dir.c; volume-format.md section 7). Writing them is a
file server's business and lives there.
"""

from construct import Array, Bytes, Int8ub, Int16ub, Int32ub, Padding, Struct

from xdr.layout import fast

PAGE_SIZE = 2048
BLOB_SIZE = 32
BLOBS_PER_PAGE = PAGE_SIZE // BLOB_SIZE
HASH_CHAINS = 128
PAGE_TAG = 1234
NAME_OFFSET = 12
"""Where the name begins in an entry."""

PAGE_HEADER = Struct(
    "pgcount" / Int16ub,
    "tag" / Int16ub,
    "freecount" / Int8ub,
    "freebitmap" / Bytes(8),
    Padding(19),
)
"""The first blob of every page."""

DIRECTORY_HEADER = Struct("page" / PAGE_HEADER, "alloMap" / Bytes(128), "hashTable" / Array(HASH_CHAINS, Int16ub))
"""The first thirteen blobs of page 0."""

ENTRY = Struct("flag" / Int8ub, "length" / Int8ub, "next" / Int16ub, "vnode" / Int32ub, "unique" / Int32ub)
"""The head of an entry; its name follows, with a NUL."""

_entry = fast(ENTRY)


class BadDirectory(ValueError):
    """The bytes are not the pages of a directory."""


def read_directory(data: bytes) -> dict[bytes, tuple[int, int]]:
    """name -> (vnode, uniquifier) of every entry, `.` and `..` included. Raises BadDirectory.

    The hash chains are followed, as a cache manager does to look a name up, so an entry in no chain does not exist.
    """
    if len(data) < PAGE_SIZE or len(data) % PAGE_SIZE:
        raise BadDirectory(f"{len(data)} bytes are not whole pages")
    header = DIRECTORY_HEADER.parse(data)
    if header.page.tag != PAGE_TAG:
        raise BadDirectory(f"tag {header.page.tag} where {PAGE_TAG} belongs")
    entries: dict[bytes, tuple[int, int]] = {}
    visited: set[int] = set()
    for blob in header.hashTable:
        while blob:
            if blob in visited:
                raise BadDirectory(f"blob {blob} is in two chains")
            visited.add(blob)
            name, vnode, unique, blob = _read_entry(data, blob)
            entries[name] = (vnode, unique)
    return entries


def _read_entry(data: bytes, blob: int) -> tuple[bytes, int, int, int]:
    """(name, vnode, uniquifier, next blob of the chain) of the entry at a blob."""
    offset = blob * BLOB_SIZE
    page_end = offset - offset % PAGE_SIZE + PAGE_SIZE
    if page_end > len(data):
        raise BadDirectory(f"blob {blob} is beyond the {len(data) // PAGE_SIZE} pages")
    entry = _entry.unpack(data, offset)
    name_end = data.find(b"\0", offset + NAME_OFFSET, page_end)
    if not entry.flag or name_end < 0:
        raise BadDirectory(f"blob {blob} is no entry")
    return data[offset + NAME_OFFSET : name_end], entry.vnode, entry.unique, entry.next
