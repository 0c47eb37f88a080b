"""The header file `V<id>.vol` of a volume: with namei, name and content follow from the ids of volume and group."""

from __future__ import annotations

from fileserver.store.formats import FORMAT_VERSION, VOLUME_FILE, VOLUME_HEADER_MAGIC
from fileserver.store.inodes import Special, special_inode


def volume_file_name(volume_id: int) -> str:
    """The file's name in the partition's directory."""
    return f"V{volume_id:010}.vol"


def pack_volume_file(volume_id: int, parent: int) -> bytes:
    """The whole file."""
    halves: dict[str, int] = {}
    for name, owner, kind in (
        ("volume_info", volume_id, Special.INFO),
        ("small_index", volume_id, Special.SMALL_INDEX),
        ("large_index", volume_id, Special.LARGE_INDEX),
        ("link_table", parent, Special.LINK_TABLE),
    ):
        inode = special_inode(owner, kind)
        halves |= {f"{name}_lo": inode & 0xFFFFFFFF, f"{name}_hi": inode >> 32}
    for name in ("acl", "mount_table"):
        halves |= {f"{name}_lo": 0, f"{name}_hi": 0}
    packed: bytes = VOLUME_FILE.pack(
        magic=VOLUME_HEADER_MAGIC, version=FORMAT_VERSION, id=volume_id, parent=parent, **halves
    )
    return packed
