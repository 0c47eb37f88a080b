"""RXAFS as this server answers it, one class a theme. `procedures(server)` is what an Rx server is given."""

from __future__ import annotations

from collections.abc import Callable

from fileserver.procedures.acls import ACLs
from fileserver.procedures.base import ServerCall
from fileserver.procedures.callbacks import Callbacks
from fileserver.procedures.files import Files
from fileserver.procedures.locks import Locks
from fileserver.procedures.obsolete import Obsolete
from fileserver.procedures.renames import Renames
from fileserver.procedures.statistics import Statistics
from fileserver.procedures.volumes import Volumes
from fileserver.server import FileServer

__all__ = ["Procedures", "procedures"]


class Procedures(Files, Renames, ACLs, Locks, Volumes, Callbacks, Statistics, Obsolete):
    """All 43 RPCs."""


def procedures(server: FileServer) -> Callable[[ServerCall], Procedures]:
    """The factory for `rx.server.Server.add(RXAFS, ...)`."""

    def begin(call: ServerCall) -> Procedures:
        return Procedures(server, call)

    return begin
