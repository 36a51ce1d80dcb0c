"""The audit log of a real server: who did what, refusals too, and never a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.conformance.given import A, completed, tokens
from tests.server_process import REGION, AccessKeyPair, ServerProcess


@pytest.fixture(scope="module", params=["management", "all"])
def audited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of two workers, with and without data events."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    with ServerProcess(folder / "data", ["--workers", "2", "--audit", request.param]) as server:
        yield server


def records(server: ServerProcess) -> list[dict[str, Any]]:
    """Every record, in order."""
    return [json.loads(line) for line in (server.data_folder / "audit/audit.jsonl").read_text().splitlines()]


def record_of(server: ServerProcess, answer: Any) -> dict[str, Any]:
    """The one record of an answer's request."""
    request_id = answer["ResponseMetadata"]["RequestId"]
    (found,) = [record for record in records(server) if record["requestID"] == request_id]
    return found


def test_a_success_says_who_did_what(audited: ServerProcess) -> None:
    answer = audited.client("ebs").start_snapshot(VolumeSize=3, Description="of mine")
    record = record_of(audited, answer)
    assert record["eventSource"] == "ebs.amazonaws.com"
    assert record["eventName"] == "StartSnapshot"
    assert record["awsRegion"] == REGION
    assert record["readOnly"] is False
    assert record["eventCategory"] == "Management"
    assert record["requestParameters"]["volumeSize"] == 3
    assert record["requestParameters"]["description"] == "of mine"
    assert record["userIdentity"]["accessKeyId"] == audited.key.access_key_id
    assert record["userIdentity"]["accountId"] == record["recipientAccountId"]
    assert record["sourceIPAddress"] == "127.0.0.1"
    assert record["responseElements"] == {"snapshotId": answer["SnapshotId"], "status": "pending"}
    assert "errorCode" not in record
    assert "errorMessage" not in record


def test_what_a_call_makes_is_named_without_its_secret(audited: ServerProcess) -> None:
    iam, sts = audited.client("iam"), audited.client("sts")
    iam.create_user(UserName="made")
    key = iam.create_access_key(UserName="made")
    assert record_of(audited, key)["responseElements"] == {
        "accessKey": {"userName": "made", "accessKeyId": key["AccessKey"]["AccessKeyId"], "status": "Active"}
    }
    session = sts.get_session_token()
    assert record_of(audited, session)["responseElements"] == {
        "credentials": {"accessKeyId": session["Credentials"]["AccessKeyId"]}
    }
    assert record_of(audited, iam.list_users())["responseElements"] is None
    text = (audited.data_folder / "audit/audit.jsonl").read_text()
    assert key["AccessKey"]["SecretAccessKey"] not in text


def test_an_errors_words_are_recorded_unless_they_repeat_a_token(audited: ServerProcess) -> None:
    ebs = audited.client("ebs")
    with pytest.raises(ClientError) as caught:
        ebs.complete_snapshot(SnapshotId="snap-0123456789abcdef0", ChangedBlocksCount=0)
    record = record_of(audited, caught.value.response)
    assert record["errorMessage"] == "The snapshot 'snap-0123456789abcdef0' does not exist."
    assert record["responseElements"] is None
    snapshot_id = completed(ebs, {0: A})
    with pytest.raises(ClientError) as caught:
        ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=0, BlockToken="bm9ib2R5cy10b2tlbg==")
    assert caught.value.response["Error"]["Message"] == "The block token bm9ib2R5cy10b2tlbg== is invalid."
    with pytest.raises(ClientError) as caught:
        ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=0, BlockToken="bm9ib2R5cy10b2tlbg==!")
    assert "bm9ib2R5cy10b2tlbg==!" in caught.value.response["Error"]["Message"]
    assert record_of(audited, caught.value.response)["errorMessage"] == "HIDDEN_DUE_TO_SECURITY_REASONS"
    assert "bm9ib2R5" not in (audited.data_folder / "audit/audit.jsonl").read_text()


def test_a_service_that_is_not_offered_is_recorded(audited: ServerProcess) -> None:
    with pytest.raises(ClientError) as caught:
        audited.client("dynamodb").list_tables()
    (record,) = [record for record in records(audited) if record["eventSource"] == "dynamodb.amazonaws.com"]
    assert record["errorCode"] == "NotImplemented"
    assert record["errorMessage"] == caught.value.response["Error"]["Message"][:512]
    assert record["userIdentity"]["accessKeyId"] == audited.key.access_key_id


def test_calls_on_blocks_are_data_events_and_recorded_where_asked_for(audited: ServerProcess) -> None:
    snapshot_id = completed(audited.client("ebs"), {0: A})
    found = [
        record for record in records(audited)
        if record["eventName"] == "PutSnapshotBlock" and record["requestParameters"]["snapshotId"] == snapshot_id
    ]  # fmt: skip
    assert len(found) == (1 if "all" in str(audited.data_folder.parent.name) else 0)
    for record in found:
        assert record["eventCategory"] == "Data"
        assert record["managementEvent"] is False
        assert record["resources"][0]["ARN"] == f"arn:aws:ec2:{REGION}::snapshot/{snapshot_id}"


def test_a_denied_call_is_recorded_with_its_error(audited: ServerProcess) -> None:
    iam = audited.client("iam")
    iam.create_user(UserName="nobody")
    made = iam.create_access_key(UserName="nobody")["AccessKey"]
    key = AccessKeyPair(made["AccessKeyId"], made["SecretAccessKey"])
    with pytest.raises(ClientError) as caught:
        audited.client("ebs", key=key).start_snapshot(VolumeSize=1)
    record = record_of(audited, caught.value.response)
    assert record["errorCode"] == "AccessDeniedException"
    assert record["userIdentity"]["type"] == "IAMUser"
    assert record["userIdentity"]["userName"] == "nobody"
    assert made["SecretAccessKey"] not in (audited.data_folder / "audit/audit.jsonl").read_text()


def test_a_bad_signature_is_recorded_as_far_as_known(audited: ServerProcess) -> None:
    forged = AccessKeyPair(audited.key.access_key_id, "x" * 40)
    with pytest.raises(ClientError) as caught:
        audited.client("ebs", key=forged).start_snapshot(VolumeSize=1)
    record = record_of(audited, caught.value.response)
    assert record["errorCode"] == "InvalidSignatureException"
    assert record["userIdentity"] == {"type": "Unknown", "accessKeyId": audited.key.access_key_id}


def test_no_secret_reaches_the_log(audited: ServerProcess) -> None:
    ebs, kms, sts = audited.client("ebs"), audited.client("kms"), audited.client("sts")
    snapshot_id = completed(ebs, {0: A})
    (token,) = tokens(ebs, snapshot_id).values()
    ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=0, BlockToken=token)
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.encrypt(KeyId=key_id, Plaintext=b"plaintext-of-mine", EncryptionContext={"purpose": "context-of-mine"})
    session = sts.get_session_token()["Credentials"]
    text = (audited.data_folder / "audit/audit.jsonl").read_text()
    assert snapshot_id in text
    secrets = [token, "of-mine", "stackd-ebs", session["SessionToken"], session["SecretAccessKey"]]
    assert [secret for secret in [*secrets, audited.key.secret_access_key, "Signature="] if secret in text] == []
    assert (audited.data_folder / "audit/audit.jsonl").stat().st_mode & 0o777 == 0o600
