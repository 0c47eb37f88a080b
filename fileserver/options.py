"""Options of afs-fileserver about its volumes, in OpenAFS's words where they mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afs.limits import whole
from fileserver.volume.interfaces import HOLD_LIMIT, HoldLimits
from fileserver.volume.vlru import INTERVAL_SECONDS, MOST_DETACHED, ROOM, THRESHOLD_SECONDS, VlruSettings

VOLUME_OPTIONS = [
    ["vlruthresh", None, THRESHOLD_SECONDS // 60, "Minutes without use after which a volume is detached.", whole(1)],
    ["vlruinterval", None, INTERVAL_SECONDS, "Seconds between looks at idle volumes.", whole(1)],
    ["vlrumax", None, MOST_DETACHED, "Volumes detached at one look.", whole(1)],
    ["max-attached", None, ROOM, "Volumes attached at a time; the longest unused make room.", whole(1)],
    ["hold-limit", None, int(HOLD_LIMIT), "Seconds a call is held for a volume that is busy or salvaged.", whole(0)],
]

VOLUME_FLAGS = [
    ["vlrudisable", None, "Do not detach volumes for being idle."],
    ["fs-state-dont-save", None, "Do not keep hosts and callbacks on the partitions at a clean shutdown."],
    ["fs-state-dont-restore", None, "Do not take what is kept there at start."],
]


def volume_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `Settings` that these options make."""
    return {
        "vlru": VlruSettings(
            threshold=60 * options["vlruthresh"],
            interval=options["vlruinterval"],
            most=options["vlrumax"],
            enabled=not options["vlrudisable"],
            room=options["max-attached"],
        ),
        "holds": HoldLimits(seconds=options["hold-limit"]),
        "save_state": not options["fs-state-dont-save"],
        "restore_state": not options["fs-state-dont-restore"],
    }
