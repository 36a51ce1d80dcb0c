"""`snapstone check`: every kind of damage is found and named with whom it affects, and nothing else is."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from snapstone.core.blocks import Address, checksum_from_digest
from snapstone.core.ids import SnapshotId
from snapstone.core.manifest import manifest_address
from tests.damage.stored_records import flip_bit, place_of, segment_file
from tests.installation import block
from tests.server_process import SOURCE, ServerProcess

A, B, C = block("a"), block("b"), block("c")

Report = tuple[int, list[dict[str, Any]], dict[str, Any]]


def check(folder: Path, *options: str) -> Report:
    """Exit code, problems, and the summary."""
    ended = subprocess.run(
        [sys.executable, "-m", "snapstone", "check", "--data", str(folder), "--json", *options],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert ended.stderr == ""
    *problems, summary = map(json.loads, ended.stdout.splitlines())
    return ended.returncode, problems, summary


def put(ebs: Any, snapshot_id: str, index: int, content: bytes) -> None:
    checksum = checksum_from_digest(sha256(content).digest())
    block = {"BlockData": content, "DataLength": len(content), "ChecksumAlgorithm": "SHA256", "Checksum": checksum}
    ebs.put_snapshot_block(SnapshotId=snapshot_id, BlockIndex=index, **block)


def sealed(server: ServerProcess, *contents: bytes, **members: Any) -> str:
    """A completed snapshot of blocks in order."""
    ebs = server.client("ebs")
    snapshot_id: str = ebs.start_snapshot(VolumeSize=1, **members)["SnapshotId"]
    for index, content in enumerate(contents):
        put(ebs, snapshot_id, index, content)
    answer = ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(contents))
    assert answer["Status"] == "completed"
    return snapshot_id


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A stopped data folder and its snapshots: plain, a child of that, encrypted, and one that is pending."""
    folder = tmp_path_factory.mktemp("made") / "data"
    with ServerProcess(folder) as server:
        plain = sealed(server, A, B)
        child = sealed(server, C, ParentSnapshotId=plain)
        secret = sealed(server, A, Encrypted=True)
        pending = server.client("ebs").start_snapshot(VolumeSize=1)["SnapshotId"]
        put(server.client("ebs"), pending, 0, C)
    return folder, {"plain": plain, "child": child, "secret": secret, "pending": pending}


@pytest.fixture
def folder(made: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    shutil.copytree(made[0], tmp_path / "data", ignore=shutil.ignore_patterns("reserve"))
    return tmp_path / "data"


@pytest.fixture
def ids(made: tuple[Path, dict[str, str]]) -> dict[str, str]:
    return made[1]


def change(folder: Path, database: str, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / database)) as connection, connection:
        connection.create_function("flipped", 1, lambda value: value[:-1] + bytes([value[-1] ^ 1]))
        assert connection.execute(statement, values).rowcount > 0


def digest(content: bytes) -> Address:
    return Address(sha256(content).digest())


def test_what_is_sound_has_no_problem(folder: Path) -> None:
    for options in ((), ("--read-data",), ("--repair",)):
        code, problems, summary = check(folder, *options)
        assert (code, problems) == (0, [])
        assert summary["snapshots"] == 4
        # Three maps of three pages each, of which the child shares none with its parent; A, B; C, B; A; and C pending.
        assert (summary["pages"], summary["blocks"]) == (9, 6)
        assert bool(summary["records"]) == ("--read-data" in options)


def test_a_damaged_block_is_found_when_bytes_are_read_and_names_all_that_need_it(
    folder: Path, ids: dict[str, str]
) -> None:
    place = place_of(folder / "objects", digest(B))
    flip_bit(segment_file(folder / "objects", place.segment_id), place.offset + 4096 + 100)
    assert check(folder)[:2] == (0, [])
    code, [problem], _ = check(folder, "--read-data")
    assert code == 6
    assert problem["where"] == f"object {digest(B).hex()}"
    assert sorted(problem["snapshots"]) == sorted([ids["plain"], ids["child"]])


def test_a_missing_block_is_found_and_names_pending_snapshots_too(folder: Path, ids: dict[str, str]) -> None:
    change(folder, "objects/index.db", "DELETE FROM object WHERE address = ?", digest(C))
    code, [problem], _ = check(folder)
    assert code == 6
    assert sorted(problem["snapshots"]) == sorted([ids["pending"], ids["child"]])


