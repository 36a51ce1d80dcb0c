"""One command of each operation offered, as steps that any client can take: boto3, and two releases of the AWS CLI."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from tests.conformance.given import A, aggregate, checksum

Call = Callable[..., Any]
"""`call(service, operation, **members)`: the answer of one operation, blobs as bytes."""

FULL_ACCESS: Final = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)
READ_ONLY: Final = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]}
)


def trust(account_id: str) -> str:
    """A trust policy for an account."""
    statement = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account_id}:root"}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def blocks(call: Call) -> tuple[str, str]:
    """The six operations of the EBS direct APIs; returns two snapshots of one lineage."""
    first = _snapshot(call, {0: A, 5: A})
    second = _snapshot(call, {7: A}, ParentSnapshotId=first)
    assert [e["BlockIndex"] for e in call("ebs", "ListSnapshotBlocks", SnapshotId=second)["Blocks"]] == [0, 5, 7]
    [entry] = call("ebs", "ListChangedBlocks", FirstSnapshotId=first, SecondSnapshotId=second)["ChangedBlocks"]
    got = call("ebs", "GetSnapshotBlock", SnapshotId=second, BlockIndex=7, BlockToken=entry["SecondBlockToken"])
    assert (got["BlockData"], got["Checksum"]) == (A, checksum(A))
    return first, second


def _snapshot(call: Call, written: dict[int, bytes], **members: Any) -> str:
    snapshot_id = str(call("ebs", "StartSnapshot", VolumeSize=1, **members)["SnapshotId"])
    for block_index, content in written.items():
        call(
            *("ebs", "PutSnapshotBlock"),
            SnapshotId=snapshot_id,
            BlockIndex=block_index,
            BlockData=content,
            DataLength=len(content),
            Checksum=checksum(content),
            ChecksumAlgorithm="SHA256",
        )
    answer = call(
        *("ebs", "CompleteSnapshot"),
        SnapshotId=snapshot_id,
        ChangedBlocksCount=len(written),
        Checksum=aggregate(written),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    assert answer == {"Status": "completed"}
    return snapshot_id


def snapshots(call: Call) -> None:
    """EC2: describing, sharing, tagging, copying, locking, archiving, the recycle bin, and the regions' settings."""
    first, second = blocks(call)
    assert {each["SnapshotId"] for each in _described(call)} >= {first, second}
    _tags(call, first)
    _shares(call, first)
    _places(call)
    _defaults(call)
    _locks(call, first)
    _tiers(call, first)
    _copies(call, first)
    _recycle_bin(call, second)
    _locked_rule(call)
    call("ec2", "DeleteSnapshot", SnapshotId=first)
    assert first not in {each["SnapshotId"] for each in _described(call)}


def _described(call: Call) -> list[Any]:
    found: list[Any] = call("ec2", "DescribeSnapshots", OwnerIds=["self"])["Snapshots"]
    return found


def _tags(call: Call, snapshot_id: str) -> None:
    call("ec2", "CreateTags", Resources=[snapshot_id], Tags=[{"Key": "team", "Value": "storage"}])
    [tag] = call("ec2", "DescribeTags", Filters=[{"Name": "resource-id", "Values": [snapshot_id]}])["Tags"]
    assert (tag["Key"], tag["Value"], tag["ResourceType"]) == ("team", "storage", "snapshot")
    call("ec2", "DeleteTags", Resources=[snapshot_id], Tags=[{"Key": "team"}])
    assert not call("ec2", "DescribeTags", Filters=[{"Name": "resource-id", "Values": [snapshot_id]}])["Tags"]


