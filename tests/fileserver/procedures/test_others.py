"""Access lists, locks, volumes, statistics, and the calls that are only refused."""

from __future__ import annotations

import errno

from afs.acl import AccessList, Entry
from afs.errors import VolumeError
from afs.rpc.fs import AFS_SETMAXQUOTA, AFS_SETMINQUOTA, RXAFS, AFSStoreVolumeStatus, FsCmdInputs, ViceStatistics
from afs.types import AFSFid, AFSVolSync
from fileserver.procedures import Procedures
from fileserver.volume.vn import DIRECTORY
from rx.service import Procedures as Implemented
from tests.fileserver.procedures.support import NOTHING, READONLY, ROOT, VOLUME, World
from xdr import codec


class ACLs(World):
    def test_what_is_stored_is_fetched(self) -> None:
        """Positive and negative entries come back as they were stored, and count at once."""
        self.set_acl({"alice": "rlidwka", "system:anyuser": "rl"}, {"bob": "r"})
        text, status, sync = self.run_now(self.on(1, "alice").FetchACL(ROOT))
        entries = sorted(text.rstrip(b"\0").split(b"\n")[2:-1])
        self.assertEqual(entries, [b"alice\t127", b"bob\t1", b"system:anyuser\t9"])
        self.assertEqual((text[:4], text[-1:], status.FileType, sync.spare1), (b"2\n1\n", b"\0", 2, 11))
        self.assertEqual(status.CallerAccess, 127)
        self.assertEqual(status.AnonymousAccess, 9)

    def test_a_file_answers_its_directory_s_list(self) -> None:
        """FetchACL of a file is the list that governs it, with the file's status."""
        fid = self.create()
        text, status, _ = self.run_now(self.on(1).FetchACL(fid))
        self.assertEqual(text, self.run_now(self.on(1).FetchACL(ROOT))[0])
        self.assertEqual((status.FileType, status.ParentVnode), (1, 1))

    def test_refused(self) -> None:
        """No list without `a`, none for a file, none of nonsense; the old one stays."""
        fid = self.create()
        good = self.run_now(self.on(1).FetchACL(ROOT))[0]
        for user, where, text, code in [
            ("alice", ROOT, good, errno.EACCES),
            ("alice", ROOT, b"nonsense", errno.EACCES),
            ("admin", fid, good, errno.ENOTDIR),
            ("admin", ROOT, b"nonsense\0", errno.EINVAL),
            ("admin", ROOT, good.rstrip(b"\0"), errno.EINVAL),
            ("admin", ROOT, b"1\n0\nnobody 7\n\0", errno.EINVAL),
            ("admin", ROOT, b"1\n0\n%s 7\n\0" % (b"n" * 1000), errno.EINVAL),
            ("admin", ROOT, b"21\n0\n" + b"alice 1\n" * 21 + b"\0", errno.EINVAL),
            ("admin", ROOT, b"-1\n0\n\0", errno.EINVAL),
            ("admin", AFSFid(READONLY, 1, 1), good, errno.EROFS),
        ]:
            self.refused(code, self.on(1, user).StoreACL(where, text))
            self.refused(code, self.on(1, user).OldStoreACL(where, text))
        self.assertEqual(self.run_now(self.on(1).FetchACL(ROOT))[0], good)

    def test_enforced(self) -> None:
        """What a list gives is what its users can do, from the next call on."""
        self.set_acl({"alice": "rlidwk", "bob": "l"})
        fid = self.create(user="alice", content=b"hers")
        self.assertEqual(self.fetch(fid, user="alice"), b"hers")
        self.refused(errno.EACCES, self.on(1, "bob").FetchStatus(fid))
        self.refused(errno.EACCES, self.on(1, "bob").CreateFile(ROOT, b"x", NOTHING))
        self.refused(errno.EACCES, self.on(1, "bob").RemoveFile(ROOT, b"f"))
        self.refused(errno.EACCES, self.on(1, "bob").RemoveFile(ROOT, b"no such"))
        self.refused(errno.EACCES, self.on(1, "bob").SetLock(fid, 0))
        self.refused(errno.EACCES, self.on(1).FetchACL(ROOT))
        self.assertEqual(self.run_now(self.on(1).FetchStatus(ROOT))[0].CallerAccess, 0)
        self.set_acl({"alice": "rlidwk", "bob": "rl"})
        self.assertEqual(self.fetch(fid, user="bob"), b"hers")

    def test_groups(self) -> None:
        """Members have what their groups have; the group that owns the volume may change every list."""
        self.set_acl({"staff": "rl"})
        self.refused(errno.EACCES, self.on(1, "bob").FetchACL(ROOT))
        text = self.run_now(self.on(1, "carol").FetchACL(ROOT))[0]
        self.run_now(self.on(1, "carol").StoreACL(ROOT, text))

    def test_too_long_to_fetch(self) -> None:
        """A list whose text passes 1024 bytes is E2BIG."""
        names = {b"a-name-as-long-as-names-may-be-in-the-protection-database-%05d" % n: 1000 + n for n in range(20)}
        self.names.known = self.names.known | names
        volume = self.registry.find(VOLUME)
        assert volume is not None

        async def long() -> None:
            async with self.registry.use(VOLUME), volume.exclusive(ROOT) as (vn,):
                vn.disk.acl = AccessList.of([Entry(number, 127) for number in names.values()]).to_bytes()
                await vn.save()

        self.run_now(long())
        self.refused(errno.E2BIG, self.on(1, "admin").FetchACL(ROOT))


