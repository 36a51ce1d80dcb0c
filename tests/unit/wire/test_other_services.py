"""Services that are not spoken are refused in words their own clients can read."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.wire.boto import GatewayClient
from tests.unit.wire.test_gateway import Operations, gateway


def call(client: Any, service: str) -> None:
    operation, members = {
        "s3": ("get_object", {"Bucket": "b", "Key": "k"}),
        "sns": ("list_topics", {}),
        "dynamodb": ("list_tables", {}),
    }[service]
    getattr(client, operation)(**members)


@pytest.mark.parametrize("service", ["s3", "sns", "dynamodb"])
def test_boto3_gets_a_readable_501(service: str) -> None:
    operations = Operations()
    with pytest.raises(ClientError) as caught:
        call(GatewayClient(gateway(operations), service).client, service)
    response: Any = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert response["Error"]["Code"] == "NotImplemented"
    assert f"AWS_ENDPOINT_URL_{service.upper()}" in response["Error"]["Message"]
    assert operations.calls == []
