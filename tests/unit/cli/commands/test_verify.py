"""`snapstone verify` as a person meets it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from snapstone.client.transfer.verify import VerifyResult
from tests.conformance.given import A, B, C, completed
from tests.server_process import ServerProcess
from tests.unit.cli.running import Client, client_of


@pytest.fixture
def snapshot_id(server: ServerProcess) -> str:
    return completed(server.client("ebs"), {0: A, 1: B, 2: C})


def test_a_sound_snapshot(client: Client, snapshot_id: str) -> None:
    done = client.run("verify", snapshot_id, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{snapshot_id}: 3 blocks checked, all match\n"


def test_an_image_that_is_another_ends_with_6_and_says_where(client: Client, snapshot_id: str) -> None:
    (client.folder / "disk.img").write_bytes(A + A + C)
    done = client.run("verify", snapshot_id, "disk.img")
    assert done.returncode == 6
    assert done.stdout == f"524288\tchanged\n{snapshot_id}: 3 blocks checked, 1 differs\n"


def test_an_image_that_is_the_same(client: Client, snapshot_id: str) -> None:
    (client.folder / "disk.img").write_bytes(A + B + C)
    assert client.run("verify", snapshot_id, "disk.img").returncode == 0


def test_as_json(client: Client, snapshot_id: str) -> None:
    (client.folder / "disk.img").write_bytes(A + A + C)
    facts = json.loads(client.run("verify", snapshot_id, "disk.img", "--json").stdout)
    assert facts.pop("seconds") > 0
    expected = asdict(VerifyResult(snapshot_id, 3, 3, 1, (), 0.0))
    del expected["seconds"]
    finding = {"block_index": 1, "verdict": "changed", "message": ""}
    assert facts == expected | {"findings": [finding], "passed": False}


def test_a_sample_says_that_it_is_one(client: Client, snapshot_id: str) -> None:
    done = client.run("verify", snapshot_id, "--sample", "100%")
    assert done.stdout == f"{snapshot_id}: 3 of 3 blocks (a sample of 100 %) checked, all match\n"
    assert client.run("verify", snapshot_id, "--sample", "0").returncode == 2


def test_a_block_that_the_server_finds_damaged_ends_with_6(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        snapshot_id = completed(server.client("ebs"), {0: A, 1: B, 2: C})
    harmed = 0
    for segment in (tmp_path / "data").rglob("*"):
        if segment.is_file() and (place := segment.read_bytes().find(B[:4096])) >= 0:
            with segment.open("r+b") as file:
                file.seek(place + 100)
                file.write(b"?")
            harmed += 1
    assert harmed == 1
    with ServerProcess(tmp_path / "data") as server:
        done = client_of(server, tmp_path).run("verify", snapshot_id, "--retry-time", "2")
    assert done.returncode == 6, done.stderr
    assert done.stdout.startswith("524288\tdamaged\tget block 1")
    assert done.stdout.endswith(f"{snapshot_id}: 3 blocks checked, 1 differs\n")
