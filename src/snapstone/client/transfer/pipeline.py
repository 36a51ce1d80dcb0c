"""Blocks by the million through few threads and buffers: `run` in any order, `ordered` in that of the work.

Workers are started as needed and end together; the first error is kept.
"""

from __future__ import annotations

import contextlib
import mmap
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import Generic, TypeVar

from snapstone.client.errors import InterruptedTransferError, StalledError
from snapstone.core.blocks import BLOCK_SIZE

T = TypeVar("T")

WATCH_SECONDS = 0.25
"""How often the caller's thread looks for progress and for a stop, at most."""
JOIN_SECONDS = 10.0
"""How long workers that are in the middle of something are waited for at the end."""


class StopSignal:
    """Asks for the end. Unlike threading.Event it may be set by a signal handler, whatever the thread was doing."""

    def __init__(self) -> None:
        self._set = False
        self._barrier = threading.Lock()
        self._barrier.acquire()

    def set(self) -> None:
        """End, and wake all who wait."""
        self._set = True
        self._open()

    def is_set(self) -> bool:
        """Whether a stop was requested."""
        return self._set

    def wait(self, seconds: float) -> bool:
        """Sleep this long, or until a stop is requested; returns whether it was."""
        if not self._set and self._barrier.acquire(timeout=max(0.0, seconds)):
            self._open()
        return self._set

    def _open(self) -> None:
        with contextlib.suppress(RuntimeError):  # open already
            self._barrier.release()


def new_buffer() -> memoryview:
    """Space for one block, aligned to a page, given back to the system when the last view of it is gone."""
    return memoryview(mmap.mmap(-1, BLOCK_SIZE))


class ThreadPool(Generic[T]):
    """Workers that take items one after the other.

    `lend` gives the buffer for the next item (None: no more are wanted); `perform` gets the item's number in the order
    of the stream, the item and the buffer.
    """

    def __init__(
        self,
        work: Iterable[T],
        lend: Callable[[memoryview | None], memoryview | None],
        perform: Callable[[int, T, memoryview], None],
        *,
        worker_count: Callable[[], int],
        stall_seconds: float,
        stop: StopSignal,
    ) -> None:
        self._source = iter(work)
        self._lend = lend
        self._perform = perform
        self._wanted_count = worker_count
        self._possible_count = sys.maxsize
        """Threads that the system has."""
        self._stall_seconds = stall_seconds
        self._stop = stop
        self._source_lock = threading.Lock()
        self._taken_count = 0
        self._exhausted = False
        self._state_lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._done_counts: list[int] = []
        """One for each worker, so that counting needs no lock."""
        self._present_count = 0
        self._idle_count = 0
        self._dismissed = False
        self._error: BaseException | None = None
        self._gone = threading.Lock()
        self._gone.acquire()
        self._seen_count = 0
        self._seen_at = time.monotonic()

    @property
    def done_count(self) -> int:
        """Items that were finished."""
        return sum(self._done_counts)

    def start(self) -> None:
        """Start the first worker; a worker that takes an item starts the next one if none is idle."""
        self.look_again()
        self._start_worker()

    def wait_gone(self, seconds: float) -> bool:
        """Wait, interruptibly, for the last worker to go."""
        if self._gone.acquire(timeout=max(0.0, seconds)):
            self._gone.release()
            return True
        return False

    @property
    def watch_seconds(self) -> float:
        """How long to wait between two checks."""
        return min(WATCH_SECONDS, self._stall_seconds / 4)

    def look_again(self) -> None:
        """Restart the stall timer."""
        self._seen_at = time.monotonic()

    def check(self) -> None:
        """Raise the first error, else InterruptedTransferError after a stop, StalledError when nothing was finished."""
        if self._error is not None:
            raise self._error
        if self._stop.is_set() and not (self._exhausted and self._present_count == 0):
            raise InterruptedTransferError("stopped before the end, as requested")
        count = self.done_count
        if count != self._seen_count:
            self._seen_count = count
            self.look_again()
        elif self._present_count and time.monotonic() - self._seen_at >= self._stall_seconds:
            raise self._stalled(count)

    def shut_down(self) -> None:
        """No further item is taken."""
        self._dismissed = True

    def end(self) -> None:
        """Wait for the workers (bounded), then close the source, if it can be closed and no worker is left in it."""
        if self.wait_gone(JOIN_SECONDS):
            for thread in self._threads:
                thread.join(JOIN_SECONDS)
            close = getattr(self._source, "close", None)
            if close is not None:
                close()

    def _stalled(self, count: int) -> StalledError:
        in_work = self._taken_count - count
        what = f"none of {in_work} blocks in progress completed" if in_work else "no block from the source"
        return StalledError(f"stalled: {what} for {self._stall_seconds:g} seconds, after {count} blocks")

    def _most(self) -> int:
        """Workers that there may be now."""
        return min(max(1, self._wanted_count()), self._possible_count)

    def _start_worker(self) -> None:
        with self._state_lock:
            if self._idle_count or self._dismissed or len(self._threads) >= self._most():
                return
            number = len(self._done_counts)
            thread = threading.Thread(target=self._work, args=(number,), name=f"snapstone-{number}", daemon=True)
            self._threads.append(thread)
            self._done_counts.append(0)
            self._present_count += 1
            self._idle_count += 1
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left: the existing ones continue
            with self._state_lock:
                self._threads.remove(thread)
                self._possible_count = len(self._threads)
                self._idle_count -= 1
            self._leave()
            if not self._threads:
                raise

    def _work(self, number: int) -> None:
        view: memoryview | None = None
        try:
            while (view := self._lend(view)) is not None and (taken := self._take()) is not None:
                self._perform(taken[0], taken[1], view)
                del taken
                self._done_counts[number] += 1
                with self._state_lock:
                    self._idle_count += 1
        except BaseException as error:  # carried to the caller's thread, which raises it
            self._fail(error)
        finally:
            self._leave()

    def _take(self) -> tuple[int, T] | None:
        with self._source_lock:
            if self._exhausted or self._dismissed or self._stop.is_set():
                return None
            try:
                item = next(self._source)
            except StopIteration:
                self._exhausted = True
                return None
            number = self._taken_count
            self._taken_count += 1
        with self._state_lock:
            self._idle_count -= 1
            wanted = not self._idle_count and len(self._threads) < self._most()
        if wanted:
            self._start_worker()
        return number, item

    def _fail(self, error: BaseException) -> None:
        with self._state_lock:
            if self._error is None:
                self._error = error
        self._dismissed = True
        self._stop.set()

    def _leave(self) -> None:
        with self._state_lock:
            self._present_count -= 1
            if self._present_count == 0:
                self._gone.release()


