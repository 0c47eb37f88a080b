"""Speed of fcrypt over full packets: `PYTHONPATH=. python tests/bench/bench_fcrypt.py`.

On a quiet 2-core Xeon guest, MB/s of one core: Python 2 each way, C 140 sealing and 300 opening; half that when busy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

from rx.security.fcrypt import Cipher, CipherType, PythonCipher

SIZE = 1408
SECONDS = 1.0


def measure(act: Callable[[], object]) -> float:
    """MB/s of `act`, which treats one packet."""
    count, start = 0, perf_counter()
    while (spent := perf_counter() - start) < SECONDS:
        for _ in range(20):
            act()
        count += 20
    return count * SIZE / spent / 1e6


def main() -> None:
    """Print a line for each form and direction."""
    data, vector = bytes(SIZE), bytes(range(8))
    forms: list[type[CipherType]] = [PythonCipher, Cipher]
    for form in forms:
        cipher = form(b"password")
        for crypt in (cipher.encrypt, cipher.decrypt):
            print(f"{form.__module__} {crypt.__name__} {measure(partial(crypt, data, vector)):8.1f} MB/s")


if __name__ == "__main__":
    main()
