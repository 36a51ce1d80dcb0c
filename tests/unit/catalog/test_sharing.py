"""What an account sees and in which order, shares, tags, and settings for a region: as the catalog keeps them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstone.catalog.protection_rows import PublicAccess
from snapstone.catalog.rows import Snapshot, SnapshotState
from snapstone.catalog.sharing_contract import Tags
from snapstone.catalog.sharing_rows import EncryptionDefaults, OwnTag, Place, Reach
from snapstone.catalog.sqlite import SqliteCatalog
from snapstone.catalog.visible import SELECT_TAGS, select_visible
from snapstone.core.ids import AccountId, Region, SnapshotId
from tests.suites.catalog_rows import ALICE, BOB, FRANKFURT, OREGON, STARTED, name, pending, put_in_state

EVERY_REACH = list(Reach)
MANY = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


@pytest.fixture
def catalog(path: Path) -> Iterator[SqliteCatalog]:
    catalog = SqliteCatalog(path)
    yield catalog
    catalog.close()


def share(catalog: SqliteCatalog, number: int, *readers: str) -> None:
    assert catalog.change_shares(name(number), lambda snapshot: snapshot.shared_with | set(readers))


def seen(
    catalog: SqliteCatalog,
    account_id: AccountId = BOB,
    reaches: list[Reach] = EVERY_REACH,
    start: Place | None = None,
    limit: int = MANY,
    region: Region = FRANKFURT,
) -> list[SnapshotId]:
    found = catalog.visible_snapshots(account_id, region, reaches, start, limit)
    return [snapshot.snapshot_id for snapshot in found]


class TestWhatIsSeen:
    def test_own_shared_and_public_snapshots_are_seen_each_for_its_reason(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(1, account_id=BOB), None)
        for number in (2, 3, 4):
            catalog.insert_snapshot(pending(number), None)
        share(catalog, 2, BOB)
        share(catalog, 3, "all")
        assert seen(catalog) == [name(1), name(2), name(3)]
        assert seen(catalog, reaches=[Reach.OWN]) == [name(1)]
        assert seen(catalog, reaches=[Reach.SHARED]) == [name(2)]
        assert seen(catalog, reaches=[Reach.PUBLIC]) == [name(3)]
        assert seen(catalog, reaches=[]) == []

    def test_a_snapshot_that_is_public_shared_and_owned_is_seen_once(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        share(catalog, 1, "all", ALICE, BOB)
        assert seen(catalog) == [name(1)]
        assert seen(catalog, ALICE) == [name(1)]

    def test_nothing_is_seen_in_another_region(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        share(catalog, 1, "all", BOB)
        assert seen(catalog, region=OREGON) == []
        assert seen(catalog, ALICE, region=OREGON) == []

    def test_what_is_being_deleted_is_not_seen(self, catalog: SqliteCatalog) -> None:
        put_in_state(catalog, 1, SnapshotState.COMPLETED)
        share(catalog, 1, "all", BOB)
        assert catalog.begin_delete(name(1), STARTED)
        assert seen(catalog) == []
        assert seen(catalog, ALICE) == []

    def test_a_block_of_all_public_access_hides_and_a_block_of_new_sharing_does_not(
        self, catalog: SqliteCatalog
    ) -> None:
        catalog.insert_snapshot(pending(1), None)
        share(catalog, 1, "all")
        catalog.set_public_access(ALICE, FRANKFURT, PublicAccess.BLOCK_ALL)
        assert seen(catalog) == []
        assert seen(catalog, ALICE) == [name(1)]
        catalog.set_public_access(ALICE, FRANKFURT, PublicAccess.BLOCK_NEW)
        assert seen(catalog) == [name(1)]

    def test_all_reaches_together_are_ordered_by_start_then_id(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(9, account_id=BOB, started_at_ms=STARTED), None)
        catalog.insert_snapshot(pending(3, started_at_ms=STARTED + 1), None)
        catalog.insert_snapshot(pending(7, started_at_ms=STARTED), None)
        catalog.insert_snapshot(pending(1, account_id=BOB, started_at_ms=STARTED + 2), None)
        share(catalog, 3, "all")
        share(catalog, 7, BOB)
        assert seen(catalog) == [name(7), name(9), name(3), name(1)]

    def test_a_list_begins_at_a_place_and_ends_at_the_limit(self, catalog: SqliteCatalog) -> None:
        for number in range(1, 7):
            catalog.insert_snapshot(pending(number, account_id=(ALICE, BOB)[number % 2]), None)
        for number in (2, 4, 6):
            share(catalog, number, ("all", BOB)[number % 4 // 2])
        start = Place(STARTED, name(2))
        assert seen(catalog, start=start, limit=3) == [name(2), name(3), name(4)]
        assert seen(catalog, start=Place(STARTED, name(6))) == [name(6)]
        assert seen(catalog, start=Place(STARTED + 1, SnapshotId(""))) == []

    @pytest.mark.usefixtures("catalog")
    def test_no_statement_goes_through_all_that_there_is(self, path: Path) -> None:
        named = {"account_id": ALICE, "region": FRANKFURT, "started_at_ms": 0, "snapshot_id": "", "limit": 1}
        connection = sqlite3.connect(path)
        for statement in (select_visible(EVERY_REACH), SELECT_TAGS):
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", named | {"tag_key": ""}).fetchall()
            steps = [step[3] for step in plan]
            assert not [step for step in steps if step.startswith("SCAN") and "subquery" not in step]
            assert any(
                "snapshot_by_owner (account_id=? AND region=? AND (started_at_ms,snapshot_id)>(?,?))" in step
                for step in steps
            )
        connection.close()


class TestShares:
    def test_readers_are_replaced_and_part_of_the_row(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        share(catalog, 1, BOB, "all")
        row = catalog.remembered_snapshot(name(1))
        assert row is not None
        assert row.shared_with == {BOB, "all"}
        assert catalog.change_shares(name(1), lambda _: frozenset({ALICE}))
        row = catalog.remembered_snapshot(name(1))
        assert row is not None
        assert row.shared_with == {ALICE}

    def test_an_error_in_the_change_changes_nothing(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(1), None)

        def refuse(_: Snapshot) -> frozenset[str]:
            raise LookupError

        with pytest.raises(LookupError):
            catalog.change_shares(name(1), refuse)
        assert seen(catalog) == []

    def test_a_snapshot_that_is_gone_has_no_readers(self, catalog: SqliteCatalog) -> None:
        assert not catalog.change_shares(name(1), lambda _: frozenset({BOB}))
        put_in_state(catalog, 2, SnapshotState.DELETING)
        assert not catalog.change_shares(name(2), lambda _: frozenset({BOB}))

    def test_a_reader_is_an_account_or_all(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        with pytest.raises(sqlite3.IntegrityError):
            share(catalog, 1, "everybody")


class TestTags:
    def test_tags_are_replaced_in_the_order_given(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(1, tags=(("z", "1"), ("a", "2"))), None)
        catalog.change_tags([name(1)], lambda _id, row: ((row.tags if row else ()) + (("b", ""),))[1:])
        row = catalog.remembered_snapshot(name(1))
        assert row is not None
        assert row.tags == (("a", "2"), ("b", ""))

    def test_an_error_for_one_changes_none(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(1), None)

        def change(_: SnapshotId, row: Snapshot | None) -> Tags:
            if row is None:
                raise LookupError
            return (("a", ""),)

        with pytest.raises(LookupError):
            catalog.change_tags([name(1), name(2)], change)
        row = catalog.snapshot(name(1))
        assert row is not None
        assert row.tags == ()

    def test_an_accounts_tags_are_listed_by_snapshot_then_key_from_any_place_on(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(2, tags=(("b", "1"), ("a", "2"))), None)
        catalog.insert_snapshot(pending(1, tags=(("c", ""),), started_at_ms=STARTED + 1), None)
        catalog.insert_snapshot(pending(3, tags=(("d", ""),), account_id=BOB), None)
        catalog.insert_snapshot(pending(4, tags=(("e", ""),), region=OREGON), None)
        first, second = Place(STARTED, name(2)), Place(STARTED + 1, name(1))
        every = [OwnTag(first, "a", "2"), OwnTag(first, "b", "1"), OwnTag(second, "c", "")]
        assert catalog.tags(ALICE, FRANKFURT, None, MANY) == every
        assert catalog.tags(ALICE, FRANKFURT, (first, "b"), MANY) == every[1:]
        assert catalog.tags(ALICE, FRANKFURT, (second, ""), MANY) == every[2:]
        assert catalog.tags(ALICE, FRANKFURT, None, 2) == every[:2]


class TestEncryptionDefaults:
    def test_nothing_is_set_at_first(self, catalog: SqliteCatalog) -> None:
        assert catalog.encryption_defaults(ALICE, FRANKFURT) == EncryptionDefaults(encrypted=False, key_arn=None)

    def test_each_setting_leaves_the_other_as_it_is(self, catalog: SqliteCatalog) -> None:
        catalog.set_encryption_by_default(ALICE, FRANKFURT, True)
        catalog.set_default_key(ALICE, FRANKFURT, "arn")
        assert catalog.encryption_defaults(ALICE, FRANKFURT) == EncryptionDefaults(encrypted=True, key_arn="arn")
        catalog.set_encryption_by_default(ALICE, FRANKFURT, False)
        assert catalog.encryption_defaults(ALICE, FRANKFURT) == EncryptionDefaults(encrypted=False, key_arn="arn")
        catalog.set_default_key(ALICE, FRANKFURT, None)
        assert catalog.encryption_defaults(ALICE, FRANKFURT) == EncryptionDefaults(encrypted=False, key_arn=None)

    def test_a_setting_is_one_accounts_in_one_region(self, catalog: SqliteCatalog) -> None:
        catalog.set_default_key(ALICE, FRANKFURT, "arn")
        catalog.set_encryption_by_default(ALICE, FRANKFURT, True)
        assert catalog.encryption_defaults(BOB, FRANKFURT) == EncryptionDefaults()
        assert catalog.encryption_defaults(ALICE, OREGON) == EncryptionDefaults()

    def test_another_process_sees_a_change_at_once(self, catalog: SqliteCatalog, path: Path) -> None:
        assert not catalog.encryption_defaults(ALICE, FRANKFURT).encrypted
        other = SqliteCatalog(path)
        other.set_encryption_by_default(ALICE, FRANKFURT, True)
        other.close()
        assert catalog.encryption_defaults(ALICE, FRANKFURT).encrypted
