"""The same done to each of several snapshots."""

from __future__ import annotations

import argparse

import pytest

from snapstone.cli.failures import each
from snapstone.cli.outcome import Exit
from snapstone.client.errors import ClientError, DeniedError, NotFoundError, UnreachableError

OPTIONS = argparse.Namespace()


def failing(errors: dict[str, ClientError], done: list[str]) -> Exit:
    def act(name: str) -> None:
        if name in errors:
            raise errors[name]
        done.append(name)

    return each(OPTIONS, ["a", "b", "a", "c"], act)


def test_each_is_done_once_and_in_order() -> None:
    done: list[str] = []
    assert failing({}, done) is Exit.DONE
    assert done == ["a", "b", "c"]


def test_a_failure_is_said_and_the_others_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []
    assert failing({"a": NotFoundError("no a")}, done) is Exit.NOT_FOUND
    assert done == ["b", "c"]
    assert capsys.readouterr().err == "snapstone: no a\n"


def test_failures_that_agree_keep_their_code_and_others_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing({"a": DeniedError("no a"), "b": DeniedError("no b")}, []) is Exit.DENIED
    assert failing({"a": DeniedError("no a"), "b": NotFoundError("no b")}, []) is Exit.FAILED
    assert capsys.readouterr().err.count("\n") == 4


def test_an_endpoint_that_does_not_answer_is_asked_no_more() -> None:
    done: list[str] = []
    with pytest.raises(UnreachableError):
        failing({"b": UnreachableError("no answer")}, done)
    assert done == ["a"]
