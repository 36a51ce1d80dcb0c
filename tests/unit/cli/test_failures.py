"""Exit codes: one for each kind of end, all of them in the help."""

from __future__ import annotations

import pytest

from snapstone.cli.failures import EXITS, exit_of
from snapstone.cli.outcome import EXIT_CODES, Exit
from snapstone.client import errors


def test_every_kind_of_end_is_in_the_table() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and errors.ClientError in kind.__bases__}
    assert kinds == set(EXITS)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.UnreachableError("x"), 3),
        (errors.StalledError("x"), 3),
        (errors.NoSpaceError("x"), 3),
        (errors.DeniedError("x"), 4),
        (errors.ThrottledOutError("x"), 5),
        (errors.DamagedError("x"), 6),
        (errors.NotFoundError("x"), 7),
        (errors.SourceChangedError("x"), 8),
        (errors.InterruptedTransferError("x"), 130),
        (errors.RemoteError("x", "Code"), 1),
        (errors.ClientError("x"), 1),
    ],
)
def test_codes_are_those_that_scripts_rely_on(error: errors.ClientError, code: int) -> None:
    assert exit_of(error) == code


def test_a_kind_of_its_own_ends_as_the_kind_above_it() -> None:
    class LostError(errors.NotFoundError):
        pass

    class GoneError(errors.ClientError):
        resumable = True

    assert exit_of(LostError("x")) is Exit.NOT_FOUND
    assert exit_of(GoneError("x")) is Exit.UNFINISHED


def test_a_code_that_promises_to_go_on_is_that_of_what_can() -> None:
    goes_on = {Exit.UNFINISHED, Exit.THROTTLED, Exit.INTERRUPTED}
    assert {kind for kind, code in EXITS.items() if code in goes_on} == {kind for kind in EXITS if kind.resumable}


def test_every_code_is_in_the_help() -> None:
    listed = [int(line.split()[0]) for line in EXIT_CODES.splitlines()[1:]]
    assert listed == sorted(Exit)
