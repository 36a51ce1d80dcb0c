"""StartSnapshot: what it makes, what it refuses, and how a client token makes it safe to repeat.

Source: docs/aws-behaviour/ebs-direct.md, EBS-START.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.conformance.faults import (
    NO_SNAPSHOT,
    NOT_NULL,
    SNAPSHOT_ID_PATTERN,
    at_least,
    at_most,
    constraint_message,
    constraint_messages,
    expect_invalid,
    expect_out_of_bounds,
    expect_refusal,
    expect_snapshot_not_found,
    expect_too_long,
)
from tests.conformance.given import A, B, complete, completed, content, deleted, failed, put, started
from tests.conformance.raw_client import Answer, RawClient
from tests.server_process import REGION, Client, ServerProcess

KEY_ARN = f"arn:aws:kms:{REGION}:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
JSON = {"Content-Type": "application/json"}


def start_raw(raw: RawClient, **members: Any) -> Answer:
    """StartSnapshot with exactly these members, past boto3's own checks and without its client token."""
    return raw.request("POST", "/snapshots", JSON, json.dumps(members).encode())


class TestAnswer:
    def test_a_start_answers_201_with_a_pending_snapshot(self, ebs: Client) -> None:
        answer = ebs.start_snapshot(VolumeSize=3)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
        assert re.fullmatch(r"snap-[0-9a-f]{17}", answer["SnapshotId"])
        assert re.fullmatch(r"[0-9]{12}", answer["OwnerId"])
        assert answer["Status"] == "pending"
        assert answer["VolumeSize"] == 3
        assert answer["BlockSize"] == 524_288
        assert abs(answer["StartTime"] - datetime.now(UTC)) < timedelta(minutes=1)

    def test_members_not_given_are_absent(self, ebs: Client) -> None:
        answer = ebs.start_snapshot(VolumeSize=1)
        assert not {"Description", "KmsKeyArn", "ParentSnapshotId", "SseType", "Tags"} & answer.keys()

    def test_description_tags_and_parent_come_back(self, ebs: Client) -> None:
        parent = completed(ebs, {})
        tags = [{"Key": "Name", "Value": "disk"}, {"Key": "empty", "Value": ""}]
        answer = ebs.start_snapshot(VolumeSize=1, Description="nightly", Tags=tags, ParentSnapshotId=parent)
        assert answer["Description"] == "nightly"
        assert sorted(answer["Tags"], key=lambda tag: tag["Key"]) == tags
        assert answer["ParentSnapshotId"] == parent

    def test_a_description_keeps_every_character(self, ebs: Client) -> None:
        text = 'Größe "5" \\ 東京 \U0001f4be\nsecond line'
        assert ebs.start_snapshot(VolumeSize=1, Description=text)["Description"] == text

    def test_a_description_may_be_sent_as_utf8(self, raw: RawClient) -> None:
        body = json.dumps({"VolumeSize": 1, "Description": "Größe 東京"}, ensure_ascii=False).encode()
        assert raw.request("POST", "/snapshots", JSON, body).json["Description"] == "Größe 東京"

    def test_an_empty_list_of_tags_is_no_tags(self, ebs: Client) -> None:
        assert "Tags" not in ebs.start_snapshot(VolumeSize=1, Tags=[])

    def test_members_that_the_model_does_not_know_are_ignored(self, raw: RawClient) -> None:
        answer = start_raw(raw, VolumeSize=1, ParentSnapshot=NO_SNAPSHOT)
        assert answer.status == 201
        assert answer.json["ParentSnapshotId"] is None

    def test_encrypted_false_without_a_parent_is_a_plain_snapshot(self, ebs: Client) -> None:
        answer = ebs.start_snapshot(VolumeSize=1, Encrypted=False)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
        assert "KmsKeyArn" not in answer


