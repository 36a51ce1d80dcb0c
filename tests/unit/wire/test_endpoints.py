"""Both services through unmodified boto3: what it sends is understood, what is answered it understands."""

from __future__ import annotations

import io
from typing import Any

import pytest
from botocore.exceptions import ClientError

from snapstone.core.errors import DamageError, SnapshotNotFoundError, StoreFullError, StoreLostError
from snapstone.wire.http import Request
from tests.unit.wire.boto import GatewayClient
from tests.unit.wire.requests import ENDPOINT, KEY, request
from tests.unit.wire.test_gateway import SNAPSHOT, ZERO_CHECKSUM, Operations, gateway
from tests.unit.wire.test_rest_json import Buffer

BLOCK = bytes(524_288)


@pytest.fixture
def operations() -> Operations:
    return Operations({})


@pytest.fixture
def ebs(operations: Operations) -> GatewayClient:
    return GatewayClient(gateway(operations), "ebs")


@pytest.fixture
def ec2(operations: Operations) -> GatewayClient:
    return GatewayClient(gateway(operations), "ec2")


def sent(operations: Operations) -> dict[str, object]:
    return operations.calls[-1][2]


def test_start_snapshot(ebs: GatewayClient, operations: Operations) -> None:
    operations.output = {"SnapshotId": SNAPSHOT, "StartTime": 1_767_323_045_007, "Tags": [{"Key": "k", "Value": "v"}]}
    answer = ebs.client.start_snapshot(
        VolumeSize=1,
        Description="Größe",
        Tags=[{"Key": "k", "Value": "v"}],
        ClientToken="token",
        Timeout=10,
        Encrypted=True,
    )
    assert sent(operations) == {
        "volume_size": 1,
        "description": "Größe",
        "tags": [{"Key": "k", "Value": "v"}],
        "client_token": "token",
        "timeout": 10,
        "encrypted": True,
    }
    assert (answer["SnapshotId"], answer["StartTime"].timestamp()) == (SNAPSHOT, 1_767_323_045.007)
    assert answer["Tags"] == [{"Key": "k", "Value": "v"}]
    assert "KmsKeyArn" not in answer
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201


