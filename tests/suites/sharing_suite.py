"""The part of a catalog's contract about what an account sees, shares, tags and settings for a region, as a suite."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.errors import RowRefusedError
from snapstone.catalog.contract.sharing import EncryptionDefaults, ListPosition, OwnTag, SnapshotScope, Tags
from snapstone.catalog.contract.snapshots import Deletion, PublicAccess, RetentionRule, Snapshot, SnapshotState
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.protection import Retention
from tests.suites.catalog_fixtures import CatalogFixtures, Opener
from tests.suites.catalog_rows import ALICE, BOB, FRANKFURT, OREGON, STARTED, name, pending, put_in_state
from tests.suites.races import racing

EVERY_REACH = list(SnapshotScope)
MANY = 100


def share(catalog: Catalog, number: int, *readers: str) -> None:
    assert catalog.change_shares(name(number), lambda snapshot: snapshot.shared_with | set(readers))


def seen(
    catalog: Catalog,
    account_id: AccountId = BOB,
    reaches: list[SnapshotScope] = EVERY_REACH,
    start: ListPosition | None = None,
    limit: int = MANY,
    region: Region = FRANKFURT,
) -> list[SnapshotId]:
    found = catalog.visible_snapshots(account_id, region, reaches, start, limit)
    return [snapshot.snapshot_id for snapshot in found]


def recycle(catalog: Catalog, *numbers: int) -> None:
    """Put completed snapshots of alice's into the bin."""
    rule = RetentionRule("abcdefghijk", ALICE, FRANKFURT, "EBS_SNAPSHOT", Retention(7), "", (), STARTED)
    catalog.insert_rule(rule, 250)
    for number in numbers:
        assert catalog.begin_delete(name(number), STARTED, STARTED) is Deletion.RECYCLED