class TestParent:
    def test_a_child_has_every_block_of_its_parent(self, ebs: Client) -> None:
        parent = completed(ebs, {0: A, 5: B})
        child = completed(ebs, {}, ParentSnapshotId=parent)
        assert content(ebs, child) == {0: A, 5: B}

    def test_a_child_has_its_own_blocks_over_its_parents(self, ebs: Client) -> None:
        parent = completed(ebs, {0: A, 5: A})
        child = completed(ebs, {5: B, 9: B}, ParentSnapshotId=parent)
        assert content(ebs, child) == {0: A, 5: B, 9: B}

    def test_a_child_changes_nothing_of_its_parent(self, ebs: Client) -> None:
        parent = completed(ebs, {0: A})
        completed(ebs, {0: B, 1: B}, ParentSnapshotId=parent)
        assert content(ebs, parent) == {0: A}

    def test_a_child_may_be_larger_than_its_parent(self, ebs: Client) -> None:
        parent = completed(ebs, {0: A})
        child = completed(ebs, {4095: B}, ParentSnapshotId=parent, VolumeSize=2)
        assert content(ebs, child) == {0: A, 4095: B}

    def test_a_child_may_not_be_smaller_than_its_parent(self, ebs: Client) -> None:
        parent = completed(ebs, {}, VolumeSize=2)
        with expect_invalid("INVALID_VOLUME_SIZE"):
            started(ebs, ParentSnapshotId=parent, VolumeSize=1)

    def test_a_pending_parent_is_not_complete(self, ebs: Client) -> None:
        parent = started(ebs)
        with expect_invalid("INVALID_SNAPSHOT_ID", f"Source snapshot ({parent}) is not complete."):
            started(ebs, ParentSnapshotId=parent)

    def test_a_parent_in_error_does_not_exist(self, ebs: Client) -> None:
        parent = failed(ebs)
        with expect_snapshot_not_found(parent):
            started(ebs, ParentSnapshotId=parent)

    def test_a_parent_that_never_was_does_not_exist(self, ebs: Client) -> None:
        with expect_snapshot_not_found(NO_SNAPSHOT):
            started(ebs, ParentSnapshotId=NO_SNAPSHOT)

    def test_a_deleted_parent_does_not_exist(self, ebs: Client, ec2: Client) -> None:
        parent = deleted(ebs, ec2)
        with expect_snapshot_not_found(parent):
            started(ebs, ParentSnapshotId=parent)

    def test_a_parent_in_another_region_does_not_exist(self, ebs: Client, ebs_elsewhere: Client) -> None:
        parent = completed(ebs, {})
        with expect_snapshot_not_found(parent):
            started(ebs_elsewhere, ParentSnapshotId=parent)


