"""Machines made of namespaces: a `Network` with a bridge and `Node`s on it, each with its own root and processes.

Nothing here has a name in the host: the namespaces are anonymous and end with process 1 of each node, which ends when
the pipe to this process closes. So a killed test run leaves at most its directory of files, which the next run removes.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from twisted.internet.threads import deferToThread

PREFIX = "txafs-interop-"
SUBNET = "10.91.0"
CHECKOUT = Path(__file__).resolve().parents[2]
CLONE_NEWNET = 0x40000000
READY_SECONDS = 90.0
"""For a node or a daemon to come up, or anything else that is certain to happen: only a test that fails waits so long.
A two-core machine with ten times the work needs a fifth of it.
"""
COMMAND_SECONDS = 180.0
"""For a command in a node, unless more is said; what vos waits for at most by itself is half of it."""
POLL_SECONDS = 0.02
"""Between two looks at a condition that the kernel or another program makes true without telling us."""

_libc = ctypes.CDLL(None, use_errno=True)


class NodeFailed(Exception):
    """A node, a command in it or a condition did not come to be. The message has the command and what it printed."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did: exit status and both outputs."""

    command: str
    status: int
    out: str
    err: str

    def check(self) -> Result:
        """Itself, when the command succeeded."""
        if self.status != 0:
            raise NodeFailed(f"{self.command}: exit status {self.status}\n{self.out}{self.err}")
        return self


def wait_for(what: str, condition: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Block until `condition()` holds; NodeFailed naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NodeFailed(f"waited {seconds:.0f} s in vain for: {what}")
        time.sleep(POLL_SECONDS)


def sweep() -> None:
    """Remove the directories of test runs whose process is no more."""
    for directory in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        owner = directory.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(directory, ignore_errors=True)


class Network:
    """A bridge in a node of its own, the other nodes, and the directory that holds all their files."""

    def __init__(self) -> None:
        sweep()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.nodes: dict[str, Node] = {}
        self._switch = self._boot("switch", {})
        _ip(self._switch, "link add br0 type bridge")
        _ip(self._switch, "link set br0 up")

    def add(self, name: str, number: int, binds: Mapping[str, Path] | None = None) -> Node:
        """A new node at address SUBNET.number. `binds`: where in the node -> which host file or directory."""
        node = self._boot(name, binds or {})
        node.address = f"{SUBNET}.{number}"
        end = f"p{number}"
        _ip(self._switch, f"link add {end} type veth peer name eth0 netns {node.pid}")
        _ip(self._switch, f"link set {end} master br0 up")
        _ip(node, f"addr add {node.address}/24 dev eth0")
        _ip(node, "link set eth0 up")
        self.nodes[name] = node
        return node

    def plug(self, node: Node, up: bool) -> None:
        """Pull a node's cable, or put it back: it goes on running, and notices nothing but silence."""
        end = f"p{node.address.rpartition('.')[2]}"
        _ip(self._switch, f"link set {end} {'up' if up else 'down'}")

    def close(self) -> None:
        """End every process of every node, then remove all files."""
        for node in [*self.nodes.values(), self._switch]:
            node.end()
        shutil.rmtree(self.directory)

    def _boot(self, name: str, binds: Mapping[str, Path]) -> Node:
        home = self.directory / name
        (home / "root").mkdir(parents=True)
        return Node(name, home, binds)


@dataclass(slots=True)
class Daemon:
    """A long-running program in a node, started with `Node.start`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    output: IO[bytes] = field(repr=False)
    begun: int
    """Where in the log it begins, which those before it of the same name have written too."""

    @property
    def pid(self) -> int:
        """The program's process id as the host sees it (nsenter is its parent)."""
        parent = self.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        if not children:
            raise NodeFailed(f"{self.name} is not running; its log ends:\n{self.tail()}")
        return int(children[0])

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)
        if number is signal.SIGCONT:  # nsenter stops itself when its child is stopped
            os.kill(self.process.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = READY_SECONDS) -> int:
        """Send it a signal and wait for its end; its exit status."""
        if self.running():
            self.send(number)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise NodeFailed(f"{self.name} did not end on {number.name}; its log ends:\n{self.tail()}") from None
        self.output.close()
        return status

    def said(self) -> str:
        """What it printed."""
        return self.log.read_bytes()[self.begun :].decode(errors="replace")

    def tail(self, size: int = 3000) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-size:]


