"""EC2's XML, byte for byte and through botocore's parser."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import EC2QueryParser

from snapstone.wire.faults import CodedFault
from snapstone.wire.http import Response
from snapstone.wire.models import load_operations
from snapstone.wire.xml_answers import answer, answer_fault, xml_text
from tests.unit.wire.requests import REQUEST_ID

OPERATIONS = load_operations("ec2", ["DescribeSnapshots", "DeleteSnapshot", "DescribeRegions"])
MODEL = ServiceModel(Loader().load_service_model("ec2", "service-2"))


def parsed(response: Response, operation: str) -> dict[str, Any]:
    raw = {"status_code": response.status, "headers": dict(response.headers), "body": b"".join(response.body)}
    document: dict[str, Any] = EC2QueryParser().parse(raw, MODEL.operation_model(operation).output_shape)
    return document


def test_an_answer_byte_for_byte() -> None:
    output = {"Regions": [{"RegionName": "eu-west-1", "Endpoint": "127.0.0.1", "OptInStatus": None}]}
    response = answer(OPERATIONS["DescribeRegions"], output, REQUEST_ID)
    assert response.status == 200
    assert b"".join(response.body).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<requestId>{REQUEST_ID}</requestId><regionInfo><item><regionName>eu-west-1</regionName>"
        "<regionEndpoint>127.0.0.1</regionEndpoint></item></regionInfo></DescribeRegionsResponse>"
    )
    assert ("Content-Type", "text/xml;charset=UTF-8") in response.headers


def test_botocore_reads_every_type() -> None:
    snapshot = {
        "SnapshotId": "snap-1",
        "StartTime": 1_767_323_045_007,
        "Encrypted": False,
        "VolumeSize": 8,
        "FullSnapshotSizeInBytes": 2**40,
        "Description": "a <b> & \"c\" 'd'\r\n]]> 東\x00\x0b\ud800",
        "Tags": [{"Key": "k", "Value": ""}],
        "StateMessage": None,
    }
    output = {"Snapshots": [snapshot, {"SnapshotId": "snap-2", "Description": ""}], "NextToken": None}
    document = parsed(answer(OPERATIONS["DescribeSnapshots"], output, REQUEST_ID), "DescribeSnapshots")
    assert document["Snapshots"] == [
        {
            "SnapshotId": "snap-1",
            "StartTime": datetime(2026, 1, 2, 3, 4, 5, 7_000, UTC),
            "Encrypted": False,
            "VolumeSize": 8,
            "FullSnapshotSizeInBytes": 2**40,
            "Description": "a <b> & \"c\" 'd'\r\n]]> 東",
            "Tags": [{"Key": "k", "Value": ""}],
        },
        {"SnapshotId": "snap-2", "Description": ""},
    ]
    assert "NextToken" not in document
    assert document["ResponseMetadata"]["RequestId"] == REQUEST_ID


def test_timestamps_have_milliseconds() -> None:
    output = {"Snapshots": [{"StartTime": 1_767_323_045_000}]}
    body = b"".join(answer(OPERATIONS["DescribeSnapshots"], output, REQUEST_ID).body)
    assert b"<startTime>2026-01-02T03:04:05.000Z</startTime>" in body


def test_an_empty_set_is_an_empty_list() -> None:
    assert (
        parsed(answer(OPERATIONS["DescribeSnapshots"], {"Snapshots": []}, REQUEST_ID), "DescribeSnapshots")["Snapshots"]
        == []
    )


@pytest.mark.parametrize("output", [None, {}])
def test_an_operation_without_output_returns_true(output: dict[str, object] | None) -> None:
    body = b"".join(answer(OPERATIONS["DeleteSnapshot"], output, REQUEST_ID).body).decode()
    assert body.endswith(f"<requestId>{REQUEST_ID}</requestId><return>true</return></DeleteSnapshotResponse>")


def test_a_fault_byte_for_byte_and_through_botocore() -> None:
    response = answer_fault(CodedFault("InvalidParameterValue", 400, "a <b>"), REQUEST_ID)
    assert b"".join(response.body).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>InvalidParameterValue</Code>'
        f"<Message>a &lt;b&gt;</Message></Error></Errors><RequestID>{REQUEST_ID}</RequestID></Response>"
    )
    document = parsed(response, "DescribeSnapshots")
    assert document["Error"] == {"Code": "InvalidParameterValue", "Message": "a <b>"}
    assert document["ResponseMetadata"]["RequestId"] == REQUEST_ID


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_characters_that_xml_forbids_are_dropped(character: str) -> None:
    assert xml_text(f"a{character}b") == "ab"


def test_tab_and_line_feed_stay_and_a_carriage_return_is_written_as_a_reference() -> None:
    assert xml_text("\t\n\r") == "\t\n&#13;"
