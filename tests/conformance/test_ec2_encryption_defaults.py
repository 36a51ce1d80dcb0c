"""Encryption by default and the default key through boto3, region by region, and what new snapshots become."""

from __future__ import annotations

import pytest
from tests.conformance.faults import expect_refusal
from tests.conformance.given import started
from tests.server_process import Client, ServerProcess

REGION = "ap-south-1"
"""A region that no other test uses: what is set here stays."""


@pytest.fixture
def ec2(server: ServerProcess) -> Client:
    return server.client("ec2", region=REGION)


@pytest.fixture
def kms(server: ServerProcess) -> Client:
    return server.client("kms", region=REGION)


@pytest.fixture
def ebs(server: ServerProcess) -> Client:
    return server.client("ebs", region=REGION)


def key_of(ec2: Client, snapshot_id: str) -> str | None:
    [snapshot] = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert snapshot["Encrypted"] is ("KmsKeyId" in snapshot)
    key: str | None = snapshot.get("KmsKeyId")
    return key


def test_what_is_set_decides_about_new_snapshots(ec2: Client, ebs: Client, kms: Client) -> None:
    plain = started(ebs)
    assert ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
    assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"
    managed = kms.describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]["Arn"]
    assert ec2.enable_ebs_encryption_by_default()["EbsEncryptionByDefault"] is True
    under_managed = started(ebs)
    own = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/backups", TargetKeyId=own["KeyId"])
    assert ec2.modify_ebs_default_kms_key_id(KmsKeyId="alias/backups")["KmsKeyId"] == own["Arn"]
    assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == own["Arn"]
    under_own = started(ebs)
    assert ec2.reset_ebs_default_kms_key_id()["KmsKeyId"] == managed
    assert ec2.disable_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
    keys = [key_of(ec2, each) for each in (plain, under_managed, under_own, started(ebs))]
    assert keys == [None, managed, own["Arn"], None]


def test_a_key_that_cannot_be_used_is_refused_now(ec2: Client, kms: Client) -> None:
    disabled = kms.create_key()["KeyMetadata"]["Arn"]
    kms.disable_key(KeyId=disabled)
    for text in (disabled, "alias/nothing", "nonsense"):
        with expect_refusal("InvalidParameterValue", 400):
            ec2.modify_ebs_default_kms_key_id(KmsKeyId=text)
    assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"


def test_dry_runs_change_nothing(ec2: Client) -> None:
    for operation in (
        ec2.get_ebs_encryption_by_default,
        ec2.enable_ebs_encryption_by_default,
        ec2.disable_ebs_encryption_by_default,
        ec2.get_ebs_default_kms_key_id,
        ec2.reset_ebs_default_kms_key_id,
    ):
        with expect_refusal("DryRunOperation", 412):
            operation(DryRun=True)
    with expect_refusal("DryRunOperation", 412):
        ec2.modify_ebs_default_kms_key_id(KmsKeyId="alias/aws/ebs", DryRun=True)
    assert ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False


def test_another_region_is_as_it_was(ec2: Client, server: ServerProcess) -> None:
    ec2.enable_ebs_encryption_by_default()
    try:
        elsewhere = server.client("ec2", region="ap-south-2")
        assert elsewhere.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
    finally:
        ec2.disable_ebs_encryption_by_default()
