"""`txafs-salvage PARTITION`: repair a partition that no server has open, or one group of volumes of it.

With `--json` a line is one JSON object; that is how the fileserver runs it (`process.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence

from fileserver.interfaces import SalvageReport, StoreError
from fileserver.salvager.salvage import READY, TIDY, Place, groups, opened, salvage_group, stray_headers

SOUND, REPAIRED, FAILED = 0, 1, 2
"""Exit status: nothing to repair; something was (in a dry run: would be); something could not be."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _parser().parse_args(arguments)
    say = Lines(options.json)
    try:
        with opened(options.partition, options.dry_run, options.orphans == "attach", options.locked) as place:
            return _session(place, sys.stdin, say) if options.session else _run(place, options, say)
    except (StoreError, OSError) as problem:
        say.failed(None, str(problem))
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="txafs-salvage", description=__doc__.splitlines()[0].partition(": ")[2])
    parser.add_argument("partition", metavar="PARTITION", help="its directory, such as /vicepa")
    parser.add_argument("--volume", type=int, metavar="GROUP", help="only this read-write volume and its clones")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be repaired, and change nothing")
    parser.add_argument(
        "--orphans",
        choices=["attach", "ignore"],
        default="attach",
        help="give files and directories that have lost their names new ones (default), or leave them unnamed",
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a line")
    parser.add_argument(
        "--after", type=int, default=0, metavar="GROUP", help="of a partition only the groups behind it"
    )
    parser.add_argument(
        "--session", action="store_true", help="of a partition the groups that are named on standard input"
    )
    parser.add_argument("--locked", action="store_true", help="the partition is locked by who runs this, for this")
    return parser


class Lines:
    """What goes to standard output, to be read by people or by a program."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def progress(self, done: int, of: int) -> None:
        if self._as_json:
            self._write(event="progress", done=done, of=of)

    def begin(self, group: int) -> None:
        if self._as_json:
            self._write(event="begin", group=group)

    def tell(self, message: str) -> None:
        self._write(message, event="tell", message=message)

    def report(self, report: SalvageReport) -> None:
        sound = ", ".join(map(str, report.volumes)) or "none"
        lost = f"; gone: {', '.join(map(str, report.lost))}" if report.lost else ""
        self._write(
            f"group {report.group}: sound volumes: {sound}{lost}",
            event="report",
            group=report.group,
            volumes=report.volumes,
            lost=report.lost,
            messages=report.messages,
        )

    def failed(self, group: int | None, reason: str) -> None:
        self._write(f"group {group}: {reason}" if group else reason, event="failed", group=group, reason=reason)

    def _write(self, text: str = "", **event: object) -> None:
        sys.stdout.write(json.dumps(event) + "\n" if self._as_json else text + "\n")
        sys.stdout.flush()


def _session(place: Place, orders: Iterable[str], say: Lines) -> int:
    """A group's number is salvaged, TIDY ends it all; a line of progress says that an order is done."""
    for order in orders:
        try:
            if order.strip() == TIDY:
                stray_headers(place, (), say.tell)
                place.forget_force()
            elif order.strip() != READY:
                say.report(salvage_group(place, int(order), say.tell))
        except (StoreError, OSError) as problem:
            say.failed(None, str(problem))
        say.progress(1, 1)
    return SOUND


def _run(place: Place, options: argparse.Namespace, say: Lines) -> int:
    whole = options.volume is None
    todo = [each for each in groups(place.path) if each > options.after] if whole else [options.volume]
    status, sound = SOUND, set[int]()
    for done, group in enumerate(todo):
        say.progress(done, len(todo))
        say.begin(group)
        try:
            report = salvage_group(place, group, say.tell)
        except (StoreError, OSError) as problem:
            say.failed(group, str(problem))
            status = FAILED
            continue
        say.report(report)
        sound.update(report.volumes)
        status = max(status, REPAIRED if report.messages else SOUND)
    if whole:
        stray_headers(place, sound, say.tell)
        if status != FAILED and not options.after:
            place.forget_force()
    say.progress(len(todo), len(todo))
    return status


if __name__ == "__main__":
    sys.exit(main())