class Node:
    """One machine: anonymous network, mount, pid, uts and ipc namespaces."""

    address = ""

    def __init__(self, name: str, home: Path, binds: Mapping[str, Path]) -> None:
        self.name = name
        self.home = home
        plan = {"name": name, "root": str(home / "root"), "binds": {at: str(what) for at, what in binds.items()}}
        # -I: neither PYTHONPATH nor the current directory; process 1 needs the standard library alone.
        spaces = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        command = ["unshare", *spaces, sys.executable, "-I", str(Path(__file__).with_name("node_init.py"))]
        with open(home / "init.log", "wb") as log:
            self._init = subprocess.Popen(
                [*command, json.dumps(plan)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(),
            )
        assert self._init.stdout is not None
        if self._init.stdout.readline() != b"ready\n":
            self._init.wait()
            raise NodeFailed(f"node {name} did not start:\n{(home / 'init.log').read_text()}")
        self.pid = int(Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()[0])
        self._daemons: list[Daemon] = []

    def path(self, inside: str) -> Path:
        """The host's way to a file as the node sees it."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def run_now(self, *command: str, seconds: float = COMMAND_SECONDS, stdin: str = "") -> Result:
        """Run a command in the node and wait for it, blocking the reactor."""
        inner = ["timeout", "--kill-after=5", str(seconds), *command]
        done = subprocess.run(
            self._enter(inner), input=stdin.encode(), capture_output=True, env=environment(), check=False
        )
        return Result(
            " ".join(command),
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )

    async def run(self, *command: str, seconds: float = COMMAND_SECONDS, stdin: str = "") -> Result:
        """Run a command in the node while the reactor goes on."""
        result: Result = await deferToThread(self.run_now, *command, seconds=seconds, stdin=stdin)
        return result

    def start(self, name: str, command: Sequence[str], variables: Mapping[str, str] | None = None) -> Daemon:
        """Start a long-running program; its output goes to NAME.log in the node's directory."""
        log = self.home / f"{name}.log"
        output = open(log, "ab")  # noqa: SIM115 (lives as long as the daemon)
        begun = output.tell()
        process = subprocess.Popen(
            self._enter(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment() | dict(variables or {}),
        )
        daemon = Daemon(name, process, log, output, begun)
        wait_for(f"{name} to be started", lambda: not daemon.running() or _has_child(process.pid))
        self._daemons.append(daemon)
        return daemon

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets opened by this thread in the with block belong to the node's network, and stay there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            _setns(there)
            yield
        finally:
            _setns(home)
            os.close(there)
            os.close(home)

    def udp_ports(self) -> set[int]:
        """The UDP ports bound in the node."""
        lines = Path(f"/proc/{self.pid}/net/udp").read_text().splitlines()[1:]
        return {int(line.split()[1].split(":")[1], 16) for line in lines}

    def end(self) -> None:
        """kill -9 of everything in the node, as when a machine loses power; its files stay."""
        if self._init.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self._init.wait()
        for daemon in self._daemons:
            daemon.process.wait()
            daemon.output.close()
        for pipe in (self._init.stdin, self._init.stdout):
            assert pipe is not None
            pipe.close()

    def _enter(self, command: Sequence[str]) -> list[str]:
        if self._init.poll() is not None:  # its process id may be somebody else's by now
            raise NodeFailed(f"{self.name} is no more, where this was to be run: {' '.join(command)}")
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "--", *command]


def environment() -> dict[str, str]:
    """What programs in nodes see of our environment; TXAFS_RUN marks them as ours."""
    kept = {name: value for name, value in os.environ.items() if re.match(r"PATH|HOME|LANG|TXAFS_|PYTHON.*PATH", name)}
    return kept | {"TXAFS_RUN": str(os.getpid()), "LC_ALL": "C", "TZ": "UTC"}


def _ip(node: Node, words: str) -> None:
    """The ip command in the node's network alone: it sees the host's process ids, which name a veth's other end."""
    command = ["nsenter", "-t", str(node.pid), "-n", "--", "ip", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NodeFailed(f"ip {words}: {done.stderr}")


def _has_child(pid: int) -> bool:
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().strip())


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
