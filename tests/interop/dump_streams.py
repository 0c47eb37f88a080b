"""Dump streams made by hand, and taken apart so that two servers' can be compared."""

from __future__ import annotations

from typing import Any

from afs.acl import ALL_RIGHTS, ANYUSERID, AccessList, Entry
from fileserver.directory import Directory
from fileserver.interfaces import Vnode, VolumeHeader, blocks
from fileserver.volser import dump_format as form
from fileserver.volser.dump import _dump_header, _vnode_fields, _volume_header
from fileserver.volser.dump_reader import DumpReader
from fileserver.volume.vn import DIRECTORY, FILE, SYMLINK
from rx.streams import BytesSource

NOW = "now"
"""In place of a time at which something was done."""

TIMES = ("creation_date", "access_date", "update_date", "backup_date", "expiration_date")
OPEN = AccessList(positive=(Entry(ANYUSERID, ALL_RIGHTS),)).to_bytes()


def vnode(kind: int, length: int, unique: int, when: int, parent: int = 1) -> Vnode:
    """With times of long ago."""
    return Vnode(
        type=kind,
        mode=0o755,
        link_count=2 if kind == DIRECTORY else 1,
        length=length,
        uniquifier=unique,
        data_version=3,
        modify_time=when - 5,
        author=1,
        owner=7,
        group=8,
        parent=parent,
        server_modify_time=when,
        acl=OPEN if kind == DIRECTORY else b"",
    )


def sample(volume: int, when: int, since: int = 0) -> bytes:
    """A dump of a root with a file, a subdirectory, a file in it and a link; the dump since then has another file."""
    root = Directory.new((1, 1), (1, 1))
    below = Directory.new((3, 4), (1, 1))
    for name, fid in ((b"file", (2, 2)), (b"link", (4, 3)), (b"below", (3, 4))):
        root.insert(name, *fid)
    below.insert(b"inside", 6, 5)
    if since:
        root.insert(b"added", 8, 9)
    parts = {
        1: (DIRECTORY, root.to_bytes(), 1, 0, True),
        3: (DIRECTORY, below.to_bytes(), 4, 1, not since),
        2: (FILE, b"content" * 3000, 2, 1, not since),
        4: (SYMLINK, b"below/inside", 3, 1, not since),
        6: (FILE, b"", 5, 3, not since),
    }
    if since:
        parts[8] = (FILE, b"more", 9, 1, True)
    header = VolumeHeader(
        id=volume,
        parent=volume,
        name=b"sample",
        type=0,
        in_service=True,
        blessed=True,
        uniquifier=20,
        max_quota=6000,
        disk_used=sum(blocks(len(content)) for _, content, *_ in parts.values()),
        file_count=len(parts) - 1,
        owner=3,
        creation_date=when - 100,
        access_date=when - 50,
        update_date=when,
        copy_date=when,
    )
    stream = _dump_header(header, since) + _volume_header(header)
    for number, (kind, content, unique, parent, whole) in parts.items():
        stream += form.VNODE_BEGIN.pack(number=number, uniquifier=unique)
        if whole:
            stream += _vnode_fields(volume, number, vnode(kind, len(content), unique, when + (since > 0), parent))
            stream += content
    return stream + form.END.pack(magic=form.END_MAGIC)


async def taken_apart(stream: bytes, long_ago: int) -> list[Any]:
    """The sections of a dump; times after `long_ago` are NOW."""
    reader = DumpReader(BytesSource(stream))
    sections: list[Any] = [await reader.dump_header()]
    header = await reader.volume_header()
    sections.append({name: past(value, long_ago) if name in TIMES else value for name, value in header.items()})
    numbers = {field.tag: field for field in form.VNODE_FIELDS}
    tags = (*numbers, form.ACCESS_LIST, form.CONTENT, form.LONG_CONTENT)
    while reader.section == form.VNODE:
        fields: dict[str, Any] = {"number": await reader.word(), "unique": await reader.word()}
        while (tag := await reader.field(tags)) > form.LAST_SECTION:
            if tag in numbers:
                name = numbers[tag].name
                value = await reader.number(numbers[tag])
                fields[name] = past(value, long_ago) if "time" in name else value
            elif tag == form.ACCESS_LIST:
                fields["acl"] = await reader.take(192)
            else:
                assert tag == form.CONTENT
                fields["content"] = await reader.take(await reader.word())
        sections.append(fields)
    await reader.end()
    return sections


def past(value: int, long_ago: int) -> Any:
    """A time as it is, if it is one that was asked for."""
    return value if value <= long_ago or value > 0x7FFFFFFF else NOW