def root_of(folder: Path, snapshot_id: str) -> Address:
    with closing(sqlite3.connect(folder / "catalog.db")) as connection:
        [(root,)] = connection.execute("SELECT root FROM snapshot WHERE snapshot_id = ?", (snapshot_id,)).fetchall()
    return Address(root)


@pytest.mark.parametrize("name", ["plain", "secret"])
def test_a_damaged_page_is_found(folder: Path, ids: dict[str, str], name: str) -> None:
    place = place_of(folder / "objects", root_of(folder, ids[name]))
    flip_bit(segment_file(folder / "objects", place.segment_id), place.offset + 4096 + 5)
    code, [problem], _ = check(folder)
    assert code == 6
    assert problem["snapshots"] == [ids[name]]


def test_segments_that_are_gone_leave_nothing_sound(folder: Path, ids: dict[str, str]) -> None:
    for path in (folder / "objects" / "segments").iterdir():
        path.unlink()
    code, [problem], _ = check(folder)
    assert code == 6
    assert "segments" in problem["what"]
    with ServerProcess(folder, ["--accept-lost-segments"]):
        pass
    code, problems, _ = check(folder)
    assert code == 6
    assert {each for problem in problems for each in problem["snapshots"]} == set(ids.values())


# -- rows and manifests --


def test_a_missing_manifest_is_found_and_written_again(folder: Path, ids: dict[str, str]) -> None:
    address = manifest_address(SnapshotId(ids["child"]))
    change(folder, "objects/index.db", "DELETE FROM object WHERE address = ?", address)
    code, [problem], _ = check(folder)
    assert (code, problem["snapshots"], problem["repaired"]) == (6, [ids["child"]], False)
    code, [problem], _ = check(folder, "--repair")
    assert (code, problem["repaired"]) == (0, True)
    assert check(folder)[:2] == (0, [])


def test_a_damaged_manifest_is_found_and_written_again(folder: Path, ids: dict[str, str]) -> None:
    place = place_of(folder / "objects", manifest_address(SnapshotId(ids["plain"])))
    flip_bit(segment_file(folder / "objects", place.segment_id), place.offset + 4096 + 5)
    assert check(folder)[0] == 6
    assert check(folder, "--repair")[0] == 0
    assert check(folder, "--read-data")[:2] == (0, [])


