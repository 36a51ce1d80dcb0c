"""Turns among processes: tried between two open files, which is what two processes are to the operating system."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest

from snapstone.system.locks import Turn

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


def test_only_its_owner_may_open_the_file(tmp_path: Path) -> None:
    Turn(tmp_path / "lock").close()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
