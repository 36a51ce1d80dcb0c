"""Locks and turns: tried between two open files, which is what two processes are to the operating system."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import pytest

from snapstone.system.files import opened
from snapstone.system.locks import Turn, try_lock, unlock

WAIT_SECONDS = 10


def test_a_turn_waits_for_the_one_before(tmp_path: Path) -> None:
    first, second = Turn(tmp_path / "lock"), Turn(tmp_path / "lock")
    entered = Event()

    def enter() -> None:
        with second:
            entered.set()

    thread = Thread(target=enter)
    with first:
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(WAIT_SECONDS)
    thread.join()


def test_a_turn_that_fails_is_over(tmp_path: Path) -> None:
    turn = Turn(tmp_path / "lock")
    with pytest.raises(KeyError), turn:
        raise KeyError
    assert turn.number is None
    with Turn(tmp_path / "lock"):
        pass


def test_each_turn_has_its_number_while_it_lasts(tmp_path: Path) -> None:
    turn = Turn(tmp_path / "lock")
    assert turn.number is None
    with turn:
        assert turn.number == 1
    with turn:
        assert turn.number == 2


def test_a_closed_turn_is_refused(tmp_path: Path) -> None:
    """Its descriptor may be another file's by now."""
    turn = Turn(tmp_path / "lock")
    turn.close()
    turn.close()
    with pytest.raises(ValueError, match="closed"), turn:
        raise AssertionError("the turn was taken")


def test_threads_of_one_process_take_turns_too(tmp_path: Path) -> None:
    turn, entered = Turn(tmp_path / "lock"), Event()

    def enter() -> None:
        with turn:
            entered.set()

    thread = Thread(target=enter)
    with turn:
        thread.start()
        assert not entered.wait(0.05)
        assert not turn.is_awaited
    assert entered.wait(WAIT_SECONDS)
    thread.join()


def test_a_process_that_waits_for_another_says_so(tmp_path: Path) -> None:
    first, second = Turn(tmp_path / "lock"), Turn(tmp_path / "lock")

    def enter() -> None:
        with second:
            pass

    thread = Thread(target=enter)
    with first:
        thread.start()
        deadline = monotonic() + WAIT_SECONDS
        while not second.is_awaited:
            assert monotonic() < deadline
    thread.join()
    assert not second.is_awaited


def test_a_shared_lock_keeps_out_those_who_want_it_alone_only(tmp_path: Path) -> None:
    flags = os.O_RDWR | os.O_CREAT
    with ExitStack() as files:
        first, second, third = [files.enter_context(opened(tmp_path / "lock", flags)) for _ in range(3)]
        assert try_lock(first, shared=True)
        assert try_lock(second, shared=True)
        assert not try_lock(third)
        unlock(first)
        unlock(second)
        assert try_lock(third)
        assert not try_lock(first, shared=True)


def test_only_its_owner_may_open_the_file(tmp_path: Path) -> None:
    Turn(tmp_path / "lock").close()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
