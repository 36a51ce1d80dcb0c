"""`connect` and what it gives: one object with everything that can be done at an endpoint."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import snapstone.client
from snapstone.client import Client, connect
from snapstone.client.errors import NotFoundError, UsageError
from snapstone.client.events import Note, Tally
from snapstone.client.images.sources import open_source
from tests.conformance.given import BLOCK_SIZE, ZERO, A, B, C, completed, content
from tests.server_process import SOURCE, ServerProcess
from tests.server_process import Client as Boto3Client

GIB = 1_073_741_824


class Record:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.notes: list[str] = []

    def begin(self, tally: Tally) -> None:
        self.begun.append(tally.what)

    def note(self, note: Note) -> None:
        self.notes.append(note.kind)

    def end(self, tally: Tally) -> None:
        """Nothing to write down."""


@pytest.fixture(scope="module")
def record() -> Record:
    """Receives the progress of the client under test."""
    return Record()


@pytest.fixture(scope="module")
def client(server: ServerProcess, record: Record, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Everything at the shared server, found by the environment alone."""
    state_folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        with connect(observer=record, state_folder=state_folder, max_in_flight=8) as client:
            yield client


@pytest.fixture(scope="module")
def ebs(server: ServerProcess) -> Boto3Client:
    """Unmodified boto3."""
    return server.client("ebs")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A sparse image of 1 GiB: A, a hole, B."""
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.write(A)
        file.seek(2 * BLOCK_SIZE)
        file.write(B)
        file.truncate(GIB)
    return path


def begin(path: Path) -> bytes:
    """The first three blocks of an image."""
    with path.open("rb") as file:
        return file.read(3 * BLOCK_SIZE)


def test_the_package_offers_connect_and_loads_nothing_before_it_is_asked() -> None:
    program = (
        "import sys, snapstone.client, snapstone.client.errors; print([m for m in sys.modules if 'botocore' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}, check=True
    )
    assert done.stdout == "[]\n"
    assert snapstone.client.connect is connect
    with pytest.raises(AttributeError, match="has no attribute 'conect'"):
        snapstone.client.conect  # noqa: B018


def test_limits_are_those_given_and_the_rest_is_as_ever(client: Client) -> None:
    assert client.service.options.max_in_flight == 8
    assert client.service.options.retry_seconds == 300


def test_without_a_region_it_is_refused(monkeypatch: pytest.MonkeyPatch, server: ServerProcess) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(UsageError, match="region"):
        connect(endpoint_url=server.endpoint)


def test_an_image_goes_up_and_comes_down(
    client: Client, ebs: Boto3Client, image: Path, tmp_path: Path, record: Record
) -> None:
    uploaded = client.upload(image, description="d", tags={"k": "v"})
    assert uploaded.snapshot_id is not None
    assert content(ebs, uploaded.snapshot_id) == {0: A, 2: B}
    described = client.describe(uploaded.snapshot_id)
    assert (described.description, described.tags["k"]) == ("d", "v")

    down = tmp_path / "down"
    client.download(uploaded.snapshot_id, down)
    assert begin(down) == A + bytes(BLOCK_SIZE) + B
    assert down.stat().st_size == GIB
    assert {"upload", "download"} <= set(record.begun)


def test_an_increment_goes_up_and_is_applied(client: Client, ebs: Boto3Client, image: Path, tmp_path: Path) -> None:
    first = client.upload(image).snapshot_id
    assert first is not None
    down = tmp_path / "down"
    client.download(first, down)
    with image.open("r+b") as file:
        file.write(C)
    second = client.upload(image, parent_id=first)
    assert second.snapshot_id is not None
    assert (second.kind, second.sent_count) == ("incremental", 1)
    client.download(second.snapshot_id, down, from_snapshot_id=first, force=True)
    assert begin(down) == C + bytes(BLOCK_SIZE) + B
    assert [(one.block_index, one.kind) for one in client.diff(first, second.snapshot_id)] == [(0, "changed")]


def test_snapshots_and_images_are_compared_and_verified(client: Client, ebs: Boto3Client, image: Path) -> None:
    snapshot_id = completed(ebs, {0: A, 1: C})
    found = [(one.block_index, one.kind) for one in client.diff_image(snapshot_id, image)]
    assert found == [(1, "removed"), (2, "added")]
    assert client.verify(snapshot_id).passed
    verified = client.verify(snapshot_id, image)
    assert [(finding.block_index, finding.verdict) for finding in verified.findings] == [(1, "removed"), (2, "added")]


def test_a_source_of_ones_own_is_used_and_left_open(client: Client, ebs: Boto3Client, image: Path) -> None:
    source = open_source(image)
    snapshot_id = client.upload(source).snapshot_id
    assert snapshot_id is not None
    assert client.verify(snapshot_id, source).passed
    source.close()


def test_a_diff_by_bytes_ignores_zeros_that_were_written(client: Client, ebs: Boto3Client) -> None:
    first = completed(ebs, {0: A})
    second = completed(ebs, {1: ZERO, 2: B}, ParentSnapshotId=first)
    assert [one.block_index for one in client.diff(first, second)] == [1, 2]
    assert [one.block_index for one in client.diff(first, second, exact=True)] == [2]


def test_a_snapshot_is_copied_to_another_region(client: Client, ebs: Boto3Client, server: ServerProcess) -> None:
    snapshot_id = completed(ebs, {3: C}, Description="here")
    with connect(region="us-west-2") as other:
        copied = client.copy_to(other, snapshot_id)
        assert copied.snapshot_id is not None
        assert other.describe(copied.snapshot_id).description == "here"
    assert content(server.client("ebs", region="us-west-2"), copied.snapshot_id) == {3: C}


def test_snapshots_are_listed_described_tagged_waited_for_and_deleted(client: Client, ebs: Boto3Client) -> None:
    snapshot_id = completed(ebs, {})
    client.wait(snapshot_id, 5)
    client.tag(snapshot_id, {"purpose": "session-test", "also": "that"})
    client.untag(snapshot_id, ["also"])
    assert client.describe(snapshot_id).tags == {"purpose": "session-test"}
    assert [one.snapshot_id for one in client.snapshots({"tag:purpose": ["session-test"]})] == [snapshot_id]
    client.delete(snapshot_id)
    assert client.snapshots({"tag:purpose": ["session-test"]}) == []
    with pytest.raises(NotFoundError, match=snapshot_id):
        client.describe(snapshot_id)
