"""Entries of the VLDB."""

from __future__ import annotations

from vos.operations import listings, locks, renaming, sites, sync
from vos.operations.subject import Subject


class Vldb(Subject):
    """See the module. What each verb does is said where it is defined."""

    get = listings.get
    entries = listings.entries
    delete = listings.delete
    lock = locks.lock
    unlock = locks.unlock
    rename = renaming.rename
    add_site = sites.add_site
    remove_site = sites.remove_site
    change_location = sites.change_location
    sync_volume = sync.sync_volume
    sync_vldb = sync.sync_vldb
    sync_server = sync.sync_server
