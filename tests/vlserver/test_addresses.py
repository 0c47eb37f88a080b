"""Servers: registered by UUID, found by address, index and UUID, changed and removed (vldb.md section 6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from afs.errors import VLError
from afs.rpc.vl import VLADDR_INDEX, VLADDR_IPADDR, VLADDR_UUID, ListAddrByAttributes, VLCallBack
from tests.vlserver.support import VldbTest, entry, ip, uip
from vlserver.schema import Author

ONE, TWO, THREE = UUID(int=0x111 << 64), UUID(int=0x222 << 64), UUID(int=0x333 << 64)
REMOVE = 0xFFFFFFFF


def addresses(*last: int) -> tuple[int, ...]:
    """10.0.0.N for each N."""
    return tuple(uip(f"10.0.0.{number}") for number in last)


class AddressTest(VldbTest):
    """Helpers for the tests below."""

    async def register(self, uuid: UUID, *last: int) -> None:
        """RegisterAddrs of 10.0.0.N for each N."""
        await self.admin.RegisterAddrs(uuid, 0, addresses(*last))

    async def of(self, uuid: UUID) -> tuple[int, tuple[int, ...]]:
        """A server's uniquifier, and its addresses' last bytes."""
        found = await self.anyone.GetAddrsU(ListAddrByAttributes(Mask=VLADDR_UUID, uuid=uuid))
        self.assertEqual((found[0], found[2]), (uuid, len(found[3])))
        return found[1], tuple(address & 0xFF for address in found[3])

    async def words(self) -> list[int]:
        """What GetAddrs says."""
        spare, count, words = await self.anyone.GetAddrs(1, 2)
        self.assertEqual((spare, count), (VLCallBack(), len(words)))
        return list(words)


class RegisterTest(AddressTest):
    """RegisterAddrs."""

    async def test_new(self) -> None:
        """A new server gets a record with uniquifier 1; zeros and repeats are dropped, the order is kept."""
        await self.admin.RegisterAddrs(ONE, 0, (0, *addresses(3, 1, 3), 0, *addresses(2)))
        self.assertEqual(await self.of(ONE), (1, (3, 1, 2)))
        self.assertEqual(await self.words(), [0xFF000001])

    async def test_fifteen(self) -> None:
        """Addresses beyond the fifteenth are dropped."""
        await self.register(ONE, *range(1, 20))
        self.assertEqual(await self.of(ONE), (1, tuple(range(1, 16))))

    async def test_nothing(self) -> None:
        """No address at all is VL_INDEXERANGE; the nil UUID is refused."""
        await self.refused(VLError.VL_INDEXERANGE, self.admin.RegisterAddrs(ONE, 0, ()))
        await self.refused(VLError.VL_INDEXERANGE, self.admin.RegisterAddrs(ONE, 0, (0, 0)))
        await self.refused(VLError.VL_BADENTRY, self.register(UUID(int=0), 1))

    async def test_again(self) -> None:
        """The same list again writes nothing; another list or order is taken and bumps the uniquifier."""
        await self.register(ONE, 1, 2)
        revision = self.vldb.store.revision
        await self.register(ONE, 1, 2)
        self.assertEqual((self.vldb.store.revision, await self.of(ONE)), (revision, (1, (1, 2))))
        await self.register(ONE, 2, 1)
        self.assertEqual(await self.of(ONE), (2, (2, 1)))
        await self.register(ONE, 4)
        self.assertEqual(await self.of(ONE), (3, (4,)))

    async def test_single_homed_is_taken_over(self) -> None:
        """A server known by address alone becomes the registered one: its volumes are now the UUID's."""
        await self.admin.CreateEntryN(entry())
        self.assertEqual(await self.words(), [uip("10.0.0.1")])
        await self.register(ONE, 7, 1)
        self.assertEqual(await self.words(), [0xFF000001])
        found = await self.anyone.GetEntryByNameU(b"vol")
        self.assertEqual((found.serverNumber[0], found.serverUnique[0]), (ONE, 1))
        self.assertEqual((await self.anyone.GetEntryByNameN(b"vol")).serverNumber[0], ip("10.0.0.7"))

    async def test_new_uuid(self) -> None:
        """A new UUID with an address of one other server takes that server over, whether all or some match."""
        await self.register(ONE, 1, 2)
        await self.register(TWO, 1, 2, 3)
        self.assertEqual(await self.of(TWO), (2, (1, 2, 3)))
        await self.register(THREE, 3, 9)
        self.assertEqual(await self.of(THREE), (3, (3, 9)))
        for uuid in (ONE, TWO):
            await self.refused(VLError.VL_NOENT, self.of(uuid))
        self.assertEqual(await self.words(), [0xFF000001])

    async def test_conflicts(self) -> None:
        """A new UUID that matches two servers, or a known one that would swallow another, is VL_MULTIPADDR."""
        await self.register(ONE, 1, 2)
        await self.register(TWO, 3, 4)
        await self.refused(VLError.VL_MULTIPADDR, self.register(THREE, 1, 3))
        await self.refused(VLError.VL_MULTIPADDR, self.register(ONE, 1, 3, 4))
        await self.admin.CreateEntryN(entry(sites=[("10.0.0.8", 0, 4)]))
        await self.refused(VLError.VL_MULTIPADDR, self.register(ONE, 1, 8))

    async def test_shared_addresses_move(self) -> None:
        """A known server takes some of another's addresses; the other loses them and is bumped."""
        await self.register(ONE, 1)
        await self.register(TWO, 2, 3, 4)
        await self.register(ONE, 1, 3)
        self.assertEqual([await self.of(ONE), await self.of(TWO)], [(2, (1, 3)), (2, (2, 4))])

    async def test_records_run_out(self) -> None:
        """252 servers can have a record; the next is VL_REPSFULL, and pointers count blocks of 63."""
        for number in range(252):
            await self.admin.RegisterAddrs(UUID(int=(number + 1) << 64), 0, (uip("10.1.0.0") + number,))
        words = await self.words()
        self.assertEqual([words[0], words[62], words[63], words[251]], [0xFF000001, 0xFF00003F, 0xFF010001, 0xFF03003F])
        await self.refused(VLError.VL_REPSFULL, self.register(ONE, 1))

    async def test_bad_addresses(self) -> None:
        """More than the interface's 500 addresses do not decode: nothing is registered."""
        with self.assertRaises(Exception):  # noqa: B017  whatever the codec calls it
            await self.admin.RegisterAddrs(ONE, 0, range(1, 502))
        self.assertEqual(await self.words(), [])


