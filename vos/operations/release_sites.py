"""A release sent to the read-only sites: the first two one by one, so that clients find one that is online, then
several at a time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from errno import ENOENT

from afs.errors import VolumeError
from afs.location import RO
from afs.names import READONLY_SUFFIX
from afs.rpc.vl import VLSF_DONTUSE
from afs.rpc.volser import ITBusy, ITOffline, replica, restoreCookie, volser_status
from rx.constants import RxgenCode
from rx.errors import Abort, RxError
from vos.errors import error_text
from vos.operations.clones import READ_ONLY
from vos.operations.copies import HIDDEN, before, destination
from vos.operations.locations import Location
from vos.operations.replicas import Replica, Replicated
from vos.operations.steps import refuse, step
from vos.operations.transactions import Transaction, adopt, begin
from vos.operations.unhurried import unhurried
from vos.progress import watched
from vos.undo import Undo

TOGETHER_SECONDS = 900
"""Sites are sent the same changes if their dates are as near to one another as this: what some then get twice is
little beside reading the volume once more.
"""

ALONE = 2
"""Sites that are released to one at a time."""


@dataclass(slots=True)
class Target:
    """A site in a round: its transaction, and since when it lacks changes; 0 for a new volume."""

    site: Replica
    trans: Transaction
    created: int
    updated: int
    since: int = 0


@dataclass(slots=True)
class Plan:
    """What is sent: the clone beside the read-write volume `source`, in the transaction `trans`."""

    found: Replicated
    source: Location
    clone: int
    clone_site: Replica | None
    trans: Transaction
    status: volser_status
    created: int
    """When the read-write volume was made; what is older is of another one."""
    full: bool
    recovery: bool
    only_new: bool
    released: int
    """Sites that have it already."""
    at_once: int
    known: dict[int, int] = field(default_factory=dict)
    """Since when sites by index lack changes, of those that were begun with: what was made there is not complete."""


async def send_to_sites(undo: Undo, plan: Plan) -> None:
    """Release to every site that lacks it. One that cannot be reached is complained of, and left as it is in the entry.
    Raises OperationFailed.
    """
    found = plan.found
    index = 0
    retried: set[int] = set()
    while index < len(found.sites):
        targets, index = await _gather(undo, plan, index)
        if not targets:
            continue
        await _check_source(undo, plan)
        since = min(target.since for target in targets)
        _tell_round(plan, targets, since)
        await _send(plan, targets, since)
        for place, target in enumerate(targets):
            if await _put_back(plan, target, first=place == 0):
                continue
            again = found.sites.index(target.site)
            if again not in retried:
                retried.add(again)
                index = min(index, again)
        with step(found.session, f" Could not update VLDB entry for volume {found.volume}"):
            await found.write()


async def _gather(undo: Undo, plan: Plan, index: int) -> tuple[list[Target], int]:
    """The targets of a round, from a site on; and the site after them."""
    targets: list[Target] = []
    sites = plan.found.sites
    since = 0
    while len(targets) < plan.at_once and index < len(sites):
        if not plan.only_new and len(targets) == 1 and plan.released < ALONE:
            break
        site = sites[index]
        if site is plan.clone_site or site.released or not site.readonly:
            index += 1
            continue
        target = await _open(undo, plan, site)
        if target is not None:
            target.since = _since(plan, target, index)
            plan.known[index] = target.since
            if not targets:
                since = target.since
            elif abs(since - target.since) > TOGETHER_SECONDS:
                await _end_quietly(target)
                break
            since = min(since, target.since)
            targets.append(target)
        index += 1
    return targets, index


async def _open(undo: Undo, plan: Plan, site: Replica) -> Target | None:
    """The read-only volume at a site, made if need be; None after saying why there is no getting at it."""
    found, at = plan.found, site.at
    complain = found.session.output.complain
    try:
        trans = await begin(found.session, undo, at.server, at.partition, found.readonly, ITOffline)
    except Abort as refusal:
        if refusal.code != VolumeError.VNOVOL:
            complain(f"Failed to start a transaction on the RO volume.\n{error_text(refusal.code)}")
            return None
        return await _create(undo, plan, site)
    except RxError as silence:
        complain(f"Failed to start a transaction on the RO volume.\n{error_text(silence.code)}")
        return None
    if site.before & VLSF_DONTUSE:
        return await _replace(undo, plan, site, trans)
    found.session.output.part(f"Updating existing ro volume {found.readonly} on {at.host} ...\n")
    try:
        status = await at.volser.GetStatus(trans.id)
    except RxError as problem:
        complain(f"Failed to get status of volume on destination: {error_text(problem.code)}")
        await _end_quietly(Target(site, trans, 0, 0))
        return None
    return Target(site, trans, before(status.creationDate), before(status.updateDate))


async def _replace(undo: Undo, plan: Plan, site: Replica, trans: Transaction) -> Target | None:
    """What is at a site that has never been released to is of another operation: it goes."""
    found, at = plan.found, site.at
    output = found.session.output
    output.part(f"Deleting extant RO_DONTUSE site on {at.host}...")
    try:
        await at.volser.DeleteVolume(trans.id)
    except RxError as problem:
        output.complain(f"Failed to delete RO_DONTUSE site: {error_text(problem.code)}")
        await _end_quietly(Target(site, trans, 0, 0))
        return None
    try:
        await trans.end()
    except RxError as problem:
        output.complain(f"Failed to end transaction on RO_DONTUSE site: {error_text(problem.code)}")
        return None
    output.part(" done\n")
    return await _create(undo, plan, site)


async def _create(undo: Undo, plan: Plan, site: Replica) -> Target | None:
    found, at = plan.found, site.at
    output = found.session.output
    volume, name = found.readonly, found.entry.name + READONLY_SUFFIX
    output.part(f"Creating new volume {volume} on replication site {at.host}: ")
    try:
        making = at.volser.CreateVolume(at.partition, name, READ_ONLY, found.volume, volume)
        trans = await unhurried(making, lambda made: adopt(found.session, undo, at.server, made[1], volume))
    except RxError as problem:
        output.complain(f"Failed to create the ro volume: {error_text(problem.code)}")
        return None
    output.part(" done\n")
    try:
        await at.volser.SetFlags(trans.id, HIDDEN)
    except RxError as problem:
        output.complain(f"Failed to set flags on the ro volume: {error_text(problem.code)}")
        await _end_quietly(Target(site, trans, 0, 0))
        return None
    return Target(site, trans, 0, 0)


def _since(plan: Plan, target: Target, index: int) -> int:
    """Since when the site lacks changes; 0 where it is to have everything."""
    reason = ""
    if plan.full:
        reason = "forced"
    elif plan.recovery:
        reason = "read-only volume needs be created for new site" if plan.only_new else "previous release failed"
    elif not target.created:
        reason = "read-only volume needs to be created"
    elif plan.created > target.created:
        reason = "read-write volume was replaced"
    if reason:
        plan.found.session.output.part(f"This will be a full dump: {reason}\n")
        return 0
    return min(plan.known.get(index, target.updated), target.updated)


async def _check_source(undo: Undo, plan: Plan) -> None:
    """The transaction on the clone may have run out while sites were waited for. Raises OperationFailed."""
    found, source = plan.found, plan.source
    session = found.session
    try:
        status = await source.volser.GetStatus(plan.trans.id)
    except RxError as problem:
        if problem.code != ENOENT:
            text = f"Unable to get status of current cloned RO transaction\n{error_text(problem.code)}"
            raise refuse(session, text, ENOENT) from problem
        session.output.part(f"Old transaction on cloned volume {plan.clone} timed out, restarting transaction\n")
        undo.forget(plan.trans.ending)
        try:
            plan.trans = await begin(session, undo, source.server, source.partition, plan.clone, ITBusy)
        except RxError as again:
            text = f"Failed to recreate cloned RO volume transaction\n{error_text(again.code)}"
            raise refuse(session, text, ENOENT) from again
        try:
            status = await source.volser.GetStatus(plan.trans.id)
        except RxError as again:
            text = f"Failed to get status on recreated transaction\n{error_text(again.code)}"
            raise refuse(session, text, ENOENT) from again
    if status != plan.status:
        raise refuse(session, "Recreated transaction on cloned RO volume, but the volume has changed!", ENOENT)


def _tell_round(plan: Plan, targets: list[Target], since: int) -> None:
    found = plan.found
    hosts = " and ".join(target.site.at.host for target in targets)
    what = f" (as of {time.ctime(since)})" if since else " (entire volume)"
    found.session.output.part(f"Starting ForwardMulti from {plan.clone} to {found.readonly} on {hosts}{what}.\n")


async def _send(plan: Plan, targets: list[Target], since: int) -> None:
    """Send it to all of them; those that have it then are released."""
    complain = plan.found.session.output.complain
    name = plan.found.entry.name + READONLY_SUFFIX
    cookie = restoreCookie(name=name, type=RO, parent=plan.found.volume, clone=0)
    try:
        codes = await _forward(plan, targets, since, cookie)
    except RxError as problem:
        complain(f"Release failed: {error_text(problem.code)}")
        return
    for place, (target, code) in enumerate(zip(targets, codes, strict=False)):
        gone_before = place > 0  # such a one is tried again if its transaction has run out
        volser, trans = target.site.at.volser, target.trans.id
        if code:
            if not (gone_before and code == ENOENT):
                complain(f"Failed to dump volume from clone to a ro site: {error_text(code)}")
            continue
        failed = "Failed to set correct names and ids: "
        try:
            await volser.SetIdsTypes(trans, name, RO, plan.found.volume, 0, 0)
            failed = "Failed to set flags on ro volume: "
            await volser.SetFlags(trans, 0)
        except RxError as problem:
            if not (gone_before and problem.code == ENOENT):
                complain(f"{failed}{error_text(problem.code)}")
            continue
        target.site.set_released()
        plan.found.set_exists()
        plan.released += 1


async def _forward(plan: Plan, targets: list[Target], since: int, cookie: restoreCookie) -> list[int]:
    """A code for each target."""
    source, trans = plan.source, plan.trans
    destinations = tuple(replica(trans=each.trans.id, server=destination(each.site.at)) for each in targets)
    async with watched(source.session, source.server, trans.id):
        try:
            return list(await source.volser.ForwardMultiple(trans.id, since, destinations, 0, cookie))
        except Abort as refusal:
            if refusal.code != RxgenCode.RXGEN_OPCODE:
                raise
        plan.at_once = 1  # an old server
        codes = []
        for each in destinations:
            try:
                await source.volser.Forward(trans.id, since, each.server, each.trans, cookie)
                codes.append(0)
            except RxError as problem:
                codes.append(problem.code)
        return codes


async def _put_back(plan: Plan, target: Target, first: bool) -> bool:
    """End a target's transaction; False when the site is to be tried again."""
    try:
        await target.trans.end()
    except RxError as problem:
        complain = plan.found.session.output.complain
        if first or problem.code != ENOENT:
            complain(f"Could not end transaction on a ro volume: {error_text(problem.code)}")
            return True
        complain("Transaction timed out on a ro volume. Will retry.")
        return False
    return True


async def _end_quietly(target: Target) -> None:
    """End a transaction that is not needed; what fails of that was told before, or does not matter."""
    try:
        await target.trans.end()
    except RxError as problem:
        if problem.code != ENOENT:
            text = f"Could not end transaction on a ro volume: {error_text(problem.code)}"
            target.site.at.session.output.complain(text)
