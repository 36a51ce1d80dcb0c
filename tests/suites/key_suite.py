"""The part of a catalog's contract about KMS keys, and about the data keys and domain keys under them, as a suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.errors import RowRefusedError
from snapstone.catalog.contract.inventory import SealedDataKey, SealedMaterial
from snapstone.catalog.contract.keys import (
    AliasTakenError,
    KeyAlias,
    KeyManager,
    KeyRotation,
    KeyState,
    KmsKey,
    MaterialAdded,
    SealedKey,
)
from snapstone.catalog.contract.snapshots import SnapshotState
from tests.suites.catalog_fixtures import CatalogFixtures, Opener
from tests.suites.catalog_rows import (
    ALICE,
    BOB,
    FRANKFURT,
    OREGON,
    STARTED,
    name,
    pending,
    plain,
    put_in_state,
    record,
)
from tests.suites.races import in_processes, racing, wait_for_the_others

DAY_MS = 86_400_000
DATA_KEY_ID = b"\x0d" * 16


def key(key_id: str = "key-1", **changes: Any) -> KmsKey:
    """An enabled key of alice's in Frankfurt, with its first material."""
    made = KmsKey(key_id, ALICE, FRANKFURT, KeyManager.CUSTOMER, KeyState.ENABLED, "", "{}", STARTED)
    return replace(made, **changes)


def alias(alias_name: str, key_id: str = "key-1", **changes: Any) -> KeyAlias:
    """An alias of alice's in Frankfurt."""
    return replace(KeyAlias(alias_name, ALICE, FRANKFURT, key_id, STARTED, STARTED), **changes)


def add(catalog: Catalog, *keys: KmsKey) -> None:
    """Store keys, each with a first material of its own."""
    for each in keys:
        assert catalog.insert_kms_key(each, b"first of " + each.key_id.encode())


def change(catalog: Catalog, key_id: str = "key-1", **changes: Any) -> KmsKey:
    """Change some of a key; returns it afterwards."""
    changed = catalog.change_kms_key(key_id, lambda found: replace(found, **changes))
    assert changed is not None
    return changed


def doom(catalog: Catalog, key_id: str = "key-1", at_ms: int = 500) -> None:
    """Have a key's deletion pending, until a time."""
    change(catalog, key_id, state=KeyState.PENDING_DELETION, deletion_at_ms=at_ms)


def refuse(_: object) -> NoReturn:
    """A change that raises."""
    raise LookupError


