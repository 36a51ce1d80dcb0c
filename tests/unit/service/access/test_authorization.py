"""Who may call what: policies of users held against calls, and answers that are remembered but never stale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snapstone.core.errors import AccessDeniedError
from snapstone.service.access import authorization as authorization
from snapstone.service.access.authorization import authorize_call, authorize_key
from snapstone.service.engine import Caller
from snapstone.service.identities.identity import credentials_of
from snapstone.service.keys.kms_keys import key_by_arn
from tests.installation import START_MS, Installation
from tests.unit.service.callers import (
    EVERYTHING,
    OTHER,
    OTHER_ID,
    OWNER,
    now,
    perform,
    policy,
    put_policy,
    statement,
    user,
)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


def arn(snapshot_id: str) -> str:
    return f"arn:aws:ec2:eu-central-1::snapshot/{snapshot_id}"


def may(installation: Installation, caller: Caller, service: str, operation: str, **members: Any) -> bool:
    try:
        authorize_call(installation.engine, caller, service, operation, members)
    except AccessDeniedError:
        return False
    return True


def may_put(installation: Installation, caller: Caller, snapshot_id: str) -> bool:
    return may(installation, caller, "ebs", "PutSnapshotBlock", snapshot_id=snapshot_id)


def remembered_count() -> int:
    return len(authorization._allowed)


@pytest.fixture(autouse=True)
def empty_memory() -> None:
    authorization._allowed.clear()


def test_root_may_call_everything_of_its_account(installation: Installation) -> None:
    assert may_put(installation, OWNER, installation.start())
    assert may(installation, OWNER, "ec2", "DescribeSnapshots")
    assert may(installation, OWNER, "iam", "CreateUser", user_name="ann")


def test_a_user_without_a_policy_may_only_ask_who_it_is(installation: Installation) -> None:
    ann = user(installation, OWNER, "ann")
    assert may(installation, ann, "sts", "GetCallerIdentity")
    assert not may_put(installation, ann, installation.start())
    assert not may(installation, ann, "ec2", "DescribeSnapshots")
    assert not may(installation, ann, "kms", "CreateKey")


def test_a_denial_names_who_what_and_which(installation: Installation) -> None:
    snapshot_id = installation.start()
    ann = user(installation, OWNER, "ann", policy(statement("Deny", "ebs:*")))
    bob = user(installation, OWNER, "bob")
    for caller, explicit in ((ann, True), (bob, False)):
        with pytest.raises(AccessDeniedError) as denied:
            authorize_call(installation.engine, caller, "ebs", "PutSnapshotBlock", {"snapshot_id": snapshot_id})
        error = denied.value
        assert (error.principal_arn, error.action, error.resource, error.explicit) == (
            f"arn:aws:iam::111122223333:user/{caller.principal.name}",
            "ebs:PutSnapshotBlock",
            f"arn:aws:ec2:eu-central-1::snapshot/{snapshot_id}",
            explicit,
        )


def test_a_policy_may_name_one_snapshot(installation: Installation) -> None:
    mine, yours = installation.start(), installation.start()
    ann = user(installation, OWNER, "ann", policy(statement("Allow", "ebs:*", arn(mine))))
    assert may_put(installation, ann, mine)
    assert not may_put(installation, ann, yours)


def test_a_policy_may_go_by_the_tags_of_a_snapshot(installation: Installation) -> None:
    red = installation.start(tags=[{"Key": "Team", "Value": "red"}])
    blue = installation.start(tags=[{"Key": "Team", "Value": "blue"}])
    only_red = {"StringEquals": {"aws:ResourceTag/Team": "red"}}
    ann = user(installation, OWNER, "ann", policy(statement("Allow", ["ebs:*", "ec2:*"], Condition=only_red)))
    assert may_put(installation, ann, red)
    assert not may_put(installation, ann, blue)
    assert may(installation, ann, "ec2", "DeleteSnapshot", snapshot_id=red)
    assert not may(installation, ann, "ec2", "DeleteSnapshot", snapshot_id=blue)


def test_list_changed_blocks_needs_both_snapshots(installation: Installation) -> None:
    first, second = installation.start(), installation.start()
    one = user(installation, OWNER, "one", policy(statement("Allow", "ebs:*", arn(first))))
    both = user(installation, OWNER, "both", policy(statement("Allow", "ebs:*", [arn(first), arn(second)])))
    members = {"first_snapshot_id": first, "second_snapshot_id": second}
    assert not may(installation, one, "ebs", "ListChangedBlocks", **members)
    assert may(installation, both, "ebs", "ListChangedBlocks", **members)


class TestStartSnapshot:
    def test_tags_need_create_tags_too(self, installation: Installation) -> None:
        tags = [{"Key": "a", "Value": "1"}]
        ann = user(installation, OWNER, "ann", policy(statement("Allow", "ebs:StartSnapshot")))
        assert may(installation, ann, "ebs", "StartSnapshot", volume_size=1)
        assert not may(installation, ann, "ebs", "StartSnapshot", volume_size=1, tags=tags)
        put_policy(installation, OWNER, "ann", policy(statement("Allow", ["ebs:StartSnapshot", "ec2:CreateTags"])))
        assert may(installation, ann, "ebs", "StartSnapshot", volume_size=1, tags=tags)

    def test_size_and_description_are_conditions(self, installation: Installation) -> None:
        condition = {"NumericLessThanEquals": {"ebs:VolumeSize": "8"}, "StringLike": {"ebs:Description": "nightly *"}}
        ann = user(installation, OWNER, "ann", policy(statement("Allow", "ebs:StartSnapshot", Condition=condition)))
        assert may(installation, ann, "ebs", "StartSnapshot", volume_size=8, description="nightly 1")
        assert not may(installation, ann, "ebs", "StartSnapshot", volume_size=9, description="nightly 1")
        assert not may(installation, ann, "ebs", "StartSnapshot", volume_size=8, description="weekly")

    def test_the_parent_is_a_condition_as_an_arn_and_a_resource(self, installation: Installation) -> None:
        mine, yours = installation.sealed({}), installation.sealed({})
        condition = {"ArnEquals": {"ebs:ParentSnapshot": arn(mine)}}
        ann = user(installation, OWNER, "ann", policy(statement("Allow", "ebs:StartSnapshot", Condition=condition)))
        bob = user(installation, OWNER, "bob", policy(statement("Allow", "ebs:StartSnapshot", [arn("*"), arn(mine)]),
                                                      statement("Deny", "ebs:StartSnapshot", arn(yours))))  # fmt: skip
        for caller in (ann, bob):
            assert may(installation, caller, "ebs", "StartSnapshot", volume_size=1, parent_snapshot_id=mine)
            assert not may(installation, caller, "ebs", "StartSnapshot", volume_size=1, parent_snapshot_id=yours)

    def test_tags_of_the_request_are_conditions(self, installation: Installation) -> None:
        condition = {
            "StringEquals": {"aws:RequestTag/team": "red"},
            "ForAllValues:StringEquals": {"aws:TagKeys": "team"},
        }
        ann = user(installation, OWNER, "ann", policy(statement("Allow", "*", Condition=condition)))
        red, extra = {"Key": "team", "Value": "red"}, {"Key": "more", "Value": ""}
        assert may(installation, ann, "ebs", "StartSnapshot", volume_size=1, tags=[red])
        assert not may(installation, ann, "ebs", "StartSnapshot", volume_size=1, tags=[red, extra])
        assert not may(installation, ann, "ebs", "StartSnapshot", volume_size=1)


class TestGlobalKeys:
    @pytest.mark.parametrize(
        ("operator", "key", "value"),
        [
            ("StringEquals", "aws:RequestedRegion", "eu-central-1"),
            ("StringEquals", "aws:PrincipalAccount", "111122223333"),
            ("StringEquals", "aws:ResourceAccount", "111122223333"),
            ("StringEquals", "aws:PrincipalType", "User"),
            ("StringEquals", "aws:username", "ann"),
            ("StringLike", "aws:userid", "AIDA*"),
            ("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::111122223333:user/ann"),
            ("StringEquals", "aws:PrincipalTag/team", "red"),
            ("IpAddress", "aws:SourceIp", "192.0.2.0/24"),
            ("Bool", "aws:SecureTransport", "true"),
            ("NumericEquals", "aws:EpochTime", str(START_MS // 1000)),
            ("DateLessThan", "aws:CurrentTime", "2026-09-25T12:00:00Z"),
        ],
    )
    def test_a_global_key_is_filled(self, installation: Installation, operator: str, key: str, value: str) -> None:
        document = policy(statement("Allow", "ebs:*", Condition={operator: {key: value}}))
        ann = user(installation, OWNER, "ann", document, tags=[{"Key": "Team", "Value": "red"}])
        ann = replace(ann, facts={"aws:sourceip": "192.0.2.7", "aws:securetransport": "true"})
        assert may_put(installation, ann, installation.start())

    def test_the_address_and_the_time_are_asked_anew_each_time(self, installation: Installation) -> None:
        snapshot_id = installation.start()
        condition = {
            "IpAddress": {"aws:SourceIp": "192.0.2.0/24"},
            "DateLessThan": {"aws:CurrentTime": "2026-09-25T12:00:00Z"},
        }
        ann = user(installation, OWNER, "ann", policy(statement("Allow", "ebs:*", Condition=condition)))
        near = replace(ann, facts={"aws:sourceip": "192.0.2.7"})
        far = replace(ann, facts={"aws:sourceip": "198.51.100.7"})
        assert may_put(installation, near, snapshot_id)
        assert not may_put(installation, far, snapshot_id)
        assert may_put(installation, near, snapshot_id)
        installation.clock.advance_minutes(10)  # from 11:57:20
        assert not may_put(installation, near, snapshot_id)
        assert remembered_count() == 0

    def test_a_key_that_a_request_lacks_is_asked_anew_too(self, installation: Installation) -> None:
        snapshot_id = installation.start()
        condition = {"StringEqualsIfExists": {"aws:UserAgent": "good"}}
        ann = user(installation, OWNER, "ann", policy(statement("Allow", "ebs:*", Condition=condition)))
        assert may_put(installation, ann, snapshot_id)
        assert not may_put(installation, replace(ann, facts={"aws:useragent": "bad"}), snapshot_id)


class TestRememberedAnswers:
    def test_an_allowed_put_is_remembered(self, installation: Installation) -> None:
        ann = user(installation, OWNER, "ann", EVERYTHING)
        snapshot_id = installation.start()
        for _ in range(3):
            assert may_put(installation, ann, snapshot_id)
        assert remembered_count() == 1

    def test_a_policy_that_is_changed_counts_at_once(self, installation: Installation) -> None:
        ann = user(installation, OWNER, "ann", EVERYTHING)
        snapshot_id = installation.start()
        assert may_put(installation, ann, snapshot_id)
        put_policy(installation, OWNER, "ann", policy(statement("Deny", "ebs:PutSnapshotBlock")))
        assert not may_put(installation, ann, snapshot_id)

    def test_tags_that_are_changed_count_at_once(self, installation: Installation) -> None:
        snapshot_id = installation.start(tags=[{"Key": "open", "Value": "yes"}])
        condition = {"StringEquals": {"aws:ResourceTag/open": "yes"}}
        ann = user(installation, OWNER, "ann", policy(statement("Allow", "ebs:*", Condition=condition)))
        assert may_put(installation, ann, snapshot_id)
        perform(installation, OWNER, "ec2", "DeleteTags", resources=[snapshot_id], tags=[{"Key": "open"}])
        assert not may_put(installation, ann, snapshot_id)

    def test_what_one_principal_may_is_no_others(self, installation: Installation) -> None:
        snapshot_id = installation.start()
        ann = user(installation, OWNER, "ann", EVERYTHING)
        bob = user(installation, OWNER, "bob")
        assert may_put(installation, ann, snapshot_id)
        assert not may_put(installation, bob, snapshot_id)
        assert not may_put(installation, replace(bob, access_key_id=ann.access_key_id), snapshot_id)

    def test_a_put_that_is_allowed_allows_no_get(self, installation: Installation) -> None:
        snapshot_id = installation.start()
        ann = user(installation, OWNER, "ann", policy(statement("Allow", "ebs:PutSnapshotBlock")))
        assert may_put(installation, ann, snapshot_id)
        assert not may(installation, ann, "ebs", "GetSnapshotBlock", snapshot_id=snapshot_id)

    def test_memory_is_bounded(self, installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(authorization, "REMEMBERED_LIMIT", 2)
        ann = user(installation, OWNER, "ann", EVERYTHING)
        for snapshot_id in [installation.start() for _ in range(5)]:
            assert may_put(installation, ann, snapshot_id)
            assert remembered_count() <= 2


class TestKeys:
    def may_use(self, installation: Installation, caller: Caller, key_arn: str, action: str, via: str = "ec2") -> bool:
        key = key_by_arn(installation.engine, key_arn)
        assert key is not None
        try:
            authorize_key(installation.engine, caller, key, action, via)
        except AccessDeniedError:
            return False
        return True

    def new_key(self, installation: Installation, **members: Any) -> str:
        return str(perform(installation, OWNER, "kms", "CreateKey", **members)["KeyMetadata"]["Arn"])

    def test_the_default_policy_leaves_it_to_the_accounts_policies(self, installation: Installation) -> None:
        key = self.new_key(installation)
        ann = user(installation, OWNER, "ann", policy(statement("Allow", "kms:Decrypt", key)))
        bob = user(installation, OWNER, "bob", policy(statement("Allow", "ebs:*")))
        assert self.may_use(installation, OWNER, key, "kms:Decrypt")
        assert self.may_use(installation, ann, key, "kms:Decrypt")
        assert not self.may_use(installation, ann, key, "kms:GenerateDataKey")
        assert not self.may_use(installation, bob, key, "kms:Decrypt")
        assert not self.may_use(installation, OTHER, key, "kms:Decrypt")

    def test_another_account_needs_both_the_keys_policy_and_its_own(self, installation: Installation) -> None:
        own = statement("Allow", "kms:*", Principal={"AWS": "arn:aws:iam::111122223333:root"})
        other = statement("Allow", "kms:Decrypt", Principal={"AWS": f"arn:aws:iam::{OTHER_ID}:root"})
        key = self.new_key(installation, policy=policy(own, other))
        ann = user(installation, OTHER, "ann", policy(statement("Allow", "kms:*")))
        bob = user(installation, OTHER, "bob")
        assert self.may_use(installation, OTHER, key, "kms:Decrypt")
        assert self.may_use(installation, ann, key, "kms:Decrypt")
        assert not self.may_use(installation, ann, key, "kms:GenerateDataKey")
        assert not self.may_use(installation, bob, key, "kms:Decrypt")

    def test_via_service_is_a_condition(self, installation: Installation) -> None:
        key = self.new_key(installation)
        condition = {"StringEquals": {"kms:ViaService": "ec2.eu-central-1.amazonaws.com"}}
        ann = user(installation, OWNER, "ann", policy(statement("Allow", "kms:*", Condition=condition)))
        assert self.may_use(installation, ann, key, "kms:Decrypt")
        assert not self.may_use(installation, ann, key, "kms:Decrypt", via="s3")
        assert not may(installation, ann, "kms", "DescribeKey", key_id=key)

    def test_the_managed_key_is_for_everybody_in_its_account(self, installation: Installation) -> None:
        answer = perform(installation, OWNER, "kms", "DescribeKey", key_id="alias/aws/ebs")
        key = str(answer["KeyMetadata"]["Arn"])
        ann = user(installation, OWNER, "ann", policy(statement("Allow", "ebs:*")))
        forbidden = user(installation, OWNER, "bob", policy(statement("Deny", "kms:Decrypt")))
        assert self.may_use(installation, OWNER, key, "kms:Decrypt")
        assert self.may_use(installation, ann, key, "kms:Decrypt")
        assert not self.may_use(installation, forbidden, key, "kms:Decrypt")
        assert not self.may_use(installation, OTHER, key, "kms:Decrypt")

    def test_a_keys_policy_that_is_changed_counts_at_once(self, installation: Installation) -> None:
        key = self.new_key(installation)
        ann = user(installation, OWNER, "ann", EVERYTHING)
        assert self.may_use(installation, ann, key, "kms:Decrypt")
        own = statement("Allow", "kms:*", Principal={"AWS": "arn:aws:iam::111122223333:root"})
        no_ann = statement("Deny", "kms:Decrypt", Principal={"AWS": ann.principal.arn})
        perform(installation, OWNER, "kms", "PutKeyPolicy", key_id=key, policy=policy(own, no_ann))
        assert not self.may_use(installation, ann, key, "kms:Decrypt")
        assert self.may_use(installation, OWNER, key, "kms:Decrypt")

    def test_a_foreign_key_and_one_that_is_not_there_are_denied_alike(self, installation: Installation) -> None:
        there = self.new_key(installation)
        absent = there[:-12] + "0" * 12
        for caller in (OTHER, user(installation, OTHER, "ann", EVERYTHING)):
            for named in (there, absent):
                with pytest.raises(AccessDeniedError) as denied:
                    authorize_call(installation.engine, caller, "kms", "DescribeKey", {"key_id": named})
                assert (denied.value.resource, denied.value.explicit) == (named, False)


class TestAssumeRole:
    def trust(self, principal: str, **more: Any) -> str:
        return policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": principal}} | more)

    def may_assume(self, installation: Installation, caller: Caller, **members: Any) -> bool:
        role = "arn:aws:iam::111122223333:role/backup"
        return may(installation, caller, "sts", "AssumeRole", role_arn=role, role_session_name="ann", **members)

    def test_trust_of_the_account_leaves_it_to_its_users_policies(self, installation: Installation) -> None:
        trust = self.trust("111122223333")
        perform(installation, OWNER, "iam", "CreateRole", role_name="backup", assume_role_policy_document=trust)
        assert self.may_assume(installation, user(installation, OWNER, "ann", EVERYTHING))
        assert not self.may_assume(installation, user(installation, OWNER, "bob"))
        assert not self.may_assume(installation, OTHER)

    def test_a_role_trusts_nobody_whom_its_policy_does_not_name(self, installation: Installation) -> None:
        trust = self.trust(f"arn:aws:iam::{OTHER_ID}:root", Condition={"StringEquals": {"sts:ExternalId": "42"}})
        perform(installation, OWNER, "iam", "CreateRole", role_name="backup", assume_role_policy_document=trust)
        other = user(installation, OTHER, "ann", EVERYTHING)
        assert self.may_assume(installation, other, external_id="42")
        assert not self.may_assume(installation, other, external_id="43")
        assert not self.may_assume(installation, other)
        assert not self.may_assume(installation, user(installation, OWNER, "ann", EVERYTHING), external_id="42")

    def test_a_user_that_was_deleted_may_do_nothing_more(self, installation: Installation) -> None:
        ann = user(installation, OWNER, "ann", EVERYTHING)
        snapshot_id = installation.start()
        assert may_put(installation, now(installation, ann), snapshot_id)
        perform(installation, OWNER, "iam", "DeleteAccessKey", user_name="ann", access_key_id=ann.access_key_id)
        perform(installation, OWNER, "iam", "DeleteUserPolicy", user_name="ann", policy_name="policy-0")
        perform(installation, OWNER, "iam", "DeleteUser", user_name="ann")
        assert not may_put(installation, ann, snapshot_id)


class TestSessionsAndBoundaries:
    def session(self, installation: Installation, **members: Any) -> Caller:
        trust = policy({"Effect": "Allow", "Action": "sts:*", "Principal": {"AWS": "111122223333"}})
        perform(installation, OWNER, "iam", "CreateRole", role_name="backup", assume_role_policy_document=trust)
        perform(
            installation, OWNER, "iam", "PutRolePolicy",
            role_name="backup", policy_name="all", policy_document=EVERYTHING,
        )  # fmt: skip
        role = "arn:aws:iam::111122223333:role/backup"
        ann = user(installation, OWNER, "ann", EVERYTHING)
        key = perform(installation, ann, "sts", "AssumeRole", role_arn=role, role_session_name="night", **members)
        key = key["Credentials"]
        credentials = credentials_of(installation.engine, key["AccessKeyId"], key["SessionToken"])
        assert credentials is not None
        return replace(OWNER, access_key_id=key["AccessKeyId"], principal=credentials.principal)

    def test_a_roles_session_may_do_what_its_role_may(self, installation: Installation) -> None:
        snapshot_id = installation.start()
        night = self.session(installation)
        assert may_put(installation, night, snapshot_id)
        perform(installation, OWNER, "iam", "DeleteRolePolicy", role_name="backup", policy_name="all")
        assert not may_put(installation, night, snapshot_id)

    def test_a_session_is_kept_to_its_policy(self, installation: Installation) -> None:
        night = self.session(installation, policy=policy(statement("Allow", "ebs:ListSnapshotBlocks")))
        snapshot_id = installation.start()
        assert may(installation, night, "ebs", "ListSnapshotBlocks", snapshot_id=snapshot_id)
        assert not may_put(installation, night, snapshot_id)

    def test_a_sessions_tags_and_role_are_conditions(self, installation: Installation) -> None:
        night = self.session(installation, tags=[{"Key": "Shift", "Value": "night"}])
        condition = {
            "StringEquals": {"aws:PrincipalTag/shift": "night", "aws:PrincipalType": "AssumedRole"},
            "ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/backup"},
            "DateEquals": {"aws:TokenIssueTime": "2026-09-25T11:57:20Z"},
        }
        document = policy(statement("Allow", "ebs:*", Condition=condition))
        perform(
            installation, OWNER, "iam", "PutRolePolicy",
            role_name="backup", policy_name="all", policy_document=document,
        )  # fmt: skip
        assert may_put(installation, night, installation.start())

    def test_a_boundary_bounds(self, installation: Installation) -> None:
        document = policy(statement("Allow", "ebs:ListSnapshotBlocks"))
        answer = perform(installation, OWNER, "iam", "CreatePolicy", policy_name="bound", policy_document=document)
        snapshot_id = installation.start()
        ann = user(installation, OWNER, "ann", EVERYTHING)
        assert may_put(installation, ann, snapshot_id)
        perform(
            installation, OWNER, "iam", "PutUserPermissionsBoundary",
            user_name="ann", permissions_boundary=answer["Policy"]["Arn"],
        )  # fmt: skip
        assert not may_put(installation, ann, snapshot_id)
        assert may(installation, ann, "ebs", "ListSnapshotBlocks", snapshot_id=snapshot_id)

    def test_a_managed_policy_that_is_changed_counts_at_once(self, installation: Installation) -> None:
        answer = perform(installation, OWNER, "iam", "CreatePolicy", policy_name="all", policy_document=EVERYTHING)
        ann = user(installation, OWNER, "ann")
        arn = answer["Policy"]["Arn"]
        perform(installation, OWNER, "iam", "AttachUserPolicy", user_name="ann", policy_arn=arn)
        snapshot_id = installation.start()
        assert may_put(installation, ann, snapshot_id)
        document = policy(statement("Allow", "ec2:*"))
        perform(
            installation, OWNER, "iam", "CreatePolicyVersion",
            policy_arn=arn, policy_document=document, set_as_default=True,
        )  # fmt: skip
        assert not may_put(installation, ann, snapshot_id)
