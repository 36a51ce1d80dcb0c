"""Snapshots carried between two servers by `snapstone copy`, both named by profiles: on-premises to AWS, and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.client_command import LOGGING_ALL, Requests
from tests.conformance.given import ZERO, A, B, C, block, completed, content
from tests.server_process import REGION, SOURCE, Client, ServerProcess

LIMIT_SECONDS: Final = 120.0
IN_FLIGHT: Final = 4

HERE: Final = ("--profile", "here")
TO_THERE: Final = (*HERE, "--to-profile", "there")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The server that is copied from."""
    with ServerProcess(tmp_path_factory.mktemp("here") / "data", LOGGING_ALL) as process:
        yield process


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Another server, with accounts and keys of its own."""
    with ServerProcess(tmp_path_factory.mktemp("there") / "data", LOGGING_ALL) as process:
        yield process


class Operator:
    """Somebody whose AWS configuration knows both servers."""

    def __init__(self, folder: Path, profiles: dict[str, ServerProcess]) -> None:
        config = folder / "config"
        config.write_text(
            "".join(
                f"[profile {name}]\nendpoint_url = {server.endpoint}\nregion = {REGION}\n"
                f"aws_access_key_id = {server.key.access_key_id}\n"
                f"aws_secret_access_key = {server.key.secret_access_key}\n"
                for name, server in profiles.items()
            )
        )
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SNAPSTONE_"))}
        self._environment = inherited | {
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": str(SOURCE),
            "SNAPSTONE_STATE": str(folder / "state"),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "snapstone", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[str, str]:
        """Run a command that has to succeed; what it printed, and what it said."""
        with self.start(*arguments) as process:
            output, errors = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == 0, errors
        return output.strip(), errors


@pytest.fixture
def operator(here: ServerProcess, there: ServerProcess, tmp_path: Path) -> Operator:
    return Operator(tmp_path, {"here": here, "there": there})


def described(server: ServerProcess, snapshot_id: str) -> dict[str, object]:
    """What EC2 says of a snapshot."""
    (found,) = server.client("ec2").describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return dict(found)


def test_full_then_incremental_then_back(operator: Operator, here: ServerProcess, there: ServerProcess) -> None:
    ebs, ebs_there = here.client("ebs"), there.client("ebs")
    first = completed(ebs, {0: A, 1: B, 2: C, 2047: A}, Description="Monday", Tags=[{"Key": "disk", "Value": "root"}])
    copy_of_first, said = operator.run("copy", first, *TO_THERE)
    assert content(ebs_there, copy_of_first) == {0: A, 1: B, 2: C, 2047: A}
    assert said.startswith("full copy: no copy of an earlier snapshot was found")
    assert described(there, copy_of_first)["Description"] == "Monday"

    second = completed(ebs, {1: C, 2: ZERO, 9: B}, ParentSnapshotId=first)
    gets, puts = Requests(here.log_path), Requests(there.log_path)
    copy_of_second, said = operator.run("copy", second, *TO_THERE)
    assert content(ebs_there, copy_of_second) == {0: A, 1: C, 2: ZERO, 9: B, 2047: A}
    assert said.startswith(f"incremental copy: {copy_of_first} on the target is a copy of {first}")
    assert puts.done("PUT") == {1: 1, 2: 1, 9: 1}
    assert {request.block_index for request in gets if request.snapshot_id == second} == {1, 2, 9}

    third = completed(ebs_there, {3: A}, ParentSnapshotId=copy_of_second)
    puts = Requests(here.log_path)
    back, said = operator.run("copy", third, "--profile", "there", "--to-profile", "here")
    assert said.startswith(f"incremental copy: {copy_of_second} on the source is a copy of {second}")
    assert puts.done("PUT") == {3: 1}
    assert content(ebs, back) == {0: A, 1: C, 2: ZERO, 3: A, 9: B, 2047: A}
    listed, _ = operator.run("diff", second, back, *HERE, "--list")
    assert listed == f"{3 * 524_288}\t524288\tadded"


def test_a_copy_is_encrypted_anew(operator: Operator, here: ServerProcess, there: ServerProcess) -> None:
    key_here, key_there = (server.client("kms").create_key()["KeyMetadata"]["Arn"] for server in (here, there))
    first = completed(here.client("ebs"), {0: A, 1: B}, Encrypted=True, KmsKeyArn=key_here)
    copied, _ = operator.run("copy", first, *TO_THERE, "--kms-key", key_there)
    facts = described(there, copied)
    assert (facts["Encrypted"], facts["KmsKeyId"]) == (True, key_there)
    assert content(there.client("ebs"), copied) == {0: A, 1: B}

    second = completed(here.client("ebs"), {1: C}, ParentSnapshotId=first)
    increment, said = operator.run("copy", second, *TO_THERE)
    assert said.startswith(f"incremental copy: {copied} there")
    assert described(there, increment)["KmsKeyId"] == key_there
    assert content(there.client("ebs"), increment) == {0: A, 1: C}


def test_endpoints_can_be_named_by_url(operator: Operator, here: ServerProcess, there: ServerProcess) -> None:
    snapshot_id = completed(here.client("ebs"), {0: A})
    urls = ("--endpoint-url", here.endpoint, "--to-endpoint-url", there.endpoint)
    copied, _ = operator.run("copy", snapshot_id, *TO_THERE, *urls, "--to-region", "us-west-2")
    assert content(there.client("ebs", region="us-west-2"), copied) == {0: A}


def test_a_killed_copy_goes_on_without_sending_anything_twice(
    operator: Operator, here: ServerProcess, there: ServerProcess
) -> None:
    blocks = {index: block(str(index)) for index in range(100)}
    snapshot_id = completed(here.client("ebs"), blocks)
    gets, puts = Requests(here.log_path), Requests(there.log_path)
    slowly = ("--max-in-flight", str(IN_FLIGHT), "--limit-rate", "20M", "--json")
    with operator.start("copy", snapshot_id, *TO_THERE, *slowly) as process:
        puts.wait_for("PUT", 40, lambda: process.poll() is not None)
        process.kill()
    printed, _ = operator.run("copy", snapshot_id, *TO_THERE, "--json")
    facts = json.loads(printed)
    assert content(there.client("ebs"), facts["snapshot_id"]) == blocks
    assert facts["resumed_count"] >= 40 - IN_FLIGHT
    assert puts.done("PUT").total() <= 100 + IN_FLIGHT, "only what was in flight may come again"
    gotten = [request for request in gets if request.snapshot_id == snapshot_id]
    assert len(gotten) <= 100 + 2 * IN_FLIGHT, "what was acknowledged is not read again"
    (only,) = {request.snapshot_id for request in puts if request.method == "PUT"}
    assert only == facts["snapshot_id"]


def test_a_copy_comes_through_faults_on_both_sides(operator: Operator, tmp_path: Path) -> None:
    rules = [
        {"operation": f"ebs:{operation}", "error": error, "rate": 0.1, "seed": seed}
        for seed, (operation, error) in enumerate(
            [
                ("PutSnapshotBlock", "snapshot-throttled"),
                ("PutSnapshotBlock", "internal"),
                ("GetSnapshotBlock", "throttled"),
                ("GetSnapshotBlock", "internal"),
            ]
        )
    ]
    rules += [{"operation": "ebs:GetSnapshotBlock", "cut_after": 100_000, "rate": 0.1, "seed": 9}]
    rules += [{"operation": "ebs:ListChangedBlocks", "error": "throttled", "first": 2}]
    (tmp_path / "faults.json").write_text(json.dumps(rules))
    faulty = ["--faults", str(tmp_path / "faults.json"), "--allow-fault-injection"]
    with ServerProcess(tmp_path / "one", faulty) as one, ServerProcess(tmp_path / "two", faulty) as two:
        (tmp_path / "operator").mkdir()
        somebody = Operator(tmp_path / "operator", {"here": one, "there": two})
        (tmp_path / "disk.img").write_bytes(b"".join(block(str(index)) for index in range(60)))
        first, _ = somebody.run("upload", str(tmp_path / "disk.img"), *HERE)
        somebody.run("copy", first, *TO_THERE)
        (tmp_path / "disk.img").write_bytes(b"".join(block(str(index % 50)) for index in range(60)))
        second, _ = somebody.run("upload", str(tmp_path / "disk.img"), "--parent", first, *HERE)
        copied, said = somebody.run("copy", second, *TO_THERE)
        assert "incremental copy" in said
        somebody.run("verify", copied, str(tmp_path / "disk.img"), "--profile", "there")


def test_verify_tells_a_copy_from_its_source(operator: Operator, here: ServerProcess, tmp_path: Path) -> None:
    ebs: Client = here.client("ebs")
    snapshot_id = completed(ebs, {0: A, 1: B})
    (tmp_path / "disk.img").write_bytes(A + B)
    operator.run("verify", snapshot_id, str(tmp_path / "disk.img"), *HERE)
    (tmp_path / "disk.img").write_bytes(A + C)
    with operator.start("verify", snapshot_id, str(tmp_path / "disk.img"), *HERE, "--quiet") as process:
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 6
    assert output.splitlines()[0] == "524288\tchanged"
