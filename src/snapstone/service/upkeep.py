"""What a server does without being asked: it resumes seals, times out pending snapshots, and ends what is over."""

from __future__ import annotations

import logging
from typing import Final

from snapstone.catalog.contract import TIMED_OUT
from snapstone.service.copying import Copier
from snapstone.service.deletion import finish_deletion
from snapstone.service.engine import Engine
from snapstone.service.kms.upkeep import destroy_due_keys, rotate_due_keys

log = logging.getLogger(__name__)

SWEEP_INTERVAL_MS: Final = 10_000
"""Between two looks for time-outs and cut-off deletions; seals are looked for at every tick."""


class Upkeep:
    """Called every second by one thread of each process; every step is safe to run in several at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._next_sweep_ms = 0
        self.copier = Copier(engine)

    def tick(self) -> None:
        """Do what is due."""
        now_ms = self._engine.now_ms()
        for snapshot_id in self._engine.catalog.seals_due(now_ms):
            if self._engine.sealer.is_busy:
                break  # what is left is due at the next tick, for this process or another
            self._engine.sealer.start(snapshot_id)
        for snapshot_id in self._engine.catalog.copies_due(now_ms):
            if self.copier.is_busy:
                break
            self.copier.start(snapshot_id)
        if now_ms >= self._next_sweep_ms:
            self._next_sweep_ms = now_ms + SWEEP_INTERVAL_MS
            self._sweep(now_ms)

    def _sweep(self, now_ms: int) -> None:
        for snapshot_id in self._engine.catalog.expire_pending(now_ms, TIMED_OUT):
            log.warning("snapshot timed out", extra={"fields": {"snapshot": snapshot_id}})
        for snapshot_id in self._engine.catalog.empty_recycle_bin(now_ms):
            log.info("snapshot's time in the recycle bin is over", extra={"fields": {"snapshot": snapshot_id}})
        self._engine.catalog.end_temporary_restores(now_ms)
        for snapshot_id in self._engine.catalog.deletions_due():
            finish_deletion(self._engine, snapshot_id)
        self._engine.catalog.drop_expired_answers(now_ms)
        destroy_due_keys(self._engine, now_ms)
        rotate_due_keys(self._engine, now_ms)
