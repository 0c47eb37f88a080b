"""What verbs are methods of."""

from __future__ import annotations

from ipaddress import IPv4Address

from afs.errors import VLError
from afs.names import parse_partition
from rx.errors import Abort
from vos.entries import volume_id
from vos.session import Session

Server = IPv4Address | str
"""An address, or the name of a machine."""

Partition = int | str
"""A number, or a name like `a` or `/vicepa`."""

Volume = int | str
"""An id, or a name."""


class Subject:
    """Something in a cell that can be worked on, as a session sees it."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def server(self, given: Server) -> IPv4Address:
        """Raises CommandError for a name that is of no machine."""
        return given if isinstance(given, IPv4Address) else self.session.server(given)

    def partition(self, given: Partition) -> int:
        """Raises ValueError for a name that is of no partition."""
        return given if isinstance(given, int) else parse_partition(given)

    async def volume(self, given: Volume) -> int:
        """Raises Abort VL_NOENT for a name that is of no volume."""
        found = given if isinstance(given, int) else await volume_id(self.session, given)
        if not found:
            raise Abort(VLError.VL_NOENT, f"there is no volume {given}")
        return found
