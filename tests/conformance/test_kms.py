"""KMS through unmodified boto3: what its model alone does not say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from tests.conformance.faults import expect_refusal
from tests.server_process import Client, ServerProcess


@pytest.fixture(scope="module")
def kms(server: ServerProcess) -> Client:
    return server.client("kms")


def test_a_deletion_waits_30_days_unless_told_otherwise(kms: Client) -> None:
    for window, days in (({}, 30), ({"PendingWindowInDays": 7}, 7), ({"PendingWindowInDays": 30}, 30)):
        key_id = kms.create_key()["KeyMetadata"]["KeyId"]
        answer = kms.schedule_key_deletion(KeyId=key_id, **window)
        assert (answer["KeyState"], answer["PendingWindowInDays"]) == ("PendingDeletion", days)
        waits = answer["DeletionDate"] - datetime.now(UTC)
        assert timedelta(days=days) - timedelta(minutes=1) < waits <= timedelta(days=days)


def test_a_deletion_waits_7_to_30_days(kms: Client) -> None:
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    for days, bound in ((6, "greater than or equal to 7"), (31, "less than or equal to 30")):
        with pytest.raises(ClientError, match=f"pendingWindowInDays.*{bound}"):
            kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=days)
    assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"] == "Enabled"


def test_a_dry_run_that_would_succeed_is_412(kms: Client) -> None:
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    with expect_refusal("DryRunOperationException", 412):
        kms.encrypt(KeyId=key_id, Plaintext=b"x", DryRun=True)
    kms.disable_key(KeyId=key_id)
    with expect_refusal("DisabledException", 400):
        kms.encrypt(KeyId=key_id, Plaintext=b"x", DryRun=True)
