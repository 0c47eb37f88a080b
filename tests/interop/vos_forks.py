"""Our vos in a node, many times over: each request a fork of a process that has imported it already.

What it does is `vos.main.main(words)`, as the program does; what is saved is Python's start.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from typing import IO, Any

STOPPED = 1
"""The exit status of a program that Python has ended because of an error."""


def main(path: str) -> None:
    """Serve requests at a Unix socket, one after the other: {words, stdin} -> {status, out, err, seconds}."""
    _import_much()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path + ".new")
    listener.listen()
    os.rename(path + ".new", path)  # whoever sees it may connect
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as stream:
            request = json.loads(stream.readline())
            stream.write(json.dumps(_run(request["words"], request["stdin"])).encode() + b"\n")


def _run(words: list[str], stdin: str) -> dict[str, Any]:
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        pid = os.fork()
        if not pid:
            _child(words, given, out, err)
        _, status, used = os.wait4(pid, 0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "out": _content(out),
            "err": _content(err),
            "seconds": used.ru_utime + used.ru_stime,
        }


def _child(words: list[str], given: IO[bytes], out: IO[bytes], err: IO[bytes]) -> None:
    """Never returns."""
    for number, file in enumerate((given, out, err)):
        os.dup2(file.fileno(), number)
    time.tzset()
    try:
        from vos.main import main

        status = main(words)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status & 0xFF)
    finally:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(STOPPED)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _import_much() -> None:
    """Everything but the reactor, which each program makes for itself."""
    import twisted.internet.default
    import twisted.internet.epollreactor

    import afs.authentication
    import afs.connections
    import afs.keys
    import rx.security.rxkad
    import vos.cell
    import vos.main

    vos.main.every_command()
    del afs, rx, twisted, vos


if __name__ == "__main__":
    main(sys.argv[1])
