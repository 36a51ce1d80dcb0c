"""Starts on folders whose parts do not belong together: refused by one sentence and exit code 1, never served."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from snapstone.core.blocks import checksum_from_digest
from tests.installation import block
from tests.server_process import REGION, SOURCE, ServerProcess

A = block("a")


def refusal(folder: Path, *arguments: str) -> str:
    """What a start says that ends with exit code 1 and one line, naming the line."""
    if "--workers" not in arguments:
        arguments = ("--workers", "1", *arguments)
    ended = subprocess.run(
        [sys.executable, "-m", "snapstone", "serve", "--data", str(folder), "--port", "0", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    said = [line for line in ended.stderr.splitlines() if line.startswith("snapstone: ")]
    assert len(said) == 1
    return said[0]


def sealed(server: ServerProcess) -> str:
    """A completed snapshot with one block."""
    ebs = server.client("ebs")
    snapshot_id: str = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    block = {"BlockIndex": 0, "BlockData": A, "DataLength": len(A), "ChecksumAlgorithm": "SHA256"}
    ebs.put_snapshot_block(SnapshotId=snapshot_id, Checksum=checksum_from_digest(sha256(A).digest()), **block)
    assert ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)["Status"] == "completed"
    return snapshot_id


def is_listed(server: ServerProcess, snapshot_id: str) -> bool:
    answer: dict[str, Any] = server.client("ebs").list_snapshot_blocks(SnapshotId=snapshot_id)
    return [entry["BlockIndex"] for entry in answer["Blocks"]] == [0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with one completed snapshot, after a clean stop."""
    folder = tmp_path / "data"
    with ServerProcess(folder) as server:
        sealed(server)
    return folder


def remove_catalog(folder: Path) -> None:
    for path in folder.glob("catalog.db*"):
        path.unlink()


def empty_catalog(folder: Path) -> None:
    (folder / "catalog.db").write_bytes(b"")


def make_another_catalog(folder: Path) -> None:
    (folder / "catalog.db").unlink()
    with closing(sqlite3.connect(folder / "catalog.db")) as connection:
        connection.execute("CREATE TABLE something (one)")


def overwrite_catalog(folder: Path) -> None:
    (folder / "catalog.db").write_bytes(b"no catalog at all " * 1000)


def from_the_future(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "catalog.db")) as connection, connection:
        connection.execute("INSERT INTO schema_migration VALUES (9999, 'of the future')")


@pytest.mark.parametrize(
    "damage", [remove_catalog, empty_catalog, make_another_catalog, overwrite_catalog, from_the_future]
)
@pytest.mark.parametrize("without_root_key", [False, True])
def test_a_folder_without_its_catalog_is_not_begun_anew(
    folder: Path, damage: Callable[[Path], None], without_root_key: bool
) -> None:
    damage(folder)
    if without_root_key:
        (folder / "root.key").unlink()
    said = refusal(folder)
    assert str(folder / "catalog.db") in said or (without_root_key and damage is from_the_future)
    assert (folder / "root.key").exists() != without_root_key


def test_a_first_start_that_was_cut_off_is_begun_again(folder: Path) -> None:
    """As it is left by a kill before the catalog was made: no answer had been given yet."""
    shutil.rmtree(folder / "objects")
    remove_catalog(folder)
    (folder / "credentials").unlink()
    (folder / ".first-start").touch()
    with ServerProcess(folder) as server:
        assert is_listed(server, sealed(server))
    assert not (folder / ".first-start").exists()
    remove_catalog(folder)
    assert "catalog.db" in refusal(folder)


def test_a_catalog_that_lost_its_log_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    server = ServerProcess(folder)
    sealed(server)
    server.kill()
    (folder / "catalog.db-wal").unlink()
    assert str(folder / "catalog.db") in refusal(folder)


def test_an_older_copy_of_the_catalog_is_refused_and_can_be_accepted(folder: Path, tmp_path: Path) -> None:
    """With all the files beside it, so that nothing but the manifests knows better."""
    older = tmp_path / "older"
    older.mkdir()
    for path in folder.glob("catalog.db*"):
        shutil.copy2(path, older)
    with ServerProcess(folder) as server:
        later = sealed(server)
    remove_catalog(folder)
    for path in older.iterdir():
        shutil.copy2(path, folder)
    said = refusal(folder)
    assert str(folder / "catalog.db") in said
    assert "lacks 1 snapshots" in said
    with ServerProcess(folder, ["--accept-older-catalog"]) as server:
        assert not server.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"][1:]
        with pytest.raises(server.client("ebs").exceptions.InternalServerException):
            is_listed(server, later)
    assert "lacks 1 snapshots" in refusal(folder)


def test_a_catalog_that_is_lost_for_good_can_be_accepted(folder: Path) -> None:
    remove_catalog(folder)
    with ServerProcess(folder, ["--accept-older-catalog"]) as server:
        assert is_listed(server, sealed(server))


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_a_folder_without_its_segments_is_refused_and_can_be_accepted(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (folder / "objects" / "segments").rename(tmp_path / "aside")
    said = refusal(folder, *arguments)
    assert str(folder / "objects" / "segments") in said
    assert "--accept-lost-segments" in said
    with ServerProcess(folder, [*arguments, "--accept-lost-segments"]) as server:
        assert is_listed(server, sealed(server))


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_an_index_of_a_newer_version_is_refused(folder: Path, arguments: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(folder / "objects" / "index.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert str(folder / "objects" / "index.db") in refusal(folder, *arguments)


@pytest.mark.parametrize("name", ["aws_access_key_id = ", "aws_secret_access_key = "])
def test_credentials_that_are_not_those_of_the_catalog_are_refused(folder: Path, name: str) -> None:
    path = folder / "credentials"
    text = path.read_text()
    at = text.index(name) + len(name) + 7
    path.write_text(text[:at] + ("B" if text[at] != "B" else "C") + text[at + 1 :])
    assert str(path) in refusal(folder)
    path.unlink()
    with ServerProcess(folder) as server:
        assert server.client("sts", REGION).get_caller_identity()["Account"]


def test_a_damaged_secret_is_not_taken_for_another_root_key(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "catalog.db")) as connection, connection:
        [(value,)] = connection.execute("SELECT value FROM secret WHERE name = 'tokens'").fetchall()
        changed = value[:-1] + bytes([value[-1] ^ 1])
        connection.execute("UPDATE secret SET value = ? WHERE name = 'tokens'", (changed,))
    assert "the secret `tokens`" in refusal(folder)


def test_manifests_that_are_gone_are_told_and_do_not_keep_the_server_from_starting(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "objects" / "index.db")) as connection, connection:
        assert connection.execute("DELETE FROM object WHERE kind = 3").rowcount == 1
    with ServerProcess(folder) as server:
        [snapshot] = server.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
        assert is_listed(server, snapshot["SnapshotId"])
        assert "completed snapshots without a manifest" in server.log_path.read_text()
