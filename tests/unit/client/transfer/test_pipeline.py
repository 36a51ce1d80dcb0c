"""`run` and `ordered`: every item once, bounds, first error, early ends, Ctrl-C, stalls."""

from __future__ import annotations

import ctypes
import gc
import mmap
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from snapstone.client.errors import InterruptedTransferError, StalledError
from snapstone.client.transfer import pipeline
from snapstone.client.transfer.pipeline import StopSignal, ordered, run
from snapstone.core.blocks import BLOCK_SIZE

LONG = 60.0


class WorkError(Exception):
    """What the tests fail with."""


def pool_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("snapstone-")]


def do_run(
    work: Iterable[int],
    perform: object,
    *,
    worker_count: int = 4,
    stall_seconds: float = LONG,
    stop: StopSignal | None = None,
) -> None:
    assert callable(perform)
    run(work, perform, worker_count=worker_count, stall_seconds=stall_seconds, stop=stop or StopSignal())


def do_ordered(
    work: Iterable[int],
    fetch: object,
    *,
    worker_count: int = 4,
    window: int = 8,
    stall_seconds: float = LONG,
    stop: StopSignal | None = None,
) -> Iterator[tuple[int, memoryview, object]]:
    assert callable(fetch)
    return ordered(
        work, fetch, worker_count=worker_count, window=window, stall_seconds=stall_seconds, stop=stop or StopSignal()
    )


class Watched:
    """An iterable that notices whether it was closed, and how far it was read."""

    def __init__(self, count: int, error: BaseException | None = None) -> None:
        self.count = count
        self.error = error
        self.given_count = 0
        self.was_closed = False

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                self.given_count += 1
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.was_closed = True


# run


@pytest.mark.parametrize("worker_count", [1, 3, 32])
def test_every_item_is_done_once(worker_count: int) -> None:
    done: list[int] = []
    do_run(range(3000), lambda number, _: done.append(number), worker_count=worker_count)

    assert sorted(done) == list(range(3000))
    assert pool_threads() == []


def test_no_work_is_no_error() -> None:
    do_run([], lambda *_: None)
    assert list(do_ordered([], lambda *_: None)) == []


def test_each_worker_has_one_buffer_of_a_block_aligned_to_a_page() -> None:
    buffers: dict[int, set[int]] = {}

    def perform(_: int, block: memoryview) -> None:
        assert len(block) == BLOCK_SIZE
        assert not block.readonly
        address = ctypes.addressof(ctypes.c_char.from_buffer(block))
        assert address % mmap.PAGESIZE == 0
        buffers.setdefault(threading.get_ident(), set()).add(address)
        time.sleep(0.001)

    do_run(range(200), perform, worker_count=4)

    assert len(buffers) == 4
    assert all(len(addresses) == 1 for addresses in buffers.values())
    assert len(set.union(*buffers.values())) == 4


def test_no_more_threads_are_started_than_there_is_work_for() -> None:
    most = 0

    def look(*_: object) -> None:
        nonlocal most
        most = max(most, len(pool_threads()))

    def slowly() -> Iterator[int]:
        for number in range(10):
            time.sleep(0.01)
            yield number

    do_run(range(1), look, worker_count=32)
    assert most <= 2
    do_run(slowly(), look, worker_count=32)
    assert most <= 3


def test_as_many_workers_as_wanted_are_at_work_and_no_more() -> None:
    all_there = threading.Barrier(5)
    lock = threading.Lock()
    at_work = most = 0

    def perform(number: int, _: memoryview) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        if number < 5:
            all_there.wait(LONG)
        with lock:
            at_work -= 1

    do_run(range(500), perform, worker_count=5)
    assert most == 5


def test_the_work_is_taken_lazily() -> None:
    work = Watched(1000)
    lock = threading.Lock()
    done_count = 0
    ahead: list[int] = []

    def perform(*_: object) -> None:
        nonlocal done_count
        with lock:
            ahead.append(work.given_count - done_count)
            done_count += 1

    do_run(work, perform, worker_count=4)
    assert max(ahead) <= 4


def test_the_first_error_stops_all_and_is_raised() -> None:
    work = Watched(1_000_000)
    stop = StopSignal()
    first = WorkError("first")
    all_there = threading.Barrier(8)

    def perform(number: int, _: memoryview) -> None:
        if number >= 20:
            all_there.wait(LONG)
        if number == 20:
            raise first
        if number > 20:
            stop.wait(LONG)
            time.sleep(0.02)
            raise WorkError("later")

    with pytest.raises(WorkError) as caught:
        do_run(work, perform, worker_count=8, stop=stop)

    assert caught.value is first
    assert stop.is_set()
    assert work.given_count < 100
    assert work.was_closed
    assert pool_threads() == []


