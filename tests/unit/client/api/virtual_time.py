"""Real threads in virtual time: one runs at a time, and when all wait, the clock jumps to the first who need not."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence

from snapstone.client.api.pace import Gate


class DeadlockError(Exception):
    """All threads wait, and nothing would ever wake one."""


class _Task:
    def __init__(self) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.wait_number = 0
        """Which of its waits it is in: what was to wake it from an earlier one is stale."""
        self.over = False


class VirtualTime:
    """A clock, a sleep and gates for functions that `run` runs in threads. The same threads give the same history."""

    def __init__(self) -> None:
        self.now = 0.0
        self.switch_count = 0
        self._events: list[tuple[float, int, _Task, int]] = []
        self._order = itertools.count()
        self._current = _Task()
        self._tasks: list[_Task] = []
        self._error: BaseException | None = None

    def clock(self) -> float:
        """Seconds since the world began."""
        return self.now

    def gate(self) -> Gate:
        """A gate in this world."""
        return VirtualGate(self)

    def sleep(self, seconds: float) -> None:
        """Let the others run until then."""
        self.wake(self._current, self.now + seconds)
        self.pause()

    def wake(self, task: _Task, at: float) -> None:
        """Let a task go on from its present wait at a time."""
        heapq.heappush(self._events, (at, next(self._order), task, task.wait_number))

    def pause(self) -> None:
        """Wait to be woken."""
        me = self._current
        if self._pass_on() is not me:
            me.baton.acquire()
        if self._error is not None:
            raise self._error
        me.wait_number += 1
        self._current = me

    @property
    def current(self) -> _Task:
        """Who runs."""
        return self._current

    def run(self, functions: Sequence[Callable[[], None]]) -> None:
        """Run all functions to their ends. Raises what the first failing one raised, or DeadlockError."""
        self._tasks = [_Task() for _ in functions]
        for task in self._tasks:
            self.wake(task, self.now)
        threads = [
            threading.Thread(target=self._live, args=(task, function), daemon=True)
            for task, function in zip(self._tasks, functions, strict=True)
        ]
        for thread in threads:
            thread.start()
        self._pass_on()
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _live(self, task: _Task, function: Callable[[], None]) -> None:
        task.baton.acquire()
        if self._error is not None:
            return
        task.wait_number += 1
        self._current = task
        try:
            function()
            task.over = True
            if not all(other.over for other in self._tasks):
                self._pass_on()
        except BaseException as error:
            self._end_all(error)

    def _end_all(self, error: BaseException) -> None:
        self._error = self._error or error
        for task in self._tasks:
            if task.baton.locked():
                task.baton.release()

    def _pass_on(self) -> _Task:
        """Who runs from now on: as soon as its baton is released, nothing here is the caller's any more."""
        me = self._current
        while self._events:
            at, _, task, wait_number = heapq.heappop(self._events)
            if task.wait_number != wait_number:
                continue
            self.now = max(self.now, at)
            self._current = task
            if task is not me:
                self.switch_count += 1
                task.baton.release()
            return task
        raise DeadlockError(f"all threads wait at {self.now}")


class VirtualGate(Gate):
    """A gate whose waiting takes virtual time."""

    def __init__(self, world: VirtualTime) -> None:
        super().__init__()
        self._world = world
        self._is_open = False
        self._waiting: _Task | None = None

    def open(self) -> None:
        """Let the one who waits pass, at this very moment."""
        self._is_open = True
        if self._waiting is not None:
            self._world.wake(self._waiting, self._world.now)

    def wait(self, seconds: float | None) -> None:
        """Pass, or come back after so many virtual seconds."""
        if not self._is_open:
            self._waiting = self._world.current
            if seconds is not None:
                self._world.wake(self._waiting, self._world.now + seconds)
            self._world.pause()
            self._waiting = None
        self._is_open = False