@pytest.mark.parametrize("body", [BLOCK, io.BytesIO(BLOCK)])
@pytest.mark.parametrize("key", [KEY])
def test_put_snapshot_block(operations: Operations, body: Any, key: Any) -> None:
    operations.output = {"Checksum": ZERO_CHECKSUM, "ChecksumAlgorithm": "SHA256"}
    client = GatewayClient(gateway(operations), "ebs", key).client
    answer = client.put_snapshot_block(
        SnapshotId=SNAPSHOT,
        BlockIndex=3,
        BlockData=body,
        DataLength=524_288,
        Checksum=ZERO_CHECKSUM,
        ChecksumAlgorithm="SHA256",
        Progress=7,
    )
    members = sent(operations)
    assert (members["block_index"], members["progress"], members["data_length"]) == (3, 7, 524_288)
    assert (answer["Checksum"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (ZERO_CHECKSUM, 201)


def test_complete_snapshot(ebs: GatewayClient, operations: Operations) -> None:
    operations.output = {"Status": "completed"}
    answer = ebs.client.complete_snapshot(
        SnapshotId=SNAPSHOT,
        ChangedBlocksCount=4,
        Checksum=ZERO_CHECKSUM,
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    assert sent(operations) == {
        "snapshot_id": SNAPSHOT,
        "changed_blocks_count": 4,
        "checksum": ZERO_CHECKSUM,
        "checksum_algorithm": "SHA256",
        "checksum_aggregation_method": "LINEAR",
    }
    assert (answer["Status"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("completed", 202)


def test_list_changed_blocks(ebs: GatewayClient, operations: Operations) -> None:
    blocks = [{"BlockIndex": 1, "FirstBlockToken": None, "SecondBlockToken": "t"}]
    operations.output = {"ChangedBlocks": blocks, "ExpiryTime": 1_000, "VolumeSize": 1, "BlockSize": 524_288}
    answer = ebs.client.list_changed_blocks(
        FirstSnapshotId="snap-a", SecondSnapshotId="snap-b", NextToken="a+/=_-b", MaxResults=100, StartingBlockIndex=0
    )
    assert sent(operations) == {
        "first_snapshot_id": "snap-a",
        "second_snapshot_id": "snap-b",
        "next_token": "a+/=_-b",
        "max_results": 100,
        "starting_block_index": 0,
    }
    assert answer["ChangedBlocks"] == [{"BlockIndex": 1, "SecondBlockToken": "t"}]
    assert "LastEvaluatedBlockIndex" not in answer


def test_get_snapshot_block(ebs: GatewayClient, operations: Operations) -> None:
    operations.output = {
        "DataLength": 524_288,
        "BlockData": Buffer(memoryview(bytearray(BLOCK))),
        "Checksum": ZERO_CHECKSUM,
        "ChecksumAlgorithm": "SHA256",
    }
    answer = ebs.client.get_snapshot_block(SnapshotId=SNAPSHOT, BlockIndex=0, BlockToken="A+/=")
    assert sent(operations) == {"snapshot_id": SNAPSHOT, "block_index": 0, "block_token": "A+/="}
    assert answer["BlockData"].read() == BLOCK
    assert (answer["DataLength"], answer["Checksum"]) == (524_288, ZERO_CHECKSUM)


def test_odd_characters_in_an_id_survive_signing_and_routing(ebs: GatewayClient) -> None:
    with pytest.raises(ClientError) as caught:
        ebs.client.list_snapshot_blocks(SnapshotId="Snap-XYZ/.. %+ä:~")
    assert caught.value.response["Error"]["Message"] == (
        "1 validation error detected: Value 'Snap-XYZ/.. %+ä:~' at 'snapshotId' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: ^snap-[0-9a-f]+$"
    )


def test_a_modelled_fault_is_a_typed_exception(ebs: GatewayClient, operations: Operations) -> None:
    operations.error = SnapshotNotFoundError((SNAPSHOT,))
    with pytest.raises(ebs.client.exceptions.ResourceNotFoundException) as caught:
        ebs.client.list_snapshot_blocks(SnapshotId=SNAPSHOT)
    assert caught.value.response["Reason"] == "SNAPSHOT_NOT_FOUND"


def test_a_wrong_secret_is_an_invalid_signature(operations: Operations) -> None:
    stranger = type(KEY)(KEY.access_key_id, "guessed", KEY.account_id, True)
    for service, code in (("ebs", "InvalidSignatureException"), ("ec2", "AuthFailure")):
        client = GatewayClient(gateway(operations), service, stranger).client
        with pytest.raises(ClientError) as caught:
            client.list_snapshot_blocks(SnapshotId=SNAPSHOT) if service == "ebs" else client.describe_regions()
        assert caught.value.response["Error"]["Code"] == code
    assert operations.calls == []


def test_describe_snapshots(ec2: GatewayClient, operations: Operations) -> None:
    operations.output = {"Snapshots": [{"SnapshotId": SNAPSHOT, "State": "completed", "VolumeSize": 1}]}
    answer = ec2.client.describe_snapshots(
        SnapshotIds=[SNAPSHOT],
        OwnerIds=["self"],
        RestorableByUserIds=["all"],
        Filters=[{"Name": "tag:Name", "Values": ["a b+c", "ä&="]}],
        DryRun=False,
    )
    assert sent(operations) == {
        "snapshot_ids": [SNAPSHOT],
        "owner_ids": ["self"],
        "restorable_by_user_ids": ["all"],
        "filters": [{"Name": "tag:Name", "Values": ["a b+c", "ä&="]}],
        "dry_run": False,
    }
    assert answer["Snapshots"] == [{"SnapshotId": SNAPSHOT, "State": "completed", "VolumeSize": 1}]


def test_delete_snapshot_and_describe_regions(ec2: GatewayClient, operations: Operations) -> None:
    operations.output = None
    assert ec2.client.delete_snapshot(SnapshotId=SNAPSHOT)["ResponseMetadata"]["HTTPStatusCode"] == 200
    operations.output = {"Regions": [{"RegionName": "eu-west-1", "Endpoint": "e", "OptInStatus": "opted-in"}]}
    assert ec2.client.describe_regions(RegionNames=["eu-west-1"])["Regions"][0]["RegionName"] == "eu-west-1"


def test_an_ec2_action_that_is_not_offered(ec2: GatewayClient) -> None:
    with pytest.raises(ClientError) as caught:
        ec2.client.describe_volumes()
    assert caught.value.response["Error"]["Code"] == "InvalidAction"


@pytest.mark.parametrize("key", [KEY])
def test_presigned_urls_of_boto3(operations: Operations, key: Any) -> None:
    operations.output = {}
    app = gateway(operations)
    ebs, ec2 = GatewayClient(app, "ebs", key).client, GatewayClient(app, "ec2", key).client
    url = ebs.generate_presigned_url(
        "list_snapshot_blocks", {"SnapshotId": SNAPSHOT, "NextToken": "a+/="}, ExpiresIn=60
    )
    assert app(_bare("GET", url)).status == 200
    assert sent(operations) == {"snapshot_id": SNAPSHOT, "next_token": "a+/="}
    url = ec2.generate_presigned_url("delete_snapshot", {"SnapshotId": SNAPSHOT}, HttpMethod="GET")
    assert app(_bare("GET", url)).status == 200
    assert sent(operations) == {"snapshot_id": SNAPSHOT}


def _bare(method: str, url: str) -> Request:
    return request(method, url.removeprefix(ENDPOINT))


@pytest.mark.parametrize("service", ["ebs", "ec2"])
@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (DamageError("address", "what"), "damaged"),
        (StoreFullError("what"), "full"),
        (StoreLostError("what"), "lost"),
        (SnapshotNotFoundError((SNAPSHOT,)), None),
    ],
)
def test_trouble_with_what_is_stored_is_told_beside_the_fault_that_aws_has_for_it(
    operations: Operations, ebs: GatewayClient, ec2: GatewayClient, service: str, error: Exception, cause: str | None
) -> None:
    operations.error = error
    ask = (
        (lambda: ebs.client.list_snapshot_blocks(SnapshotId=SNAPSHOT))
        if service == "ebs"
        else ec2.client.describe_snapshots
    )
    with pytest.raises(ClientError) as caught:
        ask()
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"].get("x-snapstone-cause") == cause
