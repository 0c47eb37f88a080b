"""Authentication between stock programs and ours: -localauth, a real KDC's tickets, and who is refused.

Stock programs have a user's token only through a kernel module (aklog cannot store it without), so with a user's
ticket it is always our client that calls.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Any

from twisted.internet.threads import deferToThread

from afs.authentication import Authentication
from afs.client import FileClient
from afs.credentials import for_cell, read_cache
from afs.errors import PrError, RxkadError, VLError, VolserError
from afs.keys import Key, KeyKind, KeyStore, local_token, random_key, write_key_file_ext
from afs.rpc.pr import PR
from afs.rpc.vl import VL
from rx.errors import Abort
from rx.security.rxkad import ENCRYPTED_PART, WHOLE_TICKET, Level, RxkadClient
from rx.service import Service, rpc
from tests.interop import kerberos
from tests.interop.case import InteropTest
from tests.interop.kerberos import Realm
from tests.interop.namespaces import Network, Node, Result, wait_for
from tests.interop.ours import OurCell, start_plugin, wait_until_said
from tests.interop.stock import CELL, add_node, address_of, key_file_ext, start_database, start_fileserver
from xdr import String

BZACCESS = 39430
FOREVER = 0.0
"""A moment at which every ticket is still valid."""


class BOZO(Service, service_id=1):
    """As much of bosserver's service as shows who it takes us for (bosint.xg)."""

    @rpc(87)
    async def AddSUser(self, name: Annotated[bytes, String(256)]) -> None:
        raise NotImplementedError

    @rpc(88)
    async def DeleteSUser(self, name: Annotated[bytes, String(256)]) -> None:
        raise NotImplementedError


def config(node: Node) -> Path:
    """A node's server configuration directory, as the host sees it."""
    return node.home / "etc-openafs/server"


class OurAuthenticatedServers:
    """Our vlserver and fileserver on a node with a key, everybody else being nobody."""

    def __init__(self, node: Node, *options: str) -> None:
        self.node = node
        database = f"sqlite:///{node.home}/vldb.sqlite"
        common = ["--address", node.address, "--tap", f"pcap:{self.capture}", *options]
        self.vlserver = start_plugin(node, "afs-vlserver", *common, "--database", database)
        state = ["--state", str(node.home / "state"), "--partition", "/vicepa", "--protection", "none"]
        self.fileserver = start_plugin(node, "afs-fileserver", *common, *state)
        wait_until_said(self.fileserver, "serving AFSVol")  # which it does behind its registration

    @property
    def capture(self) -> Path:
        """What the servers saw, as their tap wrote it."""
        return self.node.home / "seen.pcap"

    def vos(self, *words: str) -> Result:
        """Stock vos with the cell's key."""
        return self.node.run_now("vos", *words, "-localauth")


class Case(InteropTest):
    """Helpers."""

    async def refused(self, code: int, awaitable: Awaitable[Any]) -> None:
        try:
            await awaitable
        except Abort as refusal:
            self.assertEqual(refusal.code, code, str(refusal))
        else:
            self.fail(f"was not refused with {code}")

    def with_ticket(self, node: Node, cache: Path, kvno: int, level: Level) -> FileClient:
        """Our client with the ticket in a credential cache."""
        token = for_cell(read_cache(cache), CELL, FOREVER).token(kvno)
        return self.own_client(node, security=lambda: RxkadClient(token, level))


