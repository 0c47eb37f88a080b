"""Long operations: begun at a server, which carries them out whoever looks on, and followed from here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from errno import EBUSY, ENOENT
from ipaddress import IPv4Address
from uuid import UUID, uuid4

from twisted.internet.defer import CancelledError

from afs.rpc.partitions import PREASON, PartitionRequest
from afs.rpc.volpartitions import VCOUNT, VOP, VOPS, VSTEP, VolOperation, VolPartitionOrder
from rx.errors import Abort, CallLost
from vos.command import CommandError
from vos.errors import error_text
from vos.session import Session

WAIT_MILLISECONDS = 10_000
"""How long a server may wait for news before it answers that there are none: far below what firewalls forget in."""

BEGINNINGS = 3
"""How often an operation is begun whose answer was lost; its id makes that harmless."""

Begin = Callable[[VolPartitionOrder], Awaitable[VolOperation]]


def new_order(partition: UUID, text: str, *, flags: int = 0, deadline: int | None = None) -> VolPartitionOrder:
    """An order with an id of its own. `deadline` in seconds."""
    request = PartitionRequest(uuid4(), PREASON.OPERATOR, text.encode())
    return VolPartitionOrder(partition, request, (deadline or 0) * 1000, flags)


async def carry_out(
    session: Session,
    server: IPv4Address,
    kind: VOP,
    begin: Begin,
    order: VolPartitionOrder,
    *,
    wait: bool = True,
    peer: UUID | None = None,
) -> VolOperation:
    """Begin an operation, or find the one of that kind (with that server as its `peer`) that is under way, and follow
    it to its end.

    Raises CommandError if it fails. With `wait` False it is only begun.
    """
    try:
        operation = await _begun(session, server, kind, begin, order, peer)
    except CancelledError:
        session.output.complain(
            f"vos: interrupted: {session.name(server)} may have begun {name_of(kind)} {order.request.id} all the same\n"
            f"vos: 'vos listpartitions {order.partition}' shows how it stands"
        )
        raise
    if wait:
        operation = await _followed(session, server, operation)
        if operation.state not in (VOPS.DONE, VOPS.ALREADY):
            raise CommandError(_failure(session, server, operation))
    return operation


async def _begun(
    session: Session, server: IPv4Address, kind: VOP, begin: Begin, order: VolPartitionOrder, peer: UUID | None
) -> VolOperation:
    for beginning in range(1, BEGINNINGS + 1):
        try:
            return await begin(order)
        except CallLost:
            if beginning == BEGINNINGS:
                raise
        except Abort as refusal:
            if refusal.code != EBUSY:
                raise
            return await _under_way(session, server, kind, order.partition, peer)
    raise AssertionError("unreachable")


async def _under_way(
    session: Session, server: IPv4Address, kind: VOP, partition: UUID, peer: UUID | None
) -> VolOperation:
    """What the server does with the partition already, if that is what is wanted. Raises CommandError."""
    operations = await session.partitions(server).ListOperations(partition)
    running = next((each for each in operations if each.state == VOPS.RUNNING), None)
    if running is None:
        raise CommandError(f"vos: {session.name(server)} was busy with partition {partition}; try again\n")
    name = _name(running)
    same_wish = kind in (running.kind, _ALSO.get(running.kind)) and peer in (None, running.peer.uuid)
    if not same_wish:
        raise CommandError(f"vos: {session.name(server)} is busy with partition {partition}: {name}\n")
    session.output.complain(f"vos: under way already: {name}")
    return running


async def _followed(session: Session, server: IPv4Address, operation: VolOperation) -> VolOperation:
    shown = _show_steps(session, operation, 0)
    try:
        while operation.state == VOPS.RUNNING:
            volser = session.partitions(server)
            operation = await volser.GetOperation(operation.id, operation.version, WAIT_MILLISECONDS)
            shown = _show_steps(session, operation, shown)
    except CancelledError:
        session.output.complain(
            f"vos: no longer followed: {_name(operation)} goes on at {session.name(server)}\n"
            f"vos: 'vos listpartitions {operation.partition}' shows how it stands; the same command again follows it"
        )
        raise
    except (Abort, CallLost) as problem:
        gone = isinstance(problem, Abort) and problem.code == ENOENT
        why = "has been restarted" if gone else f"cannot be asked: {error_text(problem.code)}"
        raise CommandError(
            f"vos: {session.name(server)} {why}: what became of {_name(operation)} is not known\n"
            f"vos: 'vos listpartitions {operation.partition}' shows how it stands; the same command again finishes it\n"
        ) from problem
    return operation


def _show_steps(session: Session, operation: VolOperation, shown: int) -> int:
    """The steps that are new; how many are shown then."""
    begun = operation.steps[0].at if operation.steps else 0
    for each in operation.steps[shown:]:
        if each.step in _STEPS:
            session.output.detail(f"{(each.at - begun) / 1000:9.3f} s  {_STEPS[VSTEP(each.step)]}")
    if operation.state == VOPS.RUNNING and operation.total:
        session.output.detail(f"{'':11}  {operation.done} of {operation.total}")
    return len(operation.steps)


def summary(operation: VolOperation) -> str:
    """How long it took, and what it counted: `0.213 s, 12 calls held, longest 180 ms`."""
    seconds = (operation.steps[-1].at - operation.steps[0].at) / 1000 if operation.steps else 0.0
    counted = [_COUNTS[VCOUNT(each.kind)].format(each.value) for each in operation.counts if each.kind in _COUNTS]
    return ", ".join([f"{seconds:.3f} s", *counted])


def name_of(kind: int) -> str:
    """An operation's kind in a word."""
    return VOP(kind).name.lower() if kind in VOP._value2member_map_ else f"operation {kind}"