def test_rows_that_an_older_catalog_lacks_are_brought_back(folder: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    for path in folder.glob("catalog.db*"):
        shutil.copy2(path, older)
    with ServerProcess(folder) as server:
        plain = sealed(server, B, Tags=[{"Key": "k", "Value": "v"}])
        secret = sealed(server, B, Encrypted=True)
    for path in older.iterdir():
        shutil.copy2(path, folder)
    (folder / "catalog.db-wal").unlink(missing_ok=True)
    code, problems, _ = check(folder)
    assert code == 6
    assert sorted(problem["snapshots"][0] for problem in problems) == sorted([plain, secret])
    code, problems, _ = check(folder, "--repair")
    repaired = {problem["snapshots"][0]: problem["repaired"] for problem in problems}
    assert repaired[plain]
    with ServerProcess(folder, [] if all(repaired.values()) else ["--accept-older-catalog"]) as server:
        ebs, ec2 = server.client("ebs"), server.client("ec2")
        [shown] = ec2.describe_snapshots(SnapshotIds=[plain])["Snapshots"]
        assert (shown["State"], shown["Tags"]) == ("completed", [{"Key": "k", "Value": "v"}])
        [entry] = ebs.list_snapshot_blocks(SnapshotId=plain)["Blocks"]
        answer = ebs.get_snapshot_block(SnapshotId=plain, BlockIndex=0, BlockToken=entry["BlockToken"])
        assert answer["BlockData"].read() == B


def test_all_plain_snapshots_of_a_lost_catalog_are_brought_back(folder: Path, ids: dict[str, str]) -> None:
    for path in folder.glob("catalog.db*"):
        path.unlink()
    assert check(folder)[0] == 6
    with ServerProcess(folder, ["--accept-older-catalog"]):
        pass
    code, problems, _ = check(folder, "--repair")
    repaired = {problem["snapshots"][0]: problem["repaired"] for problem in problems}
    assert repaired == {ids["plain"]: True, ids["child"]: True, ids["secret"]: False}
    assert code == 6


# -- the catalog and its keys --


CATALOG_DAMAGE: list[tuple[str, str, list[str]]] = [
    ("UPDATE snapshot SET volume_size_gib = 2 WHERE state = 'pending'", "snapshot", []),
    ("UPDATE pending_write SET address = flipped(address)", "pending", []),
    ("UPDATE kms_material SET wrapped = flipped(wrapped)", "kms material", ["secret"]),
    ("UPDATE data_key SET wrapped = flipped(wrapped)", "data key", ["secret"]),
    ("DELETE FROM data_key", "data key", ["secret"]),
    ("UPDATE domain_key SET wrapped = flipped(wrapped)", "domain key", ["secret"]),
    ("DELETE FROM domain_key", "", ["secret"]),
    ("UPDATE kms_key SET key_id = 'another'", "kms", ["secret"]),
]


@pytest.mark.parametrize(("statement", "where", "names"), CATALOG_DAMAGE)
def test_damage_in_the_catalog_is_found_with_whom_it_affects(
    folder: Path, ids: dict[str, str], statement: str, where: str, names: list[str]
) -> None:
    change(folder, "catalog.db", statement)
    code, problems, _ = check(folder)
    assert code == 6
    assert any(where in problem["where"] or where in problem["what"] for problem in problems)
    affected = {each for problem in problems for each in problem["snapshots"]}
    assert affected.issuperset(ids[name] for name in names)


def test_access_keys_that_cannot_be_opened_are_found(folder: Path) -> None:
    change(folder, "catalog.db", "UPDATE iam_access_key SET sealed_secret = flipped(sealed_secret)")
    code, problems, _ = check(folder)
    assert code == 6
    assert any(problem["where"].startswith("access key") for problem in problems)


def test_a_secret_that_cannot_be_opened_is_found_and_made_again(folder: Path) -> None:
    change(folder, "catalog.db", "UPDATE secret SET value = flipped(value) WHERE name = 'tokens'")
    code, [problem], _ = check(folder)
    assert (code, problem["where"]) == (6, "secret tokens")
    assert check(folder, "--repair")[0] == 0
    with ServerProcess(folder):
        assert check(folder)[:2] == (0, [])


def test_another_root_key_is_told(folder: Path) -> None:
    (folder / "root.key").write_text("ab" * 32 + "\n")
    code, [problem], _ = check(folder)
    assert (code, problem["where"]) == (6, "root key")


def damage_format(folder: Path) -> None:
    (folder / "FORMAT").write_text("99\n")


def open_to_others(folder: Path) -> None:
    (folder / "catalog.db").chmod(0o644)


def damage_credentials(folder: Path) -> None:
    path = folder / "credentials"
    path.write_text(path.read_text().replace("= AKIA", "= AKIB"))


def overwrite_catalog(folder: Path) -> None:
    (folder / "catalog.db").write_bytes(b"no catalog at all " * 1000)


@pytest.mark.parametrize("damage", [damage_format, open_to_others, damage_credentials, overwrite_catalog])
def test_files_that_are_not_as_they_should_be_are_told(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    code, [problem], _ = check(folder)
    assert code == 6
    assert str(folder) in problem["where"] or str(folder) in problem["what"]


def test_a_folder_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "snapstone", "check", "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCE)},
        check=False,
    )
    assert ended.returncode == 2
    assert str(tmp_path) in ended.stderr


# -- beside a running server --


def test_nothing_is_told_of_what_is_on_its_way(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with ServerProcess(folder, ["--workers", "2"]) as server, ThreadPoolExecutor(4) as threads:
        over = Event()

        def load(name: str) -> int:
            ebs, ec2, count = server.client("ebs"), server.client("ec2"), 0
            parent = sealed(server, block(name))
            while not over.is_set():
                child = sealed(server, block(f"{name} {count}"), ParentSnapshotId=parent)
                left = ebs.start_snapshot(VolumeSize=1, Encrypted=True)["SnapshotId"]
                put(ebs, left, 7, block(f"{name} {count % 5}"))
                ec2.delete_snapshot(SnapshotId=child if count % 3 else left)
                count += 1
            return count

        loads = [threads.submit(load, name) for name in "wxyz"]
        try:
            for options in ((), ("--read-data",), ("--repair",), ("--read-data",)):
                code, problems = check(folder, *options)[:2]
                assert (code, problems) == (0, []), f"{options}: {problems}"
        finally:
            over.set()
        assert all(each.result() > 3 for each in loads)
    assert check(folder, "--read-data")[:2] == (0, [])