class TestConstraints:
    def test_the_largest_volume_has_65536_gib(self, ebs: Client) -> None:
        assert ebs.start_snapshot(VolumeSize=65_536)["VolumeSize"] == 65_536

    @pytest.mark.parametrize("volume_size", [65_537, 99_999_999_999])
    def test_a_larger_volume_is_refused(self, ebs: Client, volume_size: int) -> None:
        with expect_invalid("INVALID_VOLUME_SIZE", f"Invalid volume size: {volume_size}"):
            started(ebs, VolumeSize=volume_size)

    @pytest.mark.parametrize("volume_size", [0, -1])
    def test_a_volume_has_at_least_one_gib(self, raw: RawClient, volume_size: int) -> None:
        answer = start_raw(raw, VolumeSize=volume_size)
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("volumeSize", str(volume_size), at_least(1)))

    def test_a_volume_size_is_required(self, raw: RawClient) -> None:
        answer = start_raw(raw, Description="sizeless")
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("volumeSize", None, NOT_NULL))

    def test_a_null_member_is_a_missing_member(self, raw: RawClient) -> None:
        answer = start_raw(raw, VolumeSize=None, Description=None)
        assert answer.json["message"] == constraint_message(("volumeSize", None, NOT_NULL))

    @pytest.mark.parametrize("minutes", [10, 4320])
    def test_a_time_out_may_be_10_to_4320_minutes(self, ebs: Client, minutes: int) -> None:
        assert ebs.start_snapshot(VolumeSize=1, Timeout=minutes)["Status"] == "pending"

    @pytest.mark.parametrize(("minutes", "constraint"), [(9, at_least(10)), (4321, at_most(4320))])
    def test_another_time_out_is_refused(self, raw: RawClient, minutes: int, constraint: str) -> None:
        answer = start_raw(raw, VolumeSize=1, Timeout=minutes)
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("timeout", str(minutes), constraint))

    def test_a_description_has_at_most_255_characters(self, ebs: Client) -> None:
        started(ebs, Description="d" * 255)
        with expect_too_long("description", 255):
            started(ebs, Description="d" * 256)

    def test_a_client_token_has_at_most_255_characters(self, ebs: Client) -> None:
        longest = (uuid4().hex * 8)[:255]
        started(ebs, ClientToken=longest)
        with expect_too_long("clientToken", 255):
            started(ebs, ClientToken=longest + "x")

    @pytest.mark.parametrize("token", ["", "with space", "tab\t"])
    def test_a_client_token_has_no_white_space_and_is_not_empty(self, ebs: Client, token: str) -> None:
        with expect_out_of_bounds("clientToken", token, r"Member must satisfy regular expression pattern: ^[\S]+$"):
            started(ebs, ClientToken=token)

    @pytest.mark.parametrize("parent", ["Snap-XYZ", "snap-", "vol-0123456789abcdef0", "snap-0123456789ABCDEF0"])
    def test_a_malformed_parent_is_a_broken_constraint(self, ebs: Client, parent: str) -> None:
        with expect_out_of_bounds("parentSnapshotId", parent, SNAPSHOT_ID_PATTERN):
            started(ebs, ParentSnapshotId=parent)

    def test_a_parents_id_has_at_most_64_characters(self, ebs: Client) -> None:
        parent = "snap-" + "0" * 60
        with expect_too_long("parentSnapshotId", 64):
            started(ebs, ParentSnapshotId=parent)

    @pytest.mark.parametrize("key", ["alias/aws/ebs", "1234abcd-12ab-34cd-56ef-1234567890ab"])
    def test_a_key_must_be_a_full_key_arn(self, ebs: Client, key: str) -> None:
        with expect_refusal("ValidationException", 400, reason=None):
            started(ebs, KmsKeyArn=key)

    def test_constraints_broken_together_are_told_together(self, raw: RawClient) -> None:
        answer = start_raw(raw, VolumeSize=0, Timeout=9)
        faults = ("volumeSize", "0", at_least(1)), ("timeout", "9", at_least(10))
        assert answer.json["message"] in constraint_messages(*faults)

    @pytest.mark.parametrize(
        "body", [b"{", b"[]", b'"text"', b'{"VolumeSize": "one"}', b'{"VolumeSize": 1, "Tags": 5}']
    )
    def test_what_is_not_the_json_of_a_request_is_a_serialization_fault(self, raw: RawClient, body: bytes) -> None:
        answer = raw.request("POST", "/snapshots", JSON, body)
        assert (answer.status, answer.code) == (400, "SerializationException")


class TestTags:
    def test_fifty_tags_are_accepted(self, ebs: Client) -> None:
        tags = [{"Key": f"key-{number}", "Value": str(number)} for number in range(50)]
        assert len(ebs.start_snapshot(VolumeSize=1, Tags=tags)["Tags"]) == 50

    def test_fifty_one_tags_are_refused(self, ebs: Client) -> None:
        with expect_invalid("INVALID_TAG"):
            started(ebs, Tags=[{"Key": f"key-{number}", "Value": ""} for number in range(51)])

    def test_a_key_given_twice_is_refused(self, ebs: Client) -> None:
        with expect_invalid("INVALID_TAG"):
            started(ebs, Tags=[{"Key": "Name", "Value": "one"}, {"Key": "Name", "Value": "two"}])

    @pytest.mark.parametrize("key", ["aws:mine", "AWS:mine"])
    def test_a_key_with_the_prefix_of_aws_is_refused_in_any_case(self, ebs: Client, key: str) -> None:
        with expect_invalid("INVALID_TAG"):
            started(ebs, Tags=[{"Key": key, "Value": ""}])

    @pytest.mark.parametrize(
        "tag", [{"Key": "k" * 128, "Value": ""}, {"Key": "k", "Value": "v" * 256}], ids=["key", "value"]
    )
    def test_a_tag_that_is_too_long_is_a_broken_constraint(self, ebs: Client, tag: dict[str, str]) -> None:
        with expect_refusal("ValidationException", 400, reason=None):
            started(ebs, Tags=[tag])

    def test_the_longest_tag_is_accepted(self, ebs: Client) -> None:
        tag = {"Key": "k" * 127, "Value": "v" * 255}
        assert ebs.start_snapshot(VolumeSize=1, Tags=[tag])["Tags"] == [tag]


