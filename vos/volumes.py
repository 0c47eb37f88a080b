"""Volumes on a server as stock vos shows them: briefly, in full, with statistics, and for machines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address
from typing import Any

from afs.errors import VolumeError
from afs.rpc.volser import volintInfo, volintXInfo
from vos.entries import text
from vos.output import vice_name
from vos.session import Session

VOK = 2
"""volintInfo.status of a volume that could be looked at (volint.xg)."""

DESTROY_ME = 0xD3

_KINDS = ("RW", "RO", "BK")

Info = volintInfo | volintXInfo


@dataclass(slots=True)
class Totals:
    """What a listing has met."""

    online: int = 0
    offline: int = 0
    busy: list[int] = field(default_factory=list)
    unattachable: list[int] = field(default_factory=list)

    def count(self, info: Info) -> None:
        """One more."""
        if info.status == VOK:
            self.online += info.inUse == 1
            self.offline += info.inUse != 1
        elif info.status == VolumeError.VBUSY:
            self.busy.append(info.volid)
        else:
            self.unattachable.append(info.volid)

    def problems(self) -> Iterator[str]:
        """The last met first."""
        yield from (busy_line(volid) for volid in reversed(self.busy))
        yield from (unattachable_line(volid) for volid in reversed(self.unattachable))


def busy_line(volid: int) -> str:
    """Of a volume that is in a transaction."""
    return f"**** Volume {volid} is busy ****"


def unattachable_line(volid: int) -> str:
    """Of a volume that cannot be looked at."""
    return f"**** Could not attach volume {volid} ****"


def brief_line(info: Info) -> str:
    """One line: `name id RW size K On-line`."""
    return f"{_head(info)}{info.size:>10} K {_line_end(info)}"


def full_lines(session: Session, info: Info, server: IPv4Address, partition: int) -> Iterator[str]:
    """All there is to say of a volume that could be looked at, without an empty line at the end."""
    extended = isinstance(info, volintXInfo)
    size = f"{info.size:>10} K used {info.filecount} files " if extended else f"{info.size:>10} K  "
    yield f"{_head(info)}{size}{_line_end(info)}"
    yield f"    {session.resolved(server)} {vice_name(partition)} "
    yield f"    RWrite {info.parentID:>10} ROnly {info.cloneID:>10} Backup {info.backupID:>10} "
    yield f"    MaxQuota {info.maxquota:>10} K "
    yield f"    Creation    {time.ctime(info.creationDate)}"
    yield f"    Copy        {time.ctime(info.copyDate)}"
    yield f"    Backup      {time.ctime(info.backupDate) if info.backupDate else 'Never'}"
    if info.accessDate:
        yield f"    Last Access {time.ctime(info.accessDate)}"
    yield f"    Last Update {time.ctime(info.updateDate) if info.updateDate else 'Never'}"
    yield f"    {info.dayUse} accesses in the past day (i.e., vnode references)"
    if isinstance(info, volintXInfo):
        yield from _statistics(info)


def shown_lines(session: Session, info: Info, server: IPv4Address, partition: int) -> Iterator[str]:
    """The same of any volume, with the empty line."""
    if info.status == VOK:
        yield from full_lines(session, info, server, partition)
    elif info.status == VolumeError.VBUSY:
        yield busy_line(info.volid)
    else:
        yield unattachable_line(info.volid)
    yield ""


def machine_lines(session: Session, info: volintInfo, server: IPv4Address, partition: int) -> Iterator[str]:
    """-format."""
    if info.status == VOK:
        yield f"name\t\t{text(info.name)}"
    yield f"id\t\t{info.volid}"
    yield f"serv\t\t{server}\t{session.resolved(server)}"
    yield f"part\t\t{vice_name(partition)}"
    if info.status != VOK:
        yield f"status\t\t{'BUSY' if info.status == VolumeError.VBUSY else 'UNATTACHABLE'}"
        return
    yield "status\t\tOK"
    yield from _machine_ids(info)
    yield f"needsSalvaged\t{'Y' if info.needsSalvaged else 'N'}"
    yield f"destroyMe\t{'Y' if info.destroyMe == DESTROY_ME else 'N'}"
    yield _machine_kind(info)
    yield from _machine_dates(info)
    yield f"flags\t\t{_unsigned(info.flags):#x}\t(Optional)" if info.flags else "flags\t\t0\t(Optional)"
    yield f"diskused\t{_unsigned(info.size)}"
    yield f"maxquota\t{_unsigned(info.maxquota)}"
    yield f"minquota\t{_unsigned(info.spare0)}\t(Optional)"
    yield f"filecount\t{_unsigned(info.filecount)}"
    yield f"dayUse\t\t{_unsigned(info.dayUse)}"
    yield f"weekUse\t\t{_unsigned(info.spare1)}\t(Optional)"
    yield f"spare2\t\t{_unsigned(info.spare2)}\t(Optional)"
    yield f"spare3\t\t{_unsigned(info.spare3)}\t(Optional)"


def extended_machine_lines(session: Session, info: volintXInfo, server: IPv4Address, partition: int) -> Iterator[str]:
    """-format -extended, of a volume that could be looked at."""
    yield f"name\t\t{text(info.name)}"
    yield f"id\t\t{info.volid}"
    yield f"serv\t\t{server}\t{session.resolved(server)}"
    yield f"part\t\t{vice_name(partition)}"
    yield "status\t\tOK"
    yield from _machine_ids(info)
    yield _machine_kind(info)
    yield from _machine_dates(info)
    yield f"diskused\t{_unsigned(info.size)}"
    yield f"maxquota\t{_unsigned(info.maxquota)}"
    yield f"filecount\t{_unsigned(info.filecount)}"
    yield f"dayUse\t\t{_unsigned(info.dayUse)}"
    for name, values in (("reads", info.stat_reads), ("writes", info.stat_writes)):
        for net, value in zip(("same_net", "same_net_auth", "diff_net", "diff_net_auth"), values, strict=True):
            yield f"{name}_{net}\t{value:>8}"
    for index, (file_same, file_diff, dir_same, dir_diff) in enumerate(_authorship(info)[:-1], 1):
        yield f"file_same_author_idx_{index}\t{file_same:>8}"
        yield f"file_diff_author_idx_{index}\t{file_diff:>8}"
        yield f"dir_same_author_idx_{index}\t{dir_same:>8}"
        yield f"dir_dif_author_idx_{index}\t{dir_diff:>8}"


def volume_data(session: Session, info: Info, server: IPv4Address, partition: int) -> dict[str, Any]:
    """A volume for JSON: the fields of volintInfo by their names, and where it is."""
    fields = asdict(info) | {"name": text(info.name)}
    return fields | {"server": session.name(server), "address": str(server), "partition": vice_name(partition)}


def _head(info: Info) -> str:
    kind = f"{_KINDS[info.type]} " if 0 <= info.type < len(_KINDS) else ""
    return f"{text(info.name):<32} {info.volid:>10} {kind}"


def _line_end(info: Info) -> str:
    salvage = "**needs salvage**" if isinstance(info, volintInfo) and info.needsSalvaged == 1 else ""
    return ("On-line" if info.inUse == 1 else "Off-line") + salvage


def _machine_ids(info: Info) -> Iterator[str]:
    yield f"backupID\t{info.backupID}"
    yield f"parentID\t{info.parentID}"
    yield f"cloneID\t\t{info.cloneID}"
    yield f"inUse\t\t{'Y' if info.inUse else 'N'}"


def _machine_kind(info: Info) -> str:
    return f"type\t\t{_KINDS[info.type] if 0 <= info.type < len(_KINDS) else '?'}"


def _machine_dates(info: Info) -> Iterator[str]:
    for name in ("creationDate", "accessDate", "updateDate", "backupDate", "copyDate"):
        seconds: int = getattr(info, name)
        yield f"{name}\t{_unsigned(seconds):<9}\t{time.ctime(seconds)}"


def _unsigned(word: int) -> int:
    return word & 0xFFFF_FFFF


_AGES = ("0-60 sec ", "1-10 min ", "10min-1hr", "1hr-1day ", "1day-1wk ", "> 1wk    ")
_RULE = "          |-------------------------------------------|"
_COLUMNS = "          |----------|----------|----------|----------|"


def _statistics(info: volintXInfo) -> Iterator[str]:
    yield ""
    yield "                      Raw Read/Write Stats"
    yield from (_RULE, "          |    Same Network     |    Diff Network     |", _COLUMNS)
    yield from ("          |  Total   |   Auth   |   Total  |   Auth   |", _COLUMNS)
    yield _cells("Reads    ", info.stat_reads)
    yield _cells("Writes   ", info.stat_writes)
    yield from (_RULE, "")
    yield "                   Writes Affecting Authorship"
    yield from (_RULE, "          |   File Authorship   | Directory Authorship|", _COLUMNS)
    yield from ("          |   Same   |   Diff   |    Same  |   Diff   |", _COLUMNS)
    for age, counts in zip(_AGES, _authorship(info), strict=True):
        yield _cells(age, counts)
    yield _RULE


def _authorship(info: volintXInfo) -> list[tuple[int, int, int, int]]:
    """By age of the file: writes by its author and by others, then the same of directories."""
    columns = (info.stat_fileSameAuthor, info.stat_fileDiffAuthor, info.stat_dirSameAuthor, info.stat_dirDiffAuthor)
    return list(zip(*columns, strict=True))


def _cells(name: str, counts: Sequence[int]) -> str:
    return f"{name} |" + "".join(f" {count:>8} |" for count in counts)