class Locks(World):
    def test_locks(self) -> None:
        """Read locks share, a write lock is alone, and the count is in everybody's status."""
        fid = self.create()
        self.assertEqual(self.run_now(self.on(1).SetLock(fid, 0)).spare1, 11)
        self.run_now(self.on(2).SetLock(fid, 0))
        self.refused(errno.EAGAIN, self.on(1).SetLock(fid, 1))
        self.assertEqual(self.run_now(self.on(3).FetchStatus(fid))[0].lockCount, 2)
        self.run_now(self.on(1).ReleaseLock(fid))
        self.run_now(self.on(1).ReleaseLock(fid))
        self.run_now(self.on(1).SetLock(fid, 1))
        self.assertEqual(self.run_now(self.on(3).FetchStatus(fid))[0].lockCount, 0xFFFFFFFF)
        self.time += 301
        self.run_now(self.on(2).SetLock(fid, 1))

    def test_they_are_in_the_vnode(self) -> None:
        """Locks outlive the volume's time in memory."""
        fid = self.create()
        self.run_now(self.on(1).SetLock(fid, 1))
        record = self.partition.disk.volumes[VOLUME].vnodes[fid.Vnode]
        self.assertEqual((record.lock_count, record.lock_time), (-1, int(self.time) + 300))

    def test_old_forms(self) -> None:
        """The AFS 3.0 calls do the same."""
        fid = self.create()
        self.run_now(self.on(1).OldSetLock(fid, 1, AFSVolSync()))
        self.run_now(self.on(1).OldExtendLock(fid, AFSVolSync()))
        self.refused(errno.EAGAIN, self.on(1).OldSetLock(fid, 0, AFSVolSync()))
        self.run_now(self.on(1).OldReleaseLock(fid, AFSVolSync()))
        self.run_now(self.on(1).OldSetLock(fid, 0, AFSVolSync()))

    def test_read_only_volumes(self) -> None:
        """A read lock there succeeds without any state, whatever it is of; a write lock does not."""
        fid = AFSFid(READONLY, 1, 1)
        for each in (fid, AFSFid(READONLY, 99, 9)):
            self.assertEqual(self.run_now(self.on(1).SetLock(each, 0)), AFSVolSync())
            self.assertEqual(self.run_now(self.on(1).ExtendLock(each)), AFSVolSync())
            self.assertEqual(self.run_now(self.on(1).ReleaseLock(each)), AFSVolSync())
        self.refused(errno.EROFS, self.on(1).SetLock(fid, 1))

    def test_refused(self) -> None:
        """Types 2 and up are no locks; nothing can be extended that is not held."""
        fid = self.create()
        for kind in (2, 3, -1):
            self.refused(errno.EINVAL, self.on(1).SetLock(fid, kind))
        self.refused(errno.EINVAL, self.on(1).ExtendLock(fid))
        self.run_now(self.on(1).ReleaseLock(fid))


