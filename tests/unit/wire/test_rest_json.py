"""rest-json: members out of requests, answers and faults byte for byte."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import RestJSONParser

from snapstone.core.errors import InvalidContentEncodingError
from snapstone.wire.faults import FRAMEWORK, MODELLED, VALIDATION, EbsFault
from snapstone.wire.models import load_operations
from snapstone.wire.refusals import SerializationError
from snapstone.wire.rest_json import Route, answer, answer_fault, read_members
from tests.unit.wire.requests import REQUEST_ID, MemoryBody
from tests.unit.wire.test_models import EBS

OPERATIONS = load_operations("ebs", EBS)
MODEL = ServiceModel(Loader().load_service_model("ebs", "service-2"))


def start(document: bytes | dict[str, object]) -> dict[str, object]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_members(Route(OPERATIONS["StartSnapshot"], {}), "", {}, body, MemoryBody(body))


def listed(operation: str, query: str) -> dict[str, object]:
    name = "secondSnapshotId" if operation == "ListChangedBlocks" else "snapshotId"
    return read_members(Route(OPERATIONS[operation], {name: "snap-1"}), query, {}, b"", MemoryBody())


def put(headers: dict[str, str], block_index: str = "7") -> dict[str, object]:
    route = Route(OPERATIONS["PutSnapshotBlock"], {"snapshotId": "snap-1", "blockIndex": block_index})
    return read_members(route, "", headers, b"", MemoryBody())


class TestRequests:
    def test_members_of_a_json_body(self) -> None:
        document: dict[str, object] = {
            "VolumeSize": 8,
            "Description": "Größe \U0001f4be",
            "Encrypted": False,
            "Tags": [{"Key": "a", "Value": "1", "Other": 1}, {"Key": "b"}],
            "ParentSnapshotId": None,
            "ParentSnapshot": "snap-1",
        }
        assert start(document) == {
            "VolumeSize": 8,
            "Description": "Größe \U0001f4be",
            "Encrypted": False,
            "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b"}],
        }

    def test_a_body_may_be_utf8(self) -> None:
        assert start('{"Description": "東京"}'.encode()) == {"Description": "東京"}

    def test_an_empty_body_is_an_empty_object(self) -> None:
        assert start(b"") == {}

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"[]",
            b"null",
            b"\xff{}",
            '{"VolumeSize": 1}'.encode("utf-16"),
            b'{"VolumeSize": NaN}',
            b'{"VolumeSize": ' + b"9" * 5_000 + b"}",
            b'{"Tags": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            b'{"VolumeSize": 1.0}',
            b'{"VolumeSize": "1"}',
            b'{"VolumeSize": true}',
            b'{"VolumeSize": 9223372036854775808}',
            b'{"Timeout": 2147483648}',
            b'{"Timeout": -2147483649}',
            b'{"Encrypted": "false"}',
            b'{"Encrypted": 0}',
            b'{"Description": 5}',
            b'{"Description": "\\ud800"}',
            b'{"Tags": {}}',
            b'{"Tags": ["a"]}',
            b'{"Tags": [{"Key": 1}]}',
        ],
    )
    def test_what_is_not_of_its_type_is_a_serialization_fault(self, body: bytes) -> None:
        with pytest.raises(SerializationError) as caught:
            start(body)
        assert len(caught.value.message) < 1_000

    def test_the_extremes_of_a_type_are_accepted(self) -> None:
        assert start(b'{"VolumeSize": 9223372036854775807, "Timeout": -2147483648}') == {
            "VolumeSize": 2**63 - 1,
            "Timeout": -(2**31),
        }

    def test_members_of_a_query(self) -> None:
        query = "pageToken=a%2B%2F%3D+b&maxResults=100&startingBlockIndex=-1&maxResults=200&X-Amz-Date=x&unknown"
        assert listed("ListSnapshotBlocks", query) == {
            "SnapshotId": "snap-1",
            "NextToken": "a+/=+b",
            "MaxResults": 100,
            "StartingBlockIndex": -1,
        }

    @pytest.mark.parametrize("text", ["", "ten", "1.0", "0x10", "1_000", "٣", "--1", "-", "9" * 30, "9" * 5_000, " 1"])
    def test_an_integer_in_a_query_is_decimal(self, text: str) -> None:
        with pytest.raises(SerializationError):
            listed("ListSnapshotBlocks", "maxResults=" + text)

    @pytest.mark.parametrize("query", ["", "firstSnapshotId=", "firstSnapshotId"])
    def test_an_empty_first_snapshot_is_an_absent_one(self, query: str) -> None:
        assert listed("ListChangedBlocks", query) == {"SecondSnapshotId": "snap-1"}

    def test_an_empty_block_token_is_one(self) -> None:
        route = Route(OPERATIONS["GetSnapshotBlock"], {"snapshotId": "snap-1", "blockIndex": "0"})
        members = read_members(route, "blockToken=", {}, b"", MemoryBody())
        assert members == {"SnapshotId": "snap-1", "BlockIndex": 0, "BlockToken": ""}

    def test_members_of_headers_and_the_body_unread(self) -> None:
        headers = {"x-amz-data-length": "524288", "x-amz-checksum": "c", "x-amz-checksum-algorithm": "SHA1"}
        members = put(headers)
        body = members.pop("BlockData")
        assert isinstance(body, MemoryBody)
        assert body.read_count == 0
        assert members == {
            "SnapshotId": "snap-1",
            "BlockIndex": 7,
            "DataLength": 524_288,
            "Checksum": "c",
            "ChecksumAlgorithm": "SHA1",
        }

    @pytest.mark.parametrize(("headers", "block_index"), [({"x-amz-progress": "many"}, "7"), ({}, "seven"), ({}, "")])
    def test_a_header_or_segment_that_is_no_integer_is_refused(self, headers: dict[str, str], block_index: str) -> None:
        with pytest.raises(SerializationError):
            put(headers, block_index)

    @pytest.mark.parametrize("encoding", ["gzip", "aws-chunked", "identity,gzip"])
    def test_an_encoded_block_is_refused(self, encoding: str) -> None:
        with pytest.raises(InvalidContentEncodingError):
            put({"content-encoding": encoding})

    @pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
    def test_identity_is_no_encoding(self, encoding: str) -> None:
        assert "BlockData" in put({"content-encoding": encoding})


@dataclass
class Buffer:
    """Stands for a borrowed block buffer."""

    payload: memoryview
    released: list[bool] = field(default_factory=list)

    def release(self) -> None:
        self.released.append(True)


class TestAnswers:
    def test_absent_members_are_null_in_alphabetical_order(self) -> None:
        output = {"SnapshotId": "snap-1", "StartTime": 1_790_337_440_320, "VolumeSize": 1, "BlockSize": 524_288}
        response = answer(OPERATIONS["StartSnapshot"], output, REQUEST_ID)
        assert response.status == 201
        assert b"".join(response.body) == (
            b'{"BlockSize":524288,"Description":null,"KmsKeyArn":null,"OwnerId":null,"ParentSnapshotId":null,'
            b'"SnapshotId":"snap-1","SseType":null,"StartTime":1790337440.320,"Status":null,"Tags":null,"VolumeSize":1}'
        )
        assert response.headers == [("x-amzn-RequestId", REQUEST_ID), ("Content-Type", "application/json")]

    def test_changed_blocks_have_the_member_that_no_model_knows(self) -> None:
        output = {"BlockSize": 524_288, "ChangedBlocks": [], "ExpiryTime": 1_000, "NextToken": "t", "VolumeSize": 1}
        assert b"".join(answer(OPERATIONS["ListChangedBlocks"], output, REQUEST_ID).body) == (
            b'{"BlockSize":524288,"ChangedBlocks":[],"ExpiryTime":1.000,"LastEvaluatedBlockIndex":null,'
            b'"NextToken":"t","VolumeSize":1}'
        )

    def test_a_put_answers_headers_and_an_empty_object(self) -> None:
        response = answer(OPERATIONS["PutSnapshotBlock"], {"Checksum": "c=", "ChecksumAlgorithm": "SHA256"}, REQUEST_ID)
        assert (response.status, b"".join(response.body)) == (201, b"{}")
        assert ("x-amz-Checksum", "c=") in response.headers
        assert ("x-amz-Checksum-Algorithm", "SHA256") in response.headers

    def test_a_block_is_its_buffers_own_bytes(self) -> None:
        buffer = Buffer(memoryview(bytearray(b"block")))
        output = {"DataLength": 5, "BlockData": buffer, "Checksum": "c=", "ChecksumAlgorithm": "SHA256"}
        response = answer(OPERATIONS["GetSnapshotBlock"], output, REQUEST_ID)
        assert response.body == [buffer.payload]
        assert response.body[0] is buffer.payload
        assert {("x-amz-Data-Length", "5"), ("Content-Type", "application/octet-stream")} <= set(response.headers)
        assert buffer.released == []
        assert response.release is not None
        response.release()
        assert buffer.released == [True]

    def test_botocore_reads_an_answer(self) -> None:
        output = {"Blocks": [{"BlockIndex": 1, "BlockToken": "t"}], "ExpiryTime": 1_790_337_440_328, "VolumeSize": 3}
        response = answer(OPERATIONS["ListSnapshotBlocks"], output, REQUEST_ID)
        parsed = RestJSONParser().parse(
            {"status_code": 200, "headers": dict(response.headers), "body": b"".join(response.body)},
            MODEL.operation_model("ListSnapshotBlocks").output_shape,
        )
        assert parsed["Blocks"] == [{"BlockIndex": 1, "BlockToken": "t"}]
        assert parsed["ExpiryTime"].timestamp() == 1_790_337_440.328
        assert "NextToken" not in parsed


class TestFaults:
    def test_a_modelled_fault_has_message_and_reason(self) -> None:
        response = answer_fault(EbsFault("ValidationException", 400, MODELLED, "INVALID_BLOCK", 'a "b"'), REQUEST_ID)
        assert (response.status, b"".join(response.body)) == (400, b'{"Message":"a \\"b\\"","Reason":"INVALID_BLOCK"}')
        assert dict(response.headers)["x-amzn-ErrorType"] == (
            "ValidationException:http://internal.amazon.com/coral/com.amazon.zeppelindataservice/"
        )

    def test_a_conflict_has_no_reason(self) -> None:
        response = answer_fault(EbsFault("ConflictException", 409, MODELLED, None, "m"), REQUEST_ID)
        assert b"".join(response.body) == b'{"Message":"m"}'

    @pytest.mark.parametrize("namespace", [VALIDATION, FRAMEWORK])
    def test_other_faults_have_a_lower_case_message(self, namespace: str) -> None:
        response = answer_fault(EbsFault("X", 403, namespace, None, "m"), REQUEST_ID)
        assert b"".join(response.body) == b'{"message":"m"}'
        assert dict(response.headers)["x-amzn-ErrorType"] == f"X:http://internal.amazon.com/coral/{namespace}/"

    def test_botocore_reads_a_fault(self) -> None:
        response = answer_fault(
            EbsFault("ResourceNotFoundException", 404, MODELLED, "SNAPSHOT_NOT_FOUND", "m"), REQUEST_ID
        )
        parsed = RestJSONParser().parse(
            {
                "status_code": 404,
                "headers": {name.lower(): value for name, value in response.headers},
                "body": b"".join(response.body),
            },
            None,
        )
        assert parsed["Error"] == {"Message": "m", "Code": "ResourceNotFoundException"}
        assert parsed["ResponseMetadata"]["RequestId"] == REQUEST_ID