def test_an_error_in_the_work_is_raised() -> None:
    done: list[int] = []
    with pytest.raises(WorkError, match="of the work"):
        do_run(Watched(50, WorkError("of the work")), lambda number, _: done.append(number))
    assert sorted(done) == list(range(50))
    assert pool_threads() == []


def test_an_exit_raised_by_a_worker_is_not_lost() -> None:
    def perform(*_: object) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        do_run(range(5), perform)


def test_a_set_stop_ends_the_run_as_interrupted() -> None:
    work = Watched(1_000_000)
    stop = StopSignal()

    def perform(number: int, _: memoryview) -> None:
        if number == 100:
            stop.set()

    with pytest.raises(InterruptedTransferError):
        do_run(work, perform, stop=stop)
    assert work.was_closed
    assert work.given_count < 200
    assert pool_threads() == []


def test_a_stop_that_is_set_before_does_nothing() -> None:
    stop = StopSignal()
    stop.set()
    with pytest.raises(InterruptedTransferError):
        do_run(range(5), lambda *_: pytest.fail("was done"), stop=stop)


def test_workers_that_hang_are_a_stall_of_the_blocks_in_work() -> None:
    stop = StopSignal()
    with pytest.raises(StalledError, match=r"none of 2 blocks in progress completed for 0\.5 seconds, after 3"):
        do_run(range(5), lambda number, _: number >= 3 and stop.wait(LONG), stall_seconds=0.5, stop=stop)
    assert pool_threads() == []


def test_a_source_that_gives_nothing_is_a_stall_of_the_source() -> None:
    stop = StopSignal()

    def work() -> Iterator[int]:
        yield from range(3)
        stop.wait(LONG)

    with pytest.raises(StalledError, match=r"no block from the source for 0\.5 seconds, after 3 blocks"):
        do_run(work(), lambda *_: None, stall_seconds=0.5, stop=stop)
    assert pool_threads() == []


def test_slow_work_that_goes_on_is_no_stall() -> None:
    done: list[int] = []

    def perform(item: int, _: memoryview) -> None:
        time.sleep(0.15)
        done.append(item)

    do_run(range(12), perform, worker_count=1, stall_seconds=1.2)
    assert done == list(range(12))


def test_workers_that_do_not_heed_the_stop_are_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "JOIN_SECONDS", 0.1)
    release = threading.Event()
    with pytest.raises(StalledError):
        do_run(range(1), lambda *_: release.wait(LONG), stall_seconds=0.2)
    left = pool_threads()
    assert len(left) == 1
    release.set()
    left[0].join()


def test_where_no_thread_can_be_started_those_that_there_are_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def start_two(thread: threading.Thread) -> None:
        if thread.name not in ("snapstone-0", "snapstone-1"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    done: list[int] = []

    def perform(number: int, _: memoryview) -> None:
        done.append(number)
        time.sleep(0.0005)

    do_run(range(100), perform, worker_count=8)
    assert sorted(done) == list(range(100))


# ordered


@pytest.mark.parametrize(("worker_count", "window"), [(1, 1), (4, 1), (4, 3), (8, 32), (32, 8)])
def test_the_order_is_that_of_the_work(worker_count: int, window: int) -> None:
    def fetch(number: int, into: memoryview) -> str:
        time.sleep((number * 7919 % 5) / 5000)
        into[:8] = number.to_bytes(8, "big")
        return str(number)

    got = []
    for number, block, result in do_ordered(range(300), fetch, worker_count=worker_count, window=window):
        assert int.from_bytes(block[:8], "big") == number
        got.append((number, result))

    assert got == [(number, str(number)) for number in range(300)]
    assert pool_threads() == []


def test_no_more_blocks_are_fetched_ahead_than_the_window_holds() -> None:
    addresses: set[int] = set()
    work = Watched(100)

    def fetch(_: int, into: memoryview) -> None:
        addresses.add(ctypes.addressof(ctypes.c_char.from_buffer(into)))

    for count, _ in enumerate(do_ordered(work, fetch, worker_count=8, window=5)):
        time.sleep(0.001)
        assert work.given_count <= count + 5
    assert len(addresses) <= 5


def test_a_block_stays_as_it_is_until_the_next_step() -> None:
    def fetch(number: int, into: memoryview) -> None:
        into[:] = bytes([number]) * BLOCK_SIZE

    for number, block, _ in do_ordered(range(50), fetch, worker_count=4, window=4):
        time.sleep(0.002)
        assert block == bytes([number]) * BLOCK_SIZE


def test_the_first_error_of_a_fetch_is_raised() -> None:
    work = Watched(1_000_000)

    def fetch(number: int, _: memoryview) -> None:
        if number == 30:
            raise WorkError("of a fetch")

    with pytest.raises(WorkError, match="of a fetch"):
        list(do_ordered(work, fetch))
    assert work.was_closed
    assert pool_threads() == []


def test_an_error_in_ordered_work_is_raised() -> None:
    with pytest.raises(WorkError, match="of the work"):
        list(do_ordered(Watched(10, WorkError("of the work")), lambda *_: None))
    assert pool_threads() == []


def test_an_early_close_ends_the_workers_and_sets_no_stop() -> None:
    work = Watched(1_000_000)
    stop = StopSignal()
    blocks = do_ordered(work, lambda *_: time.sleep(0.001), worker_count=8, window=16, stop=stop)
    for number, _, _ in blocks:
        if number == 10:
            break
    blocks.close()  # type: ignore[attr-defined]

    assert not stop.is_set()
    assert work.was_closed
    assert work.given_count <= 10 + 1 + 16
    assert pool_threads() == []


def test_an_error_of_the_caller_ends_the_workers() -> None:
    def fail() -> None:
        for number, _, _ in do_ordered(range(1000), lambda *_: None):
            if number == 5:
                raise WorkError("of the caller")

    with pytest.raises(WorkError):
        fail()
    gc.collect()
    assert pool_threads() == []


def test_a_generator_that_was_never_started_starts_no_thread() -> None:
    do_ordered(range(10), lambda *_: None).close()  # type: ignore[attr-defined]
    assert pool_threads() == []


def test_a_stop_ends_the_waiting_for_a_block() -> None:
    stop = StopSignal()
    blocks = do_ordered(range(10), lambda *_: stop.wait(LONG), stop=stop)
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(InterruptedTransferError):
        list(blocks)
    assert pool_threads() == []


def test_a_fetch_that_hangs_is_a_stall_but_a_slow_caller_is_not() -> None:
    stop = StopSignal()
    blocks = do_ordered(range(10), lambda number, _: number == 5 and stop.wait(LONG), stall_seconds=0.5, stop=stop)
    for _ in range(5):
        next(blocks)
        time.sleep(0.6)
    with pytest.raises(StalledError, match="none of 1 blocks in progress completed"):
        next(blocks)
    assert pool_threads() == []


# stop, and Ctrl-C


def test_a_stop_wakes_all_who_wait_and_may_be_set_twice() -> None:
    stop = StopSignal()
    assert not stop.wait(0.001)
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(stop.wait(LONG))) for _ in range(8)]
    for thread in threads:
        thread.start()
    stop.set()
    stop.set()
    for thread in threads:
        thread.join()
    assert woken == [True] * 8
    assert stop.wait(LONG)