class StockVosTests(Case):
    """Stock vos with the cell's key against our servers."""

    async def test_localauth(self) -> None:
        """Who has the key administers, in the clear and encrypted; nobody else changes anything."""
        node = add_node(self.new_network(), "fs1", key=os.urandom(32))
        servers = await deferToThread(OurAuthenticatedServers, node)
        for words in (
            "create fs1 a secret.one",
            "create fs1 a secret.two -encrypt",
            "examine secret.two -encrypt",
            "rename secret.two secret.three -encrypt",
            "backup secret.three -encrypt",
            "listvol fs1 -encrypt",
            "listvldb -encrypt",
            "remove -id secret.one",
        ):
            (await deferToThread(servers.vos, *words.split())).check()
        for words in ("create fs1 a nobodys -noauth", "remove -id secret.three -noauth", "create fs1 a nobodys"):
            result = await node.run("vos", *words.split())
            self.assertNotEqual(result.status, 0, result.command)
            self.assertIn("no permission access", result.err + result.out)
        listed = (await node.run("vos", "listvldb", "-noauth")).out
        self.assertIn("secret.three", listed)
        self.assertNotIn("nobodys", listed)

    async def test_encrypted_on_the_wire(self) -> None:
        """`-encrypt` encrypts: names that are seen without it are not seen with it (advisory 2013-004)."""
        node = add_node(self.new_network(), "fs1", key=os.urandom(32))
        servers = await deferToThread(OurAuthenticatedServers, node)
        (await deferToThread(servers.vos, "create", "fs1", "a", "seen.plainly")).check()
        (await deferToThread(servers.vos, "create", "fs1", "a", "seen.never", "-encrypt")).check()
        (await deferToThread(servers.vos, "examine", "seen.never", "-encrypt")).check()
        seen = servers.capture.read_bytes()
        self.assertIn(b"seen.plainly", seen)
        self.assertNotIn(b"seen.never", seen)

    async def test_encryption_required(self) -> None:
        """A server that asks for encryption gets it from a vos that has it, and refuses one that does not."""
        node = add_node(self.new_network(), "fs1", key=os.urandom(32))
        servers = await deferToThread(OurAuthenticatedServers, node, "--rxkad-level", "crypt")
        (await deferToThread(servers.vos, "create", "fs1", "a", "sealed", "-encrypt")).check()
        result = await deferToThread(servers.vos, "create", "fs1", "a", "open")
        self.assertNotEqual(result.status, 0)
        self.assertIn("Security level negotiation failed", result.err)

    async def test_another_key(self) -> None:
        """Another key of the same version is no good ticket, one of another version an unknown key."""
        network = self.new_network()
        node = add_node(network, "fs1", key=os.urandom(32))
        servers = await deferToThread(OurAuthenticatedServers, node)
        stranger = add_node(network, "ca", key=os.urandom(32))
        result = await stranger.run("vos", "create", "fs1", "a", "stolen", "-localauth")
        self.assertNotEqual(result.status, 0)
        self.assertIn("ticket", result.out + result.err)
        write_key_file_ext(config(stranger), [random_key(kvno=9)])
        result = await stranger.run("vos", "create", "fs1", "a", "stolen", "-localauth")
        self.assertIn("key version", result.out + result.err)
        self.assertNotIn("stolen", (await deferToThread(servers.vos, "listvldb")).out)

    async def test_new_key(self) -> None:
        """A key put into KeyFileExt is taken at once by running servers, and one removed is not any more."""
        network = self.new_network()
        old, new = os.urandom(32), random_key(kvno=2)
        node = add_node(network, "fs1", key=old)
        holder = add_node(network, "ca", key=old)
        servers = await deferToThread(OurAuthenticatedServers, node)
        (await holder.run("vos", "create", "fs1", "a", "first", "-localauth")).check()
        write_key_file_ext(config(node), [Key(KeyKind.RXKAD_KRB5, 1, 18, old), new])
        (await holder.run("vos", "create", "fs1", "a", "second", "-localauth")).check()
        write_key_file_ext(config(node), [new])
        self.assertNotEqual((await holder.run("vos", "create", "fs1", "a", "third", "-localauth")).status, 0)
        (await deferToThread(servers.vos, "create", "fs1", "a", "fourth")).check()

    async def test_damaged_key_file(self) -> None:
        """Half a KeyFileExt leaves running servers with the keys they had."""
        key = os.urandom(32)
        network = self.new_network()
        node, holder = add_node(network, "fs1", key=key), add_node(network, "ca", key=key)
        servers = await deferToThread(OurAuthenticatedServers, node)
        (config(node) / "KeyFileExt").write_bytes(key_file_ext(key)[:30])
        (await holder.run("vos", "create", "fs1", "a", "kept", "-localauth")).check()
        self.assertIn("left as it was before", servers.vlserver.tail())


