"""vos restore"""

from __future__ import annotations

import os
import shlex
from typing import Annotated, TypeVar

from afs.location import RO, RW
from afs.names import READWRITE_NAME_MAX
from afs.rpc.vl import VLSF_ROVOL, nvldbentry
from rx.errors import RxError
from vos.command import CommandError, command
from vos.operations.deletion import network_order
from vos.operations.entries import readwrite_site, same_server, sites
from vos.operations.locations import Location
from vos.operations.restoring import Date, Restore, restore_volume
from vos.output import vice_name
from vos.progress import bytes_passing
from vos.prompt import answer
from vos.session import Session
from vos.transfer.dumps import DumpOrigin
from vos.volservers import FAILED
from vos.where import NO_VOLUME, find_volume, need_place
from vos.words import base_word, encoded, need_base_name, need_volume

T = TypeVar("T")

_ABORT, _FULL, _INCREMENTAL = "abort", "full", "incremental"
_OVERWRITE = {
    **dict.fromkeys(("a", "abort"), _ABORT),
    **dict.fromkeys(("f", "full"), _FULL),
    **dict.fromkeys(("i", "inc", "increment", "incremental"), _INCREMENTAL),
}
_DATES = {word: date for date in Date for word in (date.value, date.value[0])}


@command(failure=FAILED)
async def restore(
    session: Session,
    server: Annotated[str, "machine name"],
    partition: Annotated[str, "partition name"],
    name: Annotated[str, "name of volume to be restored"],
    file: Annotated[str | None, "dump file"] = None,
    id: Annotated[str | None, "volume ID"] = None,  # noqa: A002  # a switch
    overwrite: Annotated[str | None, "abort | full | incremental"] = None,
    offline: Annotated[bool, "leave restored volume offline"] = False,
    readonly: Annotated[bool, "make restored volume read-only"] = False,
    creation: Annotated[str | None, "dump | keep | new"] = None,
    lastupdate: Annotated[str | None, "dump | keep | new"] = None,
    nodelete: Annotated[bool, "do not delete old site when restoring to a new site"] = False,
) -> None:
    """restore a volume"""
    volume = 0 if id is None else await need_volume(session, id, NO_VOLUME.format(id), FAILED)
    wish = _word(_OVERWRITE, overwrite, "overwrite")
    created, updated = _word(_DATES, creation, "creation"), _word(_DATES, lastupdate, "lastupdate")
    at = await need_place(session, server, partition, FAILED)
    _need_name(name)
    path = file or ""
    if path and not os.access(path, os.R_OK):
        raise CommandError(f"Can't access file {path}\n", FAILED)
    plan = _Plan(session, at, name, volume, RO if readonly else RW, wish, asks=bool(path))
    await plan.make()
    how = Restore(
        name=encoded(name),
        id=plan.volume,
        parent=plan.parent,
        full=plan.full,
        readonly=readonly,
        offline=offline,
        creation=created or (Date.NEW if plan.wish == _FULL else Date.KEEP),
        lastupdate=updated or Date.DUMP,
        nodelete=nodelete,
    )
    source = DumpOrigin(session, path)
    values = {"-file": path or None, "-id": id, "-creation": creation, "-lastupdate": lastupdate}
    flags = {"-offline": offline, "-readonly": readonly, "-nodelete": nodelete}
    again = shlex.join(
        [
            *("vos", "restore", server, partition, name),
            *(word for switch, value in values.items() if value is not None for word in (switch, value)),
            *(switch for switch, given in flags.items() if given),
            *("-overwrite", _FULL if plan.full else _INCREMENTAL),
        ]
    )
    with bytes_passing(session, f"restore of {name}", source.size) as told:
        source.told = told
        try:
            await restore_volume(at, source, how, check=source.check, again=again)
        finally:
            source.close()
    session.output.say(f"Restored volume {name} on {server} {vice_name(at.partition)}")


def _word(known: dict[str, T], word: str | None, switch: str) -> T | None:
    if word is None:
        return None
    if word not in known:
        raise CommandError(f"vos: {word} is not a valid argument to -{switch}\n", FAILED)
    return known[word]


def _need_name(name: str) -> None:
    if len(encoded(name)) > READWRITE_NAME_MAX:
        raise CommandError(f"vos: the name of the volume {name} exceeds the size limit\n", FAILED)
    need_base_name(name, FAILED)


class _Plan:
    """What is to be restored: over what is there or anew. `wish` is what was said, or answered, about the former."""

    def __init__(
        self, session: Session, at: Location, name: str, volume: int, kind: int, wish: str | None, asks: bool
    ) -> None:
        self.volume = volume
        self.parent = 0
        self.full = True
        self.wish = wish
        self._session = session
        self._at = at
        self._name = base_word(name)
        self._kind = kind
        self._asks = asks

    async def make(self) -> None:
        """Look at the VLDB, and ask. Raises CommandError."""
        try:
            entry = await self._session.vl.GetEntryByNameN(encoded(self._name))
        except RxError:  # stock, too, takes any error for that; what is really wrong will turn up
            self._tell_full("Volume")
            return
        known = entry.volumeId[self._kind]
        self.volume = known or self.volume
        self.parent = entry.volumeId[RW]
        if not self._is_listed(entry):
            self._tell_full("RO Volume" if self._kind == RO else "RW Volume")
            return
        await self._overwrite(known)

    def _tell_full(self, what: str) -> None:
        if self.wish in (_ABORT, _INCREMENTAL):
            self._session.output.complain(f"{what} does not exist; Will perform a full restore")

    def _is_listed(self, entry: nvldbentry) -> bool:
        if self._kind == RO:
            return any(flags & VLSF_ROVOL for _, _, flags in sites(entry))
        return readwrite_site(entry) is not None

    async def _overwrite(self, known: int) -> None:
        complain = self._session.output.complain
        elsewhere = await self._is_elsewhere()
        if self.wish is None:
            self.wish = self._ask(known, elsewhere)
        if self.wish == _ABORT:
            raise CommandError("Volume exists; Aborting restore command\n", FAILED)
        self.full = self.wish == _FULL
        if self.full:
            complain("Volume exists; Will delete and perform full restore")
        elif elsewhere:
            what = "RO" if self._kind == RO else "RW"
            text = f"{what} volume {self.volume} already exists on a different server/part; not allowed"
            raise CommandError(f"{text}\n", FAILED)

    async def _is_elsewhere(self) -> bool:
        old = (await find_volume(self._session, self.volume, FAILED)).at
        try:
            same = await same_server(self._session, old.server, self._at.server)
        except RxError as problem:
            address = network_order(old.server)
            text = f"Failed to get info about server's {address} address(es) from vlserver (err={problem.code})"
            raise CommandError(f"{text}; aborting call!\n", FAILED) from problem
        return not same or old.partition != self._at.partition

    def _ask(self, known: int, elsewhere: bool) -> str:
        output = self._session.output
        if not self._asks:
            text = "Volume exists and no -overwrite option specified; Aborting restore command"
            raise CommandError(f"{text}\n", FAILED)
        where = "on a different server/part" if elsewhere else "in the VLDB"
        choice = "full restore or abort? [fa](a): " if elsewhere else "full/incremental restore or abort? [fia](a): "
        output.complain(f"The volume {self._name} {known} already exists {where}")
        output.err.write(f"Do you want to do a {choice}")
        output.err.flush()
        return {"f": _FULL, "i": _INCREMENTAL}.get(answer()[:1].lower(), _ABORT)
