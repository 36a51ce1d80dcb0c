"""Full disks, on real ext4, xfs and btrfs: what is stored can be read, completed and deleted, blocks are refused with
the cause, nothing eats the last of the room, and everything goes on by itself once there is room again."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Final
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError

from snapstone.core.blocks import Address
from snapstone.storage.segment_store import SegmentStore
from tests.faults.loop_devices import MIB, MountedDisk, mounted
from tests.server_process import SOURCE, ServerProcess

BLOCK_SIZE: Final = 524_288
KINDS: Final = ("ext4", "xfs", "btrfs")
DISK_SIZE: Final = 512 * MIB
WAIT_SECONDS: Final = 30.0

LOOK_SECONDS: Final = 2.0
"""A server looks at the disk every second, and gives back some of its reserve: others then may take that too."""


def server_on(disk: MountedDisk, workers: str = "2", *arguments: str) -> ServerProcess:
    """A server whose log is on another disk."""
    return ServerProcess(
        disk.folder / "data", ["--workers", workers, *arguments], log=disk.image.with_name("server.log")
    )


def block(number: int) -> bytes:
    """A block of its own for each number."""
    return hashlib.blake2b(number.to_bytes(8, "little")).digest() * (BLOCK_SIZE // 64)


class Uploader:
    """Puts blocks into one pending snapshot, each a new one, and knows which were acknowledged."""

    def __init__(self, server: ServerProcess, first: int) -> None:
        self.ebs = server.client("ebs")
        self.snapshot_id: str = self.ebs.start_snapshot(VolumeSize=8)["SnapshotId"]
        self.first = first
        self.acknowledged: list[int] = []

    def put(self) -> None:
        """Put one more block. Raises ClientError."""
        number = len(self.acknowledged)
        payload = block(self.first + number)
        self.ebs.put_snapshot_block(
            SnapshotId=self.snapshot_id,
            BlockIndex=number,
            BlockData=payload,
            DataLength=BLOCK_SIZE,
            Checksum=base64.b64encode(hashlib.sha256(payload).digest()).decode(),
            ChecksumAlgorithm="SHA256",
        )
        self.acknowledged.append(number)

    def put_until_refused(self, limit: int = 1_000) -> str:
        """Put blocks until one is refused; returns the words of the refusal."""
        for _ in range(limit):
            try:
                self.put()
            except ClientError as error:
                return str(error.response["Error"]["Message"])
        raise AssertionError(f"{limit} blocks were taken")

    def complete(self, server: ServerProcess) -> None:
        """Complete the snapshot, which must come to its end."""
        ebs = server.client("ebs")
        wait_for(
            lambda: (
                ebs.complete_snapshot(SnapshotId=self.snapshot_id, ChangedBlocksCount=len(self.acknowledged))["Status"]
                == "completed"
            )
        )

    def check(self, server: ServerProcess) -> None:
        """Read every acknowledged block of the completed snapshot."""
        ebs = server.client("ebs")
        pages = [ebs.list_snapshot_blocks(SnapshotId=self.snapshot_id)]
        while token := pages[-1].get("NextToken"):
            pages.append(ebs.list_snapshot_blocks(SnapshotId=self.snapshot_id, NextToken=token))
        listed = {entry["BlockIndex"]: entry["BlockToken"] for page in pages for entry in page["Blocks"]}
        assert sorted(listed) == self.acknowledged
        for number, token in listed.items():
            answer = ebs.get_snapshot_block(SnapshotId=self.snapshot_id, BlockIndex=number, BlockToken=token)
            assert answer["BlockData"].read() == block(self.first + number)


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = monotonic() + WAIT_SECONDS
    while not is_so():
        assert monotonic() < deadline, "it did not come to be so"
        sleep(0.2)


def problems(server: ServerProcess) -> list[str]:
    """Subjects of what /ready says is wrong; the server must be ready."""
    with urlopen(f"{server.endpoint}/ready", timeout=10) as answer:
        return [problem["subject"] for problem in json.load(answer).get("problems", [])]


def takes_a_block(uploader: Uploader) -> bool:
    try:
        uploader.put()
    except ClientError:
        return False
    return True


def delete(server: ServerProcess, snapshot_id: str) -> None:
    server.client("ec2").delete_snapshot(SnapshotId=snapshot_id)
    listed = server.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert snapshot_id not in [snapshot["SnapshotId"] for snapshot in listed]


def check_log(server: ServerProcess) -> None:
    """No worker has died, and nothing went wrong that nobody foresaw."""
    log = server.log_path.read_text()
    assert "worker ended" not in log
    assert "Traceback" not in log


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MountedDisk]:
    with mounted(request.param, DISK_SIZE, tmp_path / "disk") as made:
        yield made


def test_on_a_disk_that_others_fill_all_but_puts_goes_on_and_puts_do_when_there_is_room(disk: MountedDisk) -> None:
    with server_on(disk) as server:
        kept, dropped, pending = (Uploader(server, first) for first in (0, 1_000, 2_000))
        for uploader in (kept, dropped, pending):
            for _ in range(3):
                uploader.put()
        kept.complete(server)
        dropped.complete(server)
        for _ in range(2):
            disk.fill()
            sleep(LOOK_SECONDS)
        assert "storage is full" in pending.put_until_refused()
        wait_for(lambda: problems(server) == ["space"])
        kept.check(server)
        pending.complete(server)
        pending.check(server)
        delete(server, dropped.snapshot_id)
        check_log(server)
    disk.fill()  # At its stop the server gave back what it had reserved for more blocks.
    with server_on(disk) as server:
        for uploader in (kept, pending):
            uploader.check(server)
        more = Uploader(server, 3_000)
        assert "storage is full" in more.put_until_refused()
        disk.empty()
        wait_for(lambda: takes_a_block(more))
        more.complete(server)
        more.check(server)
        wait_for(lambda: problems(server) == [])
        wait_for(lambda: len(list((disk.folder / "data" / "reserve").iterdir())) == 16)
        check_log(server)


def test_puts_end_before_the_last_room_and_go_on_when_there_is_more(disk: MountedDisk) -> None:
    disk.fill(leave=160 * MIB)
    with server_on(disk) as server:
        first = Uploader(server, 0)
        assert "storage is full" in first.put_until_refused()
        assert len(first.acknowledged) > 60
        assert disk.free > 12 * MIB
        first.complete(server)
        first.check(server)
        delete(server, first.snapshot_id)
        disk.empty()
        second = Uploader(server, 1_000)
        wait_for(lambda: takes_a_block(second))
        second.complete(server)
        second.check(server)
        check_log(server)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "free_mib",
    [
        0,
        *(pytest.param(free_mib, marks=pytest.mark.soak) for free_mib in (1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32)),
        *(pytest.param(free_mib, marks=pytest.mark.soak) for free_mib in (36, 40, 44, 48, 52, 56, 60, 64)),
    ],
)
def test_a_start_with_little_room_serves_what_is_there(kind: str, free_mib: int, tmp_path: Path) -> None:
    with mounted(kind, DISK_SIZE, tmp_path / "disk") as disk:
        with server_on(disk, "1") as server:
            kept, pending = Uploader(server, 0), Uploader(server, 1_000)
            kept.put()
            pending.put()
            kept.complete(server)
        disk.fill(leave=free_mib * MIB)
        with server_on(disk) as server:
            kept.check(server)
            pending.complete(server)
            pending.check(server)
            more = Uploader(server, 2_000)
            assert "storage is full" in more.put_until_refused()
            more.complete(server)
            more.check(server)
            delete(server, kept.snapshot_id)
            disk.empty()
            again = Uploader(server, 3_000)
            wait_for(lambda: takes_a_block(again))
            check_log(server)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_reserve_no_start_is_tried_on_a_full_disk_and_reading_is_possible(kind: str, tmp_path: Path) -> None:
    """As of a data folder of an earlier version, which has no reserve."""
    with mounted(kind, DISK_SIZE, tmp_path / "disk") as disk:
        with server_on(disk, "1") as server:
            kept = Uploader(server, 0)
            kept.put()
            kept.complete(server)
        shutil.rmtree(disk.folder / "data" / "reserve")
        disk.fill()
        disk.fill()
        refused = subprocess.run(
            [sys.executable, "-m", "snapstone", "serve", "--data", str(disk.folder / "data"), "--port", "0"],
            env=os.environ | {"PYTHONPATH": str(SOURCE)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert refused.returncode == 2
        assert "free some space there, or serve what is stored with --read-only" in refused.stderr
        assert "Traceback" not in refused.stderr
        with server_on(disk, "1", "--read-only") as server:
            kept.check(server)


@pytest.mark.parametrize(("size_mib", "workers"), [(900, "1"), (1_700, "2")])
def test_less_than_a_gibibyte_for_each_worker_is_enough(size_mib: int, workers: str, tmp_path: Path) -> None:
    """851 MiB free for one worker, 1,617 MiB free for two: starts, puts and seals, and starts again three times."""
    image = tmp_path / "i"
    with image.open("wb") as file:
        file.write(b"x")
        file.truncate(1 << 30)
    with mounted("ext4", size_mib * MIB, tmp_path / "disk") as disk:
        for start in range(4):
            with server_on(disk, workers) as server:
                if start in (0, 3):
                    upload(server, image, tmp_path / "state")
                assert disk.free > 64 * MIB
                check_log(server)


def upload(server: ServerProcess, image: Path, state: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "snapstone", "upload", str(image), "--retry-time", "5s"],
        env=server.environment() | {"PYTHONPATH": str(SOURCE), "SNAPSTONE_STATE": str(state)},
        check=True,
        timeout=60,
    )


def test_without_inodes_all_but_new_segments_goes_on(tmp_path: Path) -> None:
    with mounted("ext4", DISK_SIZE, tmp_path / "disk", make=("-N", "256")) as disk:
        with server_on(disk) as server:
            kept, pending = Uploader(server, 0), Uploader(server, 1_000)
            kept.put()
            pending.put()
            kept.complete(server)
            for _ in range(2):
                disk.take_inodes()
                sleep(LOOK_SECONDS)
            pending.complete(server)
            for uploader in (kept, pending):
                uploader.check(server)
            check_log(server)
        disk.take_inodes()
        with server_on(disk) as server:
            for uploader in (kept, pending):
                uploader.check(server)
            delete(server, kept.snapshot_id)
            more = Uploader(server, 2_000)
            for path in (disk.folder / "many").iterdir():
                path.unlink()
            wait_for(lambda: takes_a_block(more))
            more.complete(server)
            check_log(server)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_mapped_on_btrfs_is_overwritten_in_place(workers: str, tmp_path: Path) -> None:
    """A write to any other mapped file kills the process if the disk is full."""
    with mounted("btrfs", DISK_SIZE, tmp_path / "disk") as disk:
        for _ in range(2):
            with server_on(disk, workers) as server:
                Uploader(server, 0).put()
                maps = Path(f"/proc/{server.process_id}/maps").read_text()
                for child in Path(f"/proc/{server.process_id}/task/{server.process_id}/children").read_text().split():
                    maps += Path(f"/proc/{child}/maps").read_text()
                mapped = {line.split()[-1] for line in maps.splitlines() if f" {disk.folder}/" in line}
                assert {Path(name).name for name in mapped} >= {"catalog.db-shm", "index.db-shm"}
                listed = subprocess.run(["lsattr", *mapped], capture_output=True, text=True, timeout=60, check=True)
                assert all("C" in line.split()[0] for line in listed.stdout.splitlines()), listed.stdout


def test_a_restart_costs_no_room_on_btrfs(tmp_path: Path) -> None:
    """Four puts are 2 MiB; a segment that is cut off gives back what it had reserved beyond them."""
    with mounted("btrfs", 1_024 * MIB, tmp_path / "disk") as disk:
        free = []
        for number in range(4):
            with server_on(disk, "1") as server:
                uploader = Uploader(server, number * 1_000)
                for _ in range(4):
                    uploader.put()
            os.sync()
            free.append(disk.free)
        assert free[0] - free[-1] < 3 * 4 * MIB


def test_what_is_removed_gives_its_room_back_on_btrfs(tmp_path: Path) -> None:
    """Every second of many blocks goes; each has an extent of its own."""
    with mounted("btrfs", 1_024 * MIB, tmp_path / "disk") as disk:
        store = SegmentStore(disk.folder / "objects", now_ms=lambda: 1, block_buffers=4)
        addresses = []
        for number in range(80):
            buffer = store.borrow_block_buffer()
            buffer.payload[:] = block(number)
            addresses.append(Address(hashlib.sha256(buffer.payload).digest()))
            store.put_block(addresses[-1], buffer)
            buffer.release()
        os.sync()
        before = disk.free
        assert store.remove(addresses[::2]) == 40
        os.sync()
        assert disk.free - before >= 39 * BLOCK_SIZE
        for number in range(1, 80, 2):
            read = store.get_block(addresses[number])
            assert read.payload == block(number)
            read.release()
        store.close()
