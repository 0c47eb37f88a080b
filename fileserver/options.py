"""Options of afs-fileserver that OpenAFS's dafileserver has too: honoured in its words where they mean the same, and
refused with the reason where they mean nothing here; and a few beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.python.usage import Options, UsageError

from afs.acl import parse_rights
from afs.limits import whole
from fileserver.callbacks import PROMISE_LIMIT
from fileserver.rights import IMPLICIT
from fileserver.rules import SPARE_BLOCKS, Rules
from fileserver.subdomains import REFRESH_SECONDS
from fileserver.volume.durability import Sync
from fileserver.volume.interfaces import HOLD_LIMIT, HoldLimits
from fileserver.volume.vlru import INTERVAL_SECONDS, MOST_DETACHED, ROOM, THRESHOLD_SECONDS, VlruSettings

HOUR = 3600
LEAST_CALLBACKS = 10_000
"""Of `--cb`, as viced.c has it."""

DRAIN_SECONDS = 5
"""At the end running calls get this long to finish before they are cut off (`--offline-shutdown-timeout`)."""

FOREVER = -1
"""For a time: wait as long as it takes."""

PROTECTION = ("cell", "none")


def _one_of(*words: str) -> Callable[[str], str]:
    def parsed(word: str) -> str:
        if word not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return word

    return parsed


def _seconds(word: str) -> int:
    return FOREVER if word == str(FOREVER) else whole(0)(word)


VOLUME_OPTIONS: list[list[Any]] = [
    ["vlruthresh", None, THRESHOLD_SECONDS // 60, "Minutes without use after which a volume is detached.", whole(1)],
    ["vlruinterval", None, INTERVAL_SECONDS, "Seconds between looks at idle volumes.", whole(1)],
    ["vlrumax", None, MOST_DETACHED, "Volumes detached at one look.", whole(1)],
    ["max-attached", None, ROOM, "Volumes attached at a time; the longest unused make room.", whole(1)],
    ["hold-limit", None, int(HOLD_LIMIT), "Seconds a call is held for a volume that is busy or salvaged.", whole(0)],
    ["offline-timeout", None, FOREVER, "Seconds a volume going offline waits for calls on it; -1: forever.", _seconds],
    [
        "offline-shutdown-timeout",
        None,
        DRAIN_SECONDS,
        "Seconds that running calls have to finish at a clean stop; -1: all they need.",
        _seconds,
    ],
    [
        "sync",
        None,
        Sync.ALWAYS.value,
        "When stored data survives a power cut: every, always, delayed, onclose or never.",
        _one_of(*(mode.value for mode in Sync)),
    ],
    ["cb", None, PROMISE_LIMIT, "Callback promises kept at a time.", whole(LEAST_CALLBACKS)],
    ["hr", None, REFRESH_SECONDS // HOUR, "Hours until the groups of machines are asked for again.", whole(1, 36)],
    ["implicit", None, IMPLICIT, "Rights of system:administrators everywhere. [default: l]", parse_rights],
    ["spare", None, None, f"KiB by which a store may go over quota. [default: {SPARE_BLOCKS}]", whole(0)],
    ["pctspare", None, None, "The same in per cent of the quota.", whole(0, 99)],
    [
        "protection",
        None,
        "cell",
        "Who knows users and groups: cell, the protection servers in CellServDB, or none.",
        _one_of(*PROTECTION),
    ],
]

VOLUME_FLAGS: list[list[Any]] = [
    ["vlrudisable", None, "Do not detach volumes for being idle."],
    ["fs-state-dont-save", None, "Do not keep hosts and callbacks on the partitions at a clean shutdown."],
    ["fs-state-dont-restore", None, "Do not take what is kept there at start."],
    ["readonly", None, "Clients may not write."],
    ["admin-write", None, "With --readonly: members of system:administrators may."],
    ["enable_process_stats", None, "Count calls and bytes by RPC from the start (rxstat_get_process)."],
    ["enable_peer_stats", None, "The same by peer (rxstat_get_peer)."],
]

_SIZES = "nothing here has that size: memory is used as it is needed, within the bounds of docs/running.md"
_LOGS = "the log is twistd's: --logfile or --syslog before afs-fileserver"

REFUSED = {
    "L": _SIZES,
    "S": _SIZES,
    "b": _SIZES,
    "l": _SIZES,
    "s": _SIZES,
    "vc": _SIZES,
    "rxpck": _SIZES,
    "sendsize": _SIZES,
    "udpsize": "the sockets ask for 4 MiB; the kernel's net.core.rmem_max and wmem_max bound that",
    "vhashsize": _SIZES,
    "vhandle-setaside": _SIZES,
    "vhandle-max-cachesize": _SIZES,
    "vhandle-initial-cachesize": _SIZES,
    "vattachpar": "every volume is attached by itself, and none waits for another",
    "p": "calls are not threads; how many are taken is --max-calls and --max-calls-per-host",
    "busyat": "calls beyond --max-calls are answered BUSY, and clients try again by themselves",
    "nobusy": "nothing is served before the volumes are known",
    "m": "it is for AIX",
    "lock": "it is for IRIX",
    "banner": "it writes to the console",
    "w": "maintenance has its own times",
    "novbc": "clients would go on with data that has changed",
    "saneacls": "OpenAFS does not implement it either",
    "unsafe-nosalvage": "what is damaged is salvaged before it is served",
    "fs-state-verify": "the saved state is always verified when it is read",
    "auditlog": "there is no audit log yet",
    "audit-interface": "there is no audit log yet",
    "d": "it is --log-level",
    "logfile": _LOGS,
    "syslog": _LOGS,
    "mrafslogs": _LOGS,
    "transarc-logs": _LOGS,
    "rxdbg": "it is --tap trace:FILE",
    "rxdbge": "it is --tap trace:FILE",
    "jumbo": "large datagrams are negotiated by --rxmaxmtu",
    "nojumbo": "jumbograms are not sent",
    "rxbind": "it is --address",
    "realm": "put the realms into krb.conf in the configuration directory",
    "allow-dotted-principals": "a dot in the first component is never taken: user.admin would be user/admin",
}
"""OpenAFS's options without a meaning here, and why."""