def _shares(call: Call, snapshot_id: str) -> None:
    named = {"SnapshotId": snapshot_id, "Attribute": "createVolumePermission"}
    call("ec2", "ModifySnapshotAttribute", **named, OperationType="add", UserIds=["999988887777"])
    shown = call("ec2", "DescribeSnapshotAttribute", **named)["CreateVolumePermissions"]
    assert shown == [{"UserId": "999988887777"}]
    call("ec2", "ResetSnapshotAttribute", **named)
    assert not call("ec2", "DescribeSnapshotAttribute", **named)["CreateVolumePermissions"]
    call("ec2", "EnableSnapshotBlockPublicAccess", State="block-all-sharing")
    assert call("ec2", "GetSnapshotBlockPublicAccessState")["State"] == "block-all-sharing"
    assert call("ec2", "DisableSnapshotBlockPublicAccess")["State"] == "unblocked"


def _places(call: Call) -> None:
    assert "eu-west-1" in {each["RegionName"] for each in call("ec2", "DescribeRegions")["Regions"]}
    zones = call("ec2", "DescribeAvailabilityZones")["AvailabilityZones"]
    assert {each["State"] for each in zones} == {"available"}
    assert call("ec2", "DescribeInstances").get("Reservations", []) == []
    assert call("ec2", "DescribeVolumes").get("Volumes", []) == []


def _defaults(call: Call) -> None:
    assert call("ec2", "EnableEbsEncryptionByDefault")["EbsEncryptionByDefault"] is True
    assert call("ec2", "GetEbsEncryptionByDefault")["EbsEncryptionByDefault"] is True
    assert call("ec2", "DisableEbsEncryptionByDefault")["EbsEncryptionByDefault"] is False
    assert call("ec2", "GetEbsDefaultKmsKeyId")["KmsKeyId"]
    key = call("kms", "CreateKey", Description="the region's")["KeyMetadata"]
    assert call("ec2", "ModifyEbsDefaultKmsKeyId", KmsKeyId=key["KeyId"])["KmsKeyId"] == key["Arn"]
    assert call("ec2", "ResetEbsDefaultKmsKeyId")["KmsKeyId"] != key["Arn"]


def _locks(call: Call, snapshot_id: str) -> None:
    locked = call("ec2", "LockSnapshot", SnapshotId=snapshot_id, LockMode="governance", LockDuration=1)
    assert locked["LockState"] == "governance"
    [shown] = call("ec2", "DescribeLockedSnapshots", SnapshotIds=[snapshot_id])["Snapshots"]
    assert shown["SnapshotId"] == snapshot_id
    assert call("ec2", "UnlockSnapshot", SnapshotId=snapshot_id)["SnapshotId"] == snapshot_id


def _tiers(call: Call, snapshot_id: str) -> None:
    call("ec2", "ModifySnapshotTier", SnapshotId=snapshot_id, StorageTier="archive")
    [shown] = call("ec2", "DescribeSnapshotTierStatus", Filters=[{"Name": "snapshot-id", "Values": [snapshot_id]}])[
        "SnapshotTierStatuses"
    ]
    assert shown["SnapshotId"] == snapshot_id
    restored = call("ec2", "RestoreSnapshotTier", SnapshotId=snapshot_id, PermanentRestore=True)
    assert restored["SnapshotId"] == snapshot_id


def _copies(call: Call, snapshot_id: str) -> None:
    copy = call("ec2", "CopySnapshot", SourceRegion=_region(call), SourceSnapshotId=snapshot_id)["SnapshotId"]
    assert copy != snapshot_id
    call("ec2", "DeleteSnapshot", SnapshotId=copy)


def _region(call: Call) -> str:
    return str(call("ec2", "DescribeAvailabilityZones")["AvailabilityZones"][0]["RegionName"])


