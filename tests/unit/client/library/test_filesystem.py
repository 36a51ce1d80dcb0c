"""fsspec's file system: snapshots as files, by the names and errors that programs know from fsspec."""

from __future__ import annotations

import io
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import fsspec
import pytest

from snapstone.client.errors import UsageError
from snapstone.client.library.filesystem import SnapstoneFileSystem
from tests.conformance.given import BLOCK_SIZE, A, B, completed, content, started
from tests.server_process import SOURCE, ServerProcess
from tests.server_process import Client as Boto3Client

GIB = 1_073_741_824


class AccidentError(Exception):
    """What ends somebody's work before its end."""


@pytest.fixture(scope="module")
def fs(server: ServerProcess) -> Iterator[Any]:
    """The file system, found by its protocol, and the server, found by the environment, as programs find them."""
    fsspec.register_implementation("snapstone", SnapstoneFileSystem, clobber=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        fs = fsspec.filesystem("snapstone")
        yield fs
    fs.service.close()
    SnapstoneFileSystem.clear_instance_cache()


@pytest.fixture
def snapshot_id(ebs: Boto3Client) -> str:
    """A block, a hole and another block."""
    return completed(ebs, {0: A, 2: B})


def test_the_entry_point_in_the_projects_metadata_is_the_file_system() -> None:
    project = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"]["fsspec.specs"].items()
    assert EntryPoint(name, value, "fsspec.specs").load() is SnapstoneFileSystem
    assert SnapstoneFileSystem.protocol == name == "snapstone"


def test_without_fsspec_the_import_says_what_to_install() -> None:
    program = "import sys; sys.modules['fsspec'] = None; import snapstone.client.library.filesystem"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}, check=False
    )
    assert done.returncode == 1
    assert (
        "ImportError: snapstone:// needs fsspec, which is not installed: pip install 'snapstone[fsspec]'" in done.stderr
    )


def test_the_root_lists_completed_snapshots(fs: Any, ebs: Boto3Client, snapshot_id: str) -> None:
    pending_id = started(ebs)
    names = fs.ls("snapstone://", detail=False)
    assert snapshot_id in names
    assert pending_id not in names
    (entry,) = [entry for entry in fs.ls("") if entry["name"] == snapshot_id]
    assert (entry["size"], entry["type"], entry["encrypted"]) == (GIB, "file", False)
    assert snapshot_id in fs.glob("snap-*")


def test_a_snapshot_is_a_file_of_the_volumes_size(fs: Any, snapshot_id: str) -> None:
    path = f"snapstone://{snapshot_id}"
    assert fs.info(path) == {"name": snapshot_id, "size": GIB, "type": "file"}
    assert fs.ls(path, detail=False) == [snapshot_id]
    assert (fs.size(path), fs.isfile(path), fs.isdir(path), fs.exists(path)) == (GIB, True, False, True)
    assert fs.isdir("snapstone://")
    assert fs.ukey(path) == snapshot_id
    assert abs(fs.created(path) - datetime.now(UTC)) < timedelta(minutes=10)
    assert fs.modified(path) == fs.created(path)


def test_what_is_no_snapshot_does_not_exist(fs: Any, ebs: Boto3Client) -> None:
    for path in ("snap-0123456789abcdef0", "readme.txt", "snap-0123456789abcdef0/inside"):
        assert not fs.exists(path)
        for call in (fs.info, fs.cat_file, fs.open, fs.rm_file, fs.created, fs.ukey):
            if (call, path) != (fs.ukey, "snap-0123456789abcdef0"):
                with pytest.raises(FileNotFoundError):
                    call(path)


def test_a_pending_snapshot_cannot_be_read_yet(fs: Any, ebs: Boto3Client) -> None:
    pending_id = started(ebs)
    assert not fs.exists(pending_id)
    with pytest.raises(FileNotFoundError, match=pending_id):
        fs.open(pending_id)