class TestEncryption:
    """Combinations are judged as with AWS; the whole table is in tests/unit/service/snapshots/test_encryption.py."""

    @pytest.mark.parametrize("encrypted", [True, False])
    def test_a_parent_and_encrypted_do_not_go_together(self, ebs: Client, encrypted: bool) -> None:
        parent = completed(ebs, {})
        with expect_invalid("INVALID_PARAMETER_VALUE", "ParentSnapshotId and Encrypt cannot be specified together"):
            started(ebs, ParentSnapshotId=parent, Encrypted=encrypted)

    @pytest.mark.parametrize("encrypted", [{}, {"Encrypted": True}, {"Encrypted": False}])
    def test_a_parent_and_a_key_do_not_go_together(self, ebs: Client, encrypted: dict[str, bool]) -> None:
        parent = completed(ebs, {})
        with expect_invalid("INVALID_PARAMETER_VALUE", "ParentSnapshotId and KmsKeyArn cannot be specified together"):
            started(ebs, ParentSnapshotId=parent, KmsKeyArn=KEY_ARN, **encrypted)

    def test_a_key_and_encrypted_false_do_not_go_together(self, ebs: Client) -> None:
        with expect_invalid("INVALID_PARAMETER_VALUE", "Encrypt cannot be false when KmsKeyArn is specified"):
            started(ebs, KmsKeyArn=KEY_ARN, Encrypted=False)

    def test_a_bad_combination_is_told_before_a_missing_parent(self, ebs: Client) -> None:
        with expect_invalid("INVALID_PARAMETER_VALUE", "ParentSnapshotId and Encrypt cannot be specified together"):
            started(ebs, ParentSnapshotId=NO_SNAPSHOT, Encrypted=True)

    @pytest.mark.parametrize("encrypted", [{}, {"Encrypted": True}])
    def test_a_key_that_does_not_exist_is_refused(self, ebs: Client, encrypted: dict[str, bool]) -> None:
        with expect_invalid("INVALID_CUSTOMER_KEY"):
            started(ebs, KmsKeyArn=KEY_ARN, **encrypted)

    def test_encryption_without_a_key_is_under_the_managed_key_of_the_region(
        self, server: ServerProcess, ebs: Client, ec2: Client
    ) -> None:
        answer = ebs.start_snapshot(VolumeSize=1, Encrypted=True)
        managed = server.client("kms").describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]["Arn"]
        assert answer["KmsKeyArn"] == managed
        [shown] = ec2.describe_snapshots(SnapshotIds=[answer["SnapshotId"]])["Snapshots"]
        assert (shown["Encrypted"], shown["KmsKeyId"]) == (True, managed)


