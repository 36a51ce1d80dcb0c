"""The bytes themselves: envelopes, nulls, spelling, framing and connections.

Source: docs/aws-behaviour/signing-and-protocols.md, WIRE and ERR.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from uuid import UUID, uuid4

import pytest
from tests.conformance.faults import NO_SNAPSHOT, constraint_message, no_longer_than
from tests.conformance.given import ZERO, A, B, checksum, complete, completed, content, put, started, tokens
from tests.conformance.raw_client import ANSWER_LIMIT_SECONDS, UNSIGNED_PAYLOAD, Answer, RawClient, RawRequest
from tests.server_process import Client, ServerProcess

JSON = {"Content-Type": "application/json"}
CORAL = "http://internal.amazon.com/coral/"
MODELLED = CORAL + "com.amazon.zeppelindataservice/"
VALIDATE = CORAL + "com.amazon.coral.validate/"
FRAMEWORK = CORAL + "com.amazon.coral.service/"


def put_headers(data: bytes) -> dict[str, str]:
    """The headers of a put whose body is not signed."""
    return UNSIGNED_PAYLOAD | {
        "x-amz-Data-Length": str(len(data)),
        "x-amz-Checksum": checksum(data),
        "x-amz-Checksum-Algorithm": "SHA256",
    }


def members(answer: Answer) -> list[str]:
    """The members of a JSON object in the order in which they came."""
    return [name for name, _ in json.loads(answer.body, object_pairs_hook=list)]


@pytest.fixture(scope="module")
def generations(ebs: Client) -> tuple[str, str]:
    """A parent and a child that overwrites one block and adds one; read only."""
    parent = completed(ebs, {0: A, 1: A})
    return parent, completed(ebs, {1: B, 2: B}, ParentSnapshotId=parent)


@pytest.fixture(scope="module")
def answers(raw: RawClient, generations: tuple[str, str], ebs: Client) -> list[Answer]:
    """Successes, faults of each family and an unknown route."""
    parent, child = generations
    token = tokens(ebs, parent)[0]
    return [
        raw.request("POST", "/snapshots", JSON, b'{"VolumeSize":1}'),
        raw.request("PUT", f"/snapshots/{started(ebs)}/blocks/0", put_headers(A), A),
        raw.request("POST", f"/snapshots/completion/{child}", {"x-amz-ChangedBlocksCount": "2"}),
        raw.request("GET", f"/snapshots/{parent}/blocks"),
        raw.request("GET", f"/snapshots/{child}/changedblocks?firstSnapshotId={parent}"),
        raw.request("GET", f"/snapshots/{parent}/blocks/0?blockToken={token}"),
        raw.request("GET", f"/snapshots/{NO_SNAPSHOT}/blocks"),
        raw.request("GET", f"/snapshots/{parent}/blocks?maxResults=1"),
        raw.send(RawRequest("GET", f"/snapshots/{parent}/blocks", {"Host": raw.host})),
        raw.request("GET", "/no/such/route"),
    ]


class TestEveryAnswer:
    def test_has_a_request_id_of_its_own(self, answers: list[Answer]) -> None:
        request_ids = [answer.header("x-amzn-RequestId") for answer in answers]
        assert all(str(UUID(request_id)) == request_id for request_id in request_ids if request_id)
        assert len({request_id for request_id in request_ids if request_id}) == len(answers)

    def test_has_the_servers_time(self, answers: list[Answer]) -> None:
        for answer in answers:
            date = answer.header("Date")
            assert date is not None
            assert date.endswith(" GMT")
            assert abs(parsedate_to_datetime(date) - datetime.now(UTC)) < timedelta(seconds=30)

    def test_says_its_length_and_is_neither_chunked_nor_compressed(self, answers: list[Answer]) -> None:
        for answer in answers:
            assert answer.header("Content-Length") == str(len(answer.body))
            assert answer.header("Transfer-Encoding") is None
            assert answer.header("Content-Encoding") is None

    def test_keeps_the_connection(self, answers: list[Answer]) -> None:
        assert [answer.header("Connection") for answer in answers if answer.header("Connection") == "close"] == []

    def test_is_json_save_for_a_block(self, answers: list[Answer]) -> None:
        types = [answer.header("Content-Type") for answer in answers]
        assert types[5] == "application/octet-stream"
        assert set(types[:5] + types[6:9]) == {"application/json"}


class TestSuccess:
    def test_a_start_has_every_member_in_order_and_null_where_absent(self, raw: RawClient) -> None:
        answer = raw.request("POST", "/snapshots", JSON, b'{"VolumeSize":1}')
        assert members(answer) == [
            "BlockSize",
            "Description",
            "KmsKeyArn",
            "OwnerId",
            "ParentSnapshotId",
            "SnapshotId",
            "SseType",
            "StartTime",
            "Status",
            "Tags",
            "VolumeSize",
        ]
        absent = {name for name, value in answer.json.items() if value is None}
        assert absent == {"Description", "KmsKeyArn", "ParentSnapshotId", "SseType", "Tags"}

    def test_times_are_seconds_with_three_decimals(self, raw: RawClient, generations: tuple[str, str]) -> None:
        start = raw.request("POST", "/snapshots", JSON, b'{"VolumeSize":1}')
        assert re.search(rb'"StartTime":\s?\d{10}\.\d{3}[,}]', start.body)
        listing = raw.request("GET", f"/snapshots/{generations[0]}/blocks")
        assert re.search(rb'"ExpiryTime":\s?\d{10}\.\d{3}[,}]', listing.body)

    def test_a_list_has_every_member_in_order(self, raw: RawClient, generations: tuple[str, str]) -> None:
        answer = raw.request("GET", f"/snapshots/{generations[0]}/blocks")
        assert members(answer) == ["BlockSize", "Blocks", "ExpiryTime", "NextToken", "VolumeSize"]
        assert answer.json["NextToken"] is None
        assert [list(entry) for entry in answer.json["Blocks"]] == [["BlockIndex", "BlockToken"]] * 2
        assert [entry["BlockIndex"] for entry in answer.json["Blocks"]] == [0, 1]

    def test_a_comparison_has_every_member_in_order_and_null_for_the_absent_side(
        self, raw: RawClient, generations: tuple[str, str]
    ) -> None:
        parent, child = generations
        answer = raw.request("GET", f"/snapshots/{child}/changedblocks?firstSnapshotId={parent}")
        assert members(answer) == [
            "BlockSize",
            "ChangedBlocks",
            "ExpiryTime",
            "LastEvaluatedBlockIndex",
            "NextToken",
            "VolumeSize",
        ]
        assert answer.json["LastEvaluatedBlockIndex"] is None
        assert answer.json["NextToken"] is None
        overwritten, added = answer.json["ChangedBlocks"]
        assert list(overwritten) == list(added) == ["BlockIndex", "FirstBlockToken", "SecondBlockToken"]
        assert (overwritten["BlockIndex"], added["BlockIndex"]) == (1, 2)
        assert added["FirstBlockToken"] is None
        assert None not in overwritten.values()
        mirrored = raw.request("GET", f"/snapshots/{parent}/changedblocks?firstSnapshotId={child}")
        assert mirrored.json["ChangedBlocks"][1]["SecondBlockToken"] is None

    def test_a_completion_has_a_status_only(self, raw: RawClient, ebs: Client) -> None:
        headers = {"x-amz-ChangedBlocksCount": "0"}
        answer = raw.request("POST", f"/snapshots/completion/{started(ebs)}", headers)
        assert (answer.status, answer.json) == (202, {"Status": "completed"})

    def test_a_put_answers_in_headers_and_with_an_empty_object(self, raw: RawClient, ebs: Client) -> None:
        answer = raw.request("PUT", f"/snapshots/{started(ebs)}/blocks/0", put_headers(A), A)
        assert (answer.status, answer.json) == (201, {})
        assert answer.header("x-amz-Checksum") == checksum(A)
        assert answer.header("x-amz-Checksum-Algorithm") == "SHA256"

    def test_a_block_comes_with_its_headers(self, raw: RawClient, ebs: Client, generations: tuple[str, str]) -> None:
        token = tokens(ebs, generations[0])[0]
        answer = raw.request("GET", f"/snapshots/{generations[0]}/blocks/0?blockToken={token}")
        assert (answer.status, answer.body) == (200, A)
        assert answer.header("Content-Length") == answer.header("x-amz-Data-Length") == "524288"
        assert answer.header("x-amz-Checksum") == checksum(A)
        assert answer.header("x-amz-Checksum-Algorithm") == "SHA256"

    def test_headers_are_spelled_as_aws_spells_them(
        self, raw: RawClient, ebs: Client, generations: tuple[str, str]
    ) -> None:
        token = tokens(ebs, generations[0])[0]
        answer = raw.request("GET", f"/snapshots/{generations[0]}/blocks/0?blockToken={token}")
        spelled = {"x-amz-Data-Length", "x-amz-Checksum", "x-amz-Checksum-Algorithm", "x-amzn-RequestId"}
        assert spelled <= answer.header_names

    def test_nothing_is_compressed_for_whoever_would_take_it(
        self, raw: RawClient, generations: tuple[str, str]
    ) -> None:
        answer = raw.request("GET", f"/snapshots/{generations[0]}/blocks", {"Accept-Encoding": "gzip, deflate"})
        assert answer.header("Content-Encoding") is None
        assert len(answer.json["Blocks"]) == 2

    def test_names_of_request_headers_may_be_in_any_case(self, raw: RawClient, ebs: Client) -> None:
        headers = {name.upper(): value for name, value in put_headers(A).items()}
        assert raw.request("PUT", f"/snapshots/{started(ebs)}/blocks/0", headers, A).status == 201


class TestFaults:
    def test_a_modelled_fault_has_message_and_reason(self, raw: RawClient) -> None:
        answer = raw.request("GET", f"/snapshots/{NO_SNAPSHOT}/blocks")
        assert answer.status == 404
        assert answer.header("x-amzn-ErrorType") == f"ResourceNotFoundException:{MODELLED}"
        assert answer.json["Message"] == f"The snapshot '{NO_SNAPSHOT}' does not exist."
        assert answer.json["Reason"] == "SNAPSHOT_NOT_FOUND"
        assert "message" not in answer.json

    def test_a_modelled_validation_fault_has_message_and_reason(self, raw: RawClient) -> None:
        answer = raw.request("GET", f"/snapshots/{NO_SNAPSHOT}/changedblocks")
        assert answer.header("x-amzn-ErrorType") == f"ValidationException:{MODELLED}"
        assert (answer.json["Message"], answer.json["Reason"]) == (
            "First snapshot should not be empty or null",
            "INVALID_SNAPSHOT_ID",
        )

    def test_a_conflict_has_a_message_only(self, raw: RawClient) -> None:
        token = uuid4().hex
        raw.request("POST", "/snapshots", JSON, json.dumps({"VolumeSize": 1, "ClientToken": token}).encode())
        answer = raw.request("POST", "/snapshots", JSON, json.dumps({"VolumeSize": 2, "ClientToken": token}).encode())
        assert answer.status == 409
        assert answer.header("x-amzn-ErrorType") == f"ConflictException:{MODELLED}"
        assert answer.json["Message"] == "Current request does not match request stored with this token."
        assert "Reason" not in answer.json

    def test_a_broken_constraint_has_a_lower_case_message_and_no_reason(self, raw: RawClient) -> None:
        answer = raw.request("GET", f"/snapshots/{NO_SNAPSHOT}/blocks?maxResults=99")
        assert answer.status == 400
        assert answer.header("x-amzn-ErrorType") == f"ValidationException:{VALIDATE}"
        assert answer.json["message"] == (
            "1 validation error detected: Value '99' at 'maxResults' failed to satisfy constraint: "
            "Member must have value greater than or equal to 100"
        )
        assert not {"Message", "Reason"} & answer.json.keys()

    def test_a_body_that_does_not_match_is_a_fault_of_the_signature(self, raw: RawClient, ebs: Client) -> None:
        answer = raw.request("PUT", f"/snapshots/{started(ebs)}/blocks/0", put_headers(A), B)
        assert answer.status == 403
        assert answer.header("x-amzn-ErrorType") == f"InvalidSignatureException:{FRAMEWORK}"
        assert answer.json["message"].startswith("The value passed in as x-amz-Checksum does not match")
        assert not {"Message", "Reason"} & answer.json.keys()

    def test_an_unsigned_request_is_a_fault_of_the_signature(self, raw: RawClient) -> None:
        answer = raw.send(RawRequest("GET", f"/snapshots/{NO_SNAPSHOT}/blocks", {"Host": raw.host}))
        assert answer.header("x-amzn-ErrorType") == f"MissingAuthenticationTokenException:{FRAMEWORK}"
        assert not {"Message", "Reason"} & answer.json.keys()

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/"),
            ("GET", "/snapshots"),
            ("DELETE", f"/snapshots/{NO_SNAPSHOT}"),
            ("GET", f"/snapshots/completion/{NO_SNAPSHOT}"),
            ("POST", f"/snapshots/{NO_SNAPSHOT}/blocks/0"),
            ("GET", f"/snapshots/{NO_SNAPSHOT}/blocks/0/more"),
        ],
    )
    def test_an_unknown_route_is_an_unknown_operation(self, raw: RawClient, method: str, path: str) -> None:
        answer = raw.request(method, path)
        assert (answer.status, answer.code) == (404, "UnknownOperationException")

    def test_an_echoed_value_is_cut(self, raw: RawClient) -> None:
        body = json.dumps({"VolumeSize": 1, "Description": "d" * 100_000}).encode()
        answer = raw.request("POST", "/snapshots", JSON, body)
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert len(answer.body) < 10_000
        assert answer.json["message"].endswith(no_longer_than(255))

    def test_a_slash_in_an_id_stays_in_the_id(self, raw: RawClient) -> None:
        answer = raw.request("GET", f"/snapshots/{NO_SNAPSHOT}%2Fblocks/blocks")
        pattern = "Member must satisfy regular expression pattern: ^snap-[0-9a-f]+$"
        assert answer.status == 400
        assert answer.json["message"] == constraint_message(("snapshotId", f"{NO_SNAPSHOT}/blocks", pattern))


class TestConnection:
    def test_one_connection_serves_many_requests_and_faults_between_them(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = completed(ebs, {0: A})
        connection = raw.connect()
        connection.connect()
        link = connection.sock
        found = [
            raw.send(raw.signed(RawRequest("GET", target)), connection).status
            for target in (
                f"/snapshots/{snapshot_id}/blocks",
                f"/snapshots/{snapshot_id}/blocks?maxResults=1",
                f"/snapshots/{NO_SNAPSHOT}/blocks",
                "/no/such/route",
                f"/snapshots/{snapshot_id}/blocks",
            )
        ]
        found.append(raw.send(RawRequest("GET", "/snapshots/x/blocks", {"Host": raw.host}), connection).status)
        assert found == [200, 400, 404, 404, 200, 403]
        assert connection.sock is link
        connection.close()

    def test_a_refused_put_leaves_its_connection_usable_or_says_that_it_closes(
        self, raw: RawClient, ebs: Client
    ) -> None:
        snapshot_id = started(ebs)
        refusals = [
            (0, put_headers(A) | {"x-amz-Checksum-Algorithm": "SHA1"}, A),
            (9999, put_headers(A), A),
            (0, put_headers(A), B),
            (0, put_headers(A[:100]), A[:100]),
        ]
        for block_index, headers, data in refusals:
            connection = raw.connect()
            request = RawRequest("PUT", f"/snapshots/{snapshot_id}/blocks/{block_index}", headers, data)
            answer = raw.send(raw.signed(request), connection)
            assert answer.status in {400, 403}
            if answer.header("Connection") != "close":
                again = raw.signed(RawRequest("PUT", f"/snapshots/{snapshot_id}/blocks/1", put_headers(A), A))
                assert raw.send(again, connection).status == 201
            connection.close()

    def test_requests_may_be_sent_before_earlier_ones_are_answered(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = completed(ebs, {0: A})
        signed = raw.signed(RawRequest("GET", f"/snapshots/{snapshot_id}/blocks"))
        with socket.create_connection(raw.address, ANSWER_LIMIT_SECONDS) as link:
            link.sendall(head_bytes(signed) + head_bytes(signed, {"Connection": "close"}))
            received = b"".join(iter(lambda: link.recv(65_536), b""))
        assert received.count(b"HTTP/1.1 200 ") == 2

    def test_sixty_four_connections_at_once_are_served(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = completed(ebs, {0: A})
        signed = raw.signed(RawRequest("GET", f"/snapshots/{snapshot_id}/blocks"))
        connections = [raw.connect() for _ in range(64)]
        for connection in connections:
            connection.connect()
        with ThreadPoolExecutor(64) as threads:
            answers = list(threads.map(lambda connection: raw.send(signed, connection), connections))
        assert [answer.status for answer in answers] == [200] * 64
        for connection in connections:
            connection.close()


class TestBody:
    @pytest.mark.parametrize("size", [1000, 65_536, 131_072, 524_287, 524_288])
    def test_a_put_may_be_chunked_in_any_size(self, raw: RawClient, ebs: Client, size: int) -> None:
        snapshot_id = started(ebs)
        pieces = [A[offset : offset + size] for offset in range(0, len(A), size)]
        assert raw.request("PUT", f"/snapshots/{snapshot_id}/blocks/0", put_headers(A), pieces).status == 201
        assert complete(ebs, snapshot_id, {0: A}) == "completed"
        assert content(ebs, snapshot_id) == {0: A}

    def test_a_start_may_be_chunked(self, raw: RawClient) -> None:
        assert raw.request("POST", "/snapshots", JSON, [b'{"Volume', b'Size":1}']).status == 201

    def test_a_body_may_arrive_in_small_pieces(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = started(ebs)
        signed = raw.signed(RawRequest("PUT", f"/snapshots/{snapshot_id}/blocks/0", put_headers(A), A))
        with socket.create_connection(raw.address, ANSWER_LIMIT_SECONDS) as link:
            head = head_bytes(signed, {"Content-Length": str(len(A))})
            for piece in (head[:7], head[7:-2], head[-2:], A[:1], A[1:4096], A[4096:-1], A[-1:]):
                link.sendall(piece)
            assert status_of(link) == 201

    def test_whoever_expects_100_continue_gets_it(self, raw: RawClient, ebs: Client) -> None:
        signed = raw.signed(RawRequest("PUT", f"/snapshots/{started(ebs)}/blocks/0", put_headers(A), A))
        with socket.create_connection(raw.address, ANSWER_LIMIT_SECONDS) as link:
            link.sendall(head_bytes(signed, {"Content-Length": str(len(A)), "Expect": "100-continue"}))
            assert status_of(link) == 100
            link.sendall(A)
            assert status_of(link) == 201

    @pytest.mark.parametrize("block_index", [2048, -1])
    def test_a_body_that_its_head_condemns_is_not_asked_for(
        self, raw: RawClient, ebs: Client, block_index: int
    ) -> None:
        target = f"/snapshots/{started(ebs)}/blocks/{block_index}"
        signed = raw.signed(RawRequest("PUT", target, put_headers(A), A))
        with socket.create_connection(raw.address, ANSWER_LIMIT_SECONDS) as link:
            link.sendall(head_bytes(signed, {"Content-Length": str(len(A)), "Expect": "100-continue"}))
            assert status_of(link) == 400

    def test_an_unsigned_put_is_not_asked_for_its_body(self, raw: RawClient) -> None:
        head = RawRequest("PUT", f"/snapshots/{NO_SNAPSHOT}/blocks/0", {"Host": raw.host, **put_headers(A)})
        with socket.create_connection(raw.address, ANSWER_LIMIT_SECONDS) as link:
            link.sendall(head_bytes(head, {"Content-Length": str(len(A)), "Expect": "100-continue"}))
            assert status_of(link) == 403


class TestBasePath:
    @pytest.fixture
    def behind_a_proxy(self, server: ServerProcess) -> Iterator[Client]:
        """boto3 with an endpoint that has a path."""
        client = server.client("ebs", path="/storage/ebs")
        yield client
        client.close()

    def test_an_endpoint_may_have_a_path_before_snapshots(self, behind_a_proxy: Client) -> None:
        snapshot_id = completed(behind_a_proxy, {0: A, 3: ZERO})
        assert content(behind_a_proxy, snapshot_id) == {0: A, 3: ZERO}
        child = started(behind_a_proxy, ParentSnapshotId=snapshot_id)
        put(behind_a_proxy, child, 0, B)
        assert complete(behind_a_proxy, child, {0: B}) == "completed"
        answer = behind_a_proxy.list_changed_blocks(FirstSnapshotId=snapshot_id, SecondSnapshotId=child)
        assert [entry["BlockIndex"] for entry in answer["ChangedBlocks"]] == [0]


def head_bytes(request: RawRequest, more: dict[str, str] | None = None) -> bytes:
    """A request's head as it is sent."""
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in {**request.headers, **(more or {})}.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def status_of(link: socket.socket) -> int:
    """The status of the next answer, whose head is read and whose body is left unread."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = link.recv(1)
        assert byte, head
        head += byte
    return int(head.split(b" ", 2)[1])
