"""A real KDC in a node: MIT's krb5kdc, for the realm whose name is the cell's, with the cell's key and users."""

from __future__ import annotations

from pathlib import Path

from tests.interop.namespaces import Node, Result, wait_for
from tests.interop.stock import CELL

REALM = CELL.upper()
SERVICE = f"afs/{CELL}"
PROGRAMS = ("/usr/sbin/krb5kdc", "/usr/sbin/kadmin.local", "/usr/sbin/kdb5_util", "/usr/bin/kvno", "/usr/sbin/asetkey")

KRB5_CONF = """
[libdefaults]
 default_realm = {realm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 rdns = false
 dns_canonicalize_hostname = false
[realms]
 {realm} = {{
  kdc = {address}
 }}
"""
KDC_CONF = """
[kdcdefaults]
 kdc_listen = {address}:88
 kdc_tcp_listen = {address}:88
[realms]
 {realm} = {{
  database_name = {home}/principal
  key_stash_file = {home}/stash
  acl_file = {home}/acl
 }}
"""


def missing() -> str:
    """Why there can be no KDC here; empty when there can."""
    for program in PROGRAMS:
        if not Path(program).exists():
            return f"no {program} (Debian: krb5-kdc krb5-admin-server krb5-user openafs-krb5)"
    return ""


class Realm:
    """The realm, its KDC running in `node`. Users have their names as passwords."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.home = node.home / "kdc"
        self.home.mkdir()
        for name, text in (("krb5.conf", KRB5_CONF), ("kdc.conf", KDC_CONF)):
            (self.home / name).write_text(text.format(realm=REALM, address=node.address, home=self.home))
        self._run("kdb5_util", "create", "-s", "-r", REALM, "-P", "master").check()
        self.kdc = node.start("krb5kdc", ["/usr/sbin/krb5kdc", "-n"], self.variables())
        wait_for("krb5kdc to listen", lambda: 88 in node.udp_ports())

    def make_cell_key(self, enctype: str = "aes256-cts-hmac-sha1-96", number: int = 18) -> None:
        """Make the service principal and put its key into the node's KeyFileExt with the stock asetkey."""
        self._kadmin(f"addprinc -randkey -e {enctype}:normal {SERVICE}")
        keytab = self.home / "keytab"
        self._kadmin(f"ktadd -norandkey -k {keytab} {SERVICE}")
        self._run("asetkey", "add", "rxkad_krb5", "1", str(number), str(keytab), SERVICE).check()

    def make_user(self, name: str) -> None:
        """A principal."""
        self._kadmin(f"addprinc -pw {name} {name}")

    def cache(self, name: str) -> Path:
        """A credential cache with a ticket for the cell, as kinit and kvno leave it."""
        path = self.fresh_cache(name)
        self._run("kvno", "-c", f"FILE:{path}", SERVICE).check()
        return path

    def fresh_cache(self, name: str) -> Path:
        """One as kinit leaves it."""
        path = self.home / f"{name.replace('/', '-')}.ccache"
        self._run("kinit", "-c", f"FILE:{path}", name, stdin=f"{name}\n").check()
        return path

    def _kadmin(self, request: str) -> None:
        self._run("kadmin.local", "-r", REALM, "-q", request).check()

    def _run(self, *command: str, stdin: str = "") -> Result:
        variables = [f"{name}={value}" for name, value in self.variables().items()]
        return self.node.run_now("env", *variables, *command, stdin=stdin)

    def variables(self) -> dict[str, str]:
        """Of programs that are to find the realm."""
        return {"KRB5_CONFIG": str(self.home / "krb5.conf"), "KRB5_KDC_PROFILE": str(self.home / "kdc.conf")}
