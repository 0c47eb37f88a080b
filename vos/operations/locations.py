"""Where volumes are."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from afs.rpc.volser import AFSVol
from vos.output import vice_name
from vos.session import Session


@dataclass(frozen=True, slots=True)
class Location:
    """A partition of a file server, as a session calls it."""

    session: Session
    server: IPv4Address
    partition: int

    @property
    def volser(self) -> AFSVol:
        """The volume server there."""
        return self.session.volser(self.server)

    @property
    def host(self) -> str:
        """How to show the server."""
        return self.session.name(self.server)

    def zap(self, volume: int) -> str:
        """The command that deletes a volume here without a look at the VLDB."""
        return f"vos zap {self.host} {vice_name(self.partition)} {volume}"

    def __str__(self) -> str:
        return f"{self.host} {vice_name(self.partition)}"
