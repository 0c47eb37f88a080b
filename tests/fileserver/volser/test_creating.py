"""AFSVol: volumes made and deleted."""

from __future__ import annotations

from errno import E2BIG, EINVAL, EIO, ENODEV, ENOENT

from afs.acl import ALL_RIGHTS, SYSADMINID, AccessList, Entry
from afs.errors import VolserError, VolumeError
from afs.rpc.volser import (
    ITBusy,
)
from fileserver.volser.listing import VOK
from tests.fileserver.volser.support import BACKUP, READONLY, RO, RW, VOLUME, Volser
from tests.fileserver.volume.support import use


class Creating(Volser):
    def test_as_vos_makes_it(self) -> None:
        """A created volume has stock's header and a root that is system:administrators' alone."""
        self.create()
        info = self.info()
        self.assertEqual((info.name, info.type, info.parentID, info.status, info.inUse), (b"vol", RW, VOLUME, VOK, 1))
        self.assertEqual((info.maxquota, info.size, info.filecount), (777, 2, 0))
        root = self.server.disk.volumes[VOLUME].vnodes[1]
        self.assertEqual(AccessList.from_bytes(root.acl), AccessList((Entry(SYSADMINID, ALL_RIGHTS),), ()))
        self.assertEqual((root.mode, root.link_count, root.data_version, root.owner), (0o777, 2, 1, 0))
        self.run_now(use(self.server))

    def test_clients_see_it_when_it_is_done(self) -> None:
        """Until its creator ends the transaction the volume is offline for clients."""
        _, trans = self.do(self.volser.CreateVolume(0, b"vol", RW, 0, VOLUME))
        self.assertEqual(self.refused(use(self.server)), VolumeError.VOFFLINE)
        self.do(self.volser.SetFlags(trans, 0))
        self.do(self.volser.EndTrans(trans))
        self.run_now(use(self.server))

    def test_refusals(self) -> None:
        """Names too long, no id, odd types, and partitions and ids that are not to be had."""
        create = self.volser.CreateVolume
        self.assertEqual(self.code(create(0, b"x" * 32, RW, 0, VOLUME)), VolserError.VOLSERBADNAME)
        self.assertEqual(self.code(create(0, b"vol", 3, 0, VOLUME)), EINVAL)
        self.assertEqual(self.code(create(0, b"vol", RW, 0, 0)), E2BIG)
        self.assertEqual(self.code(create(9, b"vol", RW, 0, VOLUME)), EIO)
        self.create()
        self.assertEqual(self.code(create(0, b"vol", RW, 0, VOLUME)), EIO)
        self.assertEqual(list(self.transactions), [])
        self.assertEqual(self.info().name, b"vol")

    def test_a_full_disk(self) -> None:
        """A volume that found no room leaves neither a trace nor a transaction."""
        self.server.disk.capacity = self.server.disk.used
        self.assertEqual(self.code(self.volser.CreateVolume(0, b"vol", RW, 0, VOLUME)), EIO)
        self.assertEqual((self.server.disk.volumes, list(self.transactions)), ({}, []))

    def test_a_restore_brings_its_own_root(self) -> None:
        """A read-write volume that names itself its parent is made without a root."""
        self.do(self.volser.CreateVolume(0, b"vol", RW, VOLUME, VOLUME))
        self.assertEqual(self.server.disk.volumes[VOLUME].vnodes, {})

    def test_names_lose_their_suffix(self) -> None:
        """As in stock the name of a new read-only volume is given to it later."""
        self.do(self.volser.CreateVolume(0, b"vol.readonly", RO, VOLUME, READONLY))
        self.assertEqual(self.server.disk.volumes[READONLY].header.name, b"vol")


class Deleting(Volser):
    def test_gone(self) -> None:
        """A deleted volume is gone for everybody, and its clients were told; the transaction has nothing left to do."""
        self.create()
        trans = self.begin()
        self.do(self.volser.DeleteVolume(trans))
        self.assertEqual(self.server.disk.volumes, {})
        self.assertEqual(self.code(self.volser.GetStatus(trans)), ENOENT)
        self.assertEqual(self.code(self.volser.DeleteVolume(trans)), ENOENT)
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(self.refused(use(self.server)), VolumeError.VNOVOL)
        self.assertEqual(self.server.broken, [VOLUME])
        self.assertEqual(self.code(self.volser.ListOneVolume(0, VOLUME)), ENODEV)

    def test_one_that_clients_use(self) -> None:
        """Also a read-only volume that stayed online for its clients can be deleted."""
        self.create()
        self.backup()
        self.run_now(use(self.server, BACKUP))
        trans = self.begin(BACKUP, ITBusy)
        self.do(self.volser.DeleteVolume(trans))
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(self.refused(use(self.server, BACKUP)), VolumeError.VNOVOL)

    def test_nuke(self) -> None:
        """`vos zap -force` removes a volume whatever it is in; without one it says so."""
        self.create()
        self.server.disk.volumes[VOLUME].header.needs_salvaged = True
        self.assertEqual(self.refused(use(self.server)), VolumeError.VSALVAGE)
        self.do(self.volser.NukeVolume(0, VOLUME))
        self.assertEqual(self.refused(use(self.server)), VolumeError.VNOVOL)
        self.assertEqual(self.code(self.volser.NukeVolume(0, VOLUME)), VolumeError.VNOVOL)
        self.assertEqual(self.code(self.volser.NukeVolume(9, VOLUME)), VolserError.VOLSERNOVOL)
