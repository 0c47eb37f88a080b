"""What programs do with files, as a list of small works: run in a client's node as `python -I file_work.py DIRECTORY`.

Prints JSON: work -> what it saw, an errno name when the client refused. The same list on two cells must print the same.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import mmap
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

SMALL_FILES = 500
LONGEST_NAME = 255


def write_and_read() -> object:
    Path("f").write_text("hello\n")
    return Path("f").read_text()


def append() -> object:
    with open("f", "a") as file:
        file.write("more\n")
    return Path("f").read_text()


def overwrite_middle() -> object:
    with open("f", "r+b") as file:
        file.seek(2)
        file.write(b"XX")
    return Path("f").read_text()


def truncate_down() -> object:
    os.truncate("f", 3)
    return [os.stat("f").st_size, Path("f").read_text()]


def truncate_up() -> object:
    os.truncate("f", 10)
    return Path("f").read_bytes().hex()


def empty_file() -> object:
    Path("empty").touch()
    return [os.stat("empty").st_size, Path("empty").read_text()]


def make_directories() -> object:
    os.makedirs("a/b/c")
    return [os.listdir("a"), os.listdir("a/b"), os.stat("a").st_nlink, os.stat("a/b/c").st_nlink]


def rename_file() -> object:
    Path("g").write_text("x")
    os.rename("g", "h")
    return [Path("h").read_text(), os.path.exists("g")]


def rename_into_directory() -> object:
    os.rename("h", "a/b/h")
    return [Path("a/b/h").read_text(), os.path.exists("h")]


def rename_directory() -> object:
    os.rename("a/b", "a/b2")
    return [Path("a/b2/h").read_text(), os.listdir("a")]


def rename_directory_across() -> object:
    os.rename("a/b2", "b3")
    return [Path("b3/h").read_text(), os.listdir("a"), os.stat("a").st_nlink, sorted(os.listdir("b3"))]


def rename_over_file() -> object:
    Path("r1").write_text("1")
    Path("r2").write_text("2")
    os.rename("r1", "r2")
    return [Path("r2").read_text(), os.path.exists("r1")]


def rename_over_empty_directory() -> object:
    os.mkdir("d1")
    os.mkdir("d2")
    os.rename("d1", "d2")
    return [os.path.isdir("d2"), os.path.exists("d1")]


def rename_over_full_directory() -> object:
    os.mkdir("d3")
    os.rename("d3", "b3")
    return "renamed"


def rename_directory_into_itself() -> object:
    os.rename("b3", "b3/inside")
    return "renamed"


def hard_link() -> object:
    Path("l1").write_text("linked")
    os.link("l1", "l2")
    return [os.stat("l1").st_nlink, Path("l2").read_text(), os.stat("l1").st_ino == os.stat("l2").st_ino]


def hard_link_survives_unlink() -> object:
    os.unlink("l1")
    return [os.stat("l2").st_nlink, Path("l2").read_text()]


def hard_link_across_directories() -> object:
    os.link("l2", "a/l3")
    return "linked"


def symbolic_link() -> object:
    os.symlink("f", "s")
    return [os.readlink("s"), os.lstat("s").st_size]


def change_mode() -> object:
    os.chmod("f", 0o600)
    return oct(os.stat("f").st_mode)


def create_with_mode() -> object:
    os.close(os.open("script", os.O_CREAT | os.O_WRONLY, 0o750))
    os.mkdir("private", 0o700)
    return [oct(os.stat("script").st_mode), oct(os.stat("private").st_mode)]


def change_owner() -> object:
    os.chown("f", 1000, 1000)
    return os.stat("f").st_uid


def owner() -> object:
    return [os.stat("f").st_uid, os.stat("f").st_gid]


def change_times() -> object:
    os.utime("f", (1, 1))
    return os.stat("f").st_mtime


def unlink() -> object:
    os.unlink("f")
    return os.path.exists("f")


def unlink_while_open() -> object:
    Path("open").write_text("still here")
    with open("open") as file:
        os.unlink("open")
        return [file.read(), os.path.exists("open")]


def remove_full_directory() -> object:
    os.rmdir("b3")
    return "removed"


def remove_tree() -> object:
    shutil.rmtree("b3")
    return os.path.exists("b3")


def create_exclusively() -> object:
    os.close(os.open("once", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.close(os.open("once", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    return "created twice"


def lock() -> object:
    with open("once", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return "locked"


def write_and_sync() -> object:
    with open("pages", "wb") as file:
        file.write(bytes(16384))
        file.flush()
        os.fsync(file.fileno())
    return os.stat("pages").st_size


def map_and_read() -> object:
    with open("pages", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        return len(pages[:])


def map_and_write() -> object:
    with open("pages", "r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        pages[:2] = b"zz"
        pages.flush()
    return Path("pages").read_bytes()[:3].hex()


def longest_name() -> object:
    name = "n" * LONGEST_NAME
    Path(name).write_text("long")
    seen = [Path(name).read_text(), name in os.listdir(".")]
    os.mkdir("D" + name[1:])
    os.rename(name, "m" * LONGEST_NAME)
    seen += [Path("m" * LONGEST_NAME).read_text(), os.path.isdir("D" + name[1:])]
    os.unlink("m" * LONGEST_NAME)
    os.rmdir("D" + name[1:])
    return seen


def name_too_long() -> object:
    name = "n" * (LONGEST_NAME + 1)
    Path(name).write_text("too long")
    os.unlink(name)
    return "written"


def names_of_all_bytes() -> object:
    names = [b"\xff\xfe", "ä ö".encode(), b"a'\"\\*?\n", b"-rf", b"...", b"x" * 16, b"x" * 15]
    for name in names:
        with open(name, "wb") as file:
            file.write(name)
    seen = [name in os.listdir(b".") and open(name, "rb").read() == name for name in names]  # noqa: SIM115
    for name in names:
        os.unlink(name)
    return seen


def small_files() -> object:
    os.mkdir("many")
    for number in range(SMALL_FILES):
        Path(f"many/f{number}").write_text(f"{number}\n")
    names = os.listdir("many")
    contents = "".join(sorted(Path("many", name).read_text() for name in names))
    sizes = sum(os.stat(f"many/{name}").st_size for name in names)
    return [len(names), sizes, hashlib.md5(contents.encode()).hexdigest()]


def remove_small_files() -> object:
    for number in range(0, SMALL_FILES, 2):
        os.unlink(f"many/f{number}")
    half = len(os.listdir("many"))
    shutil.rmtree("many")
    return [half, os.path.exists("many")]


def attributes() -> object:
    return os.listxattr("pages")


def free_space() -> object:
    return os.statvfs(".").f_bsize


def missing_file() -> object:
    return Path("never").read_text()


def file_as_directory() -> object:
    return Path("pages/below").read_text()


def left_at_the_end() -> object:
    return sorted(name for name in os.listdir(".") if not name.startswith(".fuse_hidden"))


WORKS: list[Callable[[], object]] = [
    write_and_read,
    append,
    overwrite_middle,
    truncate_down,
    truncate_up,
    empty_file,
    make_directories,
    rename_file,
    rename_into_directory,
    rename_directory,
    rename_directory_across,
    rename_over_file,
    rename_over_empty_directory,
    rename_over_full_directory,
    rename_directory_into_itself,
    hard_link,
    hard_link_survives_unlink,
    hard_link_across_directories,
    symbolic_link,
    change_mode,
    create_with_mode,
    change_owner,
    owner,
    change_times,
    unlink,
    unlink_while_open,
    remove_full_directory,
    remove_tree,
    create_exclusively,
    lock,
    write_and_sync,
    map_and_read,
    map_and_write,
    longest_name,
    name_too_long,
    names_of_all_bytes,
    small_files,
    remove_small_files,
    attributes,
    free_space,
    missing_file,
    file_as_directory,
    left_at_the_end,
]


def main() -> None:
    """Do all works in a new directory below the one named, and remove it."""
    place = Path(sys.argv[1], "work")
    place.mkdir()
    os.chdir(place)
    os.umask(0o022)
    seen = {}
    for work in WORKS:
        try:
            seen[work.__name__] = work()
        except OSError as error:
            seen[work.__name__] = errno.errorcode[error.errno or 0]
    os.chdir("/")
    shutil.rmtree(place)
    seen["directory removed"] = place.exists()
    print(json.dumps(seen, indent=1))


if __name__ == "__main__":
    main()
