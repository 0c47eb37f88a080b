"""Prints what is below a directory: `python -I tree.py DIRECTORY`, a JSON list of [path, mode, size, md5 or target]."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys


def describe(path: str) -> list[object]:
    """Mode, size and content of one file; a directory's size is the server's own business."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return [oct(status.st_mode), status.st_size, os.readlink(path)]
    if stat.S_ISDIR(status.st_mode):
        return [oct(status.st_mode), 0, ""]
    with open(path, "rb") as file:
        return [oct(status.st_mode), status.st_size, hashlib.file_digest(file, "md5").hexdigest()]


def main() -> None:
    """Walk and print."""
    os.chdir(sys.argv[1])
    found = []
    for directory, names, files in os.walk("."):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            found.append([path, *describe(path)])
    print(json.dumps(sorted(found), indent=0))


if __name__ == "__main__":
    main()
