"""Group commit: callers hand in items, one of them commits what has gathered, all of them return when it is durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _Waiter(Generic[Item, Outcome]):
    """One caller's item, and a lock that stays taken until its batch has been committed."""

    __slots__ = ("item", "leads", "outcome", "turn")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.turn = Lock()
        self.turn.acquire()
        self.leads = False
        self.outcome: Outcome | BaseException | None = None


class GroupCommit(Generic[Item, Outcome]):
    """Joins concurrent commits into batches, without a thread of its own.

    `commit` is called with one batch at a time, by the thread of one of the batch's callers, and returns one outcome for
    each item, in order. An outcome that is an exception is raised in its caller; an exception raised by `commit` is
    raised in every caller of the batch. While a batch is being committed the next one gathers; then its first caller
    commits it. At most `batch_limit` items are committed at once.
    """

    def __init__(
        self, commit: Callable[[Sequence[Item]], Sequence[Outcome | BaseException]], batch_limit: int = 1024
    ) -> None:
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
        return waiter.outcome  # type: ignore[return-value]

    def _lead(self) -> None:
        """Commit one batch, whose first caller is the one leading, then hand the lead on."""
        with self._lock:
            batch = self._gathering[: self._batch_limit]
            del self._gathering[: self._batch_limit]
        try:
            outcomes: Sequence[Outcome | BaseException] = self._commit([waiter.item for waiter in batch])
        except BaseException as error:  # noqa: BLE001 -- every caller of the batch gets it
            outcomes = [error] * len(batch)
        for waiter, outcome in zip(batch, outcomes, strict=True):
            waiter.outcome = outcome
        with self._lock:
            successor = self._gathering[0] if self._gathering else None
            self._committing = successor is not None
        if successor is not None:
            successor.leads = True
            successor.turn.release()
        for waiter in batch[1:]:
            waiter.turn.release()