class PrintedCommandsTests(Case):
    """What `afs-cell` prints for people to try."""

    async def test_with_the_key(self) -> None:
        """Every vos command works, in the order they are printed; without the key nobody changes anything."""
        cell = await self.everything_printed_works()
        result = await deferToThread(cell.vos, "create", "fs1", "a", "nobodys")
        self.assertIn("no permission access", result.err)

    async def test_noauth(self) -> None:
        """So it does with --noauth, where nobody needs the key."""
        cell = await self.everything_printed_works("--noauth")
        self.assertNotIn("-localauth", cell.output())

    async def everything_printed_works(self, *options: str) -> OurCell:
        cell = await deferToThread(OurCell, self.new_network(), options)
        commands = [line.split() for line in cell.output().splitlines() if line.startswith("vos ")]
        self.assertGreater(len(commands), 4)
        for command in commands:
            (await cell.node.run(*command)).check()
        return cell


class StockCellCase(Case):
    """A stock cell with bosserver, whose key came from a KDC."""

    skip = InteropTest.skip or kerberos.missing() or None

    def stock_cell(self, network: Network) -> Realm:
        """Every stock server on fs1, its key from the KDC that runs there too; users admin and alice."""
        node = add_node(network, "fs1")
        realm = Realm(node)
        realm.make_cell_key()
        realm.make_user("admin")
        realm.make_user("alice")
        start_database(node)
        start_fileserver(node)
        node.start("bosserver", ["/usr/sbin/bosserver", "-nofork"])
        wait_for("bosserver to serve", lambda: 7007 in node.udp_ports())
        return realm

    async def administers(self, client: FileClient, name: bytes) -> None:
        """Everything that only an administrator may do, at each of the stock servers."""
        host = address_of("fs1")
        vl, volser = client.vl((host, 7003)), client.volser((host, 7005))
        volume_id = await vl.GetNewVolumeId(1)
        _, transaction = await volser.CreateVolume(0, name, 0, 0, volume_id)
        await volser.SetFlags(transaction, 0)
        await volser.EndTrans(transaction)
        infos = await volser.ListVolumes(0, 1)
        self.assertIn(name, [info.name for info in infos])
        bozo = BOZO.client(client.caller((host, 7007), BOZO.service_id))
        await bozo.AddSUser(name)
        await bozo.DeleteSUser(name)
        await client.fs((host, 7000)).GetTime()

    async def is_nobody_special(self, client: FileClient) -> None:
        """The same is refused, each server with its own code."""
        host = address_of("fs1")
        await self.refused(VLError.VL_PERM, client.vl((host, 7003)).GetNewVolumeId(1))
        volser = client.volser((host, 7005))
        await self.refused(VolserError.VOLSERBAD_ACCESS, volser.CreateVolume(0, b"nobodys", 0, 0, 536870999))
        bozo = BOZO.client(client.caller((host, 7007), BOZO.service_id))
        await self.refused(BZACCESS, bozo.AddSUser(b"nobody"))