class SharingSuite(CatalogFixtures):
    """Every promise of `sharing_contract.SharingCatalog`."""

    # -- what is seen --

    def test_own_shared_and_public_snapshots_are_seen_each_for_its_reason(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1, account_id=BOB), None)
        for number in (2, 3, 4):
            catalog.insert_snapshot(pending(number), None)
        share(catalog, 2, BOB)
        share(catalog, 3, "all")
        assert seen(catalog) == [name(1), name(2), name(3)]
        assert seen(catalog, reaches=[SnapshotScope.OWN]) == [name(1)]
        assert seen(catalog, reaches=[SnapshotScope.SHARED]) == [name(2)]
        assert seen(catalog, reaches=[SnapshotScope.PUBLIC]) == [name(3)]
        assert seen(catalog, reaches=[]) == []

    def test_a_snapshot_that_is_public_shared_and_owned_is_seen_once(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        share(catalog, 1, "all", ALICE, BOB)
        assert seen(catalog) == [name(1)]
        assert seen(catalog, ALICE) == [name(1)]

    def test_nothing_is_seen_in_another_region(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        share(catalog, 1, "all", BOB)
        assert seen(catalog, region=OREGON) == []
        assert seen(catalog, ALICE, region=OREGON) == []

    def test_what_is_being_deleted_is_not_seen(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.COMPLETED)
        share(catalog, 1, "all", BOB)
        assert catalog.begin_delete(name(1), STARTED, STARTED)
        assert seen(catalog) == []
        assert seen(catalog, ALICE) == []

    def test_what_lies_in_the_bin_is_not_seen_until_it_is_restored(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.COMPLETED)
        put_in_state(catalog, 2, SnapshotState.COMPLETED)
        share(catalog, 1, BOB)
        share(catalog, 2, "all")
        recycle(catalog, 1, 2)
        for reach in SnapshotScope:
            assert seen(catalog, reaches=[reach]) == []
            assert seen(catalog, ALICE, reaches=[reach]) == []
        for number in (1, 2):
            assert catalog.restore_recycled(ALICE, FRANKFURT, name(number), STARTED)
        assert seen(catalog) == [name(1), name(2)]
        assert seen(catalog, ALICE, reaches=[SnapshotScope.OWN]) == [name(1), name(2)]

    def test_a_block_of_all_public_access_hides_and_a_block_of_new_sharing_does_not(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        share(catalog, 1, "all")
        catalog.set_public_access(ALICE, OREGON, PublicAccess.BLOCK_ALL)
        catalog.set_public_access(BOB, FRANKFURT, PublicAccess.BLOCK_ALL)
        assert seen(catalog) == [name(1)]
        catalog.set_public_access(ALICE, FRANKFURT, PublicAccess.BLOCK_ALL)
        assert seen(catalog) == []
        assert seen(catalog, ALICE) == [name(1)]
        catalog.set_public_access(ALICE, FRANKFURT, PublicAccess.BLOCK_NEW)
        assert seen(catalog) == [name(1)]

    def test_all_reaches_together_are_ordered_by_start_then_id(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(9, account_id=BOB, started_at_ms=STARTED), None)
        catalog.insert_snapshot(pending(3, started_at_ms=STARTED + 1), None)
        catalog.insert_snapshot(pending(7, started_at_ms=STARTED), None)
        catalog.insert_snapshot(pending(1, account_id=BOB, started_at_ms=STARTED + 2), None)
        share(catalog, 3, "all")
        share(catalog, 7, BOB)
        assert seen(catalog) == [name(7), name(9), name(3), name(1)]

    def test_a_list_begins_at_a_place_and_ends_at_the_limit(self, catalog: Catalog) -> None:
        for number in range(1, 7):
            catalog.insert_snapshot(pending(number, account_id=(ALICE, BOB)[number % 2]), None)
        for number in (2, 4, 6):
            share(catalog, number, ("all", BOB)[number % 4 // 2])
        start = ListPosition(STARTED, name(2))
        assert seen(catalog, start=start, limit=3) == [name(2), name(3), name(4)]
        assert seen(catalog, start=ListPosition(STARTED, name(6))) == [name(6)]
        assert seen(catalog, start=ListPosition(STARTED + 1, SnapshotId(""))) == []

    @pytest.mark.parametrize("reach", list(SnapshotScope))
    def test_a_list_for_one_reason_begins_with_the_snapshot_at_its_place(
        self, catalog: Catalog, reach: SnapshotScope
    ) -> None:
        owner = BOB if reach is SnapshotScope.OWN else ALICE
        for number in range(1, 5):
            catalog.insert_snapshot(pending(number, account_id=owner), None)
            if reach is not SnapshotScope.OWN:
                share(catalog, number, BOB if reach is SnapshotScope.SHARED else "all")
        assert seen(catalog, reaches=[reach], start=ListPosition(STARTED, name(2)), limit=2) == [name(2), name(3)]
        assert seen(catalog, reaches=[reach], start=ListPosition(STARTED, name(4)), limit=2) == [name(4)]

    # -- shares --

    def test_readers_are_replaced_and_part_of_the_row(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        share(catalog, 1, BOB, "all")
        row = catalog.remembered_snapshot(name(1))
        assert row is not None
        assert row.shared_with == {BOB, "all"}
        assert catalog.change_shares(name(1), lambda _: frozenset({ALICE}))
        row = catalog.remembered_snapshot(name(1))
        assert row is not None
        assert row.shared_with == {ALICE}

    def test_a_reader_is_an_account_or_all(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        share(catalog, 1, BOB)
        with pytest.raises(RowRefusedError):
            share(catalog, 1, "everybody")
        row = catalog.snapshot(name(1))
        assert row is not None
        assert row.shared_with == {BOB}

    def test_an_error_in_the_change_changes_nothing(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)

        def refuse(_: Snapshot) -> frozenset[str]:
            raise LookupError

        with pytest.raises(LookupError):
            catalog.change_shares(name(1), refuse)
        assert seen(catalog) == []

    def test_a_snapshot_that_is_gone_has_no_readers(self, catalog: Catalog) -> None:
        assert not catalog.change_shares(name(1), lambda _: frozenset({BOB}))
        put_in_state(catalog, 2, SnapshotState.DELETING)
        assert not catalog.change_shares(name(2), lambda _: frozenset({BOB}))

    def test_what_lies_in_the_bin_changes_neither_readers_nor_tags(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.COMPLETED, tags=(("a", "1"),))
        recycle(catalog, 1)
        before = catalog.snapshot(name(1))
        assert not catalog.change_shares(name(1), lambda _: frozenset({BOB}))
        given: list[Snapshot | None] = []

        def change(_: SnapshotId, row: Snapshot | None) -> Tags:
            given.append(row)
            raise LookupError

        with pytest.raises(LookupError):
            catalog.change_tags([name(1)], change)
        assert given == [None]
        assert catalog.snapshot(name(1)) == before

    def test_of_racing_changes_none_is_lost(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        readers = [f"{number:012d}" for number in range(24)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda reader: share(catalog, 1, reader), readers))
        row = catalog.snapshot(name(1))
        assert row is not None
        assert row.shared_with == set(readers)

    # -- tags --

    def test_tags_are_replaced_in_the_order_given(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1, tags=(("z", "1"), ("a", "2"))), None)
        catalog.change_tags([name(1)], lambda _id, row: ((row.tags if row else ()) + (("b", ""),))[1:])
        row = catalog.remembered_snapshot(name(1))
        assert row is not None
        assert row.tags == (("a", "2"), ("b", ""))

    def test_a_tag_given_twice_is_refused_and_the_tags_stay(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1, tags=(("z", "1"),)), None)
        with pytest.raises(RowRefusedError):
            catalog.change_tags([name(1)], lambda _id, _row: (("a", "1"), ("a", "2")))
        row = catalog.snapshot(name(1))
        assert row is not None
        assert row.tags == (("z", "1"),)

    def test_an_error_for_one_changes_none(self, catalog: Catalog) -> None:
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

    def test_an_accounts_tags_are_listed_by_snapshot_then_key_from_any_place_on(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(2, tags=(("b", "1"), ("a", "2"))), None)
        catalog.insert_snapshot(pending(1, tags=(("c", ""),), started_at_ms=STARTED + 1), None)
        catalog.insert_snapshot(pending(3, tags=(("d", ""),), account_id=BOB), None)
        catalog.insert_snapshot(pending(4, tags=(("e", ""),), region=OREGON), None)
        first, second = ListPosition(STARTED, name(2)), ListPosition(STARTED + 1, name(1))
        every = [OwnTag(first, "a", "2"), OwnTag(first, "b", "1"), OwnTag(second, "c", "")]
        assert catalog.tags(ALICE, FRANKFURT, None, MANY) == every
        assert catalog.tags(ALICE, FRANKFURT, (first, "b"), MANY) == every[1:]
        assert catalog.tags(ALICE, FRANKFURT, (second, ""), MANY) == every[2:]
        assert catalog.tags(ALICE, FRANKFURT, None, 2) == every[:2]

    def test_tags_of_what_is_being_deleted_or_lies_in_the_bin_are_not_listed(self, catalog: Catalog) -> None:
        for number in (1, 2, 3):
            put_in_state(catalog, number, SnapshotState.COMPLETED, tags=(("a", str(number)),))
        catalog.begin_delete(name(1), STARTED, STARTED)
        recycle(catalog, 2)
        assert catalog.tags(ALICE, FRANKFURT, None, MANY) == [OwnTag(ListPosition(STARTED, name(3)), "a", "3")]

    def test_readers_and_tags_changed_elsewhere_are_remembered_at_once(self, catalog: Catalog, other: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        assert catalog.remembered_snapshot(name(1)) == pending(1)
        other.change_tags([name(1)], lambda _id, _row: (("a", "1"),))
        assert catalog.remembered_snapshot(name(1)) == pending(1, tags=(("a", "1"),))
        share(other, 1, BOB)
        assert catalog.remembered_snapshot(name(1)) == pending(1, tags=(("a", "1"),), shared_with=frozenset({BOB}))

    def test_of_racing_changes_of_tags_none_is_lost(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)

        def tag(number: int) -> None:
            catalog.change_tags([name(1)], lambda _id, row: (*(row.tags if row else ()), (str(number), "")))

        racing(8, tag)
        row = catalog.snapshot(name(1))
        assert row is not None
        assert sorted(row.tags) == [(str(number), "") for number in range(8)]

    # -- encryption by default --

    def test_nothing_is_set_at_first(self, catalog: Catalog) -> None:
        assert catalog.encryption_defaults(ALICE, FRANKFURT) == EncryptionDefaults(encrypted=False, key_arn=None)

    def test_each_setting_leaves_the_other_as_it_is(self, catalog: Catalog) -> None:
        catalog.set_encryption_by_default(ALICE, FRANKFURT, True)
        catalog.set_default_key(ALICE, FRANKFURT, "arn")
        assert catalog.encryption_defaults(ALICE, FRANKFURT) == EncryptionDefaults(encrypted=True, key_arn="arn")
        catalog.set_encryption_by_default(ALICE, FRANKFURT, False)
        assert catalog.encryption_defaults(ALICE, FRANKFURT) == EncryptionDefaults(encrypted=False, key_arn="arn")
        catalog.set_default_key(ALICE, FRANKFURT, None)
        assert catalog.encryption_defaults(ALICE, FRANKFURT) == EncryptionDefaults(encrypted=False, key_arn=None)

    def test_a_setting_is_one_accounts_in_one_region(self, catalog: Catalog) -> None:
        catalog.set_default_key(ALICE, FRANKFURT, "arn")
        catalog.set_encryption_by_default(ALICE, FRANKFURT, True)
        assert catalog.encryption_defaults(BOB, FRANKFURT) == EncryptionDefaults()
        assert catalog.encryption_defaults(ALICE, OREGON) == EncryptionDefaults()

    def test_another_catalog_on_the_same_rows_sees_a_change_at_once(self, catalog: Catalog, opener: Opener) -> None:
        assert not catalog.encryption_defaults(ALICE, FRANKFURT).encrypted
        other = opener()
        other.set_encryption_by_default(ALICE, FRANKFURT, True)
        other.close()
        assert catalog.encryption_defaults(ALICE, FRANKFURT).encrypted
