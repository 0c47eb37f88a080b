"""A volume in the hands of the volume server: what stock's FSYNC checkout does between two processes, inside one.

Depending on the attach mode (dafs.md sections 1 and 8) clients go on using the volume, or find it offline until it is
given back.
"""

from __future__ import annotations

from enum import IntEnum

from afs.errors import VolumeError
from fileserver.interfaces import Damaged, IVolumeFiles, NoSuchVolume, VolumeHeader
from fileserver.volume.fsa import Event, VolumeState
from fileserver.volume.offline import take_offline
from fileserver.volume.recovery import recover
from fileserver.volume.volume import Volume
from rx.errors import Abort


class Mode(IntEnum):
    """How a volume is wanted (volume.h attach modes)."""

    READONLY = 1
    CLONE = 2
    VOLUPD = 3
    DUMP = 4
    SECRETLY = 5
    PEEK = 6


class Checkout:
    """One volume as its borrower sees it: `header` and `files`, its own unless clients share them (`online`)."""

    def __init__(self, volume: Volume, mode: Mode, header: VolumeHeader, files: IVolumeFiles, online: bool) -> None:
        self.volume = volume
        self.mode = mode
        self.header = header
        self.files = files
        self.online = online
        self.destroyed = False
        self.usable = True  # until `destroy` is tried: whatever comes of that, its files are closed

    async def write(self) -> None:
        """Write the header as changed."""
        if self.online:
            await self.volume.write_header()
        else:
            await self.files.write_header(self.header)

    async def sync(self) -> None:
        await self.files.sync()

    async def destroy(self) -> None:
        """Remove the volume from its partition, clients or no clients; what is left to do afterwards is `give_back`."""
        self.usable = False
        if self.online:
            await self._go_offline()
        self.destroyed = True
        await self.files.close()
        await self.volume.partition.destroy_volume(self.volume.id)

    async def _go_offline(self) -> None:
        self.volume.leave()
        taken = await _take(self.volume, self.mode)
        self.online = False
        self.header, self.files = taken.header, taken.files

    async def give_back(self) -> None:
        """Clients may have it again: attached at their next use, if its header allows.

        A destroyed volume is DELETED; one that has moved stays so for clients until it is checked out again.
        """
        volume = self.volume
        volume.borrowed = False
        if self.online:
            if self.usable:
                volume.leave()  # else `destroy` did, and found it in nobody's hands
            volume.wake()
            return
        try:
            if not self.destroyed:
                await self.files.close()
        finally:
            if volume.special_status != VolumeError.VMOVED:
                volume.special_status = 0
            volume.send(Event.DESTROY if self.destroyed else Event.PREATTACH)


class UnderSalvage(Abort):
    """The volume is being repaired: it can be had afterwards."""


async def check_out(volume: Volume, mode: Mode) -> Checkout:
    """Take the volume as `mode` says. The caller has made sure that nobody else has it. Raises Abort VNOVOL, VSALVAGE,
    VOFFLINE; UnderSalvage.
    """
    assert not volume.borrowed, volume
    volume.borrowed = True
    try:
        if await _stays_online(volume, mode):
            volume.enter()
            return Checkout(volume, mode, volume.header, volume.files, online=True)
        return await _take(volume, mode)
    except BaseException:
        volume.borrowed = False
        volume.wake()
        raise


async def _stays_online(volume: Volume, mode: Mode) -> bool:
    if mode not in (Mode.READONLY, Mode.CLONE, Mode.DUMP, Mode.PEEK):
        return False
    if await volume.settled() != VolumeState.ATTACHED:
        return False
    return mode in (Mode.READONLY, Mode.PEEK) or not volume.writable


async def _take(volume: Volume, mode: Mode) -> Checkout:
    volume.special_status = VolumeError.VBUSY if mode in (Mode.CLONE, Mode.DUMP) else 0
    await take_offline(volume)
    if volume.state == VolumeState.SALVAGING:
        volume.special_status = 0
        raise UnderSalvage(VolumeError.VSALVAGE)
    if volume.state != VolumeState.UNATTACHED:
        volume.special_status = 0
        raise volume.refusal()
    files = None
    try:
        files = await volume.partition.open_volume(volume.id)
        volume.parent = files.parent
        header = await files.read_header()
        if header.in_use and header.type == 0:
            await recover(files, header, volume.surroundings.breathe)
        header.in_use = 0
    except (Damaged, NoSuchVolume, OSError) as problem:
        if files is not None:
            await files.close()
        volume.special_status = 0
        if not isinstance(problem, Damaged):
            volume.send(Event.PREATTACH)
        elif volume.surroundings.salvages.take(volume, Event.DAMAGED, str(problem)):
            raise UnderSalvage(VolumeError.VSALVAGE) from problem
        raise Abort(VolumeError.VNOVOL if isinstance(problem, NoSuchVolume) else VolumeError.VSALVAGE) from problem
    return Checkout(volume, mode, header, files, online=False)


async def peek(volume: Volume) -> VolumeHeader:
    """The header of a volume nobody borrowed, as it is in memory or on disk, without attaching it.

    Raises NoSuchVolume, Damaged, OSError; Abort VBUSY while it is being salvaged.
    """
    state = await volume.settled()
    if state == VolumeState.ATTACHED:
        return volume.header
    if state in (VolumeState.SALVAGING, VolumeState.SALVAGE_REQ):
        raise Abort(VolumeError.VBUSY)
    if state != VolumeState.PREATTACHED:
        return await _read_header(volume)
    volume.send(Event.PEEK)
    try:
        return await _read_header(volume)
    finally:
        volume.send(Event.RESUME_IDLE)


async def _read_header(volume: Volume) -> VolumeHeader:
    files = await volume.partition.open_volume(volume.id)
    try:
        return await files.read_header()
    finally:
        await files.close()
