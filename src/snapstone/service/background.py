"""Work on snapshots in the background, seals and copies: a thread for each, a limited number at a time, and retries.

A failure is tried again at growing intervals. A full disk and a folder that is gone end by themselves or by an
operator: retried forever. Damage may heal, by a disk that comes back or by the same blocks uploaded again; what the
snapshot's clients have written is worth half an hour of that. An unforeseen failure gets a day, long enough for
somebody to read the log. All this is kept in the catalog, so that no restart begins it again.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event, Lock, Semaphore, Thread
from time import monotonic
from typing import Final, Generic, TypeVar

from snapstone.catalog.contract.catalog import Catalog
from snapstone.core.errors import DamageError, ReadOnlyError, StoreFullError, StoreLostError
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

        `on_failure` receives what `work` raises: the next caller that finds it due retries. A claim that fails is
        logged and nothing else: nothing was attempted, and the pause after an earlier failure may not even be over.
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
        """Wait for all that is under way here; False if something has not ended in that time."""
        deadline = monotonic() + wait_seconds
        with self._lock:
            events = list(self._under_way.values())
        return all(event.wait(max(0.0, deadline - monotonic())) for event in events)

    def run(self, snapshot_id: SnapshotId) -> None:
        """Claim the snapshot and work on it, in this thread; failures are passed on or logged, not raised."""
        try:
            claimed = self._claim(snapshot_id)
        except Exception as error:
            fields = {"snapshot": snapshot_id, "why": repr(error)}
            log.error(f"{self._name} not started", extra={"fields": fields})
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
                f"{self._name} failed, and recording that failed too", extra={"fields": {"snapshot": snapshot_id}}
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


FIRST_PAUSE_MS: Final = 10_000
"""Before the second attempt; doubled before each further one."""

LONGEST_PAUSE_MS: Final = 600_000

LEAST_ATTEMPTS: Final = 5
"""Before anything is given up, however much time has passed: the server may have been busy with other work."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a kind of failure is put up with."""

    message: str
    """The snapshot's state message meanwhile, and afterwards if it ends in error. Clients see it: no secrets in it."""
    limit_ms: int | None
    """From the first failure to the last attempt, in running time; None: forever."""


DAMAGED: Final = Patience("Stored data that the snapshot is built from is damaged", 30 * 60_000)

FULL: Final = Patience("The server has no space to complete the snapshot; it will retry", None)

UNFORESEEN: Final = Patience("The server cannot complete the snapshot: internal failure", 24 * 3_600_000)

_ENDS_BY_ITSELF: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class RetrySchedule:
    """Notes the failures of one kind of work, and decides what follows."""

    def __init__(
        self,
        name: str,
        catalog: Catalog,
        running_ms: Callable[[], int],
        give_up: Callable[[SnapshotId, str], bool],
    ) -> None:
        """`name` is what the log calls the work; `give_up` turns the snapshot to error with a state message."""
        self._name = name
        self._catalog = catalog
        self._running_ms = running_ms
        self._give_up = give_up

    def note(self, snapshot_id: SnapshotId, error: Exception) -> None:
        """An attempt failed: the next one comes after a pause, or the snapshot ends in error."""
        patience = patience_with(error)
        now_ms = self._running_ms()
        noted = self._catalog.note_failure(snapshot_id, patience.message, now_ms, pause_ms)
        if noted is None:
            return  # it was deleted, or somebody else has finished it
        fields: dict[str, object] = {"snapshot": snapshot_id, "attempts": noted.failure_count, "why": repr(error)}
        is_over = patience.limit_ms is not None and now_ms - noted.first_failed_ms >= patience.limit_ms
        if is_over and noted.failure_count >= LEAST_ATTEMPTS:
            self._give_up(snapshot_id, patience.message)
            log.error(f"{self._name} given up", exc_info=error, extra={"fields": fields})
            return
        fields["retry_in_seconds"] = pause_ms(noted.failure_count) // 1000
        trace = error if noted.failure_count == 1 else None  # the same one every time tells nothing new
        log.error(f"{self._name} failed", exc_info=trace, extra={"fields": fields})


def pause_ms(failure_count: int) -> int:
    """How long to wait after this many failures."""
    return min(FIRST_PAUSE_MS << min(failure_count - 1, 32), LONGEST_PAUSE_MS)


def patience_with(error: Exception) -> Patience:
    """The kind of a failure."""
    if isinstance(error, DamageError):
        return DAMAGED
    is_passing = isinstance(error, OSError) and error.errno in _ENDS_BY_ITSELF
    if is_passing or isinstance(error, (StoreFullError, StoreLostError, ReadOnlyError)):
        return FULL
    return UNFORESEEN
