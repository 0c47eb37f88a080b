"""Programs of the administrator's: `HOOK mount|unmount|fence|unfence UUID PATH` for a partition, and for a dead
server's addresses `HOOK add|remove ADDRESS`.

For storage that must never be in use twice: the hook attaches and mounts the LUN, lets go of it, or keeps another host
from it. Exit status 0 is success; what it writes is logged, and its last line is part of the error otherwise.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from enum import StrEnum
from uuid import UUID

from twisted.logger import Logger

from fileserver.interfaces import StoreError

log = Logger(namespace="fileserver.partitions")

HOOK_SECONDS = 30.0
"""How long a hook may take: mounting a large file system replays its journal, a fence device answers in seconds."""


class Verb(StrEnum):
    """What a hook is asked to do. To mount what is mounted, or to unmount what is not, is a success."""

    MOUNT = "mount"
    UNMOUNT = "unmount"
    FENCE = "fence"
    UNFENCE = "unfence"


class HookFailed(StoreError):
    """The hook ended with another status than 0, was killed at its deadline, or could not be started."""


class AddressVerb(StrEnum):
    """What an address hook is asked to do."""

    ADD = "add"
    REMOVE = "remove"


def run_hook(program: str, verb: Verb, uuid: UUID, path: str, deadline: float = HOOK_SECONDS) -> None:
    """Run a partition's hook to its end: for a thread. Raises HookFailed."""
    _run([program, verb.value, str(uuid), path], deadline)


def run_address_hook(program: str, verb: AddressVerb, address: str, deadline: float = HOOK_SECONDS) -> None:
    """Run the program that puts an address on this host, or takes it away: for a thread. Raises HookFailed."""
    _run([program, verb.value, address], deadline)


def _run(command: list[str], deadline: float) -> None:
    """At the deadline it is killed with all it started."""
    said = " ".join(command)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise HookFailed(f"{said}: {error.strerror}") from error
    try:
        output, _ = process.communicate(timeout=deadline)
        problem = f"exit status {process.returncode}" if process.returncode else ""
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        problem = f"killed after {deadline:g} s"
    lines = output.decode(errors="replace").splitlines()
    for line in lines:
        log.info("{command}: {line}", command=said, line=line)
    if problem:
        raise HookFailed(": ".join([said, problem, *lines[-1:]]))
