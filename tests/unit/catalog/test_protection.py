"""What the catalog itself promises about protection: what is checked and what is changed are one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snapstone.catalog.contract import ParentGoneError
from snapstone.catalog.protection_contract import CopiesLimitError, SourceGoneError
from snapstone.catalog.protection_rows import (
    CopyWork,
    Deletion,
    LockHoldsError,
    RetentionRule,
    StorageTier,
    Tiering,
)
from snapstone.catalog.rows import Snapshot, SnapshotState
from snapstone.catalog.sqlite import SqliteCatalog
from snapstone.core.retention import Retention
from snapstone.core.snapshot_lock import DAY_MS, LockMode, SnapshotLock
from tests.suites.catalog_rows import (
    ALICE,
    FRANKFURT,
    OTHER_ROOT,
    STARTED,
    name,
    pending,
    plain,
    put_in_state,
    record,
    state_of,
    writes,
)
from tests.suites.races import racing

RULE = RetentionRule("abcdefghijk", ALICE, FRANKFURT, "EBS_SNAPSHOT", Retention(7), "", (), STARTED)
ARCHIVED = Tiering(StorageTier.ARCHIVE, None, STARTED, STARTED, "archival-completed")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqliteCatalog]:
    catalog = SqliteCatalog(tmp_path / "catalog.db")
    yield catalog
    catalog.close()


def completed(catalog: SqliteCatalog, number: int = 1) -> None:
    put_in_state(catalog, number, SnapshotState.COMPLETED)


def a_copy(number: int, state: SnapshotState = SnapshotState.PENDING) -> Snapshot:
    return replace(pending(number), copied_from=name(1), state=state)


def work(number: int) -> CopyWork:
    return CopyWork(name(number), OTHER_ROOT, None)


class TestDeletion:
    def test_a_lock_is_held_against_the_time_of_the_deletion(self, catalog: SqliteCatalog) -> None:
        completed(catalog)  # at STARTED + 5
        lock = SnapshotLock(LockMode.COMPLIANCE, STARTED, STARTED, 1, None)
        catalog.change_lock(name(1), lambda snapshot, before: lock)
        with pytest.raises(LockHoldsError):
            catalog.begin_delete(name(1), STARTED + 5 + DAY_MS - 1, STARTED + 5 + DAY_MS - 1)
        assert state_of(catalog) is SnapshotState.COMPLETED
        assert catalog.begin_delete(name(1), STARTED + 5 + DAY_MS, STARTED + 5 + DAY_MS) is Deletion.BEGUN

    def test_a_rule_is_seen_by_the_very_next_deletion(self, catalog: SqliteCatalog) -> None:
        completed(catalog, 1)
        completed(catalog, 2)
        assert catalog.begin_delete(name(1), STARTED, STARTED) is Deletion.BEGUN
        catalog.insert_rule(RULE, 250)
        assert catalog.begin_delete(name(2), STARTED, STARTED) is Deletion.RECYCLED
        assert catalog.begin_delete(name(2), STARTED, STARTED) is None
        assert catalog.deletions_due() == [name(1)]
        [recycled] = catalog.recycled(ALICE, FRANKFURT)
        assert (recycled.recycled_at_ms, recycled.recycled_until_ms) == (STARTED, STARTED + 7 * DAY_MS)

    def test_of_racing_deletions_one_recycles(self, catalog: SqliteCatalog) -> None:
        completed(catalog)
        catalog.insert_rule(RULE, 250)
        outcomes = racing(8, lambda _: catalog.begin_delete(name(1), STARTED, STARTED))
        assert outcomes.count(Deletion.RECYCLED) == 1
        assert outcomes.count(None) == 7

    def test_a_remembered_row_is_never_the_one_from_before(self, catalog: SqliteCatalog) -> None:
        completed(catalog)
        catalog.insert_rule(RULE, 250)
        assert catalog.remembered_snapshot(name(1)) is not None
        catalog.begin_delete(name(1), STARTED, STARTED)
        recycled = catalog.remembered_snapshot(name(1))
        assert recycled is not None
        assert recycled.recycled_until_ms is not None
        catalog.restore_recycled(ALICE, FRANKFURT, name(1), STARTED)
        restored = catalog.remembered_snapshot(name(1))
        assert restored is not None
        assert restored.recycled_until_ms is None
        catalog.change_tiering(name(1), lambda snapshot: ARCHIVED)
        archived = catalog.remembered_snapshot(name(1))
        assert archived is not None
        assert archived.tiering == ARCHIVED

    def test_an_error_inside_a_change_changes_nothing(self, catalog: SqliteCatalog) -> None:
        completed(catalog)
        before = catalog.snapshot(name(1))

        def refuse(snapshot: Snapshot) -> Tiering:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            catalog.change_tiering(name(1), refuse)
        assert catalog.snapshot(name(1)) == before


class TestTiers:
    def test_a_restore_for_a_time_ends_at_that_time(self, catalog: SqliteCatalog) -> None:
        for number in (1, 2):
            completed(catalog, number)
        until = Tiering(StorageTier.STANDARD, 500, 100, 200, "temporary-restore-completed")
        catalog.change_tiering(name(1), lambda snapshot: until)
        assert catalog.end_temporary_restores(499) == 0
        assert catalog.end_temporary_restores(500) == 1
        assert catalog.end_temporary_restores(10**15) == 0
        one, two = catalog.snapshot(name(1)), catalog.snapshot(name(2))
        assert one is not None
        assert two is not None
        assert one.tiering == replace(until, tier=StorageTier.ARCHIVE, restore_expires_at_ms=None)
        assert two.tiering == Tiering()

    def test_what_is_gone_has_no_tier(self, catalog: SqliteCatalog) -> None:
        put_in_state(catalog, 1, SnapshotState.DELETING)
        assert catalog.change_tiering(name(1), lambda snapshot: ARCHIVED) is None
        assert catalog.change_tiering(name(9), lambda snapshot: ARCHIVED) is None
        assert catalog.change_lock(name(1), lambda snapshot, before: None) is None


class TestParents:
    def child(self) -> Snapshot:
        return pending(2, parent_id=name(1), lineage_id=name(1), root=OTHER_ROOT, block_count=1)

    def test_an_archived_parent_has_no_new_children_until_it_is_restored(self, catalog: SqliteCatalog) -> None:
        completed(catalog)
        catalog.change_tiering(name(1), lambda snapshot: ARCHIVED)
        with pytest.raises(ParentGoneError):
            catalog.insert_snapshot(self.child(), None)
        catalog.change_tiering(name(1), lambda snapshot: Tiering())
        catalog.insert_snapshot(self.child(), None)
        assert state_of(catalog, 2) is SnapshotState.PENDING

    def test_a_recycled_parent_has_no_new_children(self, catalog: SqliteCatalog) -> None:
        completed(catalog)
        catalog.insert_rule(RULE, 250)
        catalog.begin_delete(name(1), STARTED, STARTED)
        with pytest.raises(ParentGoneError):
            catalog.insert_snapshot(self.child(), None)
        assert catalog.snapshot(name(2)) is None


class TestCopies:
    def test_the_source_must_be_there(self, catalog: SqliteCatalog) -> None:
        with pytest.raises(SourceGoneError):
            catalog.insert_copy(a_copy(2), work(2), 20)
        put_in_state(catalog, 1, SnapshotState.PENDING)
        with pytest.raises(SourceGoneError):
            catalog.insert_copy(a_copy(2), work(2), 20)
        assert catalog.snapshot(name(2)) is None

    def test_an_archived_or_recycled_source_is_not_there(self, catalog: SqliteCatalog) -> None:
        completed(catalog)
        catalog.change_tiering(name(1), lambda snapshot: ARCHIVED)
        with pytest.raises(SourceGoneError):
            catalog.insert_copy(a_copy(2), work(2), 20)
        catalog.change_tiering(name(1), lambda snapshot: Tiering())
        catalog.insert_rule(RULE, 250)
        catalog.begin_delete(name(1), STARTED, STARTED)
        with pytest.raises(SourceGoneError):
            catalog.insert_copy(a_copy(2), work(2), 20)

    def test_racing_copies_keep_to_the_limit(self, catalog: SqliteCatalog) -> None:
        completed(catalog)

        def attempt(number: int) -> bool:
            try:
                catalog.insert_copy(a_copy(10 + number), work(10 + number), 3)
            except CopiesLimitError:
                return False
            return True

        assert racing(6, attempt).count(True) == 3

    def test_a_lease_has_one_holder_until_it_ends(self, catalog: SqliteCatalog) -> None:
        completed(catalog)
        catalog.insert_copy(a_copy(2), work(2), 20)
        assert catalog.copies_due(100) == [name(2)]
        claims = racing(6, lambda _: catalog.claim_copy(name(2), 100, 200))
        assert claims.count(work(2)) == 1
        assert claims.count(None) == 5
        catalog.renew_copy(name(2), 300)
        catalog.renew_copy(name(2), 250)
        assert catalog.copies_due(299) == []
        assert catalog.copies_due(300) == [name(2)]
        catalog.release_copies()
        assert catalog.claim_copy(name(2), 100, 200) == work(2)

    def test_a_copy_that_failed_has_no_writes_and_is_not_due(self, catalog: SqliteCatalog) -> None:
        completed(catalog)
        catalog.insert_copy(a_copy(2), work(2), 20)
        record(catalog, 2, plain(0))
        assert catalog.fail_copy(name(2), "why")
        assert not catalog.fail_copy(name(2), "why else")
        assert writes(catalog, 2) == []
        assert catalog.copies_due(10**15) == []
        assert catalog.claim_copy(name(2), 0, 1) is None
        snapshot = catalog.snapshot(name(2))
        assert snapshot is not None
        assert (snapshot.state, snapshot.state_message) == (SnapshotState.ERROR, "why")

    def test_a_sealed_copy_is_not_due(self, catalog: SqliteCatalog) -> None:
        completed(catalog)
        catalog.insert_copy(a_copy(2), work(2), 20)
        catalog.begin_seal(name(2), 0, None, STARTED, STARTED)
        assert catalog.copies_due(10**15) == []
