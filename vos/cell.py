"""What can be done with the volumes of a cell, for programs: `cell.volumes`, `cell.vldb` and `cell.servers`.

Each of the three only lists its verbs; they are functions in `vos.operations`, in modules by subject.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from vos.operations.servers import Servers
from vos.operations.vldb import Vldb
from vos.operations.volumes import Volumes

if TYPE_CHECKING:
    from vos.session import Session


class Cell:
    """See the module."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def name(self) -> str:
        """The cell's."""
        return self.session.cell_name

    @cached_property
    def volumes(self) -> Volumes:
        """Volumes on servers, and their entries in the VLDB with them."""
        return Volumes(self.session)

    @cached_property
    def vldb(self) -> Vldb:
        """Entries of the VLDB alone."""
        return Vldb(self.session)

    @cached_property
    def servers(self) -> Servers:
        """File servers: their addresses in the VLDB, and what their volume servers are doing."""
        return Servers(self.session)
