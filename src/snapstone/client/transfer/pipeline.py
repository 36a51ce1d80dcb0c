"""Blocks by the million through few threads and buffers: `run` in any order, `ordered` in that of the work."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import Generic, TypeVar

from snapstone.client.errors import InterruptedTransferError
from snapstone.client.transfer.crew import Crew, Stop, new_buffer

__all__ = ["Stop", "new_buffer", "ordered", "run"]

Count = int | Callable[[], int]
"""A number of workers, or a function that says how many there may be by now: asked before another one is hired."""

T = TypeVar("T")
R = TypeVar("R")


def run(
    work: Iterable[T],
    perform: Callable[[T, memoryview], None],
    *,
    worker_count: Count,
    stall_seconds: float,
    stop: Stop,
) -> None:
    """Do `perform` on every item, each worker with one buffer of 524,288 bytes of its own.

    `worker_count` is how many workers there may be at most: they are hired as they are needed, and stay.

    `work` is iterated by the workers, one at a time, and closed at the end. The first error, of a worker or of `work`,
    sets `stop` and is raised here when the workers have gone (those that hang are left after JOIN_SECONDS). Raises
    StalledError when nothing was finished for `stall_seconds`, InterruptedTransferError after Ctrl-C or a set `stop`.
    """
    crew: Crew[T] = Crew(
        work,
        lambda view: view if view is not None else new_buffer(),
        lambda _, item, view: perform(item, view),
        worker_count=_asked(worker_count),
        stall_seconds=stall_seconds,
        stop=stop,
    )
    with _Closing(crew, stop):
        crew.start()
        while not crew.wait_gone(crew.watch_seconds):
            crew.check()
        crew.check()


def ordered(
    work: Iterable[T],
    fetch: Callable[[T, memoryview], R],
    *,
    worker_count: Count,
    window: int,
    stall_seconds: float,
    stop: Stop,
) -> Generator[tuple[T, memoryview, R], None, None]:
    """`fetch` for every item, in parallel; item, buffer and result are given out in the order of `work`.

    At most `window` buffers exist; one that was given out is used again after the next step. Errors as in `run`, but an
    error is raised as soon as it happens, before what was fetched in front of it. Closing the generator early ends the
    workers and leaves `stop` as it is. The time of a stall counts only while the caller waits for a block.
    """
    shelf: _Shelf[T, R] = _Shelf(fetch, max(1, window))
    crew: Crew[T] = Crew(
        work,
        shelf.lend,
        shelf.fill,
        worker_count=_asked(worker_count, max(1, window)),
        stall_seconds=stall_seconds,
        stop=stop,
    )
    with _Closing(crew, stop, shelf.close):
        crew.start()
        while (filled := _next(crew, shelf)) is not None:
            yield filled
            shelf.give_back(filled[1])


def _next(crew: Crew[T], shelf: _Shelf[T, R]) -> tuple[T, memoryview, R] | None:
    crew.look_again()
    while True:
        gone = crew.wait_gone(0)
        crew.check()
        filled = shelf.take(0 if gone else crew.watch_seconds)
        if filled is not None or gone:
            return filled


class _Shelf(Generic[T, R]):
    """Buffers, free ones and filled ones, by number."""

    def __init__(self, fetch: Callable[[T, memoryview], R], window: int) -> None:
        self._fetch = fetch
        self._free: SimpleQueue[memoryview | None] = SimpleQueue()
        for _ in range(window):
            self._free.put(new_buffer())
        self._window = window
        self._lock = threading.Lock()
        self._filled: dict[int, tuple[T, memoryview, R]] = {}
        self._wanted = 0
        self._arrived = threading.Lock()
        self._arrived.acquire()

    def lend(self, _: memoryview | None) -> memoryview | None:
        return self._free.get()

    def fill(self, number: int, item: T, view: memoryview) -> None:
        result = self._fetch(item, view)
        with self._lock:
            self._filled[number] = (item, view, result)
            if number == self._wanted and self._arrived.locked():
                self._arrived.release()

    def take(self, seconds: float) -> tuple[T, memoryview, R] | None:
        """The next in order; None when it did not come in time."""
        with self._lock:
            filled = self._filled.pop(self._wanted, None)
        if filled is None and self._arrived.acquire(timeout=seconds):
            with self._lock:
                filled = self._filled.pop(self._wanted, None)
        if filled is not None:
            self._wanted += 1
        return filled

    def give_back(self, view: memoryview) -> None:
        self._free.put(view)

    def close(self) -> None:
        """Send home all who wait for a buffer."""
        for _ in range(self._window):
            self._free.put(None)


def _asked(worker_count: Count, most: int = sys.maxsize) -> Callable[[], int]:
    return lambda: min(worker_count() if callable(worker_count) else worker_count, most)


class _Closing(Generic[T]):
    """Ends a crew, however it came to it, and says Ctrl-C as an InterruptedTransferError."""

    def __init__(self, crew: Crew[T], stop: Stop, wake: Callable[[], None] = lambda: None) -> None:
        self._crew = crew
        self._stop = stop
        self._wake = wake

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None and kind is not GeneratorExit:
            self._stop.set()
        try:
            self._crew.dismiss()
            self._wake()
            self._crew.end()
        except KeyboardInterrupt:
            raise InterruptedTransferError("Interrupted again: did not wait for the blocks in work.") from None
        if kind is KeyboardInterrupt:
            raise InterruptedTransferError("Interrupted.") from None
