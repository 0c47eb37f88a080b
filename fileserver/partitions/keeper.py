"""The partitions of this server: those it knows, those it has mounted, and what is being done to them.

One operation at a time on a partition, any number on different ones. An operation goes on when whoever asked for it
goes away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from uuid import UUID, uuid4

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from afs.rpc.partitions import PREASON, PartitionObject, PartitionRequest, PartitionServer
from afs.rpc.volpartitions import VOP, VOPS, VSTEP
from fileserver.hosts import Host
from fileserver.interfaces import Fenced, StoreError
from fileserver.partitions.flows import Flow, Flows
from fileserver.partitions.inherited import Inherited
from fileserver.partitions.journal import Contact
from fileserver.partitions.label import LabelState
from fileserver.partitions.lingering import Lingering
from fileserver.partitions.means import Means, Mounted, Order
from fileserver.partitions.mount import mount
from fileserver.partitions.move import Down, move
from fileserver.partitions.operations import Operation, Operations
from fileserver.partitions.owed import Owed
from fileserver.partitions.report import report
from fileserver.partitions.salvage import salvage
from fileserver.partitions.table import Known
from fileserver.partitions.take import Refused
from fileserver.partitions.unmount import abandon, finish, release, take_down
from fileserver.partitions.vldb import VldbError
from fileserver.volume.volume import Volume

log = Logger(namespace="fileserver.partitions")

START_SECONDS = 10.0
"""How long the start waits for a label that another process holds, such as the server that is just ending."""

YIELD_SECONDS = 2.0
"""For calls that are running when another server asks for a partition: what is left of ASKED_SECONDS (tenure.py) is for
closing its volumes.
"""


class Partitions:
    """See the module. `now` is Unix time."""

    def __init__(self, means: Means, now: Callable[[], float]) -> None:
        self.means = means
        self.operations = Operations(now)
        self.mounted: dict[UUID, Mounted] = {}
        self._flows = Flows(self.operations, self._over)
        self._reporting: Deferred[None] | None = None
        self._stopping = False
        self._lingering = Lingering(means)
        self._owed = Owed(means.reactor, means.teller)
        """Of partitions that came here and went on before their clients were known."""
        means.registry.met = self._met

    async def start(self) -> None:
        """Mount what is wanted and ours. Of what cannot be mounted the log has the reason, and so has its operation."""
        for known in self.means.table:
            await self._tell_definition(known)
            begun = known.uuid in self.mounted or self.operations.running(known.uuid)  # `_missing`, meanwhile
            if known.wanted and not begun:
                self._mount(known, Order(PartitionRequest(uuid4()), automatic=True, deadline=START_SECONDS))
        for operation in self._flows:
            while operation.state is VOPS.RUNNING and not operation.long:
                await operation.changed()
        await self.report()

    async def _tell_definition(self, known: Known) -> None:
        """The VLDB may be new, or have been told of the partition by another server only."""
        try:
            if await self.means.vldb.has_partitions():
                await self.means.vldb.define(known, PartitionRequest(uuid4()))
        except VldbError as problem:
            log.error("{name} is not defined in the VLDB: {problem}", name=known.name, problem=problem)

    async def _report_now(self) -> None:
        """What was just mounted. Nobody waits for it: a partition is served although no vlserver answers."""
        try:
            await self.report()
        except CancelledError:
            return  # the server ends
        finally:
            self._reporting = None

    async def stop(self) -> None:
        """The server ends: volumes are closed and locks given up; labels and VLDB go on naming this server."""
        self._stopping = True
        ended = self._flows.give_up()
        if self._reporting is not None:
            self._reporting.cancel()
        await ended
        self._lingering.stop()
        self._owed.stop()
        await self.means.registry.shutdown()
        stopping = [ensureDeferred(self._park(mounted)) for mounted in self.mounted.values()]
        self.mounted.clear()
        await gatherResults(stopping)

    async def _park(self, mounted: Mounted) -> None:
        """Say on the label that all is closed, unless clients are still to be told: a start after a crash does that. It
        goes on naming this server.
        """
        if mounted.inherited is not None:
            mounted.inherited.leave()
        if mounted.journal is not None:
            mounted.journal.close()
        if mounted.tenure is not None:
            try:
                if not (mounted.untold or mounted.owed):
                    await mounted.tenure.write(state=LabelState.RELEASED)
            except (StoreError, OSError) as problem:
                log.error("{name} looks as if the server had crashed: {why}", name=mounted.known.name, why=problem)
            await mounted.tenure.stop()

    def mount(self, known: Known, order: Order) -> Operation:
        """Begin to mount a partition of the table; from now on it is wanted. Raises Busy, OSError."""
        again = self._flows.repeated(known.uuid, order.request.id)
        if again is not None:
            return again
        self.means.table.put(replace(known, wanted=True))
        if known.uuid in self.mounted:
            operation = self.operations.begin(order.request.id, VOP.MOUNT, known.uuid)
            operation.end(VOPS.ALREADY)
            return operation
        return self._mount(known, order)

    def unmount(self, known: Known, order: Order) -> Operation:
        """Begin to unmount a partition of the table, or to finish that; it is not wanted any more. Raises Busy,
        OSError.
        """
        mounted = self.mounted.get(known.uuid)
        row = replace(known, wanted=False, left=mounted.epoch if mounted is not None else known.left)
        return self._begin(VOP.UNMOUNT, row, order, lambda operation: self._unmount(row, operation, order))

    def take(self, known: Known, order: Order, source: PartitionServer) -> Operation:
        """Begin to mount a partition that its owner has handed over in the VLDB. Raises Busy, OSError."""
        row = replace(known, wanted=True)
        return self._begin(VOP.TAKE, row, order, lambda operation: self._mounting(row, operation, order), peer=source)

    def move(self, known: Known, order: Order, target: PartitionServer, dryrun: bool = False) -> Operation:
        """Begin to give a mounted partition to another server. Raises Busy."""
        return self._begin(
            VOP.MOVE, known, order, lambda operation: self._move(known, operation, order, target, dryrun), peer=target
        )

    def salvage(self, known: Known, order: Order) -> Operation:
        """Begin to look through a mounted partition, which is served meanwhile. Raises Busy."""
        return self._begin(VOP.SALVAGE, known, order, lambda operation: self._salvage(known, operation))

    async def ended(self, operation: Operation) -> Operation:
        """The same, once it is over."""
        while operation.state is VOPS.RUNNING:
            await operation.changed()
        return operation

    async def report(self) -> None:
        """Tell the VLDB what is mounted here, and do what follows from its answer."""
        heard = await report(self.means, self.mounted)
        for mounted, reason in heard.lost:
            self._wanted_elsewhere(mounted.known, reason)
        for each in heard.missing:
            self._missing(each)

    def tell(self, partition: UUID, contacts: Iterable[Contact]) -> None:
        """Begin to tell clients whom the server that had the partition could not reach."""
        mounted = self.mounted.get(partition)
        owed = self._owed if mounted is None or mounted.inherited is None else mounted.inherited.owed
        ensureDeferred(owed.tell(contacts)).addErrback(lambda failure: failure.trap(CancelledError))

    def _missing(self, ours: PartitionObject) -> None:
        """The VLDB says that a partition is ours, and we do not serve it: what prevented that, or prevented us from
        giving it up there, may have passed. One that is just being handed over to us is left to whoever does that.
        """
        known = self.means.table.get(ours.uuid)
        log.warn("partition {uuid} is ours in the VLDB, and not mounted", uuid=ours.uuid)
        if known is None or self.operations.running(ours.uuid) is not None:
            return
        if known.wanted:
            self._mount(known, Order(PartitionRequest(uuid4()), automatic=True, deadline=START_SECONDS))
        elif known.left == ours.epoch:
            order = Order(PartitionRequest(uuid4(), PREASON.RECOVER, b"it was unmounted"), automatic=True)
            operation = self.operations.begin(order.request.id, VOP.UNMOUNT, ours.uuid)
            self._flows.run(operation, self._unmount(known, operation, order))

    def _mount(self, known: Known, order: Order) -> Operation:
        operation = self.operations.begin(order.request.id, VOP.MOUNT, known.uuid)
        self._flows.run(operation, self._mounting(known, operation, order))
        return operation

    async def _mounting(self, known: Known, operation: Operation, order: Order) -> VOPS:
        def ended(reason: str) -> None:
            self._wanted_elsewhere(known, reason)

        addresses = await self._addresses_to_take(known) if order.takeover else []
        mounted = self.mounted[known.uuid] = await mount(self.means, known, operation, order, ended)
        if mounted.journal is not None and not self._continues(mounted):
            gate = self.means.registry.freeze(known.number)
            mounted.inherited = Inherited(self.means.reactor, self.means.teller, gate, known.path)
        if mounted.inherited is not None and order.source is not None:
            mounted.inherited.follow(order.source, order.request.id)
        elif mounted.inherited is not None:
            mounted.inherited.tell()
        self._lingering.returned(known.uuid)
        if order.takeover:
            await self.means.takeovers.begin(addresses)
            operation.step(VSTEP.ADDRESS)
        return VOPS.DONE

    async def _addresses_to_take(self, known: Known) -> list[IPv4Address]:
        """Those of the server that has the partition, as the VLDB says. Raises CannotTake, VldbError."""
        self.means.takeovers.check()
        found = await self.means.vldb.get(known.uuid)
        owner = found.owner.uuid if found is not None else None
        if owner is None or not owner.int or owner == self.means.own:
            return []
        return [IPv4Address(address) for address in await self.means.vldb.addresses(owner)]

    def _continues(self, mounted: Mounted) -> bool:
        """Whether we had it last and closed it cleanly: what clients were promised holds."""
        before = mounted.before
        return before is not None and before.owner == self.means.own and before.state is LabelState.RELEASED

    def _met(self, volume: Volume, host: object) -> Deferred[bool] | None:
        """A host uses a volume: whoever has the partition next must know. Fires when that is written, with
        False where that cannot be while the partition is not surely ours. None: it is written."""
        mounted = self.mounted.get(volume.partition.uuid)
        if mounted is None or mounted.journal is None or mounted.tenure is None or not isinstance(host, Host):
            return None
        if mounted.inherited is not None:
            mounted.inherited.owed.called(host.address, host.uuid)
        note = partial(mounted.journal.note, host.address, host.uuid, volume.id)

        def failed(failure: Failure) -> bool:
            fenced = failure.trap(OSError, Fenced) is Fenced
            why = failure.getErrorMessage()
            log.error("{name}: {host} not noted: {why}", name=mounted.known.name, host=host, why=why)
            return not fenced

        if not mounted.tenure.prompt():
            return mounted.tenure.run(note).addCallbacks(lambda _: True, failed)
        try:
            note()
        except (OSError, Fenced):
            return succeed(failed(Failure()))
        return None

    async def _move(
        self, known: Known, operation: Operation, order: Order, target: PartitionServer, dryrun: bool
    ) -> VOPS:
        mounted = self.mounted.get(known.uuid)
        if mounted is None and not dryrun:
            await self._mounting(known, operation, Order(replace(order.request, id=uuid4())))
            mounted = self.mounted[known.uuid]
        if mounted is None:
            raise Refused(f"{known.name} is not mounted here")
        if mounted.tenure is None:
            raise Refused(f"{known.name} is in this server's memory")
        if target.uuid == self.means.own:
            return VOPS.ALREADY
        if mounted.inherited is not None:
            await mounted.inherited.over()

        async def back(again: Order) -> None:
            await self._mounting(known, operation, again)

        try:
            await move(self.means, mounted, operation, order, target.uuid, back, dryrun)
        except Down:
            del self.mounted[known.uuid]
            raise
        if not dryrun:
            del self.mounted[known.uuid]
            self.means.table.put(replace(known, wanted=False))
        return VOPS.DONE

    async def _salvage(self, known: Known, operation: Operation) -> VOPS:
        mounted = self.mounted.get(known.uuid)
        if mounted is None:
            raise Refused(f"{known.name} is not mounted here")
        await salvage(self.means, mounted, operation)
        return VOPS.DONE

    async def _unmount(self, known: Known, operation: Operation, order: Order) -> VOPS:
        mounted = self.mounted.get(known.uuid)
        if mounted is not None:
            try:
                self._lingering.leave(known.uuid, await take_down(self.means, mounted, operation, order))
            finally:
                if self.means.registry.partition(known.number) is None:
                    del self.mounted[known.uuid]
        if mounted is None:
            return VOPS.DONE if await finish(self.means, known, operation, order) else VOPS.ALREADY
        await release(self.means, known, operation, order)
        return VOPS.DONE

    def _wanted_elsewhere(self, known: Known, reason: str) -> None:
        """Another server has claimed the partition, or has it already."""
        mounted = self.mounted.get(known.uuid)
        if mounted is None or mounted.tenure is None or self._stopping or self.operations.running(known.uuid):
            return
        log.warn("{reason}", reason=reason)
        operation = self.operations.begin(uuid4(), VOP.UNMOUNT, known.uuid)
        del self.mounted[known.uuid]
        self._flows.run(operation, self._yield(mounted, operation))

    async def _yield(self, mounted: Mounted, operation: Operation) -> VOPS:
        """Let go in time, or it is taken."""
        if mounted.tenure is None or mounted.tenure.lost:
            await abandon(self.means, mounted)
            return VOPS.DONE
        try:
            order = Order(force=True, automatic=True, deadline=YIELD_SECONDS)
            left = await take_down(self.means, mounted, operation, order, asked=True)
        except (StoreError, OSError):
            if self.means.registry.partition(mounted.known.number) is not None:
                await abandon(self.means, mounted)
            raise
        self._lingering.leave(mounted.known.uuid, left)
        return VOPS.DONE

    def _begin(
        self,
        kind: VOP,
        known: Known,
        order: Order,
        flow: Callable[[Operation], Flow],
        *,
        peer: PartitionServer | None = None,
    ) -> Operation:
        """The operation of this request: the one there is, or a new one, once the table has `known` so. Raises Busy,
        OSError.
        """
        again = self._flows.repeated(known.uuid, order.request.id)
        if again is not None:
            return again
        if known != self.means.table.get(known.uuid):
            self.means.table.put(known)
        operation = self.operations.begin(order.request.id, kind, known.uuid, peer)
        self._flows.run(operation, flow(operation))
        return operation

    def _over(self, operation: Operation) -> None:
        """Something was done to a partition: who asked for it meanwhile gets it, and the VLDB hears what is here."""
        mounted = self.mounted.get(operation.partition)
        if mounted is not None and mounted.tenure is not None and mounted.tenure.unwanted:
            self._wanted_elsewhere(mounted.known, mounted.tenure.unwanted)
        elif mounted is not None and self._reporting is None:
            self._reporting = ensureDeferred(self._report_now())
