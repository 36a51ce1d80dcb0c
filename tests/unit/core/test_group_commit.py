"""Group commit: what is submitted meanwhile is committed together, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, current_thread

import pytest

from snapstone.core.group_commit import GroupCommit

PATIENCE_SECONDS = 10


class Journal:
    """A commit that notes its batches; the first one waits until it is let go."""

    def __init__(self, answer: Callable[[Sequence[str]], Sequence[str | BaseException]]) -> None:
        self.answer = answer
        self.batches: list[list[str]] = []
        self.first_begun = Event()
        self.first_may_end = Event()

    def __call__(self, batch: Sequence[str]) -> Sequence[str | BaseException]:
        self.batches.append(list(batch))
        if len(self.batches) == 1:
            self.first_begun.set()
            assert self.first_may_end.wait(PATIENCE_SECONDS)
        return self.answer(batch)


def echo(batch: Sequence[str]) -> list[str | BaseException]:
    return [item.upper() for item in batch]


def submit_behind_the_first(
    journal: Journal, items: str, batch_limit: int = 1024
) -> tuple[GroupCommit[str, str], dict[str, Future[str]]]:
    """Submit the first item, the others in order while it is being committed, then let it go; all have ended."""
    group: GroupCommit[str, str] = GroupCommit(journal, batch_limit)
    futures: dict[str, Future[str]] = {}
    with ThreadPoolExecutor(len(items)) as threads:
        futures[items[0]] = threads.submit(group.submit, items[0])
        assert journal.first_begun.wait(PATIENCE_SECONDS)
        for gathered, item in enumerate(items[1:], start=1):
            futures[item] = threads.submit(group.submit, item)
            while len(group._gathering) < gathered:
                assert not futures[item].done()
        journal.first_may_end.set()
        for future in futures.values():
            future.exception(PATIENCE_SECONDS)
    return group, futures


def test_a_single_caller_commits_its_own_item() -> None:
    committers = []

    def commit(batch: Sequence[str]) -> list[str]:
        committers.append(current_thread())
        return [item.upper() for item in batch]

    group: GroupCommit[str, str] = GroupCommit(commit)
    assert group.submit("a") == "A"
    assert group.submit("b") == "B"
    assert committers == [current_thread(), current_thread()]


def test_what_is_submitted_during_a_commit_is_committed_together_in_order() -> None:
    journal = Journal(echo)
    _, futures = submit_behind_the_first(journal, "abcd")
    assert journal.batches == [["a"], ["b", "c", "d"]]
    assert {item: future.result() for item, future in futures.items()} == {"a": "A", "b": "B", "c": "C", "d": "D"}


def test_no_batch_is_larger_than_the_limit() -> None:
    journal = Journal(echo)
    _, futures = submit_behind_the_first(journal, "abcdef", batch_limit=2)
    assert journal.batches == [["a"], ["b", "c"], ["d", "e"], ["f"]]
    assert [future.result() for future in futures.values()] == list("ABCDEF")


def test_an_outcome_that_is_an_error_is_raised_in_its_caller_alone() -> None:
    refused = ValueError("c")
    journal = Journal(lambda batch: [refused if item == "c" else item.upper() for item in batch])
    _, futures = submit_behind_the_first(journal, "abcd")
    assert futures["c"].exception() is refused
    assert [futures[item].result() for item in "abd"] == ["A", "B", "D"]


def test_a_commit_that_raises_raises_in_every_caller_of_its_batch_and_in_no_other() -> None:
    def answer(batch: Sequence[str]) -> list[str | BaseException]:
        if "b" in batch:
            raise OSError("disk full")
        return echo(batch)

    group, futures = submit_behind_the_first(Journal(answer), "abcd")
    assert futures["a"].result() == "A"
    assert [str(futures[item].exception()) for item in "bcd"] == ["disk full"] * 3
    assert group.submit("e") == "E"


@pytest.mark.parametrize("returned", [["x"], ["x"] * 4])
def test_a_wrong_number_of_outcomes_is_an_error_for_the_whole_batch_and_leaves_nobody_waiting(
    returned: list[str],
) -> None:
    journal = Journal(lambda batch: returned if "b" in batch else echo(batch))
    group, futures = submit_behind_the_first(journal, "abcd")
    expected = f"a commit of 3 items returned {len(returned)} outcomes"
    assert [str(futures[item].exception()) for item in "bcd"] == [expected] * 3
    assert group.submit("e") == "E"


def test_an_interrupted_commit_interrupts_its_own_thread_and_is_an_error_for_the_others() -> None:
    def answer(batch: Sequence[str]) -> list[str | BaseException]:
        if "b" in batch:
            raise KeyboardInterrupt
        return echo(batch)

    group, futures = submit_behind_the_first(Journal(answer), "abcd")
    assert isinstance(futures["b"].exception(), KeyboardInterrupt)
    assert [type(futures[item].exception()) for item in "cd"] == [RuntimeError] * 2
    assert group.submit("e") == "E"


def test_the_first_of_the_next_batch_leads_it_when_the_one_before_has_failed() -> None:
    def answer(batch: Sequence[str]) -> list[str | BaseException]:
        if "a" in batch:
            raise OSError("once")
        return echo(batch)

    _, futures = submit_behind_the_first(Journal(answer), "abc")
    assert isinstance(futures["a"].exception(), OSError)
    assert [futures[item].result() for item in "bc"] == ["B", "C"]


def test_many_callers_each_get_their_own_outcome_and_batches_never_overlap() -> None:
    committing: list[int] = []
    committed: list[int] = []

    def commit(batch: Sequence[int]) -> list[int]:
        assert not committing
        committing.extend(batch)
        committed.extend(batch)
        committing.clear()
        return [item + 1 for item in batch]

    group: GroupCommit[int, int] = GroupCommit(commit, batch_limit=5)
    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(group.submit, range(5_000))) == list(range(1, 5_001))
    assert sorted(committed) == list(range(5_000))


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(AssertionError):
        GroupCommit(echo, batch_limit=0)
