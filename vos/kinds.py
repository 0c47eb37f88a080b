"""What the words after switches are."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated
from uuid import UUID

from afs.names import parse_partition
from vos.command import CommandError, Kind
from vos.session import Session

Place = UUID | int
"""A partition object by its UUID, or what a server has at this number."""


def _partition_number(session: Session, word: str) -> int:
    try:
        return parse_partition(word)
    except ValueError:
        raise CommandError(f"vos: could not interpret partition name '{word}'\n") from None


def _place(session: Session, word: str) -> Place:
    return parse_uuid(word) or _partition_number(session, word)


def parse_uuid(word: str) -> UUID | None:
    """None for what is none. With four dashes, or five as stock vos writes one; other forms could be names."""
    if word.count("-") not in (4, 5) or len(word) != 32 + word.count("-"):
        return None
    try:
        return UUID(word.replace("-", ""))
    except ValueError:
        return None


def afs_uuid_text(uuid: UUID) -> str:
    """As stock vos writes one: with a dash more than usual."""
    plain = str(uuid)
    return f"{plain[:21]}-{plain[21:]}"


def registration_lines(session: Session, uuid: UUID, addresses: Sequence[IPv4Address]) -> list[str]:
    """A file server's UUID and addresses, and an empty line."""
    return [f"UUID: {afs_uuid_text(uuid)}", *(session.name(address) for address in addresses), ""]


def _uuid(session: Session, word: str) -> UUID:
    found = parse_uuid(word)
    if found is None:
        raise CommandError(f"vos: '{word}' is not a UUID\n")
    return found


def _server_or_uuid(session: Session, word: str) -> IPv4Address | UUID:
    return parse_uuid(word) or session.server(word)


def _count(session: Session, word: str) -> int:
    if not (word.isascii() and word.isdigit()) or int(word) >= 1 << 31:
        raise CommandError(f"vos: '{word}' is not a number\n")
    return int(word)


def _path(session: Session, word: str) -> str:
    if not Path(word).is_absolute():
        raise CommandError(f"vos: '{word}' is not an absolute path\n")
    return word


Server = Annotated[IPv4Address, Kind("machine name", Session.server)]
PartitionPlace = Annotated[Place, Kind("partition name or UUID", _place)]
PartitionNumber = Annotated[int, Kind("partition name", _partition_number)]
Uuid = Annotated[UUID, Kind("UUID", _uuid)]
Count = Annotated[int, Kind("number", _count)]
HostPath = Annotated[str, Kind("path on the server", _path)]
ServerOrUuid = Annotated[IPv4Address | UUID, Kind("machine name or UUID", _server_or_uuid)]
