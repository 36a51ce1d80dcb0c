"""Encrypted snapshots below the wire: which key, who may use it, what lies on disk, and what lost keys do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snapstone.core.errors import (
    InvalidParameterError,
    KeyHiddenError,
    KeyServiceError,
    SnapstoneError,
    UnknownKeyError,
)
from snapstone.core.ids import AccountId, Region
from snapstone.core.policy.principals import root_principal
from snapstone.service.engine import Caller
from snapstone.service.kms.rotation import destroy_due_keys
from snapstone.service.operations import OPERATIONS
from tests.installation import ACCOUNT, CALLER, ZERO, Installation, block

OTHER = AccountId("999988887777")
OTHER_CALLER = Caller(OTHER, CALLER.region, "AKIAOTHER", root_principal(OTHER))
DAY_MINUTES = 24 * 60


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


def call(installation: Installation, service: str, operation: str, **members: Any) -> dict[str, Any]:
    return OPERATIONS[service][operation](installation.engine, installation.caller, **members)


def new_key(installation: Installation, **members: Any) -> str:
    return str(call(installation, "kms", "CreateKey", **members)["KeyMetadata"]["Arn"])


def key_of(installation: Installation, snapshot_id: Any) -> str | None:
    return installation.row(snapshot_id).kms_key_arn


class TestTheTableOfStartSnapshot:
    """docs/aws-behaviour/encryption-and-kms.md, ENC-START: parent, Encrypted, KmsKeyArn, and encryption by default."""

    @pytest.fixture
    def key(self, installation: Installation) -> str:
        return new_key(installation)

    @pytest.fixture
    def by_default(self, installation: Installation, request: pytest.FixtureRequest) -> bool:
        if request.param:
            call(installation, "ec2", "EnableEbsEncryptionByDefault")
        return bool(request.param)

    @pytest.mark.parametrize("by_default", [False, True], indirect=True)
    @pytest.mark.parametrize("encrypted", [None, True])
    def test_a_named_key_is_the_key(
        self, installation: Installation, key: str, by_default: bool, encrypted: bool | None
    ) -> None:
        snapshot_id = installation.start(kms_key_arn=key, encrypted=encrypted)
        assert key_of(installation, snapshot_id) == key, by_default

    @pytest.mark.parametrize("by_default", [False, True], indirect=True)
    def test_encrypted_without_a_key_is_under_the_managed_key(
        self, installation: Installation, by_default: bool
    ) -> None:
        managed = call(installation, "kms", "DescribeKey", key_id="alias/aws/ebs")["KeyMetadata"]["Arn"]
        assert key_of(installation, installation.start(encrypted=True)) == managed, by_default

    def test_encrypted_without_a_key_is_under_the_regions_default_key_where_one_is_set(
        self, installation: Installation, key: str
    ) -> None:
        call(installation, "ec2", "ModifyEbsDefaultKmsKeyId", kms_key_id=key)
        assert key_of(installation, installation.start(encrypted=True)) == key

    @pytest.mark.parametrize(("by_default", "expected"), [(False, False), (True, True)], indirect=["by_default"])
    def test_nothing_said_follows_the_default(
        self, installation: Installation, by_default: bool, expected: bool
    ) -> None:
        assert (key_of(installation, installation.start()) is not None) == expected == by_default

    def test_plain_may_be_asked_for_only_while_the_default_is_off(self, installation: Installation) -> None:
        assert key_of(installation, installation.start(encrypted=False)) is None
        call(installation, "ec2", "EnableEbsEncryptionByDefault")
        with pytest.raises(InvalidParameterError):
            installation.start(encrypted=False)

    def test_a_plain_parents_child_is_plain_or_refused_by_default(self, installation: Installation) -> None:
        parent = installation.sealed({0: block("a")})
        assert key_of(installation, installation.start(parent_snapshot_id=parent)) is None
        call(installation, "ec2", "EnableEbsEncryptionByDefault")
        with pytest.raises(InvalidParameterError):
            installation.start(parent_snapshot_id=parent)

    @pytest.mark.parametrize("by_default", [False, True], indirect=True)
    def test_an_encrypted_parents_child_has_its_key(
        self, installation: Installation, key: str, by_default: bool
    ) -> None:
        parent = installation.sealed({0: block("a")}, kms_key_arn=key)
        child = installation.start(parent_snapshot_id=parent)
        assert key_of(installation, child) == key, by_default
        assert installation.row(child).data_key_id == installation.row(parent).data_key_id

    @pytest.mark.parametrize("by_default", [False, True], indirect=True)
    @pytest.mark.parametrize("parent_is_encrypted", [False, True])
    @pytest.mark.parametrize(
        ("encrypted", "names_key"), [(True, True), (True, False), (False, True), (False, False), (None, True)]
    )
    def test_beside_a_parent_nothing_may_be_said(
        self,
        installation: Installation,
        key: str,
        by_default: bool,
        parent_is_encrypted: bool,
        encrypted: bool | None,
        names_key: bool,
    ) -> None:
        if by_default:
            call(installation, "ec2", "DisableEbsEncryptionByDefault")
        parent = installation.sealed({0: block("a")}, kms_key_arn=key if parent_is_encrypted else None)
        if by_default:
            call(installation, "ec2", "EnableEbsEncryptionByDefault")
        named = {"kms_key_arn": key} if names_key else {}
        with pytest.raises(InvalidParameterError):
            installation.start(parent_snapshot_id=parent, encrypted=encrypted, **named)

    @pytest.mark.parametrize("by_default", [False, True], indirect=True)
    def test_a_key_for_a_plain_snapshot_is_a_contradiction(
        self, installation: Installation, key: str, by_default: bool
    ) -> None:
        with pytest.raises(InvalidParameterError):
            installation.start(encrypted=False, kms_key_arn=key)
        assert isinstance(by_default, bool)


class TestBlocks:
    def test_what_is_read_is_what_was_written_and_zero_blocks_are_known(self, installation: Installation) -> None:
        blocks = {0: block("a"), 1: ZERO, 700: block("b")}
        snapshot_id = installation.sealed(blocks, kms_key_arn=new_key(installation))
        assert installation.content(snapshot_id) == blocks

    def test_children_inherit_and_changes_are_found(self, installation: Installation) -> None:
        parent = installation.sealed({0: block("a"), 5: block("b")}, encrypted=True)
        child = installation.sealed({5: block("c"), 6: block("a")}, parent_snapshot_id=parent)
        assert installation.content(child) == {0: block("a"), 5: block("c"), 6: block("a")}
        assert [entry["BlockIndex"] for entry in installation.changes(parent, child)] == [5, 6]

    def test_equal_blocks_are_stored_once_inside_one_key_and_not_between_keys(self, installation: Installation) -> None:
        one, other = new_key(installation), new_key(installation)

        def stored_after(**members: Any) -> int:
            installation.sealed({0: block("a")}, **members)
            return sum(1 for entry in installation.store.walk() if entry.payload_size == len(ZERO))

        assert [
            stored_after(),
            stored_after(),
            stored_after(kms_key_arn=one),
            stored_after(kms_key_arn=one),
            stored_after(kms_key_arn=other),
        ] == [1, 1, 2, 2, 3]

    def test_it_survives_a_restart(self, installation: Installation) -> None:
        snapshot_id = installation.sealed({0: block("a")}, encrypted=True)
        installation.reopen()
        assert installation.content(snapshot_id) == {0: block("a")}

    def test_neither_plaintext_nor_digest_lies_on_disk(self, installation: Installation) -> None:
        installation.sealed({0: block("a")}, encrypted=True)
        lying = b"".join(path.read_bytes() for path in installation.folder.rglob("*") if path.is_file())
        assert block("a")[:64] not in lying


class TestKeysThatSayNo:
    @pytest.fixture
    def key(self, installation: Installation) -> str:
        return new_key(installation)

    def test_a_disabled_key_stops_everything_at_once_and_enabling_brings_it_back(
        self, installation: Installation, key: str
    ) -> None:
        snapshot_id = installation.sealed({0: block("a")}, kms_key_arn=key)
        pending = installation.start(parent_snapshot_id=snapshot_id)
        installation.put(pending, 1, block("b"))
        [entry] = installation.list_all(snapshot_id)
        call(installation, "kms", "DisableKey", key_id=key)
        for attempt in (
            lambda: installation.start(kms_key_arn=key),
            lambda: installation.start(parent_snapshot_id=snapshot_id),
            lambda: installation.put(pending, 2, block("c")),
            lambda: installation.complete(pending, 1),
            lambda: installation.list_page(snapshot_id),
            lambda: installation.changes_page(snapshot_id, snapshot_id),
            lambda: installation.get(snapshot_id, 0, entry["BlockToken"]),
        ):
            with pytest.raises(KeyServiceError):
                attempt()
        call(installation, "kms", "EnableKey", key_id=key)
        assert installation.complete(pending, 1) == "completed"
        assert installation.content(pending) == {0: block("a"), 1: block("b")}

    def test_a_key_of_another_region_or_of_nobody_is_unknown(self, installation: Installation, key: str) -> None:
        installation.caller = replace(CALLER, region=Region("eu-west-1"))
        for arn in (key, key[:-4] + "0000"):
            with pytest.raises(UnknownKeyError):
                installation.start(kms_key_arn=arn)

    def test_a_key_of_another_account_without_its_consent_is_like_one_that_does_not_exist(
        self, installation: Installation, key: str
    ) -> None:
        installation.caller = OTHER_CALLER
        said = []
        for arn in (key, key[:-4] + "0000"):
            with pytest.raises(SnapstoneError) as refused:
                installation.start(kms_key_arn=arn)
            said.append((type(refused.value), str(vars(refused.value)).replace(arn, "ARN")))
        assert said[0] == said[1]

    def test_after_a_rotation_a_child_gets_a_new_data_key_and_both_stay_readable(
        self, installation: Installation, key: str
    ) -> None:
        parent = installation.sealed({0: block("a"), 1: block("b")}, kms_key_arn=key)
        call(installation, "kms", "RotateKeyOnDemand", key_id=key)
        child = installation.sealed({1: block("c")}, parent_snapshot_id=parent)
        assert installation.row(child).data_key_id != installation.row(parent).data_key_id
        assert installation.content(parent) == {0: block("a"), 1: block("b")}
        assert installation.content(child) == {0: block("a"), 1: block("c")}
        assert [entry["BlockIndex"] for entry in installation.changes(parent, child)] == [1]


class TestDestroyedKeys:
    def test_what_a_destroyed_key_encrypted_is_gone_for_ever(self, installation: Installation) -> None:
        key = new_key(installation)
        snapshot_id = installation.sealed({0: block("a")}, kms_key_arn=key)
        [entry] = installation.list_all(snapshot_id)
        data_key_id = installation.row(snapshot_id).data_key_id
        assert data_key_id is not None
        sealed = installation.catalog.data_key(data_key_id)
        assert sealed is not None
        call(installation, "kms", "ScheduleKeyDeletion", key_id=key, pending_window_in_days=7)
        installation.clock.advance_minutes(7 * DAY_MINUTES + 1)
        installation.tick()
        for attempt in (
            lambda: installation.list_page(snapshot_id),
            lambda: installation.get(snapshot_id, 0, entry["BlockToken"]),
            lambda: installation.start(parent_snapshot_id=snapshot_id),
        ):
            with pytest.raises(KeyHiddenError):
                attempt()
        lying = b"".join(path.read_bytes() for path in installation.folder.rglob("*") if path.is_file())
        assert sealed.sealed not in lying
        assert block("a")[:64] not in lying
        installation.delete(snapshot_id)

    def test_a_seal_whose_key_is_gone_is_an_error_that_says_so(self, installation: Installation) -> None:
        key = new_key(installation)
        pending = installation.start(kms_key_arn=key, timeout=4320)
        installation.put(pending, 0, block("a"))
        assert installation.catalog.begin_seal(pending, 1, None, installation.clock(), installation.clock()) is not None
        call(installation, "kms", "ScheduleKeyDeletion", key_id=key, pending_window_in_days=7)
        installation.clock.advance_minutes(7 * DAY_MINUTES + 1)
        destroy_due_keys(installation.engine, installation.clock())
        installation.tick()
        row = installation.row(pending)
        assert (row.state, row.state_message) == ("error", "Given key ID is not accessible")

    def test_the_first_account_is_the_owner(self, installation: Installation) -> None:
        assert ACCOUNT in new_key(installation)