_OURS_WITH_TWO_DASHES = {row[0] for row in (*VOLUME_OPTIONS, *VOLUME_FLAGS)}


class OpenAFSOptions(Options):
    """Tells those who write OpenAFS's options what became of them."""

    def parseOptions(self, options: Sequence[str] | None = None) -> None:  # noqa: N802, usage.Options calls it
        for word in options or ():
            name = word.lstrip("-").partition("=")[0]
            if word == "--":
                break
            if word.startswith("-") and name in REFUSED:
                raise UsageError(f"-{name}: {REFUSED[name]}")
            if word.startswith("-") and not word.startswith("--") and name in _OURS_WITH_TWO_DASHES:
                raise UsageError(f"-{name}: options have two dashes here: --{name}")
        super().parseOptions(options)

    def postOptions(self) -> None:
        """Options that only mean something together."""
        if self["spare"] is not None and self["pctspare"] is not None:
            raise UsageError("--spare and --pctspare: one of them")
        if self["admin-write"] and not self["readonly"]:
            raise UsageError("--admin-write means nothing without --readonly")


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
        "holds": HoldLimits(seconds=options["hold-limit"], offline_seconds=_time(options["offline-timeout"])),
        "save_state": not options["fs-state-dont-save"],
        "restore_state": not options["fs-state-dont-restore"],
        "drain_seconds": _time(options["offline-shutdown-timeout"]),
        "sync": Sync(options["sync"]),
        "process_statistics": bool(options["enable_process_stats"]),
        "peer_statistics": bool(options["enable_peer_stats"]),
        "rules": Rules(
            callbacks=options["cb"],
            groups_refresh=options["hr"] * HOUR,
            implicit=options["implicit"],
            readonly=bool(options["readonly"]),
            admin_write=bool(options["admin-write"]),
            spare=SPARE_BLOCKS if options["spare"] is None else options["spare"],
            percent_spare=options["pctspare"],
            refuse_old_store_acl=bool(options["cve-2018-7168-enforce"]),
        ),
    }


def _time(seconds: int) -> float | None:
    return None if seconds == FOREVER else float(seconds)
