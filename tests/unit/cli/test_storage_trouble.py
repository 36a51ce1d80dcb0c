"""What a person sees of trouble with the server's storage: damage at once, a full disk while it is waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.given import A, B, C, completed
from tests.server_process import ServerProcess
from tests.unit.cli.running import Client, client_of

pytestmark = pytest.mark.served

SECONDS = 15.0
"""More than a command takes, and much less than the 40 s for which an answer of 500 is tried again."""


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, str, str]]:
    """Two snapshots, the second on the first, on a server on whose disk the first one's block 1 was changed."""
    folder = tmp_path_factory.mktemp("damaged")
    with ServerProcess(folder / "data") as server:
        first = completed(server.client("ebs"), {0: A, 1: B, 2: C})
        second = completed(server.client("ebs"), {1: C, 2: A}, ParentSnapshotId=first)
    harmed = 0
    for segment in (folder / "data").rglob("*"):
        if segment.is_file() and (place := segment.read_bytes().find(B[:4096])) >= 0:
            with segment.open("r+b") as file:
                file.seek(place + 100)
                file.write(b"?")
            harmed += 1
    assert harmed == 1
    with ServerProcess(folder / "data") as server:
        yield client_of(server, folder), first, second


@pytest.mark.parametrize(
    "arguments",
    [
        ("download", "FIRST", "image"),
        ("download", "FIRST", "-"),
        ("copy", "FIRST"),
        ("cat", "FIRST", "--length", "1MiB", "--offset", "512KiB", "--force"),
        ("diff", "FIRST", "SECOND", "--exact"),
    ],
    ids=" ".join,
)
def test_a_damaged_block_ends_a_command_with_6_at_once_and_is_named(
    damaged: tuple[Client, str, str], arguments: tuple[str, ...]
) -> None:
    client, first, second = damaged
    began = time.monotonic()
    done = client.run(*({"FIRST": first, "SECOND": second}.get(word, word) for word in arguments))
    assert done.returncode == 6, done.stderr
    assert time.monotonic() - began < SECONDS
    assert f"get block 1 of {first}: " in done.stderr
    assert "uploading the original image again" in done.stderr


def test_verify_finds_a_damaged_block_at_once_and_goes_on(damaged: tuple[Client, str, str]) -> None:
    client, first, _ = damaged
    began = time.monotonic()
    done = client.run("verify", first)
    assert done.returncode == 6, done.stderr
    assert time.monotonic() - began < SECONDS
    assert done.stdout.startswith(f"524288\tdamaged\tget block 1 of {first}: ")
    assert done.stdout.endswith(f"{first}: 3 blocks checked, 1 differs\n")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that may inject faults."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "faults").write_text("[]")
    arguments = ["--faults", str(folder / "faults"), "--allow-fault-injection"]
    with ServerProcess(folder / "data", arguments) as server:
        yield server


def inject(server: ServerProcess, *rules: dict[str, object]) -> None:
    """From the next call on; without rules nothing fails."""
    new = server.data_folder.with_name("faults.new")
    new.write_text(json.dumps(rules))
    new.rename(server.data_folder.with_name("faults"))


def test_verify_of_a_snapshot_whose_list_is_damaged_ends_with_6(faulty: ServerProcess, tmp_path: Path) -> None:
    snapshot_id = completed(faulty.client("ebs"), {0: A, 1: B})
    inject(faulty, {"operation": "ebs:ListSnapshotBlocks", "error": "damaged"})
    began = time.monotonic()
    done = client_of(faulty, tmp_path).run("verify", snapshot_id)
    assert done.returncode == 6, done.stderr
    assert time.monotonic() - began < SECONDS
    assert f"list the blocks of {snapshot_id}: " in done.stderr


@pytest.mark.parametrize("error", ["storage-full", "storage-lost"])
def test_an_upload_to_a_server_that_cannot_store_says_so_ends_in_time_and_goes_on_later(
    faulty: ServerProcess, tmp_path: Path, error: str
) -> None:
    advice = "free space on the server's disk" if error == "storage-full" else "put the server's data folder back"
    client = client_of(faulty, tmp_path)
    (tmp_path / "image").write_bytes(A + B + C)
    inject(faulty, {"operation": "ebs:PutSnapshotBlock", "error": error})
    began = time.monotonic()
    refused = client.run("upload", "image", "--retry-time", "3s")
    assert refused.returncode == 3, refused.stderr
    assert time.monotonic() - began < SECONDS
    assert f"retrying for up to 3 s: {advice}" in refused.stderr
    assert advice in refused.stderr.splitlines()[-1]
    inject(faulty)
    done = client.run("upload", "image")
    assert done.returncode == 0, done.stderr
    assert "resuming snap-" in done.stderr
    assert client.run("verify", done.stdout.strip(), "image").returncode == 0
