"""KMS through unmodified boto3: what its model alone does not say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
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
