"""What a catalog promises of locks, public access, the recycle bin, the archive tier and copies, as a suite.

What is checked and what is changed are one transaction, whoever does what at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from snapstone.catalog.contract.catalog import Catalog, ParentGoneError
from snapstone.catalog.contract.errors import RowRefusedError
from snapstone.catalog.contract.protection import CopiesLimitError, RuleLimitError, SourceGoneError
from snapstone.catalog.contract.snapshots import (
    CopyWork,
    Deletion,
    LockHoldsError,
    PublicAccess,
    RetentionRule,
    Snapshot,
    SnapshotState,
    StorageTier,
    Tiering,
)
from snapstone.core.protection import DAY_MS, LockMode, Retention, SnapshotLock, TagMatch
from tests.suites.catalog_fixtures import CatalogFixtures
from tests.suites.catalog_rows import (
    ALICE,
    BOB,
    FRANKFURT,
    OREGON,
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

SNAPSHOTS = "EBS_SNAPSHOT"
RULE = RetentionRule("abcdefghijk", ALICE, FRANKFURT, SNAPSHOTS, Retention(7), "", (), STARTED)
LOCK = SnapshotLock(LockMode.GOVERNANCE, STARTED, STARTED, 1, None)
ARCHIVED = Tiering(StorageTier.ARCHIVE, None, STARTED, STARTED, "archival-completed")


def completed(catalog: Catalog, number: int = 1, **changes: Any) -> None:
    put_in_state(catalog, number, SnapshotState.COMPLETED, **changes)


def recycled(catalog: Catalog, number: int = 1, at_ms: int = STARTED) -> None:
    """Complete a snapshot and put it into the bin, where a rule keeps it for seven days."""
    completed(catalog, number)
    if catalog.rule(ALICE, FRANKFURT, RULE.rule_id) is None:
        catalog.insert_rule(RULE, 250)
    assert catalog.begin_delete(name(number), at_ms, at_ms) is Deletion.RECYCLED


def rule(letter: str, **changes: Any) -> RetentionRule:
    """A rule like RULE, with an id of that letter."""
    return replace(RULE, rule_id=letter * 11, **changes)


def lock(catalog: Catalog, number: int, put: SnapshotLock | None = LOCK) -> None:
    """Put a lock on a snapshot, or take it off."""
    assert catalog.change_lock(name(number), lambda snapshot, before: put)


def child() -> Snapshot:
    return pending(2, parent_id=name(1), lineage_id=name(1), root=OTHER_ROOT, block_count=1)


def a_copy(number: int, state: SnapshotState = SnapshotState.PENDING, **changes: Any) -> Snapshot:
    return replace(pending(number), copied_from=name(1), state=state, **changes)


def work(number: int) -> CopyWork:
    return CopyWork(name(number), OTHER_ROOT, None)


def refuse(*_: object) -> NoReturn:
    """A change that raises."""
    raise LookupError


class ProtectionSuite(CatalogFixtures):
    """Every promise of `protection_contract.ProtectionCatalog`, and of `Catalog` about what is protected."""

    # -- deletion --

    def test_a_lock_is_held_against_the_time_of_the_deletion(self, catalog: Catalog) -> None:
        completed(catalog)  # at STARTED + 5
        lock = SnapshotLock(LockMode.COMPLIANCE, STARTED, STARTED, 1, None)
        catalog.change_lock(name(1), lambda snapshot, before: lock)
        with pytest.raises(LockHoldsError):
            catalog.begin_delete(name(1), STARTED + 5 + DAY_MS - 1, STARTED + 5 + DAY_MS - 1)
        assert state_of(catalog) is SnapshotState.COMPLETED
        assert catalog.begin_delete(name(1), STARTED + 5 + DAY_MS, STARTED + 5 + DAY_MS) is Deletion.BEGUN

    def test_a_rule_is_seen_by_the_very_next_deletion(self, catalog: Catalog) -> None:
        completed(catalog, 1)
        completed(catalog, 2)
        assert catalog.begin_delete(name(1), STARTED, STARTED) is Deletion.BEGUN
        catalog.insert_rule(RULE, 250)
        assert catalog.begin_delete(name(2), STARTED, STARTED) is Deletion.RECYCLED
        assert catalog.begin_delete(name(2), STARTED, STARTED) is None
        assert catalog.deletions_due() == [name(1)]
        [recycled] = catalog.recycled(ALICE, FRANKFURT)
        assert (recycled.recycled_at_ms, recycled.recycled_until_ms) == (STARTED, STARTED + 7 * DAY_MS)

    def test_of_racing_deletions_one_recycles(self, catalog: Catalog) -> None:
        completed(catalog)
        catalog.insert_rule(RULE, 250)
        outcomes = racing(8, lambda _: catalog.begin_delete(name(1), STARTED, STARTED))
        assert outcomes.count(Deletion.RECYCLED) == 1
        assert outcomes.count(None) == 7

    def test_a_remembered_row_is_never_the_one_from_before(self, catalog: Catalog) -> None:
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

    def test_an_error_inside_a_change_changes_nothing(self, catalog: Catalog) -> None:
        completed(catalog)
        before = catalog.snapshot(name(1))

        def refuse(snapshot: Snapshot) -> Tiering:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            catalog.change_tiering(name(1), refuse)
        assert catalog.snapshot(name(1)) == before

    def test_a_lock_keeps_a_snapshot_that_is_not_complete_and_none_in_error(self, catalog: Catalog) -> None:
        for number, state in ((1, SnapshotState.PENDING), (2, SnapshotState.SEALING), (3, SnapshotState.ERROR)):
            put_in_state(catalog, number, state)
            lock(catalog, number)
        for number in (1, 2):
            with pytest.raises(LockHoldsError):
                catalog.begin_delete(name(number), 10**15, 10**15)
        assert writes(catalog, 1) == [plain(0)]
        assert catalog.begin_delete(name(3), STARTED, STARTED) is Deletion.BEGUN

    def test_of_a_lock_and_a_deletion_that_race_one_comes_first(self, catalog: Catalog) -> None:
        for number in range(10):
            completed(catalog, number)

            def race(thread: int, number: int = number) -> bool:
                if thread:
                    return catalog.change_lock(name(number), lambda snapshot, before: LOCK) is not None
                try:
                    return catalog.begin_delete(name(number), STARTED, STARTED) is not None
                except LockHoldsError:
                    return False

            deleted, locked = racing(2, race)
            assert deleted != locked
            assert state_of(catalog, number) is (SnapshotState.DELETING if deleted else SnapshotState.COMPLETED)

    @pytest.mark.parametrize(
        ("rules", "days"),
        [
            ([rule("a", retention=Retention(3)), rule("b", retention=Retention(9))], 9),
            ([rule("a", retention=Retention(3, include=(TagMatch("kind", "disk"),)))], 3),
            ([rule("a", retention=Retention(3, include=(TagMatch("kind", None),)))], 3),
            ([rule("a", retention=Retention(3, include=(TagMatch("kind", "tape"),)))], None),
            ([rule("a", retention=Retention(3, exclude=(TagMatch("kind", "disk"),)))], None),
            ([rule("a", resource_type="EC2_IMAGE")], None),
            ([rule("a", account_id=BOB)], None),
            ([rule("a", region=OREGON)], None),
        ],
    )
    def test_a_snapshot_is_kept_as_long_as_its_accounts_rules_for_its_tags_say(
        self, catalog: Catalog, rules: list[RetentionRule], days: int | None
    ) -> None:
        completed(catalog, 1, tags=(("kind", "disk"),))
        for each in rules:
            catalog.insert_rule(each, 250)
        outcome = catalog.begin_delete(name(1), STARTED, STARTED)
        snapshot = catalog.snapshot(name(1))
        assert snapshot is not None
        if days is None:
            assert (outcome, snapshot.recycled_until_ms) == (Deletion.BEGUN, None)
        else:
            assert (outcome, snapshot.recycled_until_ms) == (Deletion.RECYCLED, STARTED + days * DAY_MS)

    @pytest.mark.parametrize("state", [SnapshotState.PENDING, SnapshotState.SEALING, SnapshotState.ERROR])
    def test_a_snapshot_that_is_not_complete_is_not_recycled(self, catalog: Catalog, state: SnapshotState) -> None:
        put_in_state(catalog, 1, state)
        catalog.insert_rule(RULE, 250)
        assert catalog.begin_delete(name(1), STARTED, STARTED) is Deletion.BEGUN
        assert catalog.recycled(ALICE, FRANKFURT) == []

    # -- locks --

    @pytest.mark.parametrize(
        "put",
        [
            SnapshotLock(LockMode.GOVERNANCE, 1, 2, None, 3),
            SnapshotLock(LockMode.COMPLIANCE, 1, 2, 36_500, None, 72, 4),
        ],
    )
    def test_a_lock_is_read_back_field_for_field(self, catalog: Catalog, put: SnapshotLock) -> None:
        completed(catalog)
        seen: list[tuple[Snapshot, SnapshotLock | None]] = []

        def change(snapshot: Snapshot, before: SnapshotLock | None) -> SnapshotLock:
            seen.append((snapshot, before))
            return put

        snapshot = catalog.snapshot(name(1))
        assert snapshot is not None
        assert catalog.change_lock(name(1), change) == (snapshot, put)
        assert catalog.locks(ALICE, FRANKFURT) == [(snapshot, put)]
        assert catalog.change_lock(name(1), change) == (snapshot, put)
        assert seen == [(snapshot, None), (snapshot, put)]

    def test_a_lock_is_replaced_and_taken_off(self, catalog: Catalog, other: Catalog) -> None:
        completed(catalog)
        lock(catalog, 1)
        longer = replace(LOCK, duration_days=5)
        lock(catalog, 1, longer)
        assert [found for _, found in other.locks(ALICE, FRANKFURT)] == [longer]
        lock(other, 1, None)
        assert catalog.locks(ALICE, FRANKFURT) == []
        assert catalog.begin_delete(name(1), STARTED, STARTED) is Deletion.BEGUN

    def test_an_error_in_a_change_leaves_the_lock_as_it_was(self, catalog: Catalog) -> None:
        completed(catalog)
        lock(catalog, 1)
        with pytest.raises(LookupError):
            catalog.change_lock(name(1), refuse)
        assert [found for _, found in catalog.locks(ALICE, FRANKFURT)] == [LOCK]

    def test_what_is_gone_or_in_the_bin_has_no_lock(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.DELETING)
        recycled(catalog, 2)
        for number in (1, 2, 9):
            assert catalog.change_lock(name(number), refuse) is None
        assert catalog.locks(ALICE, FRANKFURT) == []

    def test_locks_are_listed_by_the_snapshots_start_then_id(self, catalog: Catalog) -> None:
        for number, started_at_ms in ((3, 20), (1, 30), (4, 10), (2, 20)):
            completed(catalog, number, started_at_ms=started_at_ms)
            lock(catalog, number)
        completed(catalog, 5)
        completed(catalog, 6, account_id=BOB)
        lock(catalog, 6)
        completed(catalog, 7, region=OREGON)
        lock(catalog, 7)
        assert [each.snapshot_id for each, _ in catalog.locks(ALICE, FRANKFURT)] == [name(i) for i in (4, 2, 3, 1)]
        asked = [name(i) for i in (1, 4, 5, 6, 9)]
        assert [each.snapshot_id for each, _ in catalog.locks(ALICE, FRANKFURT, asked)] == [name(4), name(1)]
        assert catalog.locks(ALICE, FRANKFURT, []) == []
        assert [each.snapshot_id for each, _ in catalog.locks(BOB, FRANKFURT)] == [name(6)]

    def test_an_expired_lock_is_listed_and_is_over_once_the_snapshot_has_been_in_the_bin(
        self, catalog: Catalog
    ) -> None:
        completed(catalog)
        expired = SnapshotLock(LockMode.GOVERNANCE, 1, 1, None, STARTED)
        lock(catalog, 1, expired)
        assert [found for _, found in catalog.locks(ALICE, FRANKFURT)] == [expired]
        catalog.insert_rule(RULE, 250)
        assert catalog.begin_delete(name(1), STARTED, STARTED) is Deletion.RECYCLED
        assert catalog.restore_recycled(ALICE, FRANKFURT, name(1), STARTED)
        assert catalog.locks(ALICE, FRANKFURT) == []

    def test_an_expired_lock_of_what_is_being_deleted_is_not_listed(self, catalog: Catalog) -> None:
        completed(catalog)
        lock(catalog, 1, SnapshotLock(LockMode.GOVERNANCE, 1, 1, None, STARTED))
        assert catalog.begin_delete(name(1), STARTED, STARTED) is Deletion.BEGUN
        assert catalog.locks(ALICE, FRANKFURT) == []
        assert catalog.locks(ALICE, FRANKFURT, [name(1)]) == []

    # -- block public access --

    def test_public_access_is_unblocked_until_it_is_set(self, catalog: Catalog) -> None:
        assert catalog.public_access(ALICE, FRANKFURT) is PublicAccess.UNBLOCKED
        for state in (PublicAccess.BLOCK_ALL, PublicAccess.BLOCK_NEW, PublicAccess.UNBLOCKED):
            catalog.set_public_access(ALICE, FRANKFURT, state)
            assert catalog.public_access(ALICE, FRANKFURT) is state
            assert catalog.public_access(BOB, FRANKFURT) is PublicAccess.UNBLOCKED
            assert catalog.public_access(ALICE, OREGON) is PublicAccess.UNBLOCKED

    def test_public_access_set_elsewhere_holds_at_once(self, catalog: Catalog, other: Catalog) -> None:
        for state in (PublicAccess.BLOCK_ALL, PublicAccess.BLOCK_NEW, PublicAccess.UNBLOCKED):
            assert catalog.public_access(ALICE, FRANKFURT) is not state  # read, and remembered
            other.set_public_access(ALICE, FRANKFURT, state)
            assert catalog.public_access(ALICE, FRANKFURT) is state

    # -- retention rules --

    def test_a_rule_is_read_back_field_for_field(self, catalog: Catalog) -> None:
        made = rule(
            "a",
            retention=Retention(365, (TagMatch("kind", "Größe"), TagMatch("any", None)), (TagMatch("not", ""),)),
            description="é",
            tags=(("z", "1"), ("a", "")),
            unlock_delay_days=7,
            unlocked_at_ms=99,
        )
        catalog.insert_rule(made, 1)
        assert catalog.rule(ALICE, FRANKFURT, made.rule_id) == made
        assert catalog.rules(ALICE, FRANKFURT, SNAPSHOTS) == [made]

    def test_a_rule_is_one_accounts_in_one_region(self, catalog: Catalog) -> None:
        catalog.insert_rule(RULE, 250)
        assert catalog.rule(BOB, FRANKFURT, RULE.rule_id) is None
        assert catalog.rule(ALICE, OREGON, RULE.rule_id) is None
        assert catalog.rule(ALICE, FRANKFURT, "a" * 11) is None
        assert catalog.change_rule(BOB, FRANKFURT, RULE.rule_id, refuse) is None
        assert catalog.change_rule(ALICE, OREGON, RULE.rule_id, refuse) is None
        assert catalog.rules(BOB, FRANKFURT, SNAPSHOTS) == []
        assert catalog.rules(ALICE, OREGON, SNAPSHOTS) == []

    def test_rules_are_listed_by_type_the_oldest_first(self, catalog: Catalog) -> None:
        made = [rule("c", created_at_ms=1), rule("a", created_at_ms=2), rule("b", created_at_ms=2)]
        image = rule("i", resource_type="EC2_IMAGE")
        for each in (made[2], image, made[1], made[0]):
            catalog.insert_rule(each, 250)
        assert catalog.rules(ALICE, FRANKFURT, SNAPSHOTS) == made
        assert catalog.rules(ALICE, FRANKFURT, "EC2_IMAGE") == [image]

    def test_racing_rules_keep_to_the_limit_of_their_account_and_region(self, catalog: Catalog) -> None:
        def insert(number: int) -> bool:
            try:
                catalog.insert_rule(rule("abcdefgh"[number]), 3)
            except RuleLimitError:
                return False
            return True

        assert racing(8, insert).count(True) == 3
        assert len(catalog.rules(ALICE, FRANKFURT, SNAPSHOTS)) == 3
        catalog.insert_rule(rule("x", account_id=BOB), 1)
        catalog.insert_rule(rule("y", region=OREGON), 1)

    def test_a_rule_of_an_id_that_exists_is_refused_whoever_has_it(self, catalog: Catalog) -> None:
        catalog.insert_rule(RULE, 250)
        for again in (replace(RULE, retention=Retention(1)), replace(RULE, account_id=BOB)):
            with pytest.raises(RowRefusedError):
                catalog.insert_rule(again, 250)
        assert catalog.rules(ALICE, FRANKFURT, SNAPSHOTS) == [RULE]
        assert catalog.rules(BOB, FRANKFURT, SNAPSHOTS) == []

    def test_a_changed_rule_is_returned_and_stored(self, catalog: Catalog, other: Catalog) -> None:
        catalog.insert_rule(RULE, 250)
        after = replace(RULE, retention=Retention(9), description="new", tags=(("a", "1"),), unlock_delay_days=7)
        assert catalog.change_rule(ALICE, FRANKFURT, RULE.rule_id, lambda before: after) == after
        assert other.rule(ALICE, FRANKFURT, RULE.rule_id) == after
        with pytest.raises(LookupError):
            catalog.change_rule(ALICE, FRANKFURT, RULE.rule_id, refuse)
        assert catalog.rule(ALICE, FRANKFURT, RULE.rule_id) == after

    def test_a_rule_that_is_changed_to_none_is_deleted_and_returned(self, catalog: Catalog) -> None:
        catalog.insert_rule(RULE, 250)
        catalog.insert_rule(rule("b"), 250)
        assert catalog.change_rule(ALICE, FRANKFURT, RULE.rule_id, lambda before: None) == RULE
        assert catalog.rules(ALICE, FRANKFURT, SNAPSHOTS) == [rule("b")]
        assert catalog.change_rule(ALICE, FRANKFURT, RULE.rule_id, refuse) is None

    def test_of_racing_changes_of_a_rule_none_is_lost(self, catalog: Catalog) -> None:
        catalog.insert_rule(RULE, 250)
        racing(
            8,
            lambda number: catalog.change_rule(
                ALICE, FRANKFURT, RULE.rule_id, lambda before: replace(before, tags=(*before.tags, (str(number), "")))
            ),
        )
        after = catalog.rule(ALICE, FRANKFURT, RULE.rule_id)
        assert after is not None
        assert sorted(after.tags) == [(str(number), "") for number in range(8)]

    # -- the recycle bin --

    def test_what_lies_in_the_bin_is_listed_in_the_order_in_which_it_came(self, catalog: Catalog) -> None:
        for number, at_ms in ((3, STARTED + 2), (1, STARTED + 3), (4, STARTED + 1), (2, STARTED + 2)):
            recycled(catalog, number, at_ms)
        completed(catalog, 5)
        found = catalog.recycled(ALICE, FRANKFURT)
        assert [each.snapshot_id for each in found] == [name(4), name(2), name(3), name(1)]
        assert catalog.recycled(BOB, FRANKFURT) == []
        assert catalog.recycled(ALICE, OREGON) == []

    def test_what_lies_in_the_bin_is_in_no_other_list(self, catalog: Catalog) -> None:
        recycled(catalog)
        assert catalog.snapshots(ALICE, FRANKFURT) == []
        assert catalog.snapshots(ALICE, FRANKFURT, [name(1)]) == []
        assert state_of(catalog) is SnapshotState.COMPLETED

    def test_a_restored_snapshot_is_as_it_was(self, catalog: Catalog) -> None:
        completed(catalog)
        before = catalog.snapshot(name(1))
        catalog.insert_rule(RULE, 250)
        catalog.begin_delete(name(1), STARTED, STARTED)
        assert catalog.restore_recycled(ALICE, FRANKFURT, name(1), STARTED + 7 * DAY_MS - 1) == before
        assert catalog.snapshots(ALICE, FRANKFURT) == [before]
        assert catalog.recycled(ALICE, FRANKFURT) == []
        assert catalog.restore_recycled(ALICE, FRANKFURT, name(1), STARTED) is None

    def test_nothing_is_restored_for_others_or_past_its_time(self, catalog: Catalog) -> None:
        recycled(catalog)
        assert catalog.restore_recycled(BOB, FRANKFURT, name(1), STARTED) is None
        assert catalog.restore_recycled(ALICE, OREGON, name(1), STARTED) is None
        assert catalog.restore_recycled(ALICE, FRANKFURT, name(9), STARTED) is None
        assert catalog.restore_recycled(ALICE, FRANKFURT, name(1), STARTED + 7 * DAY_MS) is None
        assert len(catalog.recycled(ALICE, FRANKFURT)) == 1

    def test_the_bin_is_emptied_of_what_is_past_its_time(self, catalog: Catalog) -> None:
        recycled(catalog, 1)
        recycled(catalog, 2, STARTED + 1)
        until = STARTED + 7 * DAY_MS
        assert catalog.empty_recycle_bin(until - 1) == []
        assert catalog.empty_recycle_bin(until) == [name(1)]
        assert catalog.empty_recycle_bin(until) == []
        assert catalog.deletions_due() == [name(1)]
        assert [each.snapshot_id for each in catalog.recycled(ALICE, FRANKFURT)] == [name(2)]
        assert catalog.restore_recycled(ALICE, FRANKFURT, name(1), STARTED) is None
        assert catalog.empty_recycle_bin(until + 1) == [name(2)]
        assert catalog.deletions_due() == [name(1), name(2)]

    def test_of_a_restore_and_an_emptying_that_race_one_has_the_snapshot(self, catalog: Catalog) -> None:
        recycled(catalog)
        until = STARTED + 7 * DAY_MS

        def race(number: int) -> bool:
            if number:
                return bool(catalog.empty_recycle_bin(until))
            return catalog.restore_recycled(ALICE, FRANKFURT, name(1), until - 1) is not None

        restored, emptied = racing(2, race)
        assert restored != emptied
        assert state_of(catalog) is (SnapshotState.COMPLETED if restored else SnapshotState.DELETING)

    # -- the archive tier --

    def test_a_restore_for_a_time_ends_at_that_time(self, catalog: Catalog) -> None:
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

    def test_what_is_gone_has_no_tier(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.DELETING)
        assert catalog.change_tiering(name(1), lambda snapshot: ARCHIVED) is None
        assert catalog.change_tiering(name(9), lambda snapshot: ARCHIVED) is None
        assert catalog.change_lock(name(1), lambda snapshot, before: None) is None

    def test_a_change_of_tier_sees_the_row_and_is_returned_and_stored(self, catalog: Catalog, other: Catalog) -> None:
        completed(catalog)
        before = catalog.snapshot(name(1))
        seen: list[Snapshot] = []

        def archive(snapshot: Snapshot) -> Tiering:
            seen.append(snapshot)
            return ARCHIVED

        assert catalog.change_tiering(name(1), archive) == ARCHIVED
        assert seen == [before]
        found = other.snapshot(name(1))
        assert found is not None
        assert found.tiering == ARCHIVED

    def test_what_lies_in_the_bin_changes_no_tier(self, catalog: Catalog) -> None:
        recycled(catalog)
        assert catalog.change_tiering(name(1), refuse) is None

    # -- parents --

    def test_an_archived_parent_has_no_new_children_until_it_is_restored(self, catalog: Catalog) -> None:
        completed(catalog)
        catalog.change_tiering(name(1), lambda snapshot: ARCHIVED)
        with pytest.raises(ParentGoneError):
            catalog.insert_snapshot(child(), None)
        catalog.change_tiering(name(1), lambda snapshot: Tiering())
        catalog.insert_snapshot(child(), None)
        assert state_of(catalog, 2) is SnapshotState.PENDING

    def test_a_recycled_parent_has_no_new_children(self, catalog: Catalog) -> None:
        completed(catalog)
        catalog.insert_rule(RULE, 250)
        catalog.begin_delete(name(1), STARTED, STARTED)
        with pytest.raises(ParentGoneError):
            catalog.insert_snapshot(child(), None)
        assert catalog.snapshot(name(2)) is None

    # -- copies --

    def test_the_source_must_be_there(self, catalog: Catalog) -> None:
        with pytest.raises(SourceGoneError):
            catalog.insert_copy(a_copy(2), work(2), 20)
        put_in_state(catalog, 1, SnapshotState.PENDING)
        with pytest.raises(SourceGoneError):
            catalog.insert_copy(a_copy(2), work(2), 20)
        assert catalog.snapshot(name(2)) is None

    def test_an_archived_or_recycled_source_is_not_there(self, catalog: Catalog) -> None:
        completed(catalog)
        catalog.change_tiering(name(1), lambda snapshot: ARCHIVED)
        with pytest.raises(SourceGoneError):
            catalog.insert_copy(a_copy(2), work(2), 20)
        catalog.change_tiering(name(1), lambda snapshot: Tiering())
        catalog.insert_rule(RULE, 250)
        catalog.begin_delete(name(1), STARTED, STARTED)
        with pytest.raises(SourceGoneError):
            catalog.insert_copy(a_copy(2), work(2), 20)

    def test_racing_copies_keep_to_the_limit(self, catalog: Catalog) -> None:
        completed(catalog)

        def attempt(number: int) -> bool:
            try:
                catalog.insert_copy(a_copy(10 + number), work(10 + number), 3)
            except CopiesLimitError:
                return False
            return True

        assert racing(6, attempt).count(True) == 3

    def test_a_lease_of_a_copy_has_one_holder_until_it_ends(self, catalog: Catalog) -> None:
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
        catalog.release_leases()
        assert catalog.claim_copy(name(2), 100, 200) == work(2)

    def test_a_copy_that_failed_has_no_writes_and_is_not_due(self, catalog: Catalog) -> None:
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

    def test_a_copy_that_failed_elsewhere_is_remembered_so_at_once(self, catalog: Catalog, other: Catalog) -> None:
        completed(catalog)
        catalog.insert_copy(a_copy(2), work(2), 20)
        assert catalog.remembered_snapshot(name(2)) == a_copy(2)
        assert other.fail_copy(name(2), "why")
        assert catalog.remembered_snapshot(name(2)) == a_copy(2, SnapshotState.ERROR, state_message="why")

    def test_a_sealed_copy_is_not_due(self, catalog: Catalog) -> None:
        completed(catalog)
        catalog.insert_copy(a_copy(2), work(2), 20)
        catalog.begin_seal(name(2), 0, None, STARTED, STARTED)
        assert catalog.copies_due(10**15) == []

    def test_a_copy_is_read_back_field_for_field(self, catalog: Catalog) -> None:
        completed(catalog)
        arn = "arn:aws:kms:eu-central-1:111111111111:key/source"
        made = a_copy(
            2,
            account_id=BOB,
            region=OREGON,
            description="é",
            tags=(("a", "1"),),
            kms_key_arn="arn:aws:kms:us-west-2:222222222222:key/target",
            data_key_id=b"\x0d" * 16,
        )
        catalog.insert_copy(made, CopyWork(name(2), OTHER_ROOT, arn), 20)
        assert catalog.snapshot(name(2)) == made
        assert catalog.claim_copy(name(2), 0, 1) == CopyWork(name(2), OTHER_ROOT, arn)

    def test_a_copy_without_work_is_whole_at_once(self, catalog: Catalog) -> None:
        completed(catalog)
        made = a_copy(2, SnapshotState.COMPLETED, completed_at_ms=STARTED, root=OTHER_ROOT, block_count=1)
        catalog.insert_copy(made, None, 1)
        assert catalog.snapshot(name(2)) == made
        assert catalog.copies_due(10**15) == []
        assert catalog.claim_copy(name(2), 0, 1) is None
        catalog.insert_copy(a_copy(3), work(3), 1)

    def test_a_copy_of_an_id_that_exists_is_refused(self, catalog: Catalog) -> None:
        completed(catalog)
        catalog.insert_snapshot(pending(2), None)
        with pytest.raises(RowRefusedError):
            catalog.insert_copy(a_copy(2), work(2), 20)
        assert catalog.snapshot(name(2)) == pending(2)
        assert catalog.copies_due(10**15) == []

    def test_copies_count_for_their_own_account_and_region_until_they_are_sealed(self, catalog: Catalog) -> None:
        completed(catalog)
        catalog.insert_snapshot(pending(9), None)
        catalog.insert_copy(a_copy(2), work(2), 1)
        catalog.begin_seal(name(2), 0, None, STARTED, STARTED)
        with pytest.raises(CopiesLimitError):
            catalog.insert_copy(a_copy(3), work(3), 1)
        assert catalog.snapshot(name(3)) is None
        catalog.insert_copy(a_copy(4, account_id=BOB), work(4), 1)
        catalog.insert_copy(a_copy(5, region=OREGON), work(5), 1)
        catalog.finish_seal(name(2), OTHER_ROOT, 1, STARTED)
        catalog.insert_copy(a_copy(3), work(3), 1)

    def test_copies_are_due_in_the_order_in_which_they_were_asked_for(self, catalog: Catalog) -> None:
        completed(catalog)
        for number in (4, 2, 3):
            catalog.insert_copy(a_copy(number), work(number), 20)
        assert catalog.copies_due(0) == [name(4), name(2), name(3)]
        catalog.claim_copy(name(2), 0, 100)
        assert catalog.copies_due(99) == [name(4), name(3)]

    def test_a_lease_of_a_copy_is_free_again_when_it_has_run_out(self, catalog: Catalog, other: Catalog) -> None:
        completed(catalog)
        catalog.insert_copy(a_copy(2), work(2), 20)
        assert catalog.claim_copy(name(2), 100, 200) == work(2)
        assert other.claim_copy(name(2), 199, 300) is None
        assert other.claim_copy(name(2), 200, 300) == work(2)
        assert catalog.claim_copy(name(2), 299, 400) is None

    def test_a_lease_of_a_copy_that_nobody_took_cannot_be_renewed(self, catalog: Catalog) -> None:
        completed(catalog)
        catalog.insert_copy(a_copy(2), work(2), 20)
        catalog.renew_copy(name(2), 300)
        catalog.renew_copy(name(9), 300)
        assert catalog.claim_copy(name(2), 100, 200) == work(2)

    def test_only_copies_can_be_claimed(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        assert catalog.claim_copy(name(1), 0, 1) is None
        assert catalog.claim_copy(name(9), 0, 1) is None

    def test_no_snapshot_but_a_pending_copy_fails_as_a_copy(self, catalog: Catalog) -> None:
        completed(catalog)
        catalog.insert_snapshot(pending(2), None)
        catalog.insert_copy(a_copy(3), work(3), 20)
        catalog.begin_seal(name(3), 0, None, STARTED, STARTED)
        before = [catalog.snapshot(name(number)) for number in (1, 2, 3)]
        for number in (1, 2, 3, 9):
            assert not catalog.fail_copy(name(number), "why")
        assert [catalog.snapshot(name(number)) for number in (1, 2, 3)] == before

    def test_leases_and_work_are_there_after_a_restart(self, catalog: Catalog, reopen: Callable[[], Catalog]) -> None:
        completed(catalog)
        for number in (2, 3):
            catalog.insert_copy(a_copy(number), work(number), 20)
        catalog.claim_copy(name(2), 100, 200)
        again = reopen()
        assert again.copies_due(199) == [name(3)]
        again.release_leases()
        assert again.copies_due(100) == [name(2), name(3)]
        assert again.claim_copy(name(2), 100, 200) == work(2)

    # -- what is hidden: each condition of a statement hides what is another's, or not there any more --

    def test_locks_are_listed_of_what_an_account_has_in_a_region(self, catalog: Catalog) -> None:
        compliance = SnapshotLock(LockMode.COMPLIANCE, STARTED, STARTED, 1, None)
        whose: list[dict[str, Any]] = [{}, {"account_id": BOB}, {"region": OREGON}, {}, {}]
        for number, changes in enumerate(whose, 1):
            put_in_state(catalog, number, SnapshotState.COMPLETED, **changes)
            catalog.change_lock(name(number), lambda snapshot, before: compliance)
        later = STARTED + 10 * DAY_MS
        assert catalog.begin_delete(name(4), later, later) is Deletion.BEGUN
        catalog.insert_rule(RULE, 250)
        assert catalog.begin_delete(name(5), later, later) is Deletion.RECYCLED
        assert [row.snapshot_id for row, _ in catalog.locks(ALICE, FRANKFURT)] == [name(1)]
        assert catalog.locks(ALICE, FRANKFURT, [name(2), name(3), name(4), name(5)]) == []

    def test_public_access_is_one_accounts_in_one_region(self, catalog: Catalog) -> None:
        catalog.set_public_access(ALICE, OREGON, PublicAccess.BLOCK_ALL)
        catalog.set_public_access(BOB, FRANKFURT, PublicAccess.BLOCK_NEW)
        assert catalog.public_access(ALICE, FRANKFURT) is PublicAccess.UNBLOCKED
        assert catalog.public_access(ALICE, OREGON) is PublicAccess.BLOCK_ALL
        assert catalog.public_access(BOB, FRANKFURT) is PublicAccess.BLOCK_NEW
        catalog.set_public_access(BOB, FRANKFURT, PublicAccess.UNBLOCKED)
        assert catalog.public_access(ALICE, OREGON) is PublicAccess.BLOCK_ALL

    def test_of_copies_those_under_way_of_the_account_in_the_region_count(self, catalog: Catalog) -> None:
        completed(catalog)
        catalog.insert_snapshot(pending(2), None)  # no copy
        catalog.insert_copy(replace(a_copy(3), account_id=BOB), work(3), 1)
        catalog.insert_copy(replace(a_copy(4), region=OREGON), work(4), 1)
        catalog.insert_copy(a_copy(5), work(5), 1)
        with pytest.raises(CopiesLimitError):
            catalog.insert_copy(a_copy(6), work(6), 1)
        assert catalog.fail_copy(name(5), "why")
        catalog.insert_copy(a_copy(6), work(6), 1)

    def test_the_bin_is_emptied_once_of_what_is_due(self, catalog: Catalog) -> None:
        catalog.insert_rule(RULE, 250)
        completed(catalog, 3)  # and not deleted
        for number, deleted_at in [(1, STARTED), (2, STARTED + DAY_MS)]:
            completed(catalog, number)
            assert catalog.begin_delete(name(number), deleted_at, deleted_at) is Deletion.RECYCLED
        assert catalog.empty_recycle_bin(STARTED + 7 * DAY_MS - 1) == []
        assert catalog.empty_recycle_bin(STARTED + 7 * DAY_MS) == [name(1)]
        assert catalog.empty_recycle_bin(STARTED + 7 * DAY_MS) == []
        assert catalog.restore_recycled(ALICE, FRANKFURT, name(1), STARTED) is None
        assert [row.snapshot_id for row in catalog.recycled(ALICE, FRANKFURT)] == [name(2)]

    def test_a_rule_and_what_it_keeps_are_one_accounts_in_one_region(self, catalog: Catalog) -> None:
        catalog.insert_rule(RULE, 250)
        other = replace(RULE, rule_id="another-one", description="other")
        catalog.insert_rule(other, 250)
        assert catalog.rule(ALICE, FRANKFURT, RULE.rule_id) == RULE
        assert catalog.rule(ALICE, FRANKFURT, other.rule_id) == other
        completed(catalog)
        catalog.begin_delete(name(1), STARTED, STARTED)
        for account_id, region in [(BOB, FRANKFURT), (ALICE, OREGON)]:
            assert catalog.rule(account_id, region, RULE.rule_id) is None
            assert catalog.rules(account_id, region, "EBS_SNAPSHOT") == []
            assert catalog.recycled(account_id, region) == []
            assert catalog.restore_recycled(account_id, region, name(1), STARTED) is None
        assert catalog.rules(ALICE, FRANKFURT, "EC2_IMAGE") == []