def _recycle_bin(call: Call, snapshot_id: str) -> None:
    rule = call(
        *("rbin", "CreateRule"),
        ResourceType="EBS_SNAPSHOT",
        RetentionPeriod={"RetentionPeriodValue": 7, "RetentionPeriodUnit": "DAYS"},
    )
    named = {"Identifier": rule["Identifier"]}
    assert call("rbin", "GetRule", **named)["Identifier"] == rule["Identifier"]
    assert rule["Identifier"] in {
        e["Identifier"] for e in call("rbin", "ListRules", ResourceType="EBS_SNAPSHOT")["Rules"]
    }
    call("rbin", "UpdateRule", **named, Description="a week")
    account_id = call("sts", "GetCallerIdentity")["Account"]
    arn = f"arn:aws:rbin:{_region(call)}:{account_id}:rule/{rule['Identifier']}"
    call("rbin", "TagResource", ResourceArn=arn, Tags=[{"Key": "team", "Value": "storage"}])
    assert call("rbin", "ListTagsForResource", ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "storage"}]
    call("rbin", "UntagResource", ResourceArn=arn, TagKeys=["team"])
    call("ec2", "DeleteSnapshot", SnapshotId=snapshot_id)
    [binned] = call("ec2", "ListSnapshotsInRecycleBin", SnapshotIds=[snapshot_id])["Snapshots"]
    assert binned["SnapshotId"] == snapshot_id
    assert call("ec2", "RestoreSnapshotFromRecycleBin", SnapshotId=snapshot_id)["SnapshotId"] == snapshot_id
    call("rbin", "DeleteRule", **named)
    call("ec2", "DeleteSnapshot", SnapshotId=snapshot_id)


def _locked_rule(call: Call) -> None:
    rule = call(
        *("rbin", "CreateRule"),
        ResourceType="EBS_SNAPSHOT",
        RetentionPeriod={"RetentionPeriodValue": 7, "RetentionPeriodUnit": "DAYS"},
    )
    named = {"Identifier": rule["Identifier"]}
    delay = {"UnlockDelay": {"UnlockDelayValue": 7, "UnlockDelayUnit": "DAYS"}}
    assert call("rbin", "LockRule", **named, LockConfiguration=delay)["LockState"] == "locked"
    assert call("rbin", "UnlockRule", **named)["LockState"] == "pending_unlock"


def keys(call: Call) -> None:
    """KMS: a key's life, its aliases, policy, tags, rotation, and what it encrypts."""
    key_id = str(call("kms", "CreateKey", Description="one")["KeyMetadata"]["KeyId"])
    named = {"KeyId": key_id}
    call("kms", "UpdateKeyDescription", **named, Description="two")
    assert call("kms", "DescribeKey", **named)["KeyMetadata"]["Description"] == "two"
    assert key_id in {each["KeyId"] for each in call("kms", "ListKeys")["Keys"]}
    _aliases(call, key_id)
    policy = call("kms", "GetKeyPolicy", **named, PolicyName="default")["Policy"]
    call("kms", "PutKeyPolicy", **named, PolicyName="default", Policy=policy)
    assert call("kms", "ListKeyPolicies", **named)["PolicyNames"] == ["default"]
    call("kms", "TagResource", **named, Tags=[{"TagKey": "team", "TagValue": "storage"}])
    assert call("kms", "ListResourceTags", **named)["Tags"] == [{"TagKey": "team", "TagValue": "storage"}]
    call("kms", "UntagResource", **named, TagKeys=["team"])
    _rotation(call, key_id)
    _cryptography(call, key_id)
    call("kms", "DisableKey", **named)
    assert call("kms", "DescribeKey", **named)["KeyMetadata"]["KeyState"] == "Disabled"
    call("kms", "EnableKey", **named)
    assert call("kms", "ScheduleKeyDeletion", **named, PendingWindowInDays=7)["KeyState"] == "PendingDeletion"
    call("kms", "CancelKeyDeletion", **named)
    assert call("kms", "DescribeKey", **named)["KeyMetadata"]["KeyState"] == "Disabled"


def _aliases(call: Call, key_id: str) -> None:
    name = f"alias/of-{key_id}"
    other = call("kms", "CreateKey")["KeyMetadata"]["KeyId"]
    call("kms", "CreateAlias", AliasName=name, TargetKeyId=key_id)
    assert [each["AliasName"] for each in call("kms", "ListAliases", KeyId=key_id)["Aliases"]] == [name]
    call("kms", "UpdateAlias", AliasName=name, TargetKeyId=other)
    assert call("kms", "DescribeKey", KeyId=name)["KeyMetadata"]["KeyId"] == other
    call("kms", "DeleteAlias", AliasName=name)


