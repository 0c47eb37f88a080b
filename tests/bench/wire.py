"""A long wire between two nodes: every IP packet comes so much later, and some are lost. Root, and Linux's TUN devices.

    python -m tests.bench.wire PID ADDRESS PID ADDRESS --delay-ms 25 --loss 0.001

PID is a process in a node's network, ADDRESS the node's. From the line `ready` on, packets between the two addresses
take this way, until the program ends; all others go as before. It stands in for `tc qdisc add ... netem`, which not
every kernel has, and treats whatever crosses it alike.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import random
import select
import struct
import subprocess
from collections import deque
from time import monotonic

DEVICE = "wire0"
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
BATCH = 64
"""Packets taken from one end before the other is looked at."""
LARGEST = 65_536

_libc = ctypes.CDLL(None, use_errno=True)


class End:
    """One end: its device, and what is on the way to it, each with the time it is due."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.due: deque[tuple[float, bytes]] = deque()
        self.descriptor = self._open()

    def _open(self) -> int:
        """The device, in the network of the end's node."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        _enter(there)
        try:
            descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        finally:
            _enter(home)
            os.close(home)
            os.close(there)
        return descriptor

    def connect(self, own: str, other: str) -> None:
        """Make the device the way from one address to the other."""
        for words in (f"link set {DEVICE} up", f"route add {other}/32 dev {DEVICE} src {own}"):
            subprocess.run(["nsenter", "-t", str(self.pid), "-n", "ip", *words.split()], check=True)

    def take(self) -> list[bytes]:
        """What the node has sent, at most BATCH packets."""
        packets: list[bytes] = []
        while len(packets) < BATCH:
            try:
                packets.append(os.read(self.descriptor, LARGEST))
            except BlockingIOError:
                break
        return packets

    def deliver(self, now: float) -> None:
        """Hand over what is due."""
        while self.due and self.due[0][0] <= now:
            os.write(self.descriptor, self.due.popleft()[1])


def carry(ends: tuple[End, End], delay: float, loss: float, seed: int) -> None:
    """Carry packets for ever."""
    chance = random.Random(seed).random
    others = {ends[0].descriptor: (ends[0], ends[1]), ends[1].descriptor: (ends[1], ends[0])}
    while True:
        next_due = min((end.due[0][0] for end in ends if end.due), default=None)
        timeout = None if next_due is None else max(0.0, next_due - monotonic())
        readable, _, _ = select.select(list(others), [], [], timeout)
        now = monotonic()
        for descriptor in readable:
            end, other = others[descriptor]
            other.due.extend((now + delay, packet) for packet in end.take() if chance() >= loss)
        for end in ends:
            end.deliver(now)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    """Lay the wire."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.wire", description=__doc__)
    for end in ("one", "other"):
        parser.add_argument(f"{end}_pid", type=int)
        parser.add_argument(f"{end}_address")
    parser.add_argument("--delay-ms", type=float, required=True, help="each way")
    parser.add_argument("--loss", type=float, required=True, help="of each packet, each way")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    one, other = End(options.one_pid), End(options.other_pid)
    one.connect(options.one_address, options.other_address)
    other.connect(options.other_address, options.one_address)
    print("ready", flush=True)
    carry((one, other), options.delay_ms / 1000, options.loss, options.seed)


if __name__ == "__main__":
    main()
