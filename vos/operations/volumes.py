"""Volumes on servers, with their entries in the VLDB."""

from __future__ import annotations

from vos.operations import backups, carrying, creating, deleting, state
from vos.operations.subject import Subject


class Volumes(Subject):
    """See the module. What each verb does is said where it is defined."""

    create = creating.create
    remove = deleting.remove
    zap = deleting.zap
    nuke = deleting.nuke
    backup = backups.backup
    online = state.online
    offline = state.offline
    set_flags = state.set_flags
    set_fields = state.set_fields
    dump_size = state.dump_size
    move = carrying.move
    copy = carrying.copy
    shadow = carrying.shadow
    clone = carrying.clone
    release = carrying.release
    dump = carrying.dump
    restore = carrying.restore
    convert = carrying.convert
