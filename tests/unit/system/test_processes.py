"""What the kernel says of processes, asked of real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from snapstone.system.processes import ProcessState, look_at


@contextmanager
def running(program: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", f"print(flush=True)\n{program}"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def eventually(process_id: int, condition: Callable[[ProcessState], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition(look_at(process_id)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_process_that_only_waits_is_not_active() -> None:
    with running("import time; time.sleep(60)") as process_id:
        assert eventually(process_id, lambda state: state.thread_states == {"S"})
        earlier = look_at(process_id)
        time.sleep(0.2)
        assert not look_at(process_id).is_active_since(earlier)
        assert not earlier.is_stopped


def test_a_process_that_works_is_active() -> None:
    with running("while True: pass") as process_id:
        earlier = look_at(process_id)
        time.sleep(0.2)
        assert look_at(process_id).is_active_since(earlier)


def test_one_thread_that_works_makes_a_process_active() -> None:
    program = "import threading, time\nthreading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()\n"
    with running(program + "time.sleep(60)") as process_id:
        assert eventually(process_id, lambda state: "R" in state.thread_states)


def test_a_process_that_is_stopped_is_known() -> None:
    with running("import time; time.sleep(60)") as process_id:
        os.kill(process_id, signal.SIGSTOP)
        assert eventually(process_id, lambda state: state.is_stopped)
        assert not look_at(process_id).is_active_since(look_at(process_id))


def test_a_process_that_worked_between_two_looks_was_active() -> None:
    assert ProcessState(frozenset({"S"}), 8).is_active_since(ProcessState(frozenset({"S"}), 7))
    assert not ProcessState(frozenset({"S"}), 8).is_active_since(ProcessState(frozenset({"S"}), 8))


def test_a_process_that_is_gone_has_no_threads() -> None:
    with running("pass") as process_id:
        pass
    assert look_at(process_id) == ProcessState(frozenset(), 0)
