"""What volume servers say of themselves, with what stock vos says when they do not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import AddressValueError, IPv4Address

from afs.names import VOLMAXPARTS, parse_partition, partition_name
from afs.rpc.volser import diskPartition64
from rx.constants import RxgenCode
from rx.errors import Abort, RxError
from vos.command import CommandError
from vos.errors import diagnostics, error_text
from vos.session import Session

FAILED = 1
"""The exit status of most listings of stock vos that fail, and of names that it does not know."""


@contextmanager
def failing(text: str, name: str = "", status: int = FAILED) -> Iterator[None]:
    """An error in here ends the command: with this text, what the code means, and diagnostics if it has a `name`."""
    try:
        yield
    except RxError as problem:
        more = diagnostics(name, problem.code) if name else ""
        raise CommandError(f"{text}{error_text(problem.code)}\n{more}", status) from problem


def server_named(session: Session, word: str, what: str = "server", status: int = FAILED) -> IPv4Address:
    """A server, or the end of the command with the status of listings."""
    try:
        return session.server(word)
    except CommandError:
        raise CommandError(f"vos: {what} '{word}' not found in host table\n", status) from None


def host_named(session: Session, word: str) -> IPv4Address | None:
    """An address that need not be of any server; with -noresolve no name is looked up. None for what is none."""
    try:
        return IPv4Address(word) if session.noresolve else session.server(word)
    except (CommandError, AddressValueError):
        return None


def partition_named(word: str, status: int = FAILED) -> int:
    """A partition's number, or the end of the command with the status of listings."""
    try:
        return parse_partition(word)
    except ValueError:
        raise CommandError(f"vos: could not interpret partition name '{word}'\n", status) from None


async def list_partitions(session: Session, server: IPv4Address, name: str) -> list[int]:
    """The numbers of a server's partitions. `name` is the subcommand's."""
    with failing("Could not fetch the list of partitions from the server\n", name):
        try:
            return list(await session.volser(server).XListPartitions())[:VOLMAXPARTS]
        except Abort as refusal:
            if refusal.code != RxgenCode.RXGEN_OPCODE:
                raise
        ids = await session.volser(server).ListPartitions()
        return [number for number in ids.partIds if number != -1]


async def need_partition(
    session: Session, server: IPv4Address, word: str, status: int = FAILED, *, prefix: str = "vos :"
) -> int:
    """The number of a partition that the server has; otherwise the end of the command. An error is explained twice."""
    number = partition_named(word, status)
    try:
        numbers = await list_partitions(session, server, "")
    except CommandError as failure:
        raise CommandError(f"{failure.text}{failure.text.splitlines()[-1]}\n", status) from failure
    if number not in numbers:
        raise CommandError(f"{prefix} partition {word} does not exist on the server\n", status)
    return number


async def partition_space(session: Session, server: IPv4Address, number: int) -> tuple[int, int]:
    """(free, total) of a partition in KiB."""
    name = partition_name(number)
    text = f"Could not get information on partition {name}\n"
    with failing(text):
        try:
            found = await session.volser(server).PartitionInfo64(name.encode())
        except Abort as refusal:
            if refusal.code != RxgenCode.RXGEN_OPCODE:
                raise
            small = await session.volser(server).PartitionInfo(name.encode())
            found = diskPartition64(free=small.free, minFree=small.minFree)
        return found.free, found.minFree