def _rotation(call: Call, key_id: str) -> None:
    call("kms", "EnableKeyRotation", KeyId=key_id)
    assert call("kms", "GetKeyRotationStatus", KeyId=key_id)["KeyRotationEnabled"] is True
    call("kms", "DisableKeyRotation", KeyId=key_id)
    call("kms", "RotateKeyOnDemand", KeyId=key_id)
    assert len(call("kms", "ListKeyRotations", KeyId=key_id)["Rotations"]) == 1


def _cryptography(call: Call, key_id: str) -> None:
    sealed = call("kms", "Encrypt", KeyId=key_id, Plaintext=b"secret")["CiphertextBlob"]
    other = call("kms", "CreateKey")["KeyMetadata"]["KeyId"]
    again = call("kms", "ReEncrypt", CiphertextBlob=sealed, DestinationKeyId=other)["CiphertextBlob"]
    assert call("kms", "Decrypt", CiphertextBlob=again)["Plaintext"] == b"secret"
    made = call("kms", "GenerateDataKey", KeyId=key_id, KeySpec="AES_256")
    assert call("kms", "Decrypt", CiphertextBlob=made["CiphertextBlob"])["Plaintext"] == made["Plaintext"]
    hidden = call("kms", "GenerateDataKeyWithoutPlaintext", KeyId=key_id, KeySpec="AES_256")["CiphertextBlob"]
    assert len(call("kms", "Decrypt", CiphertextBlob=hidden)["Plaintext"]) == 32
    assert len(call("kms", "GenerateRandom", NumberOfBytes=16)["Plaintext"]) == 16


def sessions(call: Call) -> None:
    """STS: who calls, and temporary credentials."""
    account_id = call("sts", "GetCallerIdentity")["Account"]
    call("iam", "CreateRole", RoleName="Carrier", AssumeRolePolicyDocument=trust(account_id))
    role_arn = f"arn:aws:iam::{account_id}:role/Carrier"
    assumed = call("sts", "AssumeRole", RoleArn=role_arn, RoleSessionName="tests")
    assert assumed["Credentials"]["AccessKeyId"].startswith("ASIA")
    session_key = call("sts", "GetSessionToken")["Credentials"]["AccessKeyId"]
    assert call("sts", "GetAccessKeyInfo", AccessKeyId=session_key)["Account"] == account_id
    call("iam", "DeleteRole", RoleName="Carrier")


def identities(call: Call) -> None:
    """IAM: users with their keys, roles, policies of each kind, tags and boundaries."""
    account_id = call("sts", "GetCallerIdentity")["Account"]
    policy_arn = call("iam", "CreatePolicy", PolicyName="Reader", PolicyDocument=READ_ONLY)["Policy"]["Arn"]
    assert call("iam", "GetPolicy", PolicyArn=policy_arn)["Policy"]["DefaultVersionId"] == "v1"
    assert policy_arn in {each["Arn"] for each in call("iam", "ListPolicies", Scope="Local")["Policies"]}
    _versions(call, policy_arn)
    _user(call, policy_arn)
    _role(call, policy_arn, account_id)
    call("iam", "DeletePolicy", PolicyArn=policy_arn)
    assert call("iam", "ListAccountAliases")["AccountAliases"] == []


def _versions(call: Call, policy_arn: str) -> None:
    named = {"PolicyArn": policy_arn}
    call("iam", "CreatePolicyVersion", **named, PolicyDocument=FULL_ACCESS)
    assert {each["VersionId"] for each in call("iam", "ListPolicyVersions", **named)["Versions"]} == {"v1", "v2"}
    call("iam", "SetDefaultPolicyVersion", **named, VersionId="v2")
    assert call("iam", "GetPolicyVersion", **named, VersionId="v2")["PolicyVersion"]["Document"] == json.loads(
        FULL_ACCESS
    )
    call("iam", "DeletePolicyVersion", **named, VersionId="v1")


