"""KMS below the wire: names of keys, the table of states, tags, pages, rotation and ciphertexts (section 2.10)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snapstone.catalog.contract.keys import MaterialAdded
from snapstone.core.errors import (
    AliasExistsError,
    IncorrectKeyError,
    InvalidAliasNameError,
    InvalidCiphertextError,
    InvalidKeyArnError,
    InvalidMarkerError,
    InvalidParameterError,
    KeyLimitError,
    KeyTagError,
    KmsKeyDisabledError,
    KmsKeyNotFoundError,
    KmsKeyStateError,
    MalformedPolicyError,
    ManagedKeyError,
    UnsupportedKeyError,
)
from snapstone.core.ids import AccountId, Region
from snapstone.core.policy.principals import root_principal
from snapstone.service.engine import Caller
from snapstone.service.kms.operations import KMS_OPERATIONS
from snapstone.service.kms.rotation import destroy_due_keys, rotate, rotate_due_keys
from tests.installation import ACCOUNT, CALLER, START_MS, Installation
from tests.suites.races import racing

OTHER = AccountId("999988887777")
DAY_MS = 24 * 3600 * 1000
DAY_MINUTES = 24 * 60


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


def call(installation: Installation, operation: str, **members: Any) -> Any:
    return KMS_OPERATIONS[operation](installation.engine, installation.caller, **members)


@pytest.fixture
def key(installation: Installation) -> str:
    """The id of a customer managed key."""
    return str(call(installation, "CreateKey")["KeyMetadata"]["KeyId"])


def arn_of(key_id: str, region: str = "eu-central-1") -> str:
    return f"arn:aws:kms:{region}:{ACCOUNT}:key/{key_id}"


def test_a_new_key_is_described_as_the_model_says(installation: Installation) -> None:
    made = call(installation, "CreateKey", description="d", tags=[{"TagKey": "k", "TagValue": "v"}])["KeyMetadata"]
    key_id = made["KeyId"]
    assert made == {
        "AWSAccountId": ACCOUNT,
        "KeyId": key_id,
        "Arn": arn_of(key_id),
        "CreationDate": START_MS,
        "Enabled": True,
        "Description": "d",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "DeletionDate": None,
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": False,
    }
    assert call(installation, "ListResourceTags", key_id=key_id)["Tags"] == [{"TagKey": "k", "TagValue": "v"}]


@pytest.mark.parametrize(
    "members", [{"key_usage": "SIGN_VERIFY"}, {"key_spec": "RSA_2048"}, {"origin": "EXTERNAL"}, {"multi_region": True}]
)
def test_other_kinds_of_keys_are_refused_and_not_made(installation: Installation, members: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedKeyError):
        call(installation, "CreateKey", **members)
    assert call(installation, "ListKeys")["Keys"] == []


class TestNames:
    def test_a_key_answers_to_its_id_its_arn_and_its_aliases(self, installation: Installation, key: str) -> None:
        call(installation, "CreateAlias", alias_name="alias/a", target_key_id=key)
        for name in (key, arn_of(key), "alias/a", f"arn:aws:kms:eu-central-1:{ACCOUNT}:alias/a"):
            assert call(installation, "DescribeKey", key_id=name)["KeyMetadata"]["KeyId"] == key

    @pytest.mark.parametrize("name", ["alias/none", "00000000-0000-4000-8000-000000000000"])
    def test_what_is_not_there_is_not_found(self, installation: Installation, name: str) -> None:
        with pytest.raises(KmsKeyNotFoundError):
            call(installation, "DescribeKey", key_id=name)

    def test_an_arn_of_another_region_or_of_nothing_is_invalid(self, installation: Installation, key: str) -> None:
        for name in (arn_of(key, "eu-west-1"), "arn:aws:s3:::bucket"):
            with pytest.raises(InvalidKeyArnError):
                call(installation, "DescribeKey", key_id=name)

    def test_management_takes_no_alias(self, installation: Installation, key: str) -> None:
        call(installation, "CreateAlias", alias_name="alias/a", target_key_id=key)
        for operation in ("DisableKey", "EnableKey", "ScheduleKeyDeletion", "GetKeyPolicy", "ListResourceTags"):
            with pytest.raises(InvalidKeyArnError):
                call(installation, operation, key_id="alias/a")

    def test_another_region_or_account_does_not_see_it(self, installation: Installation, key: str) -> None:
        for caller in (
            replace(CALLER, region=Region("eu-west-1")),
            Caller(OTHER, CALLER.region, "AKIAOTHER", root_principal(OTHER)),
        ):
            installation.caller = caller
            with pytest.raises(KmsKeyNotFoundError):
                call(installation, "DescribeKey", key_id=key)
            assert call(installation, "ListKeys")["Keys"] == []

    def test_a_second_alias_of_one_name_is_refused(self, installation: Installation, key: str) -> None:
        call(installation, "CreateAlias", alias_name="alias/a", target_key_id=key)
        with pytest.raises(AliasExistsError):
            call(installation, "CreateAlias", alias_name="alias/a", target_key_id=key)

    @pytest.mark.parametrize("name", ["alias/aws/mine", "mine", "alias/"])
    def test_reserved_and_bare_names_are_refused(self, installation: Installation, key: str, name: str) -> None:
        with pytest.raises(InvalidAliasNameError):
            call(installation, "CreateAlias", alias_name=name, target_key_id=key)


class TestStates:
    """docs/aws-behaviour/encryption-and-kms.md, KMS-6 and KMS-7."""

    USES = (
        ("Encrypt", {"plaintext": b"p"}),
        ("GenerateDataKey", {"key_spec": "AES_256"}),
        ("GenerateDataKeyWithoutPlaintext", {"key_spec": "AES_256"}),
    )
    CHANGES = (
        ("CreateAlias", {"alias_name": "alias/x"}),
        ("UpdateKeyDescription", {"description": "d"}),
        ("TagResource", {"tags": [{"TagKey": "k", "TagValue": "v"}]}),
        ("UntagResource", {"tag_keys": ["k"]}),
    )
    LOOKS: tuple[tuple[str, dict[str, Any]], ...] = (
        ("DescribeKey", {}),
        ("GetKeyPolicy", {}),
        ("ListKeyPolicies", {}),
        ("ListResourceTags", {}),
        ("ListAliases", {}),
    )

    def ask(self, installation: Installation, operation: str, key: str, members: dict[str, Any]) -> None:
        name = "target_key_id" if operation == "CreateAlias" else "key_id"
        call(installation, operation, **{name: key}, **members)

    @pytest.mark.parametrize(("operation", "members"), USES)
    def test_a_disabled_key_is_not_used(
        self, installation: Installation, key: str, operation: str, members: dict[str, Any]
    ) -> None:
        call(installation, "DisableKey", key_id=key)
        with pytest.raises(KmsKeyDisabledError):
            self.ask(installation, operation, key, members)

    @pytest.mark.parametrize(("operation", "members"), [*CHANGES, *LOOKS, ("EnableKey", {}), ("DisableKey", {})])
    def test_a_disabled_key_is_managed(
        self, installation: Installation, key: str, operation: str, members: dict[str, Any]
    ) -> None:
        call(installation, "DisableKey", key_id=key)
        self.ask(installation, operation, key, members)
        expected = "Enabled" if operation == "EnableKey" else "Disabled"
        assert call(installation, "DescribeKey", key_id=key)["KeyMetadata"]["KeyState"] == expected

    @pytest.mark.parametrize(
        ("operation", "members"),
        [*USES, *CHANGES, ("EnableKey", {}), ("DisableKey", {}), ("ScheduleKeyDeletion", {})],
    )
    def test_a_key_whose_deletion_is_pending_is_neither_used_nor_changed(
        self, installation: Installation, key: str, operation: str, members: dict[str, Any]
    ) -> None:
        call(installation, "ScheduleKeyDeletion", key_id=key)
        with pytest.raises(KmsKeyStateError):
            self.ask(installation, operation, key, members)

    @pytest.mark.parametrize(("operation", "members"), LOOKS)
    def test_a_key_whose_deletion_is_pending_is_shown(
        self, installation: Installation, key: str, operation: str, members: dict[str, Any]
    ) -> None:
        call(installation, "ScheduleKeyDeletion", key_id=key)
        self.ask(installation, operation, key, members)
        assert call(installation, "DescribeKey", key_id=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"

    def test_deletion_is_scheduled_cancelled_and_leaves_the_key_disabled(
        self, installation: Installation, key: str
    ) -> None:
        answer = call(installation, "ScheduleKeyDeletion", key_id=key, pending_window_in_days=7)
        assert (answer["KeyId"], answer["DeletionDate"]) == (arn_of(key), START_MS + 7 * DAY_MS)
        call(installation, "CancelKeyDeletion", key_id=key)
        assert call(installation, "DescribeKey", key_id=key)["KeyMetadata"]["KeyState"] == "Disabled"
        with pytest.raises(KmsKeyStateError):
            call(installation, "CancelKeyDeletion", key_id=key)

    def test_a_key_is_destroyed_when_its_time_is_over_and_not_before(
        self, installation: Installation, key: str
    ) -> None:
        call(installation, "CreateAlias", alias_name="alias/a", target_key_id=key)
        call(installation, "ScheduleKeyDeletion", key_id=key, pending_window_in_days=7)
        installation.clock.advance_minutes(7 * DAY_MINUTES - 1)
        installation.tick()
        assert call(installation, "DescribeKey", key_id=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
        material = installation.catalog.key_material(key, 1)
        assert material is not None
        installation.clock.advance_minutes(1)
        installation.tick()
        for name in (key, "alias/a"):
            with pytest.raises(KmsKeyNotFoundError):
                call(installation, "DescribeKey", key_id=name)
        assert material not in b"".join(path.read_bytes() for path in installation.folder.glob("catalog.db*"))

    def test_a_destroyed_keys_material_goes_as_soon_as_no_reader_needs_it(
        self, installation: Installation, key: str
    ) -> None:
        material = installation.catalog.key_material(key, 1)
        assert material is not None

        def lying() -> bytes:
            return b"".join(path.read_bytes() for path in installation.folder.glob("catalog.db*"))

        call(installation, "ScheduleKeyDeletion", key_id=key, pending_window_in_days=7)
        reader = sqlite3.connect(installation.folder / "catalog.db", isolation_level=None)
        reader.execute("BEGIN")
        assert len(reader.execute("SELECT key_id FROM kms_key").fetchall()) == 1
        installation.clock.advance_minutes(7 * DAY_MINUTES)
        destroy_due_keys(installation.engine, installation.clock())
        assert installation.catalog.kms_key(key) is None
        assert not installation.catalog.forget_destroyed_keys()
        reader.close()
        installation.reopen()
        destroy_due_keys(installation.engine, installation.clock())
        assert material not in lying()


class TestManagedKeys:
    def test_one_is_made_at_first_need_and_stays(self, installation: Installation) -> None:
        first = call(installation, "DescribeKey", key_id="alias/aws/ebs")["KeyMetadata"]
        assert first["KeyManager"] == "AWS"
        assert call(installation, "DescribeKey", key_id="alias/aws/ebs")["KeyMetadata"] == first

    def test_racing_callers_get_one(self, installation: Installation) -> None:
        found = racing(8, lambda _: call(installation, "DescribeKey", key_id="alias/aws/ebs")["KeyMetadata"]["KeyId"])
        assert len(set(found)) == 1
        assert len(call(installation, "ListKeys")["Keys"]) == 1

    def test_naming_it_for_another_account_makes_none(self, installation: Installation) -> None:
        arn = f"arn:aws:kms:eu-central-1:{OTHER}:alias/aws/ebs"
        with pytest.raises(KmsKeyNotFoundError):
            call(installation, "DescribeKey", key_id=arn)
        assert installation.catalog.kms_keys(OTHER, CALLER.region) == []

    def test_nobody_changes_it(self, installation: Installation) -> None:
        key_id = call(installation, "DescribeKey", key_id="alias/aws/ebs")["KeyMetadata"]["KeyId"]
        for operation, members in (
            ("DisableKey", {}),
            ("ScheduleKeyDeletion", {}),
            ("UpdateKeyDescription", {"description": "mine"}),
            ("PutKeyPolicy", {"policy": call(installation, "GetKeyPolicy", key_id=key_id)["Policy"]}),
            ("RotateKeyOnDemand", {}),
        ):
            with pytest.raises(ManagedKeyError):
                call(installation, operation, key_id=key_id, **members)


class TestPages:
    def test_keys_come_in_pages_of_the_asked_size(self, installation: Installation) -> None:
        made = {call(installation, "CreateKey")["KeyMetadata"]["KeyId"] for _ in range(5)}
        found: list[str] = []
        marker: dict[str, str] = {}
        while True:
            page = call(installation, "ListKeys", limit=2, **marker)
            found += [each["KeyId"] for each in page["Keys"]]
            if not page["Truncated"]:
                break
            marker = {"marker": page["NextMarker"]}
        assert sorted(made) == found

    def test_what_goes_between_two_pages_takes_nothing_with_it(self, installation: Installation, key: str) -> None:
        for name in "abcd":
            call(installation, "CreateAlias", alias_name=f"alias/{name}", target_key_id=key)
        first = call(installation, "ListAliases", key_id=key, limit=2)
        call(installation, "DeleteAlias", alias_name="alias/a")
        second = call(installation, "ListAliases", key_id=key, limit=2, marker=first["NextMarker"])
        assert [each["AliasName"] for each in second["Aliases"]] == ["alias/c", "alias/d"]

    def test_a_foreign_marker_is_refused(self, installation: Installation) -> None:
        for _ in range(3):
            call(installation, "CreateKey")
        marker = call(installation, "ListKeys", limit=1)["NextMarker"]
        with pytest.raises(InvalidMarkerError):
            call(installation, "ListAliases", marker=marker)
        with pytest.raises(InvalidMarkerError):
            call(installation, "ListKeys", marker="garbage")


class TestTagsAndPolicies:
    @pytest.mark.parametrize(
        "tags",
        [
            [{"TagKey": "aws:x", "TagValue": ""}],
            [{"TagKey": "AWS:x", "TagValue": ""}],
            [{"TagKey": "a", "TagValue": "1"}, {"TagKey": "a", "TagValue": "2"}],
            [{"TagKey": str(number), "TagValue": ""} for number in range(51)],
        ],
    )
    def test_wrong_tags_are_refused(self, installation: Installation, key: str, tags: list[dict[str, str]]) -> None:
        with pytest.raises(KeyTagError):
            call(installation, "TagResource", key_id=key, tags=tags)
        assert call(installation, "ListResourceTags", key_id=key)["Tags"] == []
        with pytest.raises(KeyTagError):
            call(installation, "CreateKey", tags=tags)

    def test_a_reserved_key_of_an_older_catalog_can_be_taken_off(self, installation: Installation, key: str) -> None:
        stored = (("AWS:x", "v"), ("a", "1"))
        installation.engine.catalog.change_kms_key(key, lambda row: replace(row, tags=stored))
        call(installation, "TagResource", key_id=key, tags=[{"TagKey": "b", "TagValue": ""}])
        call(installation, "UntagResource", key_id=key, tag_keys=["AWS:x"])
        tags = call(installation, "ListResourceTags", key_id=key)["Tags"]
        assert [tag["TagKey"] for tag in tags] == ["a", "b"]

    @pytest.mark.parametrize("policy", ["", "{", '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow"}]}'])
    def test_what_is_no_policy_is_refused_and_the_old_one_stays(
        self, installation: Installation, key: str, policy: str
    ) -> None:
        before = call(installation, "GetKeyPolicy", key_id=key)
        with pytest.raises(MalformedPolicyError):
            call(installation, "PutKeyPolicy", key_id=key, policy=policy)
        assert call(installation, "GetKeyPolicy", key_id=key) == before

    def test_a_policy_that_would_lock_its_caller_out_is_refused_unless_that_is_wanted(
        self, installation: Installation, key: str
    ) -> None:
        statement = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}, "Action": "kms:*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement | {"Resource": "*"}]})
        with pytest.raises(MalformedPolicyError):
            call(installation, "PutKeyPolicy", key_id=key, policy=policy)
        with pytest.raises(MalformedPolicyError):
            call(installation, "CreateKey", policy=policy)
        call(installation, "PutKeyPolicy", key_id=key, policy=policy, bypass_policy_lockout_safety_check=True)
        assert call(installation, "GetKeyPolicy", key_id=key)["Policy"] == policy

    def test_a_policy_has_at_most_32_kib(self, installation: Installation, key: str) -> None:
        policy = call(installation, "GetKeyPolicy", key_id=key)["Policy"]
        call(installation, "PutKeyPolicy", key_id=key, policy=policy.ljust(32_768))
        with pytest.raises(MalformedPolicyError):
            call(installation, "PutKeyPolicy", key_id=key, policy=policy.ljust(32_769))

    def test_the_policy_of_a_key_whose_deletion_is_pending_can_be_changed(
        self, installation: Installation, key: str
    ) -> None:
        policy = call(installation, "GetKeyPolicy", key_id=key)["Policy"]
        call(installation, "ScheduleKeyDeletion", key_id=key)
        call(installation, "PutKeyPolicy", key_id=key, policy=policy + " ")
        assert call(installation, "GetKeyPolicy", key_id=key)["Policy"] == policy + " "


class TestRotation:
    def test_a_rotation_on_demand_does_not_bring_back_one_that_was_switched_off(
        self, installation: Installation, key: str
    ) -> None:
        call(installation, "EnableKeyRotation", key_id=key, rotation_period_in_days=90)
        stale = installation.catalog.kms_key(key)
        assert stale is not None
        call(installation, "DisableKeyRotation", key_id=key)
        assert rotate(installation.engine, stale, 25) is MaterialAdded.ADDED
        installation.clock.advance_minutes(200 * DAY_MINUTES)
        for _ in range(3):
            rotate_due_keys(installation.engine, installation.clock())
        assert len(call(installation, "ListKeyRotations", key_id=key)["Rotations"]) == 1

    def test_a_disabled_key_takes_no_new_material(self, installation: Installation, key: str) -> None:
        stale = installation.catalog.kms_key(key)
        assert stale is not None
        call(installation, "DisableKey", key_id=key)
        assert rotate(installation.engine, stale, 25) is MaterialAdded.NOT_ENABLED

    def test_a_key_is_rotated_on_demand_25_times_and_not_once_more(self, installation: Installation, key: str) -> None:
        for _ in range(25):
            call(installation, "RotateKeyOnDemand", key_id=key)
        with pytest.raises(KeyLimitError):
            call(installation, "RotateKeyOnDemand", key_id=key)

    def test_it_happens_when_it_is_due_and_again(self, installation: Installation, key: str) -> None:
        call(installation, "EnableKeyRotation", key_id=key, rotation_period_in_days=90)
        assert call(installation, "GetKeyRotationStatus", key_id=key) == {
            "KeyRotationEnabled": True,
            "KeyId": arn_of(key),
            "RotationPeriodInDays": 90,
            "NextRotationDate": START_MS + 90 * DAY_MS,
        }
        for expected in (1, 2):
            installation.clock.advance_minutes(90 * DAY_MINUTES + 1)
            installation.tick()
            rotations = call(installation, "ListKeyRotations", key_id=key)["Rotations"]
            assert [each["RotationType"] for each in rotations] == ["AUTOMATIC"] * expected

    def test_what_was_encrypted_before_is_decrypted_after(self, installation: Installation, key: str) -> None:
        before = call(installation, "Encrypt", key_id=key, plaintext=b"old")["CiphertextBlob"]
        call(installation, "RotateKeyOnDemand", key_id=key)
        after = call(installation, "Encrypt", key_id=key, plaintext=b"new")["CiphertextBlob"]
        assert call(installation, "Decrypt", ciphertext_blob=before)["Plaintext"] == b"old"
        assert call(installation, "Decrypt", ciphertext_blob=after)["Plaintext"] == b"new"

    def test_racing_rotations_all_count(self, installation: Installation, key: str) -> None:
        racing(4, lambda _: call(installation, "RotateKeyOnDemand", key_id=key))
        assert len(call(installation, "ListKeyRotations", key_id=key)["Rotations"]) == 4


class TestCiphertexts:
    def test_only_the_same_context_opens_it(self, installation: Installation, key: str) -> None:
        blob = call(installation, "Encrypt", key_id=key, plaintext=b"p", encryption_context={"a": "1", "b": "2"})[
            "CiphertextBlob"
        ]
        opened = call(installation, "Decrypt", ciphertext_blob=blob, encryption_context={"b": "2", "a": "1"})
        assert opened["Plaintext"] == b"p"
        for context in ({}, {"a": "1"}, {"a": "12", "b": ""}, {"a": "1", "b": "3"}):
            with pytest.raises(InvalidCiphertextError):
                call(installation, "Decrypt", ciphertext_blob=blob, encryption_context=context)

    def test_a_changed_byte_opens_nothing(self, installation: Installation, key: str) -> None:
        blob = call(installation, "Encrypt", key_id=key, plaintext=b"p")["CiphertextBlob"]
        for at in (0, 5, 22, 30, len(blob) - 1):
            changed = bytes([*blob[:at], blob[at] ^ 1, *blob[at + 1 :]])
            with pytest.raises(InvalidCiphertextError):
                call(installation, "Decrypt", ciphertext_blob=changed)

    def test_another_named_key_is_incorrect(self, installation: Installation, key: str) -> None:
        other = call(installation, "CreateKey")["KeyMetadata"]["KeyId"]
        blob = call(installation, "Encrypt", key_id=key, plaintext=b"p")["CiphertextBlob"]
        with pytest.raises(IncorrectKeyError):
            call(installation, "Decrypt", ciphertext_blob=blob, key_id=other)

    def test_another_account_opens_nothing(self, installation: Installation, key: str) -> None:
        blob = call(installation, "Encrypt", key_id=key, plaintext=b"p")["CiphertextBlob"]
        installation.caller = Caller(OTHER, CALLER.region, "AKIAOTHER", root_principal(OTHER))
        with pytest.raises(InvalidCiphertextError):
            call(installation, "Decrypt", ciphertext_blob=blob)

    @pytest.mark.parametrize("size", [{}, {"key_spec": "AES_256", "number_of_bytes": 32}])
    def test_a_data_key_has_one_size(self, installation: Installation, key: str, size: dict[str, Any]) -> None:
        with pytest.raises(InvalidParameterError):
            call(installation, "GenerateDataKey", key_id=key, **size)

    @pytest.mark.parametrize(
        ("size", "expected"),
        [({"key_spec": "AES_256"}, 32), ({"key_spec": "AES_128"}, 16), ({"number_of_bytes": 64}, 64)],
    )
    def test_a_data_key_is_of_the_asked_size(
        self, installation: Installation, key: str, size: dict[str, Any], expected: int
    ) -> None:
        made = call(installation, "GenerateDataKey", key_id=key, **size)
        assert len(made["Plaintext"]) == expected
        assert call(installation, "Decrypt", ciphertext_blob=made["CiphertextBlob"])["Plaintext"] == made["Plaintext"]
