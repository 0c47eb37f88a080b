"""A vnode's section of a dump stream in one struct, for files and symbolic links: a fast path beside the field by field
one of dump.py and dump_reader.py.

Both are derived from the same table of fields. Whatever is not laid out so, a directory's access list, another order or
a length past 32 bits, is for the plain path.
"""

from __future__ import annotations

import struct

from fileserver.interfaces import Vnode
from fileserver.volser.dump_format import CONTENT, LAST_SECTION, VNODE, VNODE_FIELDS, Field

MAX_CONTENT = 16 * 1024
"""Bytes of content of what is done at once: more, and one of many would make the others wait."""

_GROUP = next(field for field in VNODE_FIELDS if field.name == "group")


class _Form:
    """A section with these fields; `rest` is without the tag it begins with."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self.tags = (*(field.tag for field in fields), CONTENT)
        words = "".join("B" + field.kind.fmtstr[1:] for field in fields)
        self.rest = struct.Struct(f">II{words}BI")
        self.whole = struct.Struct(f">BII{words}BI")


_WITH_GROUP = _Form(VNODE_FIELDS)
_WITHOUT = _Form(tuple(field for field in VNODE_FIELDS if field is not _GROUP))
_T, _L, _V, _M, _A, _O, _G, _B, _P, _S, _F = _WITH_GROUP.tags


def packed(number: int, vnode: Vnode) -> bytes:
    """The whole section but the content, of a file or a link whose length fits 32 bits."""
    if vnode.group:
        return _WITH_GROUP.whole.pack(
            VNODE,
            number,
            vnode.uniquifier,
            _T,
            vnode.type,
            _L,
            vnode.link_count,
            _V,
            vnode.data_version,
            _M,
            vnode.modify_time,
            _A,
            vnode.author,
            _O,
            vnode.owner,
            _G,
            vnode.group,
            _B,
            vnode.mode,
            _P,
            vnode.parent,
            _S,
            vnode.server_modify_time,
            _F,
            vnode.length,
        )
    return _WITHOUT.whole.pack(
        VNODE,
        number,
        vnode.uniquifier,
        _T,
        vnode.type,
        _L,
        vnode.link_count,
        _V,
        vnode.data_version,
        _M,
        vnode.modify_time,
        _A,
        vnode.author,
        _O,
        vnode.owner,
        _B,
        vnode.mode,
        _P,
        vnode.parent,
        _S,
        vnode.server_modify_time,
        _F,
        vnode.length,
    )


def unpacked(data: bytes, at: int) -> tuple[int, Vnode, int, int] | None:
    """(number, vnode, where its content begins, where the tag after that is) of the section whose tag ends at `at`;
    None where it is not laid out so, or not all there with the tag of the next section.
    """
    for form in (_WITHOUT, _WITH_GROUP):
        begin = at + form.rest.size
        if begin > len(data):
            return None
        items = form.rest.unpack_from(data, at)
        if items[2::2] != form.tags:
            continue
        length = items[-1]
        end = begin + length
        if length > MAX_CONTENT or end >= len(data) or data[end] > LAST_SECTION:
            return None
        number, unique, _, kind, _, links, _, version, _, modified, _, author, _, owner = items[:14]
        group = items[15] if form is _WITH_GROUP else 0
        mode, parent, changed = items[-7], items[-5], items[-3]
        vnode = Vnode(kind, mode, links, length, unique, version, modified, author, owner, group, parent, changed)
        return number, vnode, begin, end
    return None
