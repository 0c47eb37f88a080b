"""Runs our vos once for each line of standard input, a JSON list of its words, in a process of its own that is forked
when everything but the reactor is imported. Prints a line of JSON for each: exit status, output, errors.
"""

from __future__ import annotations

import json
import os
import sys
from tempfile import TemporaryFile

import vos.session  # noqa: F401 (what it needs is imported once)
from vos.main import every_command, main


def run(words: list[str]) -> tuple[int, str, str]:
    """One command."""
    with TemporaryFile() as out, TemporaryFile() as err:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            status = main(words)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # an orderly end takes longer than the command
        _, ended = os.waitpid(child, 0)
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
        return os.waitstatus_to_exitcode(ended), said[0], said[1]


if __name__ == "__main__":
    list(every_command())
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))))
