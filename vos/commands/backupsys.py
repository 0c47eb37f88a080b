"""vos backupsys"""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Annotated

from afs.location import RW
from afs.names import partition_name
from afs.rpc.vl import VLF_RWEXISTS, nvldbentry
from rx.errors import RxError
from vos.command import CommandError, command
from vos.entries import text
from vos.errors import OperationFailed
from vos.operations.entries import readwrite_site, same_server
from vos.patterns import BadExpression, Test, begins, described
from vos.session import Session
from vos.volservers import FAILED, failing, partition_named, server_named


@command
async def backupsys(
    session: Session,
    prefix: Annotated[tuple[str, ...], "common prefix on volume(s)"] = (),
    server: Annotated[str | None, "machine name"] = None,
    partition: Annotated[str | None, "partition name"] = None,
    exclude: Annotated[bool, "exclude common prefix volumes"] = False,
    xprefix: Annotated[tuple[str, ...], "negative prefix on volume(s)"] = (),
    dryrun: Annotated[bool, "list what would be done, don't do it"] = False,
) -> None:
    """en masse backups"""
    output = session.output
    address = None if server is None else server_named(session, server)
    number = None if partition is None else partition_named(partition)
    picked = _Picked(_tests(prefix, "-prefix"), _tests(xprefix, "-xprefix"), exclude)
    with failing("Could not access the VLDB for attributes\n"):
        entries = [entry async for entry in session.cell.vldb.entries(server=address, partition=number)]
    if server is not None or number is not None or output.verbose:
        where = "" if server is None else f" on server {server}"
        where = where or (" for all servers" if number is not None else "")
        on = "" if number is None else f" partition {partition_name(number)}"
        begun = "Would have backed" if dryrun else "Backing"
        output.now(f"{begun} up volumes{where}{on}{_described(prefix, xprefix, exclude)} .. ")
        output.part("\n")
    done = failed = 0
    for entry in entries:
        if picked.has(entry.name) and dryrun:
            output.say(f"     {text(entry.name)}")
        elif picked.has(entry.name):
            backed_up = await _back_up(session, entry, address, number)
            done += backed_up is True
            failed += backed_up is False
    output.say("done")
    output.say(f"Total volumes backed up: {done}; failed to backup: {failed}")


@dataclass(frozen=True, slots=True)
class _Picked:
    """The volumes to be backed up: those with one of the prefixes but none of the others, or all but these."""

    prefixes: list[Test]
    others: list[Test]
    exclude: bool

    def has(self, name: bytes) -> bool:
        """Whether it is one of them."""
        wanted = not self.prefixes or any(test(name) for test in self.prefixes)
        return (wanted and not any(test(name) for test in self.others)) != self.exclude


def _tests(words: tuple[str, ...], switch: str) -> list[Test]:
    tests = []
    for word in words:
        try:
            tests.append(begins(word))
        except BadExpression as problem:
            text_ = f"Unrecognizable {switch} regular expression: '{word}': {problem}\n"
            raise CommandError(text_, FAILED) from problem
    return tests


def _described(prefix: tuple[str, ...], xprefix: tuple[str, ...], exclude: bool) -> str:
    first = prefix or xprefix
    negative = exclude if prefix else not exclude
    text_ = ""
    if first:
        text_ = f" which {'do not ' if negative else ''}match {described(first, 'nor' if negative else 'or')}"
    if prefix and xprefix:
        what = "adding" if exclude else "removing"
        text_ += f" {what} those which match {described(xprefix, 'or')}"
    return text_


async def _back_up(
    session: Session, entry: nvldbentry, server: IPv4Address | None, partition: int | None
) -> bool | None:
    """Whether it succeeded; None where there is nothing to back up, or not here."""
    output, name = session.output, text(entry.name)
    if not entry.flags & VLF_RWEXISTS:
        output.detail(f"Omitting to backup {name} since RW volume does not exist \n")
        return None
    site = readwrite_site(entry)
    if site is None:
        output.say(f"could not backup {name}, invalid VLDB entry")
        return False
    try:
        elsewhere = server is not None and not await same_server(session, server, site[0])
    except RxError as problem:
        number = int.from_bytes((server or site[0]).packed, "little", signed=True)
        said = f"Failed to get info about server's {number} address(es) from vlserver"
        output.complain(f"{said} (err={problem.code}); aborting call!")
        return False
    if elsewhere or partition not in (None, site[1]):
        output.detail(f"Omitting to backup {name} since the RW is in a different location")
        return None
    output.detail(f"Creating backup volume for {name} on {time.ctime()}")
    try:
        await session.cell.volumes.backup(entry.volumeId[RW], site[0], site[1])
    except OperationFailed:
        output.say(f"Could not backup {name}")
        return False
    finally:
        output.detail("")
    return True
