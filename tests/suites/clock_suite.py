"""The part of a catalog's contract about time and about work that fails, as a suite that every implementation runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.clock import ClockRow
from snapstone.catalog.contract.snapshots import CopyWork, FailingWork, SnapshotState
from snapstone.core.clock_trust import ClockReading, Trust
from tests.suites.catalog_fixtures import CatalogFixtures, Opener
from tests.suites.catalog_rows import DEADLINE, OTHER_ROOT, STARTED, name, pending, put_in_state
from tests.suites.races import racing

MINUTE = 60_000

TRUSTED = ClockRow(Trust(ClockReading(1_000, 20, "one"), 2_000), 500, 500, -7)
HELD = ClockRow(Trust(ClockReading(1_000, 20, "one"), 2_000, ClockReading(9_000, 60, "two"), 1_040), 600, 500, -7)


def pause(failure_count: int) -> int:
    return failure_count * 100


class ClockSuite(CatalogFixtures):
    """Every promise of `clock_contract.ClockCatalog`, and of `Catalog` about work that fails."""

    # -- the clock --

    def test_a_fresh_catalog_knows_no_time(self, catalog: Catalog) -> None:
        assert catalog.clock() == ClockRow(None, None, None, 0)

    @pytest.mark.parametrize("row", [TRUSTED, HELD])
    def test_what_is_put_in_place_is_read_after_a_restart(
        self, catalog: Catalog, opener: Opener, row: ClockRow
    ) -> None:
        assert catalog.change_clock(lambda _: row) == row
        catalog.close()
        again = opener()
        assert again.clock() == row
        again.close()

    def test_a_change_sees_the_row_and_races_one_after_the_other(self, catalog: Catalog) -> None:
        catalog.change_clock(lambda _: TRUSTED)

        def add(_: int) -> ClockRow:
            return catalog.change_clock(lambda row: replace(row, running_ms=(row.running_ms or 0) + 1))

        assert {row.running_ms for row in racing(8, add)} == set(range(501, 509))

    def test_deadlines_begin_anew_for_pending_snapshots_alone(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1, timeout_minutes=10), None)
        catalog.insert_snapshot(pending(2, timeout_minutes=60), None)
        put_in_state(catalog, 3, SnapshotState.SEALING)
        before = catalog.snapshot(name(3))
        assert catalog.remembered_snapshot(name(1)) == pending(1, timeout_minutes=10)
        catalog.renew_deadlines(DEADLINE * 2)
        first, second = catalog.remembered_snapshot(name(1)), catalog.snapshot(name(2))
        assert first is not None
        assert second is not None
        assert first.deadline_at_ms == DEADLINE * 2 + 10 * MINUTE
        assert second.deadline_at_ms == DEADLINE * 2 + 60 * MINUTE
        assert catalog.snapshot(name(3)) == before

    # -- work that fails --

    def test_a_seal_that_failed_is_left_alone_for_its_pause(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        assert catalog.claim_seal(name(1), 1_000, 1_050)
        assert catalog.note_failure(name(1), "why", 1_000, pause) == FailingWork(name(1), 1, 1_000, "why")
        assert not catalog.claim_seal(name(1), 1_099, 2_000)
        assert catalog.claim_seal(name(1), 1_100, 1_150)
        assert catalog.note_failure(name(1), "still", 1_100, pause) == FailingWork(name(1), 2, 1_000, "still")
        assert catalog.seals_due(1_299) == []
        assert catalog.seals_due(1_300) == [name(1)]

    def test_a_failing_seal_says_why_until_it_succeeds(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        catalog.note_failure(name(1), "why", 1_000, pause)
        remembered = catalog.remembered_snapshot(name(1))
        assert remembered is not None
        assert (remembered.state, remembered.state_message) == (SnapshotState.SEALING, "why")
        assert catalog.failing_work() == [FailingWork(name(1), 1, 1_000, "why")]
        assert catalog.finish_seal(name(1), OTHER_ROOT, 1, STARTED + 5)
        row = catalog.snapshot(name(1))
        assert row is not None
        assert (row.state, row.state_message) == (SnapshotState.COMPLETED, None)
        assert catalog.failing_work() == []

    def test_failures_are_counted_over_a_restart(self, catalog: Catalog, opener: Opener) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        catalog.note_failure(name(1), "why", 1_000, pause)
        catalog.close()
        again = opener()
        again.release_leases()
        assert again.claim_seal(name(1), 1_001, 1_050)
        assert again.note_failure(name(1), "why", 1_001, pause) == FailingWork(name(1), 2, 1_000, "why")
        again.close()

    def test_the_longest_failing_one_comes_first(self, catalog: Catalog) -> None:
        for number, at_ms in [(1, 2_000), (2, 1_000)]:
            put_in_state(catalog, number, SnapshotState.SEALING)
            catalog.note_failure(name(number), "why", at_ms, pause)
        catalog.note_failure(name(2), "why", 3_000, pause)
        assert [work.snapshot_id for work in catalog.failing_work()] == [name(2), name(1)]

    @pytest.mark.parametrize("state", [SnapshotState.PENDING, SnapshotState.COMPLETED, SnapshotState.ERROR])
    def test_what_is_not_being_worked_on_does_not_fail(self, catalog: Catalog, state: SnapshotState) -> None:
        put_in_state(catalog, 1, state)
        before = catalog.snapshot(name(1))
        assert catalog.note_failure(name(1), "why", 1_000, pause) is None
        assert catalog.snapshot(name(1)) == before
        assert catalog.failing_work() == []
        assert catalog.note_failure(name(9), "why", 1_000, pause) is None

    def test_a_copy_that_failed_is_left_alone_and_counted_apart_from_its_seal(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.COMPLETED)
        catalog.insert_copy(pending(2, copied_from=name(1)), CopyWork(name(2), OTHER_ROOT, None), 9)
        assert catalog.note_failure(name(2), "why", 1_000, pause) == FailingWork(name(2), 1, 1_000, "why")
        assert catalog.copies_due(1_099) == []
        assert catalog.copies_due(1_100) == [name(2)]
        sealing = catalog.begin_seal(name(2), 0, None, STARTED, 0)
        assert sealing is not None
        assert (sealing.state, sealing.state_message) == (SnapshotState.SEALING, None)
        assert catalog.failing_work() == []
        assert catalog.note_failure(name(2), "seal", 2_000, pause) == FailingWork(name(2), 1, 2_000, "seal")