class Volumes(World):
    def test_status(self) -> None:
        """Quota, use, names and room of a volume, for anybody."""
        status, name, offline, motd = self.run_now(self.on(1).GetVolumeStatus(VOLUME))
        self.assertEqual((status.Vid, status.ParentId, status.Type, status.BlocksInUse), (VOLUME, VOLUME, 1, 2))
        self.assertEqual((name, offline, motd), (b"test", b"", b""))
        self.assertEqual((status.Blessed, status.InService, status.NeedsSalvage), (1, 1, 0))
        self.assertEqual(status.PartMaxBlocks, min(self.partition.space().total, 2**31 - 1))
        self.assertEqual(self.run_now(self.on(1).GetVolumeStatus(READONLY))[0].Type, 0)
        self.refused(errno.EINVAL, self.on(1).GetVolumeStatus(0))
        self.refused(VolumeError.VNOVOL, self.on(1).GetVolumeStatus(-5))

    def test_set(self) -> None:
        """An administrator changes quota, message and name; nobody else does, and only what is named changes."""
        change = AFSStoreVolumeStatus(AFS_SETMAXQUOTA, 7, 5000)
        self.refused(errno.EACCES, self.on(1, "alice").SetVolumeStatus(VOLUME, change, b"", b"", b""))
        self.run_now(self.on(1, "admin").SetVolumeStatus(VOLUME, change, b"", b"back at noon", b"ignored"))
        header = self.partition.disk.volumes[VOLUME].header
        self.assertEqual((header.max_quota, header.min_quota, header.name), (5000, 0, b"test"))
        self.assertEqual(header.offline_message, b"back at noon")
        change = AFSStoreVolumeStatus(AFS_SETMINQUOTA, 7, 1)
        self.run_now(self.on(1, "admin").SetVolumeStatus(VOLUME, change, b"renamed\0rest", b"", b""))
        header = self.partition.disk.volumes[VOLUME].header
        self.assertEqual((header.max_quota, header.min_quota, header.name), (5000, 7, b"renamed"))

    def test_too_long_for_the_header(self) -> None:
        """A name of 32 bytes or a message of 128 is refused, and nothing changes."""
        change = AFSStoreVolumeStatus(AFS_SETMAXQUOTA, 0, 1)
        for name, message in [(b"n" * 32, b""), (b"", b"m" * 128)]:
            self.refused(errno.EINVAL, self.on(1, "admin").SetVolumeStatus(VOLUME, change, name, message, b""))
        self.assertEqual(self.partition.disk.volumes[VOLUME].header.max_quota, 0)


