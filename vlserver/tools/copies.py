"""vldb backup and vldb restore."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

from vlserver.interfaces import ITransaction, IVLStore, StoreError
from vlserver.legacy.writer import volumes_of
from vlserver.operations.entries import LAST_VOLUME_ID, max_volume_id
from vlserver.operations.servers import RETIRED_UNIQUIFIER, uniquifiers
from vlserver.schema import MAX_VOLUME_ID, Volume
from vlserver.store.sqlite.copies import bring_forward, continue_after, copy, put_in_place, snapshot
from vlserver.store.sqlite.files import held
from vlserver.tools.check import inspect
from vlserver.tools.progress import progress
from vlserver.tools.stores import author, file_of, own_file_of, with_store

LOST_IDS = 1_000_000
"""Volume ids left out when nobody can say which were given away since the backup: far more than anybody creates between
two backups, and there is room for thousands of such leaps."""

RESTORING = ".restoring"
"""Ends the name of what is to take the database's place."""

NAMED = 20
"""Lost entries that are named; the number is told in any case."""


@dataclass(frozen=True, slots=True)
class Present:
    """What the database that is to be replaced has given away: it must not be given away again."""

    revision: int
    next_id: int
    uniquifiers: dict[int, int]


def backup(chosen: argparse.Namespace) -> int:
    """A copy of one revision, whatever is written meanwhile."""
    with progress("copying") as told:
        revision = copy(file_of(chosen.database), chosen.file, told)
    sys.stdout.write(f"{chosen.file}: revision {revision}\n")
    return 0


def restore(chosen: argparse.Namespace) -> int:
    """The backup is copied, checked, made to continue the present database, and takes its place in one step."""
    path = own_file_of(chosen.database)
    new = path + RESTORING
    with held(path):
        Path(new).unlink(missing_ok=True)
        with progress("copying") as told:
            copy(chosen.file, new, told)
        bring_forward(new)
        if inspect(new):
            raise StoreError(f"{chosen.file} is damaged: nothing was changed")
        present = _present(path)
        if present is not None:
            _tell_lost(new, path)
        continue_after(new, present.revision if present else 0, author(f"restore {chosen.file}"), time.time())
        with_store(new, lambda store: _raise_counters(store, present))
        aside = _free_name(f"{path}.before-{time.strftime('%Y%m%d-%H%M%S')}")
        kept = put_in_place(new, path, aside)
    Path(new + ".lock").unlink()
    sys.stdout.write(f"{path}: restored{f'; what was there is {aside}' if kept else ''}\n")
    return 0


def _free_name(name: str) -> str:
    """This one, or with a number: two restores in one second keep two databases."""
    names = chain((name,), (f"{name}-{number}" for number in count(2)))
    return next(each for each in names if not Path(each).exists())


def _present(path: str) -> Present | None:
    """None when there is none that can be read."""
    if not Path(path).exists():
        sys.stdout.write(f"there is no present database: {LOST_IDS} volume ids are left out\n")
        return None
    try:
        bring_forward(path)
        with snapshot(path) as transaction:
            return Present(transaction.revision, max_volume_id(transaction), uniquifiers(transaction))
    except StoreError as problem:
        sys.stdout.write(f"the present database cannot be read ({problem}): {LOST_IDS} volume ids are left out\n")
        return None


def _tell_lost(new: str, path: str) -> None:
    """Name the entries that are there now and will not be: the volumes stay on the fileservers."""
    with snapshot(new) as then, snapshot(path) as now:
        lost = [volume.name.decode("latin-1") for volume in _missing(then, now)]
    if lost:
        names = ", ".join(lost[:NAMED]) + (", ..." if len(lost) > NAMED else "")
        sys.stdout.write(
            f"{len(lost)} entries are not in the backup: {names}\n"
            "their volumes are still on the fileservers: `vos syncvldb SERVER` enters them again\n"
        )


def _missing(then: ITransaction, now: ITransaction) -> Iterator[Volume]:
    return (volume for volume in volumes_of(now) if then.volume_with_id(volume.ids[0], 0) is None)


async def _raise_counters(store: IVLStore, present: Present | None) -> None:
    def work(transaction: ITransaction) -> None:
        next_id = max_volume_id(transaction)
        wanted = next_id + LOST_IDS if present is None else max(next_id, present.next_id)
        transaction.set_setting(MAX_VOLUME_ID, min(wanted, LAST_VOLUME_ID))
        given = present.uniquifiers if present else uniquifiers(transaction)
        servers = {server.record: server for server in transaction.servers()}
        for record, uniquifier in given.items():
            server = servers.get(record)
            if server is not None:  # clients that know it by a later number look at its addresses again
                transaction.put_server(replace(server, uniquifier=max(server.uniquifier, uniquifier) + 1))
            elif uniquifier > (transaction.setting(RETIRED_UNIQUIFIER % record) or 0):
                transaction.set_setting(RETIRED_UNIQUIFIER % record, uniquifier)

    await store.write(work, author("restore: counters go on"))
