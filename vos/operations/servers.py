"""File servers, as the VLDB and their volume servers know them."""

from __future__ import annotations

from vos.operations.subject import Subject


class Servers(Subject):
    """See the module. What each verb does is said where it is defined."""