class Server(World):
    def test_every_rpc_is_served(self) -> None:
        """Each of the 43 RPCs declared has its procedure."""
        served = {procedure.operation.opcode for procedure in Implemented(Procedures)}
        self.assertEqual(served, set(RXAFS.operations))
        self.assertEqual(len(served), 43)

    def test_time(self) -> None:
        """Seconds and microseconds."""
        self.time += 0.25
        self.assertEqual(self.run_now(self.on(1).GetTime()), (int(self.time), 250_000))

    def test_capabilities(self) -> None:
        """Error translation, 64-bit files, and write locks by access list."""
        self.assertEqual(self.run_now(self.on(1).GetCapabilities()), (7,))

    def test_refusals(self) -> None:
        """The obsolete calls, each with its own code."""
        on = self.on(1)
        for code, work in [
            (122, on.GetRootVolume()),
            (130, on.CheckToken(1, b"")),
            (VolumeError.VNOVOL, on.GetVolumeInfo(b"root.afs")),
            (VolumeError.VNOVOL, on.NGetVolumeInfo(b"root.afs")),
            (errno.EINVAL, on.Lookup(ROOT, b"x")),
            (errno.EINVAL, on.DFSSymlink(ROOT, b"x", b"y", NOTHING)),
            (errno.EINVAL, on.FsCmd(ROOT, FsCmdInputs())),
            (1, on.CallBackRxConnAddr(0)),
            (errno.EPERM, on.FlushCPS((1,), (), 0)),
        ]:
            self.refused(code, work)
        self.assertEqual(self.run_now(self.on(1, "admin").FlushCPS((1,), (), 0)), (0, 0))

    def test_statistics(self) -> None:
        """What was called is counted, in all three forms."""
        fid = self.create(content=b"12345")
        self.fetch(fid)
        short = self.run_now(self.on(1).GetStatistics())
        self.assertEqual((short.FetchDatas, short.FetchedBytes, short.StoreDatas, short.StoredBytes), (1, 5, 1, 5))
        self.assertEqual((short.WorkStations, short.Disk1.Name[:8], short.Disk2.TotalBlocks), (1, b"/vicepa\0", -1))
        self.assertEqual(len(codec(ViceStatistics).encode(short)), 580)
        long = self.run_now(self.on(1).GetStatistics64(16))
        self.assertEqual((len(long), long[5], long[6], long[9], long[10], long[13]), (16, 1, 5, 1, 5, 1))
        for version in (-1, 0, 1, 15, 17, 2**31 - 1):
            self.refused(errno.EINVAL, self.on(1).GetStatistics64(version))

    def test_xstat(self) -> None:
        """The collections have the sizes of OpenAFS's structures, and need no acquaintance."""
        asked = self.on(5)
        self.assertEqual(self.run_now(asked.XStatsVersion()), 2)
        for collection, words in [(0, 0), (1, 98), (2, 98 + 4 + 28 * 18 + 2 * 30), (3, 16)]:
            version, when, data = self.run_now(asked.GetXStats(2, collection))
            self.assertEqual((version, when, len(data)), (2, int(self.time), words))
        self.refused(1, asked.GetXStats(2, 4))
        self.assertEqual(self.machine(5).told, [])

    def test_times(self) -> None:
        """How long calls took that succeeded, and what they moved, is where OpenAFS's monitors look."""
        fid = self.create(content=b"x" * 5000)
        disk = self.partition.disk

        async def slow(operation: str, volume_id: int, number: int) -> None:
            if operation == "read":
                self.time += 1.5

        disk.fault = slow
        for _ in range(2):
            self.fetch(fid)
        disk.fault = None
        _, _, data = self.run_now(self.on(5).GetXStats(2, 2))
        fetches = data[98 + 4 :][:18]
        self.assertEqual(fetches[:2], (2, 2))
        self.assertEqual((fetches[2], fetches[4]), (3, 0))  # 2 * 1.5 s in all
        self.assertEqual((fetches[6], fetches[8]), (4, 500_000))  # and of squares
        self.assertEqual((fetches[10], fetches[12], fetches[14], fetches[16]), (1, 500_000, 1, 500_000))
        transfers = data[98 + 4 + 28 * 18 :][:30]
        self.assertEqual((transfers[0], transfers[18:21]), (2, (10_000, 5000, 5000)))
        self.assertEqual(transfers[21:30], (0, 0, 2, 0, 0, 0, 0, 0, 0))

    def test_rates_and_size(self) -> None:
        """Bytes a second since the start, and the memory of the process."""
        fid = self.create(content=b"x" * 5000)
        self.fetch(fid)
        self.time += 100
        long = self.run_now(self.on(1).GetStatistics64(16))
        self.assertEqual((long[7], long[11]), (50, 50))
        self.assertGreater(long[15], 1024)
        self.refused(VolumeError.VNOVNODE, self.on(1).FetchStatus(AFSFid(VOLUME, 99, 1)))
        _, _, data = self.run_now(self.on(5).GetXStats(2, 2))
        status = data[98 + 4 + 2 * 18 :][:18]
        self.assertEqual(status[:2], (1, 0))

    def test_damage(self) -> None:
        """A directory that contradicts itself takes its volume out of service; the client is told to salvage."""
        directory = self.mkdir()
        self.create(b"x", directory=directory)
        disk = self.partition.disk.volumes[VOLUME]
        disk.contents[directory.Vnode].write(0, b"\xff" * 2048)
        self.registry.surroundings.vnodes._limit = 0
        self.create(b"push it out of memory")
        self.assertEqual(disk.vnodes[directory.Vnode].type, DIRECTORY)
        self.refused(VolumeError.VSALVAGE, self.on(1).RemoveFile(directory, b"x"))
        self.refused(VolumeError.VSALVAGE, self.on(1).FetchStatus(ROOT))
