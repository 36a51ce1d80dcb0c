"""Encrypted snapshots through unmodified boto3 and several server processes: a key that says no says so everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.faults import expect_invalid, expect_refusal
from tests.conformance.given import A, B, completed, started
from tests.server_process import Client, ServerProcess

CLIENTS = 6
"""Each with a connection of its own, so that both workers are asked."""


@pytest.fixture(scope="module")
def server_of_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("two") / "data", ["--workers", "2"]) as made:
        yield made


@pytest.fixture
def clients(server_of_two: ServerProcess) -> list[Client]:
    return [server_of_two.client("ebs") for _ in range(CLIENTS)]


def test_a_disabled_key_is_disabled_for_every_process_at_once(
    server_of_two: ServerProcess, clients: list[Client]
) -> None:
    kms = server_of_two.client("kms")
    key = kms.create_key()["KeyMetadata"]
    snapshot_id = completed(clients[0], {0: A, 1: B}, KmsKeyArn=key["Arn"])
    token = clients[0].list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"][0]["BlockToken"]
    for _ in range(5):
        kms.disable_key(KeyId=key["KeyId"])
        for client in clients:
            with expect_invalid("INVALID_DEPENDENCY_REQUEST"):
                client.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=0, BlockToken=token)
        kms.enable_key(KeyId=key["KeyId"])
        for client in clients:
            answer = client.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=0, BlockToken=token)
            assert answer["BlockData"].read() == A


def test_ec2_describes_tags_and_deletes_what_a_disabled_key_encrypted(server_of_two: ServerProcess) -> None:
    kms, ec2 = server_of_two.client("kms"), server_of_two.client("ec2")
    key_arn = kms.create_key()["KeyMetadata"]["Arn"]
    snapshot_id = completed(server_of_two.client("ebs"), {0: A}, KmsKeyArn=key_arn)
    kms.disable_key(KeyId=key_arn)
    ec2.create_tags(Resources=[snapshot_id], Tags=[{"Key": "k", "Value": "v"}])
    [shown] = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert (shown["KmsKeyId"], shown["Tags"]) == (key_arn, [{"Key": "k", "Value": "v"}])
    attribute = ec2.describe_snapshot_attribute(SnapshotId=snapshot_id, Attribute="createVolumePermission")
    assert attribute["CreateVolumePermissions"] == []
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    with expect_refusal("InvalidSnapshot.NotFound", 400):
        ec2.describe_snapshots(SnapshotIds=[snapshot_id])


def test_neither_blocks_nor_keys_lie_in_the_data_folder(
    server_of_two: ServerProcess, clients: list[Client], tmp_path: Path
) -> None:
    completed(clients[0], {0: A, 1: B}, Encrypted=True)
    lying = b"".join(path.read_bytes() for path in server_of_two.data_folder.rglob("*") if path.is_file())
    for content in (A, B):
        assert content[:4096] not in lying
    root_key = (server_of_two.data_folder / "root.key").read_text().strip()
    assert lying.count(bytes.fromhex(root_key)) == 0
    assert lying.count(root_key.encode()) == 1
    assert (server_of_two.data_folder / "root.key").stat().st_mode & 0o777 == 0o600


def test_a_server_that_lost_its_root_key_does_not_start_with_another(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        started(server.client("ebs"), Encrypted=True)
    kept = (tmp_path / "data" / "root.key").read_bytes()
    (tmp_path / "data" / "root.key").unlink()
    with pytest.raises(RuntimeError, match=r"root\.key is missing"):
        ServerProcess(tmp_path / "data")
    elsewhere = tmp_path / "kept.key"
    elsewhere.write_bytes(kept)
    elsewhere.chmod(0o600)
    for arguments in (["--root-key-file", str(elsewhere)], ["--root-key-command", f"cat {elsewhere}"]):
        with ServerProcess(tmp_path / "data", arguments) as server:
            completed(server.client("ebs"), {0: A}, Encrypted=True)
    elsewhere.chmod(0o644)
    with pytest.raises(RuntimeError, match="other users can read"):
        ServerProcess(tmp_path / "data", ["--root-key-file", str(elsewhere)])
