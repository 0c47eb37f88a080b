"""Make one volume's names, parents and link counts agree: in memory, whatever the volume is stored in.

Every vnode in use gets one home, the directory that names it. Of several that do, the one its record calls the parent
is right (a rename writes the record between the two names). What no reachable directory names is an orphan and is
entered in the directory its record calls the parent: there it has the access list it had. Where that is gone it goes
to the root, and a file, of which nobody knows any more who might read it, without its owner's mode bits.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fileserver.interfaces import Vnode

ROOT = 1
SELF_LINKS = 2
"""What a directory without sub-directories counts: its name and its own `.`."""
OWNER_BITS = 0o700
MAX_BLOBS = 60_000
"""Of entries in a directory before no more orphans go in: 1023 pages have 63 each, and runs leave gaps."""

Fid = tuple[int, int]
"""(vnode, uniquifier)"""

Tell = Callable[[str], None]


@dataclass(slots=True)
class Listing:
    """A directory's entries as found, `.` and `..` apart. `stale` is set when the directory must be written anew."""

    entries: dict[bytes, Fid] = field(default_factory=dict)
    dot: Fid | None = None
    dot_dot: Fid | None = None
    stale: bool = False


@dataclass(slots=True)
class Tree:
    """A volume: every vnode in use, and a listing for each that is a directory. `changed` are the vnodes whose record
    is no longer what it was.
    """

    vnodes: dict[int, Vnode]
    listings: dict[int, Listing]
    changed: set[int] = field(default_factory=set)


def is_directory(number: int) -> bool:
    """Vnode numbers say it: directories are odd."""
    return bool(number & 1)


def straighten(tree: Tree, tell: Tell, attach: bool = True) -> None:
    """Make it consistent. The root must be there. Without `attach` orphans stay as they are, and what they name."""
    _correct_entries(tree, tell)
    homes = {ROOT: 0}
    _claim(tree, ROOT, homes)
    if attach:
        _attach_orphans(tree, homes, tell)
    unreached = len(tree.vnodes) - len(homes)
    if unreached:
        tell(f"{unreached} vnodes are named by no directory")
    _drop_entries(tree, homes, tell)
    _correct_links(tree, homes, tell)
    _correct_dots(tree, homes, tell)


def _correct_entries(tree: Tree, tell: Tell) -> None:
    """Put right entries of which one number is wrong, where the vnode they mean has no other name; drop the rest."""
    named: set[int] = set()
    wrong: list[tuple[int, bytes, Fid]] = []
    for number, listing in tree.listings.items():
        for name, fid in listing.entries.items():
            if _leads_somewhere(tree, fid):
                named.add(fid[0])
            else:
                wrong.append((number, name, fid))
    if not wrong:
        return
    nameless = {vnode.uniquifier: number for number, vnode in tree.vnodes.items() if number not in named}
    for number, name, fid in wrong:
        meant = _meant(tree, number, fid, named, nameless)
        listing = tree.listings[number]
        listing.stale = True
        if meant is None:
            tell(f"directory {number}: {_shown(name)} led nowhere ({fid[0]}.{fid[1]}) and is taken out")
            del listing.entries[name]
            continue
        tell(f"directory {number}: {_shown(name)} led to {fid[0]}.{fid[1]}, now to {meant[0]}.{meant[1]}")
        listing.entries[name] = meant
        named.add(meant[0])


def _leads_somewhere(tree: Tree, fid: Fid) -> bool:
    vnode = tree.vnodes.get(fid[0])
    return vnode is not None and vnode.uniquifier == fid[1] and fid[0] != ROOT


def _meant(tree: Tree, directory: int, fid: Fid, named: set[int], nameless: dict[int, int]) -> Fid | None:
    """The vnode of this directory that lacks a name and has the number, or the uniquifier, of the wrong entry."""
    for number in (fid[0], nameless.get(fid[1])):
        if number is None or number in named or number == ROOT:
            continue
        vnode = tree.vnodes.get(number)
        if vnode is not None and vnode.parent == directory:
            return number, vnode.uniquifier
    return None


def _claim(tree: Tree, top: int, homes: dict[int, int]) -> None:
    """Give homes to everything reachable from `top`: what agrees about its parent first."""
    ready, others = deque([top]), deque[tuple[int, int]]()
    while ready or others:
        if not ready:
            directory, number = others.popleft()
            if number not in homes:
                homes[number] = directory
                ready.append(number)
            continue
        directory = ready.popleft()
        for number in _children(tree, directory):
            if number in homes:
                continue
            if tree.vnodes[number].parent == directory:
                homes[number] = directory
                ready.append(number)
            else:
                others.append((directory, number))


