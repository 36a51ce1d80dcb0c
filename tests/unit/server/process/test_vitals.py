"""Vitals: what hangs is found, what waits for somebody who hangs is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event, Thread

import pytest

from snapstone.catalog.sqlite.connections import Connections
from snapstone.server.process.heartbeat import Vitals, stacks
from snapstone.storage.index import Index
from snapstone.system.processes import ProcessState

RESTING = ProcessState(frozenset({"S"}), 0)


def vitals(state: ProcessState = RESTING) -> Vitals:
    return Vitals(lambda: state)


def test_progress_and_rest_are_sound() -> None:
    answers: list[int | None] = [1, 2, 3, None, None, None, None, 4, 5]
    remaining = iter(answers)
    looked_at = vitals()
    looked_at.watch("work", lambda: next(remaining), 3)
    assert [looked_at.look() for _ in answers] == [None] * len(answers)


def test_what_stays_the_same_for_the_stated_looks_hangs() -> None:
    looked_at = vitals()
    looked_at.watch("work", lambda: 7, 3)
    assert [looked_at.look() for _ in range(3)] == [None] * 3
    assert looked_at.look() == "work has made no progress in 3 seconds"


def test_progress_in_between_begins_the_count_anew() -> None:
    answers = iter([1, 1, 1, 2, 2, 2, 2])
    looked_at = vitals()
    looked_at.watch("work", lambda: next(answers), 3)
    assert [looked_at.look() is None for _ in range(7)] == [True] * 6 + [False]


def test_a_process_that_waits_for_a_disk_is_not_said_to_hang() -> None:
    looked_at = vitals(ProcessState(frozenset({"S", "D"}), 0))
    looked_at.watch("work", lambda: 7, 1)
    assert [looked_at.look() for _ in range(5)] == [None] * 5


@pytest.mark.parametrize("what", ["catalog", "index"])
def test_the_holder_of_a_turn_hangs_and_not_who_waits_for_it(tmp_path: Path, what: str) -> None:
    """Two openings of one file exclude each other as two processes do."""
    made: list[Connections] | list[Index]
    turns: list[Callable[[], AbstractContextManager[object]]]
    if what == "catalog":
        made = [Connections(tmp_path / "file.db") for _ in range(2)]
        turns = [each.writing for each in made]
    else:
        made = [Index(tmp_path / "file.db") for _ in range(2)]
        turns = [each._transaction for each in made]
    holder, waiter = made
    has_it, release = Event(), Event()

    def hold() -> None:
        with turns[0]():
            has_it.set()
            release.wait(60)

    def wait() -> None:
        with turns[1]():
            pass

    threads = [Thread(target=hold), Thread(target=wait)]
    threads[0].start()
    assert has_it.wait(10)
    threads[1].start()
    deadline = time.monotonic() + 10
    while not waiter.awaits_turn:
        assert time.monotonic() < deadline
    holding, waiting = vitals(), vitals()
    holding.watch("a turn", lambda: holder.turn, 2)
    waiting.watch("a turn", lambda: waiter.turn, 2)
    try:
        assert [holding.look() is None for _ in range(4)] == [True, True, False, False]
        assert [waiting.look() for _ in range(4)] == [None] * 4
        assert not holder.awaits_turn
    finally:
        release.set()
        for thread in threads:
            thread.join(10)
    assert holding.look() is None
    assert (holder.turn, waiter.turn, waiter.awaits_turn) == (None, None, False)
    for each in made:
        each.close()


def test_stacks_name_each_thread_and_where_it_is() -> None:
    leave = Event()
    thread = Thread(target=leave.wait, args=(10,), name="somebody who waits")
    thread.start()
    text = stacks()
    leave.set()
    thread.join()
    assert "somebody who waits" in text
    assert "threading.py" in text
