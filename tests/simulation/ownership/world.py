"""Machines with processes and threads, run one at a time in simulated time.

A thread is a greenlet that gives way in each system call, so that blocking code runs as it is, and anything may happen
between two of its steps: others run, the process is stopped or killed, the storage stalls. Everything that happens
comes from one seed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from queue import Empty
from random import Random
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]
from twisted.python.failure import Failure

T = TypeVar("T")

CALL_SECONDS = 0.0005
"""Mean of what a system call takes on storage that does not stall."""

STOPS = (0.05, 0.4, 1.0, 2.4, 2.6, 3.1, 4.0, 9.0)
"""Seconds for which a process is stopped between two steps: around each limit of the protocol."""


class World:
    """The time and everything that is to happen. `task` is what runs now."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.task: Task | None = None
        self.stop_rate = 0.0
        """How often a process is stopped, by system calls."""
        self.hub = getcurrent()
        self._queue: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, what: Callable[..., object], *arguments: Any) -> None:
        """Call it then, outside of all processes."""
        self._count += 1
        heappush(self._queue, (when, self._count, what, arguments))

    def after(self, seconds: float, what: Callable[..., object], *arguments: Any) -> None:
        """Call it in so many seconds."""
        self.at(self.now + seconds, what, *arguments)

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Let things happen; returns early, with True, when `done`."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _, what, arguments = heappop(queue)
            what(*arguments)
            if done():
                return True
        self.now = until
        return done()

    @property
    def process(self) -> Process:
        """Whose thread runs."""
        assert self.task is not None, "no process runs"
        return self.task.process

    def give_way(self) -> Any:
        """Let others run until this thread is resumed; what it is resumed with."""
        return self.hub.switch()

    def pause(self, seconds: float) -> None:
        """Sleep so long by the machine's clock."""
        task = self.task
        assert task is not None
        self.after(seconds / task.process.machine.rate, self.resume, task, None)
        self.give_way()

    def resume(self, task: Task, value: Any) -> None:
        """Let a thread go on, once its process is not stopped."""
        process = task.process
        if not process.alive:
            return
        if process.stopped_until > self.now:
            self.at(process.stopped_until, self.resume, task, value)
            return
        self.task = task
        task.greenlet.switch(value)
        self.task = None

    def system_call(self, effect: Callable[[], T], bound: float | None = None, weight: float = 1.0) -> T:
        """Have the kernel do something to the storage. With a `bound` it happens within that, or fails with EIO; else
        whenever the storage answers. What was begun happens while the process is stopped, and when it is killed either
        before that or not at all. The process is stopped before calls of greater `weight` more often.
        """
        task = self.task
        assert task is not None
        process = task.process
        if not process.alive:
            raise GreenletExit
        if self.stop_rate and bound is None and self.random.random() < self.stop_rate * weight:
            process.stop(self.random.choice(STOPS))
            self.after(0.0, self.resume, task, None)
            self.give_way()
        call = _Call(task, effect)
        if bound is None:
            seconds = self.random.expovariate(1 / CALL_SECONDS)
        else:
            call.expires = self.now + bound
            seconds = self.random.choice((0.0, 0.1, 0.9, 0.999)) * bound
        process.calls[call] = None
        self.after(seconds, self._complete, call)
        if self.stop_rate and self.random.random() < self.stop_rate:
            process.stop(self.random.choice(STOPS))
        done, value = self.give_way()
        if not done:
            raise value
        result: T = value
        return result

    def _complete(self, call: _Call) -> None:
        process = call.task.process
        if call not in process.calls:
            return
        stalled = process.machine.stalled_until
        if stalled > self.now:
            self.at(stalled, self._complete, call)
            return
        del process.calls[call]
        if call.expires is not None and self.now > call.expires:
            self.resume(call.task, (False, OSError(5, "Input/output error")))
            return
        try:
            outcome = True, call.effect()
        except OSError as problem:
            outcome = False, problem
        self.resume(call.task, outcome)


@dataclass(eq=False, slots=True)
class Task:
    """A thread."""

    process: Process
    greenlet: Any


@dataclass(eq=False, slots=True)
class _Call:
    task: Task
    effect: Callable[[], Any]
    expires: float | None = None


@dataclass(eq=False)
class Machine:
    """Its clock runs at `rate`; until `stalled_until` its storage does not answer."""

    name: str
    rate: float
    since: float
    stalled_until: float = 0.0