class AskTest(AddressTest):
    """GetAddrsU and GetAddrs."""

    async def test_by_each(self) -> None:
        """A server is found by any address, by its slot counted from one, and by UUID."""
        await self.register(ONE, 1)
        await self.register(TWO, 2, 3)
        expected = (TWO, 1, 2, addresses(2, 3))
        for wanted in (
            ListAddrByAttributes(Mask=VLADDR_IPADDR, ipaddr=addresses(3)[0]),
            ListAddrByAttributes(Mask=VLADDR_INDEX, index=2),
            ListAddrByAttributes(Mask=VLADDR_UUID, uuid=TWO),
            ListAddrByAttributes(Mask=VLADDR_UUID | 0x100, uuid=TWO),
        ):
            self.assertEqual(await self.anyone.GetAddrsU(wanted), expected)

    async def test_not_found(self) -> None:
        """Unknown, empty and single-homed slots are VL_NOENT; an index outside 1..254 is VL_INDEXERANGE."""
        await self.admin.CreateEntryN(entry())
        for wanted in (
            ListAddrByAttributes(Mask=VLADDR_IPADDR, ipaddr=addresses(1)[0]),
            ListAddrByAttributes(Mask=VLADDR_IPADDR, ipaddr=0),
            ListAddrByAttributes(Mask=VLADDR_INDEX, index=1),
            ListAddrByAttributes(Mask=VLADDR_INDEX, index=254),
            ListAddrByAttributes(Mask=VLADDR_UUID, uuid=ONE),
            ListAddrByAttributes(Mask=VLADDR_UUID),
        ):
            await self.refused(VLError.VL_NOENT, self.anyone.GetAddrsU(wanted))
        for index in (0, -1, 255, 256, 1 << 30):
            wanted = ListAddrByAttributes(Mask=VLADDR_INDEX, index=index)
            await self.refused(VLError.VL_INDEXERANGE, self.anyone.GetAddrsU(wanted))

    async def test_masks(self) -> None:
        """Exactly one of the three bits, or VL_BADMASK."""
        await self.register(ONE, 1)
        for mask in (0, 8, 3, 5, 6, 7):
            wanted = ListAddrByAttributes(Mask=mask, ipaddr=addresses(1)[0], index=1, uuid=ONE)
            await self.refused(VLError.VL_BADMASK, self.anyone.GetAddrsU(wanted))


