"""Work on snapshots in the background: a thread for each, so many of them at work at a time, and waiting for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from threading import Event, Lock, Semaphore, Thread
from time import monotonic
from typing import Generic, TypeVar

from snapstone.core.ids import SnapshotId

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Claimed = TypeVar("Claimed")


class BackgroundWork(Generic[Claimed]):
    """Does one kind of work, at most once at a time for each snapshot; beyond `limit` snapshots wait their turn."""

    def __init__(
        self,
        name: str,
        limit: int,
        claim: Callable[[SnapshotId], Claimed | None],
        work: Callable[[Claimed], None],
        on_failure: Callable[[SnapshotId, Exception], None],
    ) -> None:
        """`claim` takes the lease and returns what `work` is called with, or None if there is nothing to do now.

        `on_failure` is told what `work` raises: whoever knows that it is due tries again. A claim that fails is logged
        and nothing else: nothing was attempted, and the pause after an earlier failure may not even be over.
        """
        self._name = name
        self._limit = limit
        self._claim = claim
        self._work = work
        self._on_failure = on_failure
        self._lock = Lock()
        self._under_way: dict[SnapshotId, Event] = {}
        self._turns = Semaphore(limit)

    def start(self, snapshot_id: SnapshotId) -> Event:
        """Begin, unless it is under way here; the event is set when it has ended."""
        with self._lock:
            ended = self._under_way.get(snapshot_id)
            if ended is not None:
                return ended
            ended = self._under_way[snapshot_id] = Event()
        Thread(target=self._run, args=(snapshot_id, ended), name=f"{self._name} {snapshot_id}", daemon=True).start()
        return ended

    @property
    def is_busy(self) -> bool:
        """Whether as many snapshots are under way here as are worked on at a time."""
        with self._lock:
            return len(self._under_way) >= self._limit

    def wait_until_idle(self, wait_seconds: float) -> bool:
        """Wait for all that is under way here; False where something has not ended in that time."""
        deadline = monotonic() + wait_seconds
        with self._lock:
            events = list(self._under_way.values())
        return all(event.wait(max(0.0, deadline - monotonic())) for event in events)

    def run(self, snapshot_id: SnapshotId) -> None:
        """Claim the snapshot and work on it, in this thread; what fails is handed on or logged, not raised."""
        try:
            claimed = self._claim(snapshot_id)
        except Exception as error:
            fields = {"snapshot": snapshot_id, "why": repr(error)}
            log.error(f"{self._name} not begun", extra={"fields": fields})
            return
        if claimed is None:
            return
        try:
            self._work(claimed)
        except Exception as error:
            self._fail(snapshot_id, error)

    def _run(self, snapshot_id: SnapshotId, ended: Event) -> None:
        try:
            with self._turns:
                self.run(snapshot_id)
        finally:
            with self._lock:
                del self._under_way[snapshot_id]
            ended.set()

    def _fail(self, snapshot_id: SnapshotId, error: Exception) -> None:
        """Hand the failure on. If that fails too, the snapshot's state stays and its lease runs out."""
        try:
            self._on_failure(snapshot_id, error)
        except Exception:
            log.exception(
                f"{self._name} failed, and so did the note of it", extra={"fields": {"snapshot": snapshot_id}}
            )


def do_each(items: Iterable[Item], do: Callable[[Item], object]) -> None:
    """Do it for every item, also after one that fails; then raise the first failure."""
    first: Exception | None = None
    for item in items:
        try:
            do(item)
        except Exception as error:
            first = first or error
    if first is not None:
        raise first
