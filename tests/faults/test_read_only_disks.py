"""A file system that takes no changes any more under a running server, as ext4 does after an error of its disk."""

from __future__ import annotations

from pathlib import Path
from time import sleep
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from tests.faults.loop_devices import MIB, MountedDisk, mounted, run_tool
from tests.faults.test_full_disks import Uploader, problems, server_on, wait_for

NOTICED_SECONDS: Final = 3.0
"""By when each process has noticed what one of them has: they look once a second."""


def stop_taking_changes(disk: MountedDisk) -> None:
    """Let ext4 meet an error, at which it is told to become read-only."""
    run_tool("mount", "-o", "remount,errors=remount-ro", str(disk.folder))
    [device] = [
        Path(fields[0]).name
        for fields in map(str.split, Path("/proc/self/mounts").read_text().splitlines())
        if fields[1] == str(disk.folder)
    ]
    trigger = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
    if not trigger.exists():
        pytest.skip("this kernel's ext4 does not err on request")
    trigger.write_text("1\n")


def refusal_of(call: Any, **members: object) -> str:
    with pytest.raises(ClientError) as refused:
        call(**members)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return str(refused.value.response["Error"]["Message"])


def test_reads_go_on_from_segments_not_yet_open_and_changes_are_refused_with_the_cause(tmp_path: Path) -> None:
    with mounted("ext4", 512 * MIB, tmp_path / "disk") as disk:
        kept, pending = [], []
        for number in range(2):  # Each server leaves segments that the next one has no need to open.
            with server_on(disk) as server:
                kept.append(Uploader(server, number * 100))
                for _ in range(3):
                    kept[-1].put()
                kept[-1].complete(server)
                pending.append(Uploader(server, 1_000 + number * 100))
                pending[-1].put()
        with server_on(disk) as server:
            stop_taking_changes(disk)
            wait_for(lambda: problems(server) == ["space"])
            sleep(NOTICED_SECONDS)
            for uploader in kept:
                uploader.check(server)
            pending[0].ebs = server.client("ebs")
            with pytest.raises(ClientError) as refused:
                pending[0].put()
            assert "read-only" in refused.value.response["Error"]["Message"]
            ebs, ec2 = server.client("ebs"), server.client("ec2")
            for call, members in (
                (ebs.start_snapshot, {"VolumeSize": 1}),
                (ebs.complete_snapshot, {"SnapshotId": pending[0].snapshot_id, "ChangedBlocksCount": 1}),
                (ec2.delete_snapshot, {"SnapshotId": kept[0].snapshot_id}),
            ):
                assert "read-only" in refusal_of(call, **members)
            for uploader in kept:
                uploader.check(server)
            assert "Traceback" not in server.log_path.read_text()
        run_tool("umount", str(disk.folder))
        run_tool("mount", "-o", "loop", str(disk.image), str(disk.folder))
        with server_on(disk) as server:
            for uploader in kept:
                uploader.check(server)
            pending[1].ebs = server.client("ebs")
            pending[1].put()
            for uploader in pending[:2]:
                uploader.complete(server)
                uploader.check(server)