class OurClientAndStockServersTests(StockCellCase):
    """Our client's end of rxkad, judged by stock servers."""

    async def test_stock_servers_take_our_tickets(self) -> None:
        """Vlserver, volserver, fileserver, ptserver and bosserver know who calls: with the cell's key, and with the
        tickets a KDC issued to an administrator and to a user, of either kind, at every level.
        """
        network = self.new_network()
        realm = await deferToThread(self.stock_cell, network)
        caller = add_node(network, "ca")
        key = KeyStore(config(realm.node)).latest()
        assert key is not None
        await self.own_key(caller, key)
        admin, alice = realm.cache("admin"), realm.cache("alice")
        for index, (level, kvno) in enumerate(
            (level, kvno) for level in Level for kvno in (WHOLE_TICKET, ENCRYPTED_PART)
        ):
            await self.administers(self.with_ticket(caller, admin, kvno, level), b"kdc.%d" % index)
            await self.is_nobody_special(self.with_ticket(caller, alice, kvno, level))
        await self.is_nobody_special(self.own_client(caller))
        await self.wrong_keys(caller, key)

    async def own_key(self, caller: Node, key: Key) -> None:
        """As the holder of the key, at every level; the protection server makes an entry for nobody else."""
        for level in Level:
            client = self.own_client(caller, security=lambda level=level: RxkadClient(local_token(key), level))
            await self.administers(client, b"own.%d" % level)
            pr = PR.client(client.caller((address_of("fs1"), 7002), PR.service_id))
            name = b"user%d" % level
            (user,) = await pr.NameToID((name,))
            self.assertEqual(user, 32766)
            made = await pr.NewEntry(name, 0, 0)
            self.assertEqual(await pr.NameToID((name,)), (made,))
        pr = PR.client(self.own_client(caller).caller((address_of("fs1"), 7002), PR.service_id))
        await self.refused(PrError.PRPERM, pr.NewEntry(b"nobody", 0, 0))

    async def wrong_keys(self, caller: Node, key: Key) -> None:
        """Stock servers answer what ours do to keys that are not the cell's."""
        vl_address = (address_of("fs1"), 7003)
        for wrong, code in (
            (Key(key.kind, key.kvno, key.enctype, os.urandom(32)), RxkadError.RXKADBADTICKET),
            (Key(key.kind, key.kvno + 1, key.enctype, key.value), RxkadError.RXKADUNKNOWNKEY),
        ):
            client = self.own_client(caller, security=lambda wrong=wrong: RxkadClient(local_token(wrong)))
            await self.refused(code, client.vl(vl_address).GetNewVolumeId(1))


class OurClientAndServersTests(StockCellCase):
    """Both ends ours, the tickets a real KDC's."""

    async def test_users(self) -> None:
        """A user is who the KDC says: an administrator when UserList has him, in Kerberos 5's form too; the cell's
        realm is its own, and a session key of AES works through its DES key.
        """
        network = self.new_network()
        node = add_node(network, "fs1")
        realm = await deferToThread(Realm, node)
        for user in ("admin", "alice", "root/admin"):
            realm.make_user(user)
        realm.make_cell_key()
        (config(node) / "UserList").write_text("admin\nroot/admin\n")
        await deferToThread(OurAuthenticatedServers, node)
        caller = add_node(network, "ca")
        vl_address = (address_of("fs1"), 7003)
        for level in Level:
            for user in ("admin", "root/admin"):
                client = self.with_ticket(caller, realm.cache(user), WHOLE_TICKET, level)
                self.assertGreater(await client.vl(vl_address).GetNewVolumeId(1), 0)
            vl: VL = self.with_ticket(caller, realm.cache("alice"), ENCRYPTED_PART, level).vl(vl_address)
            await self.refused(VLError.VL_PERM, vl.GetNewVolumeId(1))
        (config(node) / "UserList").write_text("alice\n")
        await vl.GetNewVolumeId(1)

    async def test_every_enctype(self) -> None:
        """Cells whose key is of any AES enctype, the SHA-2 ones included."""
        for number, enctype in (
            (17, "aes128-cts-hmac-sha1-96"),
            (19, "aes128-cts-hmac-sha256-128"),
            (20, "aes256-cts-hmac-sha384-192"),
        ):
            network = self.new_network()
            node = add_node(network, "fs1")
            realm = await deferToThread(Realm, node)
            realm.make_user("admin")
            realm.make_cell_key(enctype, number)
            await deferToThread(OurAuthenticatedServers, node)
            client = self.with_ticket(node, realm.cache("admin"), WHOLE_TICKET, Level.CRYPT)
            self.assertGreater(await client.vl((address_of("fs1"), 7003)).GetNewVolumeId(1), 0)
            own = Authentication(KeyStore(config(node)))
            client = self.own_client(node, security=own.own)
            self.assertGreater(await client.vl((address_of("fs1"), 7003)).GetNewVolumeId(1), 0)
