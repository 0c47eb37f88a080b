"""The command line of `vldb`: what it can do, and how each ends: 0 done, 1 refused or found wrong, 2 wrongly called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from vlserver.interfaces import StoreError
from vlserver.legacy.servers import DamagedFile
from vlserver.operations.undo import UndoRefused
from vlserver.tap import Options
from vlserver.tools.changes import show_log, undo_revision
from vlserver.tools.check import check
from vlserver.tools.copies import backup, restore
from vlserver.tools.transfer import export_stock, import_stock

DEFAULT_DATABASE = str(Options()["database"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status."""
    chosen = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = chosen.command
    try:
        return command(chosen)
    except (StoreError, DamagedFile, UndoRefused, OSError, UnicodeDecodeError) as problem:
        sys.stderr.write("".join(f"vldb: {line}\n" for line in str(problem).splitlines()))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("vldb: interrupted\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vldb", description="The volume location database as a whole.")
    parser.add_argument(
        "--database",
        default=DEFAULT_DATABASE,
        metavar="URL",
        help="the vlserver's database (%(default)s), or the path of a file",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    added = add("backup", backup, "Copy the database, a server at work or not, into a new file.")
    added.add_argument("file", metavar="FILE")
    added = add("restore", restore, "Put a backup in the database's place, while no server runs; the old one is kept.")
    added.add_argument("file", metavar="FILE")
    added = add("check", check, "Say what is wrong with the database, or with a backup; exit status 1 if anything is.")
    added.add_argument("file", metavar="FILE", nargs="?")
    added = add("import", import_stock, "Make the database out of a stock vldb.DB0.")
    added.add_argument("file", metavar="DB0")
    added.add_argument("--sidecar", metavar="FILE", help="what an export kept of partition objects")
    added = add("export", export_stock, "Write a new vldb.DB0 for stock vlservers, a server at work or not.")
    added.add_argument("file", metavar="FILE")
    added.add_argument("--sidecar", metavar="FILE", help="a new file for what a DB0 cannot hold of partition objects")
    added = add("log", show_log, "Show the change log, oldest first.")
    added.add_argument("--since", type=int, metavar="REVISION", help="only what came after this revision")
    added.add_argument("--limit", type=int, metavar="N", help="only the last N changes")
    added = add("undo", undo_revision, "Take one change of the log back, while no server runs.")
    added.add_argument("revision", type=int, metavar="REVISION")
    added.add_argument("--force", action="store_true", help="even where the same rows were changed again since")
    return parser
