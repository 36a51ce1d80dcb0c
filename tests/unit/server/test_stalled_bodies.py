"""A body that stalls is refused, in each protocol, with a fault that unmodified AWS clients try again."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final

import boto3
import pytest
import urllib3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from snapstone.server.http.head import ConnectionLimits
from snapstone.wire.gateway import Gateway
from tests.unit.server.loopback import PATIENCE_SECONDS, listening
from tests.unit.wire.requests import KEY, REGION, EngineParts

STALL_SECONDS: Final = 0.2
SNAPSHOT: Final = "snap-0123456789abcdef0"


def read_body(engine: object, caller: object, **members: Any) -> Mapping[str, object]:
    """An operation that reads what is left of its body, if it takes one."""
    if "block_data" in members:
        members["block_data"].read_into(memoryview(bytearray(524_288)))
        return {"Checksum": "c", "ChecksumAlgorithm": "SHA256"}
    return {}


def start(client: Any) -> object:
    return client.start_snapshot(VolumeSize=1)


def put(client: Any) -> object:
    return client.put_snapshot_block(
        SnapshotId=SNAPSHOT,
        BlockIndex=0,
        BlockData=bytes(524_288),
        DataLength=524_288,
        Checksum="B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE=",
        ChecksumAlgorithm="SHA256",
    )


CALLS: Final[Mapping[str, tuple[str, str, Callable[[Any], object], tuple[int, str]]]] = {
    "ebs": ("ebs", "StartSnapshot", start, (500, "InternalServerException")),
    "ebs-block": ("ebs", "PutSnapshotBlock", put, (500, "InternalServerException")),
    "rbin": (
        "rbin",
        "ListRules",
        lambda client: client.list_rules(ResourceType="EBS_SNAPSHOT"),
        (500, "InternalServerException"),
    ),
    "ec2": ("ec2", "DescribeRegions", lambda client: client.describe_regions(), (503, "RequestTimeout")),
    "kms": ("kms", "ListKeys", lambda client: client.list_keys(), (503, "RequestTimeoutException")),
    "iam": ("iam", "ListUsers", lambda client: client.list_users(), (503, "RequestTimeout")),
    "sts": ("sts", "GetCallerIdentity", lambda client: client.get_caller_identity(), (503, "RequestTimeout")),
}
"""Service, operation, call, and the status and code of the refusal."""


class StallingClient:
    """A boto3 client whose first request stops in the middle of its body; what it was answered is kept."""

    def __init__(self, port: int, service: str, retry_mode: str) -> None:
        self._port = port
        self.attempts = 0
        self.refusal: tuple[int, str] | None = None
        self.client: Any = boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name=REGION,
            aws_access_key_id=KEY.access_key_id,
            aws_secret_access_key=KEY.secret,
            config=Config(retries={"mode": retry_mode, "total_max_attempts": 2}),
        )
        self.client.meta.events.register("before-send", self._send)
        self.client.meta.events.register("response-received", self._note)

    def _send(self, request: Any, **_: object) -> AWSResponse | None:
        self.attempts += 1
        if self.attempts > 1:
            return None
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
        connection.putrequest(request.method, request.url.partition(str(self._port))[2], skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name.lower() not in ("expect", "host"):
                connection.putheader(name, value)
        body = request.body.read() if hasattr(request.body, "read") else request.body
        connection.endheaders((body if isinstance(body, bytes) else body.encode())[:-1])
        answer = connection.getresponse()
        raw = urllib3.HTTPResponse(body=BytesIO(answer.read()), preload_content=False)
        connection.close()
        return AWSResponse(request.url, answer.status, dict(answer.getheaders()), raw)

    def _note(self, response_dict: Any, parsed_response: Any, **_: object) -> None:
        if self.attempts == 1:
            self.refusal = (response_dict["status_code"], parsed_response["Error"]["Code"])


@pytest.mark.parametrize("retry_mode", ["legacy", "standard"])
@pytest.mark.parametrize("name", CALLS)
def test_a_stalled_body_is_tried_again_by_boto3_in_every_protocol(name: str, retry_mode: str) -> None:
    service, operation, call, refusal = CALLS[name]
    table: dict[str, dict[str, Any]] = {"ebs": {}, "ec2": {}}
    table[service] = {operation: read_body}
    gateway = Gateway(EngineParts().engine(), table)
    with listening(gateway, ConnectionLimits(body_stall_seconds=STALL_SECONDS)) as (_, port):
        client = StallingClient(port, service, retry_mode)
        call(client.client)
    assert client.refusal == refusal
    assert client.attempts == 2