def _name(operation: VolOperation) -> str:
    return f"{name_of(operation.kind)} {operation.id}"


def _failure(session: Session, server: IPv4Address, operation: VolOperation) -> str:
    stuck = "is stuck" if operation.state == VOPS.STUCK else "failed"
    reason = operation.text.decode(errors="replace") or error_text(operation.code)
    what = f"{name_of(operation.kind)} of partition {operation.partition} {stuck}"
    return f"vos: {what} at {session.name(server)}: {reason}\n"


_ALSO: dict[int, VOP] = {VOP.TAKE: VOP.MOUNT}
"""What a server does because another hands a partition over to it, and what a command would call that."""

_STEPS = {
    VSTEP.BEGUN: "begun",
    VSTEP.PREPARED: "the target could mount it",
    VSTEP.CLAIMED: "won in the VLDB",
    VSTEP.FROZEN: "new calls are held",
    VSTEP.OFFLINE: "its volumes are closed",
    VSTEP.HOOKED: "the hook has run",
    VSTEP.RELEASED: "given up in the VLDB",
    VSTEP.LABELLED: "its label is written",
    VSTEP.ATTACHED: "its volumes are attached",
    VSTEP.TAKEN: "the target serves it",
    VSTEP.TOLD: "clients are told",
    VSTEP.ANSWERED: "held calls are answered",
    VSTEP.SALVAGED: "its volumes are checked",
    VSTEP.FENCED: "the other server is fenced off",
    VSTEP.ADDRESS: "the other server's address is ours",
    VSTEP.ENDED: "ended",
}

_COUNTS = {
    VCOUNT.HELD: "{} calls held",
    VCOUNT.TOLD: "{} clients told",
    VCOUNT.UNREACHED: "{} clients not reached",
    VCOUNT.ATTACHED: "{} volumes attached",
    VCOUNT.LONGEST: "longest {} ms",
    VCOUNT.SALVAGED: "{} volumes checked",
    VCOUNT.REPAIRED: "{} repaired",
    VCOUNT.LOST: "{} lost",
}
