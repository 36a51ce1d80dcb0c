"""`snapstone serve --read-only`: everything can be read, nothing is written, and the usual tools find the server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError
from tests.client_command import ClientCommand
from tests.server_process import SOURCE, ServerProcess

BLOCK_SIZE: Final = 524_288
GIB: Final = 1 << 30
READ_ONLY: Final = ("--read-only",)


@dataclass(frozen=True)
class Kept:
    """A data folder with three snapshots, and the images that they are of."""

    folder: Path
    plain: str
    child: str
    encrypted: str
    images: dict[str, Path]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    tmp_path = tmp_path_factory.mktemp("kept")
    first, second = tmp_path / "first", tmp_path / "second"
    write_image(first, {0: b"a", 700: b"b"})
    write_image(second, {0: b"a", 700: b"c", 2047: b"d"})
    with ServerProcess(tmp_path / "data") as server:
        client = ClientCommand(server, tmp_path / "uploading")
        plain = client.run("upload", first)
        child = client.run("upload", second, "--parent", plain)
        encrypted = client.run("upload", second, "--encrypted")
    return Kept(tmp_path / "data", plain, child, encrypted, {plain: first, child: second, encrypted: second})


@pytest.fixture
def read_only_mount(kept: Kept, tmp_path: Path) -> Iterator[Path]:
    """The data folder if it can only be read."""
    mount = tmp_path / "mount"
    mount.mkdir()
    for options in (("--bind", kept.folder, mount), ("-o", "remount,bind,ro", mount)):
        ended = subprocess.run(["mount", *map(str, options)], capture_output=True, text=True, timeout=60, check=False)
        if ended.returncode != 0:
            pytest.skip(f"a read-only mount cannot be made here: {ended.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], timeout=60, check=True)


def write_image(path: Path, blocks: dict[int, bytes]) -> None:
    with path.open("wb") as image:
        image.truncate(GIB)
        for index, byte in blocks.items():
            image.seek(index * BLOCK_SIZE)
            image.write(byte * BLOCK_SIZE)


def state_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything under a folder, with what changes if it is written to, or its metadata are."""
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def blocks_of(image: Path) -> dict[int, bytes]:
    """The blocks that are not zeros; holes are passed over."""
    found = {}
    with image.open("rb") as file:
        for index in range(GIB // BLOCK_SIZE):
            try:
                start = os.lseek(file.fileno(), index * BLOCK_SIZE, os.SEEK_DATA)
            except OSError:
                break
            block = os.pread(file.fileno(), BLOCK_SIZE, index * BLOCK_SIZE) if start < (index + 1) * BLOCK_SIZE else b""
            if block.strip(b"\0"):
                found[index] = block
    return found


def check_snapshots(server: ServerProcess, kept: Kept, tmp_path: Path) -> ClientCommand:
    """List and verify all snapshots."""
    client = ClientCommand(server, tmp_path / "reading")
    assert {line.split("\t")[0] for line in client.run("ls").splitlines()} == set(kept.images)
    for snapshot in kept.images:
        client.run("verify", snapshot)
    return client


def check_reads(server: ServerProcess, kept: Kept, tmp_path: Path) -> None:
    """Read every snapshot by each command that reads, with nothing remembered of the uploads."""
    client = check_snapshots(server, kept, tmp_path)
    for snapshot, image in kept.images.items():
        copy = tmp_path / f"copy-{snapshot}"
        client.run("download", snapshot, copy)
        assert blocks_of(copy) == blocks_of(image) != {}
        copy.unlink()
    listed = client.run("diff", "--list", kept.plain, kept.child)
    assert [line.split("\t")[0] for line in listed.splitlines()] == [str(index * BLOCK_SIZE) for index in (700, 2047)]


def refusal_of(call: Any, **members: object) -> tuple[int, str]:
    with pytest.raises(ClientError) as refused:
        call(**members)
    answer = refused.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def run_serve(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A server that is expected not to start."""
    return subprocess.run(
        [sys.executable, "-m", "snapstone", "serve", "--data", str(folder), "--port", "0", *arguments],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_everything_is_read_and_nothing_in_the_folder_is_touched(kept: Kept, tmp_path: Path) -> None:
    before = state_of(kept.folder)
    with ServerProcess(kept.folder, [*READ_ONLY, "--workers", "2", "--quotas", "aws"]) as server:
        check_reads(server, kept, tmp_path)
    assert state_of(kept.folder) == before


def test_every_change_is_refused_with_the_cause(kept: Kept, tmp_path: Path) -> None:
    before = state_of(kept.folder)
    with ServerProcess(kept.folder, READ_ONLY) as server:
        ebs, ec2, kms, iam = (server.client(service) for service in ("ebs", "ec2", "kms", "iam"))
        refusals = [
            refusal_of(ebs.start_snapshot, VolumeSize=1),
            refusal_of(ebs.complete_snapshot, SnapshotId=kept.plain, ChangedBlocksCount=0),
            refusal_of(
                ebs.put_snapshot_block,
                SnapshotId=kept.plain,
                BlockIndex=0,
                BlockData=b"x" * BLOCK_SIZE,
                DataLength=BLOCK_SIZE,
                Checksum="0" * 43 + "=",
                ChecksumAlgorithm="SHA256",
            ),
            refusal_of(ec2.delete_snapshot, SnapshotId=kept.plain),
            refusal_of(ec2.create_tags, Resources=[kept.plain], Tags=[{"Key": "a", "Value": "b"}]),
            refusal_of(ec2.enable_ebs_encryption_by_default),
            refusal_of(iam.create_user, UserName="somebody"),
        ]
        assert {status for status, _ in refusals} == {403}
        assert all("read-only" in message for _, message in refusals)
        status, message = refusal_of(kms.create_key)
        assert status == 400  # KMS answers every refusal with 400.
        assert "read-only" in message
        assert server.client("sts").get_caller_identity()["Account"]
        assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert state_of(kept.folder) == before


def test_a_folder_on_read_only_media_is_served_and_found_by_env(
    kept: Kept, read_only_mount: Path, tmp_path: Path
) -> None:
    refused = run_serve(read_only_mount)
    assert refused.returncode == 2
    assert "--read-only" in refused.stderr
    with ServerProcess(read_only_mount, [*READ_ONLY, "--workers", "2"]) as server:
        check_reads(server, kept, tmp_path)
        assert f"AWS_ENDPOINT_URL={server.endpoint}" in run_env(read_only_mount).stdout
    assert "no server is running" in run_env(read_only_mount).stderr


def run_env(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snapstone", "env", "--data", str(folder)],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def copy_of(kept: Kept, folder: Path) -> Kept:
    """For a test that changes it: no server runs on it, so a copy is as good."""
    shutil.copytree(kept.folder, folder)
    return replace(kept, folder=folder)


def test_a_folder_whose_server_was_killed_is_served_with_all_that_was_acknowledged(kept: Kept, tmp_path: Path) -> None:
    kept = copy_of(kept, tmp_path / "data")
    with ServerProcess(kept.folder) as server:
        made = ClientCommand(server, tmp_path / "uploading").run("upload", kept.images[kept.plain], "--no-resume")
        server.kill()
    assert (kept.folder / "catalog.db-wal").stat().st_size > 0
    before = state_of(kept.folder)
    images = kept.images | {made: kept.images[kept.plain]}
    with ServerProcess(kept.folder, READ_ONLY) as server:
        check_snapshots(server, replace(kept, images=images), tmp_path)
    assert state_of(kept.folder) == before


def test_a_folder_without_an_index_is_served(kept: Kept, tmp_path: Path) -> None:
    kept = copy_of(kept, tmp_path / "data")
    (kept.folder / "objects" / "index.db").unlink()
    before = state_of(kept.folder)
    with ServerProcess(kept.folder, READ_ONLY) as server:
        check_snapshots(server, kept, tmp_path)
    assert state_of(kept.folder) == before


def test_several_read_only_servers_share_a_folder_and_none_shares_it_with_one_that_writes(kept: Kept) -> None:
    with ServerProcess(kept.folder, READ_ONLY) as first, ServerProcess(kept.folder, READ_ONLY) as second:
        for server in (first, second):
            assert server.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
        refused = run_serve(kept.folder)
        assert refused.returncode == 2
        assert "another server is running" in refused.stderr
    with ServerProcess(kept.folder):
        refused = run_serve(kept.folder, *READ_ONLY)
        assert refused.returncode == 2
        assert "another server is running" in refused.stderr


def test_the_working_folder_is_removed_at_the_stop_and_after_a_kill_at_the_next_start(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with ServerProcess(kept.folder, READ_ONLY) as server:
        [working] = temporary.glob("snapstone-read-only-*")
        assert working.stat().st_mode & 0o777 == 0o700
        server.kill()
    assert working.exists()
    with ServerProcess(kept.folder, READ_ONLY):
        assert not working.exists()
    assert not list(temporary.glob("snapstone-read-only-*"))


def test_what_is_no_data_folder_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    refused = run_serve(tmp_path / "other", *READ_ONLY)
    assert refused.returncode == 2
    assert "is not a Snapstone data folder" in refused.stderr
    assert not list((tmp_path / "other").iterdir())
