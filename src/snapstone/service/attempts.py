"""What becomes of a seal or a copy that fails: it is tried again at growing intervals, and not for ever.

A full disk and a folder that is gone end by themselves or by an operator: tried for ever. Damage may heal, by a disk
that comes back or by the same blocks uploaded again; what the snapshot's clients have written is worth half an hour of
that. A failure that nobody foresaw gets a day, long enough for somebody to read the log. All this is kept in the
catalog, so that no restart begins it anew.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from snapstone.catalog.contract import Catalog
from snapstone.core.errors import DamageError, ReadOnlyError, StoreFullError, StoreLostError
from snapstone.core.ids import SnapshotId

log = logging.getLogger(__name__)

FIRST_PAUSE_MS: Final = 10_000
"""Before the second attempt; doubled before each further one."""

LONGEST_PAUSE_MS: Final = 600_000

LEAST_ATTEMPTS: Final = 5
"""Before anything is given up, however much time has passed: the server may have been busy with other things."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a kind of failure is put up with."""

    message: str
    """The snapshot's state message meanwhile, and afterwards if it ends in error. Clients see it: no secrets in it."""
    limit_ms: int | None
    """From the first failure to the last attempt, in running time; None for ever."""


DAMAGED: Final = Patience("Stored data that the snapshot is made from is damaged", 30 * 60_000)

FULL: Final = Patience("The server has no room to complete the snapshot; it goes on by itself", None)

UNFORESEEN: Final = Patience("The server cannot complete the snapshot: internal failure", 24 * 3_600_000)

_ENDS_BY_ITSELF: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Attempts:
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
    """How long nobody tries again after so many failures."""
    return min(FIRST_PAUSE_MS << min(failure_count - 1, 32), LONGEST_PAUSE_MS)


def patience_with(error: Exception) -> Patience:
    """The kind of a failure."""
    if isinstance(error, DamageError):
        return DAMAGED
    is_passing = isinstance(error, OSError) and error.errno in _ENDS_BY_ITSELF
    if is_passing or isinstance(error, (StoreFullError, StoreLostError, ReadOnlyError)):
        return FULL
    return UNFORESEEN