def interrupt(body: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a program, and send it SIGINT as soon as it has said `ready`."""
    program = tmp_path / "program.py"
    program.write_text(
        "import threading, time\n"
        "from snapstone.client.errors import InterruptedTransferError\n"
        "from snapstone.client.transfer.pipeline import StopSignal, ordered, run\n"
        "stop = StopSignal()\n" + textwrap.dedent(body)
    )
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LONG)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess([], process.returncode, out, err)


def test_an_interrupt_during_a_run_ends_it_with_its_workers(tmp_path: Path) -> None:
    ended = interrupt(
        """
        def perform(number, block):
            if number == 100:
                print("ready", flush=True)
            if number >= 100:
                stop.wait(60)
        try:
            run(range(1000), perform, worker_count=8, stall_seconds=60, stop=stop)
        except InterruptedTransferError as error:
            print(error, stop.is_set(), threading.active_count())
        """,
        tmp_path,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "interrupted True 1\n", "")


def test_an_interrupt_while_waiting_for_a_block_ends_the_workers(tmp_path: Path) -> None:
    ended = interrupt(
        """
        def fetch(number, block):
            if number == 100:
                print("ready", flush=True)
                stop.wait(60)
        try:
            for _ in ordered(range(1000), fetch, worker_count=8, window=16, stall_seconds=60, stop=stop):
                pass
        except InterruptedTransferError as error:
            print(error, stop.is_set(), threading.active_count())
        """,
        tmp_path,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "interrupted True 1\n", "")


def test_a_second_interrupt_does_not_wait_for_workers_that_hang(tmp_path: Path) -> None:
    ended = interrupt(
        """
        import os, signal
        def perform(number, block):
            print("ready", flush=True)
            stop.wait(60)
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        begin = time.monotonic()
        try:
            run(range(1), perform, worker_count=8, stall_seconds=60, stop=stop)
        except InterruptedTransferError as error:
            print(error, time.monotonic() - begin < 9)
        """,
        tmp_path,
    )
    assert ended.returncode == 0
    assert ended.stdout == "interrupted again; did not wait for the blocks in progress True\n"
    assert ended.stderr == ""


def test_a_stop_set_by_a_signal_handler_while_the_main_thread_waits_for_it_is_no_deadlock(tmp_path: Path) -> None:
    ended = interrupt(
        """
        import signal
        signal.signal(signal.SIGINT, lambda *_: stop.set())
        print("ready", flush=True)
        print(stop.wait(60))
        """,
        tmp_path,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")