def _user(call: Call, policy_arn: str) -> None:
    named = {"UserName": "ada"}
    call("iam", "CreateUser", **named)
    assert call("iam", "GetUser", **named)["User"]["UserName"] == "ada"
    assert "ada" in {each["UserName"] for each in call("iam", "ListUsers")["Users"]}
    call("iam", "TagUser", **named, Tags=[{"Key": "team", "Value": "storage"}])
    assert call("iam", "ListUserTags", **named)["Tags"] == [{"Key": "team", "Value": "storage"}]
    call("iam", "UntagUser", **named, TagKeys=["team"])
    key_id = call("iam", "CreateAccessKey", **named)["AccessKey"]["AccessKeyId"]
    call("iam", "UpdateAccessKey", **named, AccessKeyId=key_id, Status="Inactive")
    [key] = call("iam", "ListAccessKeys", **named)["AccessKeyMetadata"]
    assert (key["AccessKeyId"], key["Status"]) == (key_id, "Inactive")
    call("iam", "DeleteAccessKey", **named, AccessKeyId=key_id)
    call("iam", "PutUserPolicy", **named, PolicyName="inline", PolicyDocument=READ_ONLY)
    assert call("iam", "ListUserPolicies", **named)["PolicyNames"] == ["inline"]
    assert call("iam", "GetUserPolicy", **named, PolicyName="inline")["PolicyDocument"] == json.loads(READ_ONLY)
    call("iam", "DeleteUserPolicy", **named, PolicyName="inline")
    call("iam", "AttachUserPolicy", **named, PolicyArn=policy_arn)
    assert [p["PolicyArn"] for p in call("iam", "ListAttachedUserPolicies", **named)["AttachedPolicies"]] == [
        policy_arn
    ]
    call("iam", "DetachUserPolicy", **named, PolicyArn=policy_arn)
    call("iam", "PutUserPermissionsBoundary", **named, PermissionsBoundary=policy_arn)
    call("iam", "DeleteUserPermissionsBoundary", **named)
    call("iam", "UpdateUser", **named, NewUserName="grace")
    call("iam", "DeleteUser", UserName="grace")


def _role(call: Call, policy_arn: str, account_id: str) -> None:
    named = {"RoleName": "Operator"}
    call("iam", "CreateRole", **named, AssumeRolePolicyDocument=trust(account_id))
    assert call("iam", "GetRole", **named)["Role"]["RoleName"] == "Operator"
    assert "Operator" in {each["RoleName"] for each in call("iam", "ListRoles")["Roles"]}
    call("iam", "UpdateRole", **named, Description="operates", MaxSessionDuration=7200)
    call("iam", "UpdateAssumeRolePolicy", **named, PolicyDocument=trust(account_id))
    call("iam", "TagRole", **named, Tags=[{"Key": "team", "Value": "storage"}])
    assert call("iam", "ListRoleTags", **named)["Tags"] == [{"Key": "team", "Value": "storage"}]
    call("iam", "UntagRole", **named, TagKeys=["team"])
    call("iam", "PutRolePolicy", **named, PolicyName="inline", PolicyDocument=READ_ONLY)
    assert call("iam", "ListRolePolicies", **named)["PolicyNames"] == ["inline"]
    assert call("iam", "GetRolePolicy", **named, PolicyName="inline")["PolicyDocument"] == json.loads(READ_ONLY)
    call("iam", "DeleteRolePolicy", **named, PolicyName="inline")
    call("iam", "AttachRolePolicy", **named, PolicyArn=policy_arn)
    assert [p["PolicyArn"] for p in call("iam", "ListAttachedRolePolicies", **named)["AttachedPolicies"]] == [
        policy_arn
    ]
    call("iam", "DetachRolePolicy", **named, PolicyArn=policy_arn)
    call("iam", "PutRolePermissionsBoundary", **named, PermissionsBoundary=policy_arn)
    call("iam", "DeleteRolePermissionsBoundary", **named)
    call("iam", "DeleteRole", **named)


SUBJECTS: Final = (snapshots, keys, sessions, identities)
"""Together they take every operation there is."""