class KeySuite(CatalogFixtures):
    """Every promise of `key_contract.KeyCatalog` and `data_key_contract.DataKeyCatalog`."""

    # -- keys --

    def test_a_key_is_read_back_field_for_field(self, catalog: Catalog) -> None:
        made = key(
            manager=KeyManager.AWS,
            state=KeyState.PENDING_DELETION,
            description="Größe",
            policy='{"Version": "2012-10-17"}',
            created_at_ms=7,
            deletion_at_ms=99,
            rotation_period_days=365,
            next_rotation_at_ms=1_000,
            tags=(("a", "1"), ("b", "")),
        )
        add(catalog, made)
        assert catalog.kms_key("key-1") == made
        assert catalog.kms_keys(ALICE, FRANKFURT) == [made]
        assert catalog.kms_key("key-2") is None

    def test_an_accounts_keys_in_a_region_are_listed_by_id(self, catalog: Catalog) -> None:
        add(catalog, key("key-2"), key("key-3", created_at_ms=1), key("key-1"))
        add(catalog, key("key-4", account_id=BOB), key("key-5", region=OREGON))
        assert [each.key_id for each in catalog.kms_keys(ALICE, FRANKFURT)] == ["key-1", "key-2", "key-3"]
        assert [each.key_id for each in catalog.kms_keys(BOB, FRANKFURT)] == ["key-4"]
        assert catalog.kms_keys(BOB, OREGON) == []

    def test_a_key_is_stored_with_its_material_and_its_alias(self, catalog: Catalog) -> None:
        assert catalog.insert_kms_key(key(), b"\x00\xff", "alias/aws/ebs")
        assert catalog.key_material("key-1", 1) == b"\x00\xff"
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/aws/ebs") == alias("alias/aws/ebs")

    def test_nothing_is_stored_of_a_key_whose_alias_is_there(self, catalog: Catalog) -> None:
        assert catalog.insert_kms_key(key(), b"first", "alias/aws/ebs")
        assert not catalog.insert_kms_key(key("key-2", tags=(("a", ""),)), b"second", "alias/aws/ebs")
        assert catalog.kms_keys(ALICE, FRANKFURT) == [key()]
        assert catalog.key_material("key-2", 1) is None
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/aws/ebs") == alias("alias/aws/ebs")

    def test_a_key_id_that_exists_is_refused(self, catalog: Catalog) -> None:
        add(catalog, key())
        with pytest.raises(RowRefusedError):
            catalog.insert_kms_key(key(account_id=BOB), b"other", "alias/other")
        assert catalog.kms_key("key-1") == key()
        assert catalog.key_material("key-1", 1) == b"first of key-1"
        assert catalog.kms_alias(BOB, FRANKFURT, "alias/other") is None

    def test_of_racing_keys_with_one_alias_one_is_stored(self, catalog: Catalog, opener: Opener) -> None:
        stored = racing(8, lambda number: catalog.insert_kms_key(key(f"key-{number}"), b"m", "alias/aws/ebs"))
        assert stored.count(True) == 1
        assert [each.key_id for each in catalog.kms_keys(ALICE, FRANKFURT)] == [f"key-{stored.index(True)}"]
        elsewhere = in_processes(2, _insert_with_alias, opener)
        assert sorted(elsewhere) == [False, True]

    def test_a_changed_key_is_returned_and_stored(self, catalog: Catalog) -> None:
        add(catalog, key(tags=(("a", "1"), ("b", "2"))), key("key-2"))
        seen: list[KmsKey] = []
        after = key(
            state=KeyState.PENDING_DELETION,
            description="new",
            policy='{"new": 1}',
            deletion_at_ms=77,
            rotation_period_days=90,
            next_rotation_at_ms=88,
            tags=(("b", "3"), ("c", "")),
        )

        def become(found: KmsKey) -> KmsKey:
            seen.append(found)
            return after

        assert catalog.change_kms_key("key-1", become) == after
        assert seen == [key(tags=(("a", "1"), ("b", "2")))]
        assert catalog.kms_key("key-1") == after
        assert catalog.kms_key("key-2") == key("key-2")

    def test_an_error_in_a_change_leaves_the_key_as_it_was(self, catalog: Catalog) -> None:
        add(catalog, key())
        with pytest.raises(LookupError):
            catalog.change_kms_key("key-1", refuse)
        assert catalog.kms_key("key-1") == key()
        assert catalog.change_kms_key("key-2", refuse) is None

    def test_of_racing_changes_none_is_lost(self, catalog: Catalog) -> None:
        add(catalog, key())
        racing(
            8,
            lambda number: catalog.change_kms_key(
                "key-1", lambda found: replace(found, tags=(*found.tags, (str(number), "")))
            ),
        )
        made = catalog.kms_key("key-1")
        assert made is not None
        assert sorted(made.tags) == [(str(number), "") for number in range(8)]

    def test_a_change_elsewhere_is_seen_at_once(self, catalog: Catalog, other: Catalog) -> None:
        assert catalog.kms_key("key-1") is None
        add(other, key())
        assert catalog.kms_key("key-1") == key()
        for state in (KeyState.DISABLED, KeyState.ENABLED):
            change(other, state=state)
            assert catalog.kms_key("key-1") == key(state=state)
        assert other.add_key_material(key(), b"second", STARTED, 25) is MaterialAdded.ADDED
        assert catalog.kms_key("key-1") == key(material_version=2)
        doom(other)
        assert catalog.kms_key("key-1") == key(state=KeyState.PENDING_DELETION, deletion_at_ms=500, material_version=2)
        assert other.destroy_kms_key("key-1", 500)
        assert catalog.kms_key("key-1") is None

    # -- material --

    def test_material_that_is_not_there_is_none(self, catalog: Catalog) -> None:
        add(catalog, key())
        assert catalog.key_material("key-1", 2) is None
        assert catalog.key_material("key-2", 1) is None

    def test_material_added_on_demand_is_the_next_version(self, catalog: Catalog) -> None:
        found = key(rotation_period_days=90, next_rotation_at_ms=STARTED + 5)
        add(catalog, found)
        assert catalog.add_key_material(found, b"second", STARTED + 9, on_demand_limit=25) is MaterialAdded.ADDED
        assert catalog.kms_key("key-1") == replace(found, material_version=2)
        assert catalog.key_material("key-1", 1) == b"first of key-1"
        assert catalog.key_material("key-1", 2) == b"second"
        assert catalog.key_rotations("key-1") == [KeyRotation(2, STARTED + 9, on_demand=True)]

    def test_material_added_when_it_is_due_sets_when_the_next_one_is(self, catalog: Catalog) -> None:
        found = key(rotation_period_days=90, next_rotation_at_ms=STARTED + 5)
        add(catalog, found)
        assert catalog.add_key_material(found, b"early", STARTED + 4) is MaterialAdded.ANOTHER
        assert catalog.key_material("key-1", 2) is None
        assert catalog.add_key_material(found, b"second", STARTED + 5) is MaterialAdded.ADDED
        assert catalog.kms_key("key-1") == replace(
            found, material_version=2, next_rotation_at_ms=STARTED + 5 + 90 * DAY_MS
        )
        assert catalog.key_rotations("key-1") == [KeyRotation(2, STARTED + 5, on_demand=False)]

    def test_a_key_that_is_not_rotated_by_itself_gets_no_material_by_itself(self, catalog: Catalog) -> None:
        add(catalog, key())
        assert catalog.add_key_material(key(), b"second", STARTED + 5) is MaterialAdded.ANOTHER
        assert catalog.kms_key("key-1") == key()

    def test_material_for_a_version_that_is_not_the_newest_any_more_is_not_added(self, catalog: Catalog) -> None:
        add(catalog, key())
        assert catalog.add_key_material(key(), b"second", 1, on_demand_limit=25) is MaterialAdded.ADDED
        assert catalog.add_key_material(key(), b"other", 2, on_demand_limit=25) is MaterialAdded.ANOTHER
        assert catalog.key_material("key-1", 2) == b"second"
        assert catalog.key_material("key-1", 3) is None

    def test_a_key_is_rotated_on_demand_up_to_the_limit_and_by_itself_beyond_it(self, catalog: Catalog) -> None:
        add(catalog, key(rotation_period_days=90, next_rotation_at_ms=50))
        for version in (1, 2):
            now = catalog.kms_key("key-1")
            assert now is not None
            assert now.material_version == version
            assert catalog.add_key_material(now, b"m%d" % (version + 1), version, 2) is MaterialAdded.ADDED
        now = catalog.kms_key("key-1")
        assert now is not None
        assert catalog.add_key_material(now, b"beyond", 3, 2) is MaterialAdded.LIMIT
        assert catalog.add_key_material(now, b"m4", 50) is MaterialAdded.ADDED
        assert [rotation.on_demand for rotation in catalog.key_rotations("key-1")] == [True, True, False]
        assert [catalog.key_material("key-1", version) for version in (2, 3, 4, 5)] == [b"m2", b"m3", b"m4", None]

    def test_a_key_that_is_not_enabled_or_gone_gets_no_material(self, catalog: Catalog) -> None:
        add(catalog, key(state=KeyState.DISABLED, rotation_period_days=90, next_rotation_at_ms=1))
        assert catalog.add_key_material(key(), b"second", 5, 25) is MaterialAdded.NOT_ENABLED
        assert catalog.add_key_material(key(), b"second", 5) is MaterialAdded.NOT_ENABLED
        doom(catalog)
        assert catalog.add_key_material(key(), b"second", 5, 25) is MaterialAdded.NOT_ENABLED
        assert catalog.add_key_material(key("key-2"), b"second", 5, 25) is MaterialAdded.NOT_ENABLED
        assert catalog.key_material("key-1", 2) is None
        assert catalog.key_rotations("key-1") == []

    def test_of_racing_materials_for_one_version_one_is_added(self, catalog: Catalog) -> None:
        add(catalog, key())
        outcomes = racing(8, lambda number: catalog.add_key_material(key(), b"by %d" % number, 1, 25))
        assert outcomes.count(MaterialAdded.ADDED) == 1
        assert outcomes.count(MaterialAdded.ANOTHER) == 7
        assert catalog.key_material("key-1", 2) == b"by %d" % outcomes.index(MaterialAdded.ADDED)
        assert len(catalog.key_rotations("key-1")) == 1

    # -- aliases --

    def test_an_alias_is_read_back_field_for_field(self, catalog: Catalog) -> None:
        add(catalog, key())
        made = alias("alias/data", created_at_ms=1, updated_at_ms=2)
        assert catalog.insert_kms_alias(made)
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/data") == made
        assert catalog.kms_aliases(ALICE, FRANKFURT) == [made]

    def test_an_alias_is_one_accounts_in_one_region(self, catalog: Catalog) -> None:
        add(catalog, key(), key("key-2", account_id=BOB), key("key-3", region=OREGON))
        made = [
            alias("alias/a"),
            alias("alias/a", "key-2", account_id=BOB),
            alias("alias/a", "key-3", region=OREGON),
        ]
        for each in made:
            assert catalog.insert_kms_alias(each)
        for each in made:
            assert catalog.kms_alias(each.account_id, each.region, "alias/a") == each
            assert catalog.kms_aliases(each.account_id, each.region) == [each]
        assert catalog.kms_alias(BOB, OREGON, "alias/a") is None
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/b") is None
        assert catalog.kms_aliases(BOB, OREGON) == []

    def test_aliases_are_listed_by_name(self, catalog: Catalog) -> None:
        add(catalog, key())
        for alias_name in ("alias/b", "alias/c", "alias/a"):
            assert catalog.insert_kms_alias(alias(alias_name))
        assert [each.name for each in catalog.kms_aliases(ALICE, FRANKFURT)] == ["alias/a", "alias/b", "alias/c"]

    def test_an_alias_that_is_there_is_taken(self, catalog: Catalog) -> None:
        add(catalog, key(), key("key-2"))
        assert catalog.insert_kms_alias(alias("alias/a"))
        with pytest.raises(AliasTakenError):
            catalog.insert_kms_alias(alias("alias/a", "key-2"))
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/a") == alias("alias/a")

    def test_of_racing_aliases_of_one_name_one_is_stored(self, catalog: Catalog) -> None:
        add(catalog, *(key(f"key-{number}") for number in range(8)))

        def insert(number: int) -> bool:
            try:
                return catalog.insert_kms_alias(alias("alias/a", f"key-{number}"))
            except AliasTakenError:
                return False

        stored = racing(8, insert)
        assert stored.count(True) == 1
        assert catalog.kms_aliases(ALICE, FRANKFURT) == [alias("alias/a", f"key-{stored.index(True)}")]

    def test_a_key_that_is_gone_or_going_gets_no_alias(self, catalog: Catalog) -> None:
        add(catalog, key(), key("key-2", state=KeyState.DISABLED))
        assert catalog.insert_kms_alias(alias("alias/b", "key-2"))
        doom(catalog)
        for gone in ("key-1", "key-9"):
            assert not catalog.insert_kms_alias(alias("alias/a", gone))
            assert not catalog.move_kms_alias(ALICE, FRANKFURT, "alias/b", gone, STARTED + 5)
        assert catalog.kms_aliases(ALICE, FRANKFURT) == [alias("alias/b", "key-2")]

    def test_an_alias_is_moved_and_others_see_it_at_once(self, catalog: Catalog, other: Catalog) -> None:
        add(catalog, key(), key("key-2"))
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/a") is None
        other.insert_kms_alias(alias("alias/a"))
        catalog.insert_kms_alias(alias("alias/b"))
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/a") == alias("alias/a")
        assert other.move_kms_alias(ALICE, FRANKFURT, "alias/a", "key-2", STARTED + 5)
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/a") == alias("alias/a", "key-2", updated_at_ms=STARTED + 5)
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/b") == alias("alias/b")
        for account_id, region, alias_name in (
            (BOB, FRANKFURT, "alias/a"),
            (ALICE, OREGON, "alias/a"),
            (ALICE, FRANKFURT, "alias/c"),
        ):
            assert not catalog.move_kms_alias(account_id, region, alias_name, "key-1", STARTED + 6)

    def test_a_deleted_alias_is_gone_at_once_and_its_key_stays(self, catalog: Catalog, other: Catalog) -> None:
        add(catalog, key())
        catalog.insert_kms_alias(alias("alias/a"))
        catalog.insert_kms_alias(alias("alias/b"))
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/a") == alias("alias/a")
        assert not catalog.delete_kms_alias(BOB, FRANKFURT, "alias/a")
        assert not catalog.delete_kms_alias(ALICE, OREGON, "alias/a")
        assert other.delete_kms_alias(ALICE, FRANKFURT, "alias/a")
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/a") is None
        assert not catalog.delete_kms_alias(ALICE, FRANKFURT, "alias/a")
        assert catalog.kms_aliases(ALICE, FRANKFURT) == [alias("alias/b")]
        assert catalog.kms_key("key-1") == key()

    # -- the end of a key --

    def test_a_key_is_to_be_destroyed_from_its_time_on(self, catalog: Catalog) -> None:
        add(catalog, key(), key("key-2"), key("key-3"))
        doom(catalog, "key-1", 500)
        doom(catalog, "key-2", 600)
        assert list(catalog.keys_to_destroy(499)) == []
        assert list(catalog.keys_to_destroy(500)) == ["key-1"]
        assert sorted(catalog.keys_to_destroy(600)) == ["key-1", "key-2"]
        assert not catalog.destroy_kms_key("key-1", 499)
        assert catalog.kms_key("key-1") is not None
        assert catalog.destroy_kms_key("key-1", 500)
        assert list(catalog.keys_to_destroy(600)) == ["key-2"]

    def test_a_destroyed_key_takes_with_it_all_that_it_sealed(self, catalog: Catalog) -> None:
        add(catalog, key(tags=(("a", ""),)), key("key-2"))
        for each in ("key-1", "key-2"):
            catalog.insert_kms_alias(alias(f"alias/{each}", each))
            catalog.insert_data_key(each.encode().ljust(16), SealedKey(each, 1, b"data"), STARTED)
            catalog.domain_key(SealedKey(each, 1, b"domain"))
        doom(catalog)
        assert catalog.destroy_kms_key("key-1", 500)
        assert catalog.kms_key("key-1") is None
        assert catalog.key_material("key-1", 1) is None
        assert catalog.key_rotations("key-1") == []
        assert catalog.kms_alias(ALICE, FRANKFURT, "alias/key-1") is None
        assert catalog.data_key(b"key-1".ljust(16)) is None
        assert catalog.present_domain_key("key-1") is None
        assert catalog.kms_keys(ALICE, FRANKFURT) == [key("key-2")]
        assert list(catalog.materials()) == [SealedMaterial("key-2", 1, b"first of key-2")]
        assert catalog.kms_aliases(ALICE, FRANKFURT) == [alias("alias/key-2", "key-2")]
        assert list(catalog.data_keys()) == [SealedDataKey(b"key-2".ljust(16), SealedKey("key-2", 1, b"data"))]
        assert list(catalog.domain_keys()) == [SealedKey("key-2", 1, b"domain")]

    def test_a_key_whose_deletion_was_cancelled_is_not_destroyed(self, catalog: Catalog) -> None:
        add(catalog, key())
        doom(catalog)
        change(catalog, state=KeyState.DISABLED, deletion_at_ms=None)
        assert list(catalog.keys_to_destroy(10**15)) == []
        assert not catalog.destroy_kms_key("key-1", 10**15)
        assert not catalog.destroy_kms_key("key-9", 10**15)
        assert catalog.kms_key("key-1") == key(state=KeyState.DISABLED)

    def test_a_key_is_destroyed_once_among_racing_callers(self, catalog: Catalog) -> None:
        add(catalog, key())
        doom(catalog)
        assert racing(8, lambda _: catalog.destroy_kms_key("key-1", 500)).count(True) == 1

    def test_destroyed_keys_are_forgotten_as_soon_as_no_reader_needs_an_older_state(
        self, catalog: Catalog, reopen: Callable[[], Catalog]
    ) -> None:
        assert catalog.forget_destroyed_keys()
        add(catalog, key(), key("key-2"))
        doom(catalog)
        stream = catalog.materials()
        next(stream)
        assert catalog.destroy_kms_key("key-1", 500)
        assert not catalog.forget_destroyed_keys()
        assert len(list(stream)) == 1
        assert catalog.forget_destroyed_keys()
        again = reopen()
        assert again.forget_destroyed_keys()
        assert again.kms_keys(ALICE, FRANKFURT) == [key("key-2")]

    def test_enabled_keys_are_to_be_rotated_from_their_time_on(self, catalog: Catalog) -> None:
        due = key("key-1", rotation_period_days=90, next_rotation_at_ms=500, tags=(("a", ""),))
        add(
            catalog,
            due,
            key("key-2", rotation_period_days=90, next_rotation_at_ms=501),
            key("key-3", rotation_period_days=90, next_rotation_at_ms=1, state=KeyState.DISABLED),
            key("key-4", next_rotation_at_ms=1),
            key("key-5"),
        )
        assert list(catalog.keys_to_rotate(499)) == []
        assert list(catalog.keys_to_rotate(500)) == [due]
        assert sorted(each.key_id for each in catalog.keys_to_rotate(501)) == ["key-1", "key-2"]

    # -- data keys --

    def test_a_data_key_is_read_back_whole(self, catalog: Catalog, other: Catalog) -> None:
        add(catalog, key())
        made = SealedKey("key-1", 3, b"\x00sealed\xff")
        assert catalog.insert_data_key(DATA_KEY_ID, made, STARTED)
        assert other.data_key(DATA_KEY_ID) == made
        assert catalog.data_key(bytes(16)) is None

    def test_no_data_key_is_stored_for_a_key_that_is_gone(self, catalog: Catalog) -> None:
        assert not catalog.insert_data_key(DATA_KEY_ID, SealedKey("key-1", 1, b"sealed"), STARTED)
        assert catalog.data_key(DATA_KEY_ID) is None

    def test_a_data_key_id_that_exists_is_refused(self, catalog: Catalog) -> None:
        add(catalog, key())
        catalog.insert_data_key(DATA_KEY_ID, SealedKey("key-1", 1, b"first"), STARTED)
        with pytest.raises(RowRefusedError):
            catalog.insert_data_key(DATA_KEY_ID, SealedKey("key-1", 1, b"second"), STARTED)
        assert catalog.data_key(DATA_KEY_ID) == SealedKey("key-1", 1, b"first")

    def test_no_data_key_is_left_of_a_key_destroyed_in_a_race(self, catalog: Catalog) -> None:
        add(catalog, key())
        doom(catalog)

        def race(number: int) -> bool:
            if number == 4:
                return catalog.destroy_kms_key("key-1", 500)
            return catalog.insert_data_key(bytes([number]) * 16, SealedKey("key-1", 1, b"sealed"), STARTED)

        assert racing(8, race)[4]
        assert list(catalog.data_keys()) == []

    # -- domain keys --

    def test_the_first_candidate_becomes_the_domain_key(self, catalog: Catalog, other: Catalog) -> None:
        add(catalog, key(), key("key-2"))
        assert catalog.present_domain_key("key-1") is None
        first = SealedKey("key-1", 2, b"first")
        assert catalog.domain_key(first) == first
        assert other.domain_key(SealedKey("key-1", 3, b"second")) == first
        assert other.present_domain_key("key-1") == first
        assert catalog.present_domain_key("key-2") is None

    def test_a_key_that_is_gone_has_no_domain_key(self, catalog: Catalog) -> None:
        assert catalog.domain_key(SealedKey("key-1", 1, b"sealed")) is None
        assert catalog.present_domain_key("key-1") is None

    def test_racing_callers_agree_on_one_domain_key(self, catalog: Catalog) -> None:
        add(catalog, key())
        found = racing(8, lambda number: catalog.domain_key(SealedKey("key-1", 1, b"by %d" % number)))
        assert len(set(found)) == 1
        assert found[0] == catalog.present_domain_key("key-1")

    # -- what is encrypted --

    def test_blocks_are_under_a_key_from_the_first_pending_write_on(self, catalog: Catalog) -> None:
        arn, bare = key().arn, key("key-2").arn
        put_in_state(catalog, 1, SnapshotState.COMPLETED)  # not encrypted
        catalog.insert_snapshot(pending(2, kms_key_arn=arn, data_key_id=DATA_KEY_ID), None)
        catalog.insert_snapshot(pending(3, kms_key_arn=bare, data_key_id=DATA_KEY_ID), None)
        assert not catalog.has_blocks_under(arn)
        record(catalog, 2, plain(0))
        assert catalog.has_blocks_under(arn)
        assert not catalog.has_blocks_under(bare)
        catalog.begin_seal(name(2), 1, None, STARTED, STARTED)
        catalog.finish_seal(name(2), pending().root, 1, STARTED)
        assert catalog.has_blocks_under(arn)

    def test_no_blocks_are_under_a_key_whose_snapshots_are_empty_or_gone(self, catalog: Catalog) -> None:
        arn = key().arn
        catalog.insert_snapshot(pending(1, kms_key_arn=arn, data_key_id=DATA_KEY_ID), None)
        catalog.begin_seal(name(1), 0, None, STARTED, STARTED)
        catalog.finish_seal(name(1), pending().root, 0, STARTED)
        assert not catalog.has_blocks_under(arn)
        catalog.insert_snapshot(pending(2, kms_key_arn=arn, data_key_id=DATA_KEY_ID), None)
        record(catalog, 2, plain(0))
        assert catalog.has_blocks_under(arn)
        catalog.begin_delete(name(2), STARTED, STARTED)
        catalog.finish_delete(name(2), STARTED)
        assert not catalog.has_blocks_under(arn)

    def test_keys_are_there_after_a_restart(self, catalog: Catalog, reopen: Callable[[], Catalog]) -> None:
        add(catalog, key(tags=(("a", "1"),)))
        catalog.add_key_material(key(), b"second", 5, 25)
        catalog.insert_kms_alias(alias("alias/a"))
        catalog.insert_data_key(DATA_KEY_ID, SealedKey("key-1", 2, b"data"), STARTED)
        catalog.domain_key(SealedKey("key-1", 2, b"domain"))
        again = reopen()
        assert again.kms_key("key-1") == key(tags=(("a", "1"),), material_version=2)
        assert again.key_material("key-1", 2) == b"second"
        assert again.kms_alias(ALICE, FRANKFURT, "alias/a") == alias("alias/a")
        assert again.data_key(DATA_KEY_ID) == SealedKey("key-1", 2, b"data")
        assert again.present_domain_key("key-1") == SealedKey("key-1", 2, b"domain")


def _insert_with_alias(opener: Opener, process: int) -> bool:
    """Whether this process stored a key for an alias that another process wants too."""
    catalog = opener()
    wait_for_the_others()
    stored = catalog.insert_kms_key(key(f"key-of-{process}"), b"m", "alias/raced")
    catalog.close()
    return stored