class TestClientToken:
    def test_a_repeat_gets_the_first_answer_byte_for_byte(self, raw: RawClient) -> None:
        request = {"VolumeSize": 1, "Description": "once", "ClientToken": uuid4().hex}
        first, second = start_raw(raw, **request), start_raw(raw, **request)
        assert (first.status, second.status) == (201, 201)
        assert second.body == first.body

    def test_a_repeat_makes_no_second_snapshot(self, ebs: Client, ec2: Client) -> None:
        tag = uuid4().hex
        request = {"VolumeSize": 1, "ClientToken": uuid4().hex, "Tags": [{"Key": "run", "Value": tag}]}
        ebs.start_snapshot(**request)
        ebs.start_snapshot(**request)
        assert len(ec2.describe_snapshots(Filters=[{"Name": "tag:run", "Values": [tag]}])["Snapshots"]) == 1

    def test_a_repeat_after_completion_still_says_pending(self, ebs: Client) -> None:
        request = {"VolumeSize": 1, "ClientToken": uuid4().hex}
        snapshot_id = started(ebs, **request)
        put(ebs, snapshot_id, 0, A)
        assert complete(ebs, snapshot_id, {0: A}) == "completed"
        repeat = ebs.start_snapshot(**request)
        assert (repeat["SnapshotId"], repeat["Status"]) == (snapshot_id, "pending")

    def test_a_repeat_after_deletion_still_gets_the_first_answer(self, ebs: Client, ec2: Client) -> None:
        request = {"VolumeSize": 1, "ClientToken": uuid4().hex}
        snapshot_id = started(ebs, **request)
        ec2.delete_snapshot(SnapshotId=snapshot_id)
        assert started(ebs, **request) == snapshot_id

    def test_a_repeat_after_its_parents_deletion_still_gets_the_first_answer(self, ebs: Client, ec2: Client) -> None:
        parent = completed(ebs, {})
        request = {"ParentSnapshotId": parent, "ClientToken": uuid4().hex}
        snapshot_id = started(ebs, **request)
        ec2.delete_snapshot(SnapshotId=parent)
        assert started(ebs, **request) == snapshot_id

    @pytest.mark.parametrize(
        "other",
        [
            {"Description": "other"},
            {"VolumeSize": 2},
            {"Timeout": 61},
            {"Tags": [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "2"}]},
            {"Encrypted": False},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_another_request_with_the_same_token_conflicts(self, ebs: Client, other: dict[str, Any]) -> None:
        tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
        request = {"VolumeSize": 1, "Description": "first", "Tags": tags, "ClientToken": uuid4().hex}
        ebs.start_snapshot(**request)
        message = "Current request does not match request stored with this token."
        with expect_refusal("ConflictException", 409, None, message):
            ebs.start_snapshot(**request | other)

    def test_another_parent_with_the_same_token_conflicts(self, ebs: Client) -> None:
        parent, other_parent = completed(ebs, {}), completed(ebs, {})
        token = uuid4().hex
        started(ebs, ParentSnapshotId=parent, ClientToken=token)
        with expect_refusal("ConflictException", 409):
            started(ebs, ParentSnapshotId=other_parent, ClientToken=token)

    def test_tags_in_another_order_are_the_same_request(self, ebs: Client) -> None:
        tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
        token = uuid4().hex
        assert started(ebs, Tags=tags, ClientToken=token) == started(ebs, Tags=tags[::-1], ClientToken=token)

    def test_no_time_out_is_the_same_request_as_sixty_minutes(self, ebs: Client) -> None:
        token = uuid4().hex
        assert started(ebs, ClientToken=token) == started(ebs, Timeout=60, ClientToken=token)

    def test_a_refused_request_leaves_its_token_free(self, ebs: Client) -> None:
        token = uuid4().hex
        with expect_snapshot_not_found(NO_SNAPSHOT):
            started(ebs, ParentSnapshotId=NO_SNAPSHOT, ClientToken=token)
        started(ebs, Description="another request", ClientToken=token)

    def test_racing_requests_with_one_token_make_one_snapshot(self, ebs: Client) -> None:
        token = uuid4().hex
        with ThreadPoolExecutor(8) as threads:
            ids = {running.result() for running in [threads.submit(started, ebs, ClientToken=token) for _ in range(16)]}
        assert len(ids) == 1

    def test_a_token_means_nothing_in_another_region(self, ebs: Client, ebs_elsewhere: Client) -> None:
        token = uuid4().hex
        assert started(ebs, ClientToken=token) != started(ebs_elsewhere, ClientToken=token)

    def test_without_a_token_each_request_makes_a_snapshot(self, raw: RawClient) -> None:
        assert start_raw(raw, VolumeSize=1).json["SnapshotId"] != start_raw(raw, VolumeSize=1).json["SnapshotId"]

    def test_boto3_sends_a_token_of_its_own(self, server: ServerProcess) -> None:
        ebs = server.client("ebs")
        sent: list[dict[str, Any]] = []
        ebs.meta.events.register(
            "before-send.ebs.StartSnapshot", lambda request, **_: sent.append(json.loads(request.body))
        )
        for _ in range(2):
            ebs.start_snapshot(VolumeSize=1)
        one, two = (UUID(body["ClientToken"]) for body in sent)
        assert one != two
