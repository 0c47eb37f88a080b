"""A stock dafileserver lives in a cell whose vlserver is ours."""

from __future__ import annotations

from tests.interop.case import InteropTest, program
from tests.interop.ours import OurServers
from tests.interop.stock import add_node, address_of, create_world_writable, start_database, start_fileserver


class StockFileserverTests(InteropTest):
    """Our vlserver and a stock ptserver on fs1, a stock dafileserver without keys on fs2, beside ours on fs1."""

    async def test_registers_and_serves(self) -> None:
        """It registers its addresses with our vlserver, and stock vos and a FUSE client find its volumes there."""
        network = self.new_network()
        servers = OurServers(network, trusted=["fs2"])
        start_database(servers.node, ["ptserver"])
        stock = add_node(network, "fs2")
        (stock.home / "var-lib-openafs/local/NoAuth").touch()  # everyone may use its volume server
        start_fileserver(stock)
        registered = servers.vos("listaddrs", "-noresolve", "-printuuid").check().out
        self.assertIn(address_of("fs1"), registered)
        self.assertIn(address_of("fs2"), registered)

        create_world_writable(servers.vos, servers.node, "fs2", "remote")
        servers.vos("create", "fs1", "a", "local").check()
        listed = servers.vos("listvldb", "-server", "fs2").check().out
        self.assertIn("remote", listed)
        self.assertNotIn("local", listed)
        client = self.mounted(network)
        (await client.node.run(*program("plant"), client.volume("remote"), seconds=120)).check()
        examined = servers.vos("examine", "remote").check().out
        self.assertIn("server fs2.txafs.test partition /vicepa RW Site", examined)
