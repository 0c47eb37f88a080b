"""What an operator decides about RXAFS; the options that say so are in `options.py`."""

from __future__ import annotations

from dataclasses import dataclass

from fileserver.callbacks import PROMISE_LIMIT
from fileserver.rights import IMPLICIT
from fileserver.subdomains import REFRESH_SECONDS

SPARE_BLOCKS = 1024
"""KiB by which a store may go over quota, so that a file once opened can be finished."""


@dataclass(frozen=True, slots=True)
class Rules:
    """In OpenAFS's words, whose defaults these are.

    `callbacks`: promises kept (`-cb`). `groups_refresh`: seconds that groups of machines are believed (`-hr`).
    `implicit`: rights of administrators everywhere (`-implicit`). `readonly`: nothing is written, but by administrators
    where `admin_write`. `spare`: KiB by which a store may go over quota, or, if `percent_spare` is given, per cent of
    the quota. `refuse_old_store_acl`: StoreACL under its old opcode is unknown (CVE-2018-7168).
    """

    callbacks: int = PROMISE_LIMIT
    groups_refresh: float = REFRESH_SECONDS
    implicit: int = IMPLICIT
    readonly: bool = False
    admin_write: bool = False
    spare: int = SPARE_BLOCKS
    percent_spare: int | None = None
    refuse_old_store_acl: bool = False

    def over_quota(self, quota: int) -> int:
        """KiB by which a store may go over a quota of so many."""
        return self.spare if self.percent_spare is None else quota * self.percent_spare // 100