def test_bytes_are_read_by_range_by_file_and_by_url(fs: Any, snapshot_id: str) -> None:
    assert fs.cat_file(snapshot_id, BLOCK_SIZE - 3, BLOCK_SIZE + 2) == A[-3:] + bytes(2)
    assert fs.cat_file(snapshot_id, GIB - 4) == bytes(4)
    assert fs.cat_file(snapshot_id, -4) == bytes(4)
    assert fs.cat_file(snapshot_id, 5, 5) == b""
    assert fs.cat_file(snapshot_id, 10, 5) == b""
    assert fs.cat_ranges([snapshot_id] * 2, [0, 2 * BLOCK_SIZE], [4, 2 * BLOCK_SIZE + 4]) == [A[:4], B[:4]]
    assert fs.head(snapshot_id, 6) == A[:6]
    with fs.open(snapshot_id) as file:
        file.seek(2 * BLOCK_SIZE)
        assert file.read(10) == B[:10]
    with fsspec.open(f"snapstone://{snapshot_id}") as file:
        assert file.read(10) == A[:10]
    with fsspec.open(f"snapstone://{snapshot_id}", "rt", encoding="ascii") as file:
        assert file.readline() == "stackd-ebs-synthetic-a\n"


def test_the_endpoint_may_be_told(fs: Any, server: ServerProcess, snapshot_id: str, monkeypatch: Any) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    there = fsspec.filesystem("snapstone", endpoint_url=server.endpoint, region="eu-central-1")
    assert there.cat_file(snapshot_id, 0, 5) == A[:5]
    elsewhere = fsspec.filesystem("snapstone", endpoint_url=server.endpoint, region="us-west-2")
    assert not elsewhere.exists(snapshot_id)
    assert there.fsid != elsewhere.fsid


def test_a_snapshot_is_deleted(fs: Any, snapshot_id: str) -> None:
    fs.rm(f"snapstone://{snapshot_id}")
    assert not fs.exists(snapshot_id)


def test_a_new_snapshot_is_written_and_completed_by_closing(fs: Any, ebs: Boto3Client) -> None:
    with fs.open("snapstone://nightly", "wb", volume_size_gib=1, tags={"k": "v"}) as file:
        file.write(A)
    assert content(ebs, file.snapshot_id) == {0: A}
    (entry,) = [entry for entry in fs.ls("") if entry["name"] == file.snapshot_id]
    assert (entry["description"], entry["tags"]) == ("nightly", {"k": "v"})

    child = fs.open("snapstone://next", "wb", parent_id=file.snapshot_id)
    child.seek(BLOCK_SIZE)
    child.write(B)
    child.close()
    assert content(ebs, child.snapshot_id) == {0: A, 1: B}

    with fsspec.open("snapstone://by-url", "wb", volume_size_gib=1) as file:
        file.write(B)
    assert content(ebs, file.snapshot_id) == {0: B}


def write_and_fail(file: Any) -> None:
    """Write some, and have an accident."""
    file.write(A)
    raise AccidentError


def test_a_new_snapshot_that_an_exception_closes_is_deleted(fs: Any) -> None:
    before = {entry["name"] for entry in fs.ls("")}
    with pytest.raises(AccidentError), fs.open("snapstone://new", "wb", volume_size_gib=1) as file:
        write_and_fail(file)
    with pytest.raises(AccidentError), fsspec.open("snapstone://new", "wb", volume_size_gib=1) as file:
        write_and_fail(file)
    assert {entry["name"] for entry in fs.ls("")} == before
    assert not [one for one in fs.service.describe() if one.state == "pending" and one.description == "new"]


def test_a_new_snapshot_may_be_made_while_an_exception_is_dealt_with(fs: Any, ebs: Boto3Client) -> None:
    try:
        raise AccidentError
    except AccidentError:
        with fsspec.open("snapstone://after", "wb", volume_size_gib=1) as file:
            file.write(A)
    assert content(ebs, file.snapshot_id) == {0: A}


def test_what_cannot_be_written_is_refused(fs: Any, snapshot_id: str, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        fs.open(snapshot_id, "wb", volume_size_gib=1)
    with pytest.raises(UsageError, match="volume size"):
        fs.open("new", "wb")
    with pytest.raises(ValueError, match="mode 'ab'"):
        fs.open("new", "ab")
    with pytest.raises(ValueError, match="transaction"):
        fs.open("new", "wb", volume_size_gib=1, autocommit=False)
    assert not fs.exists("new")


def test_a_snapshot_is_copied_into_a_local_file(fs: Any, snapshot_id: str, tmp_path: Path) -> None:
    with fs.open(snapshot_id) as file, (tmp_path / "head").open("wb") as out:
        out.write(file.read(3 * BLOCK_SIZE))
    assert (tmp_path / "head").read_bytes() == A + bytes(BLOCK_SIZE) + B
    assert io.BytesIO(fs.cat_file(snapshot_id, 0, 3)).read() == A[:3]