def _children(tree: Tree, directory: int) -> Iterator[int]:
    if directory in tree.listings:
        yield from (fid[0] for fid in tree.listings[directory].entries.values() if _leads_somewhere(tree, fid))


def _attach_orphans(tree: Tree, homes: dict[int, int], tell: Tell) -> None:
    room: dict[int, int] = {}
    lost_directories = sorted(number for number in tree.listings if number not in homes)
    below = {child for number in lost_directories for child in _children(tree, number) if child != number}
    for number in [*(each for each in lost_directories if each not in below), *lost_directories]:
        if number not in homes and _attach(tree, number, homes, room, tell):  # the second time round: circles
            _claim(tree, number, homes)
    for number in sorted(each for each in tree.vnodes if each not in homes):
        _attach(tree, number, homes, room, tell)


def _attach(tree: Tree, number: int, homes: dict[int, int], room: dict[int, int], tell: Tell) -> bool:
    """Name an orphan; False when the directory is full."""
    vnode = tree.vnodes[number]
    home = vnode.parent if vnode.parent in homes and vnode.parent in tree.listings else ROOT
    listing = tree.listings[home]
    name = b"%s.%d.%d" % (b"__ORPHANDIR__" if is_directory(number) else b"__ORPHANFILE__", number, vnode.uniquifier)
    while name in listing.entries:
        name += b"."
    if home not in room:
        room[home] = MAX_BLOBS - sum(_blobs(each) for each in listing.entries)
    if room[home] < _blobs(name):
        return False
    room[home] -= _blobs(name)
    listing.entries[name] = (number, vnode.uniquifier)
    listing.stale = True
    homes[number] = home
    tell(f"vnode {number}.{vnode.uniquifier} had no name: it is {_shown(name)} in directory {home}")
    if home != vnode.parent and not is_directory(number) and vnode.mode & OWNER_BITS:
        tell(f"vnode {number}: its directory is gone, so its mode is {vnode.mode & ~OWNER_BITS:o} instead of "
             f"{vnode.mode:o}")  # fmt: skip
        vnode.mode &= ~OWNER_BITS
        tree.changed.add(number)
    return True


def _drop_entries(tree: Tree, homes: dict[int, int], tell: Tell) -> None:
    """Take out the further names of what another directory has, and of a directory all names but one."""
    for number in sorted(tree.listings):
        if number not in homes:
            continue
        listing = tree.listings[number]
        kept: set[int] = set()
        for name, (child, _) in list(listing.entries.items()):
            if homes.get(child) == number and child not in kept:
                if is_directory(child):
                    kept.add(child)
                continue
            tell(f"directory {number}: {_shown(name)} is taken out: vnode {child} is in {homes[child]}")
            del listing.entries[name]
            listing.stale = True


def _correct_links(tree: Tree, homes: dict[int, int], tell: Tell) -> None:
    names: Counter[int] = Counter()
    for number, listing in tree.listings.items():
        if number in homes:
            names.update(child for child, _ in listing.entries.values())
    directories: defaultdict[int, int] = defaultdict(int)
    for number, home in homes.items():
        directories[home] += is_directory(number)
    for number, home in homes.items():
        vnode = tree.vnodes[number]
        links = SELF_LINKS + directories[number] if is_directory(number) else names[number]
        if vnode.parent != home:
            tell(f"vnode {number}: its parent is {home}, not {vnode.parent}")
        if vnode.link_count != links:
            tell(f"vnode {number}: it has {links} links, not {vnode.link_count}")
        if (vnode.parent, vnode.link_count) != (home, links):
            vnode.parent, vnode.link_count = home, links
            tree.changed.add(number)


def _correct_dots(tree: Tree, homes: dict[int, int], tell: Tell) -> None:
    for number, listing in tree.listings.items():
        if number not in homes:
            continue
        own = (number, tree.vnodes[number].uniquifier)
        home = homes[number] or number
        above = (home, tree.vnodes[home].uniquifier)
        if (listing.dot, listing.dot_dot) != (own, above):
            if listing.dot is not None and not listing.stale:
                tell(f"directory {number}: . and .. led to {listing.dot} and {listing.dot_dot}")
            listing.dot, listing.dot_dot = own, above
            listing.stale = True


def _blobs(name: bytes) -> int:
    return 1 + ((len(name) + 1 + 15) >> 5)


def _shown(name: bytes) -> str:
    return ascii(name.decode("utf-8", "replace"))