Count = int | Callable[[], int]
"""A number of workers, or a function that returns how many are allowed now, called before another one is started."""

R = TypeVar("R")


def run(
    work: Iterable[T],
    perform: Callable[[T, memoryview], None],
    *,
    worker_count: Count,
    stall_seconds: float,
    stop: StopSignal,
) -> None:
    """Do `perform` on every item, each worker with one buffer of 524,288 bytes of its own.

    `worker_count` is how many workers there may be at most: they are started as they are needed, and stay.

    `work` is iterated by the workers, one at a time, and closed at the end. The first error, of a worker or of `work`,
    sets `stop` and is raised here when the workers have gone (those that hang are left after JOIN_SECONDS). Raises
    StalledError when nothing was finished for `stall_seconds`, InterruptedTransferError after Ctrl-C or a set `stop`.
    """
    pool: ThreadPool[T] = ThreadPool(
        work,
        lambda view: view if view is not None else new_buffer(),
        lambda _, item, view: perform(item, view),
        worker_count=_asked(worker_count),
        stall_seconds=stall_seconds,
        stop=stop,
    )
    with _Closing(pool, stop):
        pool.start()
        while not pool.wait_gone(pool.watch_seconds):
            pool.check()
        pool.check()


def ordered(
    work: Iterable[T],
    fetch: Callable[[T, memoryview], R],
    *,
    worker_count: Count,
    window: int,
    stall_seconds: float,
    stop: StopSignal,
) -> Generator[tuple[T, memoryview, R], None, None]:
    """`fetch` for every item, in parallel; item, buffer and result are given out in the order of `work`.

    At most `window` buffers exist; one that was given out is used again after the next step. Errors as in `run`, but an
    error is raised as soon as it happens, before what was fetched in front of it. Closing the generator early ends the
    workers and leaves `stop` as it is. The time of a stall counts only while the caller waits for a block.
    """
    reordered: _ReorderBuffer[T, R] = _ReorderBuffer(fetch, max(1, window))
    pool: ThreadPool[T] = ThreadPool(
        work,
        reordered.lend,
        reordered.fill,
        worker_count=_asked(worker_count, max(1, window)),
        stall_seconds=stall_seconds,
        stop=stop,
    )
    with _Closing(pool, stop, reordered.close):
        pool.start()
        while (filled := _next(pool, reordered)) is not None:
            yield filled
            reordered.give_back(filled[1])


def _next(pool: ThreadPool[T], reordered: _ReorderBuffer[T, R]) -> tuple[T, memoryview, R] | None:
    pool.look_again()
    while True:
        gone = pool.wait_gone(0)
        pool.check()
        filled = reordered.take(0 if gone else pool.watch_seconds)
        if filled is not None or gone:
            return filled


class _ReorderBuffer(Generic[T, R]):
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
    """Ends a pool, however it came to it, and says Ctrl-C as an InterruptedTransferError."""

    def __init__(self, pool: ThreadPool[T], stop: StopSignal, wake: Callable[[], None] = lambda: None) -> None:
        self._pool = pool
        self._stop = stop
        self._wake = wake

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None and kind is not GeneratorExit:
            self._stop.set()
        try:
            self._pool.shut_down()
            self._wake()
            self._pool.end()
        except KeyboardInterrupt:
            raise InterruptedTransferError("interrupted again; did not wait for the blocks in progress") from None
        if kind is KeyboardInterrupt:
            raise InterruptedTransferError("interrupted") from None
