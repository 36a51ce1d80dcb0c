"""What calls need: actions, ARNs and condition keys, as docs/aws-behaviour/iam-and-sts.md, PERM, lists them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snapstone.core.policy.document import PolicyKind
from snapstone.service.access.authorization import PERMISSIONS
from snapstone.service.access.permission import Permission
from snapstone.service.engine import Caller
from tests.installation import Installation
from tests.unit.service.callers import EVERYTHING, OTHER, OWNER, perform, policy, user

NEW = "arn:aws:ec2:eu-central-1::snapshot/*"
TAGS = [{"Key": "Team", "Value": "red"}]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


def needs(
    installation: Installation, service: str, operation: str, caller: Caller = OWNER, **members: Any
) -> list[Permission]:
    return list(PERMISSIONS[service][operation](installation.engine, caller, members))


def asked(found: list[Permission]) -> list[tuple[str, str]]:
    return [(need.action, need.resource) for need in found]


class TestEc2:
    def test_a_snapshots_facts_are_keys(self, installation: Installation) -> None:
        snapshot_id = installation.start(volume_size=3, tags=TAGS)
        (need,) = needs(installation, "ec2", "DeleteSnapshot", snapshot_id=snapshot_id)
        assert need.resource == f"arn:aws:ec2:eu-central-1::snapshot/{snapshot_id}"
        assert need.keys == {
            "ec2:region": "eu-central-1",
            "ec2:owner": "111122223333",
            "ec2:parentvolume": "arn:aws:ec2:eu-central-1:111122223333:volume/vol-ffffffff",
            "ec2:snapshotid": snapshot_id,
            "ec2:snapshottime": "2026-09-25T11:57:20Z",
            "ec2:volumesize": "3",
            "aws:resourcetag/team": "red",
            "ec2:resourcetag/team": "red",
        }

    def test_another_accounts_snapshot_has_the_facts_of_none(self, installation: Installation) -> None:
        snapshot_id = installation.start(tags=TAGS)
        (need,) = needs(installation, "ec2", "DeleteSnapshot", OTHER, snapshot_id=snapshot_id)
        assert need.keys == {"ec2:region": "eu-central-1"}

    @pytest.mark.parametrize(
        "members",
        [
            {"create_volume_permission": {"Add": [{"UserId": "444455556666"}, {"Group": "all"}]}},
            {"operation_type": "add", "user_ids": ["444455556666"], "group_names": ["all"]},
        ],
    )
    def test_who_is_added_is_a_key_in_either_spelling(
        self, installation: Installation, members: dict[str, Any]
    ) -> None:
        snapshot_id = installation.start()
        (need,) = needs(installation, "ec2", "ModifySnapshotAttribute", snapshot_id=snapshot_id, **members)
        assert need.keys["ec2:attribute"] == "createVolumePermission"
        assert need.keys["ec2:add/userid"] == ("444455556666",)
        assert need.keys["ec2:add/group"] == ("all",)
        assert not {"ec2:remove/userid", "ec2:remove/group"} & set(need.keys)

    def test_a_copy_is_asked_about_as_the_new_snapshot(self, installation: Installation) -> None:
        specification = [{"ResourceType": "snapshot", "Tags": TAGS}]
        copy, tagging = needs(
            installation,
            "ec2",
            "CopySnapshot",
            source_region="us-west-2",
            source_snapshot_id="snap-0123456789abcdef0",
            encrypted=True,
            tag_specifications=specification,
        )
        assert asked([copy, tagging]) == [("ec2:CopySnapshot", NEW), ("ec2:CreateTags", NEW)]
        assert copy.keys["ec2:parentsnapshot"] == "arn:aws:ec2:us-west-2::snapshot/snap-0123456789abcdef0"
        assert copy.keys["ec2:encrypted"] == "true"
        assert copy.keys["aws:requesttag/team"] == "red"
        assert "ec2:createaction" not in copy.keys
        assert tagging.keys["ec2:createaction"] == "CopySnapshot"
        assert tagging.keys["aws:tagkeys"] == ("Team",)

    def test_tags_need_every_resource(self, installation: Installation) -> None:
        first, second = installation.start(), installation.start()
        found = needs(installation, "ec2", "CreateTags", resources=[first, second], tags=TAGS)
        assert asked(found) == [("ec2:CreateTags", NEW[:-1] + first), ("ec2:CreateTags", NEW[:-1] + second)]

    def test_a_snapshot_in_the_recycle_bin_is_known_to_who_restores_it(self, installation: Installation) -> None:
        week = {"RetentionPeriodValue": 7, "RetentionPeriodUnit": "DAYS"}
        perform(installation, OWNER, "rbin", "CreateRule", retention_period=week, resource_type="EBS_SNAPSHOT")
        snapshot_id = installation.sealed({}, tags=TAGS)
        installation.delete(snapshot_id)
        (restore,) = needs(installation, "ec2", "RestoreSnapshotFromRecycleBin", snapshot_id=snapshot_id)
        (delete,) = needs(installation, "ec2", "DeleteSnapshot", snapshot_id=snapshot_id)
        (other,) = needs(installation, "ec2", "RestoreSnapshotFromRecycleBin", OTHER, snapshot_id=snapshot_id)
        assert restore.keys["aws:resourcetag/team"] == "red"
        assert "aws:resourcetag/team" not in delete.keys
        assert "aws:resourcetag/team" not in other.keys


class TestKms:
    def new_key(self, installation: Installation) -> str:
        tags = [{"TagKey": "Team", "TagValue": "red"}]
        return str(perform(installation, OWNER, "kms", "CreateKey", tags=tags)["KeyMetadata"]["Arn"])

    def test_a_keys_policy_tags_and_aliases_count(self, installation: Installation) -> None:
        arn = self.new_key(installation)
        perform(installation, OWNER, "kms", "CreateAlias", alias_name="alias/mine", target_key_id=arn)
        (need,) = needs(installation, "kms", "Encrypt", key_id="alias/mine", encryption_context={"For": "me"})
        assert (need.action, need.resource, need.resource_account) == ("kms:Encrypt", arn, "111122223333")
        assert need.resource_policy is not None
        assert need.denied_as == "arn:aws:kms:eu-central-1:111122223333:alias/mine"
        assert need.keys["kms:resourcealiases"] == ("alias/mine",)
        assert need.keys["aws:resourcetag/team"] == "red"
        assert need.keys["kms:calleraccount"] == "111122223333"
        assert need.keys["kms:encryptioncontext:for"] == "me"
        assert need.keys["kms:encryptioncontextkeys"] == ("For",)

    def test_asking_for_another_accounts_managed_key_does_not_make_it(self, installation: Installation) -> None:
        foreign = "arn:aws:kms:eu-central-1:444455556666:alias/aws/ebs"
        (need,) = needs(installation, "kms", "DescribeKey", key_id=foreign)
        assert (need.resource, need.resource_account, need.resource_policy) == (foreign, "444455556666", None)
        assert installation.catalog.kms_keys(OTHER.account_id, OTHER.region) == []

    def test_an_alias_needs_itself_and_its_keys(self, installation: Installation) -> None:
        before, after = self.new_key(installation), self.new_key(installation)
        alias = "arn:aws:kms:eu-central-1:111122223333:alias/mine"
        created = needs(installation, "kms", "CreateAlias", alias_name="alias/mine", target_key_id=before)
        assert asked(created) == [("kms:CreateAlias", alias), ("kms:CreateAlias", before)]
        perform(installation, OWNER, "kms", "CreateAlias", alias_name="alias/mine", target_key_id=before)
        moved = needs(installation, "kms", "UpdateAlias", alias_name="alias/mine", target_key_id=after)
        assert asked(moved) == [("kms:UpdateAlias", each) for each in (alias, before, after)]
        deleted = needs(installation, "kms", "DeleteAlias", alias_name="alias/mine")
        assert asked(deleted) == [("kms:DeleteAlias", alias), ("kms:DeleteAlias", before)]

    def test_a_ciphertext_needs_the_key_that_made_it(self, installation: Installation) -> None:
        arn, target = self.new_key(installation), self.new_key(installation)
        blob = perform(installation, OWNER, "kms", "Encrypt", key_id=arn, plaintext=b"x")["CiphertextBlob"]
        assert asked(needs(installation, "kms", "Decrypt", ciphertext_blob=blob)) == [("kms:Decrypt", arn)]
        both = needs(installation, "kms", "ReEncrypt", ciphertext_blob=blob, destination_key_id=target)
        assert asked(both) == [("kms:ReEncryptFrom", arn), ("kms:ReEncryptTo", target)]
        assert asked(needs(installation, "kms", "Decrypt", OTHER, ciphertext_blob=blob)) == [("kms:Decrypt", "*")]


class TestIam:
    def test_a_user_is_named_with_its_path(self, installation: Installation) -> None:
        user(installation, OWNER, "ann", path="/staff/", tags=TAGS)
        arn = "arn:aws:iam::111122223333:user/staff/ann"
        (need,) = needs(
            installation, "iam", "AttachUserPolicy", user_name="ann", policy_arn="arn:aws:iam::aws:policy/A"
        )
        assert (need.action, need.resource) == ("iam:AttachUserPolicy", arn)
        assert need.keys["iam:policyarn"] == "arn:aws:iam::aws:policy/A"
        assert need.keys["aws:resourcetag/team"] == "red"
        assert asked(needs(installation, "iam", "GetUser", user_name="bob")) == [
            ("iam:GetUser", "arn:aws:iam::111122223333:user/bob")
        ]

    def test_a_user_that_is_not_named_is_the_caller(self, installation: Installation) -> None:
        ann = user(installation, OWNER, "ann", path="/staff/")
        found = needs(installation, "iam", "CreateAccessKey", ann)
        assert asked(found) == [("iam:CreateAccessKey", "arn:aws:iam::111122223333:user/staff/ann")]

    def test_a_user_that_moves_needs_both_names(self, installation: Installation) -> None:
        user(installation, OWNER, "ann", path="/staff/")
        found = needs(installation, "iam", "UpdateUser", user_name="ann", new_user_name="bob")
        prefix = "arn:aws:iam::111122223333:user/staff/"
        assert asked(found) == [("iam:UpdateUser", f"{prefix}ann"), ("iam:UpdateUser", f"{prefix}bob")]

    def test_a_new_role_with_tags_needs_both(self, installation: Installation) -> None:
        found = needs(installation, "iam", "CreateRole", role_name="backup", path="/jobs/", tags=TAGS)
        arn = "arn:aws:iam::111122223333:role/jobs/backup"
        assert asked(found) == [("iam:CreateRole", arn), ("iam:TagRole", arn)]


class TestStsAndRbin:
    def test_a_role_is_asked_through_its_trust(self, installation: Installation) -> None:
        trust = policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "444455556666"}})
        perform(installation, OWNER, "iam", "CreateRole", role_name="backup", assume_role_policy_document=trust)
        arn = "arn:aws:iam::111122223333:role/backup"
        need, tagging = needs(
            installation, "sts", "AssumeRole", OTHER, role_arn=arn, role_session_name="s", external_id="42", tags=TAGS
        )
        assert asked([need, tagging]) == [("sts:AssumeRole", arn), ("sts:TagSession", arn)]
        assert (need.resource_account, need.resource_policy, need.policy_kind) == (
            "111122223333",
            trust,
            PolicyKind.TRUST,
        )
        assert need.keys["sts:externalid"] == "42"
        assert need.keys["sts:rolesessionname"] == "s"

    def test_who_calls_needs_nothing(self, installation: Installation) -> None:
        assert needs(installation, "sts", "GetCallerIdentity") == []

    def test_a_rule_is_named_by_its_account_and_known_by_its_type(self, installation: Installation) -> None:
        week = {"RetentionPeriodValue": 7, "RetentionPeriodUnit": "DAYS"}
        ann = user(installation, OWNER, "ann", EVERYTHING)
        rule = perform(
            installation, ann, "rbin", "CreateRule", retention_period=week, resource_type="EBS_SNAPSHOT", tags=TAGS
        )
        (need,) = needs(installation, "rbin", "DeleteRule", ann, identifier=rule["Identifier"])
        assert need.resource == f"arn:aws:rbin:eu-central-1:111122223333:rule/{rule['Identifier']}"
        assert need.keys == {"rbin:attribute/resourcetype": "EBS_SNAPSHOT", "aws:resourcetag/team": "red"}
