"""vldb import and vldb export: stock database files."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from uuid import uuid4

from vlserver.files import appearing
from vlserver.interfaces import StoreError
from vlserver.legacy.layout import Label
from vlserver.legacy.reader import StoredVldb
from vlserver.legacy.rows import rows_of, settings_of
from vlserver.legacy.sidecar import Sidecar, SidecarWriter, read_sidecar
from vlserver.legacy.writer import StockWriter
from vlserver.store.sqlite.copies import LIVE_FILES, put_in_place, snapshot
from vlserver.store.sqlite.files import held
from vlserver.tools.progress import progress
from vlserver.tools.stores import author, file_of, own_file_of, with_store

IMPORTING = ".importing"
"""Ends the name of what is to become the database."""


def import_stock(chosen: argparse.Namespace) -> int:
    """Read all of the file, then make a database of it, which appears when it is whole."""
    path = own_file_of(chosen.database)
    new = path + IMPORTING
    with held(path), progress("reading") as told:
        if Path(path).exists():
            raise StoreError(f"there is a database {path} already: move it away first, it is not added to")
        for suffix in ("", *LIVE_FILES):
            Path(new + suffix).unlink(missing_ok=True)  # of an import that did not come to its end
        with closing(StoredVldb(chosen.file, told)) as stored:
            sidecar = _sidecar(chosen.sidecar, stored)
            rows = rows_of(stored, sidecar, uuid4)
            by = author(f"import {chosen.file}")
            with_store(new, lambda store: store.load(rows, settings_of(stored, sidecar), stored.removed_keys, by))
            put_in_place(new, path, "")
            summary = f"{stored.count} entries, {len(stored.servers)} servers, version {stored.label}"
    Path(new + ".lock").unlink()
    sys.stdout.write(f"{path}: {summary}\n")
    return 0


def _sidecar(name: str | None, stored: StoredVldb) -> Sidecar:
    if name is None:
        return Sidecar(str(stored.label))
    with open(name, encoding="utf-8") as file:
        read = read_sidecar(file, name)
    fitted = read.fitted(stored)
    if read.label != str(stored.label):
        sys.stdout.write(
            f"{name} was written with version {read.label} of the file, this is {stored.label}: of"
            f" {len(read.partitions)} partitions and {len(read.definitions)} definitions,"
            f" {len(fitted.partitions)} and {len(fitted.definitions)} still fit\n"
        )
    return fitted


def export_stock(chosen: argparse.Namespace) -> int:
    """Both files appear whole, the sidecar first, under a version newer than that of any file there is."""
    label = Label(int(time.time()), 1)
    with ExitStack() as stack:
        transaction = stack.enter_context(snapshot(file_of(chosen.database)))
        target = stack.enter_context(appearing(chosen.file))
        more = stack.enter_context(appearing(chosen.sidecar) if chosen.sidecar else nullcontext(os.devnull))
        told = stack.enter_context(progress("writing"))
        with open(target, "r+b") as file, open(more, "w", encoding="utf-8") as sidecar_file:
            sidecar = SidecarWriter(transaction, sidecar_file, label)
            StockWriter(transaction, file, told, sidecar.notice).write(label)
            sidecar.finish()
        revision = transaction.revision
    sys.stdout.write(f"{chosen.file}: revision {revision} as version {label}\n")
    return 0
