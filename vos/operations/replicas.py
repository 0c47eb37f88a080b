"""The entry of a volume that is being released, as the release changes it; and what kind of release it is to be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Flag
from ipaddress import IPv4Address

from afs.location import RO, RW
from afs.rpc.vl import VLF_ROEXISTS, VLSF_DONTUSE, VLSF_NEWREPSITE, VLSF_ROVOL, VLSF_RWVOL, nvldbentry
from vos.operations import entries
from vos.operations.locations import Location
from vos.session import Session


class Complete(Flag):
    """Why a release is a new one to all sites; nothing of it: it goes on where an earlier one broke off."""

    FORCED = 1
    LAST_OK = 2
    ALL_NEW = 4
    NEW_RW = 8
    RO_MISSING = 16


@dataclass(slots=True)
class Replica:
    """A site of the entry. `before` are its flags when the release began."""

    at: Location
    flags: int
    before: int

    @property
    def readonly(self) -> bool:
        """Whether the read-only volume is to be there."""
        return bool(self.flags & VLSF_ROVOL)

    @property
    def released(self) -> bool:
        """Whether it has the new release."""
        return bool(self.flags & VLSF_NEWREPSITE) and not self.flags & VLSF_DONTUSE

    def set_released(self) -> None:
        """It has it."""
        self.flags = self.flags & ~VLSF_DONTUSE | VLSF_NEWREPSITE

    def set_outdated(self) -> None:
        """It has not got it yet."""
        self.flags = self.flags & ~VLSF_NEWREPSITE | VLSF_DONTUSE


class Replicated:
    """An entry, and where it says the volume is."""

    def __init__(self, session: Session, entry: nvldbentry) -> None:
        self.session = session
        self.entry = entry
        self.sites = [
            Replica(Location(session, server, partition), flags, flags)
            for server, partition, flags in entries.sites(entry)
        ]

    @property
    def volume(self) -> int:
        """The read-write volume's id."""
        return self.entry.volumeId[RW]

    @property
    def readonly(self) -> int:
        """The read-only volume's id."""
        return self.entry.volumeId[RO]

    @property
    def readwrite_site(self) -> Replica | None:
        """Where the read-write volume is."""
        return next((site for site in self.sites if site.flags & VLSF_RWVOL), None)

    def set_readonly(self, volume: int) -> None:
        """The read-only volume gets an id."""
        self.entry = entries.with_id(self.entry, RO, volume)

    def set_clone(self, clone: int) -> None:
        """The clone that is sent, for the next release should this one break off; 0 when it is over."""
        self.entry = replace(self.entry, cloneId=clone)

    def set_exists(self) -> None:
        """There is a read-only volume somewhere."""
        self.entry = replace(self.entry, flags=self.entry.flags | VLF_ROEXISTS)

    async def write(self, release: int = 0) -> None:
        """Write the entry; the lock stays unless `release` says what of it goes. Raises RxError."""
        changed = entries.with_sites(
            self.entry, [(site.at.server, site.at.partition, site.flags) for site in self.sites]
        )
        await entries.write(self.session, self.volume, RW, changed, release)

    async def clone_site(self, server: IPv4Address, partition: int) -> Replica | None:
        """The read-only site beside the read-write volume, which is a clone and no copy. Raises RxError."""
        for site in self.sites:
            here = site.readonly and site.at.partition == partition
            if here and await entries.same_server(self.session, site.at.server, server):
                return site
        return None

    def begin_complete(self, only_new: bool) -> None:
        """No site, or none of those that had not been released to before, has the new release."""
        for site in self.sites:
            if only_new:
                new = bool(site.flags & VLSF_DONTUSE)
                site.flags = site.flags & ~VLSF_NEWREPSITE if new else site.flags | VLSF_NEWREPSITE
            else:
                site.set_outdated()
        if self.readwrite_site is not None:
            self.readwrite_site.set_released()


def first_reasons(found: Replicated, forced: bool) -> tuple[Complete, bool]:
    """The reasons for a complete release that are in the entry; and whether it may do to release to those sites alone
    that have not had a release.
    """
    sites = [site for site in found.sites if site.readonly]
    new = sum(bool(site.flags & VLSF_NEWREPSITE) for site in sites)
    unreleased = sum(bool(site.flags & VLSF_DONTUSE) for site in sites)
    why = Complete.FORCED if forced else Complete(0)
    if new == 0:
        why |= Complete.LAST_OK
    elif new == len(sites):
        why |= Complete.ALL_NEW
    return why, not forced and bool(why) and 0 < unreleased != len(sites)


def reasons_text(why: Complete, volume: int) -> str:
    """What -verbose says of a complete release."""
    if why == Complete.LAST_OK:
        return ""
    words = {
        Complete.FORCED: "forced",
        Complete.LAST_OK: "last ok",
        Complete.ALL_NEW: "all sites are new",
        Complete.NEW_RW: f"rw {volume} changed",
        Complete.RO_MISSING: "ro clone missing",
    }
    return f" ({', '.join(word for reason, word in words.items() if why & reason)})"