class ChangeTest(AddressTest):
    """ChangeAddr."""

    async def test_changed(self) -> None:
        """A single-homed server gets another address, and its volumes with it."""
        await self.admin.CreateEntryN(entry())
        await self.admin.ChangeAddr(*addresses(1, 9))
        self.assertEqual((await self.anyone.GetEntryByNameN(b"vol")).serverNumber[0], ip("10.0.0.9"))
        await self.admin.ChangeAddr(*addresses(9, 9))

    async def test_refusals(self) -> None:
        """Registered servers cannot be changed so; taken, unknown and impossible addresses are refused."""
        await self.admin.CreateEntryN(entry(sites=[("10.0.0.1", 0, 4), ("10.0.0.2", 0, 2)]))
        await self.register(ONE, 5, 6)
        for old, new, code in (
            (5, 9, VLError.VL_NOENT),
            (5, 6, VLError.VL_NOENT),
            (8, 9, VLError.VL_NOENT),
            (1, 2, VLError.VL_MULTIPADDR),
            (1, 6, VLError.VL_MULTIPADDR),
            (5, 1, VLError.VL_MULTIPADDR),
        ):
            await self.refused(code, self.admin.ChangeAddr(*addresses(old, new)))
        await self.refused(VLError.VL_BADSERVER, self.admin.ChangeAddr(addresses(1)[0], uip("255.1.2.3")))
        await self.refused(VLError.VL_BADSERVER, self.admin.ChangeAddr(REMOVE, REMOVE))
        await self.refused(VLError.VL_NOENT, self.admin.ChangeAddr(REMOVE, addresses(77)[0]))

    async def test_removed(self) -> None:
        """A server without volumes is removed, by any address; one with volumes is VL_IDEXIST."""
        await self.register(ONE, 5, 6)
        await self.admin.CreateEntryN(entry(sites=[("10.0.0.1", 0, 4), ("10.0.0.6", 0, 2)]))
        for last in (1, 5, 6):
            await self.refused(VLError.VL_IDEXIST, self.admin.ChangeAddr(REMOVE, addresses(last)[0]))
        await self.admin.DeleteEntry(100, 0)
        await self.admin.ChangeAddr(REMOVE, addresses(6)[0])
        await self.admin.ChangeAddr(addresses(1)[0], 0)
        self.assertEqual(await self.words(), [])
        left: Any = await self.vldb.store.read(lambda t: (t.servers(), t.partitions()))
        self.assertEqual(left, ([], []))

    async def test_uniquifier_goes_on(self) -> None:
        """A server removed and registered again has a higher uniquifier: clients must not keep its old addresses."""
        await self.register(ONE, 1)
        await self.register(ONE, 2)
        await self.admin.ChangeAddr(REMOVE, addresses(2)[0])
        await self.register(ONE, 3)
        self.assertEqual(await self.of(ONE), (3, (3,)))

    async def test_explicit_partition_survives(self) -> None:
        """A partition object that was made on purpose outlives the removal of its server, without owner."""
        await self.admin.CreateEntryN(entry())

        def name_it(transaction: Any) -> None:
            transaction.put_partition(replace(transaction.partitions()[0], implicit=False, name="disk"))

        await self.vldb.store.write(name_it, Author("test", "test"))
        await self.admin.DeleteEntry(100, 0)
        await self.admin.ChangeAddr(REMOVE, addresses(1)[0])
        (left,) = await self.vldb.store.read(lambda t: t.partitions())
        self.assertEqual((left.name, left.owner, left.last_owner), ("disk", None, None))
