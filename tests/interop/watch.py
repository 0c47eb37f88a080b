"""Waits until a file has a given content: `python -I watch.py FILE CONTENT SECONDS`. Prints how long it took.

Exit status 1 when it never had it. Opening the file anew is what makes a FUSE client look whether its copy is good.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

PAUSE_SECONDS = 0.002
"""Between two looks."""


def main() -> int:
    """The exit status."""
    file, content, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    start = time.monotonic()
    seen = ""
    while time.monotonic() < start + seconds:
        seen = file.read_text() if file.exists() else "no file"
        if seen == content:
            print(time.monotonic() - start)
            return 0
        time.sleep(PAUSE_SECONDS)
    print(f"still {seen!r} after {seconds} s", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
