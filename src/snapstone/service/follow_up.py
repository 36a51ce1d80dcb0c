"""What remains to be done once the answer is settled: it may fail, and the answer stays what it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from snapstone.core.ids import SnapshotId

log = logging.getLogger(__name__)


@contextmanager
def follow_up(what: str, snapshot_id: SnapshotId) -> Iterator[None]:
    """Around work that upkeep does again: what was asked for is durable, so to answer an error would be untrue.

    Whatever goes wrong is logged, a full disk and a failing one among it.
    """
    try:
        yield
    except Exception as error:
        fields = {"snapshot": snapshot_id, "left_to_upkeep": what, "why": repr(error)}
        log.warning("the rest of a finished call failed", exc_info=error, extra={"fields": fields})
