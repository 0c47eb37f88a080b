"""Volumes on servers, with their entries in the VLDB."""

from __future__ import annotations

from vos.operations.subject import Subject


class Volumes(Subject):
    """See the module. What each verb does is said where it is defined."""
