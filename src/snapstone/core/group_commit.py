"""Group commit: callers hand in items, one of them commits what has gathered, all of them return when it is durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _Waiter(Generic[Item, Outcome]):
    """One caller's item, and a lock that stays taken until its batch has been committed or it is to lead one."""

    __slots__ = ("item", "leads", "outcome", "turn")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.turn = Lock()
        self.turn.acquire()
        self.leads = False
        self.outcome: Outcome | BaseException = RuntimeError("the commit was interrupted; its outcome is unknown")


class GroupCommit(Generic[Item, Outcome]):
    """Joins concurrent commits into batches, without a thread of its own.

    `commit` is called with one batch at a time, by the thread of one of the batch's callers, and returns one outcome
    for each item, in order. An outcome that is an exception is raised in its caller; an exception raised by `commit` is
    raised in every caller of the batch. While a batch is being committed the next one gathers; then its first caller
    commits it. At most `batch_limit` items are committed at once.

    However a commit ends, its batch is answered and the lead handed on, so nobody waits for ever. Only a caller whose
    wait is broken off would take the lead away with it: a main thread whose signal handlers raise must not submit.
    """

    def __init__(
        self, commit: Callable[[Sequence[Item]], Sequence[Outcome | BaseException]], batch_limit: int = 1024
    ) -> None:
        assert batch_limit > 0
        self._commit = commit
        self._batch_limit = batch_limit
        self._lock = Lock()
        self._gathering: list[_Waiter[Item, Outcome]] = []
        self._committing = False

    def submit(self, item: Item) -> Outcome:
        """Commit `item` together with what others submit meanwhile; returns its outcome or raises its error."""
        waiter: _Waiter[Item, Outcome] = _Waiter(item)
        with self._lock:
            self._gathering.append(waiter)
            waiter.leads = not self._committing
            self._committing = True
        if not waiter.leads:
            waiter.turn.acquire()
        if waiter.leads:
            self._lead()
        if isinstance(waiter.outcome, BaseException):
            raise waiter.outcome
        return waiter.outcome

    def _lead(self) -> None:
        """Commit one batch, whose first caller is the one leading, then hand the lead on."""
        with self._lock:
            batch = self._gathering[: self._batch_limit]
            del self._gathering[: self._batch_limit]
        try:
            outcomes = self._commit([waiter.item for waiter in batch])
            if len(outcomes) != len(batch):
                raise RuntimeError(f"a commit of {len(batch)} items returned {len(outcomes)} outcomes")
            for waiter, outcome in zip(batch, outcomes, strict=True):
                waiter.outcome = outcome
        except Exception as error:
            for waiter in batch:
                waiter.outcome = error
        finally:
            self._hand_on(batch)

    def _hand_on(self, batch: Sequence[_Waiter[Item, Outcome]]) -> None:
        """Wake the caller that leads the next batch, if one has gathered, then those whose batch is done."""
        with self._lock:
            successor = self._gathering[0] if self._gathering else None
            self._committing = successor is not None
        if successor is not None:
            successor.leads = True
            successor.turn.release()
        for waiter in batch[1:]:
            waiter.turn.release()