@dataclass(eq=False)
class Process:
    """One life of a server. `descriptors` are what it has open."""

    world: World
    machine: Machine
    alive: bool = True
    stopped_until: float = 0.0
    calls: dict[_Call, None] = field(default_factory=dict)
    descriptors: dict[int, Any] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._posted: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._idle = True
        self._main = Task(self, greenlet(self._run, self.world.hub))
        self.tasks.append(self._main)

    def clock(self) -> float:
        """CLOCK_BOOTTIME, which goes on while the process is stopped."""
        return self.machine.since + self.world.now * self.machine.rate

    def spawn(self, function: Callable[[], object]) -> None:
        """A thread."""

        def run(_: None) -> None:
            function()
            self.tasks.remove(task)

        task = Task(self, greenlet(run, self.world.hub))
        self.tasks.append(task)
        self.world.after(0.0, self.world.resume, task, None)

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """To be called in the thread of the reactor."""
        self._posted.append((function, arguments))
        if self._idle and self.alive:
            self._idle = False
            self.world.after(0.0, self.world.resume, self._main, None)

    def _run(self, _: None) -> None:
        while True:
            while self._posted:
                function, arguments = self._posted.popleft()
                function(*arguments)
            self._idle = True
            self.world.give_way()

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """To ask, from outside, what it would find by its own clock."""
        before, self.world.task = self.world.task, self._main
        try:
            yield
        finally:
            self.world.task = before

    def stop(self, seconds: float) -> None:
        """As SIGSTOP, and SIGCONT after so long."""
        self.stopped_until = max(self.stopped_until, self.world.now + seconds)

    def kill(self) -> None:
        """As kill -9: what the kernel had begun is finished or dropped, then descriptors and locks are gone."""
        self.alive = False
        for call in self.calls:
            late = call.expires is not None and call.expires < self.world.now
            if not late and self.world.random.random() < 0.5:
                try:
                    call.effect()
                except OSError:
                    continue
        self.calls.clear()
        for file in self.descriptors.values():
            file.close()
        self.descriptors.clear()

    def end(self) -> None:
        """Unwind its threads, which do nothing any more."""
        self.alive = False
        for task in self.tasks:
            if task.greenlet:
                self.world.task = task
                task.greenlet.throw()
        self.world.task = None
        self.tasks.clear()


class Later:
    """A delayed call of a reactor."""

    def __init__(self, process: Process, seconds: float, what: Callable[[], object]) -> None:
        self._what: Callable[[], object] | None = what
        process.world.after(seconds / process.machine.rate, process.post, self._call)

    def _call(self) -> None:
        what, self._what = self._what, None
        if what is not None:
            what()

    def active(self) -> bool:
        return self._what is not None

    def cancel(self) -> None:
        self._what = None


class Reactor:
    """As much of one as servers use, with a pool of threads."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def seconds(self) -> float:
        return self.process.clock()

    def callLater(self, seconds: float, function: Callable[..., object], *arguments: Any, **named: Any) -> Later:
        return Later(self.process, seconds, lambda: function(*arguments, **named))

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:
        self.process.post(function, *arguments)

    def getThreadPool(self) -> Reactor:
        return self

    def callInThreadWithCallback(
        self, told: Callable[[bool, object], object], function: Callable[..., object], *arguments: Any, **named: Any
    ) -> None:
        def run() -> None:
            try:
                result = function(*arguments, **named)
            except Exception:  # noqa: BLE001  as a thread pool does
                told(False, Failure())
            else:
                told(True, result)

        self.process.spawn(run)


class Threads:
    """Stand-ins for what `threading` and `queue` give, in the world that is simulated now."""

    def __init__(self, world: Callable[[], World]) -> None:
        class Thread:
            def __init__(self, target: Callable[[], object], name: str = "", daemon: bool = False) -> None:
                self._target = target

            def start(self) -> None:
                world().process.spawn(self._target)

        class Event:
            def __init__(self) -> None:
                self._set = False

            def set(self) -> None:
                self._set = True

            def wait(self, seconds: float) -> bool:
                if not self._set:
                    world().pause(seconds)
                return self._set

        class SimpleQueue:
            def __init__(self) -> None:
                self._items: deque[object] = deque()
                self._waiter: list[Task] = []

            def __class_getitem__(cls, _: object) -> type:
                return cls

            def put(self, item: object) -> None:
                self._items.append(item)
                self._wake(self._waiter)

            def get(self, timeout: float) -> object:
                if not self._items:
                    task = world().task
                    assert task is not None
                    waiter = self._waiter = [task]
                    world().after(timeout / task.process.machine.rate, self._wake, waiter)
                    world().give_way()
                if not self._items:
                    raise Empty
                return self._items.popleft()

            @staticmethod
            def _wake(waiter: list[Task]) -> None:
                if waiter:
                    task = waiter.pop()
                    task.process.world.after(0.0, task.process.world.resume, task, None)

        self.Thread, self.Event, self.SimpleQueue = Thread, Event, SimpleQueue
