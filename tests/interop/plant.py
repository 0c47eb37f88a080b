"""Makes some of everything below a directory: `python -I plant.py DIRECTORY`, for another server to find again."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

SIZES = (0, 1, 1023, 1024, 65536, 65537, 3_000_000)
CROWD = 200
"""Names in one directory: several pages of it, and chains in its hash table."""


def main() -> None:
    """Plant."""
    os.chdir(sys.argv[1])
    content = random.Random(0).randbytes(max(SIZES))
    for size in SIZES:
        Path(f"size-{size}").write_bytes(content[:size])
    Path("changed").write_bytes(content[:100_000])
    with open("changed", "r+b") as file:
        file.seek(50_000)
        file.write(b"changed")
    os.truncate("changed", 70_000)
    os.makedirs("deep/er/still")
    Path("deep/er/still/leaf").write_text("leaf")
    os.link("changed", "linked")
    os.symlink("anywhere", "link")
    os.chmod("size-1", 0o600)
    os.mkdir("crowd")
    for number in range(CROWD):
        Path(f"crowd/{'x' * (number % 40)}{number}").write_text(str(number))
    for number in range(0, CROWD, 3):
        os.unlink(f"crowd/{'x' * (number % 40)}{number}")
    Path("y" * 255).write_text("long name")
    os.rename("deep/er/still/leaf", "deep/leaf")


if __name__ == "__main__":
    main()
