"""Configuration directories and the host's addresses."""

import subprocess
from ipaddress import IPv4Address
from pathlib import Path
from shutil import which
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from afs.addresses import own_addresses
from afs.cells import (
    Cell,
    ConfigurationError,
    DatabaseServer,
    chosen_addresses,
    default_address,
    format_cellservdb,
    parse_cellservdb,
    parse_netfile,
    read_configuration,
    write_configuration,
)

CELLSERVDB = """\
>grand.central.org  #GCO Public CellServDB
18.9.48.14                    #grand.mit.edu
[128.2.13.219]                #grand-old-opry.central.org

# a comment
>linked.test lab.test\t# joined
10.0.0.1 #one
>dns.test       #servers are in DNS
"""
OWN = [IPv4Address("127.0.0.1"), IPv4Address("10.0.0.5"), IPv4Address("10.1.2.3"), IPv4Address("192.0.2.7")]


class CellServDBTests(SynchronousTestCase):
    """CellServDB."""

    def test_parse(self) -> None:
        """Cells with their comments, linked cells, clones in brackets, cells without servers."""
        gco, linked, dns = parse_cellservdb(CELLSERVDB)
        self.assertEqual((gco.name, gco.description), ("grand.central.org", "GCO Public CellServDB"))
        self.assertEqual(
            gco.servers,
            (
                DatabaseServer(IPv4Address("18.9.48.14"), "grand.mit.edu"),
                DatabaseServer(IPv4Address("128.2.13.219"), "grand-old-opry.central.org", clone=True),
            ),
        )
        self.assertEqual((linked.linked, linked.description), ("lab.test", "joined"))
        self.assertEqual(dns.servers, ())

    def test_format(self) -> None:
        """What is written reads back the same, and every server has the name that stock programs require."""
        cells = parse_cellservdb(CELLSERVDB)
        self.assertEqual(parse_cellservdb(format_cellservdb(cells)), cells)
        text = format_cellservdb([Cell("a.test", (DatabaseServer(IPv4Address("10.0.0.1")),))])
        self.assertEqual(text, ">a.test\t#a.test\n10.0.0.1\t#10.0.0.1\n")

    def test_malformed(self) -> None:
        """A line that cannot be understood is named."""
        for text in (
            "10.0.0.1 #early\n",
            ">\n",
            ">a b c\n",
            ">a\n10.0.0\n",
            ">a\n10.0.0.256 #x\n",
            ">a\n[10.0.0.1 #x\n",
        ):
            error = self.assertRaises(ConfigurationError, parse_cellservdb, text, "FILE")
            self.assertIn(f"FILE:{text.count(chr(10))}:", str(error))


class ConfigurationTests(SynchronousTestCase):
    """Configuration directories."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def test_round_trip(self) -> None:
        """A directory that was written is read as the cell it was written for; writing again replaces it."""
        for address in ("10.0.0.1", "10.0.0.2"):
            cell = Cell("txafs.test", (DatabaseServer(IPv4Address(address), "db"),), description="Test")
            write_configuration(self.directory, cell)
            configuration = read_configuration(self.directory)
            self.assertEqual(configuration.this_cell, "txafs.test")
            self.assertEqual(configuration.cell(), cell)
            self.assertEqual(configuration.cell("TXAFS.Test"), cell)
        self.assertEqual(sorted(each.name for each in self.directory.iterdir()), ["CellServDB", "ThisCell"])

    def test_missing(self) -> None:
        """A missing file or cell is named."""
        error = self.assertRaises(ConfigurationError, read_configuration, self.directory)
        self.assertIn("ThisCell", str(error))
        write_configuration(self.directory, Cell("a.test"))
        error = self.assertRaises(ConfigurationError, read_configuration(self.directory).cell, "b.test")
        self.assertIn("b.test", str(error))

    def test_empty_this_cell(self) -> None:
        """A ThisCell without a name is refused."""
        write_configuration(self.directory, Cell("a.test"))
        (self.directory / "ThisCell").write_text("\n")
        self.assertRaises(ConfigurationError, read_configuration, self.directory)


class AddressTests(SynchronousTestCase):
    """Which addresses a server registers."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def chosen(self, netinfo: str | None = None, netrestrict: str | None = None) -> list[str]:
        for name, text in (("NetInfo", netinfo), ("NetRestrict", netrestrict)):
            if text is not None:
                (self.directory / name).write_text(text)
        return [str(each) for each in chosen_addresses(self.directory, OWN)]

    def test_all(self) -> None:
        """Without files: all but loopback."""
        self.assertEqual(self.chosen(), ["10.0.0.5", "10.1.2.3", "192.0.2.7"])

    def test_netinfo(self) -> None:
        """NetInfo selects and orders; what the host does not have is ignored unless forced."""
        self.assertEqual(self.chosen("192.0.2.7\n10.0.0.5\n10.9.9.9\n"), ["192.0.2.7", "10.0.0.5"])

    def test_forced(self) -> None:
        """`f` registers an address no interface has, such as that of a NAT gateway."""
        self.assertEqual(self.chosen("f 203.0.113.1\nF203.0.113.2\n10.0.0.5\n")[1:], ["203.0.113.2", "10.0.0.5"])

    def test_networks(self) -> None:
        """Both files take networks; bytes left out are 0."""
        self.assertEqual(self.chosen("10/8\n"), ["10.0.0.5", "10.1.2.3"])

    def test_netrestrict(self) -> None:
        """NetRestrict takes addresses away, from what NetInfo forced too."""
        self.assertEqual(self.chosen("f 203.0.113.1\n10/8\n", "10.1.0.0/16\n203.0.113.1\n"), ["10.0.0.5"])

    def test_malformed(self) -> None:
        """A line that is no address is named; a forced network is none."""
        for text in ("10.0.0.0/33\n", "name\n", "f\n", "f 10/8\n", "10.0.0.1 10.0.0.2\n", "1.2.3.4.5\n"):
            error = self.assertRaises(ConfigurationError, parse_netfile, text, "NetInfo")
            self.assertIn("NetInfo:1", str(error))
        self.assertEqual(parse_netfile("\n# nothing\n", "NetInfo"), [])

    def test_limit(self) -> None:
        """Sixteen addresses at most are registered."""
        many = [IPv4Address("10.0.0.0") + each for each in range(1, 30)]
        self.assertEqual(chosen_addresses(self.directory, many), many[:16])

    def test_default(self) -> None:
        """The first address that is not loopback; on a host without one, 127.0.0.1."""
        self.assertEqual(default_address(OWN), IPv4Address("10.0.0.5"))
        self.assertEqual(default_address(OWN[:1]), IPv4Address("127.0.0.1"))

    def test_own(self) -> None:
        """A host has loopback, and no address twice."""
        own = own_addresses()
        self.assertIn(IPv4Address("127.0.0.1"), own)
        self.assertEqual(len(own), len(set(own)))

    @skipUnless(which("ip"), "ip (iproute2) is not there to compare with")
    def test_own_as_ip_says(self) -> None:
        """The same addresses as `ip -4 addr` shows on interfaces that are up."""
        shown = subprocess.run(
            ["ip", "-4", "-oneline", "addr", "show", "up"], check=True, capture_output=True, text=True
        )
        addresses = {IPv4Address(line.split()[3].partition("/")[0]) for line in shown.stdout.splitlines()}
        self.assertEqual(set(own_addresses()), addresses)
