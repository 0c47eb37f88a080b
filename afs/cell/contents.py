"""The first volumes of a cell: root.afs, root.cell and scratch, with access lists and mount points.

Made through the servers as any administrator would. Every step first looks whether it is done already, so a cell that
was interrupted while it was made for the first time goes on where it stopped.
"""

from __future__ import annotations

import errno
from ipaddress import IPv4Address

from twisted.logger import Logger

from afs.client import FileClient
from afs.errors import VLError
from afs.paths import ROOT_UNIQUE, ROOT_VNODE
from afs.rpc.vl import NMAXNSERVERS, VLF_RWEXISTS, VLSF_RWVOL, nvldbentry
from afs.rpc.volser import ITOffline, volintInfo
from afs.types import AFSFid
from rx.errors import Abort

log = Logger()

VLSERVER_PORT = 7003
VOLSER_PORT = 7005
READWRITE_VOLUME = 0
"""volumeType of AFSVolCreateVolume for a read-write volume."""
PARTITION = 0
"""/vicepa"""
UNCHANGED = -1
"""In a field of volintInfo: SetInfo leaves it."""

ACCESS = {
    b"root.afs": "rl",
    b"root.cell": "rl",
    b"scratch": "rlidwk",
}
"""What everybody may do in each of the first volumes."""


class FirstVolumes:
    """Makes a cell's first volumes on one fileserver."""

    def __init__(self, client: FileClient, cell: str, vlserver: IPv4Address, fileserver: IPv4Address) -> None:
        self._client = client
        self._cell = cell
        self._fileserver = fileserver
        self._vl = client.vl((str(vlserver), VLSERVER_PORT))
        self._volser = client.volser((str(fileserver), VOLSER_PORT))

    async def make(self) -> None:
        """Raises Abort or CallLost when a server refuses or is silent."""
        for name, rights in ACCESS.items():
            await self._ensure_volume(name)
            await self._grant(name, rights)
        await self._mount("/", self._cell, b"root.cell")
        await self._mount("/", f".{self._cell}", b"root.cell", readwrite=True)
        await self._mount(f"/{self._cell}", "root.afs", b"root.afs")
        await self._mount(f"/{self._cell}", "scratch", b"scratch")

    async def find(self) -> None:
        """See that the volumes are all there. Raises Abort(VL_NOENT ...) or CallLost."""
        for name in ACCESS:
            await self._client.locator.entry(name)

    async def _ensure_volume(self, name: bytes) -> None:
        try:
            await self._client.locator.entry(name)
        except Abort as refusal:
            if refusal.code != VLError.VL_NOENT:
                raise
            found = {info.name: info.volid for info in await self._volser.ListVolumes(PARTITION, 1)}
            if name in found:  # made, but not entered before an interruption
                volume_id = found[name]
                transaction = await self._volser.TransCreate(volume_id, PARTITION, ITOffline)
            else:
                volume_id = await self._vl.GetNewVolumeId(1)
                volume_id, transaction = await self._volser.CreateVolume(
                    PARTITION, name, READWRITE_VOLUME, 0, volume_id
                )
            await self._bring_online(transaction)
            await self._enter(name, volume_id)
            log.info("made volume {name}", name=name.decode())

    async def _bring_online(self, transaction: int) -> None:
        """End the transaction with the volume in service and without quota."""
        without_quota = volintInfo(
            maxquota=0, dayUse=UNCHANGED, creationDate=UNCHANGED, updateDate=UNCHANGED, spare2=UNCHANGED
        )
        await self._volser.SetInfo(transaction, without_quota)
        await self._volser.SetFlags(transaction, 0)
        code = await self._volser.EndTrans(transaction)
        if code:
            raise Abort(code)

    async def _enter(self, name: bytes, volume_id: int) -> None:
        """The volume's entry in the VLDB. Ids for a read-only and a backup volume are reserved as vos does."""
        clones = await self._vl.GetNewVolumeId(2)
        rest = (0,) * (NMAXNSERVERS - 1)
        entry = nvldbentry(
            name=name,
            nServers=1,
            serverNumber=(_signed(int(self._fileserver)), *rest),
            serverPartition=(PARTITION, *rest),
            serverFlags=(VLSF_RWVOL, *rest),
            volumeId=(volume_id, clones, clones + 1),
            flags=VLF_RWEXISTS,
        )
        await self._vl.CreateEntryN(entry)

    async def _grant(self, name: bytes, rights: str) -> None:
        root = AFSFid(await self._client.locator.volume_id(name), ROOT_VNODE, ROOT_UNIQUE)
        granted, denied = await self._client.get_acl(root)
        await self._client.set_acl(root, granted | {"system:anyuser": rights}, denied)

    async def _mount(self, directory: str, name: str, volume: bytes, readwrite: bool = False) -> None:
        try:
            await self._client.make_mount_point(f"{directory}/{name}", volume, readwrite)
        except Abort as refusal:
            if refusal.code != errno.EEXIST:
                raise


def _signed(address: int) -> int:
    """An IPv4 address where the protocol declares a signed word."""
    return address - 2**32 if address >= 2**31 else address
