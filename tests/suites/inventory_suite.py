"""The part of a catalog's contract that scans everything, and puts lost rows back, as a suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.errors import RowRefusedError
from snapstone.catalog.contract.identities import Identity, IdentityKind, SealedAccessKey
from snapstone.catalog.contract.inventory import SealedDataKey, SealedMaterial
from snapstone.catalog.contract.keys import KeyManager, KeyState, KmsKey, SealedKey
from snapstone.catalog.contract.snapshots import RetentionRule, Snapshot, SnapshotState
from snapstone.core.protection import Retention
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
    put_in_state,
)
from tests.suites.races import racing

MANY = 2_500
"""Rows: more than anybody fetches at once."""


def key(number: int) -> KmsKey:
    """An enabled key."""
    return KmsKey(f"key-{number}", ALICE, FRANKFURT, KeyManager.CUSTOMER, KeyState.ENABLED, "", "{}", STARTED)


def lost(number: int = 1) -> Snapshot:
    """A completed snapshot as its manifest tells of it, whose parent nobody knows any more."""
    return pending(
        number,
        account_id=BOB,
        region=OREGON,
        volume_size_gib=2,
        parent_id=name(99),
        lineage_id=name(98),
        description="é",
        tags=(("b", "1"), ("a", "")),
        state=SnapshotState.COMPLETED,
        completed_at_ms=STARTED + 5,
        root=OTHER_ROOT,
        block_count=3,
        kms_key_arn="arn:aws:kms:us-west-2:222222222222:key/1",
        data_key_id=b"\x0d" * 16,
    )


class InventorySuite(CatalogFixtures):
    """Every promise of `inventory_contract.InventoryCatalog`."""

    def test_an_empty_catalog_has_nothing_of_any_kind(self, catalog: Catalog) -> None:
        assert list(catalog.snapshot_ids()) == []
        assert list(catalog.materials()) == []
        assert list(catalog.data_keys()) == []
        assert list(catalog.domain_keys()) == []
        assert list(catalog.access_keys()) == []
        assert list(catalog.secrets()) == []

    def test_snapshots_are_told_of_in_every_state_and_in_the_bin(self, catalog: Catalog) -> None:
        for number, state in enumerate(SnapshotState, start=1):
            put_in_state(catalog, number, state)
        put_in_state(catalog, 6, SnapshotState.COMPLETED, account_id=BOB, region=OREGON)
        rule = RetentionRule("abcdefghijk", BOB, OREGON, "EBS_SNAPSHOT", Retention(7), "", (), STARTED)
        catalog.insert_rule(rule, 250)
        catalog.begin_delete(name(6), STARTED, STARTED)
        expected = [(name(number), state) for number, state in enumerate(SnapshotState, start=1)]
        assert sorted(catalog.snapshot_ids()) == sorted([*expected, (name(6), SnapshotState.COMPLETED)])

    def test_keys_are_told_of_with_all_that_they_seal(self, catalog: Catalog) -> None:
        for number in (1, 2):
            catalog.insert_kms_key(key(number), b"first %d" % number)
            catalog.insert_data_key(bytes([number]) * 16, SealedKey(f"key-{number}", 1, b"data %d" % number), STARTED)
            catalog.domain_key(SealedKey(f"key-{number}", 1, b"domain %d" % number))
        catalog.add_key_material(key(1), b"second 1", STARTED, 25)
        assert sorted(catalog.materials(), key=lambda each: (each.key_id, each.version)) == [
            SealedMaterial("key-1", 1, b"first 1"),
            SealedMaterial("key-1", 2, b"second 1"),
            SealedMaterial("key-2", 1, b"first 2"),
        ]
        assert sorted(catalog.data_keys(), key=lambda each: each.data_key_id) == [
            SealedDataKey(bytes([number]) * 16, SealedKey(f"key-{number}", 1, b"data %d" % number)) for number in (1, 2)
        ]
        assert sorted(catalog.domain_keys(), key=lambda each: each.key_id) == [
            SealedKey(f"key-{number}", 1, b"domain %d" % number) for number in (1, 2)
        ]

    def test_access_keys_of_every_owner_are_told_of(self, catalog: Catalog) -> None:
        catalog.insert_identity(Identity("AIDAANNA", IdentityKind.USER, ALICE, "anna", "/", STARTED), 1)
        keys = [
            SealedAccessKey("AKIA1", ALICE, None, True, 1, b"one"),
            SealedAccessKey("AKIA2", ALICE, "AIDAANNA", False, 2, b"two"),
            SealedAccessKey("AKIA3", BOB, None, True, 3, b"three"),
        ]
        for each in keys:
            catalog.insert_access_key(each, 1)
        assert sorted(catalog.access_keys(), key=lambda each: each.access_key_id) == keys

    def test_secrets_are_told_of_by_name(self, catalog: Catalog) -> None:
        catalog.secret("token", b"\x00\xff")
        catalog.secret("cookie", b"second")
        assert sorted(catalog.secrets()) == [("cookie", b"second"), ("token", b"\x00\xff")]

    def test_a_stream_is_as_of_one_moment_and_hinders_no_writer(self, catalog: Catalog, other: Catalog) -> None:
        for number in range(2):
            catalog.secret(f"secret {number}", b"early")
            catalog.insert_snapshot(pending(number), None)
            catalog.insert_access_key(SealedAccessKey(f"AKIA{number}", ALICE, None, True, 1, b"sealed"), 9)
            catalog.insert_kms_key(key(number), b"material")
            catalog.insert_data_key(bytes([number]) * 16, SealedKey(f"key-{number}", 1, b"data"), STARTED)
            catalog.domain_key(SealedKey(f"key-{number}", 1, b"domain"))
        kinds: list[Callable[[], Iterator[object]]] = [
            catalog.secrets,
            catalog.snapshot_ids,
            catalog.access_keys,
            catalog.materials,
            catalog.data_keys,
            catalog.domain_keys,
        ]
        streams = [stream() for stream in kinds]
        firsts = [next(stream) for stream in streams]
        other.secret("secret 2", b"later")
        other.insert_snapshot(pending(2), None)
        other.insert_access_key(SealedAccessKey("AKIA2", ALICE, None, True, 1, b"sealed"), 9)
        other.insert_kms_key(key(2), b"material")
        other.insert_data_key(bytes([2]) * 16, SealedKey("key-2", 1, b"data"), STARTED)
        other.domain_key(SealedKey("key-2", 1, b"domain"))
        assert [len({first, *stream}) for first, stream in zip(firsts, streams, strict=True)] == [2] * 6
        assert [len(list(stream())) for stream in kinds] == [3] * 6

    def test_a_stream_tells_of_each_of_many_once(self, catalog: Catalog) -> None:
        catalog.insert_kms_key(key(1), b"material")

        def insert(thread: int) -> None:
            for number in range(thread, MANY, 8):
                catalog.insert_data_key(number.to_bytes(16), SealedKey("key-1", 1, b"data"), STARTED)

        racing(8, insert)
        assert sorted(each.data_key_id for each in catalog.data_keys()) == [n.to_bytes(16) for n in range(MANY)]

    # -- what is repaired --

    def test_a_secret_is_dropped_if_it_is_still_this_one(self, catalog: Catalog, other: Catalog) -> None:
        catalog.secret("token", b"first")
        catalog.secret("cookie", b"first")
        catalog.drop_secret("token", b"another")
        catalog.drop_secret("unknown", b"first")
        assert catalog.secret("token", b"second") == b"first"
        catalog.drop_secret("token", b"first")
        assert other.secret("token", b"second") == b"second"
        assert catalog.secret("cookie", b"second") == b"first"

    def test_racing_callers_that_drop_a_secret_and_make_another_agree_on_one(self, catalog: Catalog) -> None:
        catalog.secret("token", b"unreadable")

        def renew(number: int) -> bytes:
            catalog.drop_secret("token", b"unreadable")
            return catalog.secret("token", b"secret of %d" % number)

        assert len(set(racing(8, renew))) == 1

    def test_a_lost_snapshot_is_put_back_though_its_parent_is_gone(self, catalog: Catalog, other: Catalog) -> None:
        assert other.snapshot(name(1)) is other.remembered_snapshot(name(1)) is None
        assert catalog.restore_snapshot(lost())
        assert other.snapshot(name(1)) == other.remembered_snapshot(name(1)) == lost()
        assert other.snapshots(BOB, OREGON) == [lost()]

    @pytest.mark.parametrize("state", list(SnapshotState))
    def test_a_snapshot_that_is_there_is_not_put_back(self, catalog: Catalog, state: SnapshotState) -> None:
        put_in_state(catalog, 1, state)
        before = catalog.snapshot(name(1))
        assert not catalog.restore_snapshot(lost())
        assert catalog.snapshot(name(1)) == before

    def test_a_snapshot_is_put_back_once_among_racing_callers(self, catalog: Catalog) -> None:
        assert racing(8, lambda _: catalog.restore_snapshot(lost())).count(True) == 1
        assert catalog.snapshot(name(1)) == lost()

    def test_a_row_that_cannot_be_is_refused_and_not_taken_for_one_that_is_there(self, catalog: Catalog) -> None:
        with pytest.raises(RowRefusedError):
            catalog.restore_snapshot(replace(lost(), tags=(("a", "1"), ("a", "2"))))
        assert catalog.snapshot(name(1)) is None
