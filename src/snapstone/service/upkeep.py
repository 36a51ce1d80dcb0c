"""What a server does without being asked: it resumes seals, times out pending snapshots, and ends what is over.

It does so in steps that do not depend on each other: one that fails is logged, told by `/ready` if it goes on failing,
and tried again, and the others are done all the same. Intervals run by the monotonic clock. What ends by date is held
against `timekeeper.due_ms()`, which stands still while the wall clock is not trusted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from snapstone.catalog.contract.catalog import TIMED_OUT
from snapstone.core.ids import SnapshotId
from snapstone.service.background import do_each
from snapstone.service.engine import Engine
from snapstone.service.kms.rotation import destroy_due_keys, rotate_due_keys
from snapstone.service.manifests import look_again_for_missing
from snapstone.service.snapshots.copy import Copier
from snapstone.service.snapshots.deletion import SEAL_GRACE_MS, finish_deletion, may_still_be_sealed
from snapstone.service.snapshots.inventory import tell_comparison, tell_structure
from snapstone.service.timekeeper import told

log = logging.getLogger(__name__)

SWEEP_INTERVAL_MS: Final = 10_000
"""Between two looks for time-outs and cut-off deletions; seals are looked for at every tick."""

PERSISTENT_FAILURES: Final = 3
"""A step that has failed so often in a row is told by `/ready`: once may be a busy disk."""


class Upkeep:
    """Called every second by one thread of each process; every step is safe to run in several at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._next_sweep_ms: int | None = None
        self._failures: dict[str, int] = {}
        """How often a step has failed in a row."""
        self._deletions: dict[SnapshotId, int] = {}
        """Deletions that are not finished, and when this process saw each of them first, in running time."""
        self._compared = False
        """Whether this process has held all rows against all manifests: once, and then those that it meets."""
        self.copier = Copier(engine)

    def tick(self) -> None:
        """Do what is due."""
        self._step("watch the clock", self._watch_clock)
        self._step("resume seals", self._resume_seals)
        self._step("resume copies", self._resume_copies)
        running_ms = self._engine.timekeeper.running_ms()
        if self._next_sweep_ms is None or running_ms >= self._next_sweep_ms:
            self._next_sweep_ms = running_ms + SWEEP_INTERVAL_MS
            self._sweep()
        self._tell_failures()

    def stop(self, wait_seconds: float) -> bool:
        """Stop the copies, and note how long the server has run; False if copies are still under way after so long."""
        self._step("note the time", lambda: self._engine.timekeeper.observe(note=True))
        return self.copier.stop(wait_seconds)

    def _sweep(self) -> None:
        catalog, timekeeper = self._engine.catalog, self._engine.timekeeper
        self._step("time out pending snapshots", self._expire_pending)
        self._step("empty the recycle bin", self._empty_recycle_bin)
        self._step("end temporary restores", lambda: catalog.end_temporary_restores(timekeeper.due_ms()))
        self._step("finish deletions", self._finish_deletions)
        self._step("drop old answers", lambda: catalog.drop_expired_answers(timekeeper.due_ms()))
        self._step("destroy KMS keys", lambda: destroy_due_keys(self._engine, timekeeper.due_ms()))
        self._step("rotate KMS keys", lambda: rotate_due_keys(self._engine, timekeeper.due_ms()))
        self._step("look at failing seals", self._tell_failing_work)
        self._step("compare rows and manifests", self._compare)

    # -- at every tick --

    def _watch_clock(self) -> None:
        problem = told(self._engine.timekeeper.observe())
        if problem is None:
            self._engine.health.clear("clock")
        else:
            self._engine.health.report("clock", problem)

    def _resume_seals(self) -> None:
        for snapshot_id in self._engine.catalog.seals_due(self._engine.timekeeper.running_ms()):
            if self._engine.sealer.is_busy:
                break  # what is left is due at the next tick, for this process or another
            self._engine.sealer.start(snapshot_id)

    def _resume_copies(self) -> None:
        for snapshot_id in self._engine.catalog.copies_due(self._engine.timekeeper.running_ms()):
            if self.copier.is_busy:
                break
            self.copier.start(snapshot_id)

    # -- at every sweep --

    def _expire_pending(self) -> None:
        for snapshot_id in self._engine.catalog.expire_pending(self._engine.timekeeper.due_running_ms(), TIMED_OUT):
            log.warning("snapshot timed out", extra={"fields": {"snapshot": snapshot_id}})

    def _empty_recycle_bin(self) -> None:
        for snapshot_id in self._engine.catalog.empty_recycle_bin(self._engine.timekeeper.due_ms()):
            log.info("snapshot expired in the recycle bin", extra={"fields": {"snapshot": snapshot_id}})

    def _finish_deletions(self) -> None:
        engine, running_ms = self._engine, self._engine.timekeeper.running_ms()
        seen = {each: self._deletions.get(each, running_ms) for each in engine.catalog.deletions_due()}
        self._deletions = seen

        def finish(snapshot_id: SnapshotId) -> None:
            if running_ms - seen[snapshot_id] >= SEAL_GRACE_MS or not may_still_be_sealed(engine, snapshot_id):
                finish_deletion(engine, snapshot_id)

        do_each(seen, finish)

    def _compare(self) -> None:
        if not self._compared:
            tell_structure(self._engine)
            tell_comparison(self._engine)
            self._compared = True
        look_again_for_missing(self._engine)

    def _tell_failing_work(self) -> None:
        failing = self._engine.catalog.failing_work()
        if not failing:
            self._engine.health.clear("seals")
            return
        first = failing[0]
        self._engine.health.report(
            "seals",
            f"Snapshots that cannot be completed now: {len(failing)}. {first.snapshot_id} has failed for longest:"
            f" {first.message}. They will be retried; the server's log says why they fail.",
        )

    # -- steps that fail --

    def _step(self, name: str, do: Callable[[], object]) -> None:
        """Do one step, whatever becomes of it: the next one has nothing to do with it."""
        try:
            do()
        except Exception as error:
            count = self._failures[name] = self._failures.get(name, 0) + 1
            fields = {"step": name, "failures": count, "why": repr(error)}
            log.error("upkeep failed", exc_info=error if count == 1 else None, extra={"fields": fields})
        else:
            self._failures.pop(name, None)

    def _tell_failures(self) -> None:
        persistent = [name for name, count in self._failures.items() if count >= PERSISTENT_FAILURES]
        if not persistent:
            self._engine.health.clear("upkeep")
            return
        steps = ", ".join(sorted(persistent))
        self._engine.health.report("upkeep", f"The server keeps failing to {steps}; see its log.")
